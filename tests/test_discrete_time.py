"""The exact theory of updates, against iteration in exact arithmetic and SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import oracles
import pytest
from scipy.linalg import solve_discrete_lyapunov
from sympy import Integer, Matrix, N, Rational, expand, eye, simplify

import sgdtheory as sgd

s = sgd.symbols
eta, beta, h, S, Sigma = s.eta, s.beta, s.h, s.S, s.Sigma


@cache
def process_of(name):
    return sgd.recursion(getattr(sgd, name)(), noise=Sigma, curvature=h)


@pytest.fixture
def process(name):
    return process_of(name)


@pytest.fixture
def law(update, hyper, values):
    """M and the covariance of one update's noise, by hand, as exact numbers."""
    M, n = oracles.linear_law(update, values[h], **hyper)
    return M, oracles.outer(n, values[Sigma] / values[S])


def matrix(nested):
    return Matrix([list(row) for row in nested])


# -- one update ---------------------------------------------------------------------------------


def test_map_and_kick_are_what_one_update_does_to_unit_vectors(process, update, hyper):
    symbols = {key: getattr(s, key) for key in hyper}
    M, n = oracles.linear_law(update, h, **symbols)
    assert (process.map - matrix(M)).applyfunc(expand) == Matrix.zeros(2)
    assert (process.kick - Matrix(n)).applyfunc(expand) == Matrix.zeros(2, 1)


def test_a_batch_has_one_examples_variance_over_its_size(process):
    assert process.noise_variance == Sigma / S


def test_characteristic_polynomial(process, update, hyper):
    M, _ = oracles.linear_law(update, h, **{key: getattr(s, key) for key in hyper})
    expected = (s.shift * eye(2) - matrix(M)).det()
    assert expand(process.characteristic_polynomial() - expected) == 0


def test_heavy_ball_as_published():
    process = sgd.recursion(sgd.heavy_ball(), curvature=h)
    assert process.map == Matrix([[1 - eta * h, eta * beta], [-h, beta]])
    assert process.kick == Matrix([-eta, -1])


def test_an_eigen_direction_feels_hessian_and_weight_decay_and_its_share_of_noise():
    process = sgd.recursion(sgd.heavy_ball())
    assert expand(process.map[1, 0] + s.rho + s.lamda) == 0
    assert process.noise_variance == s.sigma2 * s.rho / S


# -- stability ----------------------------------------------------------------------------------


def test_published_stability_of_heavy_ball():
    stable = sgd.recursion(sgd.heavy_ball()).stability
    assert stable.start == 0
    assert expand(stable.end - 2 * (1 + beta)) == 0
    assert stable.is_open


def test_stable_interval_is_where_the_spectral_radius_is_below_one(name, process, update):
    rng = np.random.default_rng(11)
    for _ in range(25):
        hyper = {"eta": 1, "beta": random_rational(rng)}
        if name in oracles.OWN_PARAMETERS:
            hyper[oracles.OWN_PARAMETERS[name]] = random_rational(rng)
        interval = process.stability.subs({getattr(s, key): x for key, x in hyper.items()})
        low, high = interval.start, interval.end
        span = high - low
        # A millionth beside a bound moves the radius by ≥ 1e-7, and eigvals errs by 1e-15.
        inside = [
            low + span * f for f in (Rational(1, 10**6), Rational(1, 2), random_rational(rng))
        ]
        inside.append(high - span / 10**6)
        outside = [low - span / 10**6, high + span / 10**6, low - span, high + span]
        radius = {
            y: oracles.spectral_radius(oracles.linear_law(update, y, **hyper)[0])
            for y in (*inside, *outside)
        }
        assert all(radius[y] < 1 and interval.contains(y) for y in inside)
        assert all(radius[y] > 1 and not interval.contains(y) for y in outside)


def random_rational(rng):
    return Rational(int(rng.integers(1, 1000)), 1000)


def test_a_rule_without_gradient_is_never_stable():
    coasting = sgd.UpdateRule(beta * s.v, s.theta + eta * s.v_next)
    assert sgd.recursion(coasting).stability.is_empty


def test_undamped_momentum_is_never_stable():
    undamped = sgd.UpdateRule(s.v - s.g, s.theta + eta * s.v_next)
    assert sgd.recursion(undamped).stability.is_empty


# -- stationary state ---------------------------------------------------------------------------


def test_stationary_covariance_solves_the_lyapunov_equation(process, law, values):
    found = np.array(process.stationary_covariance().subs(values), dtype=float)
    M, noise = (np.array(nested, dtype=float) for nested in law)
    expected = solve_discrete_lyapunov(M, noise)
    # The exact solution is rounded once; SciPy solves a 4×4 system of condition number < 1e4.
    assert np.abs(found - expected).max() <= 1e4 * np.finfo(float).eps * np.abs(expected).max()


def test_stationary_covariance_is_reproduced_by_one_update(process, law, values):
    P, (M, noise) = process.stationary_covariance().subs(values), map(matrix, law)
    assert M * P * M.T + noise == P


def test_published_stationary_state_of_heavy_ball():
    P = sgd.recursion(sgd.heavy_ball(), noise=Sigma, curvature=h).stationary_covariance()
    velocity = 2 * Sigma / (S * (1 - beta) * (2 * (1 + beta) - eta * h))
    position = eta * Sigma * (1 + beta) / (S * h * (1 - beta) * (2 * (1 + beta) - eta * h))
    expected = Matrix([[position, eta * velocity / 2], [eta * velocity / 2, velocity]])
    assert (P - expected).applyfunc(simplify) == Matrix.zeros(2)


def test_exact_over_continuous_is_the_published_ratio_for_both_variances():
    rule = sgd.heavy_ball()
    exact = sgd.recursion(rule).stationary_covariance()
    langevin = sgd.modified_equation(rule)
    continuous = sgd.ornstein_uhlenbeck(langevin).stationary_covariance()
    y = eta * (s.rho + s.lamda)
    for i in (0, 1):
        assert simplify(exact[i, i] / continuous[i, i] * (1 - y / (2 * (1 + beta)))) == 1


def test_without_restoring_force_there_is_no_stationary_state():
    with pytest.raises(sgd.UnstableError):
        sgd.recursion(sgd.heavy_ball(), curvature=0).stationary_covariance()


# -- in time ------------------------------------------------------------------------------------

STEPS = (0, 1, 2, 3, 7, 100)


def agree(found, expected):
    """Equal as rationals where the result is one, otherwise to 45 of 50 evaluated digits."""
    for value, exact in zip(found, expected, strict=True):
        if not value.is_Rational:
            assert abs(N(value, 50) - exact) <= Rational(1, 10**45) * abs(exact)
        else:
            assert value == exact


@pytest.mark.parametrize("steps", STEPS)
def test_mean(process, law, values, steps):
    flow, _ = oracles.iterate(*law, steps)
    start = Matrix([values[s.theta_0], values[s.v_0]])
    agree(process.mean(steps).subs(values), matrix(flow) * start)


@pytest.mark.parametrize("steps", STEPS)
def test_covariance_from_a_fixed_start(process, law, values, steps):
    _, gained = oracles.iterate(*law, steps)
    agree(process.covariance(steps).subs(values), matrix(gained))


@pytest.mark.parametrize("steps", STEPS)
def test_autocovariance(process, law, values, steps):
    flow, _ = oracles.iterate(*law, steps)
    expected = oracles.times(flow, oracles.stationary_recursion(*law))
    agree(process.autocovariance(steps).subs(values), matrix(expected))


@pytest.mark.parametrize("steps", STEPS)
def test_displacement(process, law, values, steps):
    flow, _ = oracles.iterate(*law, steps)
    B = oracles.stationary_recursion(*law)
    expected = 2 * (B[0][0] - oracles.times(flow, B)[0][0])
    agree([process.displacement(steps).subs(values)], [expected])


def test_a_symbol_for_the_count_gives_the_same_as_the_count(process):
    values = {eta: Rational(1, 7), beta: Rational(1, 2), s.tau: 0, s.nu: 1, h: 3, S: 2, Sigma: 5}
    later = process.covariance(s.k).subs(s.k, 5).subs(values)
    assert later == process.covariance(5).subs(values)


@pytest.mark.parametrize("curvature", [Rational(1, 4), Rational(9, 4)], ids=["slow", "alternating"])
def test_exactly_critical_damping(curvature):
    """At β = ¼ and η = 1 the roots coincide, at +½ for h = ¼ and at −½ for h = 9/4."""
    process = sgd.recursion(sgd.heavy_ball(), noise=Sigma, curvature=h)
    values = {eta: Integer(1), beta: Rational(1, 4), h: curvature, S: Integer(1), Sigma: Integer(1)}
    z = process.characteristic_polynomial().subs(values)
    assert z.as_poly(s.shift).discriminant() == 0
    M, n = oracles.linear_law(oracles.heavy_ball, curvature, eta=1, beta=Rational(1, 4))
    _, gained = oracles.iterate(M, oracles.outer(n, 1), 100)
    agree(process.covariance(100).subs(values), matrix(gained))


def test_a_velocity_that_nothing_remembers_leaves_a_singular_map():
    process = sgd.recursion(sgd.plain_sgd(), curvature=h)
    assert process.map.det() == 0
    assert expand(process.propagator(5)[0, 0] - (1 - eta * h) ** 5) == 0
    assert [expand(entry) for entry in process.propagator(5)[:, 1]] == [0, 0]


# -- other recursions ---------------------------------------------------------------------------


def autoregression(order_map):
    size = order_map.shape[0]
    return sgd.LinearRecursion(order_map, Matrix([1] * size), Integer(1))


def test_a_recursion_of_one_coordinate():
    process = autoregression(Matrix([[Rational(1, 2)]]))
    assert process.stationary_covariance() == Matrix([[Rational(4, 3)]])
    assert process.covariance(2) == Matrix([[Rational(5, 4)]])
    assert process.displacement(1) == Rational(4, 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_mean_of_a_recursion_without_named_start(size):
    process = autoregression(eye(size) / 2)
    start = Matrix(sgd.symbols.coordinates(size, start=True))
    assert process.mean(3) == start / 8


def test_three_coordinates_against_scipy():
    M = Matrix([[2, 1, 0], [0, 3, 1], [-1, 0, 4]]) / 6
    process = autoregression(M)
    expected = solve_discrete_lyapunov(np.array(M, dtype=float), np.ones((3, 3)))
    found = np.array(process.stationary_covariance(), dtype=float)
    assert np.allclose(found, expected, rtol=1e-13)


def test_growth_has_no_stationary_state():
    """G B + B Gᵀ − G B Gᵀ = N has a solution beyond stability too, but no covariance."""
    with pytest.raises(sgd.UnstableError):
        autoregression(Matrix([[2]])).stationary_covariance()
