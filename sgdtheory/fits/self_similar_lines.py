r"""Slopes of one curve alone, known from what scatters about the line once that is independent.

Against log k a self-similar curve is stationary about its line (Lamperti), but only a few of its
correlation lengths fit into a window: blocks of raw residuals would hardly be independent. The
correlation of such a process with stationary increments is known, whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sgdtheory.fits.log_displacement import leading_weights, self_similar_correlation, whitener
from sgdtheory.fits.slope_estimates import SlopeEstimates, Windows, arch_bootstrap

__all__ = ["slopes_of_curve"]

Array = NDArray[np.float64]

# Exponents for which a self-similar process has a correlation that can be inverted.
_LEAST, _LARGEST = 0.05, 1.9
# Times that the exponent is fed back into the correlation; it changes by 1e-4 in the last.
_ROUNDS = 4
FEWEST_POINTS = 8


def slopes_of_curve(
    displacement: Array,
    steps: Array,
    windows: Windows,
    *,
    block: float,
    resamples: int,
    seed: int,
) -> SlopeEstimates:
    """Lines through one curve, by a prewhitened block bootstrap of what scatters about them.

    Residuals are whitened by `self_similar_correlation`, resampled in blocks for what it does not
    explain, and coloured again. Their size comes from the curve.

    Args:
        displacement: (T,).
        steps: (T,).
        windows: indices of the steps of each.
        block: mean length of a block, in points.
        resamples: B.
        seed: of the resampling.
    """
    logs = np.log(displacement)
    line = _SelfSimilarLine.through(logs, steps, np.arange(len(steps)))
    whitened = line.whitened(logs)
    whitened -= whitened.mean()
    lines = [_SelfSimilarLine.through(logs, steps, window) for window in windows]
    estimates = np.array([each.slope(logs) for each in lines])
    if not np.all(estimates[:, 1] > 1e-12):
        raise ValueError(
            "displacement is a power of steps without any scatter, so it says nothing about a "
            "standard error. Give a measured curve."
        )

    sampler = arch_bootstrap().StationaryBootstrap(
        block, whitened, seed=np.random.default_rng(seed)
    )
    drawn = sampler.apply(np.asarray, resamples) @ line.colour.T
    errors = [value / error for value, error in (each.slope(drawn) for each in lines)]
    return SlopeEstimates(
        estimates[:, 0],
        estimates[:, 1],
        np.array([each.straightness(logs) for each in lines]),
        np.array([2 / float(each.scatter(logs)) for each in lines]),
        np.stack(errors, axis=-1),
    )


@dataclass(frozen=True, eq=False)
class _SelfSimilarLine:
    """A line by generalised least squares, with a self-similar process's correlation.

    Args:
        window: indices of its steps among all.
        whiten: W, independent combinations of its points, (r, n).
        slope_weights: of log D, (n,).
        bend_weights: likewise, of a parabola's leading coefficient.
        residual: what takes log D to its whitened residuals, (r, n).
    """

    window: NDArray[np.intp]
    whiten: Array
    slope_weights: Array
    bend_weights: Array
    residual: Array

    @classmethod
    def through(cls, logs: Array, steps: Array, window: NDArray[np.intp]) -> _SelfSimilarLine:
        own, correlation = steps[window], np.eye(len(window))
        for _ in range(_ROUNDS):
            slope = leading_weights(own, correlation) @ logs[window]
            correlation = self_similar_correlation(own, float(np.clip(slope, _LEAST, _LARGEST)))
        whiten = whitener(correlation)
        line = whiten @ np.vander(np.log(own), 2)
        return cls(
            window,
            whiten,
            leading_weights(own, correlation),
            leading_weights(own, correlation, 2),
            whiten - line @ np.linalg.pinv(line) @ whiten,
        )

    @cached_property
    def colour(self) -> Array:
        """What takes independent combinations back to points, (n, r)."""
        return np.asarray(np.linalg.pinv(self.whiten), dtype=np.float64)

    def _spread(self, weights: Array) -> float:
        """Variance of what they weigh, in units of that of log D."""
        return float(((weights @ self.colour) ** 2).sum())

    def whitened(self, logs: Array) -> Array:
        """Residuals of curves (..., T), independent of one another, (..., r)."""
        return np.asarray(logs[..., self.window] @ self.residual.T)

    def scatter(self, logs: Array) -> Array:
        """Variance of log D about the line, (...)."""
        return np.asarray((self.whitened(logs) ** 2).sum(-1) / (len(self.whiten) - 2))

    def slope(self, logs: Array) -> tuple[Array, Array]:
        """Of curves (..., T), with standard errors."""
        variance = self.scatter(logs) * self._spread(self.slope_weights)
        return logs[..., self.window] @ self.slope_weights, np.sqrt(variance)

    def straightness(self, logs: Array) -> float:
        """p-value of no bend, by Student's t: a bend explains a part of the residuals."""
        bend, spread = self.bend_weights @ logs[self.window], self._spread(self.bend_weights)
        freedom = len(self.whiten) - 3
        left = (self.whitened(logs) ** 2).sum() - bend**2 / spread
        return float(2 * stats.t.sf(abs(bend) / np.sqrt(spread * left / freedom), freedom))
