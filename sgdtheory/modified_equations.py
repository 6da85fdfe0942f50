r"""From an update rule to the differential equation that its updates follow.

The velocity is eliminated in the algebra of the shift z, then z = e^{ηD} is expanded in the
learning rate: one update lasts the time η, D = d/dt.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Eq, Expr, Poly, Rational, cancel, exp, expand, series, solve

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.langevin import Langevin
from sgdtheory.normal_form import factored
from sgdtheory.update_rule import UpdateRule, require_rule

__all__ = ["modified_equation"]


def _eliminate_velocity(rule: UpdateRule) -> tuple[Expr, Expr]:
    """Polynomials (P, R) in the shift z with P(z) θ_{k−1} = R(z) g_{k−1}.

    For a gradient at θ + e v the position is the look-ahead position, whose rule has the
    coefficients a − e(1 − c) and b + e d.
    """
    a, b, c, d, e = rule.coefficients
    a, b = a - e * (1 - c), b + e * d
    velocity = solve(Eq(s.shift * s.v, c * s.v + d * s.g), s.v)[0]
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


def modified_equation(rule: UpdateRule, order: int = 1) -> Langevin:
    r"""Langevin equation that the rule follows, correct to first order in the learning rate.

    Args:
        rule: the optimiser.
        order: highest power of η that is kept beyond the gradient flow; this version derives 1.

    Returns:
        mass, friction and noise normalised to the force −∇L − λθ. Where the rule uses the last
        update's gradient (Nesterov, quasi-hyperbolic), the friction contains the curvature h.

    Raises:
        ValueError: for another order, or for a rule without a restoring force.

    Source:
        Kunin et al., arXiv 2107.09133, section 3 (heavy ball).

    >>> from sgdtheory import heavy_ball, nesterov
    >>> modified_equation(heavy_ball()).mass
    eta*(beta + 1)/2
    >>> modified_equation(nesterov()).friction
    beta*eta*h - beta + 1
    """
    require_rule(rule)
    if order != 1:
        raise ValueError(f"order = {order}: this version derives order 1. Leave it out.")
    inertia, drive = _eliminate_velocity(rule)
    force = _expanded(drive / s.shift / s.eta, 1)
    weight = factored(-force.coeff(s.D, 0))
    if weight == 0:
        raise ValueError(
            f"rule = {rule.name}: its gradients cancel in the long run, so it has no restoring "
            "force. Check the signs of g in velocity and position."
        )
    kinetic = _expanded(inertia / s.shift, 2)
    mass, drag = (factored(kinetic.coeff(s.D, n) / s.eta / weight) for n in (2, 1))
    lag = factored(-force.coeff(s.D, 1) / weight)
    langevin = Langevin(
        mass,
        expand(drag) + lag * s.h if lag != 0 else drag,
        s.eta * s.Sigma / s.S,
        factored(2 * mass * drag * s.S / s.eta),
    )
    steps = _narrated(rule, (inertia, drive), (mass, drag, lag), langevin)
    return replace(langevin, derivation=steps)


def _narrated(
    rule: UpdateRule,
    recurrence: tuple[Expr, Expr],
    expansion: tuple[Expr, Expr, Expr],
    langevin: Langevin,
) -> Derivation:
    """The steps from the rule to its Langevin equation, in words."""
    inertia, drive = recurrence
    mass, drag, lag = expansion
    position = s.trajectory(s.t)
    look_ahead = (
        ""
        if rule.gradient_at == s.theta
        else " From here on θ is the look-ahead position, where the gradient is taken."
    )
    memory = "" if lag == 0 else ", and what they share through a lagged gradient is negligible"
    return (
        rule.derivation.then(
            "Eliminate the velocity",
            "In the algebra of the shift by one update the velocity is a fraction; its "
            "denominator is multiplied away, which leaves a recurrence in θ alone." + look_ahead,
            Eq(_lagged(inertia, "theta"), _lagged(drive, "g"), evaluate=False),
        )
        .then(
            "Expand the shift",
            "One update lasts the time η, so z = exp(ηD) with D = d/dt; divided by η and by the "
            "weight of the force, up to the first correction.",
            Eq(s.shift, exp(s.eta * s.D), evaluate=False),
            Eq(
                mass * position.diff(s.t, 2) + drag * position.diff(s.t),
                -s.gradient(position) - lag * s.gradient(position).diff(s.t),
                evaluate=False,
            ),
            assumption="the learning rate is small enough for the first correction to suffice",
        )
        .then(
            "Gradient and noise",
            "The gradient is that of the regularised loss and a batch's error ξ/√S. Errors of "
            "different updates are independent: their sum over a unit of time has the variance "
            "ηΣ/S, the intensity of a white noise.",
            Eq(s.noise_intensity, langevin.noise_intensity, evaluate=False),
            assumption="batches are drawn with replacement, so their errors are independent"
            + memory,
        )
        .then(
            "Underdamped Langevin equation",
            "Along an eigen-direction dg/dt is the curvature times the velocity: a friction."
            if lag != 0
            else "The gradient is that of the regularised loss L.",
            langevin.equation,
            Eq(s.inverse_temperature, langevin.inverse_temperature, evaluate=False),
        )
    )


def _expanded(operator: Expr, order: int) -> Expr:
    """An operator in the shift, as a polynomial in D up to (ηD)^order."""
    small = s.eta * s.D
    truncated = series(exp(s.y), s.y, 0, order + 1).removeO()
    inverse = series(exp(-s.y), s.y, 0, order + 1).removeO()
    polynomial = Poly(expand(operator * s.shift), s.shift).all_coeffs()[::-1]
    shifted = (inverse.subs(s.y, small), Rational(1), truncated.subs(s.y, small))
    return expand(sum(c * f for c, f in zip(polynomial, shifted, strict=False)))
