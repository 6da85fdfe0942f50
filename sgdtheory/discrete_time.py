r"""The exact theory: on a quadratic loss an update is a linear map, with noise along one direction.

x_{k+1} = M x_k + n ξ_k/√S,      x = (θ − μ, v),   ξ_k one example's gradient error
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sympy import Eq, Expr, ImmutableMatrix, Matrix, Set, collect, expand, eye, latex, sqrt

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.noise import EigenDirection
from sgdtheory.normal_form import factored, factored_matrix
from sgdtheory.special_functions import DISCRETE, Clock
from sgdtheory.stability import stable_interval
from sgdtheory.update_rule import UpdateRule, require_rule

__all__ = ["LinearRecursion", "recursion"]


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


def recursion(
    rule: UpdateRule, noise: Expr | None = None, curvature: Expr | None = None
) -> LinearRecursion:
    r"""Exact discrete process of one eigen-direction of a quadratic loss under `rule`.

    Args:
        rule: the optimiser.
        noise: variance Σ of one example's gradient along the direction; default σ²ρ.
        curvature: h; default ρ + λ.

    Source:
        Liu, Ziyin, Ueda, arXiv 2012.03636; Ziyin et al., arXiv 2102.05375.

    >>> from sgdtheory import heavy_ball, symbols as s
    >>> recursion(heavy_ball(), curvature=s.h).map
    Matrix([
    [-eta*h + 1, beta*eta],
    [        -h,     beta]])
    >>> recursion(heavy_ball()).stability
    Interval.open(0, 2*beta + 2)
    """
    require_rule(rule)
    direction = EigenDirection.of(noise, curvature)
    state = Matrix([s.theta, s.v])
    error = s.xi / sqrt(s.S)
    gradient = s.h * rule.gradient_at + error
    velocity = rule.velocity.subs(s.g, gradient)
    position = rule.position.subs(s.v_next, rule.velocity).subs(s.g, gradient)
    update = Matrix([position, velocity])
    general_map = factored_matrix(update.jacobian(state))
    kick = factored_matrix(update.jacobian([s.xi]) * sqrt(s.S))
    one_map = ImmutableMatrix(general_map.subs(s.h, direction.curvature))
    general_generator = (eye(2) - general_map).subs(s.h, s.y / s.eta)
    stability = stable_interval(
        factored(general_generator.trace()), factored(general_generator.det())
    )
    steps: Derivation = rule.derivation.then(
        "Quadratic loss",
        "Along an eigen-direction of curvature h the gradient is linear; θ is the offset from the "
        "minimum.",
        Eq(s.g, gradient, evaluate=False),
        assumption="the loss is quadratic, and the noise does not depend on the position",
    ).then(
        "One update is a linear map",
        "Insert the gradient and collect θ, v and the batch's error ξ/√S.",
        Eq(
            s.matrix("x_{k+1}", 2, 1),
            one_map * s.matrix("x_k", 2, 1) + kick * error,
            evaluate=False,
        ),
    )
    return LinearRecursion(
        one_map,
        kick,
        direction.noise_variance / s.S,
        stability,
        derivation=steps,
        coordinates=(s.theta, s.v),
        start=(s.theta_0, s.v_0),
        curvature=direction.curvature,
    )
