r"""An expression that a user types: read by a grammar of its own, and never run as code.

Numbers, letters, + - * / ** and brackets are all that there is. Python's parser makes the tree, of
which each node must be on a list; SymPy sees numbers and symbols alone. What an expression would
cost to expand is bounded before anything is computed, so no text keeps the machine busy.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import NoReturn

from sympy import Expr, Integer, Rational, Symbol, cancel

__all__ = ["read_expression"]

_LONGEST = 400
_DEEPEST = 60
# So large in size, and so many terms in numerator or denominator when all brackets are resolved.
_LARGEST = 10**30
_MOST_TERMS = 100
_HIGHEST_POWER = 8
_OTHER = re.compile(r"[^A-Za-z0-9_+\-*/(). ]|\blambda\b")
_OPERATORS: dict[type[ast.operator], Callable[[Expr, Expr], Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_HINTS = {
    "^": " Write powers as **.",
    ",": " Write decimals with a point.",
    "lambda": " The weight decay is lamda.",
}
_KINDS = {
    ast.Call: "calls a function",
    ast.Attribute: "asks for an attribute",
    ast.Lambda: "is a function of its own",
}


@dataclass(frozen=True)
class _Sized:
    """An expression, and bounds on how many terms its numerator and denominator expand to."""

    value: Expr
    above: int = 1
    below: int = 1


class _Reader:
    """One text; every refusal names the option, the piece and its position."""

    def __init__(self, option: str, text: str, letters: Sequence[Symbol]) -> None:
        self.option, self.text = option, text
        self.letters = {letter.name: letter for letter in letters}

    def refuse(self, start: int, end: int, reason: str) -> NoReturn:
        piece = self.text[start:end]
        shown = piece if len(piece) <= 40 else f"{piece[:37]}..."
        raise ValueError(f"{self.option}: {shown!r}, at character {start + 1}, {reason}")

    def refuse_node(self, node: ast.expr, reason: str) -> NoReturn:
        self.refuse(node.col_offset, node.end_col_offset or node.col_offset, reason)

    def tree(self) -> ast.expr:
        if not self.text.strip():
            raise ValueError(f"{self.option}: it is empty. {self._grammar}")
        if len(self.text) > _LONGEST:
            raise ValueError(
                f"{self.option}: it has {len(self.text)} characters, at most {_LONGEST} are read. "
                "Shorten it."
            )
        if found := _OTHER.search(self.text):
            hint = _HINTS.get(found.group(), "")
            self.refuse(*found.span(), f"has no meaning here.{hint} {self._grammar}")
        try:
            with warnings.catch_warnings():
                # Python warns of what stands too close together, as in "1or 2"; it is refused.
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            at = min(max((error.offset or 1) - 1, 0), len(self.text) - 1)
            self.refuse(at, len(self.text), f"cannot be read as arithmetic. {self._grammar}")
        except (ValueError, RecursionError, MemoryError):
            raise ValueError(f"{self.option}: its brackets are too deep. Resolve some.") from None

    @property
    def _grammar(self) -> str:
        return f"Use numbers, + - * / ** ( ) and the letters {', '.join(self.letters)}."

    def read(self, node: ast.expr, depth: int = 0) -> _Sized:
        if depth > _DEEPEST:
            self.refuse_node(node, f"is more than {_DEEPEST} operations deep. Simplify it.")
        if isinstance(node, ast.Name):
            return self._letter(node)
        if isinstance(node, ast.Constant):
            return self._number(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = self.read(node.operand, depth + 1)
            if isinstance(node.op, ast.UAdd):
                return inner
            return _Sized(-inner.value, inner.above, inner.below)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            return self._power(node, self.read(node.left, depth + 1))
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = (self.read(side, depth + 1) for side in (node.left, node.right))
            return self._combined(node, left, right)
        return self.refuse_node(
            node, f"{_KINDS.get(type(node), 'is no arithmetic')}. {self._grammar}"
        )

    def _letter(self, node: ast.Name) -> _Sized:
        if node.id not in self.letters:
            self.refuse_node(node, f"is no letter of it. {self._grammar}")
        return _Sized(self.letters[node.id])

    def _number(self, node: ast.Constant) -> _Sized:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse_node(node, f"is no real number. {self._grammar}")
        mantissa = self.text[node.col_offset : node.end_col_offset].lower().partition("e")[0]
        vanished = value == 0 and isinstance(value, float) and re.search("[1-9]", mantissa)
        if value > _LARGEST or 0 < value < 1 / _LARGEST or vanished:
            self.refuse_node(node, "is not between 1e-30 and 1e30 in size. Choose other units.")
        # A decimal is the fraction that was typed, not the double beside it.
        return _Sized(Integer(value) if isinstance(value, int) else Rational(repr(value)))

    def _power(self, node: ast.BinOp, base: _Sized) -> _Sized:
        sign, exponent = 1, node.right
        if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub):
            sign, exponent = -1, exponent.operand
        whole = exponent.value if isinstance(exponent, ast.Constant) else None
        if type(whole) is not int or whole > _HIGHEST_POWER:
            self.refuse_node(
                node.right,
                f"is no exponent: give a whole number from -{_HIGHEST_POWER} to {_HIGHEST_POWER}.",
            )
        if sign < 0:
            self._refuse_zero(node.left, base)
        above, below = (comb(terms + whole - 1, whole) for terms in (base.above, base.below))
        sides = (above, below) if sign > 0 else (below, above)
        return self._bounded(node, sides, lambda: base.value ** (sign * whole))

    def _combined(self, node: ast.BinOp, left: _Sized, right: _Sized) -> _Sized:
        if isinstance(node.op, ast.Mult):
            sides = (left.above * right.above, left.below * right.below)
        elif isinstance(node.op, ast.Div):
            self._refuse_zero(node.right, right)
            sides = (left.above * right.below, left.below * right.above)
        elif left.below == right.below == 1:
            sides = (left.above + right.above, 1)
        else:
            sides = (left.above * right.below + right.above * left.below, left.below * right.below)
        apply = _OPERATORS[type(node.op)]
        return self._bounded(node, sides, lambda: apply(left.value, right.value))

    def _refuse_zero(self, node: ast.expr, divisor: _Sized) -> None:
        if cancel(divisor.value).is_zero:
            self.refuse_node(node, "is 0, and nothing can be divided by it.")

    def _bounded(
        self, node: ast.BinOp, sides: tuple[int, int], compute: Callable[[], Expr]
    ) -> _Sized:
        if max(sides) > _MOST_TERMS:
            self.refuse_node(
                node,
                f"has more than {_MOST_TERMS} terms without its brackets. An update rule is short: "
                "simplify it.",
            )
        value = compute()
        if any(max(abs(x.p), x.q) > _LARGEST**2 for x in value.atoms(Rational)):
            self.refuse_node(node, "holds a number beyond 1e60 in size. Choose other units.")
        return _Sized(value, *sides)


def read_expression(option: str, text: str, letters: Sequence[Symbol]) -> Expr:
    """The SymPy expression that a text says.

    Args:
        option: what to call it in a message, as ``--velocity``.
        text: at most 400 characters of numbers, letters, + - * / ** and brackets.
        letters: symbols that may stand in it, by their names.

    Raises:
        ValueError: naming the option, the piece that is refused and its position.

    >>> from sgdtheory import symbols as s
    >>> read_expression("--velocity", "beta*v - 0.1*g", (s.beta, s.v, s.g))
    beta*v - g/10
    >>> read_expression("--velocity", "beta*v - exit()", (s.beta, s.v, s.g))
    Traceback (most recent call last):
    ...
    ValueError: --velocity: 'exit()', at character 10, calls a function. Use numbers, + - * / ** ( )
    and the letters beta, v, g.
    """
    if not isinstance(text, str):
        raise TypeError(f"text = {text!r}: give text; an expression is one already.")
    # Blanks in front would be an indentation.
    reader = _Reader(option, text.strip(" "), letters)
    return reader.read(reader.tree()).value
