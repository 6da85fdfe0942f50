"""NumPy: the generated source, run on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.arrays import real
from sgdtheory.lowering.batches import continuous_batch, discrete_batch, discrete_sums_batch
from sgdtheory.lowering.printer import ELEMENTARY, Source, define
from sgdtheory.lowering.propagation import LARGEST_SHORT_TIME

__all__ = ["compile_source", "doublings"]

Array = NDArray[np.float64]


def doublings(time: Any, trace: Any, determinant: Any) -> NDArray[np.int64]:
    """How often each time must be halved for its mode's series to converge.

    Each element has its own number: halving further than needed would cost it accuracy.
    """
    fastest = np.maximum(np.abs(trace) * time, np.sqrt(np.abs(determinant)) * time)
    if not np.all(np.isfinite(fastest)):
        raise ValueError(
            f"(trace, determinant, time) give a rate of {np.max(fastest)}: pass finite numbers."
        )
    halvings = np.ceil(np.log2(np.maximum(fastest / LARGEST_SHORT_TIME, 1.0)))
    return np.asarray(halvings, dtype=np.int64)


def _continuous(time: Any, trace: Any, determinant: Any, *, gather: bool) -> tuple[Any, ...]:
    halvings = doublings(time, trace, determinant)
    return continuous_batch(time, trace, determinant, halvings, np.where, gather=gather)


def _whole(steps: Any) -> NDArray[np.int64]:
    if np.any(steps != np.floor(steps)) or np.any(np.less(steps, 0) | np.greater(steps, 2.0**53)):
        raise ValueError(f"k = {steps}: update counts are whole numbers from 0 to 2⁵³.")
    return np.asarray(steps, dtype=np.int64)


def _discrete(steps: Any, trace: Any, determinant: Any, *, gather: bool) -> tuple[Any, ...]:
    whole = _whole(steps)
    return discrete_batch(whole, np.asarray(trace), determinant, np.where, gather=gather)


def _discrete_sums(steps: Any, trace: Any, determinant: Any) -> Any:
    return discrete_sums_batch(_whole(steps), np.asarray(trace), determinant, np.where)


def _quotient(function: Callable[[Any], Any], x: Any, y: Any) -> Any:
    """f(x y)/x, and its limit y at x = 0."""
    zero = np.equal(x, 0)
    value = function(np.multiply(x, y)) / np.where(zero, 1.0, x)
    return np.where(zero | np.equal(np.multiply(x, y), 0), y, value)


NAMESPACE: dict[str, Any] = {
    **{name: getattr(np, {"atan": "arctan"}.get(name, name)) for name in ELEMENTARY.values()},
    "sqrt": np.sqrt,
    "sin_quotient": partial(_quotient, np.sin),
    "sinh_quotient": partial(_quotient, np.sinh),
    "tanh_quotient": partial(_quotient, np.tanh),
    "expm1_quotient": partial(_quotient, np.expm1),
    "continuous_flow": partial(_continuous, gather=False),
    "continuous_mode": partial(_continuous, gather=True),
    "discrete_flow": partial(_discrete, gather=False),
    "discrete_mode": partial(_discrete, gather=True),
    "discrete_sums": _discrete_sums,
    "minimum": np.minimum,
    "maximum": np.maximum,
}

# Elements computed together: their intermediate arrays stay in a core's cache.
BLOCK = 2**14


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most BLOCK elements that fill an array, filled from the last axis."""
    room, lengths = BLOCK, []
    for size in reversed(shape):
        lengths.append(max(1, min(size, room)))
        room //= lengths[-1]
    lengths.reverse()
    corners = (range(0, size, length) for size, length in zip(shape, lengths, strict=True))
    for corner in product(*corners):
        yield tuple(slice(a, a + n) for a, n in zip(corner, lengths, strict=True))


def _part(array: Array, block: tuple[slice, ...]) -> Array:
    """The part of an array that a block of its broadcast shape needs."""
    aligned = zip(array.shape, block[len(block) - array.ndim :], strict=True)
    return array[tuple(slice(None) if size == 1 else box for size, box in aligned)]


def compile_source(source: Source) -> Callable[..., Array]:
    """The source as a function of arrays that broadcast."""
    entries = define(source.text, "lowered", NAMESPACE)
    tail = () if source.shape is None else source.shape

    def call(*arguments: ArrayLike) -> Array:
        arrays = [real(argument) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        result = np.empty((*shape, prod(tail)))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for block in _blocks(shape):
                part = result[block]
                for index, value in enumerate(entries(*(_part(a, block) for a in arrays))):
                    part[..., index] = value
        return result.reshape((*shape, *tail))

    return call
