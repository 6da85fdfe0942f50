r"""Exponents c of D_k = |θ_k − θ_0|² ∝ k^c from measured curves, with errors that can be believed.

Points of one curve come from one path, so an ordinary regression's standard error is several times
too small, and its test of c = 1 rejects normal diffusion nearly always. See `slope_estimates` and
`self_similar_lines` for what is done instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import detached, real
from sgdtheory.fits.displacement_covariance import displacement_moments
from sgdtheory.fits.displacement_curves import check_positive, checked_curves, checked_steps
from sgdtheory.fits.log_displacement import log_spaced
from sgdtheory.fits.self_similar_lines import FEWEST_POINTS, slopes_of_curve
from sgdtheory.fits.slope_estimates import (
    FEWEST_REPLICAS,
    SlopeEstimates,
    slopes_by_theory,
    slopes_of_replicas,
)
from sgdtheory.notebook_display import ShownAsTable, Table
from sgdtheory.number_checks import check_number
from sgdtheory.predictor import Predictor

__all__ = ["ExponentFit", "WindowScan", "fit_exponent", "fit_exponent_of_positions", "scan_windows"]

Array = NDArray[np.float64]

# Mean block of one curve's whitened residuals, in points: they are nearly independent already.
_BLOCK = 2.0


@dataclass(frozen=True, eq=False)
class ExponentFit(ShownAsTable):
    r"""An exponent over a window, and what it is worth.

    Args:
        exponent: c, the slope of log D against log k.
        standard_error: of it.
        interval: that contains the truth with probability `level`.
        level: of the interval.
        p_value: of c = 1, normal diffusion, two-sided.
        straightness: p-value of log D being straight over the window, against a parabola.
        effective_directions: equal directions that would scatter as much as the fitted curve.
        window: first and last update count.
        steps: the update counts that were used, even in log k.
        method: "theory", "replicas", "positions" or "curve".
        expected: what the theory's mean curve gives for the same fit; None without a model. Where
            the window is bent, c depends on how its points are weighed, and only this number is
            weighed alike.
    """

    exponent: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    p_value: float
    straightness: float
    effective_directions: float
    window: tuple[float, float]
    steps: Array
    method: str
    expected: float | None = None

    @property
    def z_score(self) -> float | None:
        """Distance to the theory in standard errors; None without a model."""
        if self.expected is None:
            return None
        return (self.exponent - self.expected) / self.standard_error


@dataclass(frozen=True, eq=False)
class WindowScan(ShownAsTable):
    """The exponent over several windows, and what is left of it after looking at all.

    Args:
        fits: one for each window, each as if it were the only one.
        bands: intervals that contain all windows' exponents at once with probability `level`,
            (W, 2).
        p_values: of c = 1 in each window, corrected for the number of windows, (W,).
        level: of the bands.
    """

    fits: tuple[ExponentFit, ...]
    bands: Array
    p_values: Array
    level: float

    @property
    def windows(self) -> Array:
        """First and last update count of each, (W, 2)."""
        return np.array([fit.window for fit in self.fits])

    @property
    def exponents(self) -> Array:
        """(W,)."""
        return np.array([fit.exponent for fit in self.fits])

    def tables(self) -> tuple[Table, ...]:
        """A row for each window; print one for plain text."""
        rows = tuple(
            (
                f"{fit.window[0]:g} to {fit.window[1]:g}",
                f"{fit.exponent:.4g} ± {fit.standard_error:.2g}",
                f"{lower:.4g} to {upper:.4g}",
                f"{p:.2g}",
            )
            for fit, (lower, upper), p in zip(self.fits, self.bands, self.p_values, strict=True)
        )
        head = ("window", "exponent", f"{self.level:.0%} band", "p of c = 1")
        return (Table("Exponents", rows, head),)


def fit_exponent(
    steps: Any,
    displacement: Any,
    *,
    window: tuple[float, float] | None = None,
    **settings: Any,
) -> ExponentFit:
    r"""The exponent of a measured displacement curve.

    With a model: generalised least squares with the theory's own covariance of the curve. Without
    one: from several curves a bootstrap of whole curves; from one, a block bootstrap of residuals
    whitened by the correlation of a self-similar process, which assumes stationary increments.

    Args:
        steps: update counts ≥ 1, ascending, (T,).
        displacement: ‖θ_k − θ_0‖² of one run, (T,), or of several, (R, T). Unit: θ².
        window: first and last update count to use; all of them by default.
        settings: as of `scan_windows`: `model`, `position`, `velocity`, `start_covariance`,
            `replicas`, `points`, `level`, `resamples`, `seed`.

    Raises:
        ValueError: naming what cannot be fitted, and what to give instead.
        ImportError: without a model and without arch.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> flat = Predictor(Hyperparameters(0.1), Spectrum([1e-9], counts=[50]))
    >>> steps = np.arange(10, 1001)
    >>> fit = fit_exponent(steps, flat.displacement(steps), model=flat)
    >>> round(fit.exponent, 2), round(fit.standard_error, 3), round(fit.p_value, 1)
    (1.0, 0.059, 1.0)
    """
    counts = checked_steps(steps)
    first, last = (counts[0], counts[-1]) if window is None else window
    return scan_windows(counts, displacement, [(first, last)], **settings).fits[0]


def scan_windows(
    steps: Any,
    displacement: Any,
    windows: Iterable[tuple[float, float]] | None = None,
    *,
    model: Predictor | None = None,
    position: Any = None,
    velocity: Any = 0.0,
    start_covariance: Any = None,
    replicas: int = 1,
    points: int = 24,
    level: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> WindowScan:
    """How the exponent depends on the window, with bands that hold for all windows at once.

    The errors of overlapping windows are drawn together, and the bands are as wide as the largest
    of them asks for.

    Args:
        steps: update counts ≥ 1, ascending, (T,).
        displacement: ‖θ_k − θ_0‖² of one run, (T,), or of several, (R, T).
        windows: first and last update count of each; by default the whole record and five that
            each span half of it on the logarithmic axis.
        model: whose covariance is used. Only its shape matters: a factor cancels.
        position: a start, as of `Predictor.displacement`; None for the stationary state.
        velocity: with `position`.
        start_covariance: about `position`.
        replicas: independent runs that a curve of shape (T,) is the average of; with a model.
        points: steps per window, even in log k; more add next to nothing.
        level: of intervals and bands.
        resamples: of the bootstrap.
        seed: of the resampling.
    """
    counts, curves = checked_steps(steps), checked_curves(displacement, steps)
    chosen, members, grid = _grid(counts, _default_windows(counts, windows), points)
    check_number("level", level, above=0.0, below=1.0)
    curves = curves[:, chosen]
    if model is not None:
        check_positive(curves.mean(0), grid)
        moments = displacement_moments(model, grid, position, velocity, start_covariance)
        averaged = moments.averaged(len(curves) if len(curves) > 1 else replicas)
        found = slopes_by_theory(averaged, curves.mean(0), members, seed)
        return _scan("theory", found, grid, members, level)
    _require_no_model(position, velocity, start_covariance, replicas)
    _check_resamples(resamples, level)
    if len(curves) > 1:
        return _scan(
            "replicas",
            slopes_of_replicas(
                _enough(curves, grid), grid, members, resamples=resamples, seed=seed
            ),
            grid,
            members,
            level,
        )
    check_positive(curves[0], grid)
    for window in members:
        if len(window) < FEWEST_POINTS:
            raise ValueError(
                f"steps = {grid[window]}: one curve alone needs at least {FEWEST_POINTS} points in "
                "a window, for its scatter is all there is. Give a wider window, or several runs."
            )
    found = slopes_of_curve(curves[0], grid, members, block=_BLOCK, resamples=resamples, seed=seed)
    return _scan("curve", found, grid, members, level)


def fit_exponent_of_positions(
    positions: Any,
    steps: Any,
    *,
    interval: int = 1,
    level: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> ExponentFit:
    r"""The exponent of a recorded path, each moment of which can serve as an origin.

    The record is cut into stretches twice as long as the last step. Inside a stretch displacements
    are averaged over all origins; stretches share no increment, and are resampled as the runs they
    nearly are. The path is taken to be stationary, or to have stationary increments.

    Args:
        positions: θ at equal intervals, (records, directions), or (records,).
        steps: update counts at which the displacement is taken, (T,), multiples of `interval`.
        interval: updates between records.
        level: of the interval.
        resamples: of the bootstrap.
        seed: of the resampling.

    Raises:
        ValueError: where the record has fewer than 8 stretches.

    >>> path = np.random.default_rng(0).standard_normal((4000, 10)).cumsum(0)
    >>> fit = fit_exponent_of_positions(path, [1, 2, 4, 8, 16, 32])
    >>> round(fit.exponent, 2), round(fit.standard_error, 2)
    (1.0, 0.01)
    """
    path = real(positions)
    path = path.reshape(len(path), -1)
    counts = checked_steps(steps)
    lags = (counts / interval).astype(int)
    if np.any(lags * interval != counts):
        raise ValueError(
            f"steps = {counts}: positions are known every {interval} updates only. Give multiples."
        )
    length = 2 * int(lags[-1])
    stretches = (len(path) - 1) // length
    if stretches < FEWEST_REPLICAS:
        raise ValueError(
            f"positions has {len(path)} records: that makes {stretches} stretches of "
            f"{length}, twice the last step, and {FEWEST_REPLICAS} are needed. Give steps up to "
            f"{interval * ((len(path) - 1) // (2 * FEWEST_REPLICAS))}, or a longer record."
        )
    curves = np.empty((stretches, len(lags)))
    for row, start in zip(curves, range(0, stretches * length, length), strict=True):
        stretch = path[start : start + length + 1]
        row[:] = [((stretch[lag:] - stretch[:-lag]) ** 2).sum(1).mean() for lag in lags]
    members = [np.arange(len(counts))]
    _check_resamples(resamples, level)
    found = slopes_of_replicas(
        _enough(curves, counts),
        counts,
        members,
        resamples=resamples,
        seed=seed,
    )
    return _scan("positions", found, counts, members, level).fits[0]


def _scan(
    method: str, found: SlopeEstimates, grid: Array, members: list[Any], level: float
) -> WindowScan:
    factors, one = found.factors(level), found.p_values(1.0)
    fits = tuple(
        ExponentFit(
            exponent=float(found.slopes[i]),
            standard_error=float(found.standard_errors[i]),
            interval=_around(found, i, factors[i]),
            level=level,
            p_value=float(one[i]),
            straightness=float(found.straightness[i]),
            effective_directions=float(found.effective_directions[i]),
            window=(float(grid[window[0]]), float(grid[window[-1]])),
            steps=grid[window],
            method=method,
            expected=None if found.expected is None else float(found.expected[i]),
        )
        for i, window in enumerate(members)
    )
    joint = found.joint_factor(level)
    bands = np.array([_around(found, i, joint) for i in range(len(members))])
    return WindowScan(fits, bands, found.joint_p_values(1.0), level)


def _around(found: SlopeEstimates, i: int, factor: float) -> tuple[float, float]:
    half = factor * found.standard_errors[i]
    return float(found.slopes[i] - half), float(found.slopes[i] + half)


def _default_windows(
    steps: Array, windows: Iterable[tuple[float, float]] | None
) -> Sequence[tuple[float, float]]:
    if windows is not None:
        return list(windows)
    edges = np.geomspace(steps[0], steps[-1], 9)
    halves = [(edges[i], edges[i + 4]) for i in range(5)]
    return [(steps[0], steps[-1]), *halves]


def _grid(
    steps: Array, windows: Sequence[tuple[float, float]], points: int
) -> tuple[NDArray[np.intp], list[NDArray[np.intp]], Array]:
    """The steps that any window uses, and each window's indices among them."""
    chosen = []
    for first, last in windows:
        # An edge computed as a power may miss a whole number by its last digit.
        inside = np.flatnonzero((steps >= first * (1 - 1e-9)) & (steps <= last * (1 + 1e-9)))
        if len(inside) < 4:
            raise ValueError(
                f"window = ({first:g}, {last:g}): {len(inside)} of the steps lie in it, and a line "
                "with a test of its straightness needs 4. Give a wider window, or more steps."
            )
        chosen.append(inside[log_spaced(steps[inside], points)])
    union = np.unique(np.concatenate(chosen))
    return union, [np.searchsorted(union, window) for window in chosen], steps[union]


def _require_no_model(position: Any, velocity: Any, start_covariance: Any, replicas: int) -> None:
    start = position is not None or start_covariance is not None or np.any(detached(velocity))
    if start or replicas != 1:
        raise ValueError(
            "position, velocity, start_covariance or replicas without a model: they enter the "
            "theory's covariance. Give model=, or leave them out."
        )


def _check_resamples(resamples: int, level: float) -> None:
    if (1 - level) * resamples < 10:
        raise ValueError(
            f"resamples = {resamples}: fewer than 10 of them lie outside an interval of level "
            f"{level:g}, which therefore is not known. Give at least {10 / (1 - level):.0f}."
        )


def _enough(curves: Array, steps: Array) -> Array:
    if len(curves) < FEWEST_REPLICAS:
        raise ValueError(
            f"displacement has {len(curves)} runs: resampling whole runs needs at least "
            f"{FEWEST_REPLICAS}. Give their average as one curve, or give model=."
        )
    check_positive(curves.min(0), steps)
    return curves
