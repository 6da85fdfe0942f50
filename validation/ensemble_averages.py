r"""Time averages of every replica of an ensemble, gathered while it runs.

Averages run over whole epochs, so that each place within an epoch counts as often as any other, and
every product at a lag has the same origins as the squares it is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from validation.data import Array

__all__ = ["EnsembleAverages", "Stretch", "averages_of", "mean_of_stretches"]

_GROWN = 1e6


@dataclass(frozen=True)
class Stretch:
    """Consecutive states of R replicas about the minimum, in the eigenbasis, (R, T, d) each."""

    positions: Array
    velocities: Array


@dataclass(frozen=True)
class EnsembleAverages:
    """Averages over time, one a replica or group of them; R of these, L lags, d directions.

    Args:
        mean: of θ, (R, d).
        position_variance: of θ², about the minimum, (R, d).
        velocity_variance: of v², (R, d).
        covariance: of θv, (R, d).
        circulation: of ½(θ_{k+1} v_k − v_{k+1} θ_k), (R, d).
        products: of θ_{k+l} θ_k, (R, L, d).
        correlation_sums: of θ_k (½θ_k + θ_{k+1} + … + θ_{k+l}), (R, L, d).
        displacement: of Σ(θ_{k+l} − θ_k)² over all directions, (R, L).
    """

    mean: Array
    position_variance: Array
    velocity_variance: Array
    covariance: Array
    circulation: Array
    products: Array
    correlation_sums: Array
    displacement: Array

    @property
    def finite(self) -> bool:
        """Whether all of them are numbers."""
        return all(bool(np.all(np.isfinite(part))) for part in self._parts)

    @property
    def unbounded(self) -> bool:
        """Whether some replicas grow for ever, beside others that do not or are about to.

        Time averages of squares that differ a millionfold are no scatter: a stationary state, even
        one with the heavy tails of multiplicative noise, is seen alike by all replicas.
        """
        squares = self.position_variance.sum(axis=1)
        return not self.finite or bool(squares.max() > _GROWN * np.median(squares))

    @property
    def _parts(self) -> list[Array]:
        return [getattr(self, part.name) for part in fields(self)]

    def grouped(self, size: int) -> EnsembleAverages:
        """Averages of consecutive groups of `size` replicas; their number is a multiple of it."""
        return EnsembleAverages(
            *(part.reshape(-1, size, *part.shape[1:]).mean(axis=1) for part in self._parts)
        )

    @classmethod
    def joined(cls, some: Sequence[EnsembleAverages]) -> EnsembleAverages:
        """Those of several ensembles, one after the other."""
        return cls(*map(np.concatenate, zip(*(each._parts for each in some), strict=True)))


def averages_of(stretch: Stretch, lags: Sequence[int]) -> EnsembleAverages:
    """Averages over the origins that leave room for the longest lag."""
    x, v = stretch.positions, stretch.velocities
    origins = x.shape[1] - max(*lags, 1)
    start, speed = x[:, :origins], v[:, :origins]

    def mean(first: Array, second: Array) -> Array:
        return np.einsum("rtd,rtd->rd", first, second) / origins

    # Sums from the first state on: a window's sum is the difference of two of them.
    sums = np.cumsum(x, axis=1)
    variance, products, windows, displacement = mean(start, start), [], [], []
    for lag in lags:
        later = x[:, lag : lag + origins]
        products.append(mean(start, later))
        windows.append(mean(start, sums[:, lag : lag + origins] - sums[:, :origins]) + variance / 2)
        moved = later - start
        displacement.append(np.einsum("rtd,rtd->r", moved, moved) / origins)
    forth = mean(x[:, 1 : origins + 1], speed)
    back = mean(v[:, 1 : origins + 1], start)
    return EnsembleAverages(
        start.mean(axis=1),
        variance,
        mean(speed, speed),
        mean(start, speed),
        (forth - back) / 2,
        np.stack(products, axis=1),
        np.stack(windows, axis=1),
        np.stack(displacement, axis=1),
    )


def mean_of_stretches(stretches: Iterable[Stretch], lags: Sequence[int]) -> EnsembleAverages:
    """Averages over stretches of one length, each forgotten before the next is made."""
    total: list[Array] | None = None
    count = 0
    for stretch in stretches:
        found = averages_of(stretch, lags)
        parts = [getattr(found, part.name) for part in fields(found)]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
        count += 1
    if total is None:
        raise ValueError("There is no stretch to average over.")
    return EnsembleAverages(*(part / count for part in total))
