r"""Expressions and matrices that a user gives: taken as they are, and text never read as code."""

from __future__ import annotations

from typing import Any

import numpy as np
from sympy import Expr, ImmutableMatrix, SympifyError, nan, oo, sympify, zoo
from sympy.matrices import MatrixBase

from sgdtheory.arrays import shortened

__all__ = ["strict_expression", "strict_matrix"]


def strict_expression(name: str, value: Any) -> Expr:
    """A finite number or a SymPy expression.

    Args:
        name: of the argument, for the message.
        value: what was given.

    Raises:
        ValueError: naming the argument, for text, NaN, infinities, or what is no expression.

    >>> strict_expression("noise", 2)
    2
    """
    refused = ValueError(
        f"{name} = {shortened(value)} is not a SymPy expression or finite number. Write it in "
        "sgdtheory.symbols; text is not read as code."
    )
    try:
        expression = sympify(value, strict=True)
    except SympifyError:
        raise refused from None
    if not isinstance(expression, Expr) or expression is nan or expression.is_finite is False:
        raise refused
    return expression


def strict_matrix(name: str, values: Any) -> ImmutableMatrix:
    """A matrix of numbers and expressions; text in it is refused, not read as code.

    Args:
        name: of the argument, for the message.
        values: a SymPy matrix, nested sequences or an array.

    Raises:
        ValueError: naming the argument, for text, NaN, infinities, or what is no matrix.

    >>> strict_matrix("drift", [[1, 0], [0, 2]])
    Matrix([
    [1, 0],
    [0, 2]])
    """
    refused = ValueError(
        f"{name} = {shortened(values)}: give a matrix of finite numbers and SymPy expressions; "
        "text is not read as code."
    )
    # Matrix() evaluates text, so every entry is looked at before.
    if not isinstance(values, MatrixBase):
        if any(isinstance(x, str) for x in np.ravel(np.asarray(values, dtype=object))):
            raise refused
        if isinstance(values, str):
            raise refused
    try:
        matrix = ImmutableMatrix(values)
    except (TypeError, ValueError):
        raise refused from None
    if matrix.has(nan, zoo, oo, -oo):
        raise refused
    return matrix
