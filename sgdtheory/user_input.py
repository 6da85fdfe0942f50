r"""Expressions and matrices that a user gives: taken as they are, and text never read as code.

SymPy's own conversion is strict about text at the top only: inside a set, a dictionary or a nested
list it evaluates. So only numbers and SymPy objects ever reach it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from sympy import Basic, Expr, ImmutableMatrix, nan, sympify
from sympy.matrices import MatrixBase

from sgdtheory.arrays import shortened

__all__ = ["strict_expression", "strict_matrix"]

_NUMBERS = (int, float, Fraction, np.integer, np.floating)


def strict_expression(name: str, value: Any) -> Expr:
    """A finite real number or a SymPy expression.

    Args:
        name: of the argument, for the message.
        value: what was given.

    Raises:
        ValueError: naming the argument, for text, NaN, infinities, or what is no expression.

    >>> strict_expression("noise", 2)
    2
    """
    expression = sympify(value) if isinstance(value, (*_NUMBERS, Basic)) else None
    if (
        not isinstance(expression, Expr)
        or expression is nan
        or expression.is_finite is False
        or (expression.is_number and expression.is_real is False)
    ):
        raise ValueError(
            f"{name} = {shortened(value)} is not a SymPy expression or finite real number. Write "
            "it in sgdtheory.symbols; text is not read as code."
        )
    return expression


def strict_matrix(name: str, values: Any) -> ImmutableMatrix:
    """A matrix of numbers and expressions; a flat sequence is a column.

    Args:
        name: of the argument, for the message.
        values: a SymPy matrix, a list of rows or a NumPy array.

    Raises:
        ValueError: naming the argument, for text, NaN, infinities, or what is no matrix.

    >>> strict_matrix("drift", [[1, 0], [0, 2]])
    Matrix([
    [1, 0],
    [0, 2]])
    """
    sequence = (list, tuple, np.ndarray)
    if isinstance(values, MatrixBase):
        return ImmutableMatrix(values.applyfunc(lambda entry: strict_expression(name, entry)))
    given = values.tolist() if isinstance(values, np.ndarray) else values
    rows = (
        [row if isinstance(row, sequence) else [row] for row in given]
        if isinstance(given, sequence)
        else []
    )
    if not rows or any(getattr(row, "ndim", 1) != 1 or len(row) != len(rows[0]) for row in rows):
        raise ValueError(
            f"{name} = {shortened(values)}: give a matrix of numbers and SymPy expressions, with "
            "rows of one length; text is not read as code."
        )
    return ImmutableMatrix([[strict_expression(name, entry) for entry in row] for row in rows])
