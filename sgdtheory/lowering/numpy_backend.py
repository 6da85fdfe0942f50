"""NumPy: the generated source, run on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.lowering.printer import ELEMENTARY, Source, define
from sgdtheory.lowering.propagation import (
    LARGEST_SHORT_TIME,
    Flow,
    compose_flows,
    compose_moments,
    mirror,
    mirror_flow,
    mirror_moments,
    short_flow,
    short_moments,
    unit_flow,
    unit_moments,
)

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
    counts: NDArray[np.int64] = halvings.astype(np.int64)
    return counts


def continuous_flow(time: Array, trace: Array, determinant: Array) -> Flow:
    """Flow after a time; broadcasts."""
    relaxation, step, impulse, velocity, *_ = continuous_mode(
        time, trace, determinant, gather=False
    )
    return relaxation, step, impulse, velocity


def continuous_mode(
    time: Array, trace: Array, determinant: Array, *, gather: bool = True
) -> tuple[Array, ...]:
    """Flow and moments after a time, by doubling a short one; broadcasts."""
    count = doublings(time, trace, determinant)
    short = time / 2.0**count
    flow: Any = short_flow(short, trace, determinant)
    moments: Any = short_moments(short, trace, determinant, flow) if gather else ()
    for done in range(int(np.max(count, initial=0))):
        more = done < count
        if gather:
            longer = compose_moments(moments, flow, moments, determinant)
            moments = tuple(np.where(more, *pair) for pair in zip(longer, moments, strict=True))
        doubled = compose_flows(flow, flow, determinant, np.where)
        flow = tuple(np.where(more, *pair) for pair in zip(doubled, flow, strict=True))
    return (*flow, *moments)


def discrete_flow(steps: Array, trace: Array, determinant: Array) -> Flow:
    """Flow after a number of updates; broadcasts."""
    relaxation, step, impulse, velocity, *_ = discrete_mode(steps, trace, determinant, gather=False)
    return relaxation, step, impulse, velocity


def discrete_mode(
    steps: Array, trace: Array, determinant: Array, *, gather: bool = True
) -> tuple[Array, ...]:
    """Flow and moments after a number of updates, by binary powers; broadcasts."""
    steps = np.asarray(steps)
    if np.any(steps != np.floor(steps)) or np.any(steps < 0):
        raise ValueError(f"k = {steps}: update counts are whole numbers ≥ 0. Round them.")
    alternating, sign = trace > 2, 1.0 - 2.0 * (steps % 2)
    own_trace = trace
    trace, determinant = (
        np.where(alternating, *pair)
        for pair in zip(mirror(trace, determinant), (trace, determinant), strict=True)
    )
    remaining = steps.astype(np.int64)
    power, power_moments = unit_flow(trace, determinant), unit_moments(trace, determinant)
    zero = np.zeros(np.broadcast_shapes(steps.shape, np.shape(power[0])))
    flow: Any = (zero + 1.0, zero, zero, zero + 1.0)
    moments: Any = (zero, zero, zero)
    while np.any(remaining):
        odd = (remaining & 1).astype(bool)
        if gather:
            more = compose_moments(moments, power, power_moments, determinant)
            moments = tuple(np.where(odd, *pair) for pair in zip(more, moments, strict=True))
        further = compose_flows(flow, power, determinant, np.where)
        flow = tuple(np.where(odd, *pair) for pair in zip(further, flow, strict=True))
        remaining = remaining >> 1
        if gather:
            power_moments = compose_moments(power_moments, power, power_moments, determinant)
        power = compose_flows(power, power, determinant, np.where)
    mirrored = (*mirror_flow(flow, own_trace, sign), *mirror_moments(moments))
    pairs = zip(mirrored, (*flow, *moments), strict=True)
    return tuple(np.where(alternating, *pair) for pair in pairs)


NAMESPACE: dict[str, Any] = {
    **{name: getattr(np, {"atan": "arctan"}.get(name, name)) for name in ELEMENTARY.values()},
    "sqrt": np.sqrt,
    "continuous_flow": continuous_flow,
    "continuous_mode": continuous_mode,
    "discrete_flow": discrete_flow,
    "discrete_mode": discrete_mode,
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
        arrays = [np.asarray(argument, dtype=np.float64) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        result = np.empty((*shape, prod(tail)))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for block in _blocks(shape):
                part = result[block]
                for index, value in enumerate(entries(*(_part(a, block) for a in arrays))):
                    part[..., index] = value
        return result.reshape((*shape, *tail))

    return call
