"""A derived expression as a file of code that runs by itself, its arguments explained."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from sympy import Abs, Basic, Derivative, Expr, Max, Set
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational
from sympy.matrices import MatrixBase

import sgdtheory as sgd
from sgdtheory.commands.letters import MEANINGS, in_order

__all__ = ["code_of", "write_code"]

_PYTHON = {"numpy": "numpy_backend", "numba": "numba_compiler", "torch": "torch_backend"}


def _lowered(name: str, value: object, backend: str) -> sgd.LoweredFunction:
    if not isinstance(value, Expr | MatrixBase) or _names_functions(value):
        kinds = {Relational: "an equation", Set: "a set", sgd.ScalingTable: "a table"}
        kind = next((word for kind, word in kinds.items() if isinstance(value, kind)), "a formula")
        raise ValueError(
            f"--format {backend}: {name} is {kind}, and code computes numbers. Choose text, latex "
            "or markdown."
        )
    # |x| has no meaning in the back ends, and the larger of x and −x has.
    computed: Any = value.replace(Abs, lambda x: Max(x, -x))
    arguments: Any = in_order(computed.free_symbols)
    if backend in _PYTHON:
        # One source for all of them: neither torch nor numba has to be here.
        return sgd.lower(computed, arguments)
    return sgd.lower(computed, arguments, backend, name)


def _names_functions(value: Basic) -> bool:
    """Whether a formula speaks of a function that is not given, as the loss."""
    return bool(value.has(AppliedUndef, Derivative))


def code_of(name: str, value: object, backend: str, about: str) -> str:
    """Source of a function that computes a result, with its arguments in their order.

    In Python the function is called ``lowered`` and gives a tuple: one value, or a matrix's entries
    row by row. In C and JavaScript it has the result's name.

    Args:
        name: of the result.
        value: what was derived.
        backend: of `sgdtheory.lower`.
        about: a line that says what was derived.

    Raises:
        ValueError: for an equation, a set or a table, which are no numbers.
    """
    function = _lowered(name, value, backend)
    words = [about, "", *_explained(function)]
    if backend not in _PYTHON:
        comment = "\n".join(["/*", *(f" * {word}".rstrip() for word in words), " */"])
        return f"{comment}\n{function.source}"
    scalar = not isinstance(function.expression, MatrixBase)
    returned = "one value" if scalar else "its entries, row by row"
    docstring = "\n".join([*words, "", f"Returns a tuple: {returned}."])
    return "\n".join(
        [f'"""{docstring}\n"""', "", *_preamble(function, backend), function.source.rstrip(), ""]
    )


def _explained(function: sgd.LoweredFunction) -> list[str]:
    width = max((len(str(x)) for x in function.arguments), default=0)
    lines = [f"  {x!s:<{width}}  {MEANINGS.get(x, '')}".rstrip() for x in function.arguments]
    return ["Arguments, in this order:", *lines] if lines else ["Without arguments."]


def _preamble(function: sgd.LoweredFunction, backend: str) -> list[str]:
    """Where a generated source in Python finds the functions that it calls."""
    module = f"sgdtheory.lowering.{_PYTHON[backend]}"
    nodes = ast.walk(ast.parse(function.source))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call)}  # type: ignore[attr-defined]
    lines = ["import numba", ""] if backend == "numba" else []
    if called:
        lines += [f"from {module} import NAMESPACE", ""]
        lines += [f'{name} = NAMESPACE["{name}"]' for name in sorted(called)]
    if lines:
        lines += ["", ""]
    return [*lines, '@numba.njit(error_model="numpy")'] if backend == "numba" else lines


def write_code(name: str, value: object, backend: str, about: str, path: Path) -> None:
    """The same into a file; for C with its header beside it, of the same name.

    Args:
        name: as of `code_of`; likewise the following.
        value: what was derived.
        backend: of the code.
        about: a line that says what was derived.
        path: of the file.

    Raises:
        ValueError: as `code_of`; for C also where the source would have the header's name.
    """
    if backend == "c" and path.suffix == ".h":
        raise ValueError(f"--output {path}: the header gets this name. Call the source *.c.")
    path.write_text(code_of(name, value, backend, about), encoding="utf-8")
    if backend == "c":
        path.with_suffix(".h").write_text(_lowered(name, value, "c").header, encoding="utf-8")
