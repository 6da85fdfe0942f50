"""From a rule to its Langevin equation: published coefficients, and the recursion's own roots."""

from __future__ import annotations

import oracles
import pytest
from sympy import Matrix, Rational, Symbol, exp, expand, eye, series, simplify, solve

import sgdtheory as sgd

s = sgd.symbols
eta, beta, tau, nu, h = s.eta, s.beta, s.tau, s.nu, s.h


def same(left, right):
    return simplify(left - right) == 0


# -- published (section 3 of the reference) -----------------------------------------------------


def test_heavy_ball():
    langevin = sgd.modified_equation(sgd.heavy_ball())
    assert same(langevin.mass, eta * (1 + beta) / 2)
    assert same(langevin.friction, 1 - beta)
    assert same(langevin.inverse_temperature, s.S * (1 - beta**2))


def test_plain_sgd_is_heavy_ball_without_momentum():
    plain, heavy = map(sgd.modified_equation, (sgd.plain_sgd(), sgd.heavy_ball()))
    assert same(plain.mass, heavy.mass.subs(beta, 0))
    assert same(plain.friction, heavy.friction.subs(beta, 0))


def test_nesterovs_friction_contains_the_curvature():
    langevin = sgd.modified_equation(sgd.nesterov())
    assert same(langevin.mass, eta * (1 + beta) / 2)
    assert same(langevin.friction, 1 - beta + eta * beta * h)


def test_dampening_scales_the_force():
    langevin = sgd.modified_equation(sgd.dampened())
    assert same(langevin.mass, eta * (1 + beta) / (2 * (1 - tau)))
    assert same(langevin.friction, (1 - beta) / (1 - tau))


def test_quasi_hyperbolic_with_nu_1_is_dampening_by_beta():
    mixed = sgd.modified_equation(sgd.quasi_hyperbolic())
    damped = sgd.modified_equation(sgd.dampened())
    assert same(mixed.mass.subs(nu, 1), damped.mass.subs(tau, beta))
    assert same(mixed.friction.subs(nu, 1), damped.friction.subs(tau, beta))


def test_quasi_hyperbolic_with_nu_0_has_plain_sgds_slow_motion():
    """The average then drives nothing; what it adds to mass and friction cancels."""
    mixed = sgd.quasi_hyperbolic()
    without = sgd.UpdateRule(mixed.velocity, mixed.position.subs(nu, 0))
    roots = [slow_root(sgd.modified_equation(rule)) for rule in (without, sgd.plain_sgd())]
    assert same(roots[0][0], roots[1][0])
    assert same(roots[0][1], roots[1][1])


def test_noise_intensity_is_that_of_a_batch_per_learning_rate(rule):
    assert same(sgd.modified_equation(rule).noise_intensity, eta * s.Sigma / s.S)


def test_inverse_temperature_follows_from_mass_and_friction_of_a_flat_direction(rule):
    langevin = sgd.modified_equation(rule)
    expected = 2 * langevin.mass * langevin.friction.subs(h, 0) * s.S / eta
    assert same(langevin.inverse_temperature, expected)


def test_the_equation_is_written_with_mass_friction_and_force(rule):
    """Inserted into the equation, e^{pt} on a quadratic loss leaves the oscillator's polynomial."""
    langevin = sgd.modified_equation(rule)
    p, wave = Symbol("p"), exp(Symbol("p") * s.t)
    equation = langevin.equation.lhs - langevin.equation.rhs
    on_quadratic = equation.replace(s.L, lambda x: h * x**2 / 2).doit()
    inserted = on_quadratic.replace(s.trajectory, lambda t: wave).doit()
    assert same(inserted / wave, langevin.mass * p**2 + langevin.friction * p + h)


# -- the recursion's own roots ------------------------------------------------------------------


def symbols_of(name):
    own = (oracles.OWN_PARAMETERS[name],) if name in oracles.OWN_PARAMETERS else ()
    return {key: getattr(s, key) for key in ("eta", "beta", *own)}


def slow_root(langevin):
    """s = s_0 + ηs_1 of m s² + Γ s + h = 0, the root that stays finite as η → 0."""
    first, second = Symbol("s_0"), Symbol("s_1")
    root = first + eta * second
    balance = expand(langevin.mass * root**2 + langevin.friction * root + h)
    leading = solve(balance.coeff(eta, 0), first)[0]
    correction = solve(balance.coeff(eta, 1).subs(first, leading), second)[0]
    return leading, correction


def test_the_slow_root_is_the_recursions_through_the_first_correction(rule, update, name):
    """With z = e^{ηs}, det(z − M) = O(η³): it starts at order η, so s is right to order η."""
    M, _ = oracles.linear_law(update, h, **symbols_of(name))
    leading, correction = slow_root(sgd.modified_equation(rule))
    z = Symbol("z")
    polynomial = expand((z * eye(2) - Matrix(M)).det())
    missed = series(polynomial.subs(z, exp(eta * (leading + eta * correction))), eta, 0, 3)
    assert simplify(missed.removeO()) == 0


def test_without_the_correction_the_slow_root_is_wrong_at_first_order(rule, update, name):
    M, _ = oracles.linear_law(update, h, **symbols_of(name))
    leading, _ = slow_root(sgd.modified_equation(rule))
    z = Symbol("z")
    polynomial = expand((z * eye(2) - Matrix(M)).det())
    missed = series(polynomial.subs(z, exp(eta * leading)), eta, 0, 3)
    assert simplify(missed.coeff(eta, 2)) != 0


# -- nothing is typed in ------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [beta / 2, beta**2, Rational(1, 3)])
def test_another_memory_is_another_mass_and_friction(memory):
    rule = sgd.UpdateRule(memory * s.v - s.g, s.theta + eta * s.v_next)
    langevin = sgd.modified_equation(rule)
    assert same(langevin.mass, eta * (1 + memory) / 2)
    assert same(langevin.friction, 1 - memory)


def test_a_stronger_gradient_is_a_lighter_particle():
    rule = sgd.UpdateRule(beta * s.v - 3 * s.g, s.theta + eta * s.v_next)
    langevin = sgd.modified_equation(rule)
    assert same(langevin.mass, eta * (1 + beta) / 6)
    assert same(langevin.friction, (1 - beta) / 3)


def test_a_mix_of_velocities_is_neither_heavy_ball_nor_nesterov():
    """θ' = θ + η(αv' + (1−α)(βv' − g)): the lagging gradient's weight is 1 − α."""
    alpha = Rational(1, 4)
    rule = sgd.UpdateRule(
        beta * s.v - s.g,
        s.theta + eta * (alpha * s.v_next + (1 - alpha) * (beta * s.v_next - s.g)),
    )
    assert same(sgd.modified_equation(rule).friction, 1 - beta + (1 - alpha) * eta * beta * h)


def test_a_changed_rule_changes_the_process_downstream():
    rule = sgd.UpdateRule(beta**2 * s.v - s.g, s.theta + eta * s.v_next)
    changed = sgd.ornstein_uhlenbeck(sgd.modified_equation(rule), noise=s.Sigma, curvature=h)
    usual = sgd.ornstein_uhlenbeck(
        sgd.modified_equation(sgd.heavy_ball()), noise=s.Sigma, curvature=h
    )
    expected = usual.stationary_covariance().subs(beta, beta**2)
    assert (changed.stationary_covariance() - expected).applyfunc(simplify) == Matrix.zeros(2)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 2, 7])
def test_another_order_is_refused(order):
    with pytest.raises(ValueError, match=rf"order = {order}"):
        sgd.modified_equation(sgd.heavy_ball(), order=order)


def test_a_rule_without_gradient_is_refused():
    rule = sgd.UpdateRule(beta * s.v, s.theta + eta * s.v_next, name="coasting")
    with pytest.raises(ValueError, match=r"coasting.*no restoring force"):
        sgd.modified_equation(rule)


def test_a_rule_that_climbs_is_refused():
    rule = sgd.UpdateRule(beta * s.v + s.g, s.theta + eta * s.v_next)
    with pytest.raises(ValueError, match=r"mass = .*negative"):
        sgd.modified_equation(rule)


@pytest.mark.parametrize("argument", ["mass", "friction", "noise_intensity"])
def test_a_negative_coefficient_is_refused_by_name(argument):
    good = {"mass": 1, "friction": 2, "noise_intensity": 3}
    with pytest.raises(ValueError, match=rf"^{argument} = -1"):
        sgd.Langevin(**{**good, argument: -1})
