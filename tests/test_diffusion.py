"""The Ornstein-Uhlenbeck process, against published moments, SciPy and 50-digit exponentials."""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm, solve_continuous_lyapunov
from sympy import (
    Integer,
    Matrix,
    N,
    Rational,
    diag,
    exp,
    expand_func,
    eye,
    nsimplify,
    simplify,
    sqrt,
    symbols,
    zeros,
)

import sgdtheory as sgd
from sgdtheory.rational_matrices import determinant, function_of, inverse

s = sgd.symbols
eta, beta, h, S, Sigma, t = s.eta, s.beta, s.h, s.S, s.Sigma, s.t


@cache
def process_of(name):
    langevin = sgd.modified_equation(getattr(sgd, name)())
    return sgd.ornstein_uhlenbeck(langevin, noise=Sigma, curvature=h)


@pytest.fixture
def heavy_ball():
    return process_of("heavy_ball")


# -- published (section 4 of the reference) -----------------------------------------------------


def test_drift_and_diffusion_of_heavy_ball(heavy_ball):
    gamma, omega2 = (1 - beta) / (eta * (1 + beta)), 2 * h / (eta * (1 + beta))
    A = Matrix([[0, -1], [omega2, 2 * gamma]])
    D = Matrix([[0, 0], [0, 2 * gamma * Sigma]])
    assert (heavy_ball.drift - A).applyfunc(simplify) == zeros(2)
    scaled = heavy_ball.diffusion * heavy_ball.inverse_temperature
    assert (scaled - D).applyfunc(simplify) == zeros(2)


def test_stationary_covariance_of_heavy_ball(heavy_ball):
    B = heavy_ball.stationary_covariance()
    position = eta * Sigma / (2 * S * (1 - beta) * h)
    velocity = Sigma / (S * (1 - beta**2))
    assert (B - diag(position, velocity)).applyfunc(simplify) == zeros(2)


def test_without_weight_decay_the_positions_spread_isotropically():
    process = sgd.ornstein_uhlenbeck(sgd.modified_equation(sgd.heavy_ball()))
    B = process.stationary_covariance().subs(s.lamda, 0)
    assert simplify(B[0, 0].diff(s.rho)) == 0
    assert simplify((B[1, 1] / s.rho).diff(s.rho)) == 0


def test_the_mass_and_friction_of_every_rule_reach_the_drift(name):
    langevin = sgd.modified_equation(getattr(sgd, name)())
    A = process_of(name).drift
    m, friction = langevin.mass, langevin.friction
    expected = Matrix([[0, -1], [h / m, friction / m]])
    assert (A - expected).applyfunc(simplify) == zeros(2)


def test_noise_and_curvature_are_what_the_caller_says():
    langevin = sgd.modified_equation(sgd.heavy_ball())
    usual = sgd.ornstein_uhlenbeck(langevin)
    special = sgd.ornstein_uhlenbeck(langevin, noise=Sigma, curvature=h)
    inserted = {Sigma: s.sigma2 * s.rho, h: s.rho + s.lamda}
    difference = usual.stationary_covariance() - special.stationary_covariance().subs(inserted)
    assert difference.applyfunc(simplify) == zeros(2)


def test_a_number_is_a_curvature_too():
    langevin = sgd.modified_equation(sgd.heavy_ball())
    two = sgd.ornstein_uhlenbeck(langevin, noise=Sigma, curvature=2).stationary_covariance()
    general = process_of("heavy_ball").stationary_covariance().subs(h, 2)
    assert (two - general).applyfunc(simplify) == zeros(2)


# -- against SciPy ------------------------------------------------------------------------------


def test_stationary_covariance_solves_the_lyapunov_equation(name, values):
    process = process_of(name)
    A, noise, found = (
        np.array(x.subs(values), dtype=float)
        for x in (process.drift, process.noise, process.stationary_covariance())
    )
    expected = solve_continuous_lyapunov(A, noise)
    # SciPy solves a system whose condition is that of A's rates, here below 1e4.
    assert np.abs(found - expected).max() <= 1e4 * np.finfo(float).eps * np.abs(expected).max()


# -- all regimes, at 50 digits ------------------------------------------------------------------

# At η = 1/10 and β = 3/5 the critical curvature (1−β)²/(2η(1+β)) is ½.
CRITICAL = Rational(1, 2)
STEP_SIZE = Rational(1, 10)
HALF = {eta: STEP_SIZE, beta: Rational(3, 5), S: Integer(4), Sigma: Rational(7, 2)}
REGIMES = {
    "overdamped": HALF | {h: Rational(1, 100)},
    "flat": HALF | {h: Rational(1, 10**12)},
    "just overdamped": HALF | {h: CRITICAL - Rational(1, 10**15)},
    "critical": HALF | {h: CRITICAL},
    "just underdamped": HALF | {h: CRITICAL + Rational(1, 10**15)},
    "underdamped": HALF | {h: Integer(20)},
    "no momentum": HALF | {beta: Integer(0), h: Rational(3, 2)},
    "no momentum, critical": HALF | {beta: Integer(0), h: Integer(5)},
}
TIMES = (Integer(0), Rational(1, 10**6), Rational(3, 10), Integer(4))
START = {s.theta_0: Rational(2, 3), s.v_0: Rational(-5, 7)}


@pytest.fixture(params=REGIMES)
def regime(request):
    return REGIMES[request.param]


def mp_matrix(expression, values):
    return mp.matrix(expression.subs(values).applyfunc(lambda x: N(x, mp.mp.dps)).tolist())


def van_loan(process, values, time):
    """e^{−At} and the noise gained, from one exponential of a 4×4 matrix.

    The block holds e^{+Aᵀt} too, 10³⁵ at the latest time, and its square is lost in the product.
    """
    with mp.extradps(80):
        A, noise = mp_matrix(process.drift, values), mp_matrix(process.noise, values)
        block = mp.zeros(4)
        block[:2, :2], block[:2, 2:], block[2:, 2:] = -A, noise, A.T
        whole = mp.expm(block * mp.mpf(time.p) / time.q)
        flow = whole[:2, :2]
        return flow, whole[:2, 2:] * flow.T


def close(found, expected, values):
    """All entries to 45 of 50 digits, relative to the matrix."""
    evaluated = mp_matrix(found, values)
    return mp.mnorm(evaluated - expected, 1) <= mp.mpf(10) ** -45 * mp.mnorm(expected, 1)


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_mean_in_every_regime(heavy_ball, regime, time):
    with mp.workdps(60):
        flow, _ = van_loan(heavy_ball, regime, time)
        start = mp.matrix([mp.mpf(x.p) / x.q for x in START.values()])
        assert close(heavy_ball.mean(time), flow * start, regime | START)


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_covariance_in_every_regime(heavy_ball, regime, time):
    with mp.workdps(60):
        _, gained = van_loan(heavy_ball, regime, time)
        assert close(heavy_ball.covariance(time), gained, regime)


@pytest.mark.parametrize("time", TIMES, ids=str)
def test_autocovariance_and_displacement_in_every_regime(heavy_ball, regime, time):
    with mp.workdps(60):
        flow, _ = van_loan(heavy_ball, regime, time)
        B = mp_matrix(heavy_ball.stationary_covariance(), regime)
        assert close(heavy_ball.autocovariance(time), flow * B, regime)
        displacement = Matrix([[heavy_ball.displacement(time)]])
        # 2(B − FB) cancels by up to 12 + 12 digits for the flat direction at the earliest time.
        error = mp_matrix(displacement, regime)[0] - 2 * (B - flow * B)[0, 0]
        assert abs(error) <= mp.mpf(10) ** -50 * B[0, 0]


def test_covariance_is_the_integral_over_the_noise_that_is_left(heavy_ball):
    values, time = REGIMES["underdamped"], Rational(1, 2)
    with mp.workdps(40):
        A, noise = mp_matrix(heavy_ball.drift, values), mp_matrix(heavy_ball.noise, values)

        @cache
        def left(age):
            flow = mp.expm(-A * age)
            return flow * noise * flow.T

        def entry(i, j):
            return mp.quad(lambda age: left(age)[i, j], [0, mp.mpf(1) / 2])

        integral = mp.matrix([[entry(i, j) for j in range(2)] for i in range(2)])
        found = mp_matrix(heavy_ball.covariance(time), values)
        assert mp.mnorm(found - integral, 1) <= mp.mpf(10) ** -30 * mp.mnorm(integral, 1)


def test_the_textbook_forms_follow_by_expanding(heavy_ball):
    """Section 4: C = e^{−γt}(cos δt + (γ/δ) sin δt), in B(1 − C)·2."""
    gamma, omega2 = (1 - beta) / (eta * (1 + beta)), 2 * h / (eta * (1 + beta))
    delta = sqrt(omega2 - gamma**2)
    values = REGIMES["underdamped"]
    B = heavy_ball.stationary_covariance()[0, 0]
    g, d = (N(x.subs(values), 60) for x in (gamma, delta))
    with mp.workdps(60):
        time = mp.mpf(3) / 10
        g, d = mp.mpf(g), mp.mpf(d)
        C = mp.exp(-g * time) * (mp.cos(d * time) + g / d * mp.sin(d * time))
        expected = 2 * mp.mpf(N(B.subs(values), 60)) * (1 - C)
        form = expand_func(heavy_ball.displacement(t)).subs(values).subs(t, Rational(3, 10))
        assert abs(mp.mpf(N(form, 50)) / expected - 1) < mp.mpf(10) ** -45


# -- Σ and H that do not commute ----------------------------------------------------------------


def test_published_covariance_when_noise_and_hessian_do_not_commute():
    gamma, omega2 = Rational(3, 4), [Rational(1, 2), Rational(7, 3)]
    noise = Matrix([[2, Rational(-4, 5)], [Rational(-4, 5), 1]])
    drift = zeros(4)
    drift[:2, 2:], drift[2:, :2], drift[2:, 2:] = -eye(2), diag(*omega2), 2 * gamma * eye(2)
    # The reference's N_ij is the covariance gained per time, twice the diffusion.
    B = sgd.OrnsteinUhlenbeck(drift, diag(zeros(2), noise / 2)).stationary_covariance()
    for i in range(2):
        for j in range(2):
            total, gap = omega2[i] + omega2[j], omega2[i] - omega2[j]
            positions = 4 * gamma * noise[i, j] / (gap**2 + 8 * gamma**2 * total)
            assert B[i, j] == positions
            assert B[2 + i, 2 + j] == total / 2 * positions
            assert B[i, 2 + j] == gap / (4 * gamma) * positions


# -- several directions at once -----------------------------------------------------------------

TWO = {eta: Rational(1, 10), beta: Rational(3, 5), S: Integer(4), s.nu: Rational(7, 10)} | {
    s.tau: Rational(1, 3)
}
CURVATURES = (Rational(5, 4), Integer(3))
COVARIANCE = Matrix([[2, Rational(-4, 5)], [Rational(-4, 5), 1]])
TURN = Matrix([[3, 4], [-4, 3]]) / 5
LATER = Rational(1, 2)


def several(name, noise=COVARIANCE, curvature=CURVATURES):
    """A phase space of several directions with numbers for all hyperparameters."""
    values = TWO | ({beta: Integer(0)} if name == "plain_sgd" else {})
    langevin = sgd.modified_equation(getattr(sgd, name)())
    mass, friction, intensity = (
        x.subs(values) for x in (langevin.mass, langevin.friction, langevin.noise_intensity)
    )
    kappa = langevin.inverse_temperature.subs(values)
    return sgd.ornstein_uhlenbeck(
        sgd.Langevin(mass, friction, intensity, kappa), noise=noise, curvature=curvature
    )


def floats(matrix):
    return np.array(matrix.evalf(30), dtype=float)


def by_hand(name, H, noise):
    """Drift and noise of several directions, from the scalar equation in H's eigenbasis."""
    scalar = several(name, noise=[1], curvature=[h])
    rho, basis = np.linalg.eigh(np.array(H, dtype=float))
    rows = [np.array(scalar.drift.subs(h, r), dtype=float) for r in rho]
    weights = [np.sqrt(float(scalar.noise[1, 1].subs(h, r))) for r in rho]
    size = len(rho)
    drift, gained = np.zeros((2 * size, 2 * size)), np.zeros((2 * size, 2 * size))
    drift[:size, size:] = -np.eye(size)
    for column, place in ((0, slice(0, size)), (1, slice(size, None))):
        drift[size:, place] = basis @ np.diag([row[1, column] for row in rows]) @ basis.T
    scale = basis @ np.diag(weights) @ basis.T
    gained[size:, size:] = scale @ np.array(noise, dtype=float) @ scale
    return drift, gained


def test_published_covariance_of_sgd_when_noise_and_hessian_do_not_commute():
    """Section 4, N_ij = 4Σ_ij/(ηS(1+β)²), with symbols for everything."""
    h1, h2, s11, s12, s22 = symbols("h1 h2 s11 s12 s22", real=True)
    noise = Matrix([[s11, s12], [s12, s22]])
    langevin = sgd.modified_equation(sgd.heavy_ball())
    B = sgd.ornstein_uhlenbeck(langevin, noise=noise, curvature=[h1, h2]).stationary_covariance()
    gamma = (1 - beta) / (eta * (1 + beta))
    omega2 = [2 * x / (eta * (1 + beta)) for x in (h1, h2)]
    for i in range(2):
        for j in range(2):
            total, gap = omega2[i] + omega2[j], omega2[i] - omega2[j]
            gained = 4 * noise[i, j] / (eta * S * (1 + beta) ** 2)
            positions = 4 * gamma * gained / (gap**2 + 8 * gamma**2 * total)
            assert simplify(B[i, j] - positions) == 0
            assert simplify(B[2 + i, 2 + j] - total / 2 * positions) == 0
            assert simplify(B[i, 2 + j] - gap / (4 * gamma) * positions) == 0


@pytest.mark.parametrize("turned", [False, True])
def test_several_directions_have_the_scalar_equation_in_the_eigenbasis(name, turned):
    rotation = TURN if turned else eye(2)
    H = rotation * diag(*CURVATURES) * rotation.T
    process = several(name, curvature=H)
    drift, gained = by_hand(name, H, COVARIANCE)
    assert np.allclose(floats(process.drift), drift, rtol=1e-13, atol=1e-13)
    assert np.allclose(floats(process.noise), gained, rtol=1e-13, atol=1e-13)
    B = solve_continuous_lyapunov(drift, gained)
    assert np.allclose(floats(process.stationary_covariance()), B, rtol=1e-11, atol=1e-13)


def test_coordinates_of_several_directions():
    process = several("heavy_ball")
    assert [str(x) for x in process.coordinates] == ["theta_1", "theta_2", "v_1", "v_2"]
    assert process.velocities == (2, 3)
    assert process_of("heavy_ball").velocities == (1,)


def test_a_rotation_of_both_matrices_rotates_the_covariance():
    turn = diag(TURN, TURN)
    straight = several("nesterov").stationary_covariance()
    rotated = several(
        "nesterov",
        noise=TURN * COVARIANCE * TURN.T,
        curvature=TURN * diag(*CURVATURES) * TURN.T,
    ).stationary_covariance()
    assert rotated == turn * straight * turn.T


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("time", TIMES[1:], ids=str)
def test_transients_of_several_directions_at_thirty_digits(time, turned):
    """Block by block, or as numbers where the curvature is not diagonal."""
    rotation = TURN if turned else eye(2)
    process = several("heavy_ball", curvature=rotation * diag(*CURVATURES) * rotation.T)
    start = dict(zip(process.start, (1, Rational(2, 3), 0, -2), strict=True))
    with mp.workdps(160):
        A, noise = mp_matrix(process.drift, {}), mp_matrix(process.noise, {})
        block = mp.zeros(8)
        block[:4, :4], block[:4, 4:], block[4:, 4:] = -A, noise, A.T
        whole = mp.expm(block * mp.mpf(time.p) / time.q)
        flow = whole[:4, :4]
        gained = whole[:4, 4:] * flow.T
        B = mp_matrix(process.stationary_covariance(), {})
        lost = B - flow * B
        displacement = Matrix([[process.displacement(time)]])
        for found, expected, values in (
            (process.propagator(time), flow, {}),
            (process.covariance(time), gained, {}),
            (process.autocovariance(time), flow * B, {}),
            (process.mean(time), flow * mp_matrix(Matrix(process.start), start), start),
            (displacement, mp.matrix([2 * (lost[0, 0] + lost[1, 1])]), {}),
        ):
            # B − F B keeps 30 − 12 digits after a millionth of a unit of time.
            digits = 15 if found is displacement else 28
            value = mp.matrix(found.subs(values).evalf(35).tolist())
            assert mp.mnorm(value - expected, 1) <= mp.mpf(10) ** -digits * mp.mnorm(expected, 1)


def test_symbolic_time_of_several_directions():
    process = several("heavy_ball")
    shown = process.covariance(t).subs(t, LATER)
    assert np.allclose(floats(shown), floats(process.covariance(LATER)), rtol=1e-14)


def test_flat_directions_diffuse_together():
    """The balance of two flat directions has no unique solution; numbers in time need none."""
    process = several("heavy_ball", curvature=[0, 0])
    mass, friction = Rational(2, 25), Rational(2, 5)
    # A free particle: Var θ = (I/Γ²) (t − 2τ(1 − e^{−t/τ}) + τ(1 − e^{−2t/τ})/2), τ = m/Γ.
    tau, intensity = mass / friction, Rational(1, 40)
    spread = LATER - 2 * tau * (1 - exp(-LATER / tau)) + tau * (1 - exp(-2 * LATER / tau)) / 2
    expected = float(intensity / friction**2 * spread)
    found = floats(process.covariance(LATER))
    assert np.allclose(found[:2, :2], expected * np.array(COVARIANCE, dtype=float), rtol=1e-12)
    with pytest.raises(sgd.UnstableError):
        process.stationary_covariance()


def test_a_saddle_has_transients_and_no_stationary_state():
    process = several("heavy_ball", curvature=[-1, 2])
    drift, gained = floats(process.drift), floats(process.noise)
    steps = np.linspace(0, 0.5, 201)
    flows = np.array([expm(-drift * x) for x in steps])
    integrand = flows @ gained @ np.swapaxes(flows, 1, 2)
    weights = np.where(np.arange(201) % 2, 4, 2) * 1.0
    weights[[0, -1]] = 1
    simpson = np.tensordot(weights, integrand, 1) * steps[1] / 3
    assert np.allclose(floats(process.covariance(LATER)), simpson, rtol=1e-7, atol=1e-9)
    with pytest.raises(sgd.UnstableError):
        process.stationary_covariance()


@given(st.data())
def test_random_landscapes_against_scipy(data):
    """The condition of SciPy's equations is below 1e4 for these integers."""
    size = data.draw(st.integers(1, 3))
    entries = st.lists(st.integers(-2, 2), min_size=size**2, max_size=size**2)
    root, spread = (Matrix(size, size, data.draw(entries)) for _ in range(2))
    H, noise = root * root.T + eye(size), spread * spread.T
    process = several("heavy_ball", noise=noise, curvature=H)
    drift, gained = by_hand("heavy_ball", H, noise)
    B = solve_continuous_lyapunov(drift, gained)
    found = floats(process.stationary_covariance())
    assert np.abs(found - B).max() <= 1e-10 * np.abs(B).max() + 1e-15


def test_a_mass_that_contains_the_curvature_is_a_function_of_the_matrix():
    H = TURN * diag(*CURVATURES) * TURN.T
    langevin = sgd.Langevin(1 / (1 + h), 2 + h, Sigma)
    process = sgd.ornstein_uhlenbeck(langevin, noise=COVARIANCE, curvature=H)
    lightness = eye(2) + H
    assert process.drift[2:, :2] == lightness * H
    assert process.drift[2:, 2:] == (lightness * (2 * eye(2) + H)).applyfunc(simplify)
    assert process.noise[2:, 2:] == (lightness * COVARIANCE * lightness).applyfunc(simplify)


@pytest.mark.parametrize(
    ("noise", "curvature", "match"),
    [
        ([[1, 2], [2, 1]], [1, 1], r"noise = .*negative"),
        ([[1, 2], [0, 4]], [1, 1], r"noise = .*symmetric"),
        ([[-1, 0], [0, 1]], [1, 1], r"noise = .*negative"),
        ([1, 1], [[1, 2], [0, 1]], r"curvature = .*symmetric"),
        ([1, 1], [1, 2, 3], r"curvature has shape .* and noise"),
        ([[1, 2]], [1, 2], r"noise has shape"),
        ([1, 1], None, r"several directions need both"),
        (None, [1, 1], r"several directions need both"),
        (1, [1, 1], r"several directions need both"),
    ],
)
def test_directions_that_do_not_fit_are_refused(noise, curvature, match):
    with pytest.raises(ValueError, match=match):
        several("heavy_ball", noise=noise, curvature=curvature)


def test_an_intensity_without_the_noise_matrix_is_refused():
    with pytest.raises(ValueError, match="Sigma"):
        sgd.ornstein_uhlenbeck(sgd.Langevin(1, 1, 4), noise=[1, 1], curvature=[1, 2])


def test_an_intensity_with_the_curvature_needs_noise_that_commutes():
    langevin = sgd.Langevin(1, 1, Sigma * (1 + h))
    process = sgd.ornstein_uhlenbeck(langevin, noise=[1, 5], curvature=[1, 2])
    assert process.noise[2:, 2:] == diag(2, 15)
    with pytest.raises(ValueError, match="commutes"):
        sgd.ornstein_uhlenbeck(langevin, noise=COVARIANCE, curvature=[1, 2])


def test_a_mass_that_vanishes_at_a_curvature_is_refused():
    with pytest.raises(ValueError, match=r"langevin\.mass"):
        sgd.ornstein_uhlenbeck(sgd.Langevin(1 - h, 1, Sigma), noise=[1, 1], curvature=[1, 2])


def test_symbols_in_a_coupled_drift_are_refused_in_time():
    process = several("heavy_ball", curvature=[[2, 1], [1, 2]])
    with pytest.raises(ValueError, match=r"time = t.*eigenvectors"):
        process.propagator(t)


def test_a_diffusion_with_a_negative_eigenvalue_is_refused():
    with pytest.raises(ValueError, match=r"diffusion = .*eigenvalue -1"):
        sgd.OrnsteinUhlenbeck(eye(2), Matrix([[1, 2], [2, 1]]))


def test_a_diffusion_of_one_direction_in_floats_is_a_covariance():
    direction = np.array([0.1, 0.2, 0.7])
    sgd.OrnsteinUhlenbeck(eye(3), Matrix(np.outer(direction, direction)))


# -- matrices of rational functions -------------------------------------------------------------


def test_inverse_and_determinant_of_a_matrix_of_rational_functions():
    a, b = s.coordinates(2)
    matrix = Matrix([[a, 1 / b, 0], [1, a + b, 2], [a * b, 0, 1 / (a + 1)]])
    assert (inverse(matrix) * matrix).applyfunc(simplify) == eye(3)
    assert simplify(determinant(matrix) - matrix.det()) == 0


def test_a_matrix_of_determinant_zero_has_no_inverse():
    with pytest.raises(ValueError, match=r"determinant|invertible"):
        inverse(Matrix([[1, 2, 0], [2, 4, 0], [0, 0, 1]]))


def test_a_function_of_a_matrix_has_the_function_of_its_eigenvalues():
    function = (h**2 - 3) / (1 + h)
    found = function_of(function, h, TURN * diag(2, 5) * TURN.T)
    assert found == TURN * diag(Rational(1, 3), Rational(22, 6)) * TURN.T
    with pytest.raises(ValueError, match="rational"):
        function_of(sqrt(h), h, TURN * diag(2, 5) * TURN.T)


# -- processes without an SGD behind them -------------------------------------------------------


@pytest.fixture
def textbook():
    A = Matrix([[Rational(5, 2), Rational(-3, 2)], [Rational(-3, 2), Rational(5, 2)]])
    return sgd.OrnsteinUhlenbeck(A, diag(4, 1))


def test_textbook_process_against_scipy(textbook):
    A, noise = np.array([[2.5, -1.5], [-1.5, 2.5]]), np.diag([8.0, 2.0])
    B = solve_continuous_lyapunov(A, noise)
    found = np.array(textbook.stationary_covariance(), dtype=float)
    assert np.allclose(found, B, rtol=1e-14)
    flow = expm(-0.7 * A)
    time = Rational(7, 10)
    gained = np.array(textbook.covariance(time).evalf(), dtype=float)
    assert np.allclose(gained, B - flow @ B @ flow.T, rtol=1e-13)
    correlation = np.array(textbook.autocovariance(time).evalf(), dtype=float)
    assert np.allclose(correlation, flow @ B, rtol=1e-13)


def test_one_coordinate():
    process = sgd.OrnsteinUhlenbeck(Matrix([[2]]), Matrix([[3]]))
    assert process.stationary_covariance() == Matrix([[Rational(3, 2)]])
    assert simplify(process.covariance(t)[0] - Rational(3, 2) * (1 - exp(-4 * t))) == 0
    assert simplify(process.displacement(t) - 3 * (1 - exp(-2 * t))) == 0
    (start,) = process.start
    assert simplify(process.mean(t)[0] - start * exp(-2 * t)) == 0


def test_three_coordinates_against_scipy():
    A = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]])
    D = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.0], [0.0, 0.0, 3.0]])
    exact = (Matrix(x.tolist()).applyfunc(nsimplify) for x in (A, D))
    process = sgd.OrnsteinUhlenbeck(*exact)
    B, flow = solve_continuous_lyapunov(A, 2 * D), expm(-0.5 * A)
    half = Rational(1, 2)
    for found, expected in (
        (process.stationary_covariance(), B),
        (process.propagator(half), flow),
        (process.covariance(half), B - flow @ B @ flow.T),
        (process.autocovariance(half), flow @ B),
    ):
        value = np.array(found.evalf(), dtype=float)
        assert np.allclose(value, expected, rtol=1e-13, atol=1e-15)


def test_rational_rates_have_closed_forms_in_time():
    A = Matrix([[2, 1, 0], [0, 3, 1], [0, 0, 1]])
    process = sgd.OrnsteinUhlenbeck(A, diag(1, 2, 3))
    for method in (process.propagator, process.covariance, process.autocovariance):
        shown, value = method(t), method(LATER)
        assert shown.has(exp)
        assert np.allclose(floats(shown.subs(t, LATER)), floats(value), rtol=1e-13, atol=1e-16)


def test_coordinates_and_start_have_names_of_their_own(textbook):
    assert len(set(textbook.coordinates) | set(textbook.start)) == 4
    assert textbook.mean(0) == Matrix(textbook.start)


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drift", "diffusion"),
    [
        (Matrix([[1, 2]]), Matrix([[1]])),
        (eye(2), Matrix([[1]])),
        (eye(2), eye(3)),
        (zeros(0, 0), zeros(0, 0)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(drift, diffusion):
    with pytest.raises(ValueError, match=r"drift has shape .* and diffusion"):
        sgd.OrnsteinUhlenbeck(drift, diffusion)


def test_an_asymmetric_diffusion_is_refused():
    with pytest.raises(ValueError, match=r"diffusion = .*symmetric"):
        sgd.OrnsteinUhlenbeck(eye(2), Matrix([[1, 2], [3, 1]]))


def test_a_free_walk_has_no_stationary_state():
    with pytest.raises(sgd.UnstableError):
        sgd.OrnsteinUhlenbeck(Matrix([[0]]), Matrix([[1]])).stationary_covariance()


def test_growth_has_no_stationary_state():
    """A B + B Aᵀ = 2D has a solution beyond stability too, but no covariance."""
    with pytest.raises(sgd.UnstableError):
        sgd.OrnsteinUhlenbeck(Matrix([[-2]]), Matrix([[3]])).stationary_covariance()


def test_a_particle_without_mass_has_no_velocity():
    with pytest.raises(ValueError, match=r"langevin\.mass"):
        sgd.ornstein_uhlenbeck(sgd.Langevin(0, 1, 1))


@pytest.mark.parametrize(("rate", "expected"), [(0, 2 * s.t), (-1, exp(2 * s.t) - 1)])
def test_covariance_from_a_fixed_start_needs_no_stationary_state(rate, expected):
    """Free diffusion spreads as 2t, and growth at rate 1 as e^{2t} − 1."""
    found = sgd.OrnsteinUhlenbeck(Matrix([[rate]]), Matrix([[1]])).covariance(s.t)[0, 0]
    assert simplify(found - expected) == 0


def test_a_negative_diffusion_is_refused():
    with pytest.raises(ValueError, match="diffusion"):
        sgd.OrnsteinUhlenbeck(Matrix([[1]]), Matrix([[-1]]))


# -- what is refused, whoever asks ---------------------------------------------------------------

CODE = "__import__('os').system('false')"


@pytest.mark.parametrize(
    "give",
    [
        lambda text: sgd.OrnsteinUhlenbeck([[text, 0], [0, 1]], eye(2)),
        lambda text: sgd.OrnsteinUhlenbeck(eye(2), [[text, 0], [0, 1]]),
        lambda text: sgd.ornstein_uhlenbeck(
            sgd.modified_equation(sgd.heavy_ball()), noise=[text, 1], curvature=[1, 2]
        ),
        lambda text: sgd.ornstein_uhlenbeck(sgd.modified_equation(sgd.heavy_ball()), noise=text),
        lambda text: sgd.recursion(sgd.heavy_ball(), curvature=text),
    ],
)
def test_text_is_never_read_as_code(give, monkeypatch):
    monkeypatch.setattr("os.system", lambda _: pytest.fail("text was run"))
    with pytest.raises(ValueError, match="text is not read as code"):
        give(CODE)


def test_a_direction_that_curves_downwards_among_others_has_no_stationary_state():
    langevin = sgd.modified_equation(sgd.heavy_ball())
    for noise in ([1, 1], [[2, 1], [1, 2]]):
        process = sgd.ornstein_uhlenbeck(langevin, noise=noise, curvature=[1, -2])
        with pytest.raises(sgd.UnstableError, match="curvature = -2"):
            process.stationary_covariance()
        with pytest.raises(sgd.UnstableError):
            sgd.fokker_planck(process)


@pytest.mark.parametrize("time", [float("nan"), -1, float("inf")])
def test_a_time_that_is_none_is_refused(time):
    process = sgd.OrnsteinUhlenbeck(Matrix([[5, -3], [-3, 5]]) / 2, diag(4, 1))
    for ask in (process.mean, process.covariance, sgd.fokker_planck(process).density_at):
        with pytest.raises(ValueError, match="time = "):
            ask(time)


@pytest.mark.parametrize("noise", [-1, float("nan")])
def test_a_noise_that_is_no_variance_is_refused(noise):
    with pytest.raises(ValueError, match="noise = "):
        sgd.recursion(sgd.heavy_ball(), noise=noise)
