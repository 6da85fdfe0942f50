"""`lower`: the front door, and the record that it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast

from sympy import Basic, Expr, Symbol, sympify
from sympy.matrices import MatrixBase

from sgdtheory.lowering.printer import Source, generate

__all__ = ["BACKENDS", "LoweredFunction", "lower"]

BACKENDS = ("numpy", "numba", "torch")


@dataclass(frozen=True, repr=False)
class LoweredFunction:
    """A function of arrays that broadcast, with the expression it came from.

    Args:
        expression: what it computes.
        arguments: its symbols, in the order of the call.
        backend: "numpy", "numba" or "torch".
        source: the generated Python text.
    """

    expression: Expr | MatrixBase
    arguments: tuple[Symbol, ...]
    backend: str
    source: str
    _call: Callable[..., Any] = field(compare=False)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        names = ", ".join(map(str, self.arguments))
        return f"({names}) ↦ {self.expression}, for arrays that broadcast ({self.backend})."

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.arguments))
        return f"<LoweredFunction of ({names}), {self.backend}; see .expression and .source>"

    def __call__(self, *arrays: Any) -> Any:
        """Value at the arrays, broadcast; a Matrix expression adds two axes at the end."""
        if len(arrays) != len(self.arguments):
            raise ValueError(
                f"{len(arrays)} arrays given for {len(self.arguments)} arguments: "
                f"pass {', '.join(map(str, self.arguments))} in this order."
            )
        return self._call(*arrays)

    def __reduce__(self) -> tuple[Any, ...]:
        return lower, (self.expression, self.arguments, self.backend)


def lower(
    expression: Expr | MatrixBase, arguments: Sequence[Symbol], backend: str = "numpy"
) -> LoweredFunction:
    """A function of arrays that computes a SymPy expression.

    Args:
        expression: a scalar or a Matrix.
        arguments: symbols, in the order of the call; every free symbol of the expression.
        backend: "numpy", "numba" (compiled, scalar loops) or "torch" (any device, gradients).

    Raises:
        ValueError: for an unknown back end, symbol or function, by name.

    >>> from sgdtheory import symbols as s
    >>> lower(s.eta**2 / s.S, (s.eta, s.S))([0.1, 0.2], 4.0)
    array([0.0025, 0.01  ])
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend = {backend!r}: give one of {', '.join(BACKENDS)}.")
    symbols = tuple(arguments)
    if not isinstance(expression, Basic | MatrixBase | int | float):
        # Text inside a container would be evaluated on its way to an expression.
        raise TypeError(f"expression = {expression!r}: give a SymPy expression or matrix.")
    checked = expression if isinstance(expression, MatrixBase) else sympify(expression)
    source = generate(checked, symbols)
    module = import_module(f"sgdtheory.lowering.{backend}_backend")
    compile_source = cast(Callable[[Source], Callable[..., Any]], module.compile_source)
    return LoweredFunction(checked, symbols, backend, source.text, compile_source(source))
