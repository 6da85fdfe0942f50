"""Named rules that make an expression cheaper or more accurate before it is printed.

Each keeps the value, to rounding, wherever the expression had one, and gives it a value where it
was 0/0 or overflowed on the way. None factors or expands a sum: the sums of this package are
arranged to add positive terms. For this reason SymPy's own `codegen.rewriting` is not used: its
`expm1_opt` factors the whole expression and sees coefficients only if they are numbers, its
`log1p_opt` takes the logarithm of a product apart, which cancels, and its `sinc_opts` want the
quotient with nothing left over, so that sin(ωt)/ω stays 0/0 at ω = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sympy import (
    Add,
    Basic,
    Expr,
    Float,
    Integer,
    Pow,
    S,
    cos,
    cosh,
    exp,
    log,
    sin,
    sinc,
    sinh,
    tanh,
)
from sympy.codegen.cfunctions import expm1

from sgdtheory.lowering.cancellations import as_log1p, less_one
from sgdtheory.lowering.joined_exponents import join_exponents
from sgdtheory.lowering.operations import Operations, Rewriting, Step, product
from sgdtheory.lowering.removable_quotients import remove_quotients

__all__ = ["RULES", "Rule", "fold_constants", "is_constant", "rewrite"]


@dataclass(frozen=True)
class Rule:
    """A rewriting that keeps the value.

    Args:
        name: of what it makes.
        why: what it does, and what for.
        apply: from an expression to the rewritten one.
        concerns: whether a node is one without which there is nothing to do; looked at first, so
            that a rule that does not apply costs little.
    """

    name: str
    why: str
    apply: Callable[[Expr], Expr]
    concerns: Callable[[Basic], bool]


def rewrite(
    entries: Sequence[Expr], rules: Sequence[Rule] | None = None
) -> tuple[list[Expr], Rewriting]:
    """Expressions after all rules, in order, with the operations after each.

    >>> from sgdtheory import symbols as s
    >>> (entry,), record = rewrite([(1 - exp(-s.h * s.t)) / s.h])
    >>> entry
    -expm1_quotient(h, -t)
    >>> [step.rule for step in record.steps if step.operations.divisions == 0]
    ['removable quotients', 'Horner', 'small powers']
    """
    current, nodes = list(entries), _nodes(entries)
    operations = Operations.of(current)
    steps = [Step("as given", "the expression, each part written out", operations)]
    for rule in RULES if rules is None else rules:
        if any(map(rule.concerns, nodes)):
            before, current = current, [rule.apply(entry) for entry in current]
            if current != before:
                nodes, operations = _nodes(current), Operations.of(current)
        steps.append(Step(rule.name, rule.why, operations))
    return current, Rewriting(tuple(steps))


def _nodes(entries: Iterable[Basic]) -> set[Basic]:
    found: set[Basic] = set()
    pending = list(entries)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending.extend(node.args)
    return found


def _visit(node: Expr, visit: Callable[[Expr], Expr], known: dict[Expr, Expr]) -> Expr:
    """A node with all its parts visited; the node itself where that changes none of them."""
    parts = []
    for part in node.args:
        if part not in known:
            known[part] = visit(part)
        parts.append(known[part])
    same = all(new is old for new, old in zip(parts, node.args, strict=True))
    return node if same else node.func(*parts)


def _everywhere(replace: Callable[[Expr], Expr]) -> Callable[[Expr], Expr]:
    """A replacement of single nodes, done at all of them, the inner ones first."""

    def rewritten(entry: Expr) -> Expr:
        known: dict[Expr, Expr] = {}

        def visit(node: Expr) -> Expr:
            return replace(_visit(node, visit, known)) if node.args else node

        return visit(entry)

    return rewritten


# -- constants ----------------------------------------------------------------------------------


def is_constant(node: Any) -> bool:
    """Whether a node is a number, however it is written."""
    return isinstance(node, Expr) and bool(node.is_number)


def fold_constants(expression: Expr) -> Expr:
    """Numbers that are not rational become floats, so that no back end sees sqrt(2)."""
    known: dict[Expr, Expr] = {}

    def visit(node: Expr) -> Expr:
        if is_constant(node) and not node.is_Rational:
            return Float(node.evalf(40), 40)
        return _visit(node, visit, known)

    return visit(expression)


# -- powers -------------------------------------------------------------------------------------


def _horner(node: Expr) -> Expr:
    """A polynomial in one symbol, with numbers as coefficients, where that saves operations."""
    if not isinstance(node, Add) or len(node.free_symbols) != 1:
        return node
    (x,) = node.free_symbols
    coefficients: dict[int, Expr] = {}
    for term in node.args:
        number, power = term.as_coeff_Mul()
        base, exponent = power.as_base_exp()
        if power == 1:
            base, exponent = x, S.Zero
        if base != x or not exponent.is_Integer or exponent.is_negative:
            return node
        coefficients[int(exponent)] = number
    nested, degree = S.Zero, max(coefficients)
    if degree < 3:
        return node
    for exponent in sorted(coefficients, reverse=True):
        nested = nested * x ** (degree - exponent) + coefficients[exponent]
        degree = exponent
    nested = nested * x**degree
    return nested if _cost(nested) < _cost(node) else node


def _cost(node: Expr) -> int:
    return Operations.of([_everywhere(_small_power)(node)]).cost


def _small_power(node: Expr) -> Expr:
    """x³ and x⁴ from squares: three roundings at most, where a power would have one."""
    if isinstance(node, Pow) and node.exp in (3, 4):
        return product(node.base ** (node.exp - 2), node.base**2)
    return node


def _is_high_power(node: Basic) -> bool:
    return isinstance(node, Pow) and node.exp.is_Integer and node.exp >= Integer(3)


def _has(*functions: Any) -> Callable[[Basic], bool]:
    return lambda node: isinstance(node, functions)


def _difference(function: Any, difference: Callable[[Expr], Expr]) -> Callable[[Expr], Expr]:
    return _everywhere(partial(less_one, function, difference))


RULES = (
    Rule(
        "constants",
        "numbers that are not rational become floats",
        fold_constants,
        lambda _: True,
    ),
    Rule(
        "expm1",
        "c exp(x) − c is c expm1(x): no cancellation near x = 0",
        _difference(exp, expm1),
        _has(exp),
    ),
    Rule(
        "log1p", "log(1 + x) is log1p(x): x is not rounded first", _everywhere(as_log1p), _has(log)
    ),
    Rule(
        "half angles",
        "c − c cos(x) is 2 c sin²(x/2): no cancellation near x = 0",
        _difference(cos, lambda x: -2 * sin(x / 2) ** 2),
        _has(cos),
    ),
    Rule(
        "hyperbolic half angles",
        "c cosh(x) − c is 2 c sinh²(x/2): no cancellation near x = 0",
        _difference(cosh, lambda x: 2 * sinh(x / 2) ** 2),
        _has(cosh),
    ),
    Rule(
        "joined exponents",
        "exp(−a) cosh(b) is (exp(b − a) + exp(−b − a))/2: overflows only if the product does",
        _everywhere(join_exponents),
        _has(sinh, cosh),
    ),
    Rule(
        "removable quotients",
        "f(x y)/x of sin, sinh, tanh, expm1 is one function: its limit y at x = 0",
        _everywhere(remove_quotients),
        _has(sin, sinh, tanh, expm1, sinc),
    ),
    Rule(
        "Horner",
        "polynomials in one symbol, nested where that saves operations",
        _everywhere(_horner),
        _is_high_power,
    ),
    Rule(
        "small powers",
        "x³ is x x² and x⁴ is x² x²: products instead of a power",
        _everywhere(_small_power),
        _is_high_power,
    ),
)
