"""From restricted Python to another language: expressions, and the names in them.

Arithmetic, comparisons, tuples of floats and calls: nothing else is understood, and what is not is
refused. A language says how it writes what differs; the walk is the same for all.
"""

from __future__ import annotations

import ast
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sgdtheory.lowering.restricted_python import BOOL, FLOAT, FUNCTION, INT, Kind, Routine

__all__ = ["ADDED", "ATOM", "COMPARED", "MULTIPLIED", "NEGATED", "Expressions", "Term"]

# How tightly an operation holds its operands, here as in C and JavaScript.
CHOSEN, COMPARED, ADDED, MULTIPLIED, NEGATED, ATOM = range(6)


@dataclass(frozen=True)
class Term:
    """An expression's text; `level` says how tightly it holds together."""

    text: str
    kind: Kind
    level: int = ATOM

    def inside(self, level: int) -> str:
        """The text as an operand of an operation that holds this tightly."""
        return self.text if self.level >= level else f"({self.text})"


class Expressions(ABC):
    """The expressions of one routine, in one language.

    Args:
        routine: what to translate.
        routines: what it may call, by name.
        taken: names that no variable may have.
    """

    language: ClassVar[str]
    library: ClassVar[Mapping[str, str]]
    keywords: ClassVar[frozenset[str]]
    equality: ClassVar[Mapping[type[ast.cmpop], str]]

    def __init__(
        self, routine: Routine, routines: Mapping[str, Routine], taken: Iterable[str]
    ) -> None:
        self.routine, self.routines = routine, routines
        found = [n for n in routine.nodes() if isinstance(n, ast.Name)]
        self.stores = Counter(routine.parameters.keys())
        self.stores.update(n.id for n in found if isinstance(n.ctx, ast.Store))
        self.loaded = {n.id for n in found if isinstance(n.ctx, ast.Load)}
        self.scopes = [{k: v for k, v in routine.parameters.items() if v != FUNCTION}]
        self.names: dict[str, str] = {}
        for name in self.stores:
            self.names[name] = self.free_name(name, {*taken, *self.names.values()})

    # -- what a language adds --------------------------------------------------------------------

    @abstractmethod
    def tuple_of(self, entries: Sequence[str]) -> str:
        """A tuple of floats."""

    @abstractmethod
    def element(self, of: str, index: str) -> str:
        """An entry of a tuple."""

    @abstractmethod
    def whole(self, value: Term) -> Term:
        """A float as an integer."""

    @abstractmethod
    def quotient(self, left: Term, right: Term) -> Term:
        """The quotient of non-negative integers, rounded down."""

    @abstractmethod
    def power(self, base: str, exponent: str) -> str:
        """A power of floats."""

    @abstractmethod
    def floating(self, term: Term) -> Term:
        """A number as a float."""

    # -- names -----------------------------------------------------------------------------------

    @classmethod
    def free_name(cls, name: str, taken: Iterable[str]) -> str:
        """A name near to this one, in ASCII, that is neither taken nor a word of the language."""
        spelled = "".join(c if c.isascii() else f"u{ord(c):04x}" for c in name)
        while spelled in taken or cls.is_reserved(spelled):
            spelled += "_"
        return spelled

    @classmethod
    def is_reserved(cls, name: str) -> bool:
        """Whether the language or its library keeps a name for itself."""
        return name in cls.keywords or name in cls.library.values()

    @classmethod
    def check_function_name(cls, name: str, taken: Iterable[str]) -> None:
        """Refuse a name that no function of the language can have."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or cls.free_name(name, taken) != name:
            raise ValueError(
                f"name = {name!r}: not free as a function's name in {cls.language}. Give letters "
                "of the alphabet, digits and underscores, and no word of the language or of the "
                "functions that the file contains."
            )

    def known(self) -> dict[str, Kind]:
        """Kinds of the variables that have a value here."""
        return {name: kind for scope in self.scopes for name, kind in scope.items()}

    # -- expressions -----------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> Any:
        """An expression's Term; a statement's lines."""
        return getattr(self, f"_{type(node).__name__}", self.refuse)(node)

    def refuse(self, node: ast.AST) -> Any:
        """Refuse what the restricted Python does not contain."""
        raise ValueError(f"{self.routine.name}: no translation of {ast.unparse(node)!r}.")

    def _Constant(self, node: ast.Constant) -> Term:
        value = node.value
        if type(value) is int:
            if value > sys.float_info.max:
                raise ValueError(f"expression contains {value}, beyond any double: rescale it.")
            return Term(str(value), INT)
        return Term(repr(value), FLOAT) if type(value) is float else self.refuse(node)

    def _Name(self, node: ast.Name) -> Term:
        kind = self.known().get(node.id)
        if kind is not None:
            return Term(self.names[node.id], kind)
        if node.id in self.routine.constants:
            return self._Constant(ast.Constant(self.routine.constants[node.id]))
        return self.refuse(node)

    def _Tuple(self, node: ast.Tuple) -> Term:
        entries = [self.floating(self.visit(entry)).text for entry in node.elts]
        return Term(self.tuple_of(entries), Kind("tuple", len(entries)))

    def _Subscript(self, node: ast.Subscript) -> Term:
        return Term(self.element(self.visit(node.value).text, self.visit(node.slice).text), FLOAT)

    def _UnaryOp(self, node: ast.UnaryOp) -> Term:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return Term(f"!{operand.inside(ATOM)}", BOOL, NEGATED)
        if not isinstance(node.op, ast.USub):
            return self.refuse(node)
        return Term(f"-{operand.inside(ATOM)}", operand.kind, NEGATED)

    def _BinOp(self, node: ast.BinOp) -> Term:
        left, right = self.visit(node.left), self.visit(node.right)
        operation = type(node.op)
        if operation is ast.Pow:
            return self._power(left, right)
        whole = left.kind == right.kind == INT
        if whole and operation is ast.FloorDiv:
            return self.quotient(left, right)
        if whole and operation is ast.Mod:
            return _infix(left, "%", right, MULTIPLIED)
        if not whole or operation is ast.Div:
            left, right = self.floating(left), self.floating(right)
        symbols = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
        if operation not in symbols:
            return self.refuse(node)
        tight = MULTIPLIED if operation in (ast.Mult, ast.Div) else ADDED
        return _infix(left, symbols[operation], right, tight)

    def _power(self, base: Term, exponent: Term) -> Term:
        if base.text.isidentifier() and exponent.text in ("2", "3"):
            # Exact to a rounding or two, and many times faster than a power.
            return Term(" * ".join([base.text] * int(exponent.text)), FLOAT, MULTIPLIED)
        powers = self.floating(base).text, self.floating(exponent).text
        return Term(self.power(*powers), FLOAT)

    def _Compare(self, node: ast.Compare) -> Term:
        terms = [self.visit(part) for part in (node.left, *node.comparators)]
        if {term.kind for term in terms} != {INT}:
            terms = [self.floating(term) for term in terms]
        symbols: dict[type[ast.cmpop], str] = {
            ast.Lt: "<",
            ast.LtE: "<=",
            ast.Gt: ">",
            ast.GtE: ">=",
            **self.equality,
        }
        pairs = [
            f"{left.inside(ADDED)} {symbols[type(operation)]} {right.inside(ADDED)}"
            for left, operation, right in zip(terms, node.ops, terms[1:], strict=False)
        ]
        return Term(pairs[0] if len(pairs) == 1 else _joined(pairs, "&&"), BOOL, COMPARED)

    def _BoolOp(self, node: ast.BoolOp) -> Term:
        parts = [self.visit(part).text for part in node.values]
        return Term(_joined(parts, "&&" if isinstance(node.op, ast.And) else "||"), BOOL, COMPARED)

    def _IfExp(self, node: ast.IfExp) -> Term:
        return self._choice(*map(self.visit, (node.test, node.body, node.orelse)))

    def _choice(self, condition: Term, yes: Term, no: Term) -> Term:
        if yes.kind != no.kind:
            yes, no = self.floating(yes), self.floating(no)
        text = f"{condition.inside(COMPARED)} ? {yes.inside(COMPARED)} : {no.inside(COMPARED)}"
        return Term(text, yes.kind, CHOSEN)

    def _Call(self, node: ast.Call) -> Term:
        name = ast.unparse(node.func).removeprefix("math.")
        routine = self.routines.get(name)
        wanted = list(routine.parameters.values()) if routine else [FLOAT] * len(node.args)
        if len(wanted) != len(node.args) or node.keywords:
            return self.refuse(node)
        pairs = zip(node.args, wanted, strict=True)
        arguments = [self.visit(part) for part, kind in pairs if kind != FUNCTION]
        if name == "choose":
            return self._choice(*arguments)
        if name == "int":
            return self.whole(arguments[0])
        kinds = [kind for kind in wanted if kind != FUNCTION]
        texts = [self.converted(a, kind).text for a, kind in zip(arguments, kinds, strict=True)]
        called = routine.name if routine else self.library.get(name)
        if called is None:
            raise ValueError(
                f"expression contains {name}, for which {self.language} has no function. Rewrite "
                "the expression without it, or choose another back end."
            )
        returns = routine.returns if routine else BOOL if name.startswith("is") else FLOAT
        return Term(f"{called}({', '.join(texts)})", returns)

    def converted(self, term: Term, kind: Kind) -> Term:
        """A term as a value of this kind."""
        if term.kind == kind:
            return term
        if (term.kind, kind) == (INT, FLOAT):
            return self.floating(term)
        if (term.kind, kind) == (FLOAT, INT):
            return self.whole(term)
        raise ValueError(f"{self.routine.name}: {term.text} is a {term.kind}, not a {kind}.")


def _infix(left: Term, symbol: str, right: Term, level: int) -> Term:
    """Operations of one level run from the left, here as in Python."""
    text = f"{left.inside(level)} {symbol} {right.inside(level + 1)}"
    return Term(text, left.kind, level)


def _joined(parts: Iterable[str], symbol: str) -> str:
    return f" {symbol} ".join(f"({part})" for part in parts)
