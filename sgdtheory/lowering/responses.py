"""Step and impulse responses of modes, in units in which one product of two is cheapest.

A mode with trace a and determinant b is held as the step response u = p/κ and the impulse
response r = a s/2, with the stiffness κ = 4b/a². In these units the trace is 2 and κ is all that is
left of a mode; a flat direction, κ → 0, has a u of its own while p is nothing. They hold all of a
flow but the last digits of what has almost decayed, which is enough for what the mode has moved.

Plain arithmetic, as in `propagation`: for arrays of any library and, compiled, for scalars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sgdtheory.lowering.propagation import mirror, short_flow

__all__ = [
    "after_one_update",
    "after_short_time",
    "compose_responses",
    "counted",
    "square_response",
]

Response = tuple[Any, Any]
# u, r, κ, the coefficients of u and r, and for an odd number of units a sign and a constant.
Mode = tuple[Any, Any, Any, Any, Any, Any, Any]


def compose_responses(first: Response, then: Response, stiffness: Any) -> Response:
    """Responses after both stretches.

    Args:
        first: the one.
        then: the other.
        stiffness: κ.
    """
    u1, r1 = first
    u2, r2 = then
    p1, p2 = stiffness * u1, stiffness * u2
    return u1 + u2 - p1 * u2 + r1 * r2, r1 * (1.0 - p2 - r2) + r2 * (1.0 - p1 - r1)


def square_response(response: Response, stiffness: Any) -> Response:
    """Responses after a stretch twice as long."""
    u, r = response
    p = stiffness * u
    return u * (2.0 - p) + r * r, (r + r) * (1.0 - p - r)


def counted(u: Any, r: Any, on_step: Any, on_impulse: Any, sign: Any, constant: Any) -> Any:
    """What a mode counts for after an odd number of units; after an even one the sign is 1."""
    return sign * (on_step * u + on_impulse * r) + constant


def after_one_update(
    trace: Any,
    determinant: Any,
    on_step: Any,
    on_impulse: Any,
    mirrored: Any,
    choose: Callable[..., Any],
) -> Mode:
    """A mode after one update of a recursion.

    An alternating mode is the mirror image of one that is not: its p is p' + 2s' after an even
    number of updates and 2 − p' − 2s' after an odd one, its s is −s' and s'.

    Args:
        trace: a of the generator.
        determinant: b of the generator.
        on_step: c b, with c the coefficient of p.
        on_impulse: d, the coefficient of s.
        mirrored: c b', 2c − d, and c, to all their digits: what the mirror image counts with.
        choose: ``where`` of the array library.
    """
    alternating = trace > 2
    own_trace, own_determinant = mirror(trace, determinant)
    half = 0.5 * choose(alternating, own_trace, trace)
    stiffness = choose(alternating, own_determinant, determinant) / (half * half)
    on_u = choose(alternating, mirrored[0], on_step) / (half * half)
    on_r = choose(alternating, mirrored[1], on_impulse) / half
    sign = choose(alternating, -1.0, 1.0)
    return 0.0 * half, half, stiffness, on_u, on_r, sign, (1.0 - sign) * mirrored[2]


def after_short_time(
    time: Any, trace: Any, determinant: Any, on_step: Any, on_impulse: Any
) -> Mode:
    """A mode after a short time; the arguments are those of `after_one_update`, per unit of time.

    Args:
        time: short enough for the series, in units.
        trace: a.
        determinant: b > 0.
        on_step: c b.
        on_impulse: d.
    """
    half = 0.5 * trace
    _, p, s, _ = short_flow(time, trace, determinant)
    squared = half * half
    u, stiffness = p * squared / determinant, determinant / squared
    return u, half * s, stiffness, on_step / squared, on_impulse / half, 1.0, 0.0
