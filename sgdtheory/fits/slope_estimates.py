r"""Slopes of log D against log k over windows, and how far they may be from the truth.

Known from the theory's covariance of the curve, or from other runs. Overlapping windows err
together, so errors are drawn for all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sgdtheory.fits.displacement_covariance import DisplacementMoments
from sgdtheory.fits.log_displacement import leading_weights, log_moments

__all__ = ["SlopeEstimates", "arch_bootstrap", "slopes_by_theory", "slopes_of_replicas"]

Array = NDArray[np.float64]
Windows = list[NDArray[np.intp]]

# Draws of a joint normal law, whose quantiles they give to 0.01 standard deviations.
_DRAWS = 2**15
# Of fewer runs, resamples of one run alone are not rare.
FEWEST_REPLICAS = 8


@dataclass(frozen=True, eq=False)
class SlopeEstimates:
    """Slopes over W windows, and draws of their errors in units of their standard errors.

    Args:
        slopes: (W,).
        standard_errors: (W,).
        straightness: p-value of no bend, (W,).
        effective_directions: equal directions that would scatter as much, (W,).
        errors: draws of (estimate − truth)/(its standard error), (B, W).
        normal: whether each error by itself is a normal one, and needs no draws.
        expected: slopes of the theory's mean curve, (W,).
    """

    slopes: Array
    standard_errors: Array
    straightness: Array
    effective_directions: Array
    errors: Array
    normal: bool = False
    expected: Array | None = None

    def factors(self, level: float) -> Array:
        """Half widths of each window's own interval, in standard errors, (W,)."""
        if self.normal:
            return np.full(len(self.slopes), stats.norm.ppf((1 + level) / 2))
        return np.asarray(np.quantile(abs(self.errors), level, axis=0))

    def joint_factor(self, level: float) -> float:
        """Half width that holds for all windows at once."""
        return float(np.quantile(abs(self.errors).max(1), level))

    def p_values(self, slope: float) -> Array:
        """Two-sided, of each window having this slope, (W,)."""
        z = abs(self.slopes - slope) / self.standard_errors
        if self.normal:
            return np.asarray(2 * stats.norm.sf(z))
        return np.asarray((1 + (abs(self.errors) >= z).sum(0)) / (1 + len(self.errors)))

    def joint_p_values(self, slope: float) -> Array:
        """The same, corrected for having looked at all windows, (W,)."""
        z = abs(self.slopes - slope) / self.standard_errors
        beyond = abs(self.errors).max(1)[:, None] >= z
        return np.asarray((1 + beyond.sum(0)) / (1 + len(self.errors)))


def arch_bootstrap() -> Any:
    """The bootstraps of arch.

    Raises:
        ImportError: when it is not installed, with the command that installs it.
    """
    try:
        import arch.bootstrap
    except ImportError:
        raise ImportError(
            "a fit without a model resamples by arch, which is not installed. Run pip install "
            "'sgdtheory[fits]', or give model=, whose covariance needs no resampling."
        ) from None
    return arch.bootstrap


def slopes_by_theory(
    moments: DisplacementMoments, displacement: Array, windows: Windows, seed: int
) -> SlopeEstimates:
    """Generalised least squares with the theory's covariance of log D.

    Args:
        moments: of the measured curve, in the theory, at T steps.
        displacement: measured, (T,).
        windows: indices of the steps of each.
        seed: of the joint law's draws.
    """
    excess, covariance = log_moments(moments.mean, moments.covariance)
    weights = [_embedded(moments.steps, covariance, windows, degree) for degree in (1, 2)]
    measured = np.log(displacement) - excess
    scatter = [w @ covariance @ w.T for w in weights]
    errors = [np.sqrt(np.diag(c)) for c in scatter]
    rng = np.random.default_rng(seed)
    correlation = scatter[0] / np.outer(errors[0], errors[0])
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    relative = np.diag(moments.covariance) / moments.mean**2
    return SlopeEstimates(
        weights[0] @ measured,
        errors[0],
        2 * stats.norm.sf(abs(weights[1] @ measured) / errors[1]),
        np.array([2 / relative[w].mean() for w in windows]),
        rng.standard_normal((_DRAWS, len(values))) @ root.T,
        normal=True,
        expected=weights[0] @ np.log(moments.mean),
    )


def slopes_of_replicas(
    curves: Array,
    steps: Array,
    windows: Windows,
    *,
    resamples: int,
    seed: int,
) -> SlopeEstimates:
    """Lines through the average of several curves, which are resampled whole.

    Every point of a window has the same weight. The bootstrap is of the studentised slope, and
    counts the influence of each curve for its standard error; it needs no idea of how a curve's
    points are correlated.

    Args:
        curves: R curves, (R, T).
        steps: (T,).
        windows: indices of the steps of each.
        resamples: B.
        seed: of the resampling.
    """
    count, alike = len(curves), np.eye(len(steps))
    slope, bend = (_embedded(steps, alike, windows, d) for d in (1, 2))

    def studentised(sample: Array, weights: Array) -> tuple[Array, Array]:
        mean = sample.mean(0)
        influence = (sample / mean) @ weights.T
        return weights @ np.log(mean), influence.std(0, ddof=1) / np.sqrt(count)

    value, error = studentised(curves, slope)
    if not np.all(error > 0):
        raise ValueError(
            f"displacement: its {count} curves are the same up to a factor, so they say nothing "
            "about a standard error. Give independent runs."
        )

    def deviation(sample: Array) -> Array:
        drawn, its_error = studentised(sample, slope)
        # A sample of one curve alone has no scatter; its error is infinitely many of those.
        with np.errstate(divide="ignore"):
            return np.asarray((drawn - value) / its_error)

    sampler = arch_bootstrap().IIDBootstrap(curves, seed=np.random.default_rng(seed))
    bent, its_error = studentised(curves, bend)
    relative = curves.var(0, ddof=1) / curves.mean(0) ** 2 / count
    return SlopeEstimates(
        value,
        error,
        2 * stats.t.sf(abs(bent / its_error), count - 1),
        np.array([2 / relative[w].mean() for w in windows]),
        sampler.apply(deviation, resamples),
    )


def _embedded(steps: Array, covariance: Array, windows: Windows, degree: int) -> Array:
    """Each window's weights among all steps, (W, T)."""
    rows = np.zeros((len(windows), len(steps)))
    for row, window in zip(rows, windows, strict=True):
        row[window] = leading_weights(steps[window], covariance[np.ix_(window, window)], degree)
    return rows
