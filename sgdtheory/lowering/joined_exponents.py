"""Decaying exponentials times hyperbolic functions, so that neither overflows on its own."""

from __future__ import annotations

from sympy import Add, Expr, Mul, Pow, S, cosh, exp, sinh, tanh

from sgdtheory.lowering.cancellations import coefficient_of

__all__ = ["join_exponents"]


def join_exponents(node: Expr) -> Expr:
    r"""exp(a) times functions of degree n in cosh b and sinh b, as powers of exp(a/n) cosh b.

    The common factor is :math:`(e^{a/n + b} + e^{a/n - b})/2`, which overflows only if the product
    does, or nearly: a factor of 2 is lost at the end of the range. What is left of a sinh is a
    tanh, which has its sign and its accuracy at b = 0. Only decays are joined, exponents with a
    minus sign: of a growing exponential, the other factors may be what keeps the product finite.
    """
    exponentials = [f for f in node.args if isinstance(f, exp)] if isinstance(node, Mul) else []
    if not any(map(_decays, exponentials)):
        return node
    factors = {}
    for factor in node.args:
        base, power = factor.as_base_exp() if isinstance(factor, Pow) else (factor, S.One)
        if power.is_Integer and power.is_positive and (found := _hyperbolic_arguments(base)):
            factors[factor] = base, power, found
    angles = set().union(*(found for _, _, found in factors.values()))
    if len(angles) != 1:
        return node
    (b,) = angles
    degree = Add(*(power for _, power, _ in factors.values()))
    a = Add(*(factor.args[0] for factor in exponentials)) / degree
    rest = [f for f in node.args if f not in factors and f not in exponentials]
    scaled = [_over_cosh(base, b) ** power for base, power, _ in factors.values()]
    return Mul(*rest, *scaled, (exp(a + b) / 2 + exp(a - b) / 2) ** degree)


def _decays(exponential: Expr) -> bool:
    return any(term.could_extract_minus_sign() for term in Add.make_args(exponential.args[0]))


def _hyperbolic_arguments(base: Expr) -> set[Expr]:
    """Arguments of the hyperbolic functions in which a factor is linear."""
    return {
        found[1]
        for term in Add.make_args(base)
        if (found := coefficient_of(term, (cosh, sinh))) is not None
    }


def _over_cosh(base: Expr, b: Expr) -> Expr:
    terms = []
    for term in Add.make_args(base):
        for function, quotient in ((cosh, S.One), (sinh, tanh(b))):
            if found := coefficient_of(term, function):
                terms.append(found[0] * quotient)
                break
        else:
            terms.append(term / cosh(b))
    return Add(*terms)
