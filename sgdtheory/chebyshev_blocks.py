r"""Sums over any number of points as sums over a few: Chebyshev interpolation, block by block.

Blocks divide the positive numbers up to the largest by factors of 8. On each, a function f is
interpolated at n Chebyshev points, f ≈ Σ_j f(x_j) ℓ_j, so that

.. math:: \sum_i w_i f(\rho_i) \approx \sum_j \Bigl(\sum_i w_i \ell_j(\rho_i)\Bigr) f(x_j)

whatever the points are: if the interpolant errs by at most ε |f| on the block and w ≥ 0, the sum
errs by at most ε Σ w |f|. The new weights are made of the points' Chebyshev moments Σ w T_l(ρ),
which are gathered in one pass. They may be negative, and their sum is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATIO", "ChebyshevBlocks", "chebyshev_points", "points_needed"]

Array: TypeAlias = NDArray[np.float64]

RATIO = 8.0
# Points taken in together: what is computed of them stays in a core's cache.
_CHUNK = 2**18
_OCTAVES = 900
# No more can be rounding, of values good to 12 digits.
_ROUNDING = 1e-11


def chebyshev_points(count: int, largest: float = 1.0) -> Array:
    """The Chebyshev points of [largest/8, largest], from the largest down.

    >>> chebyshev_points(1, 8.0)
    array([4.5])
    """
    angle = np.pi * (np.arange(count) + 0.5) / count
    return largest * (1 + 1 / RATIO + (1 - 1 / RATIO) * np.cos(angle)) / 2


def points_needed(values: Array, tolerance: float) -> int | None:
    """Points from which functions are interpolated with a relative error below a tolerance.

    An interpolant at n points errs by at most twice the sum of the coefficients from the n-th on:
    what it drops, and what it takes for something else.

    Args:
        values: of the functions at Chebyshev points, (functions, points); positive.
        tolerance: relative to the smallest value of a function.

    Returns:
        None where the points given are too few to tell.

    >>> points = chebyshev_points(64)
    >>> points_needed(np.stack([points**3, 1 / points]), 1e-6)
    23
    """
    size = values.shape[-1]
    coefficients = _cosine_transform(values, 2) / size
    sizes = np.abs(coefficients)
    # Past the last true coefficient is what rounding left in the values, all of one size.
    scale = values.max(axis=1, keepdims=True)
    rounding = 4 * sizes[:, 3 * size // 4 :].max(axis=1, keepdims=True)
    sizes[(sizes < rounding) & (rounding < _ROUNDING * scale)] = 0
    tails = 2 * np.cumsum(sizes[:, ::-1], axis=1)[:, ::-1]
    errors = (tails / values.min(axis=1, keepdims=True)).max(axis=0)
    small = np.flatnonzero(errors <= tolerance)
    return int(small[0]) if small.size and small[0] <= size // 2 else None


@dataclass
class _Block:
    """What is known of the points in a block: themselves while they are few, then moments."""

    points: int
    few: list[Array] = field(default_factory=list)
    moments: Array | None = None
    count: int = 0


class ChebyshevBlocks:
    """Gathers weighted points, chunk by chunk, into blocks.

    Args:
        largest: no point is larger.
        points: Chebyshev points of a block, by its number; block 0 is (largest/8, largest].

    >>> blocks = ChebyshevBlocks(1.0, lambda block: 20)
    >>> blocks.add(np.linspace(0.01, 1, 1000), np.ones((1, 1000)))
    >>> nodes, weights = blocks.nodes_and_weights()
    >>> len(nodes), round(float(weights[0] @ np.exp(nodes)), 9)
    (46, 1725.625347183)
    """

    def __init__(self, largest: float, points: Callable[[int], int]) -> None:
        self._largest = largest
        self._points = points
        self._blocks: dict[int, _Block] = {}
        self._at_zero: Array | float = 0.0

    def add(self, points: Array, weights: Array) -> None:
        """Take in points ≥ 0, (n,), and the weights of one or several measures, (measures, n)."""
        for start in range(0, len(points), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(points[part], weights[:, part])

    def _add(self, points: Array, weights: Array) -> None:
        zero = points == 0
        self._at_zero = self._at_zero + weights[:, zero].sum(axis=1)
        octave = np.log2(self._largest) - np.log2(np.where(zero, self._largest, points))
        if octave.max() > _OCTAVES:
            raise ValueError(
                f"{points[np.argmax(octave)]} beside {self._largest:g}: points below 1e-270 of the "
                "largest are not 0 and cannot be told from it. Set them to 0, or leave them out."
            )
        number = np.maximum(octave / np.log2(RATIO), 0.0).astype(np.int16)
        number[zero] = -1
        order = np.argsort(number, kind="stable")
        numbers, starts = np.unique(number[order], return_index=True)
        for block, indices in zip(numbers, np.split(order, starts[1:]), strict=True):
            if block >= 0:
                self._add_to(int(block), points[indices], weights[:, indices])

    def _add_to(self, number: int, points: Array, weights: Array) -> None:
        if number not in self._blocks:
            self._blocks[number] = _Block(self._points(number))
        block = self._blocks[number]
        block.count += len(points)
        if block.moments is None:
            block.few.append(np.vstack([points, weights]))
            if block.count <= block.points:
                return
            points, *rest = np.hstack(block.few)
            weights, block.few = np.array(rest), []
            block.moments = np.zeros((len(weights), block.points))
        self._gather(block.moments, points * (RATIO**number / self._largest), weights)

    @staticmethod
    def _gather(moments: Array, scaled: Array, weights: Array) -> None:
        """Add Σ w T_l(z), with z the points on [−1, 1], for every l."""
        z = (2 * scaled - (1 + 1 / RATIO)) / (1 - 1 / RATIO)
        before, now = np.ones_like(z), z.copy()
        moments[:, 0] += weights.sum(axis=1)
        twice = 2 * z
        for degree in range(1, moments.shape[1]):
            moments[:, degree] += np.einsum("mi,i->m", weights, now)
            before *= -1
            before += twice * now
            before, now = now, before

    def nodes_and_weights(self) -> tuple[Array, Array]:
        """Nodes, ascending, and the weights of every measure at them, (measures, nodes)."""
        nodes, weights = [], []
        if np.any(self._at_zero):
            nodes.append(np.zeros(1))
            weights.append(np.reshape(self._at_zero, (-1, 1)))
        for number, block in self._blocks.items():
            if block.moments is None:
                points, *rest = np.hstack(block.few)
                own, where = np.unique(points, return_inverse=True)
                nodes.append(own)
                weights.append(np.array([np.bincount(where, w, minlength=len(own)) for w in rest]))
            else:
                nodes.append(chebyshev_points(block.points, self._largest / RATIO**number))
                weights.append(_weights(block.moments))
        all_nodes = np.concatenate(nodes)
        order = np.argsort(all_nodes)
        return all_nodes[order], np.concatenate(weights, axis=1)[:, order]


def _weights(moments: Array) -> Array:
    """Σ w ℓ_j: the interpolating polynomials ℓ_j in Chebyshev polynomials."""
    count = moments.shape[1]
    return _cosine_transform(moments, 3) / count


def _cosine_transform(values: Array, kind: Literal[2, 3]) -> Array:
    # Imported here: SciPy takes longer to import than this package.
    from scipy.fft import dct

    return np.asarray(dct(values, type=kind, axis=-1))
