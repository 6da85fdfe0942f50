"""From a rule to its Langevin equation: published coefficients, and the recursion's own roots."""

from __future__ import annotations

import time

import mpmath as mp
import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import (
    Eq,
    Integer,
    Matrix,
    Poly,
    Rational,
    Symbol,
    cancel,
    exp,
    expand,
    eye,
    factorial,
    lambdify,
    limit,
    series,
    simplify,
    solve,
)

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


# -- any order ----------------------------------------------------------------------------------

ORDERS = (1, 2, 3, 4)


def look_ahead(x, v, gradient, eta, beta):
    """Nesterov's momentum as textbooks have it, the gradient taken at x + ηβv."""
    v = beta * v - gradient(x + eta * beta * v)
    return x + eta * v, v


def textbook_nesterov():
    return sgd.UpdateRule(
        beta * s.v - s.g, s.theta + eta * s.v_next, gradient_at=s.theta + eta * beta * s.v
    )


UPDATES = oracles.UPDATES | {"look_ahead": look_ahead}
EVERY_RULE = pytest.mark.parametrize("name", UPDATES)


def rule_of(name):
    return textbook_nesterov() if name == "look_ahead" else getattr(sgd, name)()


def numbers_of(name):
    """The rule's parameters other than η, as fractions, by the names of the hand loops."""
    known = {"beta": Rational(3, 5), "tau": Rational(1, 3), "nu": Rational(7, 10)}
    if name == "plain_sgd":
        return {}
    own = (oracles.OWN_PARAMETERS[name],) if name in oracles.OWN_PARAMETERS else ()
    return {key: known[key] for key in ("beta", *own)}


def inserted(expression, numbers):
    return expression.subs({getattr(s, key): value for key, value in numbers.items()})


def characteristic(update, curvature, z, **hyper):
    """det(z − M) of the hand loop."""
    M, _ = oracles.linear_law(update, curvature, **hyper)
    return (z - M[0][0]) * (z - M[1][1]) - M[0][1] * M[1][0]


def cut(polynomial, power):
    """A polynomial in η through η^power."""
    return Poly({m: c for m, c in Poly(polynomial, eta).terms() if m[0] <= power}, eta).as_expr()


def slow_series(mass, friction, curvature, power):
    """The root of m s² + Γ s + h = 0 that stays finite, through η^power, term by term."""
    flat, root = friction.subs(eta, 0), Integer(0)
    for _ in range(power + 1):
        rest = mass * root**2 + (friction - flat) * root + curvature
        root = cut(expand(-rest / flat), power)
    return root


@EVERY_RULE
@pytest.mark.parametrize("order", ORDERS)
def test_at_fixed_momentum_the_slow_root_is_right_through_the_order(name, order):
    """With z = e^{ηs}, det(z − M) vanishes through η^{n+1} (it starts at order η), not beyond."""
    curvature, numbers = Rational(5, 4), numbers_of(name)
    langevin = sgd.modified_equation(rule_of(name), order=order)
    mass, friction = (
        expand(inserted(x, numbers).subs(h, curvature)) for x in (langevin.mass, langevin.friction)
    )
    exponent = eta * slow_series(mass, friction, curvature, order + 1)
    z = sum(cut(expand(exponent**n), order + 2) / factorial(n) for n in range(order + 3))
    missed = Poly(characteristic(UPDATES[name], curvature, z, eta=eta, **numbers), eta)
    powers = [power for (power,), _ in missed.terms() if power <= order + 2]
    assert powers == [order + 2]


@pytest.mark.parametrize("name", [name for name in UPDATES if name != "plain_sgd"])
@pytest.mark.parametrize("order", ORDERS)
def test_in_the_joint_limit_both_roots_have_an_error_of_the_order(name, order):
    """1 − β = κ√η: a hundredth of η leaves 10^{−2n} of the relative error."""
    langevin = sgd.modified_equation(rule_of(name), order=order)
    others = numbers_of(name)

    def error(step):
        values = {key: mp.mpf(x.p) / x.q for key, x in others.items()}
        values |= {"eta": step, "beta": 1 - mp.mpf("1.3") * mp.sqrt(step)}
        letters = [getattr(s, key) for key in values]
        mass, friction = (
            lambdify([*letters, h], x, "mpmath")(*values.values(), mp.mpf(1))
            for x in (langevin.mass, langevin.friction)
        )
        approximate = mp.polyroots([mass, friction, 1], maxsteps=500, extraprec=400)
        M, _ = oracles.linear_law(UPDATES[name], mp.mpf(1), **values)
        total, product = M[0][0] + M[1][1], M[0][0] * M[1][1] - M[0][1] * M[1][0]
        exact = [mp.log(z) / step for z in mp.polyroots([1, -total, product], extraprec=400)]
        return max(min(abs(root / true - 1) for root in approximate) for true in exact)

    with mp.workdps(60):
        steps = mp.mpf(10) ** -8, mp.mpf(10) ** -10
        gained = mp.log10(error(steps[0]) / error(steps[1])) / 2
    assert abs(gained - order) < 0.1


@EVERY_RULE
@pytest.mark.parametrize("order", ORDERS)
def test_the_equation_as_expanded_is_the_recursions_polynomial(name, order):
    """Inserted, e^{pt} on a quadratic loss leaves det(e^{ηp} − M) e^{−ηp}/η, cut at the order."""
    curvature, numbers = Rational(5, 4), numbers_of(name)
    p, wave = Symbol("p"), exp(Symbol("p") * s.t)
    equation = sgd.modified_equation(rule_of(name), order=order).expanded
    literal = inserted(equation.lhs - equation.rhs, numbers)
    literal = literal.replace(s.gradient, lambda x: curvature * x)
    literal = literal.replace(s.trajectory, lambda t: wave).doit()
    whole = characteristic(UPDATES[name], curvature, exp(eta * p), eta=eta, **numbers)
    whole = expand(whole * exp(-eta * p))
    force = cancel(characteristic(UPDATES[name], curvature, 1, eta=eta, **numbers) / eta)
    expected = series(whole, eta, 0, order + 2).removeO() / eta * curvature / force
    assert expand(expand(literal / wave) - expand(expected)) == 0


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_only_the_equation_as_expanded_has_growing_modes(order):
    """From order 4 on, at any momentum; the one that is delivered has none."""
    equation = sgd.modified_equation(sgd.heavy_ball(), order=order)
    small = {eta: 1, h: Rational(1, 1000), beta: Rational(1, 2)}
    derivatives = [s.trajectory(s.t).diff(s.t, n) for n in range(1, order + 2)]
    literal = [equation.expanded.lhs.coeff(d).subs(small) for d in derivatives][::-1]
    literal = [mp.mpf(c.p) / c.q for c in (*literal, small[h])]
    growing = any(root.real > 0 for root in mp.polyroots(literal, maxsteps=200, extraprec=100))
    assert growing == (order >= 4)
    assert equation.mass.subs(small) > 0
    assert equation.friction.subs(small) > 0


LIMITS = {
    "plain_sgd": (Integer(2), 5),
    "heavy_ball": (2 * (1 + beta), 5),
    "nesterov": (2 * (1 + beta) / (1 + 2 * beta), 3),
    "quasi_hyperbolic": (2 * (1 + beta) / (1 + beta * (1 - 2 * nu)), 2),
}


@pytest.mark.parametrize("name", LIMITS)
def test_mass_and_friction_are_positive_wherever_the_rule_is_stable(name):
    """Through the orders that the docstring promises."""
    limit, highest = LIMITS[name]
    for order in range(1, highest + 1):
        langevin = sgd.modified_equation(rule_of(name), order=order)
        both = lambdify((beta, nu, h), [x.subs(eta, 1) for x in (langevin.mass, langevin.friction)])
        for momentum in (0, 0.3, 0.6, 0.9, 0.99):
            for mixing in (0.3, 0.7, 1.0):
                edge = float(limit.subs({beta: momentum, nu: mixing}))
                for n in range(50):
                    assert min(both(momentum, mixing, edge * n / 50)) > 0


@pytest.mark.parametrize(
    ("name", "order", "share"),
    [
        ("nesterov", 4, 0.89),
        ("nesterov", 5, 0.89),
        ("quasi_hyperbolic", 3, 0.66),
        ("quasi_hyperbolic", 4, 0.66),
        ("quasi_hyperbolic", 5, 0.66),
    ],
)
def test_where_the_mass_turns_negative_is_as_near_the_limit_as_promised(name, order, share):
    limit, _ = LIMITS[name]
    langevin = sgd.modified_equation(rule_of(name), order=order)
    both = lambdify((beta, nu, h), [x.subs(eta, 1) for x in (langevin.mass, langevin.friction)])
    signs = set()
    for momentum in (0.3, 0.6, 0.9, 0.99):
        for mixing in (0.1, 0.3, 0.5, 0.7, 0.9):
            edge = float(limit.subs({beta: momentum, nu: mixing}))
            for n in range(1, 100):
                mass, friction = both(momentum, mixing, edge * n / 100)
                assert friction > 0
                assert mass > 0 or n / 100 > share
                signs.add(mass > 0)
    assert signs == {True, False}


@pytest.mark.parametrize("order", ORDERS)
def test_the_process_of_any_order_has_the_oscillators_variances(order):
    langevin = sgd.modified_equation(sgd.nesterov(), order=order)
    process = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=h)
    values = {eta: Rational(1, 10), beta: Rational(3, 5), h: Rational(5, 4), s.S: 4, s.Sigma: 3}
    mass, friction, intensity = (
        x.subs(values) for x in (langevin.mass, langevin.friction, langevin.noise_intensity)
    )
    A, N = oracles.langevin_law(mass, friction, values[h], intensity)
    expected = oracles.stationary_diffusion(A, N)
    assert process.stationary_covariance().subs(values) == Matrix(expected)


@EVERY_RULE
@pytest.mark.parametrize("order", ORDERS)
def test_inverse_temperature_and_order_are_the_records_own(name, order):
    langevin = sgd.modified_equation(rule_of(name), order=order)
    flat = (langevin.mass * langevin.friction).subs(h, 0)
    assert cancel(langevin.inverse_temperature - 2 * flat * s.S / eta) == 0
    assert langevin.order == order


def test_hessian_damping():
    assert sgd.modified_equation(sgd.nesterov()).hessian_damping == beta * eta
    assert sgd.modified_equation(sgd.heavy_ball()).hessian_damping == 0
    assert sgd.Langevin(1, 2 + 3 * h, 1).hessian_damping == 3


def test_a_textbook_particle_was_not_expanded_and_has_every_observable():
    particle = sgd.Langevin(1, 2, 3)
    assert particle.expanded is None
    assert particle.observables == ("position variance", "velocity variance", "local displacement")
    assert isinstance(sgd.modified_equation(sgd.heavy_ball()).expanded, Eq)


def test_equal_rules_are_derived_once():
    first = sgd.modified_equation(sgd.nesterov(), order=3)
    assert sgd.modified_equation(sgd.nesterov(), 3) is first
    assert sgd.modified_equation(rule=sgd.nesterov(), order=Integer(3)) is first
    begun = time.perf_counter()
    for _ in range(100):
        sgd.modified_equation(sgd.nesterov(), order=3)
    assert time.perf_counter() - begun < 1


# -- which observables converge -----------------------------------------------------------------


def limits(update, langevin, numbers):
    """Exact over continuous position variance and local displacement, as η → 0."""
    M, n = oracles.linear_law(update, h, eta=eta, **numbers)
    P = oracles.stationary_recursion(M, oracles.outer(n, 1))
    step = 2 * (P[0][0] - oracles.times(M, P)[0][0])
    mass, friction = (inserted(x, numbers) for x in (langevin.mass, langevin.friction))
    # The noise intensity is η Σ/S, with Σ/S = 1.
    position, velocity = eta / (2 * friction * h), eta / (2 * mass * friction)
    return [
        cancel(ratio).subs(eta, 0) for ratio in (P[0][0] / position, step / (eta**2 * velocity))
    ]


def check_observables(update, langevin, numbers):
    position, step = limits(update, langevin, numbers)
    assert position == 1
    assert ("local displacement" in langevin.observables) == (step == 1)
    assert ("velocity variance" in langevin.observables) == (step == 1)
    assert "position variance" in langevin.observables


@EVERY_RULE
@pytest.mark.parametrize("order", [1, 2])
def test_observables_are_those_that_converge(name, order):
    check_observables(
        UPDATES[name], sgd.modified_equation(rule_of(name), order=order), numbers_of(name)
    )


def test_which_named_rules_have_every_observable():
    whole = {n for n in UPDATES if len(sgd.modified_equation(rule_of(n)).observables) == 3}
    assert whole == {"plain_sgd", "heavy_ball", "dampened", "look_ahead"}


def test_nesterovs_local_displacement_is_0745_of_the_exact_one():
    """Published: at β = 0.9."""
    langevin = sgd.modified_equation(sgd.nesterov())
    _, step = limits(oracles.nesterov, langevin, {"beta": Rational(9, 10)})
    assert abs(float(1 / step) - 0.745) < 0.0005


small = st.integers(-2, 2).map(Integer)


@settings(max_examples=20)
@given(small, small, st.sampled_from([Rational(n, 4) for n in range(-3, 4)]), small)
def test_observables_of_random_rules(a, b, c, d):
    """θ' = θ + η(a v + b g), v' = c v + d g: one kick per update if b = 0 or ad = bc."""
    assume(b + a * d - b * c < 0)
    rule = sgd.UpdateRule(c * s.v + d * s.g, s.theta + eta * (a * s.v + b * s.g))

    def update(x, v, gradient, eta):
        return x + eta * (a * v + b * gradient(x)), c * v + d * gradient(x)

    langevin = sgd.modified_equation(rule)
    check_observables(update, langevin, {})
    assert (len(langevin.observables) == 3) == (b == 0 or a * d == b * c)


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


@pytest.mark.parametrize("order", [0, -1, 1.5, 2.0, "2", None, True])
def test_an_order_that_is_no_count_is_refused(order):
    with pytest.raises(ValueError, match=rf"order = {order!r}.*integer from 1 to 20"):
        sgd.modified_equation(sgd.heavy_ball(), order=order)


@pytest.mark.parametrize("order", [1, 3])
def test_without_a_restoring_force_no_order_helps(order):
    rule = sgd.UpdateRule(beta * s.v, s.theta + eta * s.v_next, name="coasting")
    with pytest.raises(ValueError, match=r"coasting.*no restoring force"):
        sgd.modified_equation(rule, order)


def test_a_mass_that_is_negative_at_a_curvature_is_refused():
    """Nesterov near its stability limit ηh = 2(1+β)/(1+2β), 10/7 here, at order 5."""
    rule = sgd.UpdateRule(
        s.v * 2 / 3 - s.g, s.theta + eta * (s.v_next * 2 / 3 - s.g), name="Nesterov at 2/3"
    )
    langevin = sgd.modified_equation(rule, order=5)
    sgd.ornstein_uhlenbeck(langevin, curvature=1 / eta)
    with pytest.raises(ValueError, match=r"langevin\.mass = .*lower its order"):
        sgd.ornstein_uhlenbeck(langevin, curvature=Rational(7, 5) / eta)


def test_a_rule_without_gradient_is_refused():
    rule = sgd.UpdateRule(beta * s.v, s.theta + eta * s.v_next, name="coasting")
    with pytest.raises(ValueError, match=r"coasting.*no restoring force"):
        sgd.modified_equation(rule)


@pytest.mark.parametrize("order", [1, 2])
def test_a_rule_that_climbs_is_refused(order):
    rule = sgd.UpdateRule(beta * s.v + s.g, s.theta + eta * s.v_next)
    with pytest.raises(ValueError, match=r"mass = .*negative"):
        sgd.modified_equation(rule, order)


def test_a_velocity_that_never_forgets_has_no_stationary_observable():
    undamped = sgd.modified_equation(sgd.UpdateRule(s.v - s.g, s.theta + eta * s.v_next))
    assert undamped.friction == 0
    assert undamped.observables == ()


@pytest.mark.parametrize("argument", ["mass", "friction", "noise_intensity"])
def test_a_negative_coefficient_is_refused_by_name(argument):
    good = {"mass": 1, "friction": 2, "noise_intensity": 3}
    with pytest.raises(ValueError, match=rf"^{argument} = -1"):
        sgd.Langevin(**{**good, argument: -1})


@pytest.mark.parametrize("order", [1, 2, 3])
def test_hessian_damping_is_the_friction_s_slope_at_a_flat_direction(order):
    langevin = sgd.modified_equation(sgd.nesterov(), order=order)
    h = sgd.symbols.h
    slope = limit((langevin.friction - langevin.friction.subs(h, 0)) / h, h, 0)
    assert simplify(langevin.hessian_damping - slope) == 0
