r"""How results are written: factored, with every factor positive where a theory is usually read.

`factor` orders the terms of a sum by name, so 1 − β comes out as −(β − 1). A reader wants 1 − β.
"""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Add, Expr, ImmutableMatrix, Integer, Mul, Pow, Rational, factor
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s

__all__ = ["factored", "factored_matrix"]

# A small step on a positive curvature with half a momentum and a batch that is a small part of the
# data set: where sums show their usual sign.
_USUAL = {
    s.beta: Rational(1, 2),
    s.tau: Rational(1, 3),
    s.nu: Rational(2, 3),
    s.S: Integer(10),
    s.N: Integer(1000),
    s.M: Integer(100),
}
_SMALL = Rational(1, 1000)


def factored(expression: Expr) -> Expr:
    """Product of factors, each positive at a small step on a positive curvature.

    >>> from sgdtheory.symbols import beta, eta
    >>> factored(eta / (1 - beta**2))
    eta/((1 - beta)*(beta + 1))
    """
    sign = Integer(1)
    parts = []
    for part in Mul.make_args(factor(expression)):
        base, exponent = part.as_base_exp()
        if isinstance(base, Add) and exponent.is_Integer and _usually_negative(base):
            sign *= (-1) ** exponent
            base = Add(*(-term for term in base.args))
        parts.append(Pow(base, exponent))
    return Mul(sign, *parts)


def factored_matrix(matrix: MatrixBase) -> ImmutableMatrix:
    """`factored`, entry by entry."""
    return ImmutableMatrix(matrix.applyfunc(factored))


def _usually_negative(total: Add) -> bool:
    symbols: Iterable[Expr] = total.free_symbols
    value = total.subs({symbol: _USUAL.get(symbol, _SMALL) for symbol in symbols})
    return bool(value.is_negative)
