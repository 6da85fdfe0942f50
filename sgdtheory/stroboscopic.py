r"""A recursion seen once an epoch, and what it adds up to if the same happens in every one."""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, ImmutableMatrix, Matrix, eye
from sympy.matrices import MatrixBase

from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.special_functions import DISCRETE, Clock

__all__ = ["Stroboscopic", "summed"]


@dataclass(frozen=True)
class Stroboscopic(GaussianProcess):
    """x after whole epochs only: one long update, of which every coefficient is known beforehand.

    Args:
        contraction: 1 − A^M, 2×2.
        gained: covariance that an epoch adds.
        own_trace: of the contraction.
        own_determinant: of the contraction.
    """

    contraction: ImmutableMatrix
    gained: ImmutableMatrix
    own_trace: Expr
    own_determinant: Expr

    @property
    def clock(self) -> Clock:
        """Epoch counts."""
        return DISCRETE

    @property
    def generator(self) -> ImmutableMatrix:
        """1 − A^M."""
        return self.contraction

    @property
    def noise(self) -> ImmutableMatrix:
        """Covariance that an epoch adds."""
        return self.gained

    @property
    def trace(self) -> Expr:
        """Of the generator."""
        return self.own_trace

    @property
    def determinant(self) -> Expr:
        """Of the generator."""
        return self.own_determinant

    @property
    def cycle(self) -> Matrix:
        """(1 − A^M)⁻¹: the limit cycle that a kick repeated in every epoch causes."""
        return Matrix((self.trace * eye(2) - self.generator) / self.determinant)

    def factored(self, matrix: MatrixBase) -> ImmutableMatrix:
        """As it is: entries that contain functions of the epoch's length do not factor further."""
        return ImmutableMatrix(matrix)

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        raise TypeError("a stroboscopic recursion has two coordinates, and closed forms for them.")

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        raise TypeError("a stroboscopic recursion has two coordinates, and closed forms for them.")


def summed(process: GaussianProcess, count: Expr) -> Matrix:
    """Σ_{j<count} (1 − G)^j = s + c adj G, with c the sum of the impulse response s."""
    point = (count, process.trace, process.determinant)
    adjugate = process.trace * eye(2) - process.generator
    impulse = DISCRETE.functions(*point).impulse_response
    return Matrix(impulse * eye(2) + DISCRETE.sums(*point).once * adjugate)
