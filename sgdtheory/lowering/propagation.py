r"""Numbers for the functions of a mode, by composing propagators: no regime, no branch on one.

A state holds q, p = 1 − q, s, ṡ and the three second moments of the impulse response (position,
mixed, velocity) gathered so far. Two stretches of time compose by the semigroup law; a long time
is reached by doubling a short one. Every sum that must keep small numbers has terms of one sign,
so flat directions, early times and critical damping need no case of their own.

`compose` is plain arithmetic: it serves NumPy arrays, torch tensors and, compiled, scalars.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["compose", "short_time", "unit_step"]

# Order of a state's entries.
State = tuple[Any, ...]

# Doubling starts where the series below has converged: a τ ≤ 1/8 and √b τ ≤ 1/8.
LARGEST_SHORT_TIME = 0.125
_TERMS = 12


def compose(first: State, then: State, determinant: Any, choose: Callable[..., Any]) -> State:
    """State after both stretches: F = F₂F₁, and the second moments C₂ + F₂ C₁ F₂ᵀ.

    Args:
        first: one stretch.
        then: the other; they commute.
        determinant: det of the generator.
        choose: ``where`` of the array library.
    """
    q1, p1, s1, w1, xx1, xw1, ww1 = first
    q2, p2, s2, w2, xx2, xw2, ww2 = then
    exchange = determinant * s1 * s2
    step = p1 + p2 - p1 * p2 + exchange
    # 1 − p is exact while p is small; the product keeps a late q from drowning in rounding.
    relaxation = choose(step < 0.5, 1.0 - step, q1 * q2 - exchange)
    impulse = q2 * s1 + s2 * w1
    velocity = w1 * w2 - exchange
    pull = -determinant * s2
    position_gramian = xx2 + q2 * q2 * xx1 + 2.0 * q2 * s2 * xw1 + s2 * s2 * ww1
    mixed = xw2 + q2 * pull * xx1 + (q2 * w2 + s2 * pull) * xw1 + s2 * w2 * ww1
    velocity_gramian = ww2 + pull * pull * xx1 + 2.0 * pull * w2 * xw1 + w2 * w2 * ww1
    return relaxation, step, impulse, velocity, position_gramian, mixed, velocity_gramian


def short_time(time: Any, trace: Any, determinant: Any) -> State:
    """Continuous clock, for a short time: the power series in `time`.

    The impulse response solves s̈ + a ṡ + b s = 0; its coefficients follow from the law term by
    term, and so do those of s² through (s²)''' + 3a (s²)'' + (2a² + 4b)(s²)' + 4ab s² = 0.
    """
    a, b = trace * time, determinant * time * time
    c_before, c = 0.0 * a, 1.0 + 0.0 * a
    impulse, step, velocity = c, c / 2.0, c
    factorial = 1.0
    for n in range(1, _TERMS):
        c_before, c = c, -a * c - b * c_before
        velocity = velocity + c / factorial / n
        factorial *= n
        impulse = impulse + c / (factorial * (n + 1))
        step = step + c / (factorial * (n + 1) * (n + 2))
    d3, d2, d1 = 0.0 * a, 0.0 * a, 2.0 + 0.0 * a
    total = d1 / 6.0
    factorial = 6.0
    for n in range(1, _TERMS):
        d3, d2, d1 = d2, d1, -3.0 * a * d1 - (2.0 * a * a + 4.0 * b) * d2 - 4.0 * a * b * d3
        factorial *= n + 3
        total = total + d1 / factorial
    s = time * impulse
    p = b * step
    position_gramian = time * time * time * total
    velocity_gramian = s * velocity + 0.5 * trace * s * s + determinant * position_gramian
    return 1.0 - p, p, s, velocity, position_gramian, 0.5 * s * s, velocity_gramian


def unit_step(trace: Any, determinant: Any) -> State:
    """Discrete clock, one update: the law itself."""
    zero = 0.0 * (trace + determinant)
    one = 1.0 + zero
    return one, zero, one, 1.0 - trace + zero, zero, zero, one
