r"""Moments of a run from a fixed start, one update after the other.

No stationary state is needed: below the stability limit and beyond it the recursion is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.arrays import real
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.second_moments import SecondMomentMap

__all__ = ["History", "RegressionMoments", "follow", "offset_of", "state_of"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RegressionMoments:
    """Moments of (θ − μ, v) after given numbers of updates from a fixed start.

    Args:
        mean: (steps, modes, 2) for Gaussian inputs; (steps, 2d), positions first, for a data set.
        covariance: (steps, modes, 2, 2); (steps, 2d, 2d).
        displacement: E|θ_k − θ_0|², summed over directions, (steps,).
    """

    mean: Array
    covariance: Array
    displacement: Array

    @property
    def second_moments(self) -> Array:
        """E[x xᵀ] of the state x = (θ − μ, v), of the shape of `covariance`."""
        return self.covariance + self.mean[..., :, None] * self.mean[..., None, :]


@dataclass(frozen=True, eq=False)
class History:
    """What a run from a fixed start recorded, in the Hessian's eigenbasis.

    Args:
        departures: mean of (θ, v) less the start, (steps, d, 2).
        covariances: (steps, d, 2, 2) of each direction, or (steps, d, d, 2, 2) of every pair.
    """

    departures: Array
    covariances: Array


def offset_of(name: str, value: ArrayLike, size: int) -> Array:
    """One number for each direction, from one for each or one for all.

    Raises:
        ValueError: for another shape, or numbers that are not finite.

    >>> offset_of("position", 0.5, 2)
    array([0.5, 0.5])
    """
    offset = real(value)
    if offset.shape not in ((), (size,)) or not np.all(np.isfinite(offset)):
        raise ValueError(
            f"{name} = {value!r} has shape {offset.shape}: give one finite number, or one for each "
            f"of the {size} directions."
        )
    return np.broadcast_to(offset, size)


def state_of(position: ArrayLike, velocity: ArrayLike, size: int) -> Array:
    """(θ − μ, v) of every direction at the start, (d, 2)."""
    return np.stack(
        [offset_of("position", position, size), offset_of("velocity", velocity, size)], axis=-1
    )


def _update_counts(steps: Any) -> NDArray[np.int64]:
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu" or np.any(counts < 0):
        raise ValueError(f"steps = {steps}: give whole numbers of updates ≥ 0, one or an array.")
    return counts.astype(np.int64)


def follow(
    update: SecondMomentMap,
    steps: ArrayLike,
    start: Array,
    covariance: Array,
    noise: Callable[[Array, Array], Array],
) -> History:
    """One update after the other: the mean by itself, the covariance with the noise it causes.

    Args:
        update: the map at numbers.
        steps: when to record, in any order.
        start: (θ − μ, v), (d, 2).
        covariance: zeros, (d, 2, 2) or (d, d, 2, 2).
        noise: covariance of one example's gradient, from the covariance and the mean of the points
            where gradients are taken.

    Raises:
        ValueError: for steps that are not whole numbers ≥ 0.
        UnstableError: when moments outgrow floating point.
    """
    counts = _update_counts(steps)
    maps = np.eye(2) - update.generators
    left, right = (maps, maps) if covariance.ndim == 3 else (maps[:, None], maps[None, :])
    lost = np.einsum("iab,ib->ia", update.generators, start)
    departure = np.zeros_like(start)
    kept: dict[int, tuple[Array, Array]] = {}
    asked = [int(k) for k in counts.ravel()]
    wanted = set(asked)
    # What overflows is refused below, in words.
    with np.errstate(over="ignore", invalid="ignore"):
        for count in range(max(wanted, default=0) + 1):
            if count in wanted:
                kept[count] = departure, covariance
            felt = noise(update.seen(covariance), (start + departure) @ update.look)
            covariance = left @ covariance @ np.swapaxes(right, -1, -2)
            covariance = covariance + felt[..., None, None] * update.injected
            departure = np.einsum("iab,ib->ia", maps, departure) - lost
    departures, covariances = (np.array([kept[k][part] for k in asked]) for part in (0, 1))
    if not np.all(np.isfinite(covariances)):
        raise UnstableError(
            f"steps up to {counts.max()}: second moments grow beyond floating point. Ask for fewer."
        )
    return History(
        departures.reshape(*counts.shape, *start.shape),
        covariances.reshape(*counts.shape, *covariance.shape),
    )
