r"""From an update rule to the differential equation that its updates follow, to any order.

The velocity is eliminated in the algebra of the shift z, then z = e^{ηD} is expanded in the
learning rate: one update lasts the time η, D = d/dt. What is longer than second order in time is
reduced to it, because the higher derivatives bring growing modes that the updates do not have.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from operator import index
from typing import Any, NamedTuple

from sympy import (
    Add,
    Derivative,
    Dummy,
    Eq,
    Expr,
    Poly,
    Rational,
    cancel,
    exp,
    expand,
    factorial,
    linsolve,
)

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.langevin import OBSERVABLES, Langevin
from sgdtheory.normal_form import factored
from sgdtheory.order_reduction import universal_coefficients
from sgdtheory.update_rule import UpdateRule, require_rule

__all__ = ["Expansion", "expansion", "modified_equation"]

# Beyond it expressions take hours.
_HIGHEST_ORDER = 20


class Expansion(NamedTuple):
    """Σ_j inertia_j dʲθ/dtʲ = −Σ_j drive_j dʲg/dtʲ, normalised to unit force, drive_0 = 1.

    Args:
        inertia: coefficients of θ's derivatives; the first is 0.
        drive: those of the gradient's.
        weight: what the force is divided by; 1 for heavy ball. Dimensionless.
        recurrence: the polynomials (P, R) in the shift with P(z) θ_{k−1} = R(z) g_{k−1}.
    """

    inertia: tuple[Expr, ...]
    drive: tuple[Expr, ...]
    weight: Expr
    recurrence: tuple[Expr, Expr]

    @property
    def equation(self) -> Eq:
        """The equation as expanded, along a path θ(t)."""
        position = s.trajectory(s.t)
        force = s.gradient(position)
        return Eq(
            Add(*(c * position.diff(s.t, n) for n, c in enumerate(self.inertia) if n)),
            -force - Add(*(c * Derivative(force, (s.t, n)) for n, c in enumerate(self.drive) if n)),
            evaluate=False,
        )


def _eliminate_velocity(rule: UpdateRule) -> tuple[Expr, Expr]:
    """Polynomials (P, R) in the shift z with P(z) θ_{k−1} = R(z) g_{k−1}.

    For a gradient at θ + e v the position is the look-ahead position, whose rule has the
    coefficients a − e(1 − c) and b + e d.
    """
    a, b, c, d, e = rule.coefficients
    a, b = a - e * (1 - c), b + e * d
    ((velocity,),) = linsolve([s.shift * s.v - c * s.v - d * s.g], s.v)
    balance = (s.shift - 1) * s.theta - a * velocity - b * s.g
    recurrence = expand(cancel(balance * (s.shift - c)))
    return factored(recurrence.coeff(s.theta)), factored(-recurrence.coeff(s.g))


def _lagged(polynomial: Expr, sequence: str) -> Expr:
    """A polynomial of degree 2 in the shift, as terms f_{k+1}, f_k, f_{k−1} of a sequence."""
    terms = Poly(polynomial, s.shift).all_coeffs()[::-1]
    return sum(
        (
            factored(coefficient) * s.term(sequence, lag - 1)
            for lag, coefficient in enumerate(terms)
        ),
        start=Rational(0),
    )


def expansion(rule: UpdateRule, order: int) -> Expansion:
    r"""The rule's recurrence in θ alone, expanded in the learning rate.

    Args:
        rule: the optimiser; with a look-ahead gradient, θ is the look-ahead position.
        order: highest power of η that is kept: derivatives through D^{order+1} of θ and D^{order}
            of the gradient.

    Raises:
        ValueError: for an order that is not an integer from 1 to 20, or for a rule without a
            restoring force.

    >>> from sgdtheory import nesterov
    >>> expansion(nesterov(), 1).drive
    (1, beta*eta)
    """
    require_rule(rule)
    order = _whole(order)
    inertia, drive = recurrence = _eliminate_velocity(rule)
    force = _expanded(drive / s.shift / s.eta, order)
    weight = factored(-force.coeff(s.D, 0))
    if weight == 0:
        raise ValueError(
            f"rule = {rule.name}: its gradients cancel in the long run, so it has no restoring "
            "force. Check the signs of g in velocity and position."
        )
    kinetic = _expanded(inertia / s.shift, order + 1)
    return Expansion(
        tuple(factored(kinetic.coeff(s.D, n) / s.eta / weight) for n in range(order + 2)),
        tuple(factored(-force.coeff(s.D, n) / weight) for n in range(order + 1)),
        weight,
        recurrence,
    )


def modified_equation(rule: UpdateRule, order: int = 1) -> Langevin:
    r"""Langevin equation that the rule's mean follows, to any order in the learning rate.

    With s = log(z)/η, z a root of the recursion on a quadratic loss, and n the order:

    - at fixed momentum the slow root is right through η^n beyond the gradient flow, so its
      relative error is O(η^{n+1}); the fast root is not small in η and is not claimed;
    - in the joint limit 1 − β ∝ √η both roots have a relative error O(η^n).

    The equation as expanded (``.expanded``) has growing modes from order 4 on, which no update rule
    has. What is delivered is second order in time: mass and friction are polynomials in the
    curvature through η^n.

    The order is that of the mean. The noise stays white, with the intensity that long times see, so
    the position's variance agrees with the exact one as η → 0, but not faster at a higher order.
    From order 2 on the mass of a flat direction is no longer η(1+β)/2, and at fixed momentum the
    velocity's variance then does not converge; ``.observables`` says so.

    As far as it was looked at (to order 5), friction is positive wherever a named rule is stable,
    and so is the mass, but for two: Nesterov's turns negative in the last ninth below the stability
    limit from order 4 on, and the quasi-hyperbolic one in the last third from order 3 on.
    `ornstein_uhlenbeck` refuses a mass that is negative as it stands.

    Args:
        rule: the optimiser.
        order: highest power of η that is kept beyond the gradient flow, at least 1.

    Returns:
        mass, friction and noise normalised to the force −∇L − λθ. Where the rule uses the last
        update's gradient (Nesterov, quasi-hyperbolic), and from order 2 on, they contain the
        curvature h.

    Raises:
        ValueError: for an order that is not an integer from 1 to 20, or for a rule without a
            restoring force.

    Source:
        Kunin et al., arXiv 2107.09133, section 3 (heavy ball, first order); Smith et al.,
        arXiv 2101.12176 (modified equations). The reduction is the project's own.

    >>> from sgdtheory import heavy_ball, nesterov
    >>> modified_equation(heavy_ball()).mass
    eta*(beta + 1)/2
    >>> modified_equation(nesterov()).friction
    beta*eta*h - beta + 1
    """
    require_rule(rule)
    return _derived(rule, _whole(order))


def _whole(order: Any) -> int:
    refused = ValueError(
        f"order = {order!r}: it counts powers of the learning rate, so it must be an integer from "
        f"1 to {_HIGHEST_ORDER}. Give 1 for the published equation."
    )
    if isinstance(order, bool):
        raise refused
    try:
        whole = index(order)
    except TypeError:
        raise refused from None
    if not 1 <= whole <= _HIGHEST_ORDER:
        raise refused
    return whole


@lru_cache(maxsize=256)
def _derived(rule: UpdateRule, order: int) -> Langevin:
    if order > 1:
        _derived(rule, 1)  # A rule is refused where its sign is plain to see.
    expanded = expansion(rule, order)
    mass, friction = _reduced(expanded, order)
    flat_mass, flat_friction = mass.subs(s.h, 0), expanded.inertia[1]
    langevin = Langevin(
        mass,
        friction,
        s.eta * s.Sigma / s.S,
        factored(2 * flat_mass * flat_friction * s.S / s.eta),
        order=order,
        expanded=expanded.equation,
        observables=_faithful(rule, flat_mass * flat_friction),
    )
    return replace(langevin, derivation=_narrated(rule, expanded, langevin))


def _reduced(expanded: Expansion, order: int) -> tuple[Expr, Expr]:
    """Mass and friction of a rule, in powers of the curvature."""
    weight = expanded.weight
    a, phi = factored(expanded.inertia[1] * weight), -expanded.drive[1] / s.eta
    mass, friction = (
        [
            factored(polynomial.as_expr(a, phi) * (weight * s.eta) ** n / weight)
            for n, polynomial in enumerate(coefficients)
        ]
        for coefficients in universal_coefficients(order)
    )
    return (
        Add(*(factored(s.eta * c) * s.h**n for n, c in enumerate(mass))),
        expand(friction[0]) + Add(*(c * s.h**n for n, c in enumerate(friction) if n)),
    )


def _faithful(rule: UpdateRule, mass_times_friction: Expr) -> tuple[str, ...]:
    """The observables whose stationary values tend to the recursion's as η → 0 at fixed momentum.

    To leading order the gradient is noise alone. A step a v + b ξ then has the variance that the
    velocity's own balance says; the Langevin equation's is intensity / (2 mass friction).
    """
    a, b, c, d, _ = rule.coefficients
    velocity = Dummy("V")
    balanced = list(linsolve([velocity - c**2 * velocity - d**2], velocity))
    if not balanced:
        return ()  # A velocity that never forgets has no stationary state.
    step = a**2 * balanced[0][0] + b**2
    continuous = s.eta**3 / (2 * mass_times_friction)
    return OBSERVABLES if factored(step - continuous) == 0 else OBSERVABLES[:1]


# -- the steps, for a reader ------------------------------------------------------------------


def _narrated(rule: UpdateRule, expanded: Expansion, langevin: Langevin) -> Derivation:
    """The steps from the rule to its Langevin equation, in words."""
    inertia, drive = expanded.recurrence
    lagging = expanded.drive[1] != 0
    look_ahead = (
        ""
        if rule.gradient_at == s.theta
        else " From here on θ is the look-ahead position, where the gradient is taken."
    )
    memory = ", and what they share through a lagged gradient is negligible" if lagging else ""
    first = langevin.order == 1
    steps = (
        rule.derivation.then(
            "Eliminate the velocity",
            "In the algebra of the shift by one update the velocity is a fraction; its "
            "denominator is multiplied away, which leaves a recurrence in θ alone." + look_ahead,
            Eq(_lagged(inertia, "theta"), _lagged(drive, "g"), evaluate=False),
        )
        .then(
            "Expand the shift",
            "One update lasts the time η, so z = exp(ηD) with D = d/dt; divided by η and by the "
            "weight of the force, up to "
            + ("the first correction." if first else f"the power {langevin.order} of η."),
            Eq(s.shift, exp(s.eta * s.D), evaluate=False),
            expanded.equation,
            assumption="the learning rate is small enough for "
            + (
                "the first correction to suffice"
                if first
                else f"{langevin.order} corrections to suffice"
            ),
        )
        .then(
            "Gradient and noise",
            "The gradient is that of the regularised loss and a batch's error ξ/√S, a force that "
            "lasts one update. Errors of different updates are independent: what the 1/η of them "
            "in a unit of time push, η times their sum, has the variance ηΣ/S, the intensity I of "
            "a white noise that is added to the force below.",
            Eq(s.noise_intensity, langevin.noise_intensity, evaluate=False),
            assumption="batches are drawn with replacement, so their errors are independent"
            + memory,
        )
    )
    if not first:
        steps = steps.then(
            "Reduce to second order in time",
            "Along an eigen-direction the higher derivatives are divided by the equation itself, "
            "each counted as √η, like 1 − β and the rates where both roots are slow: the remainder "
            "is the mass. The friction is the one that keeps the slow root through the order.",
            Eq(s.mass, langevin.mass, evaluate=False),
            Eq(s.friction, langevin.friction, evaluate=False),
            assumption="the curvature is constant along the path where it multiplies a derivative, "
            "and the noise stays white at the higher order",
        )
    return steps.then(
        "Underdamped Langevin equation",
        (
            "Along an eigen-direction dg/dt is the curvature times the velocity: a friction. "
            if lagging
            else "The gradient is that of the regularised loss L. "
        )
        + "The noise is not written out. κ = 2 · mass · friction · S/η, along a flat "
        "direction, is a convention for the unit of the modified loss Φ: only κΦ has a "
        "meaning.",
        langevin.equation,
        Eq(s.inverse_temperature, langevin.inverse_temperature, evaluate=False),
    )


def _expanded(operator: Expr, order: int) -> Expr:
    """An operator in the shift, as a polynomial in D up to (ηD)^order."""
    lagged = Poly(expand(operator * s.shift), s.shift).all_coeffs()[::-1]
    return expand(
        Add(
            *(
                coefficient * ((lag - 1) * s.eta * s.D) ** n / factorial(n)
                for lag, coefficient in enumerate(lagged)
                for n in range(order + 1)
            )
        )
    )
