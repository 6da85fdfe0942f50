"""Modes by the array, for any array library: each element in as many compositions as it needs.

An array library is known by its ``where`` alone; the rest is arithmetic. All elements go the rounds
of the slowest, and those that need no more keep what they have. The number of rounds is the only
thing that control flow takes from the data: it is read once, before the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sgdtheory.lowering.propagation import (
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

__all__ = ["continuous_batch", "discrete_batch", "discrete_sums_batch"]

Choose = Callable[..., Any]


def _largest(counts: Any) -> int:
    return 0 if 0 in counts.shape else int(counts.max())


def _chosen(choose: Choose, condition: Any, yes: Any, no: Any) -> Any:
    """`where`, for every entry of a state."""
    return tuple(choose(condition, *pair) for pair in zip(yes, no, strict=True))


def continuous_batch(
    time: Any,
    trace: Any,
    determinant: Any,
    halvings: Any,
    choose: Choose,
    *,
    gather: bool,
    largest: int | None = None,
) -> tuple[Any, ...]:
    """Flow, and moments if they are to be gathered, after a time: a short one, doubled.

    Args:
        time: of every element.
        trace: of its generator.
        determinant: of its generator.
        halvings: how often its time is halved first; whole numbers.
        choose: ``where`` of the array library.
        gather: whether moments are wanted.
        largest: of the halvings, if it is known.
    """
    short = time / 2.0**halvings
    flow: Any = short_flow(short, trace, determinant)
    moments: Any = short_moments(short, trace, determinant, flow) if gather else ()
    for done in range(_largest(halvings) if largest is None else largest):
        waiting = halvings > done
        if gather:
            longer = compose_moments(moments, flow, moments, determinant)
            moments = _chosen(choose, waiting, longer, moments)
        doubled = compose_flows(flow, flow, determinant, choose)
        flow = _chosen(choose, waiting, doubled, flow)
    return (*flow, *moments)


def discrete_batch(
    steps: Any,
    trace: Any,
    determinant: Any,
    choose: Choose,
    *,
    gather: bool,
    largest: int | None = None,
) -> tuple[Any, ...]:
    """Flow, and moments if they are to be gathered, after a number of updates: binary powers.

    Args:
        steps: of every element; whole numbers of an integer type.
        trace: of its generator.
        determinant: of its generator.
        choose: ``where`` of the array library.
        gather: whether moments are wanted.
        largest: of the steps, if it is known.
    """
    largest = _largest(steps) if largest is None else largest
    alternating, sign, own_trace = trace > 2, 1.0 - 2.0 * (steps % 2), trace
    trace, determinant = _chosen(
        choose, alternating, mirror(trace, determinant), (trace, determinant)
    )
    power, power_moments = unit_flow(trace, determinant), unit_moments(trace, determinant)
    zero = 0.0 * (steps + power[0])
    flow: Any = (zero + 1.0, zero, zero, zero + 1.0)
    moments: Any = (zero, zero, zero) if gather else ()
    for left in reversed(range(largest.bit_length())):
        odd = steps % 2 == 1
        if gather:
            longer = compose_moments(moments, power, power_moments, determinant)
            moments = _chosen(choose, odd, longer, moments)
        flow = _chosen(choose, odd, compose_flows(flow, power, determinant, choose), flow)
        steps = steps // 2
        if left:
            if gather:
                power_moments = compose_moments(power_moments, power, power_moments, determinant)
            power = compose_flows(power, power, determinant, choose)
    flow = _chosen(choose, alternating, mirror_flow(flow, own_trace, sign), flow)
    if gather:
        moments = _chosen(choose, alternating, mirror_moments(moments), moments)
    return (*flow, *moments)


def discrete_sums_batch(
    steps: Any, trace: Any, determinant: Any, choose: Choose, *, largest: int | None = None
) -> Any:
    """Repeated sums of the impulse response over a number of updates.

    Args:
        steps: of every element; whole numbers of an integer type.
        trace: of its generator.
        determinant: of its generator.
        choose: ``where`` of the array library.
        largest: of the steps, if it is known.
    """
    largest = _largest(steps) if largest is None else largest
    alternating = trace > 2
    whole = discrete_batch(steps, trace, determinant, choose, gather=True, largest=largest)
    # What stands in for an alternating mode is dropped at the end, and must only stay finite.
    own_trace, own_determinant = trace, choose(alternating, determinant, 1.0 + 0.0 * determinant)
    # In the modes' own type: torch would multiply whole numbers in single precision.
    count = steps + 0.0 * determinant
    restored = restored_sums(count, whole[:4], whole[4:], own_trace, own_determinant)
    trace, determinant = _chosen(
        choose, alternating, (1.0 + 0.0 * trace, 0.0 * determinant), (trace, determinant)
    )
    power, power_moments = unit_flow(trace, determinant), unit_moments(trace, determinant)
    zero = 0.0 * (steps + power[0])
    flow: Any = (zero + 1.0, zero, zero, zero + 1.0)
    sums: Any = (zero, zero, zero, zero)
    power_sums: Any = sums
    remaining, size = steps, 1.0
    for left in reversed(range(largest.bit_length())):
        odd = remaining % 2 == 1
        longer = compose_sums(sums, flow, power_sums, power, power_moments, size)
        sums = _chosen(choose, odd, longer, sums)
        flow = _chosen(choose, odd, compose_flows(flow, power, determinant, choose), flow)
        remaining = remaining // 2
        if left:
            power_sums = compose_sums(power_sums, power, power_sums, power, power_moments, size)
            power_moments = compose_moments(power_moments, power, power_moments, determinant)
            power = compose_flows(power, power, determinant, choose)
            size *= 2.0
    return _chosen(choose, alternating, restored, sums)
