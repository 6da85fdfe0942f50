"""f(x y)/x as one function with its limit at x = 0, for f that vanish there."""

from __future__ import annotations

from typing import Any

from sympy import Expr, Function, Mul, Pow, S, sin, sinc, sinh, tanh
from sympy.codegen.cfunctions import expm1

__all__ = [
    "QUOTIENTS",
    "Quotient",
    "expm1_quotient",
    "remove_quotients",
    "sin_quotient",
    "sinh_quotient",
    "tanh_quotient",
]


class Quotient(Function):
    """f(x y) / x, and at x = 0 its limit y, of a function with f(0) = 0 and f'(0) = 1.

    Two arguments, because f(x y) / x = 1/x at y = ∞ is no product of y and a function of x y.
    """

    nargs = 2
    divided: Any

    def _eval_expand_func(self, **_: object) -> Expr:
        x, y = self.args
        return self.divided(x * y) / x


class sin_quotient(Quotient):
    """sin(x y)/x; with y = 1, sinc."""

    divided = sin


class sinh_quotient(Quotient):
    """sinh(x y)/x."""

    divided = sinh


class tanh_quotient(Quotient):
    """tanh(x y)/x."""

    divided = tanh


class expm1_quotient(Quotient):
    """(exp(x y) − 1)/x."""

    divided = expm1


_QUOTIENT_OF: dict[Any, type[Quotient]] = {
    quotient.divided: quotient
    for quotient in (sin_quotient, sinh_quotient, tanh_quotient, expm1_quotient)
}
QUOTIENTS = {quotient: quotient.__name__ for quotient in _QUOTIENT_OF.values()}


def remove_quotients(node: Expr) -> Expr:
    """f(x y)/x as one function, so that it has its limit at x = 0; sinc(x) as sin(x)/x."""
    if isinstance(node, sinc):
        return _QUOTIENT_OF[sin](node.args[0], S.One)
    if not isinstance(node, Mul):
        return node
    for factor in node.args:
        base, power = factor.as_base_exp() if isinstance(factor, Pow) else (factor, S.One)
        if type(base) in _QUOTIENT_OF and power.is_Integer and power.is_positive:
            divisor, left, times = _shared_divisor(node, base.args[0], power)
            if times:
                quotient = _QUOTIENT_OF[type(base)](divisor, left)
                return remove_quotients(node * (quotient * divisor / base) ** times)
    return node


def _shared_divisor(node: Expr, angle: Expr, power: Expr) -> tuple[Expr, Expr, Expr]:
    """The part of an angle by which a product is divided, the other part, and how often it is."""
    divisors = {
        factor.base: -factor.exp
        for factor in node.args
        if isinstance(factor, Pow) and factor.exp.is_Rational and factor.exp.is_negative
    }
    # A sum in the denominator may have the other sign.
    parts = (S.NegativeOne, -angle) if -angle in divisors else Mul.make_args(angle)
    shared = {}
    for part in parts:
        base, exponent = part.as_base_exp() if isinstance(part, Pow) else (part, S.One)
        if base in divisors and exponent.is_Rational and exponent.is_positive:
            shared[base] = min(exponent, divisors[base])
    if not shared:
        return S.One, angle, S.Zero
    divisor = Mul(*(base**taken for base, taken in shared.items()))
    times = min(power, *(divisors[base] // taken for base, taken in shared.items()))
    return divisor, Mul(*parts, 1 / divisor), times
