"""The Fokker-Planck equation: modified loss, currents, densities, entropy production."""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov
from sympy import (
    Integer,
    Matrix,
    N,
    Rational,
    diag,
    exp,
    eye,
    lambdify,
    oo,
    simplify,
    zeros,
)

import sgdtheory as sgd
from sgdtheory.special_functions import ModeFunction

s = sgd.symbols
eta, beta, h, S, Sigma, t = s.eta, s.beta, s.h, s.S, s.Sigma, s.t

ONE_MODE = {
    eta: Rational(1, 10),
    beta: Rational(3, 5),
    h: Rational(5, 4),
    Sigma: Rational(7, 2),
    S: Integer(4),
    s.theta_0: Rational(2, 3),
    s.v_0: Rational(-5, 7),
}


@cache
def mode(name="heavy_ball"):
    langevin = sgd.modified_equation(getattr(sgd, name)())
    return sgd.fokker_planck(sgd.ornstein_uhlenbeck(langevin, noise=Sigma, curvature=h))


@cache
def numeric_mode():
    """The same mode with numbers for everything but the coordinates and the time."""
    process = mode().process
    drift, diffusion = (x.subs(ONE_MODE) for x in (process.drift, process.diffusion))
    return sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diffusion))


@cache
def textbook():
    drift = Matrix([[Rational(5, 2), Rational(-3, 2)], [Rational(-3, 2), Rational(5, 2)]])
    return sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diag(4, 1)))


@cache
def three_coordinates():
    drift = Matrix([[2, 1, 0], [0, 3, 1], [0, 0, 1]])
    return sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diag(1, 2, 3)))


EXAMPLES = pytest.mark.parametrize(
    "flow", [numeric_mode(), textbook(), three_coordinates()], ids=["mode", "textbook", "three"]
)


# -- published (section 5 of the reference) -----------------------------------------------------


def test_modified_loss_of_heavy_ball():
    flow = mode()
    theta, v = flow.coordinates
    expected = h * theta**2 / (eta * (1 + beta) * Sigma) + v**2 / (2 * Sigma)
    assert simplify(flow.modified_loss - expected) == 0


def test_circulation_of_heavy_ball():
    assert mode().circulation == Matrix([[0, -Sigma], [Sigma, 0]])


def test_noise_proportional_to_the_hessian_makes_the_modified_loss_isotropic():
    process = sgd.ornstein_uhlenbeck(sgd.modified_equation(sgd.heavy_ball()))
    loss = sgd.fokker_planck(process).modified_loss.subs(s.lamda, 0)
    stiffness = loss.diff(s.theta, 2)
    assert simplify(stiffness.diff(s.rho)) == 0
    assert simplify((loss.diff(s.v, 2) * s.rho).diff(s.rho)) == 0


def test_only_the_product_with_the_inverse_temperature_is_invariant():
    process = mode().process
    hotter = sgd.OrnsteinUhlenbeck(
        process.drift,
        process.diffusion,
        process.inverse_temperature * 3,
        coordinates=process.coordinates,
    )
    once, thrice = mode().modified_loss, sgd.fokker_planck(hotter).modified_loss
    assert simplify(once - 3 * thrice) == 0


# -- A = (D + Q) U ------------------------------------------------------------------------------


def splits(flow):
    process = flow.process
    D = process.diffusion * process.inverse_temperature
    return (process.drift - (D + flow.circulation) * flow.precision).applyfunc(simplify)


def test_the_drift_splits_for_every_rule(name):
    assert splits(mode(name)) == zeros(2)


@EXAMPLES
def test_the_drift_splits(flow):
    assert splits(flow) == zeros(flow.process.dimension)


@EXAMPLES
def test_circulation_is_antisymmetric(flow):
    assert flow.circulation + flow.circulation.T == zeros(flow.process.dimension)


@EXAMPLES
def test_precision_inverts_the_stationary_covariance(flow):
    covariance = flow.process.stationary_covariance() * flow.process.inverse_temperature
    assert flow.precision * covariance == eye(flow.process.dimension)


# -- the stationary state -----------------------------------------------------------------------


@EXAMPLES
def test_the_stationary_current_has_no_divergence(flow):
    assert flow.divergence == 0


def test_the_stationary_current_has_no_divergence_with_symbols(name):
    assert simplify(mode(name).divergence) == 0


@EXAMPLES
def test_the_density_is_exponential_in_the_modified_loss(flow):
    kappa = flow.process.inverse_temperature
    assert simplify((flow.density * exp(kappa * flow.modified_loss)).diff(flow.coordinates[0])) == 0


def current_of(density, process):
    """J = −A x p − (D/κ) ∇p, by differentiation."""
    x = Matrix(process.coordinates)
    slope = Matrix([density.diff(c) for c in process.coordinates])
    return -process.drift * x * density - process.diffusion * slope


@EXAMPLES
def test_the_stationary_current_is_that_of_the_fokker_planck_equation(flow):
    ratio = (flow.current - current_of(flow.density, flow.process)) / flow.density
    assert ratio.applyfunc(simplify) == zeros(flow.process.dimension, 1)


@EXAMPLES
def test_the_stationary_density_solves_the_fokker_planck_equation(flow):
    current = current_of(flow.density, flow.process)
    total = sum(j.diff(x) for j, x in zip(current, flow.coordinates, strict=True))
    assert simplify(total / flow.density) == 0


@pytest.mark.parametrize("flow", [numeric_mode(), textbook()], ids=["mode", "textbook"])
def test_the_density_integrates_to_one(flow):
    """The trapezoidal rule on a Gaussian errs by e^{−2π²(σ/step)²} < 1e-16 at four steps a σ."""
    assert abs(integral(flow, flow.density) - 1) < 1e-12


def test_the_transient_density_integrates_to_one():
    flow = numeric_mode()
    start = dict(zip(flow.process.start, (1, 2), strict=True))
    density, centre, spread = (
        evaluated(result(Rational(1, 5)).subs(start))
        for result in (flow.density_at, flow.process.mean, flow.process.covariance)
    )
    assert abs(integral(flow, density, centre, spread) - 1) < 1e-12


def integral(flow, density, centre=(0, 0), covariance=None):
    """Over a grid along the covariance's own axes, out to ten standard deviations."""
    B = flow.process.stationary_covariance() if covariance is None else covariance
    root = np.linalg.cholesky(np.array(B, dtype=float))
    axis = np.linspace(-10, 10, 81)
    u = np.stack(np.meshgrid(axis, axis), axis=-1) @ root.T + np.array(centre, dtype=float).ravel()
    values = lambdify(flow.coordinates, density, "numpy")(u[..., 0], u[..., 1])
    return values.sum() * (axis[1] - axis[0]) ** 2 * np.linalg.det(root)


# -- before the stationary state ----------------------------------------------------------------

WHEN = Rational(3, 10)
POINTS = [(Rational(1, 5), Rational(-3, 2)), (Rational(2, 5), Rational(-1, 3))]
START = (Rational(2, 3), Rational(-5, 7))


def evaluated(expression):
    """With 80 digits in the place of every function of a mode."""
    return expression.xreplace({f: N(f, 80) for f in expression.atoms(ModeFunction)})


def number(expression, flow, point, start=START):
    """40 digits at a point, for a start, at the time WHEN."""
    inserted = dict(zip((*flow.process.start, *flow.coordinates), (*start, *point), strict=True))
    return N(evaluated(expression.xreplace({t: WHEN})).xreplace(inserted), 40)


@pytest.mark.parametrize("point", POINTS)
def test_the_transient_density_is_the_gaussian_of_the_moments(point):
    flow = numeric_mode()
    A = np.array(flow.process.drift, dtype=float)
    B = solve_continuous_lyapunov(A, 2 * np.array(flow.process.diffusion, dtype=float))
    step = expm(-float(WHEN) * A)
    offset = np.array(point, dtype=float) - step @ np.array(START, dtype=float)
    covariance = B - step @ B @ step.T
    expected = np.exp(-offset @ np.linalg.solve(covariance, offset) / 2) / (
        2 * np.pi * np.sqrt(np.linalg.det(covariance))
    )
    found = float(number(flow.density_at(WHEN), flow, point))
    assert np.isclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("point", POINTS)
def test_probability_is_conserved_before_stationarity(point):
    """∂p/∂t = −∇·J, both by differentiating and evaluated to 30 digits."""
    flow = numeric_mode()
    rate = number(flow.density_at(t).diff(t), flow, point)
    current = zip(flow.current_at(t), flow.coordinates, strict=True)
    outflow = sum(number(j.diff(x), flow, point) for j, x in current)
    assert abs(rate) > 1e-3
    assert abs(rate + outflow) < abs(rate) * Rational(1, 10**30)


@pytest.mark.parametrize("point", POINTS)
def test_the_transient_current_is_that_of_the_fokker_planck_equation(point):
    flow = numeric_mode()
    expected = current_of(flow.density_at(WHEN), flow.process)
    for found, by_hand in zip(flow.current_at(WHEN), expected, strict=True):
        value = number(by_hand, flow, point)
        assert abs(number(found, flow, point) - value) <= abs(value) * Rational(1, 10**30)


def test_the_transient_density_tends_to_the_stationary_one():
    flow = textbook()
    late, ever = (
        number(density, flow, (Rational(1, 2), Rational(1, 3)), start=(3, -2))
        for density in (flow.density_at(30), flow.density)
    )
    # The slowest rate is 1, and e⁻³⁰ = 1e-13 of a start some standard deviations away is left.
    assert abs(late / ever - 1) < 1e-12


# -- entropy production -------------------------------------------------------------------------


def path_asymmetry(drift, diffusion, parity):
    """Relative entropy per time between pairs (x_0, x_t) and their reversal, as t → 0.

    The definition of entropy production (Spinney and Ford), with no formula for its value. The
    reversed pair has the density p(x_t) K(εx_t → εx_0), with K the forward transition and ε the
    parity. Both are Gaussian; after so short a time they are singular to 80 digits, of 200.
    """
    size = len(drift)
    with mp.workdps(200):
        A, D, P = mp.matrix(drift), mp.matrix(diffusion), mp.diag(parity)
        B = lyapunov(A, 2 * D)
        time = mp.mpf(10) ** -20
        step = mp.expm(-A * time)
        back = P * step * P
        forwards, backwards = mp.zeros(2 * size), mp.zeros(2 * size)
        forwards[:size, :size] = forwards[size:, size:] = backwards[size:, size:] = B
        forwards[size:, :size], forwards[:size, size:] = step * B, B * step.T
        backwards[:size, size:], backwards[size:, :size] = back * B, B * back.T
        backwards[:size, :size] = back * B * back.T + P * (B - step * B * step.T) * P
        ratio = mp.inverse(backwards) * forwards
        trace = sum(ratio[i, i] for i in range(2 * size))
        return (trace - 2 * size - mp.log(mp.det(forwards) / mp.det(backwards))) / 2 / time


def lyapunov(A, noise):
    size = A.rows
    system, right = mp.zeros(size * size), mp.zeros(size * size, 1)
    for i in range(size):
        for j in range(size):
            right[i * size + j] = noise[i, j]
            for m in range(size):
                system[i * size + j, m * size + j] += A[i, m]
                system[i * size + j, i * size + m] += A[j, m]
    flat = mp.lu_solve(system, right)
    return mp.matrix([[flat[i * size + j] for j in range(size)] for i in range(size)])


def test_one_mode_is_reversible_when_velocities_are_odd(name):
    assert mode(name).entropy_production(odd=(1,)) == 0


def test_one_mode_is_infinitely_irreversible_when_velocities_are_even(name):
    assert mode(name).entropy_production() is oo


def test_entropy_production_of_the_textbook_process():
    drift, diffusion = [[2.5, -1.5], [-1.5, 2.5]], [[4, 0], [0, 1]]
    expected = path_asymmetry(drift, diffusion, [1, 1])
    assert expected > 0.1
    # The difference quotient in time is off by O(t) = 1e-20.
    assert abs(textbook().entropy_production() / expected - 1) < 1e-15


def test_an_isotropic_diffusion_keeps_detailed_balance():
    drift = Matrix([[Rational(5, 2), Rational(-3, 2)], [Rational(-3, 2), Rational(5, 2)]])
    flow = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, eye(2)))
    assert flow.circulation == zeros(2)
    assert flow.entropy_production() == 0


def two_modes(noise):
    """Positions and velocities of two directions with γ = ¾ and ω² = ½, 7/3."""
    drift = zeros(4)
    drift[:2, 2:], drift[2:, :2] = -eye(2), diag(Rational(1, 2), Rational(7, 3))
    drift[2:, 2:] = Rational(3, 2) * eye(2)
    return drift, diag(zeros(2), noise / 2)


def test_noise_that_does_not_commute_with_the_hessian_produces_entropy():
    drift, diffusion = two_modes(Matrix([[2, Rational(-4, 5)], [Rational(-4, 5), 1]]))
    found = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diffusion)).entropy_production((2, 3))
    expected = path_asymmetry(drift.tolist(), diffusion.tolist(), [1, 1, -1, -1])
    assert expected > 1e-3
    assert abs(found / expected - 1) < 1e-15


def test_noise_that_commutes_with_the_hessian_produces_none():
    drift, diffusion = two_modes(diag(2, 1))
    flow = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diffusion))
    assert flow.entropy_production(odd=(2, 3)) == 0


@pytest.mark.parametrize("odd", [(2,), (-1,), (0, 5)])
def test_an_odd_coordinate_that_does_not_exist_is_refused(odd):
    with pytest.raises(ValueError, match=r"odd = .*0 to 1"):
        textbook().entropy_production(odd=odd)


# -- what is refused ----------------------------------------------------------------------------


def test_a_direction_without_noise_has_no_density():
    with pytest.raises(sgd.UnstableError, match="diffusion"):
        sgd.fokker_planck(sgd.OrnsteinUhlenbeck(eye(2), diag(1, 0)))


def test_a_growing_process_has_no_density():
    with pytest.raises(sgd.UnstableError):
        sgd.fokker_planck(sgd.OrnsteinUhlenbeck(diag(1, -2), eye(2)))


# -- decisions that rounding must not take ------------------------------------------------------


def test_entropy_production_of_floats_is_that_of_the_same_fractions():
    """Against −tr A + tr(AᵀD⁻¹AB) with SciPy's covariance; D is regular and all is even."""
    A, D = np.array([[2.0, 0.5], [-0.3, 1.0]]), np.array([[1.1, 0.3], [0.3, 0.7]])
    B = solve_continuous_lyapunov(A, 2 * D)
    expected = -np.trace(A) + np.trace(A.T @ np.linalg.inv(D) @ A @ B)
    found = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(Matrix(A), Matrix(D))).entropy_production()
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_noise_shared_between_parities_cannot_be_reversed():
    half = Rational(1, 2)
    process = sgd.OrnsteinUhlenbeck(Matrix([[1, 0], [0, 1]]), Matrix([[1, half], [half, 1]]))
    assert sgd.fokker_planck(process).entropy_production(odd=(1,)) == oo


def test_three_coupled_coordinates_have_a_flow():
    A = np.array([[2, 1, 0], [0, 3, 1], [-1, 0, 4]])
    D = np.array([[2, 1, 0], [1, 2, 0], [0, 0, 1]])
    B = solve_continuous_lyapunov(A, 2 * D)
    expected = -np.trace(A) + np.trace(A.T @ np.linalg.inv(D) @ A @ B)
    found = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(Matrix(A), Matrix(D))).entropy_production()
    assert float(found) == pytest.approx(expected, rel=1e-12)
