r"""A linear map with noise along one direction: x_{k+1} = M x_k + n ε_k."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sympy import Expr, ImmutableMatrix, Set, StrictGreaterThan, collect, expand, eye, latex

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.normal_form import factored
from sgdtheory.special_functions import DISCRETE, Clock
from sgdtheory.stability import jury_conditions
from sgdtheory.user_input import strict_expression, strict_matrix

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

    def __post_init__(self) -> None:
        for name in ("map", "kick"):
            object.__setattr__(self, name, strict_matrix(name, getattr(self, name)))
        if self.map.rows != self.map.cols or self.kick.shape != (self.map.rows, 1):
            raise ValueError(
                f"map has shape {self.map.shape} and kick {self.kick.shape}: give d×d and d×1."
            )
        variance = strict_expression("noise_variance", self.noise_variance)
        if variance.is_negative:
            raise ValueError(f"noise_variance = {variance}: it must not be negative.")
        object.__setattr__(self, "noise_variance", variance)
        super().__post_init__()

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

    def derivation_of(self, result: str) -> Derivation:
        """The steps to one of the process's results, after those that led to the process.

        Args:
            result: as of `GaussianProcess.derivation_of`, or "stability".
        """
        if result != "stability" or self.stability is None:
            return super().derivation_of(result)
        conditions = jury_conditions(self.trace, self.determinant)
        return self.derivation.then(
            "Stability",
            "Both roots of det(z − M) lie inside the unit circle if and only if these four, of the "
            "trace and determinant of 1 − M, are positive (Jury); solved for y = ηh.",
            self.characteristic_polynomial(),
            *(
                StrictGreaterThan(factored(condition), 0, evaluate=False)
                for condition in conditions
            ),
            self.stability,
            assumption="momentum, dampening and mixing parameter lie in (0, 1)",
        )

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        return ImmutableMatrix(self.map**time)

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        B, flow = self.stationary_covariance(), self.propagator(time)
        return ImmutableMatrix(B - flow * B * flow.T)

    def _repr_latex_(self) -> str:
        return rf"$x_{{k+1}} = {latex(self.map)}\,x_k + {latex(self.kick)}\,\varepsilon_k$"
