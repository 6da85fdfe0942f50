r"""Which ηh keep a rule stable: the Jury conditions, solved.

Both roots of z² − T z + d lie inside the unit circle if and only if
1 − T + d > 0, 1 + T + d > 0 and |d| < 1. In the generator 1 − M, whose trace is 2 − T and whose
determinant is 1 − T + d, a flat direction stays visible. For a linear rule both are linear in ηh.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sympy import And, ConditionSet, Dummy, Expr, Interval, Poly, Set, factor, oo
from sympy import S as Sets

from sgdtheory import symbols as s
from sgdtheory.normal_form import factored

__all__ = ["jury_conditions", "stable_interval"]


def jury_conditions(trace: Any, determinant: Any) -> tuple[Any, Any, Any, Any]:
    """What must be positive for 1 − G to be stable: from the trace and determinant of G, d×d = 2×2.

    >>> jury_conditions(0.5, 0.1)
    (0.1, 3.1, 0.4, 1.6)
    """
    return determinant, 4 - 2 * trace + determinant, trace - determinant, 2 - trace + determinant


def stable_interval(trace: Expr, determinant: Expr) -> Set:
    """The set of y for which a rule is stable.

    Args:
        trace: of the generator of one update, in ``symbols.y``.
        determinant: likewise.

    Returns:
        An open interval; the conditions themselves, as a ConditionSet, when they leave the order of
        the bounds open for some parameters. Momentum, dampening and mixing parameter are taken to
        lie in (0, 1): for others the interval is not valid.
    """
    conditions = jury_conditions(trace, determinant)
    lower: list[Expr] = []
    upper: list[Expr] = []
    for condition in map(factor, conditions):
        polynomial = Poly(condition, s.y)
        slope, constant = polynomial.coeff_monomial(s.y), polynomial.coeff_monomial(1)
        if polynomial.degree() > 1:
            return _undecided(conditions)
        if slope == 0 and _sign(constant) != 1:
            return _undecided(conditions)
        if slope != 0:
            sign = _sign(slope)
            if sign == 0:
                return _undecided(conditions)
            (lower if sign > 0 else upper).append(factored(-constant / slope))
    low, high = _extreme(lower, 1), _extreme(upper, -1)
    if low is None or high is None:
        return _undecided(conditions)
    return Interval.open(low, high)


def _undecided(conditions: Iterable[Expr]) -> Set:
    return ConditionSet(s.y, And(*(condition > 0 for condition in conditions)), Sets.Reals)


def _sign(expression: Expr) -> int:
    """Sign for every momentum in (0, 1) and every positive parameter; 0 where that varies."""
    inside = {
        symbol: 1 / (1 + Dummy(positive=True))
        for symbol in expression.free_symbols & {s.beta, s.tau, s.nu}
    }
    settled = factor(expression.subs(inside))
    if settled.is_positive:
        return 1
    return -1 if settled.is_negative else 0


def _extreme(bounds: list[Expr], direction: int) -> Expr | None:
    """The largest (direction 1) or smallest (−1) bound, if one is so for all parameters."""
    if not bounds:
        return -direction * oo
    for candidate in bounds:
        others = [bound for bound in bounds if bound != candidate]
        if all(_sign(candidate - other) == direction for other in others):
            return candidate
    return None
