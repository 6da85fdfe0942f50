r"""Numbers for the functions of a mode, by composing propagators: no regime, no branch on one.

A flow holds q, p = 1 − q, s and ṡ after a stretch of time; moments hold the second moments of the
impulse response (position, mixed, velocity) gathered in it. Two stretches compose by the semigroup
law, and a long time is reached by doubling a short one. Every sum that must keep small numbers has
terms of one sign, so flat directions, early times and critical damping need no case of their own.

The functions are plain arithmetic and call none of one another: they serve NumPy arrays and torch
tensors as they are and, compiled one by one, scalars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = [
    "LARGEST_SHORT_TIME",
    "compose_flows",
    "compose_moments",
    "compose_sums",
    "mirror",
    "mirror_flow",
    "mirror_moments",
    "restored_sums",
    "short_flow",
    "short_moments",
    "unit_flow",
    "unit_moments",
]

Flow = tuple[Any, Any, Any, Any]
Moments = tuple[Any, Any, Any]
Sums = tuple[Any, Any, Any, Any]

# Doubling starts where the series below converge, |a| τ and √|b| τ ≤ 1/2: each doubling adds to the
# rounding of a flow that oscillates. Every term is a polynomial in −a and −b whose coefficients are
# positive, so what is left out is largest where both are most negative; there it is below 2⁻⁵³.
LARGEST_SHORT_TIME = 0.5
_FLOW_TERMS = 18
_MOMENT_TERMS = 22


def compose_flows(first: Flow, then: Flow, determinant: Any, choose: Callable[..., Any]) -> Flow:
    """Flow after both stretches, F₂F₁; they commute.

    Args:
        first: one stretch.
        then: the other.
        determinant: of the generator.
        choose: ``where`` of the array library.
    """
    q1, p1, s1, w1 = first
    q2, p2, s2, w2 = then
    exchange = determinant * s1 * s2
    step = p1 + p2 - p1 * p2 + exchange
    # 1 − p is exact while p is small; the product keeps a late q from drowning in rounding.
    relaxation = choose(step < 0.5, 1.0 - step, q1 * q2 - exchange)
    return relaxation, step, q2 * s1 + s2 * w1, w1 * w2 - exchange


def compose_moments(first: Moments, flow: Flow, then: Moments, determinant: Any) -> Moments:
    """Second moments after both stretches, C₂ + F₂C₁F₂ᵀ.

    Args:
        first: moments of the one stretch.
        flow: of the other, F₂.
        then: its moments.
        determinant: of the generator.
    """
    xx1, xw1, ww1 = first
    xx2, xw2, ww2 = then
    q, _, s, w = flow
    pull = -determinant * s
    return (
        xx2 + q * q * xx1 + 2.0 * q * s * xw1 + s * s * ww1,
        xw2 + q * pull * xx1 + (q * w + s * pull) * xw1 + s * w * ww1,
        ww2 + pull * pull * xx1 + 2.0 * pull * w * xw1 + w * w * ww1,
    )


def compose_sums(
    first: Sums, first_flow: Flow, then: Sums, then_flow: Flow, then_moments: Moments, steps: Any
) -> Sums:
    """Repeated sums of the impulse response over both stretches, and the Gramian of the first.

    In the second stretch the response is q₁ s_j + s₁ ṡ_j, and ṡ sums to s.

    Args:
        first: sums of the one stretch.
        first_flow: its flow.
        then: sums of the other.
        then_flow: its flow.
        then_moments: its second moments.
        steps: updates in it.
    """
    c1, d1, e1, squares1 = first
    c2, d2, e2, squares2 = then
    q, _, s, _ = first_flow
    position = then_moments[0]
    pairs = 0.5 * steps * (steps - 1.0)
    # c² grows by 2 c s + s² an update.
    mixed = 0.5 * (c2 * c2 - position)
    squares = q * q * squares2 + s * s * position + 2.0 * q * s * mixed
    return (
        c1 + q * c2 + s * then_flow[2],
        d1 + steps * c1 + q * d2 + s * c2,
        e1 + steps * d1 + pairs * c1 + q * e2 + s * d2,
        squares1 + steps * c1 * c1 + 2.0 * c1 * (q * d2 + s * c2) + squares,
    )


def restored_sums(steps: Any, flow: Flow, moments: Moments, trace: Any, determinant: Any) -> Sums:
    """The same from flow and moments alone, accurate where the restoring force is strong.

    The step response is b times the response's sum, and the relaxation q = ṡ + a s sums to s + a c.
    """
    _, p, s, _ = flow
    position, mixed, velocity = moments
    once = p / determinant
    relaxed = s + trace * once
    twice = (steps - relaxed) / determinant
    thrice = (0.5 * steps * (steps - 1.0) - once - trace * twice) / determinant
    relaxed_squares = velocity + 2.0 * trace * mixed + trace * trace * position
    squares = (steps - 2.0 * relaxed + relaxed_squares) / (determinant * determinant)
    return once, twice, thrice, squares


def short_flow(time: Any, trace: Any, determinant: Any) -> Flow:
    """Continuous clock: the power series in a short `time`.

    The impulse response solves s̈ + a ṡ + b s = 0, and its coefficients follow term by term.
    """
    a, b = trace * time, determinant * time * time
    before, c = 0.0 * a, 1.0 + 0.0 * a
    impulse, step, velocity = before, before, before
    factorial = 1.0
    for n in range(1, _FLOW_TERMS):
        before, c = c, -a * c - b * before
        velocity = velocity + c / (factorial * n)
        factorial *= n
        impulse = impulse + c / (factorial * (n + 1))
        step = step + c / (factorial * (n + 1) * (n + 2))
    # The first terms come last: what is added to them is small, and so is its rounding.
    p = b * (0.5 + step)
    return 1.0 - p, p, time * (1.0 + impulse), 1.0 + velocity


def short_moments(time: Any, trace: Any, determinant: Any, flow: Flow) -> Moments:
    """Continuous clock: second moments gathered in a short `time` with this flow.

    The square of the impulse response solves (s²)''' + 3a (s²)'' + (2a² + 4b)(s²)' + 4ab s² = 0.
    """
    a, b = trace * time, determinant * time * time
    c3, c2, c1 = 0.0 * a, 0.0 * a, 2.0 + 0.0 * a
    total = c3
    factorial = 6.0
    for n in range(1, _MOMENT_TERMS):
        c3, c2, c1 = c2, c1, -3.0 * a * c1 - (2.0 * a * a + 4.0 * b) * c2 - 4.0 * a * b * c3
        factorial *= n + 3
        total = total + c1 / factorial
    _, _, s, w = flow
    position = time * time * time * (1.0 / 3.0 + total)
    velocity = s * w + 0.5 * trace * s * s + determinant * position
    return position, 0.5 * s * s, velocity


def unit_flow(trace: Any, determinant: Any) -> Flow:
    """Discrete clock, one update: the law itself."""
    zero = 0.0 * (trace + determinant)
    return 1.0 + zero, zero, 1.0 + zero, 1.0 - trace + zero


def unit_moments(trace: Any, determinant: Any) -> Moments:
    """Discrete clock, second moments gathered in one update."""
    zero = 0.0 * (trace + determinant)
    return zero, zero, 1.0 + zero


def mirror(trace: Any, determinant: Any) -> tuple[Any, Any]:
    """Trace and determinant of the generator of the map −M.

    A mode whose mean changes sign at every update is the mirror image of one that does not, where
    the composition loses nothing.
    """
    return 4.0 - trace, 4.0 - 2.0 * trace + determinant


def mirror_flow(flow: Flow, trace: Any, sign: Any) -> Flow:
    """Flow of the map M from that of −M; `sign` is (−1)^k, `trace` that of M's generator."""
    _, p, s, w = flow
    # After an even number of updates p is small, and this a sum of positive terms.
    step = 1.0 - sign + sign * (p + 2.0 * s)
    return sign * (w + (2.0 - trace) * s), step, -sign * s, sign * (2.0 * s + w)


def mirror_moments(moments: Moments) -> Moments:
    """Second moments of the impulse response of M from those of −M."""
    xx, xw, ww = moments
    return xx, -2.0 * xx - xw, 4.0 * xx + 4.0 * xw + ww
