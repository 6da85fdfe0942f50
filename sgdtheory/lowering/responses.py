"""Step and impulse responses of modes, in units in which one product of two is cheapest.

A mode is held as its step response p and scaled impulse response r = a s/2. In these units the
trace is 2, and the stiffness 4b/a² is all that is left of a mode. They hold all of a flow but the
last digits of what has almost decayed, which is enough for what the mode has moved.

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
# p, r, stiffness, the coefficients c and d of p and r, and the sign of an odd number of units.
Mode = tuple[Any, Any, Any, Any, Any, Any]


def compose_responses(first: Response, then: Response, stiffness: Any) -> Response:
    """Responses after both stretches.

    Args:
        first: the one.
        then: the other.
        stiffness: 4b/a².
    """
    p1, r1 = first
    p2, r2 = then
    step = p1 + p2 - p1 * p2 + stiffness * (r1 * r2)
    return step, r1 * (1.0 - p2 - r2) + r2 * (1.0 - p1 - r1)


def square_response(response: Response, stiffness: Any) -> Response:
    """Responses after a stretch twice as long."""
    p, r = response
    return p * (2.0 - p) + stiffness * (r * r), (r + r) * (1.0 - p - r)


def counted(p: Any, r: Any, on_step: Any, on_impulse: Any, sign: Any) -> Any:
    """What a mode counts for after an odd number of units; after an even one the sign is 1."""
    return sign * (on_step * p + on_impulse * r) + (1.0 - sign) * on_step


def after_one_update(
    trace: Any,
    determinant: Any,
    on_step: Any,
    on_impulse: Any,
    on_mirrored: Any,
    choose: Callable[..., Any],
) -> Mode:
    """A mode after one update of a recursion.

    An alternating mode is the mirror image of one that is not: its p is p' + 2s' after an even
    number of updates and 2 − p' − 2s' after an odd one, its s is −s' and s'.

    Args:
        trace: of the generator.
        determinant: of the generator.
        on_step: coefficient of p.
        on_impulse: coefficient of s.
        on_mirrored: 2 on_step − on_impulse, to all its digits.
        choose: ``where`` of the array library.
    """
    alternating = trace > 2
    own_trace, own_determinant = mirror(trace, determinant)
    half = 0.5 * choose(alternating, own_trace, trace)
    b = choose(alternating, own_determinant, determinant)
    d = choose(alternating, on_mirrored, on_impulse) / half
    sign = choose(alternating, -1.0, 1.0)
    return 0.0 * half, half, b / (half * half), on_step, d, sign


def after_short_time(
    time: Any, trace: Any, determinant: Any, on_step: Any, on_impulse: Any
) -> Mode:
    """A mode after a short time; the arguments are those of `after_one_update`, per unit of time.

    Args:
        time: short enough for the series, in units.
        trace: of the generator.
        determinant: of the generator.
        on_step: coefficient of p.
        on_impulse: coefficient of s.
    """
    half = 0.5 * trace
    _, p, s, _ = short_flow(time, trace, determinant)
    return p, half * s, determinant / (half * half), on_step, on_impulse / half, 1.0
