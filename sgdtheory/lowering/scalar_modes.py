"""Modes one by one: what a compiled loop calls at every element, in plain scalar arithmetic.

Written in the part of Python that Numba compiles and `translation` turns into C and JavaScript:
numbers, tuples of them, branches and loops. Counts stay below 2⁵³, where every language has them.
"""

from __future__ import annotations

import math

from sgdtheory.lowering.propagation import (
    LARGEST_SHORT_TIME,
    Flow,
    Sums,
    compose_flows,
    compose_moments,
    compose_sums,
    mirror,
    mirror_flow,
    mirror_moments,
    restored_sums,
    short_flow,
    short_moments,
    unit_flow,
    unit_moments,
)

__all__ = [
    "checked_steps",
    "choose",
    "continuous_flow",
    "continuous_mode",
    "discrete_flow",
    "discrete_mode",
    "discrete_sums",
    "doublings",
    "expm1_quotient",
    "maximum",
    "minimum",
    "sin_quotient",
    "sinh_quotient",
    "tanh_quotient",
]

Mode = tuple[float, float, float, float, float, float, float]


def choose(condition: bool, yes: float, no: float) -> float:
    """`where`, of scalars."""
    return yes if condition else no


def minimum(first: float, second: float) -> float:
    """The smaller of two; NaN if one of them is."""
    return first if first < second or math.isnan(first) else second


def maximum(first: float, second: float) -> float:
    """The larger of two; NaN if one of them is."""
    return first if first > second or math.isnan(first) else second


def doublings(time: float, trace: float, determinant: float) -> int:
    """How often a time must be halved for its mode's series to converge."""
    fastest = maximum(abs(trace) * time, math.sqrt(abs(determinant)) * time)
    if not math.isfinite(fastest):
        raise ValueError("(trace, determinant, time) give an infinite rate: pass finite numbers.")
    return math.ceil(math.log2(fastest / LARGEST_SHORT_TIME)) if fastest > LARGEST_SHORT_TIME else 0


def checked_steps(steps: float) -> int:
    """A number of updates, as the whole number that it must be."""
    if not (0 <= steps <= 9007199254740992.0 and steps == math.floor(steps)):
        raise ValueError("k: update counts are whole numbers from 0 to 2**53.")
    return int(steps)


def continuous_flow(time: float, trace: float, determinant: float) -> Flow:
    """Flow after a time: a short one, doubled."""
    count = doublings(time, trace, determinant)
    flow = short_flow(time / 2.0**count, trace, determinant)
    for _ in range(count):
        flow = compose_flows(flow, flow, determinant, choose)
    return flow


def continuous_mode(time: float, trace: float, determinant: float) -> Mode:
    """Flow and moments after a time."""
    count = doublings(time, trace, determinant)
    short = time / 2.0**count
    flow = short_flow(short, trace, determinant)
    moments = short_moments(short, trace, determinant, flow)
    for _ in range(count):
        moments = compose_moments(moments, flow, moments, determinant)
        flow = compose_flows(flow, flow, determinant, choose)
    q, p, s, w = flow
    xx, xw, ww = moments
    return q, p, s, w, xx, xw, ww


def discrete_flow(steps: float, trace: float, determinant: float) -> Flow:
    """Flow after a number of updates: binary powers."""
    remaining = checked_steps(steps)
    sign, own_trace = 1.0 - 2.0 * (remaining % 2), trace
    if own_trace > 2:
        trace, determinant = mirror(trace, determinant)
    power = unit_flow(trace, determinant)
    flow = (1.0, 0.0, 0.0, 1.0)
    while remaining > 0:
        if remaining % 2 == 1:
            flow = compose_flows(flow, power, determinant, choose)
        remaining = remaining // 2
        power = compose_flows(power, power, determinant, choose)
    return mirror_flow(flow, own_trace, sign) if own_trace > 2 else flow


def discrete_mode(steps: float, trace: float, determinant: float) -> Mode:
    """Flow and moments after a number of updates."""
    remaining = checked_steps(steps)
    sign, own_trace = 1.0 - 2.0 * (remaining % 2), trace
    if own_trace > 2:
        trace, determinant = mirror(trace, determinant)
    power = unit_flow(trace, determinant)
    power_moments = unit_moments(trace, determinant)
    flow = (1.0, 0.0, 0.0, 1.0)
    moments = (0.0, 0.0, 0.0)
    while remaining > 0:
        if remaining % 2 == 1:
            moments = compose_moments(moments, power, power_moments, determinant)
            flow = compose_flows(flow, power, determinant, choose)
        remaining = remaining // 2
        power_moments = compose_moments(power_moments, power, power_moments, determinant)
        power = compose_flows(power, power, determinant, choose)
    if own_trace > 2:
        flow = mirror_flow(flow, own_trace, sign)
        moments = mirror_moments(moments)
    q, p, s, w = flow
    xx, xw, ww = moments
    return q, p, s, w, xx, xw, ww


def discrete_sums(steps: float, trace: float, determinant: float) -> Sums:
    """Repeated sums of the impulse response over a number of updates."""
    if trace > 2:
        q, p, s, w, xx, xw, ww = discrete_mode(steps, trace, determinant)
        return restored_sums(steps, (q, p, s, w), (xx, xw, ww), trace, determinant)
    remaining = checked_steps(steps)
    power = unit_flow(trace, determinant)
    power_moments = unit_moments(trace, determinant)
    flow = (1.0, 0.0, 0.0, 1.0)
    sums = (0.0, 0.0, 0.0, 0.0)
    power_sums = (0.0, 0.0, 0.0, 0.0)
    size = 1.0
    while remaining > 0:
        if remaining % 2 == 1:
            sums = compose_sums(sums, flow, power_sums, power, power_moments, size)
            flow = compose_flows(flow, power, determinant, choose)
        remaining = remaining // 2
        power_sums = compose_sums(power_sums, power, power_sums, power, power_moments, size)
        power_moments = compose_moments(power_moments, power, power_moments, determinant)
        power = compose_flows(power, power, determinant, choose)
        size = 2.0 * size
    return sums


def sin_quotient(x: float, y: float) -> float:
    """sin(x y)/x, and its limit y at x = 0."""
    return y if x == 0.0 or x * y == 0.0 else math.sin(x * y) / x


def sinh_quotient(x: float, y: float) -> float:
    """sinh(x y)/x, and its limit y at x = 0."""
    return y if x == 0.0 or x * y == 0.0 else math.sinh(x * y) / x


def tanh_quotient(x: float, y: float) -> float:
    """tanh(x y)/x, and its limit y at x = 0."""
    return y if x == 0.0 or x * y == 0.0 else math.tanh(x * y) / x


def expm1_quotient(x: float, y: float) -> float:
    """(exp(x y) − 1)/x, and its limit y at x = 0."""
    return y if x == 0.0 or x * y == 0.0 else math.expm1(x * y) / x
