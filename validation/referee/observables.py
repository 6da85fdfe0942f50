"""Rows of the table: how each observable is measured, and where each theory's number for it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
from sympy import Expr

import sgdtheory as sgd
from validation.data import Array
from validation.ensemble_averages import EnsembleAverages
from validation.referee.case import Case
from validation.referee.theories import Prediction

__all__ = ["OBSERVABLES", "Observable", "Scale"]


_ROUNDING = 1e-13

Scale: TypeAlias = Literal["logarithm", "number", "unit"]


@dataclass(frozen=True)
class Observable:
    """A function of averages over time, which theory has for whole ensembles.

    Args:
        name: in the table.
        scale: of comparison. Variances are compared by their logarithms: what a chance excess does
            to a variance it does to its error too, and the logarithm undoes it. Of what has a unit
            and either sign, rounding is relative to the largest entry.
        labels: one an entry.
        samples: the averages that it needs, replicas first.
        measured: from their means; leading axes are carried along.
        predicted: the same from a theory, or None.
    """

    name: str
    scale: Scale
    labels: Callable[[Case], list[str]]
    samples: Callable[[EnsembleAverages], tuple[Array, ...]]
    measured: Callable[[Case, tuple[Array, ...]], Array]
    predicted: Callable[[Case, Prediction], Array | None]


def _directions(case: Case) -> list[str]:
    return [f"ρ = {value:.4g}" for value in case.problem.eigenvalues]


def _everyone(case: Case) -> Array:
    return np.arange(len(case.problem.eigenvalues))


def _lag_near(case: Case, relaxations: float) -> Array:
    """For each direction the index of the lag next to so many of its relaxation times."""
    wanted = np.maximum(relaxations * case.relaxation_steps, 1.0)
    return np.abs(np.log(case.lags[None, :] / wanted[:, None])).argmin(axis=1)


def _at_lags(case: Case, relaxations: float) -> list[str]:
    lags = case.lags[_lag_near(case, relaxations)]
    return [f"{at}, lag {lag}" for at, lag in zip(_directions(case), lags, strict=True)]


def _energy_ratio(case: Case, position: Array, velocity: Array) -> Array:
    """Potential over kinetic energy: 1 where the noise is white, in both kinds of time."""
    hyper = case.hyper
    known = {sgd.symbols.eta: hyper.learning_rate, sgd.symbols.beta: hyper.momentum}
    mass = cast(Expr, sgd.modified_equation(case.rule).mass).subs(known | dict(case.parameters))
    return case.problem.curvatures * position / (float(mass) * velocity)


def _correlation_sums(prediction: Prediction, case: Case) -> Array:
    """½C(0) + C(1) + … + C(l) at the lags of the case, (L, d)."""
    sums = np.cumsum(prediction.autocovariance, axis=0) - prediction.autocovariance[0] / 2
    return sums[case.lags]


def _above_rounding(squares: Array) -> Array:
    """NaN for what is 0 but for rounding: one order for ever is back where it was an epoch ago."""
    return np.where(squares > _ROUNDING * squares.max(axis=-1, keepdims=True), squares, np.nan)


def _exponents(case: Case, displacement: Array) -> Array:
    first, last = case.lags[:-2], case.lags[2:]
    return np.log(displacement[..., 2:] / displacement[..., :-2]) / np.log(last / first)


OBSERVABLES = (
    Observable(
        "position variance",
        "logarithm",
        _directions,
        lambda found: (found.position_variance,),
        lambda case, means: means[0],
        lambda case, theory: theory.position_variance,
    ),
    Observable(
        "velocity variance",
        "logarithm",
        _directions,
        lambda found: (found.velocity_variance,),
        lambda case, means: means[0],
        lambda case, theory: theory.velocity_variance,
    ),
    Observable(
        "energy ratio",
        "logarithm",
        _directions,
        lambda found: (found.position_variance, found.velocity_variance),
        lambda case, means: _energy_ratio(case, *means),
        lambda case, theory: (
            None
            if theory.velocity_variance is None
            else _energy_ratio(case, theory.position_variance, theory.velocity_variance)
        ),
    ),
    Observable(
        "circulation",
        "unit",
        _directions,
        lambda found: (found.circulation, found.position_variance, found.velocity_variance),
        lambda case, means: np.where(
            means[0] ** 2 > _ROUNDING**2 * means[1] * means[2], means[0], np.nan
        ),
        lambda case, theory: theory.circulation,
    ),
    Observable(
        "autocorrelation",
        "number",
        lambda case: _at_lags(case, 0.5),
        lambda found: (found.products, found.position_variance),
        lambda case, means: means[0][..., _lag_near(case, 0.5), _everyone(case)] / means[1],
        lambda case, theory: (
            theory.autocovariance[case.lags[_lag_near(case, 0.5)], _everyone(case)]
            / theory.autocovariance[0]
        ),
    ),
    Observable(
        "correlation time",
        "number",
        lambda case: _at_lags(case, 2.0),
        lambda found: (found.correlation_sums, found.position_variance),
        lambda case, means: means[0][..., _lag_near(case, 2.0), _everyone(case)] / means[1],
        lambda case, theory: (
            _correlation_sums(theory, case)[_lag_near(case, 2.0), _everyone(case)]
            / theory.autocovariance[0]
        ),
    ),
    Observable(
        "local displacement",
        "logarithm",
        lambda case: ["one update"],
        lambda found: (found.displacement[:, :1],),
        lambda case, means: means[0],
        lambda case, theory: (
            None if theory.local_displacement is None else np.array([theory.local_displacement])
        ),
    ),
    Observable(
        "displacement",
        "logarithm",
        lambda case: [f"lag {lag}" for lag in case.lags],
        lambda found: (found.displacement,),
        lambda case, means: _above_rounding(means[0]),
        lambda case, theory: theory.displacement,
    ),
    Observable(
        "exponent",
        "number",
        lambda case: [
            f"lags {a} to {b}" for a, b in zip(case.lags[:-2], case.lags[2:], strict=True)
        ],
        lambda found: (found.displacement,),
        lambda case, means: _exponents(case, _above_rounding(means[0])),
        lambda case, theory: _exponents(case, _above_rounding(theory.displacement)),
    ),
)
