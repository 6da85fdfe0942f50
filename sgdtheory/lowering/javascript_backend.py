"""JavaScript: an ES module; tuples are arrays, and what Python refuses throws a RangeError.

All numbers are doubles. They hold counts up to 2⁵³ exactly, which operations on bits would not.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sgdtheory.lowering.printer import Source
from sgdtheory.lowering.restricted_python import FLOAT, INT, Kind, Routine, entry, needed_by
from sgdtheory.lowering.translated_expressions import MULTIPLIED, NEGATED, Term
from sgdtheory.lowering.translation import Translation, Translator, comment

__all__ = ["translate"]

_MATH = """
    abs acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh exp expm1 floor hypot log log10
    log1p log2 round sign sin sinh sqrt tan tanh trunc
"""
# With those that modules, always strict, keep; and what the text itself uses.
_KEYWORDS = """
    arguments await break case catch class const continue debugger default delete do else enum eval
    export extends false finally for function if implements import in instanceof interface let new
    null package private protected public return static super switch this throw true try typeof var
    void while with yield
    Infinity Math NaN Number RangeError undefined
"""


class _JavaScript(Translator):
    language = "JavaScript"
    library: ClassVar = {name: f"Math.{name}" for name in _MATH.split()} | {
        "isfinite": "Number.isFinite",
        "isnan": "Number.isNaN",
    }
    keywords = frozenset(_KEYWORDS.split())
    equality: ClassVar = {ast.Eq: "===", ast.NotEq: "!=="}

    def declaration(self, name: str, kind: Kind, *, fixed: bool) -> str:
        return f"{'const' if fixed else 'let'} {name}"

    def unpacking(self, targets: Sequence[str], value: Term) -> list[str]:
        wanted = [target for target in targets if target != "_"]
        new = [target for target in wanted if target not in self.known()]
        if new and len(new) < len(wanted):
            raise ValueError(f"{self.routine.name}: {targets} are partly new. Assign one by one.")
        fixed = all(self.stores[target] == 1 for target in wanted)
        self.scopes[-1].update(dict.fromkeys(new, FLOAT))
        spelled = ["" if target == "_" else self.names[target] for target in targets]
        names = ", ".join(spelled).rstrip(", ")
        return [f"{('const ' if fixed else 'let ') if new else ''}[{names}] = {value.text};"]

    def tuple_of(self, entries: Sequence[str]) -> str:
        return f"[{', '.join(entries)}]"

    def failure(self, message: str) -> str:
        return f"throw new RangeError({json.dumps(message)});"

    def element(self, of: str, index: str) -> str:
        return f"{of}[{index}]"

    def whole(self, value: Term) -> Term:
        return Term(f"Math.trunc({value.text})", INT)

    def quotient(self, left: Term, right: Term) -> Term:
        return Term(f"Math.floor({left.inside(MULTIPLIED)} / {right.inside(NEGATED)})", INT)

    def power(self, base: str, exponent: str) -> str:
        return f"Math.pow({base}, {exponent})"

    def floating(self, term: Term) -> Term:
        return Term(term.text, FLOAT, term.level) if term.kind == INT else term


def _function(head: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{head} {{", *lines, "}"])


def _helper(translator: _JavaScript) -> str:
    """A routine of the library, for this module only."""
    routine = translator.routine
    parameters = ", ".join(translator.names[name] for name in translator.scopes[0])
    head = f"function {routine.name}({parameters})"
    return f"{comment([routine.summary])}\n{_function(head, translator.statements())}"


def _documentation(
    description: Sequence[str], source: Source, names: Sequence[str], routines: Iterable[Routine]
) -> str:
    rows, columns = source.shape or (1, 1)
    value = f"number[][]}} {rows} rows of {columns}" if source.shape else "number}"
    refusals = [f"@throws {{RangeError}} {text}" for r in routines for text in r.refusals()]
    parameters = [f"@param {{number}} {name}" for name in names]
    return comment([*description, *parameters, f"@returns {{{value}", *refusals])


def translate(source: Source, name: str, description: Sequence[str]) -> Translation:
    """The generated source as an ES module.

    Args:
        source: what `generate` returns.
        name: of the function that the module exports.
        description: what it computes, line by line.

    Raises:
        ValueError: for a name that JavaScript does not allow, or a function that it does not have.
    """
    routine = entry(source, name)
    routines = needed_by(routine)
    _JavaScript.check_function_name(name, routines)
    main = _JavaScript(routine, routines, {*routines, name})
    lines, entries = main.entries()
    parameters = [main.names[parameter] for parameter in source.parameters]
    value = entries[0]
    if source.shape is not None:
        rows, columns = source.shape
        starts = [columns * row for row in range(rows)]
        value = main.tuple_of([main.tuple_of(entries[i : i + columns]) for i in starts])
    head = f"export function {name}({', '.join(parameters)})"
    about = _documentation(description, source, parameters, routines.values())
    helpers = [_helper(_JavaScript(r, routines, {*routines, name})) for r in routines.values()]
    exported = f"{about}\n{_function(head, [*lines, f'    return {value};'])}"
    usage = f'import {{ {name} }} from "./{name}.mjs"'
    return Translation({f"{name}.mjs": "\n\n".join([*helpers, exported]) + "\n"}, usage)
