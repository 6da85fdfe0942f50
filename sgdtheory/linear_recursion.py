r"""A linear map with noise along one direction: x_{k+1} = M x_k + n ε_k."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sympy import Expr, ImmutableMatrix, Set, collect, expand, eye, latex

from sgdtheory import symbols as s
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.special_functions import DISCRETE, Clock

__all__ = ["LinearRecursion"]


@dataclass(frozen=True)
class LinearRecursion(GaussianProcess):
    """x_{k+1} = M x_k + n ε_k with independent errors ε_k of one variance; times are update counts.

    Args:
        map: M, d×d.
        kick: n, d×1, the direction of the noise.
        noise_variance: Var ε; Σ/S for a batch of S drawn with replacement.
        stability: the y = ηh for which M is stable, as a SymPy set.
    """

    map: ImmutableMatrix
    kick: ImmutableMatrix
    noise_variance: Expr
    stability: Set | None = None

    @property
    def clock(self) -> Clock:
        """Update counts."""
        return DISCRETE

    @cached_property
    def generator(self) -> ImmutableMatrix:
        """1 − M, the fraction of the error that one update removes."""
        return self.factored(eye(self.map.shape[0]) - self.map)

    @cached_property
    def noise(self) -> ImmutableMatrix:
        """N nᵀ Var ε, the covariance that one update adds."""
        return ImmutableMatrix(self.kick * self.kick.T * self.noise_variance)

    def characteristic_polynomial(self) -> Expr:
        """det(z − M) in ``symbols.shift``."""
        shifted = s.shift * eye(self.map.shape[0]) - self._short(self.map)
        return self._long(collect(expand(shifted.det(method="berkowitz")), s.shift))

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        return ImmutableMatrix(self.map**time)

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        B, flow = self.stationary_covariance(), self.propagator(time)
        return ImmutableMatrix(B - flow * B * flow.T)

    def _repr_latex_(self) -> str:
        return rf"$x_{{k+1}} = {latex(self.map)}\,x_k + {latex(self.kick)}\,\varepsilon_k$"
