r"""Averages over replicas, each with its standard error.

A replica's time average is one number, however long its memory: the replicas are independent, so
the spread of these numbers is an honest standard error that knows all autocorrelation. Averages
over time of squares and products are unbiased; ratios and exponents are corrected by the jackknife.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from validation.data import Array
from validation.estimators.estimate import Estimate

if TYPE_CHECKING:
    from validation.trajectories import Segment

__all__ = ["ReplicaAverages", "averages", "jackknife", "replica_mean"]


@dataclass(frozen=True)
class ReplicaAverages:
    """Time averages of every replica; directions are summed over outputs.

    Args:
        lags: (lags,), in updates.
        position_variance: mean of θ², (replicas, directions).
        velocity_variance: mean of v², likewise.
        circulation: mean of ½(θ_{k+1} v_k − v_{k+1} θ_k), likewise.
        products: mean of θ_{k+l} θ_k, (replicas, lags, directions).
        displacement: mean of |θ_{k+l} − θ_k|², (replicas, lags).
    """

    lags: tuple[int, ...]
    position_variance: Array
    velocity_variance: Array
    circulation: Array
    products: Array
    displacement: Array


def _of_segment(segment: Segment, lags: Sequence[int]) -> ReplicaAverages:
    positions, velocities = segment.positions, segment.velocities
    squares = torch.einsum("ritm,ritm->rt", positions, positions)
    products, displacement = [], []
    for lag in lags:
        product = _lagged_product(positions, positions, lag)
        ends = squares[:, lag:].mean(1) + squares[:, : squares.shape[1] - lag].mean(1)
        products.append(product)
        displacement.append(ends - 2 * product.sum(-1))
    forth = _lagged_product(velocities, positions, 1)
    back = _lagged_product(positions, velocities, 1)
    return ReplicaAverages(
        tuple(lags),
        _lagged_product(positions, positions, 0).numpy(),
        _lagged_product(velocities, velocities, 0).numpy(),
        ((forth - back) / 2).numpy(),
        torch.stack(products, dim=1).numpy(),
        torch.stack(displacement, dim=1).numpy(),
    )


def _lagged_product(first: torch.Tensor, second: torch.Tensor, lag: int) -> torch.Tensor:
    """Mean over time of first_k second_{k+lag}, summed over outputs: (replicas, directions)."""
    length = first.shape[2] - lag
    earlier, later = first[:, :, :length], second[:, :, lag:]
    return torch.einsum("ritm,ritm->ri", earlier, later) / length


def averages(segments: Iterable[Segment], lags: Sequence[int]) -> ReplicaAverages:
    """Averages over segments of one length, each gathered while the next is trained."""
    gathered = [_of_segment(segment, lags) for segment in segments]
    names = (
        "position_variance",
        "velocity_variance",
        "circulation",
        "products",
        "displacement",
    )
    means = (np.mean([getattr(part, name) for part in gathered], axis=0) for name in names)
    return ReplicaAverages(tuple(lags), *means)


def replica_mean(samples: Array) -> Estimate:
    """Mean over replicas (the first axis), with the standard error of that mean."""
    count = len(samples)
    return Estimate(samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(count), count)


def jackknife(function: Callable[..., Array], *samples: Array) -> Estimate:
    """A function of means over replicas, corrected for bias, with its standard error.

    Args:
        function: of the means of `samples`.
        samples: arrays with replicas on the first axis.
    """
    count = len(samples[0])
    sums = [sample.sum(axis=0) for sample in samples]
    whole = function(*(total / count for total in sums))
    without = np.stack(
        [
            function(*((t - s[i]) / (count - 1) for t, s in zip(sums, samples, strict=True)))
            for i in range(count)
        ]
    )
    error = np.sqrt((count - 1) / count * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    return Estimate(count * whole - (count - 1) * without.mean(axis=0), error, count)
