r"""The tail of a spectrum, from how far a run went.

One curve of |θ_k − θ_0|² is a sum over all directions; of the spectrum it shows what relaxes inside
its window. A power-law tail has four numbers; they are fitted by generalised least squares on
log D, whose covariance is that of the fitted tail and is updated with it: maximum quasi-likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sgdtheory.fits.displacement_curves import check_positive, checked_curves, checked_steps
from sgdtheory.fits.log_displacement import log_spaced
from sgdtheory.fits.power_law_tail import PowerLawTail
from sgdtheory.fits.tail_likelihood import Start, TailCurve, TailParameters, visible_range
from sgdtheory.fits.tail_search import TailSearch
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.notebook_display import ShownAsTable, Table
from sgdtheory.number_checks import check_number
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["TailFit", "fit_spectrum_tail"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TailFit(ShownAsTable):
    r"""A spectrum's tail, and how well it is known.

    Args:
        tail: the estimate.
        parameters: it is made of: a, the log of the displacement by noise at the middle step, by
            which the amplitude n σ² is measured, and the logs of the cut-offs.
        fitted: names of the parameters that were fitted; the others were given.
        covariance: of the fitted ones, the inverse of Fisher's information.
        intervals: of each fitted parameter, that contain the truth with probability `level`; where
            `profiled` by profile likelihood, else symmetric. An infinite end is none: the window
            does not bound the parameter on that side.
        profiled: whether the intervals are profiles; so they are where a cut-off is poorly seen.
        level: of the intervals.
        goodness_of_fit: p-value of the curve's distance to the fit; None where the number of
            directions was fitted too, by just this distance.
        window: first and last update count.
    """

    tail: PowerLawTail
    parameters: TailParameters
    fitted: tuple[str, ...]
    covariance: Array
    intervals: Mapping[str, tuple[float, float]]
    profiled: bool
    level: float
    goodness_of_fit: float | None
    window: tuple[float, float]

    @property
    def spectrum(self) -> Spectrum:
        """Of the tail: nodes with counts, for a `Predictor`."""
        return self.tail.spectrum()

    @property
    def unbounded(self) -> tuple[str, ...]:
        """Parameters that the window bounds on one side at most: their estimates are guesses."""
        return tuple(name for name, ends in self.intervals.items() if not np.all(np.isfinite(ends)))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Of the fitted parameters, by name; infinite for those that are unbounded."""
        errors = np.sqrt(np.diag(self.covariance)).tolist()
        return {
            name: np.inf if name in self.unbounded else error
            for name, error in zip(self.fitted, errors, strict=True)
        }

    def tables(self) -> tuple[Table, ...]:
        """The tail, and a row for each fitted parameter; print one for plain text."""
        rows = tuple(
            (
                name.replace("_", " "),
                f"{getattr(self.parameters, name):.4g} ± {error:.2g}",
                " to ".join(f"{end:.4g}" for end in ends),
            )
            for (name, error), ends in zip(
                self.standard_errors.items(),
                (self.intervals[name] for name in self.fitted),
                strict=True,
            )
        )
        head = ("fitted", "estimate", f"{self.level:.0%} interval")
        return (*self.tail.tables(), Table("Fit", rows, head))


def fit_spectrum_tail(
    steps: Any,
    displacement: Any,
    hyperparameters: Hyperparameters,
    *,
    directions: float | None = None,
    position: Start = None,
    smallest: float | None = None,
    largest: float | None = None,
    replicas: int = 1,
    theory: str = "discrete",
    rule: UpdateRule | None = None,
    points: int = 24,
    level: float = 0.95,
) -> TailFit:
    r"""Fit n(ρ) ∝ ρ^{−(1+a)} between two cut-offs to a measured displacement curve.

    The curve fixes the amplitude n σ² only as a product. The number n is told from how much the
    curve scatters, if it is not given; intervals are Student's then.

    Args:
        steps: update counts ≥ 1, ascending, (T,).
        displacement: ‖θ_k − θ_0‖² of one run, (T,), or of several, (R, T). Unit: θ².
        hyperparameters: η, β, S, λ of the run.
        directions: n, how many directions the tail has between its cut-offs.
        position: start, as an offset from the minimum along every direction: a number, or a
            function of ρ. None for the stationary state. Needs `directions`.
        smallest: lower cut-off, if it is known; so it need not be seen.
        largest: upper cut-off, likewise.
        replicas: independent runs that a curve of shape (T,) is the average of.
        theory: "discrete" or "continuous".
        rule: the optimiser, heavy ball by default.
        points: steps to use, even in log k.
        level: of the intervals.

    Raises:
        ValueError: naming what cannot be fitted; where the window leaves the exponent open.

    >>> hyper = Hyperparameters(0.1, momentum=0.9, batch_size=128)
    >>> tail = PowerLawTail(0.5, 1e-4, 1.0, directions=1000, noise_scale=1.0)
    >>> from sgdtheory.predictor import Predictor
    >>> steps = np.unique(np.geomspace(10, 1e5, 40).astype(int))
    >>> curve = Predictor(hyper, tail.spectrum()).displacement(steps)
    >>> fit = fit_spectrum_tail(steps, curve, hyper, directions=1000)
    >>> round(fit.tail.exponent, 1), round(fit.standard_errors["exponent"], 2)
    (0.5, 0.04)
    """
    counts, curve, runs = _checked(steps, displacement, replicas)
    check_number("level", level, above=0.0, below=1.0)
    if directions is not None:
        check_number("directions", directions, above=0.0)
    elif position is not None:
        raise ValueError(
            "position without directions: how far the start lies off is a sum over directions. "
            "Give directions=."
        )
    chosen = log_spaced(counts, points)
    counts, curve = counts[chosen], curve[chosen]
    settings = {"theory": theory, "rule": heavy_ball() if rule is None else rule}
    model, told, inside = visible_range(hyperparameters, counts, **settings)
    given: dict[str, float] = {}
    for name, value in (("log_smallest", smallest), ("log_largest", largest)):
        if value is not None:
            check_number(name.removeprefix("log_"), value, above=0.0, below=told[1])
            given[name] = float(np.log(value))
    ends = (
        given.get("log_smallest", float(np.log(told[0]))),
        given.get("log_largest", float(np.log(told[1]))),
    )
    if directions is not None:
        given["log_directions"] = float(np.log(directions))
    search = TailSearch(TailCurve.of(model, counts, ends, position), np.log(curve), runs, given)
    values, unlikeliness = search.best(float(np.log(inside[0])), float(np.log(inside[1])))
    return _assessed(search, values, unlikeliness, level)


def _assessed(
    search: TailSearch, values: Mapping[str, float], unlikeliness: float, level: float
) -> TailFit:
    """The fit with its errors: by Fisher's information, or where that is no guide by profiles."""
    covariance, freedom = search.covariance(values), search.freedom
    quantile = stats.norm.ppf((1 + level) / 2)
    if "log_directions" in values:
        quantile = stats.t.ppf((1 + level) / 2, freedom)
    halves = dict(zip(values, (quantile * np.sqrt(np.diag(covariance))).tolist(), strict=True))
    profiled = search.poorly_seen(values, covariance)
    intervals = {
        name: search.profile(name, values, unlikeliness + quantile**2, half)
        if profiled
        else (values[name] - half, values[name] + half)
        for name, half in halves.items()
    }
    steps = search.curve.steps
    if not np.all(np.isfinite(intervals["exponent"])):
        raise ValueError(
            f"displacement: over steps {steps[0]:g} to {steps[-1]:g} it leaves the tail's exponent "
            f"open; the best fit has {values['exponent']:.2g}, the interval is "
            f"{intervals['exponent']}. Give a wider window, smallest= or largest=, or the average "
            "of more runs."
        )
    parameters = search.parameters(values)
    known = "log_directions" in search.given
    return TailFit(
        tail=search.curve.tail(parameters),
        parameters=parameters,
        fitted=tuple(values),
        covariance=covariance,
        intervals=intervals,
        profiled=profiled,
        level=level,
        goodness_of_fit=float(stats.chi2.sf(search.squares(values), freedom)) if known else None,
        window=(float(steps[0]), float(steps[-1])),
    )


def _checked(steps: Any, displacement: Any, replicas: int) -> tuple[Array, Array, int]:
    counts, curves = checked_steps(steps), checked_curves(displacement, steps)
    if len(curves) > 1 and replicas != 1:
        raise ValueError(
            f"replicas = {replicas} with displacement of {len(curves)} runs: these are averaged. "
            "Leave replicas out."
        )
    curve = curves.mean(0)
    check_positive(curve, counts)
    return counts, curve, len(curves) if len(curves) > 1 else replicas
