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

# Compiled functions have no static type of their own.
jit: Any = numba.njit


@jit(inline="always")
def _choose(condition: bool, yes: float, no: float) -> float:
    return yes if condition else no


_compose_flows = jit(propagation.compose_flows)
_compose_moments = jit(propagation.compose_moments)
_compose_sums = jit(propagation.compose_sums)
_restored_sums = jit(propagation.restored_sums)
_short_flow = jit(propagation.short_flow)
_short_moments = jit(propagation.short_moments)
_unit_flow = jit(propagation.unit_flow)
_unit_moments = jit(propagation.unit_moments)
_mirror = jit(propagation.mirror)
_mirror_flow = jit(propagation.mirror_flow)
_mirror_moments = jit(propagation.mirror_moments)
_LARGEST = propagation.LARGEST_SHORT_TIME


@jit
def _doublings(time: float, trace: float, determinant: float) -> int:
    fastest = max(abs(trace) * time, math.sqrt(abs(determinant)) * time)
    if not math.isfinite(fastest):
        raise ValueError("(trace, determinant, time) give an infinite rate: pass finite numbers.")
    return math.ceil(math.log2(fastest / _LARGEST)) if fastest > _LARGEST else 0


@jit
def _checked_steps(steps: float) -> int:
    if not 0 <= steps <= 2.0**53 or steps != math.floor(steps):
        raise ValueError("k: update counts are whole numbers from 0 to 2**53.")
    return int(steps)


@jit
def _continuous_flow(time: float, trace: float, determinant: float) -> Any:
    count = _doublings(time, trace, determinant)
    flow = _short_flow(time / 2.0**count, trace, determinant)
    for _ in range(count):
        flow = _compose_flows(flow, flow, determinant, _choose)
    return flow


@jit
def _continuous_mode(time: float, trace: float, determinant: float) -> Any:
    count = _doublings(time, trace, determinant)
    short = time / 2.0**count
    flow = _short_flow(short, trace, determinant)
    moments = _short_moments(short, trace, determinant, flow)
    for _ in range(count):
        moments = _compose_moments(moments, flow, moments, determinant)
        flow = _compose_flows(flow, flow, determinant, _choose)
    return flow + moments


@jit
def _discrete_flow(steps: float, trace: float, determinant: float) -> Any:
    remaining = _checked_steps(steps)
    sign, own_trace = 1.0 - 2.0 * (remaining % 2), trace
    if own_trace > 2:
        trace, determinant = _mirror(trace, determinant)
    power = _unit_flow(trace, determinant)
    flow = (1.0, 0.0, 0.0, 1.0)
    while remaining > 0:
        if remaining & 1:
            flow = _compose_flows(flow, power, determinant, _choose)
        remaining >>= 1
        power = _compose_flows(power, power, determinant, _choose)
    return _mirror_flow(flow, own_trace, sign) if own_trace > 2 else flow


@jit
def _discrete_mode(steps: float, trace: float, determinant: float) -> Any:
    remaining = _checked_steps(steps)
    sign, own_trace = 1.0 - 2.0 * (remaining % 2), trace
    if own_trace > 2:
        trace, determinant = _mirror(trace, determinant)
    power, power_moments = _unit_flow(trace, determinant), _unit_moments(trace, determinant)
    flow, moments = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)
    while remaining > 0:
        if remaining & 1:
            moments = _compose_moments(moments, power, power_moments, determinant)
            flow = _compose_flows(flow, power, determinant, _choose)
        remaining >>= 1
        power_moments = _compose_moments(power_moments, power, power_moments, determinant)
        power = _compose_flows(power, power, determinant, _choose)
    if own_trace > 2:
        flow, moments = _mirror_flow(flow, own_trace, sign), _mirror_moments(moments)
    return flow + moments


@jit
def _discrete_sums(steps: float, trace: float, determinant: float) -> Any:
    if trace > 2:
        whole = _discrete_mode(steps, trace, determinant)
        return _restored_sums(steps, whole[:4], whole[4:], trace, determinant)
    remaining = _checked_steps(steps)
    power, power_moments = _unit_flow(trace, determinant), _unit_moments(trace, determinant)
    flow, sums, power_sums = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    size = 1.0
    while remaining > 0:
        if remaining & 1:
            sums = _compose_sums(sums, flow, power_sums, power, power_moments, size)
            flow = _compose_flows(flow, power, determinant, _choose)
        remaining >>= 1
        power_sums = _compose_sums(power_sums, power, power_sums, power, power_moments, size)
        power_moments = _compose_moments(power_moments, power, power_moments, determinant)
        power = _compose_flows(power, power, determinant, _choose)
        size *= 2.0
    return sums


@jit
def _minimum(first: float, second: float) -> float:
    return min(first, second)


@jit
def _maximum(first: float, second: float) -> float:
    return max(first, second)


NAMESPACE: dict[str, Any] = {
    **{name: getattr(math, name) for name in ELEMENTARY.values()},
    "sqrt": math.sqrt,
    "continuous_flow": _continuous_flow,
    "continuous_mode": _continuous_mode,
    "discrete_flow": _discrete_flow,
    "discrete_mode": _discrete_mode,
    "discrete_sums": _discrete_sums,
    "minimum": _minimum,
    "maximum": _maximum,
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
    scalar = jit(define(source.text, "lowered", NAMESPACE), error_model="numpy")
    loop = jit(define(_loop(source), "loop", {"lowered": scalar}), error_model="numpy")
    tail = () if source.shape is None else source.shape
    entries = 1 if source.shape is None else source.shape[0] * source.shape[1]

    def call(*arguments: ArrayLike) -> NDArray[np.float64]:
        arrays = [np.asarray(argument, dtype=np.float64) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        flat = [np.ascontiguousarray(np.broadcast_to(array, shape)).ravel() for array in arrays]
        out = np.empty((math.prod(shape), entries))
        loop(*flat, out)
        return out.reshape((*shape, *tail))

    return call
