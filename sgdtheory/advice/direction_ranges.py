"""Damping along a spectrum: ranges of neighbouring directions that share a regime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgdtheory.advice.advised_run import AdvisedRun

__all__ = ["DirectionRange", "direction_ranges"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DirectionRange:
    """Directions between two curvatures, all of one regime.

    Args:
        regime: "overdamped", "critical", "underdamped" or "alternating", as `Predictor.regime`;
            "flat" where h = 0 and "falling" where h < 0.
        stable: whether a deviation along them decays.
        directions: how many, by their counts.
        lowest_curvature: h, in loss/θ².
        highest_curvature: likewise.
        fastest_relaxation: updates until a deviation's envelope has fallen by 1/e; ∞ if never.
        slowest_relaxation: likewise.
        variance_share: of the stationary position variance of all stable directions.
    """

    regime: str
    stable: bool
    directions: float
    lowest_curvature: float
    highest_curvature: float
    fastest_relaxation: float
    slowest_relaxation: float
    variance_share: float

    @property
    def oscillates(self) -> bool:
        """Whether a mean passes its minimum again and again."""
        return self.regime in ("underdamped", "alternating")

    def __str__(self) -> str:
        manner = f"{self.regime}{', oscillating' if self.oscillates else ''}"
        if self.regime not in ("flat", "falling") and not self.stable:
            manner += ", UNSTABLE"
        low, high = f"{self.lowest_curvature:.3g}", f"{self.highest_curvature:.3g}"
        text = f"{self.directions:.6g} {manner}: h = {low}"
        if high != low:
            text += f" to {high}"
        if self.stable:
            fast, slow = f"{self.fastest_relaxation:.3g}", f"{self.slowest_relaxation:.3g}"
            text += f", relaxing in {fast if fast == slow else f'{fast} to {slow}'} updates"
            text += f", {100 * self.variance_share:.3g} % of the variance"
        return text


def direction_ranges(run: AdvisedRun) -> tuple[DirectionRange, ...]:
    """The directions of a run, from the steepest to the flattest, by regime.

    Args:
        run: whose directions.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> spectrum = Spectrum([1.0, 0.1, 1e-4], counts=[1, 10, 1000])
    >>> for part in direction_ranges(AdvisedRun(Hyperparameters(0.1, 0.9), spectrum)):
    ...     print(part)
    11 underdamped, oscillating: h = 0.1 to 1, relaxing in 19 updates, 1.09 % of the variance
    1000 overdamped: h = 0.0001, relaxing in 9.99e+03 updates, 98.9 % of the variance
    """
    order = np.argsort(run.curvature)[::-1]
    h, counts, settles = run.curvature[order], run.counts[order], run.settles[order]
    regime = np.asarray(run.each.regime)[order]
    regime = np.where(h > 0, regime, np.where(h < 0, "falling", "flat"))
    relaxation = np.where(settles, np.asarray(run.each.relaxation_steps)[order], np.inf)
    share = counts * run.variances[order]
    share = share / max(share.sum(), np.finfo(np.float64).tiny)
    changes = (regime[1:] != regime[:-1]) | (settles[1:] != settles[:-1])
    starts = np.concatenate([[0], 1 + np.flatnonzero(changes)])
    ends = np.append(starts[1:], len(h))
    return tuple(
        DirectionRange(
            str(regime[first]),
            bool(settles[first]),
            float(counts[first:last].sum()),
            float(h[last - 1]),
            float(h[first]),
            float(relaxation[first:last].min()),
            float(relaxation[first:last].max()),
            float(share[first:last].sum()),
        )
        for first, last in zip(starts, ends, strict=True)
    )
