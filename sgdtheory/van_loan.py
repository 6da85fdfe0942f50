r"""Propagator and gathered noise of a numeric process, to a stated number of digits.

.. math::

    F_t = e^{-At}, \qquad C_t = \int_0^t F_s N F_s^T\,ds, \qquad
    C_{2t} = C_t + F_t C_t F_t^T

A matrix with irrational rates has no closed form worth reading, and SymPy's Jordan form of it may
take minutes. One exponential gives both over a short time; doubling adds positive terms only, so
it needs no stability and loses nothing at late times.
"""

from __future__ import annotations

from math import ceil, log2

import mpmath
from sympy import Expr, Float, ImmutableMatrix
from sympy.matrices import MatrixBase

__all__ = ["DIGITS", "numeric_flow"]

DIGITS = 30
"""Decimal digits of every result, relative to its largest entry."""
_WORKING = 2 * DIGITS


def numeric_flow(
    drift: MatrixBase, noise: MatrixBase, time: Expr
) -> tuple[ImmutableMatrix, ImmutableMatrix]:
    """e^{−At} and ∫ e^{−As} N e^{−Aᵀs} ds over [0, time], as `Float` of 30 digits.

    Args:
        drift: A, d×d numbers. Unit: 1/time.
        noise: N, d×d numbers, covariance per time.
        time: a number ≥ 0.

    Source:
        Van Loan, IEEE Trans. Autom. Control 23, 395 (1978).

    >>> from sympy import Integer, Matrix
    >>> numeric_flow(Matrix([[0]]), Matrix([[2]]), Integer(3))[1]
    Matrix([[6.0]])
    """
    size = drift.rows
    with mpmath.workdps(_WORKING + 10):
        A, N, t = _numbers(drift), _numbers(noise), _number(time)
        extent = mpmath.mnorm(A, 1) * t
        doublings = max(0, ceil(log2(extent))) if extent > 0 else 0
        block = mpmath.zeros(2 * size)
        block[:size, :size], block[:size, size:], block[size:, size:] = -A, N, A.T
        whole = mpmath.expm(block * t / 2**doublings)
        flow = whole[:size, :size]
        gathered = whole[:size, size:] * flow.T
        for _ in range(doublings):
            gathered = gathered + flow * gathered * flow.T
            flow = flow * flow
        return _floats(flow), _floats((gathered + gathered.T) / 2)


def _number(value: Expr) -> mpmath.mpf:
    return value.evalf(mpmath.mp.dps)._to_mpmath(mpmath.mp.prec)


def _numbers(matrix: MatrixBase) -> mpmath.matrix:
    return mpmath.matrix([[_number(x) for x in row] for row in matrix.tolist()])


def _floats(matrix: mpmath.matrix) -> ImmutableMatrix:
    return ImmutableMatrix(
        matrix.rows, matrix.cols, lambda i, j: Float(matrix[int(i), int(j)], DIGITS)
    )
