"""C: a file that any C99 compiler takes, with its header.

Tuples become small structs, counts int64_t, and what Python refuses gives NaN: a count is never
negative, so −1 carries a refusal out of a function that returns one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sgdtheory.lowering.printer import Source
from sgdtheory.lowering.restricted_python import FLOAT, INT, Kind, Routine, entry, needed_by
from sgdtheory.lowering.translated_expressions import MULTIPLIED, NEGATED, Term
from sgdtheory.lowering.translation import Translation, Translator, comment

__all__ = ["translate"]

_MATH = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs
    fdim floor fma fmax fmin fmod fpclassify frexp hypot ilogb isfinite isgreater isinf isless isnan
    isnormal isunordered ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nan
    nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn signbit sin sinh
    sqrt tan tanh tgamma trunc
"""
# The header is read by C++ too. Beside the keywords: what common compilers add or predefine.
_KEYWORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
    char8_t class compl concept const const_cast consteval constexpr constinit continue co_await
    co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public register reinterpret_cast requires restrict
    return short signed sizeof static static_assert static_cast struct switch template this
    thread_local throw true try typedef typeid typename typeof union unsigned using virtual void
    volatile wchar_t while xor xor_eq
    linux unix math_errhandling main drem exp10 finite gamma j0 j1 jn pow10 scalb significand
    signgam y0 y1 yn abs labs int64_t size_t size out element I
"""


class _C(Translator):
    language = "C"
    library: ClassVar = {name: name for name in _MATH.split()} | {"abs": "fabs"}
    keywords = frozenset(_KEYWORDS.split())
    equality: ClassVar = {ast.Eq: "==", ast.NotEq: "!="}

    @classmethod
    def is_reserved(cls, name: str) -> bool:
        """Names in capitals too: macros may have them, and replace them before C is read."""
        return (
            super().is_reserved(name) or re.fullmatch(r"[A-Z][A-Z0-9_]*[A-Z0-9]", name) is not None
        )

    def declaration(self, name: str, kind: Kind, *, fixed: bool) -> str:
        return f"{'const ' * fixed}{_type(kind)} {name}"

    def unpacking(self, targets: Sequence[str], value: Term) -> list[str]:
        lines, name = [], value.text
        if not name.isidentifier():
            name = self.temporary()
            lines.append(f"{self.declaration(name, value.kind, fixed=True)} = {value.text};")
        entries = [Term(self.element(name, str(i)), FLOAT) for i in range(value.kind.length)]
        pairs = zip(targets, entries, strict=True)
        return lines + [self.assigned(target, term) for target, term in pairs if target != "_"]

    def tuple_of(self, entries: Sequence[str]) -> str:
        return f"(Tuple{len(entries)}){{{{{', '.join(entries)}}}}}"

    def failure(self, message: str) -> str:
        returns = self.routine.returns
        value = "-1" if returns == INT else "NAN"
        return f"return {self.tuple_of(['NAN'] * returns.length) if returns.length else value};"

    def element(self, of: str, index: str) -> str:
        return f"{of}.at[{index}]"

    def whole(self, value: Term) -> Term:
        return Term(f"(int64_t){value.inside(NEGATED)}", INT, NEGATED)

    def quotient(self, left: Term, right: Term) -> Term:
        return Term(f"{left.inside(MULTIPLIED)} / {right.inside(NEGATED)}", INT, MULTIPLIED)

    def power(self, base: str, exponent: str) -> str:
        return f"pow({base}, {exponent})"

    def floating(self, term: Term) -> Term:
        if term.kind != INT:
            return term
        if re.fullmatch(r"-?\d+", term.text):
            return Term(repr(float(term.text)), FLOAT, term.level)
        return Term(f"(double){term.inside(NEGATED)}", FLOAT, NEGATED)

    def unused(self) -> list[str]:
        """Statements that keep compilers silent about parameters of no influence."""
        unused = [name for name in self.scopes[0] if name not in self.loaded]
        return [f"    (void){self.names[name]};" for name in unused]

    def _Assign(self, node: ast.Assign) -> list[str]:
        lines = super()._Assign(node)
        called = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        if called in self.routines and self.routines[called].returns == INT:
            lines += [f"if ({self.names[ast.unparse(node.targets[0])]} < 0) {{"]
            lines += [f"    {self.failure('')}", "}"]
        return lines


def _type(kind: Kind) -> str:
    return {"float": "double", "int": "int64_t"}.get(kind.name, f"Tuple{kind.length}")


def _tuple_types(routines: Iterable[Routine]) -> str:
    kinds = {k.length for r in routines for k in (r.returns, *r.parameters.values())} - {0}
    types = [f"typedef struct {{ double at[{n}]; }} Tuple{n};" for n in sorted(kinds)]
    return "\n".join(types)


def _function(head: str, lines: Sequence[str]) -> str:
    return "\n".join([head, "{", *lines, "}"])


def _helper(translator: _C) -> str:
    """A routine of the library, for this file only."""
    routine = translator.routine
    known = {translator.names[name]: kind for name, kind in translator.scopes[0].items()}
    parameters = ", ".join(f"{_type(kind)} {name}" for name, kind in known.items())
    head = f"static {_type(routine.returns)} {routine.name}({parameters})"
    lines = translator.unused() + translator.statements()
    return f"{comment([routine.summary])}\n{_function(head, lines)}"


def _loop(name: str, parameters: Sequence[str], entries: int, *, matrix: bool) -> tuple[str, str]:
    """The function that fills an array: its prototype and its definition."""
    pointers = ["size_t size", *(f"const double *{p}" for p in parameters), "double *out"]
    prototype = f"void {name}_array({', '.join(pointers)})"
    values = [f"{parameter}[element]" for parameter in parameters]
    values += [f"out + {entries} * element"] if matrix else []
    call = f"{name}({', '.join(values)})"
    lines = [
        "    for (size_t element = 0; element < size; ++element) {",
        f"        {call if matrix else f'out[element] = {call}'};",
        "    }",
    ]
    return prototype, _function(prototype, lines)


def _documentation(
    description: Sequence[str], source: Source, routines: Iterable[Routine]
) -> list[str]:
    refusals = [f"NaN if refused: {text}" for routine in routines for text in routine.refusals()]
    rows, columns = source.shape or (1, 1)
    shape = [f"The {rows} × {columns} entries go to `out`, row by row."] if source.shape else []
    return [*description, *shape, *refusals]


def translate(source: Source, name: str, description: Sequence[str]) -> Translation:
    """The generated source as a C file and its header.

    Args:
        source: what `generate` returns.
        name: of the function; the other one is called name_array.
        description: what it computes, line by line.

    Raises:
        ValueError: for a name that C does not allow, or a function that it does not have.
    """
    routine = entry(source, name)
    routines = needed_by(routine)
    taken = {*routines, *(f"Tuple{n}" for n in range(2, 10))}
    _C.check_function_name(name, taken)
    main = _C(routine, routines, {*taken, name, f"{name}_array"})
    lines, entries = main.entries()
    parameters = [main.names[parameter] for parameter in source.parameters]
    matrix = source.shape is not None
    arguments = [f"double {p}" for p in parameters] + ["double *out"] * matrix
    prototype = f"{'void' if matrix else 'double'} {name}({', '.join(arguments) or 'void'})"
    lines = main.unused() + lines
    results = [f"    out[{i}] = {entry};" for i, entry in enumerate(entries)]
    results = results if matrix else [f"    return {entries[0]};"]
    loop_prototype, loop = _loop(name, parameters, len(entries), matrix=matrix)
    about = comment(_documentation(description, source, routines.values()))
    about_loop = comment([f"{name} for every element of arrays of one size; `out` is another one."])
    helpers = [_helper(_C(r, routines, taken | {name})) for r in routines.values()]
    parts = [
        "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>",
        *filter(None, [_tuple_types(routines.values())]),
        *helpers,
        f"{about}\n{_function(prototype, lines + results)}",
        f"{about_loop}\n{loop}",
    ]
    declared = [f"{about}\n{prototype};", f"{about_loop}\n{loop_prototype};"]
    usage = f"compile {name}.c (cc -std=c99 -O2 -c {name}.c), include {name}.h and link with -lm"
    files = {f"{name}.c": "\n\n".join(parts) + "\n", f"{name}.h": _header(name, declared)}
    return Translation(files, usage)


def _header(name: str, declared: Sequence[str]) -> str:
    guard = f"{name.upper()}_H"
    return "\n\n".join(
        [
            f"#ifndef {guard}\n#define {guard}",
            "#include <stddef.h>",
            '#ifdef __cplusplus\nextern "C" {\n#endif',
            *declared,
            "#ifdef __cplusplus\n}\n#endif",
            "#endif\n",
        ]
    )
