"""NumPy: the generated source, run on arrays."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.lowering.printer import ELEMENTARY, Source, define
from sgdtheory.lowering.propagation import LARGEST_SHORT_TIME, compose, short_time, unit_step

__all__ = ["compile_source", "doublings"]

Array = NDArray[np.float64]


def doublings(time: Any, trace: Any, determinant: Any) -> int:
    """How often the longest time is halved until every mode's series converges."""
    fastest = max(
        float(np.max(np.abs(trace * time), initial=0.0)),
        float(np.sqrt(np.max(np.abs(determinant) * time * time, initial=0.0))),
    )
    if not np.isfinite(fastest):
        raise ValueError(
            f"(trace, determinant, time) give a rate of {fastest}: pass finite numbers."
        )
    return max(0, ceil(log2(fastest / LARGEST_SHORT_TIME))) if fastest > 0 else 0


def continuous_mode(time: Array, trace: Array, determinant: Array) -> tuple[Array, ...]:
    count = doublings(time, trace, determinant)
    state = short_time(time / 2.0**count, trace, determinant)
    for _ in range(count):
        state = compose(state, state, determinant, np.where)
    return state


def discrete_mode(steps: Array, trace: Array, determinant: Array) -> tuple[Array, ...]:
    count = np.asarray(steps)
    if np.any(count != np.floor(count)) or np.any(count < 0):
        raise ValueError(f"k = {count}: update counts are whole numbers ≥ 0. Round them.")
    remaining = count.astype(np.int64)
    power = unit_step(trace, determinant)
    zero = np.zeros(np.broadcast_shapes(np.shape(count), np.shape(power[0])))
    state: tuple[Array, ...] = (zero + 1.0, zero, zero, zero + 1.0, zero, zero, zero)
    while np.any(remaining):
        taken = compose(state, power, determinant, np.where)
        odd = (remaining & 1).astype(bool)
        state = tuple(np.where(odd, new, old) for new, old in zip(taken, state, strict=True))
        remaining = remaining >> 1
        if np.any(remaining):
            power = compose(power, power, determinant, np.where)
    return state


NAMESPACE: dict[str, Any] = {
    **{name: getattr(np, {"atan": "arctan"}.get(name, name)) for name in ELEMENTARY.values()},
    "sqrt": np.sqrt,
    "continuous_mode": continuous_mode,
    "discrete_mode": discrete_mode,
}


def compile_source(source: Source) -> Callable[..., Array]:
    """The source as a function of arrays that broadcast."""
    entries = define(source.text, "lowered", NAMESPACE)

    def call(*arguments: ArrayLike) -> Array:
        arrays = [np.asarray(argument, dtype=np.float64) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = entries(*arrays)
        if source.shape is None:
            return np.array(np.broadcast_to(values[0], shape))
        result = np.empty((*shape, len(values)))
        for index, value in enumerate(values):
            result[..., index] = value
        return result.reshape(*shape, *source.shape)

    return call
