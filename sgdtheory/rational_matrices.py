r"""Matrices of rational functions: inverse, determinant, and rational functions of a matrix.

SymPy's dense matrices re-simplify at every elimination step. Over the field of rational functions
every entry is in lowest terms all the way, which for four coordinates is seconds against minutes.
"""

from __future__ import annotations

from functools import reduce
from typing import cast

from sympy import (
    Expr,
    Float,
    ImmutableMatrix,
    Matrix,
    Poly,
    Symbol,
    eye,
    fraction,
    nan,
    together,
    zeros,
    zoo,
)
from sympy.matrices import MatrixBase
from sympy.polys.matrices import DomainMatrix

__all__ = ["determinant", "function_of", "inverse"]


def _over_field(matrix: MatrixBase) -> DomainMatrix:
    return DomainMatrix.from_Matrix(Matrix(matrix), field=True)


def inverse(matrix: MatrixBase) -> ImmutableMatrix:
    """Inverse of a square matrix, its entries in lowest terms.

    Args:
        matrix: d×d, of numbers and rational functions. Floats are inverted with pivoting, and
            what is not rational by the adjugate as it stands.

    Raises:
        ValueError: when the determinant is 0.

    >>> from sgdtheory.symbols import beta
    >>> inverse(Matrix([[1, beta], [0, 2]]))
    Matrix([
    [1, -beta/2],
    [0,     1/2]])
    """
    if matrix.has(Float):
        return ImmutableMatrix(matrix.inv())
    entries = _over_field(matrix)
    if entries.domain.is_EX:
        return ImmutableMatrix(matrix.inv(method="ADJ"))
    # The adjugate of polynomials needs no division: elimination would cancel fractions throughout.
    scale, polynomials = entries.clear_denoms_rowwise(convert=True)
    adjugate, det = polynomials.adj_det()
    ring = polynomials.domain
    if det == ring.zero:
        raise ValueError(
            f"matrix = {matrix}: its determinant is 0, so it has no inverse. Remove the direction "
            "that it maps to 0."
        )
    field = ring.get_field()
    quotient = (adjugate * scale).convert_to(field) / field.convert_from(det, ring)
    return ImmutableMatrix(quotient.to_Matrix())


def determinant(matrix: MatrixBase) -> Expr:
    """Determinant of a square matrix, in lowest terms.

    >>> from sgdtheory.symbols import beta
    >>> determinant(Matrix([[beta, 1], [1, 1 / beta]]))
    0
    """
    if matrix.has(Float):
        return cast(Expr, matrix.det())
    entries = _over_field(matrix)
    if entries.domain.is_EX:
        return cast(Expr, matrix.det(method="berkowitz"))
    scale, polynomials = entries.clear_denoms_rowwise(convert=True)
    ring = polynomials.domain
    field = ring.get_field()
    # The characteristic polynomial needs no division either.
    numerator, denominator = (
        (-1) ** matrix.rows * field.convert_from(m.charpoly()[-1], ring)
        for m in (polynomials, scale)
    )
    return cast(Expr, field.to_sympy(numerator / denominator))


def function_of(expression: Expr, letter: Symbol, matrix: MatrixBase) -> ImmutableMatrix:
    r"""A rational function of one letter, at a matrix: p(H) q(H)⁻¹.

    Args:
        expression: p/q, rational in `letter`.
        letter: what the matrix takes the place of.
        matrix: H, d×d.

    Raises:
        ValueError: when the expression is not rational in the letter, or has a pole at an
            eigenvalue of the matrix.

    >>> from sgdtheory.symbols import h
    >>> function_of(1 / (1 + h), h, Matrix([[0, 1], [1, 0]]) * 2)
    Matrix([
    [-1/3,  2/3],
    [ 2/3, -1/3]])
    """
    if matrix.is_diagonal():
        values = [expression.subs(letter, entry) for entry in matrix.diagonal()]
        if any(value.has(zoo, nan) for value in values):
            raise ValueError(
                f"matrix = {matrix}: {expression} has a pole at one of its eigenvalues. Move that "
                "eigenvalue."
            )
        return ImmutableMatrix.diag(*values)
    if not expression.is_rational_function(letter):
        raise ValueError(
            f"expression = {expression}: it is not rational in {letter}, so its value at a matrix "
            "needs the eigenvectors. Give a diagonal matrix."
        )
    numerator, denominator = (_horner(e, letter, matrix) for e in fraction(together(expression)))
    return ImmutableMatrix(numerator * inverse(denominator))


def _horner(polynomial: Expr, letter: Symbol, matrix: MatrixBase) -> Matrix:
    size = matrix.rows
    return reduce(
        lambda value, coefficient: value * matrix + coefficient * eye(size),
        Poly(polynomial, letter).all_coeffs(),
        zeros(size),
    )
