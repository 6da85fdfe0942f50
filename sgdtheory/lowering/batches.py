"""Modes by the array, for any array library: each element in as many compositions as it needs.

An array library is known by its ``where`` alone; the rest is arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sgdtheory.lowering.propagation import (
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

__all__ = ["continuous_batch", "discrete_batch"]

Choose = Callable[..., Any]


def _chosen(choose: Choose, condition: Any, yes: Any, no: Any) -> Any:
    """`where`, for every entry of a state."""
    return tuple(choose(condition, *pair) for pair in zip(yes, no, strict=True))


def continuous_batch(
    time: Any, trace: Any, determinant: Any, halvings: Any, choose: Choose, *, gather: bool
) -> tuple[Any, ...]:
    """Flow, and moments if they are to be gathered, after a time: a short one, doubled.

    Args:
        time: of every element.
        trace: of its generator.
        determinant: of its generator.
        halvings: how often its time is halved first; whole numbers.
        choose: ``where`` of the array library.
        gather: whether moments are wanted.
    """
    short = time / 2.0**halvings
    flow: Any = short_flow(short, trace, determinant)
    moments: Any = short_moments(short, trace, determinant, flow) if gather else ()
    done = 0
    while bool((waiting := halvings > done).any()):
        if gather:
            longer = compose_moments(moments, flow, moments, determinant)
            moments = _chosen(choose, waiting, longer, moments)
        doubled = compose_flows(flow, flow, determinant, choose)
        flow = _chosen(choose, waiting, doubled, flow)
        done += 1
    return (*flow, *moments)


def discrete_batch(
    steps: Any, trace: Any, determinant: Any, choose: Choose, *, gather: bool
) -> tuple[Any, ...]:
    """Flow, and moments if they are to be gathered, after a number of updates: binary powers.

    Args:
        steps: of every element; whole numbers of an integer type.
        trace: of its generator.
        determinant: of its generator.
        choose: ``where`` of the array library.
        gather: whether moments are wanted.
    """
    alternating, sign, own_trace = trace > 2, 1.0 - 2.0 * (steps % 2), trace
    trace, determinant = _chosen(
        choose, alternating, mirror(trace, determinant), (trace, determinant)
    )
    power, power_moments = unit_flow(trace, determinant), unit_moments(trace, determinant)
    zero = 0.0 * (steps + power[0])
    flow: Any = (zero + 1.0, zero, zero, zero + 1.0)
    moments: Any = (zero, zero, zero) if gather else ()
    while bool((steps > 0).any()):
        odd = steps % 2 == 1
        if gather:
            longer = compose_moments(moments, power, power_moments, determinant)
            moments = _chosen(choose, odd, longer, moments)
        flow = _chosen(choose, odd, compose_flows(flow, power, determinant, choose), flow)
        steps = steps // 2
        # A power that nobody needs may overflow, and would spoil a gradient that passes it by.
        if bool((steps > 0).any()):
            if gather:
                power_moments = compose_moments(power_moments, power, power_moments, determinant)
            power = compose_flows(power, power, determinant, choose)
    flow = _chosen(choose, alternating, mirror_flow(flow, own_trace, sign), flow)
    if gather:
        moments = _chosen(choose, alternating, mirror_moments(moments), moments)
    return (*flow, *moments)
