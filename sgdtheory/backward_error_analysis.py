r"""Where the mean goes once the velocity has forgotten its start: down a modified loss.

.. math:: \dot\theta = -\frac{1}{\Gamma}\,\nabla\!\left[L + c\,|\nabla L|^2\right] + O(\eta^2)

The velocity then depends on the position alone: the slow manifold of phase space. The term
c ‖∇L‖² is what a finite learning rate adds to the loss, an implicit regularisation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from sympy import Eq, Expr, latex

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.modified_equations import expansion, modified_equation
from sgdtheory.normal_form import factored
from sgdtheory.update_rule import UpdateRule

__all__ = ["SlowManifold", "implicit_regularization", "slow_manifold"]


@dataclass(frozen=True)
class SlowManifold:
    r"""Γ θ̇ = −∇(L + c ‖∇L‖²), for any loss L, weight decay included.

    Args:
        friction: Γ of a flat direction, for a force of weight 1. Unit: time.
        factor: c. Unit: θ²/loss.
        modified_loss: L(θ) + c L'(θ)², written for one coordinate. Unit: loss.
    """

    friction: Expr
    factor: Expr
    modified_loss: Expr
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    @property
    def equation(self) -> Eq:
        """Γ θ̇ = −d/dθ of the modified loss, along a path θ(t)."""
        position = s.trajectory(s.t)
        force = -self.modified_loss.diff(s.theta).subs(s.theta, position)
        return Eq(self.friction * position.diff(s.t), force, evaluate=False)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    def _repr_latex_(self) -> str:
        return f"${latex(self.equation)}$"


@lru_cache(maxsize=256)
def slow_manifold(rule: UpdateRule) -> SlowManifold:
    r"""The gradient flow that the rule's mean follows to first order, on a loss of any shape.

    Args:
        rule: the optimiser; with a look-ahead gradient, θ is the look-ahead position.

    Returns:
        the flow without noise. It holds for updates later than the velocity's memory, 1/(1 − β)
        of them, and while η times the curvature is small against (1 − β)².

    Raises:
        ValueError: for a rule without a restoring force, or without friction, whose velocity never
            forgets.

    Source:
        Barrett and Dherin, arXiv 2009.11162 (gradient descent); Smith et al., arXiv 2101.12176;
        Kunin et al., arXiv 2012.04728 (momentum).

    >>> from sgdtheory import heavy_ball
    >>> slow_manifold(heavy_ball()).factor
    eta*(beta + 1)/(4*(1 - beta)**2)
    """
    langevin = modified_equation(rule)
    expanded = expansion(rule, 1)
    (_, friction, mass), (_, lag) = expanded.inertia, expanded.drive
    if friction == 0:
        raise ValueError(
            f"rule = {rule.name}: its velocity is never forgotten, so no slow motion sets in. Give "
            "a rule whose momentum is below 1."
        )
    loss = s.L(s.theta)
    gradient = loss.diff(s.theta)
    # Along the flow θ̇ = f_0(θ) a function of θ changes at the rate f_0 d/dθ.
    flow = -gradient / friction
    acceleration = flow * flow.diff(s.theta)
    lagging = flow * gradient.diff(s.theta)
    correction = -(mass * acceleration + lag * lagging) / friction
    factor = factored(-correction * friction / (gradient**2).diff(s.theta))
    modified_loss = loss + factor * gradient**2
    position = s.trajectory(s.t)
    slow = SlowManifold(friction, factor, modified_loss)
    derivation = (
        langevin.derivation.then(
            "Leading order",
            "Without the corrections the velocity is the force over the friction; along that flow "
            "it changes by the chain rule.",
            Eq(position.diff(s.t), flow, evaluate=False),
            Eq(position.diff(s.t, 2), acceleration, evaluate=False),
            assumption="the velocity's memory has passed, and is short against the slow motion",
        )
        .then(
            "First correction",
            "Insert that into the corrections of the expanded equation, solve for the velocity "
            "once more, and collect.",
            Eq(position.diff(s.t), flow + factored(correction), evaluate=False),
            assumption="noise is left out: this is the motion of the mean on a smooth loss",
        )
        .then(
            "A gradient again",
            "The correction is a total derivative. In any dimension L'' L' is the Hessian applied "
            "to the gradient, and since the Hessian is symmetric that is half the gradient of "
            "‖∇L‖².",
            slow.equation,
            modified_loss,
        )
    )
    return SlowManifold(friction, factor, modified_loss, derivation=derivation)


def implicit_regularization(rule: UpdateRule) -> Expr:
    r"""The factor c in the slow-manifold loss L + c ‖∇L‖². Unit: θ²/loss.

    Args:
        rule: the optimiser.

    Raises:
        ValueError: as `slow_manifold`.

    >>> from sgdtheory import plain_sgd
    >>> implicit_regularization(plain_sgd())
    eta/4
    """
    return slow_manifold(rule).factor
