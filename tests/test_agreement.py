"""Exact over continuous: published ratios, exact rationals, random rules."""

from __future__ import annotations

import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Integer, Matrix, Rational, cancel, series, simplify

import sgdtheory as sgd
from sgdtheory.agreement import Agreement, discrete_over_continuous

s = sgd.symbols
eta, beta, h = s.eta, s.beta, s.h
NAMES = ("position_variance", "velocity_variance", "local_displacement")


def ratios(update, langevin_law, curvature, hyper):
    """Position variance and local displacement, exact over continuous, with Σ/S = 1."""
    M, n = oracles.linear_law(update, curvature, **hyper)
    P = oracles.stationary_recursion(M, oracles.outer(n, 1))
    step = 2 * (P[0][0] - oracles.times(M, P)[0][0])
    A, N = oracles.langevin_law(*langevin_law, curvature, hyper["eta"])
    B = oracles.stationary_diffusion(A, N)
    return P[0][0] / B[0][0], step / (hyper["eta"] ** 2 * B[1][1]), P[1][1] / B[1][1]


# -- published ----------------------------------------------------------------------------------


def test_heavy_ball():
    found = discrete_over_continuous(sgd.heavy_ball(), curvature=h)
    expected = 1 / (1 - eta * h / (2 * (1 + beta)))
    for name in NAMES:
        assert simplify(getattr(found, name) - expected) == 0


def test_nesterovs_local_displacement():
    """The continuous one is 0.745 of the exact one at β = 0.9 as η → 0."""
    found = discrete_over_continuous(sgd.nesterov(), curvature=h)
    limit = found.series("local_displacement", 0).subs(beta, Rational(9, 10))
    assert abs(float(1 / limit) - 0.745) < 0.0005


def test_the_default_direction_is_that_of_every_chapter():
    usual = discrete_over_continuous(sgd.heavy_ball())
    special = discrete_over_continuous(sgd.heavy_ball(), noise=s.Sigma, curvature=h)
    for name in NAMES:
        expected = getattr(special, name).subs(h, s.rho + s.lamda)
        assert simplify(getattr(usual, name) - expected) == 0


# -- exact rationals ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", oracles.PUBLISHED)
def test_named_rules_in_fractions(name, hyper, values):
    update, curvature = oracles.UPDATES[name], values[h]
    law = oracles.PUBLISHED[name](curvature, **hyper)
    position, step, velocity = ratios(update, law, curvature, hyper)
    found = discrete_over_continuous(getattr(sgd, name)(), curvature=h)
    assert found.position_variance.subs(values) == position
    assert found.local_displacement.subs(values) == step
    assert found.velocity_variance.subs(values) == step
    if name != "nesterov":
        assert velocity == step


@pytest.fixture(params=oracles.PUBLISHED)
def name(request):
    return request.param


@pytest.mark.parametrize("order", [2, 3])
def test_higher_orders_in_fractions(order, name, hyper, values):
    rule, update = getattr(sgd, name)(), oracles.UPDATES[name]
    langevin = sgd.modified_equation(rule, order=order)
    law = (langevin.mass.subs(values), langevin.friction.subs(values))
    position, step, _ = ratios(update, law, values[h], hyper)
    found = discrete_over_continuous(rule, order=order, curvature=h)
    assert found.position_variance.subs(values) == position
    assert found.local_displacement.subs(values) == step


fractions = st.integers(-6, 6).map(lambda n: Rational(n, 4))


@settings(max_examples=20)
@given(fractions, fractions, st.integers(-3, 3).map(lambda n: Rational(n, 4)), fractions)
def test_random_rules_in_fractions(a, b, c, d):
    """θ' = θ + η(a v + b g), v' = c v + d g; mass and friction as section 3 has them."""
    weight = -(b + a * d - b * c)
    curvature, step_size = Rational(5, 4), Rational(1, 50)
    assume(weight > 0)
    lag = step_size * curvature * (a * d - b * c) / weight
    law = (step_size * (1 + c) / (2 * weight), (1 - c) / weight + lag)
    assume(law[1] > 0)

    def update(x, v, gradient, eta):
        return x + eta * (a * v + b * gradient(x)), c * v + d * gradient(x)

    M, _ = oracles.linear_law(update, curvature, eta=step_size)
    assume(oracles.spectral_radius(M) < 0.999)
    position, step, _ = ratios(update, law, curvature, {"eta": step_size})
    rule = sgd.UpdateRule(c * s.v + d * s.g, s.theta + eta * (a * s.v + b * s.g))
    found = discrete_over_continuous(rule, curvature=curvature)
    assert found.position_variance.subs(eta, step_size) == position
    assert found.local_displacement.subs(eta, step_size) == step
    assert found.velocity_variance.subs(eta, step_size) == step


def test_a_look_ahead_rule_is_compared_in_its_own_position():
    rule = sgd.UpdateRule(
        beta * s.v - s.g, s.theta + eta * s.v_next, gradient_at=s.theta + eta * beta * s.v
    )

    def update(x, v, gradient, eta, beta):
        v = beta * v - gradient(x + eta * beta * v)
        return x + eta * v, v

    hyper = {"eta": Rational(1, 10), "beta": Rational(3, 5)}
    values = {eta: hyper["eta"], beta: hyper["beta"], h: Rational(5, 4)}
    law = oracles.PUBLISHED["nesterov"](values[h], **hyper)
    position, step, velocity = ratios(update, law, values[h], hyper)
    found = discrete_over_continuous(rule, curvature=h)
    assert found.position_variance.subs(values) == position
    assert found.velocity_variance.subs(values) == step == velocity
    assert found.series("position_variance", 0) == 1


# -- series -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", NAMES)
def test_series_are_sympys(rule, which):
    found = discrete_over_continuous(rule, curvature=h)
    for n in (0, 1, 3):
        expected = series(getattr(found, which), eta, 0, n + 1).removeO()
        assert simplify(found.series(which, n) - expected) == 0


def test_a_ratio_without_learning_rate_is_its_own_series():
    assert Agreement(Integer(2), Integer(1), Integer(1)).series("position_variance", 3) == 2


def test_a_higher_order_does_not_improve_the_variances():
    """As the docstring says: the position's ratio stays 1 + O(η), the velocity's is not even 1."""
    for order in (1, 2, 3):
        found = discrete_over_continuous(sgd.heavy_ball(), order=order, curvature=h)
        assert found.series("position_variance", 0) == 1
        assert found.series("position_variance", 1).coeff(eta) != 0
        assert (cancel(found.series("velocity_variance", 0) - 1) == 0) == (order == 1)


# -- records and refusals -----------------------------------------------------------------------


def test_the_derivation_tells_both_theories_once(rule):
    found = discrete_over_continuous(rule, curvature=h)
    titles = [step.title for step in found.derivation]
    assert titles.count("Update rule") == 1
    assert titles[0] == "Update rule"
    assert titles[-1] == "Ratios"
    assert all(step.formulas for step in found.derivation)
    assert all(step.action.endswith(".") for step in found.derivation)
    assert "both theories are stable at this curvature" in found.assumptions
    assert isinstance(Matrix(found.derivation[-1].formulas), Matrix)


def test_refusals():
    with pytest.raises(ValueError, match=r"name = 'mean'.*position_variance"):
        discrete_over_continuous(sgd.heavy_ball()).series("mean", 1)
    with pytest.raises(ValueError, match=r"n = -1"):
        discrete_over_continuous(sgd.heavy_ball()).series("position_variance", -1)
    with pytest.raises(ValueError, match=r"noise = 0"):
        discrete_over_continuous(sgd.heavy_ball(), noise=Integer(0))
    with pytest.raises(sgd.UnstableError, match=r"curvature = -1"):
        discrete_over_continuous(sgd.heavy_ball(), curvature=Integer(-1))
    with pytest.raises(ValueError, match=r"order = 0"):
        discrete_over_continuous(sgd.heavy_ball(), order=0)
    with pytest.raises(TypeError, match="brackets"):
        discrete_over_continuous(sgd.heavy_ball)
