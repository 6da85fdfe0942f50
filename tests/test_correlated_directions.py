"""Two eigen-directions under correlated noise, against hand loops, SciPy and many digits."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester
from sympy import Integer, Matrix, Rational, diag, eye, factor, simplify, zeros

import sgdtheory as sgd
from sgdtheory.correlated_directions import DirectionPair

s = sgd.symbols
THEORIES = ("discrete", "continuous")
H_I, H_J, COVARIANCE, BATCH = Rational(5, 4), Rational(2, 7), Rational(-3, 2), Integer(4)


@cache
def process(name, theory):
    rule = getattr(sgd, name)()
    if theory == "discrete":
        return sgd.recursion(rule, noise=s.Sigma, curvature=s.h)
    return sgd.ornstein_uhlenbeck(sgd.modified_equation(rule), noise=s.Sigma, curvature=s.h)


@cache
def pair(name, theory):
    return DirectionPair(process(name, theory))


@pytest.fixture
def numbers(hyper):
    """η, β and the rule's own parameter, two curvatures and their noise."""
    return {getattr(s, key): value for key, value in hyper.items()} | {
        s.h_i: H_I,
        s.h_j: H_J,
        s.Sigma_ij: COVARIANCE,
        s.S: BATCH,
    }


@pytest.fixture
def laws(update, hyper):
    """M of either direction and their shared n nᵀ Σ_ij/S, by hand."""
    (M_i, n), (M_j, _) = (oracles.linear_law(update, h, **hyper) for h in (H_I, H_J))
    return M_i, M_j, oracles.outer(n, COVARIANCE / BATCH)


def matrix(nested):
    return Matrix([list(row) for row in nested])


# -- published ----------------------------------------------------------------------------------


def test_continuous_heavy_ball_has_the_published_elements():
    """In the frequencies and the damping of the reference (section 4)."""
    X = pair("heavy_ball", "continuous").stationary_covariance()
    gamma = (1 - s.beta) / (s.eta * (1 + s.beta))
    w_i, w_j = (2 * h / (s.eta * (1 + s.beta)) for h in (s.h_i, s.h_j))
    N = 4 * s.Sigma_ij / (s.eta * s.S * (1 + s.beta) ** 2)
    positions = 4 * gamma * N / ((w_i - w_j) ** 2 + 8 * gamma**2 * (w_i + w_j))
    assert factor(X[0, 0] - positions) == 0
    assert factor(X[1, 1] - (w_i + w_j) / 2 * positions) == 0
    assert factor(X[0, 1] - (w_i - w_j) / (4 * gamma) * positions) == 0


@pytest.mark.parametrize("theory", THEORIES)
def test_equal_directions_are_one_direction(name, theory):
    one = {s.h_i: s.h, s.h_j: s.h, s.Sigma_ij: s.Sigma}
    difference = pair(name, theory).stationary_covariance().subs(one)
    difference -= process(name, theory).stationary_covariance()
    assert difference.applyfunc(factor) == zeros(2)


@pytest.mark.parametrize("theory", THEORIES)
def test_the_noise_of_a_pair_is_that_of_the_process(name, theory):
    kick = pair(name, theory).kick
    assert simplify(kick * kick.T * s.Sigma - process(name, theory).noise) == zeros(2)
    same = {s.h_i: s.h, s.h_j: s.h, s.Sigma_ij: s.Sigma}
    assert simplify(pair(name, theory).noise.subs(same) - process(name, theory).noise) == zeros(2)


@pytest.mark.parametrize("theory", THEORIES)
def test_exchanging_the_directions_transposes(name, theory):
    X = pair(name, theory).stationary_covariance()
    exchanged = X.subs({s.h_i: s.h_j, s.h_j: s.h_i}, simultaneous=True)
    assert (X - exchanged.T).applyfunc(factor) == zeros(2)


def test_the_continuous_theory_is_the_small_step_limit_of_the_exact_one():
    exact, limit = (pair("heavy_ball", theory).stationary_covariance() for theory in THEORIES)
    small = {s.eta: Rational(1, 10**9), s.beta: Rational(3, 5), s.h_i: H_I, s.h_j: H_J}
    ratio = (exact[0, 0] / limit[0, 0]).subs(small)
    assert abs(ratio - 1) < 1e-8


# -- exact rationals ----------------------------------------------------------------------------


def test_stationary_covariance_balances_an_update(name, laws, numbers):
    M_i, M_j, N = map(matrix, laws)
    X = pair(name, "discrete").stationary_covariance().subs(numbers)
    assert X - M_i * X * M_j.T == N


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_moments_in_time_are_those_of_iteration(name, laws, numbers, steps):
    M_i, M_j, N = map(matrix, laws)
    gathered, flow = zeros(2), eye(2)
    for _ in range(steps):
        gathered, flow = M_i * gathered * M_j.T + N, M_i * flow
    both = pair(name, "discrete")
    X = both.stationary_covariance().subs(numbers)
    assert both.covariance(steps).subs(numbers) == gathered
    assert both.autocovariance(steps).subs(numbers) == flow * X


# -- SciPy --------------------------------------------------------------------------------------


def floats(expression):
    return np.array(expression, dtype=float)


def test_continuous_moments_are_scipys(name, numbers):
    both = pair(name, "continuous")
    G_i, G_j = (
        floats(process(name, "continuous").generator.subs(s.h, h).subs(numbers)) for h in (H_I, H_J)
    )
    X = floats(both.stationary_covariance().subs(numbers))
    N = floats(both.noise.subs(numbers))
    assert np.allclose(X, solve_sylvester(G_i, G_j.T, N), rtol=1e-12)
    time = 0.7
    flow = expm(np.block([[-G_i, N], [np.zeros((2, 2)), G_j.T]]) * time)
    gathered = flow[:2, 2:] @ expm(-G_j.T * time)
    assert np.allclose(floats(both.covariance(time).subs(numbers).evalf()), gathered, rtol=1e-11)
    later = floats(both.autocovariance(time).subs(numbers).evalf())
    assert np.allclose(later, expm(-G_i * time) @ X, rtol=1e-11)


@pytest.mark.parametrize("dimension", [2, 3, 6])
@pytest.mark.parametrize("theory", THEORIES)
def test_blocks_solve_the_whole_system(name, theory, dimension, hyper):
    rng = np.random.default_rng([dimension, THEORIES.index(theory)])
    h = rng.uniform(0.01, 4.0, dimension)
    root = rng.normal(size=(dimension, dimension))
    noise = root @ root.T
    own = {getattr(s, key): float(value) for key, value in hyper.items()} | {s.S: 4.0}
    X = pair(name, theory).stationary_covariance()
    letters = tuple(own)
    blocks = sgd.lower(X, (s.h_i, s.h_j, s.Sigma_ij, *letters))(
        h[:, None], h[None, :], noise, *own.values()
    )
    whole = blocks.transpose(0, 2, 1, 3).reshape(2 * dimension, 2 * dimension)
    one = process(name, theory)
    generator = sgd.lower(one.generator, (s.h, *letters))(h, *own.values())
    G = np.zeros((2 * dimension, 2 * dimension))
    for i in range(dimension):
        G[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = generator[i]
    N = np.kron(noise, floats(one.noise.subs(own).subs(s.Sigma, 1)))
    expected = (
        solve_continuous_lyapunov(G, N)
        if theory == "continuous"
        else solve_discrete_lyapunov(np.eye(len(G)) - G, N)
    )
    assert np.abs(whole - expected).max() < 1e-11 * np.abs(expected).max()


# -- random rules -------------------------------------------------------------------------------

fractions = st.fractions(-1, 1, max_denominator=12)
rates = st.fractions(Fraction(1, 50), 2, max_denominator=50)


@settings(max_examples=25)
@given(
    a=fractions, b=rates, c=fractions, d=fractions, e=fractions, curvatures=st.tuples(rates, rates)
)
def test_any_stable_linear_rule(a, b, c, d, e, curvatures):
    """θ' = θ + a v − b g, v' = c v − d g, the gradient taken at θ + e v."""

    def update(x, v, gradient):
        g = gradient(x + e * v)
        return x + a * v - b * g, c * v - d * g

    (M_i, n), (M_j, _) = (oracles.linear_law(update, h) for h in curvatures)
    assume(max(oracles.spectral_radius(M) for M in (M_i, M_j)) < 0.999)
    a, b, c, d, e, h_i, h_j = map(Rational, (a, b, c, d, e, *curvatures))
    rule = sgd.UpdateRule(
        velocity=c * s.v - d * s.g,
        position=s.theta + a * s.v - b * s.g,
        gradient_at=s.theta + e * s.v,
    )
    both = DirectionPair(sgd.recursion(rule, noise=s.Sigma, curvature=s.h))
    X = both.stationary_covariance().subs({s.h_i: h_i, s.h_j: h_j, s.Sigma_ij: 1, s.S: 1})
    M_i, M_j, N = (matrix(law).applyfunc(Rational) for law in (M_i, M_j, oracles.outer(n, 1)))
    assert X - M_i * X * M_j.T == N


# -- many digits --------------------------------------------------------------------------------


def solved(G_i, G_j, N, second_order):
    """The 4×4 system of a pair, in many digits."""
    one = mp.eye(2)

    def kron(A, B):
        return mp.matrix(4, 4) + mp.matrix(
            [[A[i // 2, j // 2] * B[i % 2, j % 2] for j in range(4)] for i in range(4)]
        )

    system = kron(G_i, one) + kron(one, G_j) - second_order * kron(G_i, G_j)
    return mp.lu_solve(system, mp.matrix(list(N)))


@pytest.mark.parametrize("theory", THEORIES)
@pytest.mark.parametrize("beta", [0.9, 0.999])
@pytest.mark.parametrize("curvatures", [(1.0, 1.0 + 1e-9), (1e-9, 2e-9), (3.0, 1e-12), (2.0, 5.0)])
def test_no_digits_are_lost_at_equal_or_flat_curvatures(name, theory, beta, curvatures):
    """Relative to the larger of what both directions' deviations allow and the entry itself."""
    own = {"dampened": {s.tau: 0.25}, "quasi_hyperbolic": {s.nu: 0.5}}.get(name, {})
    beta = 0.0 if name == "plain_sgd" else beta
    point = {s.eta: 0.125, s.beta: beta, s.S: 4.0, **own}
    X = pair(name, theory).stationary_covariance()
    value = sgd.lower(X, (s.h_i, s.h_j, s.Sigma_ij, *point))(*curvatures, 1.5, *point.values())
    one = process(name, theory)
    exact = {symbol: Rational(number) for symbol, number in point.items()}
    with mp.workdps(60):
        G_i, G_j = (
            mp.matrix(one.generator.subs(exact).subs(s.h, Rational(h)).tolist()) for h in curvatures
        )
        N = [mp.mpf(x.p) / x.q for x in one.noise.subs(exact).subs(s.Sigma, Rational(3, 2))]
        whole = solved(G_i, G_j, N, one.clock.second_order)
        scale = [mp.sqrt(abs(whole[0] * whole[3]))] * 4
        errors = [
            abs(mp.mpf(float(x)) - y) / max(abs(y), 1e-3 * unit)
            for x, y, unit in zip(value.ravel(), whole, scale, strict=True)
        ]
    assert max(errors) < 1e-11


# -- the record ---------------------------------------------------------------------------------


@pytest.mark.parametrize("theory", THEORIES)
def test_derivation_goes_from_the_rule_to_the_pair(theory):
    both = pair("heavy_ball", theory)
    titles = [step.title for step in both.derivation]
    assert titles[0] == "Update rule"
    assert titles[-3:] == [
        "Two eigen-directions",
        "Stationary covariance of the pair",
        "In time",
    ]
    assert set(process("heavy_ball", theory).assumptions) < set(both.assumptions)
    assert all(step.action.endswith(".") for step in both.derivation)
    assert r"\Sigma_{ij}" in both._repr_latex_()


def test_the_balance_that_is_shown_is_the_one_that_was_solved():
    both = pair("nesterov", "discrete")
    shown = both.derivation[-3].formulas[0]
    X = s.matrix("X", 2)
    left = shown.lhs.subs(X, both.stationary_covariance()).doit()
    assert (left - shown.rhs).applyfunc(factor) == zeros(2)


def test_what_is_no_direction_is_refused():
    with pytest.raises(TypeError, match="give one eigen-direction"):
        DirectionPair(sgd.heavy_ball())
    with pytest.raises(ValueError, match="dimension 1"):
        DirectionPair(sgd.OrnsteinUhlenbeck(Matrix([[1]]), Matrix([[1]])))
    with pytest.raises(ValueError, match=r"curvature = lamda \+ rho.*curvature=symbols\.h"):
        DirectionPair(sgd.recursion(sgd.heavy_ball()))
    with pytest.raises(ValueError, match=r"proportional to Sigma.*noise=symbols\.Sigma"):
        DirectionPair(sgd.recursion(sgd.heavy_ball(), curvature=s.h))
    two = sgd.OrnsteinUhlenbeck(Matrix([[0, -1], [s.h, 1]]), diag(s.Sigma, s.Sigma))
    with pytest.raises(ValueError, match="one source"):
        DirectionPair(two)
    root = sgd.OrnsteinUhlenbeck(Matrix([[0, -1], [s.h, 1]]), diag(0, s.Sigma * (s.h**2 + 1)))
    with pytest.raises(ValueError, match="not rational in h"):
        DirectionPair(root)


def test_noise_that_depends_on_the_curvature_has_the_amplitude_of_each_direction():
    drift = Matrix([[0, -1], [s.h, 1]])
    both = DirectionPair(sgd.OrnsteinUhlenbeck(drift, diag(0, s.Sigma * (1 + s.h) ** 2 / 2)))
    assert factor(both.noise[1, 1] - s.Sigma_ij * (1 + s.h_i) * (1 + s.h_j)) == 0


def test_a_pair_that_never_decays_has_no_stationary_state():
    still = sgd.OrnsteinUhlenbeck(Matrix([[0, -1], [s.h - s.h, 0]]), diag(0, s.Sigma))
    with pytest.raises(sgd.UnstableError, match="no unique solution"):
        DirectionPair(still).stationary_covariance()
