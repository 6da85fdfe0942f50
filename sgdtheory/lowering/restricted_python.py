"""The restricted Python of generated sources and `scalar_modes`, read as data.

A routine is a function with the kinds of its parameters and its value, taken from annotations. A
language without Python gets the routines that a generated source needs, and no others.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from sgdtheory.lowering import scalar_modes
from sgdtheory.lowering.printer import Source

__all__ = ["BOOL", "FLOAT", "FUNCTION", "INT", "Kind", "Routine", "entry", "needed_by"]


@dataclass(frozen=True)
class Kind:
    """What a value is; `length` counts the floats of a tuple."""

    name: str
    length: int = 0


FLOAT, INT, BOOL, FUNCTION = map(Kind, ("float", "int", "bool", "function"))


@dataclass(frozen=True)
class Routine:
    """A function to translate.

    Args:
        name: in the language that it is translated to.
        parameters: kinds by name, in order.
        returns: the kind of its value.
        body: its statements.
        summary: what it computes.
        constants: numbers that it finds outside itself.
    """

    name: str
    parameters: Mapping[str, Kind]
    returns: Kind
    body: Sequence[ast.stmt]
    summary: str
    constants: Mapping[str, float]

    def nodes(self) -> Iterable[ast.AST]:
        """Every node of its statements."""
        return (node for part in self.body for node in ast.walk(part))

    def calls(self) -> list[str]:
        """Bare names that it calls, each once."""
        calls = (node.func for node in self.nodes() if isinstance(node, ast.Call))
        return list(dict.fromkeys(call.id for call in calls if isinstance(call, ast.Name)))

    def refusals(self) -> list[str]:
        """Messages of the errors that it raises itself."""
        raised = [node.exc for node in self.nodes() if isinstance(node, ast.Raise)]
        return [message(error) for error in raised]


def message(error: ast.expr | None) -> str:
    """The text of an error that is raised."""
    assert isinstance(error, ast.Call)
    return str(ast.literal_eval(error.args[0]))


def _kind(hint: Any) -> Kind:
    """Kind of an annotation; what may be anything is a float here."""
    if get_origin(hint) is tuple:
        return Kind("tuple", len(get_args(hint)))
    if get_origin(hint) is Callable:
        return FUNCTION
    return {int: INT, bool: BOOL, float: FLOAT, Any: FLOAT}[hint]


def _definition(text: str) -> ast.FunctionDef:
    (definition,) = ast.parse(text).body
    assert isinstance(definition, ast.FunctionDef)
    return definition


@cache
def _routine(function: Callable[..., Any]) -> Routine:
    kinds = {name: _kind(hint) for name, hint in get_type_hints(function).items()}
    returns = kinds.pop("return")
    constants = {k: v for k, v in function.__globals__.items() if type(v) in (int, float)}
    summary = (inspect.getdoc(function) or "").partition("\n\n")[0]
    definition = _definition(inspect.getsource(function))
    return Routine(definition.name, kinds, returns, definition.body, summary, constants)


# `choose` becomes the conditional that every language has.
_LIBRARY = {
    name: function
    for name, function in vars(scalar_modes).items()
    if inspect.isfunction(function) and name != "choose"
}


def entry(source: Source, name: str) -> Routine:
    """The generated function itself, under a name of its own."""
    rows, columns = source.shape or (1, 1)
    parameters = dict.fromkeys(source.parameters, FLOAT)
    returns = Kind("tuple", rows * columns)
    return Routine(name, parameters, returns, _definition(source.text).body, "", {})


def needed_by(routine: Routine) -> dict[str, Routine]:
    """The library's routines that one calls, directly or not, each after those that it calls."""
    needed: dict[str, Routine] = {}
    for called in routine.calls():
        if called in _LIBRARY and called not in needed:
            found = _routine(_LIBRARY[called])
            needed |= {k: v for k, v in needed_by(found).items() if k not in needed}
            needed[called] = found
    return needed
