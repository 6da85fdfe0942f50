r"""The underdamped Langevin equation of one position, as a record; it knows nothing of SGD.

.. math:: m\,\ddot\theta + \Gamma\,\dot\theta = -\nabla L(\theta) + \text{noise of intensity } I
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Eq, Expr, S, latex

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.normal_form import factored
from sgdtheory.user_input import strict_expression

__all__ = ["OBSERVABLES", "Langevin"]

OBSERVABLES = ("position variance", "velocity variance", "local displacement")
"""Stationary averages that a Langevin equation can stand for; the last is E|θ_{k+1} − θ_k|²."""


@dataclass(frozen=True)
class Langevin:
    r"""m θ̈ + Γ θ̇ = −∇L(θ) + noise, normalised to unit force.

    Args:
        mass: m ≥ 0; may contain ``symbols.h``, the curvature where the particle is. Unit: time².
        friction: Γ; may contain ``symbols.h`` too. Unit: time.
        noise_intensity: covariance of the random force per unit of time.
        inverse_temperature: κ, the scale that makes κΦ the exponent of the stationary density.
        order: highest power of the learning rate that its derivation kept beyond the gradient flow.
        expanded: the equation that was reduced to this one, with its higher derivatives; None for
            a textbook particle.
        observables: those of `OBSERVABLES` that the equation gives right as the learning rate
            vanishes at fixed momentum; all for a textbook particle.

    Raises:
        ValueError: for a mass, friction or intensity that is negative as it stands.

    >>> Langevin(mass=1, friction=2, noise_intensity=4, inverse_temperature=1).friction
    2
    """

    mass: Expr
    friction: Expr
    noise_intensity: Expr
    inverse_temperature: Expr = S.One
    order: int = field(default=1, kw_only=True, repr=False)
    expanded: Eq | None = field(default=None, kw_only=True, repr=False, compare=False)
    observables: tuple[str, ...] = field(
        default=OBSERVABLES, kw_only=True, repr=False, compare=False
    )
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("mass", "friction", "noise_intensity", "inverse_temperature"):
            value = strict_expression(name, getattr(self, name))
            if value.is_negative:
                raise ValueError(f"{name} = {value}: it must not be negative. Check its sign.")
            object.__setattr__(self, name, value)

    @property
    def equation(self) -> Eq:
        """The deterministic part, m θ̈ + Γ θ̇ = −L'(θ), with L the regularised loss."""
        position = s.trajectory(s.t)
        force = -s.L(s.theta).diff(s.theta).subs(s.theta, position)
        return Eq(
            self.mass * position.diff(s.t, 2) + self.friction * position.diff(s.t),
            force,
            evaluate=False,
        )

    @property
    def hessian_damping(self) -> Expr:
        r"""b in Γ = Γ_0 + b h + …, the weight of the damping term b ∇²L θ̇. Unit: time · θ²/loss.

        At first order βη for Nesterov and 0 for heavy ball; at a higher order it also holds what
        the reduction to second order adds.

        Source:
            Alvarez, Attouch, Bolte, Redont, J. Math. Pures Appl. 81, 747 (2002).

        >>> from sgdtheory import heavy_ball, modified_equation, nesterov
        >>> modified_equation(nesterov()).hessian_damping
        beta*eta
        >>> modified_equation(heavy_ball()).hessian_damping
        0
        """
        return factored(self.friction.diff(s.h).subs(s.h, 0))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    def _repr_latex_(self) -> str:
        return f"${latex(self.equation)}$"
