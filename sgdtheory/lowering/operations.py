"""What a generated function costs: its operations, counted as they are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from sympy import Add, Expr, Function, Integer, Max, Min, Mul, Pow, Rational, S

__all__ = ["Operations", "Rewriting", "Step", "product"]


class product(Function):
    """x · y as it stands: SymPy would make x³ of x · x² again."""

    nargs = 2
    # How tightly the printed infix holds: as a Mul.
    precedence = 50

    def _eval_expand_func(self, **_: object) -> Expr:
        return Mul(*self.args)


@dataclass(frozen=True)
class Operations:
    """How often each kind of operation is done for one element.

    Subtractions are additions, squares are multiplications, roots and modes are functions; changes
    of sign are free.
    """

    additions: int = 0
    multiplications: int = 0
    divisions: int = 0
    powers: int = 0
    functions: int = 0

    @property
    def cost(self) -> int:
        """In units of a multiplication, as compiled loops take them in round numbers."""
        arithmetic = self.additions + self.multiplications + 2 * self.divisions
        return arithmetic + 20 * (self.powers + self.functions)

    def __add__(self, other: Operations) -> Operations:
        return Operations(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, entries: Iterable[Expr]) -> Operations:
        """Operations of expressions, each written out: nothing is shared."""
        known: dict[Expr, Counts] = {}
        return cls(*map(sum, zip(NOTHING, *(_counts(e, known) for e in entries), strict=True)))


Counts = tuple[int, ...]
NOTHING = (0, 0, 0, 0, 0)


def _counts(node: Expr, known: dict[Expr, Counts]) -> Counts:
    if not node.args:
        return NOTHING
    if node not in known:
        parts = [_counts(part, known) for part in node.args]
        known[node] = tuple(map(sum, zip(_own(node), *parts, strict=True)))
    return known[node]


def _own(node: Expr) -> Counts:
    """What a node does with its operands, in the order of the fields."""
    if isinstance(node, Add):
        return len(node.args) - 1, 0, 0, 0, 0
    if isinstance(node, Mul):
        divisors = sum(map(_divides, node.args))
        factors = len(node.args) - (node.args[0] is S.NegativeOne) - divisors
        # The divisors are multiplied, and then divide once.
        saved = max(divisors - 1, 0)
        return 0, max(factors - 1, 0) + saved, -saved, 0, 0
    if isinstance(node, product):
        return 0, 1, 0, 0, 0
    if isinstance(node, Pow):
        return _power(abs(node.exp) if node.exp.is_Rational else node.exp, int(_divides(node)))
    if isinstance(node, Min | Max):
        return 0, 0, 0, 0, len(node.args) - 1
    return 0, 0, 0, 0, 1


def _divides(factor: Expr) -> bool:
    return isinstance(factor, Pow) and bool(factor.exp.is_Rational and factor.exp.is_negative)


def _power(exponent: Expr, divisions: int) -> Counts:
    if exponent == 1:
        return 0, 0, divisions, 0, 0
    if exponent == Integer(2):
        return 0, 1, divisions, 0, 0
    if exponent == Rational(1, 2):
        return 0, 0, divisions, 0, 1
    return 0, 0, divisions, 1, 0


@dataclass(frozen=True)
class Step:
    """A rule that was asked for, and the operations after it.

    Args:
        rule: its name.
        why: what it does, and what for.
        operations: of all entries, after it.
    """

    rule: str
    why: str
    operations: Operations


@dataclass(frozen=True)
class Rewriting:
    """How an expression became cheaper or more accurate, rule by rule; printed as a table.

    Args:
        steps: the expression as given, then every rule in order.
    """

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        head = ("rule", "+", "×", "÷", "powers", "functions", "cost", "what it does")
        rows = [
            (step.rule, *map(str, astuple(step.operations)), str(step.operations.cost), step.why)
            for step in self.steps
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    *(x.rjust(w) for x, w in zip(row[1:-1], widths[1:-1], strict=True)),
                    row[-1],
                ]
            )
            for row in (head, *rows)
        ]
        return "\n".join(lines)
