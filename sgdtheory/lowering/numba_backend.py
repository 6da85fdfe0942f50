"""Numba: the generated source compiled for scalars, in a loop over the broadcast arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.lowering import propagation
from sgdtheory.lowering.printer import ELEMENTARY, Source, define

__all__ = ["compile_source"]


@numba.njit(inline="always")
def _choose(condition: bool, yes: float, no: float) -> float:
    return yes if condition else no


_compose = numba.njit(propagation.compose)
_short_time = numba.njit(propagation.short_time)
_unit_step = numba.njit(propagation.unit_step)
_LARGEST = propagation.LARGEST_SHORT_TIME


@numba.njit
def _continuous_mode(time: float, trace: float, determinant: float) -> Any:
    fastest = max(abs(trace) * time, math.sqrt(abs(determinant)) * time)
    if not math.isfinite(fastest):
        raise ValueError("(trace, determinant, time) give an infinite rate: pass finite numbers.")
    count = 0
    if fastest > _LARGEST:
        count = math.ceil(math.log2(fastest / _LARGEST))
    state = _short_time(time / 2.0**count, trace, determinant)
    for _ in range(count):
        state = _compose(state, state, determinant, _choose)
    return state


@numba.njit
def _discrete_mode(steps: float, trace: float, determinant: float) -> Any:
    if steps < 0 or steps != math.floor(steps):
        raise ValueError("k: update counts are whole numbers >= 0. Round them.")
    remaining = int(steps)
    power = _unit_step(trace, determinant)
    state = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    while remaining > 0:
        if remaining & 1:
            state = _compose(state, power, determinant, _choose)
        remaining >>= 1
        if remaining > 0:
            power = _compose(power, power, determinant, _choose)
    return state


NAMESPACE: dict[str, Any] = {
    **{name: getattr(math, name) for name in ELEMENTARY.values()},
    "sqrt": math.sqrt,
    "continuous_mode": _continuous_mode,
    "discrete_mode": _discrete_mode,
}


def _loop(source: Source) -> str:
    """Source of the loop that fills one row of `out` per element."""
    elements = ", ".join(f"{name}[i]" for name in source.parameters)
    entries = 1 if source.shape is None else source.shape[0] * source.shape[1]
    assignments = "\n".join(f"        out[i, {j}] = values[{j}]" for j in range(entries))
    return (
        f"def loop({', '.join((*source.parameters, 'out'))}):\n"
        f"    for i in range(out.shape[0]):\n"
        f"        values = lowered({elements})\n"
        f"{assignments}\n"
    )


def compile_source(source: Source) -> Callable[..., NDArray[np.float64]]:
    """The source as a compiled function of arrays that broadcast."""
    scalar = numba.njit(define(source.text, "lowered", NAMESPACE), error_model="numpy")
    loop = numba.njit(define(_loop(source), "loop", {"lowered": scalar}), error_model="numpy")
    tail = () if source.shape is None else source.shape
    entries = 1 if source.shape is None else source.shape[0] * source.shape[1]

    def call(*arguments: ArrayLike) -> NDArray[np.float64]:
        arrays = [np.asarray(argument, dtype=np.float64) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        flat = [np.ascontiguousarray(np.broadcast_to(array, shape)).ravel() for array in arrays]
        out = np.empty((math.prod(shape), entries))
        loop(*flat, out)
        return out.reshape(*shape, *tail)

    return call
