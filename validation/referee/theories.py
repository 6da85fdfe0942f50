r"""The theories that are tried: what each says of a case, derived by the package, none of it typed.

All are given the same curvatures and settings. They differ in time (continuous or discrete), in the
noise they assume (its covariance, and how batches of an epoch depend on one another) and in whether
the velocity has a memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np
from sympy import ImmutableMatrix, Set, Symbol

import sgdtheory as sgd
from sgdtheory import symbols as s
from validation.data import Array
from validation.referee.case import Case

__all__ = ["THEORIES", "Prediction", "Theory"]


@dataclass(frozen=True)
class Prediction:
    """What a theory says of the stationary state; None where it says nothing.

    Args:
        position_variance: (d,).
        velocity_variance: (d,).
        circulation: ½(E θ_{k+1} v_k − E v_{k+1} θ_k), (d,).
        autocovariance: of positions at lags 0, 1, …, the longest of the case, (lags + 1, d).
        displacement: E|θ_{k+l} − θ_k|² at the lags of the case, (L,).
        local_displacement: of one update.
    """

    position_variance: Array
    velocity_variance: Array | None
    circulation: Array | None
    autocovariance: Array
    displacement: Array
    local_displacement: float | None


def _no_stationary_state(case: Case) -> Prediction:
    """Of a theory whose second moments grow for ever: they are infinite, ratios of them nothing."""
    size, lags = len(case.problem.curvatures), len(case.lags)
    nothing = np.full((int(case.lags.max()) + 1, size), np.nan)
    infinite = np.full(size, np.inf)
    return Prediction(
        infinite, infinite, np.full(size, np.nan), nothing, np.full(lags, np.inf), np.inf
    )


@dataclass(frozen=True)
class Theory:
    """One column of the table.

    Args:
        name: of the column.
        source: where it was published.
        samplings: those it was made for.
        assumes: in words.
        stationary_state: of a case that has one.
        stability_limit: learning rate beyond which there is none.
    """

    name: str
    source: str
    samplings: tuple[str, ...]
    assumes: str
    stationary_state: Callable[[Case], Prediction]
    stability_limit: Callable[[Case], float]

    def predict(self, case: Case) -> Prediction:
        """The stationary state of a case; infinite beyond the limit."""
        if case.hyper.learning_rate >= self.stability_limit(case):
            return _no_stationary_state(case)
        return self.stationary_state(case)


def _of_predictor(case: Case, model: sgd.Predictor) -> Prediction:
    """Everything of the discrete theories; of the continuous one what its Langevin equation lists.

    Nesterov's steps hear each batch twice, of which a velocity with white noise knows nothing.
    """
    moments = model.stationary_covariance()
    lagged = model.autocovariance(np.arange(case.lags.max() + 1))
    said = Prediction(
        moments[:, 0, 0],
        moments[:, 1, 1],
        (lagged[1, :, 0, 1] - lagged[1, :, 1, 0]) / 2,
        lagged[:, :, 0, 0],
        model.displacement(case.lags),
        None,
    )
    listed = sgd.modified_equation(case.rule).observables
    if model.theory == "discrete" or "local displacement" in listed:
        said = replace(said, local_displacement=float(model.local_displacement()))
    if model.theory == "continuous" and "velocity variance" not in listed:
        said = replace(said, velocity_variance=None, circulation=None)
    return said


def _paper(case: Case) -> Prediction:
    return _of_predictor(case, case.predictor("continuous", case.isotropic_variances))


def _continuous(case: Case) -> Prediction:
    return _of_predictor(case, case.predictor("continuous", case.variances))


def _discrete(case: Case) -> Prediction:
    return _of_predictor(case, case.predictor("discrete", case.variances))


def _multiplicative(case: Case) -> Prediction:
    if case.problem.additive:
        return _discrete(case)
    noise = _dataset(case).stationary(case.hyper, case.rule, case.parameters).noise_covariance
    return _of_predictor(case, case.predictor("discrete", np.diagonal(noise)))


def _epochs(case: Case) -> Prediction:
    return _of_predictor(case, case.predictor("discrete", case.variances, "epochs"))


def _fixed_order(case: Case) -> Prediction:
    return _of_predictor(case, case.predictor("discrete", case.variances, "fixed_order"))


@lru_cache(maxsize=8)
def _overdamped_functions(
    rule: sgd.UpdateRule, parameters: tuple[Symbol, ...]
) -> tuple[sgd.LoweredFunction, ...]:
    """Autocovariance and displacement of the Langevin equation without its mass."""
    langevin = sgd.modified_equation(rule)
    process = sgd.OrnsteinUhlenbeck(
        ImmutableMatrix([[s.h / langevin.friction]]),
        ImmutableMatrix([[langevin.noise_intensity / (2 * langevin.friction**2)]]),
    )
    arguments = (s.t, s.h, s.eta, s.beta, s.S, s.Sigma, *parameters)
    return tuple(
        sgd.lower(expression, arguments)
        for expression in (process.autocovariance(s.t)[0, 0], process.displacement(s.t))
    )


def _overdamped(case: Case) -> Prediction:
    eta, beta, S = case.hyper.learning_rate, case.hyper.momentum, case.hyper.batch_size
    autocovariance, displacement = _overdamped_functions(case.rule, tuple(case.parameters))
    known = (case.problem.curvatures, eta, beta, S, case.variances, *case.parameters.values())
    steps = np.arange(case.lags.max() + 1)[:, None]
    lagged = autocovariance(eta * steps, *known)
    moved = displacement(eta * steps, *known).sum(axis=1)
    # Without memory there is detailed balance, and a velocity that white noise makes infinite.
    return Prediction(
        lagged[0], None, np.zeros_like(lagged[0]), lagged, moved[case.lags], float(moved[1])
    )


def _dataset(case: Case) -> sgd.FiniteDataset:
    return sgd.FiniteDataset(case.problem.inputs, case.problem.targets)


def _no_limit(case: Case) -> float:
    return np.inf


def _mean_limit(case: Case) -> float:
    """Where the steepest direction's mean ceases to decay."""
    stable = cast(Set, sgd.recursion(case.rule).stability)
    known = {s.beta: case.hyper.momentum, **case.parameters}
    return float(stable.subs(known).sup / case.problem.curvatures.max())


def _mean_square_limit(case: Case) -> float:
    if case.problem.additive:
        return _mean_limit(case)
    return _dataset(case).stability_limit(case.hyper, case.rule, case.parameters)


_WHITE = ("with_replacement",)

THEORIES = (
    Theory(
        "paper",
        "Kunin et al., arXiv 2107.09133",
        _WHITE,
        "continuous time, batches with replacement, noise proportional to the Hessian",
        _paper,
        _no_limit,
    ),
    Theory(
        "continuous",
        "Kunin et al., arXiv 2107.09133, with the measured noise",
        _WHITE,
        "continuous time, batches with replacement",
        _continuous,
        _no_limit,
    ),
    Theory(
        "overdamped",
        "the same without inertia",
        _WHITE,
        "continuous time, a velocity without memory, batches with replacement",
        _overdamped,
        _no_limit,
    ),
    Theory(
        "discrete",
        "Liu, Ziyin and Ueda, arXiv 2012.03636",
        _WHITE,
        "the update rule as it is, batches with replacement, noise of the minimum everywhere",
        _discrete,
        _mean_limit,
    ),
    Theory(
        "multiplicative",
        "Ziyin et al., arXiv 2102.05375, on the examples that there are",
        _WHITE,
        "the update rule as it is, batches with replacement, every example's own Hessian",
        _multiplicative,
        _mean_square_limit,
    ),
    Theory(
        "epochs",
        "Kühn and Rosenow, arXiv 2306.05300, in discrete time",
        ("epochs",),
        "the update rule as it is, reshuffled epochs, noise of the minimum everywhere",
        _epochs,
        _mean_limit,
    ),
    Theory(
        "fixed order",
        "averaged over orders",
        ("fixed_order",),
        "the update rule as it is, one order for ever, noise of the minimum everywhere",
        _fixed_order,
        _mean_limit,
    ),
)
