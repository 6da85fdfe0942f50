"""`lower`: the front door, and the record that it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sympy import Basic, Expr, Symbol, latex, preorder_traversal, sympify
from sympy.matrices import MatrixBase

from sgdtheory.lowering.operations import Rewriting
from sgdtheory.lowering.printer import generate

__all__ = ["BACKENDS", "LoweredFunction", "lower"]

# Each by what its module, named after it, makes of a generated source: a function to call here, or
# a translation to be compiled elsewhere.
BACKENDS = MappingProxyType(
    {
        "numpy": "compile_source",
        "numba": "compile_source",
        "torch": "compile_source",
        "c": "translate",
        "javascript": "translate",
    }
)
_DEFAULT_NAME = "lowered"
# Nodes of an expression that a description shows.
_READABLE = 300


@dataclass(frozen=True, repr=False)
class LoweredFunction:
    """A function of arrays that broadcast, or its text in another language, and its expression.

    Args:
        expression: what it computes.
        arguments: its symbols, in the order of the call.
        backend: "numpy", "numba", "torch", "c" or "javascript".
        source: the generated text, Python or the back end's language.
        rewriting: the rules that led from the expression to the source, and the operations left
            after each; print it.
        name: of the function in files of "c" and "javascript".
        files: texts by file name, of "c" and "javascript".
    """

    expression: Expr | MatrixBase
    arguments: tuple[Symbol, ...]
    backend: str
    source: str
    rewriting: Rewriting = field(compare=False)
    name: str
    files: Mapping[str, str] = field(compare=False)
    _call: Callable[..., Any] = field(compare=False)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        taken = "numbers" if self.files else "arrays that broadcast"
        return f"{_described(self.expression, self.arguments)}, for {taken} ({self.backend})."

    @property
    def header(self) -> str:
        """Text of the header file that declares the function; of "c" alone.

        Raises:
            AttributeError: for another back end.
        """
        name = f"{self.name}.h"
        if name not in self.files:
            raise AttributeError(f"backend = {self.backend!r} has no header: lower with 'c'.")
        return self.files[name]

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.arguments))
        return f"<LoweredFunction of ({names}), {self.backend}; see .expression and .source>"

    def _repr_latex_(self) -> str:
        arguments = ", ".join(map(latex, self.arguments))
        return rf"$({arguments}) \mapsto {latex(self.expression)}$"

    def __call__(self, *arrays: Any) -> Any:
        """Value at the arrays, broadcast; a Matrix expression adds two axes at the end.

        Raises:
            TypeError: if the back end yields text; the message says how to use it.
            ValueError: for a wrong number of arrays.
        """
        if not self.files and len(arrays) != len(self.arguments):
            raise ValueError(
                f"{len(arrays)} arrays given for {len(self.arguments)} arguments: "
                f"pass {', '.join(map(str, self.arguments))} in this order."
            )
        return self._call(*arrays)

    def write(self, folder: str | Path) -> tuple[Path, ...]:
        """Write the files of "c" or "javascript" into a folder, which is made if need be.

        Returns:
            Their paths, the source first.

        Raises:
            TypeError: for a back end whose functions are called here.
        """
        if not self.files:
            raise TypeError(
                f"backend = {self.backend!r} makes a function to call, not files: lower the "
                "expression with backend='c' or 'javascript' to write some."
            )
        paths = tuple(Path(folder) / name for name in self.files)
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, self.files.values(), strict=True):
            path.write_text(text, encoding="utf-8")
        return paths

    def __reduce__(self) -> tuple[Any, ...]:
        return lower, (self.expression, self.arguments, self.backend, self.name)


def _described(expression: Expr | MatrixBase, arguments: Sequence[Symbol]) -> str:
    matrix = isinstance(expression, MatrixBase)
    entries = expression.flat() if matrix else [expression]
    nodes = chain.from_iterable(map(preorder_traversal, entries))
    if sum(1 for _ in islice(nodes, _READABLE)) < _READABLE:
        shown = str(expression)
    else:
        # To print it would take longer than to lower it.
        size = " × ".join(map(str, expression.shape)) + " matrix" if matrix else "number"
        shown = f"a {size}, by an expression that is too long to be read"
    return f"({', '.join(map(str, arguments))}) ↦ {shown}"


def _refusal(backend: str, usage: str) -> Callable[..., Any]:
    """What stands for the function where there is only text."""

    def call(*_: Any) -> Any:
        raise TypeError(
            f"backend = {backend!r} yields text, which Python cannot call. Write it into a folder "
            f"with .write(folder); there {usage}. To call it here, lower with backend='numpy'."
        )

    return call


def lower(
    expression: Expr | MatrixBase,
    arguments: Sequence[Symbol],
    backend: str = "numpy",
    name: str = _DEFAULT_NAME,
) -> LoweredFunction:
    """A function of arrays that computes a SymPy expression, or its text in another language.

    Args:
        expression: a scalar or a Matrix.
        arguments: symbols, in the order of the call; every free symbol of the expression.
        backend: "numpy", "numba" (compiled, scalar loops) or "torch" (any device, gradients);
            "c" (a C99 file with its header) or "javascript" (an ES module), which are text.
        name: of the function in C or JavaScript; C has name_array for arrays, too.

    Raises:
        ValueError: for an unknown back end, symbol or function, by name, for a matrix without
            entries, and for a name that the language does not allow.

    >>> from sgdtheory import symbols as s
    >>> lower(s.eta**2 / s.S, (s.eta, s.S))([0.1, 0.2], 4.0)
    array([0.0025, 0.01  ])
    >>> print(lower(s.eta**2 / s.S, (s.eta, s.S), "javascript", name="step").source)
    /**
     * (eta, S) ↦ eta**2/S
     * @param {number} eta
     * @param {number} S
     * @returns {number}
     */
    export function step(eta, S) {
        return eta * eta / S;
    }
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend = {backend!r}: give one of {', '.join(BACKENDS)}.")
    symbols = tuple(arguments)
    if not isinstance(expression, Basic | MatrixBase | int | float):
        # Text inside a container would be evaluated on its way to an expression.
        raise TypeError(f"expression = {expression!r}: give a SymPy expression or matrix.")
    if isinstance(expression, MatrixBase) and not expression:
        raise ValueError(f"expression = {expression!r}: the matrix has no entries.")
    checked = expression if isinstance(expression, MatrixBase) else sympify(expression)
    source = generate(checked, symbols)
    make = getattr(import_module(f"sgdtheory.lowering.{backend}_backend"), BACKENDS[backend])
    if BACKENDS[backend] == "compile_source":
        if name != _DEFAULT_NAME:
            raise ValueError(f"name = {name!r}: only 'c' and 'javascript' name what they write.")
        return LoweredFunction(
            checked, symbols, backend, source.text, source.rewriting, name, {}, make(source)
        )
    translation = make(source, name, [_described(checked, symbols)])
    files = translation.files
    text = next(iter(files.values()))
    refuse = _refusal(backend, translation.usage)
    return LoweredFunction(checked, symbols, backend, text, source.rewriting, name, files, refuse)
