"""Differences that cancel near zero, as functions that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import Add, Expr, Mul, S, log
from sympy.codegen.cfunctions import log1p

__all__ = ["as_log1p", "coefficient_of", "less_one"]


def coefficient_of(term: Expr, function: Any) -> tuple[Expr, Expr] | None:
    """(c, x) of a term c·function(x)."""
    factors = Mul.make_args(term)
    found = [factor for factor in factors if isinstance(factor, function)]
    if len(found) != 1:
        return None
    return Mul(*(factor for factor in factors if factor is not found[0])), found[0].args[0]


def less_one(function: Any, difference: Callable[[Expr], Expr], node: Expr) -> Expr:
    """A sum whose terms c·f(x) − c are c·(f(x) − 1), where it is clear which belong together."""
    if not isinstance(node, Add):
        return node
    terms = {term: found for term in node.args if (found := coefficient_of(term, function))}
    rest = [term for term in node.args if term not in terms]
    for group in _groups(terms, Add(*(term for term in rest if term.is_number))):
        opposite = Add.make_args(-Add(*(terms[term][0] for term in group if term in terms)))
        if set(opposite) <= set(rest):
            rest = [term for term in rest if term not in opposite]
            rest += [terms[term][0] * difference(terms.pop(term)[1]) for term in group]
    return Add(*rest, *terms)


def _groups(terms: dict[Expr, tuple[Expr, Expr]], number: Expr) -> list[list[Expr]]:
    """Terms that may share one constant: those of one coefficient, or all against a number."""
    groups: dict[Expr, list[Expr]] = {}
    for term, (coefficient, _) in terms.items():
        groups.setdefault(coefficient, []).append(term)
    opposed = [t for t, (c, _) in terms.items() if c.is_number and (c * number).is_negative]
    return [opposed, *groups.values()] if opposed else list(groups.values())


def as_log1p(node: Expr) -> Expr:
    """log(1 + x) as log1p(x), where the 1 stands there; no other constant is taken out."""
    if isinstance(node, log) and isinstance(node.args[0], Add) and S.One in node.args[0].args:
        return log1p(node.args[0] - 1)
    return node
