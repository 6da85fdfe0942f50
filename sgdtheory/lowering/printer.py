"""From an expression to the source of a Python function whose names every back end defines.

The source is the same for scalars, NumPy arrays and torch tensors: arithmetic, and the bare names
of the table below. A back end is a namespace that gives these names a meaning.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import sympy
from sympy import (
    Add,
    Derivative,
    Expr,
    Float,
    Function,
    Integer,
    Mul,
    Pow,
    Rational,
    Subs,
    Symbol,
    cse,
    numbered_symbols,
)
from sympy.codegen.cfunctions import expm1, log1p
from sympy.matrices import MatrixBase
from sympy.printing.pycode import PythonCodePrinter

from sgdtheory.lowering.operations import Operations, Rewriting, Step, product
from sgdtheory.lowering.removable_quotients import QUOTIENTS
from sgdtheory.lowering.rewriting import is_constant, rewrite
from sgdtheory.special_functions import CONTINUOUS, DISCRETE, SUMS, ModeFunction
from sgdtheory.symbols import identifier

__all__ = ["ELEMENTARY", "Source", "define", "generate"]

ELEMENTARY = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tan: "tan",
    sympy.sinh: "sinh",
    sympy.cosh: "cosh",
    sympy.tanh: "tanh",
    sympy.atan: "atan",
    sympy.floor: "floor",
    expm1: "expm1",
    log1p: "log1p",
}
EXTREMES = {sympy.Min: "minimum", sympy.Max: "maximum"}
# What a back end's `continuous_flow` and `discrete_flow` return, in this order; its
# `continuous_mode` and `discrete_mode` return the moments after these, `discrete_sums` the sums.
FLOW = ("relaxation", "step_response", "impulse_response", "velocity_response")
MOMENTS = ("position_gramian", "mixed_gramian", "velocity_gramian")
_CLOCKS = {
    cls: clock.name
    for clock in (CONTINUOUS, DISCRETE)
    for cls in (*clock.classes, *clock.sum_classes)
}
_PRINTED = {**ELEMENTARY, **QUOTIENTS, **EXTREMES, **{cls: cls.__name__ for cls in _CLOCKS}}
# What an expression may contain; a rule writes sinc as a quotient.
_KNOWN = {**_PRINTED, sympy.sinc: "sinc"}


@dataclass(frozen=True)
class Source:
    """A generated function: its text, its parameters, the shape of its result, and its rules."""

    text: str
    parameters: tuple[str, ...]
    shape: tuple[int, int] | None
    rewriting: Rewriting


def define(text: str, name: str, namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """The function `name` that a generated source defines, its free names taken from `namespace`.

    The text comes from `generate` alone, so every name in it is a checked identifier.
    """
    scope = dict(namespace)
    exec(compile(text, f"<generated {name}>", "exec"), scope)  # noqa: S102
    function: Callable[..., Any] = scope[name]
    return function


class _Printer(PythonCodePrinter):
    """Prints with bare function names; √x as sqrt(x), other powers as **."""

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": False})

    def _print_Function(self, expr: Function) -> str:
        arguments = ", ".join(self._print(argument) for argument in expr.args)
        return f"{_PRINTED[expr.func]}({arguments})"

    for _class in ELEMENTARY:
        locals()[f"_print_{_class.__name__}"] = _print_Function
    del _class

    def _print_product(self, expr: product) -> str:
        first, second = (self.parenthesize(factor, expr.precedence) for factor in expr.args)
        return f"{first}*{second}"

    def _print_Min(self, expr: Expr) -> str:
        """Two at a time, as every array library has it."""
        first, *others = map(self._print, expr.args)
        name = EXTREMES[expr.func]
        return reduce(lambda printed, other: f"{name}({printed}, {other})", others, first)

    _print_Max = _print_Min  # noqa: N815

    def _print_Float(self, expr: Float) -> str:
        return self._double(expr)

    def _print_Integer(self, expr: Integer) -> str:
        # Beyond 2⁵³ some languages have no such integer, and none of them needs one.
        if abs(expr.p) <= 2**53:
            return str(expr.p)
        return self._double(expr)

    def _double(self, expr: Float | Integer) -> str:
        try:
            value = float(expr)
        except OverflowError:
            value = math.inf
        if math.isinf(value):
            raise ValueError(f"expression contains {expr}, beyond any double: rescale it.")
        return repr(value)

    def _print_Pow(self, expr: sympy.Pow, rational: bool = False) -> str:
        base, exponent = expr.as_base_exp()
        if exponent == Rational(1, 2):
            return f"sqrt({self._print(base)})"
        if exponent == Rational(-1, 2):
            return f"1/sqrt({self._print(base)})"
        if exponent.is_Integer and exponent < -1:
            # Whole negative powers of 0 are an error in some languages, and infinite in others.
            return f"1/({self._print(base)})**{-exponent}"
        return str(super()._print_Pow(expr, rational=rational))


def generate(expression: Expr | MatrixBase, arguments: Sequence[Symbol]) -> Source:
    """Source of a function of `arguments` that returns the expression's entries as a tuple.

    Raises:
        ValueError: naming the symbol or function that cannot be lowered.
    """
    matrix = isinstance(expression, MatrixBase)
    entries = list(expression) if matrix else [expression]
    _check(entries, arguments)
    names = dict(zip(arguments, _identifiers(arguments), strict=True))
    renamed = {argument: identifier(name) for argument, name in names.items()}
    rewritten, rewriting = rewrite(entries)
    named = [entry.xreplace(renamed) for entry in rewritten]
    modes = _Modes.of(named)
    points = [argument for point in modes.points for argument in point[1]]
    unknowns = [entry.xreplace(modes.values) for entry in named]
    shared, reduced = cse([*points, *unknowns], symbols=numbered_symbols("_x"), order="none")
    printer = _Printer()
    statements = [
        _Statement(f"{x} = {printer.doprint(value)}", {x}, value.free_symbols)
        for x, value in shared
    ]
    calls = list(modes.statements(reduced[: len(points)], printer))
    statements += calls
    lines = [f"def lowered({', '.join(names.values())}):"]
    lines += [f"    {statement.text}" for statement in _in_order(statements)]
    returned = ", ".join(printer.doprint(value) for value in reduced[len(points) :])
    lines.append(f"    return ({returned},)")
    shape = expression.shape if matrix else None
    shared_operations = Operations.of([*(value for _, value in shared), *reduced])
    last = Step(*_SHARING, shared_operations + Operations(functions=len(calls)))
    record = Rewriting((*rewriting.steps, last))
    return Source("\n".join(lines) + "\n", tuple(names.values()), shape, record)


_SHARING = ("common subexpressions", "what occurs twice, a mode's functions too, is computed once")


@dataclass(frozen=True)
class _Statement:
    """A line of the source: the variables it defines, and those it needs."""

    text: str
    defines: set[Symbol]
    needs: set[Symbol]


def _in_order(statements: Sequence[_Statement]) -> list[_Statement]:
    """Statements, each after those that define what it needs."""
    ordered: list[_Statement] = []
    pending = list(statements)
    while pending:
        unknown = set().union(*(statement.defines for statement in pending))
        ordered += [statement for statement in pending if not statement.needs & unknown]
        pending = [statement for statement in pending if statement.needs & unknown]
    return ordered


@dataclass(frozen=True)
class _Modes:
    """The mode functions of an expression, gathered by the point at which they are taken.

    One call yields all functions at a point, so each point is one line of the source, and one more
    if it has sums. A point may itself contain mode functions: of an epoch as one long update.
    """

    points: tuple[tuple[str, tuple[Expr, ...]], ...]
    values: dict[ModeFunction, Symbol]

    @classmethod
    def of(cls, entries: Sequence[Expr]) -> _Modes:
        found = sorted(
            {f for entry in entries for f in entry.atoms(ModeFunction)}, key=lambda f: str(f)
        )
        points = tuple(dict.fromkeys((_CLOCKS[f.func], f.args) for f in found))
        values = {
            f: identifier(f"_m{points.index((_CLOCKS[f.func], f.args))}_{f.kind}") for f in found
        }
        inner = tuple(
            (clock, tuple(argument.xreplace(values) for argument in arguments))
            for clock, arguments in points
        )
        return cls(inner, values)

    def statements(self, reduced: Sequence[Expr], printer: _Printer) -> Iterator[_Statement]:
        """One statement a point and group of functions, `reduced` being the points' arguments."""
        used = {symbol.name: symbol for symbol in self.values.values()}
        for number, (clock, _) in enumerate(self.points):
            arguments = reduced[3 * number : 3 * number + 3]
            point = ", ".join(map(printer.doprint, arguments))
            needs: set[Symbol] = set().union(*(argument.free_symbols for argument in arguments))
            flow, moments, sums = (
                [f"_m{number}_{kind}" for kind in kinds] for kinds in (FLOW, MOMENTS, SUMS)
            )
            gathers = not used.keys().isdisjoint(moments)
            for call, names in (
                ("mode" if gathers else "flow", [*flow, *moments] if gathers else flow),
                ("sums", sums),
            ):
                defines = {used[name] for name in names if name in used}
                if defines:
                    targets = ", ".join(name if name in used else "_" for name in names)
                    yield _Statement(f"{targets} = {clock}_{call}({point})", defines, needs)


# What a generated source itself calls; its own variables begin with an underscore.
_RESERVED = {
    *ELEMENTARY.values(),
    *EXTREMES.values(),
    *QUOTIENTS.values(),
    "sqrt",
    "lowered",
    *(f"{clock.name}_{kind}" for clock in (CONTINUOUS, DISCRETE) for kind in ("flow", "mode")),
    "discrete_sums",
}


def _identifiers(arguments: Sequence[Symbol]) -> list[str]:
    """A Python name of its own for every argument, as near to the symbol's as can be."""
    names: list[str] = []
    for argument in arguments:
        name = re.sub(r"\W", "_", argument.name).lstrip("_") or "argument"
        name = f"argument_{name}" if name[0].isdigit() else name
        while name in names or name in _RESERVED or keyword.iskeyword(name):
            name += "_"
        names.append(name)
    return names


def _check(entries: Sequence[Expr], arguments: Sequence[Symbol]) -> None:
    for argument in arguments:
        if not isinstance(argument, Symbol):
            raise TypeError(f"arguments: {argument!r} is not a SymPy symbol. Pass symbols.")
    if len({argument.name for argument in arguments}) < len(arguments):
        raise ValueError(
            f"arguments = {tuple(arguments)}: two of them have one name. Symbols of one name and "
            "different assumptions are different symbols; take all from sgdtheory.symbols."
        )
    for entry in entries:
        _check_symbols(entry, arguments)
        _check_nodes(entry)


def _check_symbols(entry: Expr, arguments: Sequence[Symbol]) -> None:
    for symbol in sorted(entry.free_symbols - set(arguments), key=str):
        twin = any(argument.name == symbol.name for argument in arguments)
        advice = (
            "an argument has the same name but other assumptions, so it is another symbol; take "
            "both from sgdtheory.symbols"
            if twin
            else "add it to the arguments, or substitute a number for it"
        )
        raise ValueError(f"expression contains {symbol}, which is no argument: {advice}.")


_ARITHMETIC = (Symbol, Add, Mul, Pow)


def _check_nodes(node: Any) -> None:
    """Refuse all but sums, products, powers, symbols, real numbers and the table's functions."""
    if is_constant(node) and node.is_real and node.is_finite:
        return
    if isinstance(node, (Derivative, Subs)) and node.has(ModeFunction):
        raise ValueError(
            "expression contains a derivative of a mode function in its trace or determinant, "
            "which has no closed form here. Lower the expression itself with backend='torch' and "
            "differentiate there."
        )
    if (node.func not in _KNOWN and not isinstance(node, _ARITHMETIC)) or is_constant(node):
        raise ValueError(
            f"expression contains {node}, for which no back end has a meaning. Evaluate it first "
            "(.doit()), or replace it by sums, products and powers of real numbers and functions "
            f"of: {', '.join(sorted(_KNOWN.values()))}."
        )
    for part in node.args:
        _check_nodes(part)
