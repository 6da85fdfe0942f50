"""The Fokker-Planck equation: modified loss, currents, densities, entropy production."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import quad
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
    sqrt,
    symbols,
    zeros,
)

import sgdtheory as sgd
from sgdtheory.entropy_production import entropy_production_rate
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


def test_the_divergence_is_that_of_the_current_even_where_it_is_not_zero():
    flow = textbook()
    wrong = replace(flow, circulation=Matrix([[1, 2], [Rational(1, 2), 3]]))
    current = zip(wrong.current, wrong.coordinates, strict=True)
    by_hand = sum(j.diff(x) for j, x in current)
    assert wrong.divergence != 0
    assert simplify((wrong.divergence - by_hand) / wrong.density) == 0


def test_the_current_of_two_directions_has_no_divergence_with_symbols():
    process, _ = two_directions("heavy_ball")
    assert sgd.fokker_planck(process).divergence == 0


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


# -- cycles -------------------------------------------------------------------------------------


def numbers(values):
    return np.array([float(x) for x in values])


def rotation_of(flow):
    """Imaginary parts of NumPy's eigenvalues of Q U, one of each pair."""
    A, D = (
        np.array(x, dtype=float)
        for x in (flow.process.drift, flow.process.diffusion * flow.process.inverse_temperature)
    )
    B = solve_continuous_lyapunov(A, 2 * D)
    values = np.linalg.eigvals((A @ B - D) @ np.linalg.inv(B))
    return np.sort(np.abs(values.imag))[len(A) % 2 :: 2], np.abs(values.real).max()


def test_one_mode_cycles_at_its_undamped_frequency(name):
    """ω² = h/m for every rule; for heavy ball 2h/(η(1+β))."""
    (frequency,) = mode(name).cycle_frequencies
    mass = sgd.modified_equation(getattr(sgd, name)()).mass
    assert simplify(frequency**2 - h / mass) == 0
    if name == "heavy_ball":
        assert simplify(frequency**2 - 2 * h / (eta * (1 + beta))) == 0


@EXAMPLES
def test_cycle_frequencies_are_the_eigenvalues_of_the_mean_flow(flow):
    expected, growth = rotation_of(flow)
    assert growth < 1e-12
    assert np.allclose(numbers(flow.cycle_frequencies), expected, rtol=1e-12)


def test_directions_that_do_not_share_noise_cycle_by_themselves():
    h1, h2, h3 = symbols("h1 h2 h3", real=True)
    langevin = sgd.modified_equation(sgd.heavy_ball())
    process = sgd.ornstein_uhlenbeck(langevin, noise=[1, 2, 3], curvature=[h1, h2, h3])
    found = {simplify(w**2) for w in sgd.fokker_planck(process).cycle_frequencies}
    assert found == {2 * x / (eta * (beta + 1)) for x in (h1, h2, h3)}


def test_equal_directions_have_one_frequency_each():
    process = sgd.ornstein_uhlenbeck(sgd.Langevin(1, 1, Sigma), noise=[1, 2], curvature=[4, 4])
    assert sgd.fokker_planck(process).cycle_frequencies == (2, 2)


def ring(size, one_way=1):
    """A ring of coordinates with an irreducible drift, each with a temperature of its own."""
    drift = 3 * eye(size)
    for i in range(size):
        drift[i, (i + 1) % size] = -one_way
    return sgd.OrnsteinUhlenbeck(drift, diag(*range(1, size + 1)))


@pytest.mark.parametrize("size", [5, 6, 7])
def test_cycle_frequencies_of_many_coordinates(size):
    flow = sgd.fokker_planck(ring(size))
    expected, _ = rotation_of(flow)
    assert len(flow.cycle_frequencies) == size // 2
    assert np.allclose(numbers(flow.cycle_frequencies), expected, rtol=1e-11)


def test_cycle_frequencies_of_floats_and_of_roots():
    expected = numbers(sgd.fokker_planck(ring(4, Rational(3, 4))).cycle_frequencies)
    process = ring(4, Rational(3, 4))
    floats = sgd.OrnsteinUhlenbeck(process.drift.evalf(), process.diffusion.evalf())
    assert np.allclose(numbers(sgd.fokker_planck(floats).cycle_frequencies), expected, rtol=1e-14)
    irrational = sgd.fokker_planck(ring(3, sqrt(2)))
    assert np.allclose(
        numbers(irrational.cycle_frequencies), rotation_of(irrational)[0], rtol=1e-12
    )


def test_detailed_balance_has_no_cycles():
    flow = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(Matrix([[3, 1], [1, 2]]), eye(2)))
    assert flow.cycle_frequencies == (0,)
    assert flow.flux() == 0


def test_frequencies_without_a_closed_form_are_refused():
    a, b = s.coordinates(2)
    drift = Matrix(ring(6).drift)
    drift[0, 1], drift[3, 4] = a, b
    process = sgd.OrnsteinUhlenbeck(eye(6), diag(1, 2, 3, 4, 5, 6))
    flow = sgd.ProbabilityFlow(process, eye(6), drift - drift.T, sgd.Derivation())
    with pytest.raises(ValueError, match="degree 3"):
        _ = flow.cycle_frequencies


# -- flux through a half-line -------------------------------------------------------------------


def crossed(flow, start, angle):
    """The current through the half-line, by SciPy's quadrature of its normal component."""
    current = lambdify(flow.coordinates, flow.current, "numpy")
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])

    def normal(length):
        return float(across @ current(*(np.array(start) + length * along))[:, 0])

    total, _ = quad(normal, 0, 40, epsabs=1e-14, epsrel=1e-12, points=[1, 5])
    return total


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.5, -1.9])
@pytest.mark.parametrize("start", [(0, 0), (Rational(1, 2), -1), (-1, Rational(1, 3))])
def test_the_flux_crosses_every_half_line(angle, start):
    flow = textbook()
    expected = crossed(flow, [float(x) for x in start], angle)
    assert float(flow.flux(start=start)) == pytest.approx(expected, rel=1e-9)


def test_the_flux_of_a_mode_crosses_every_half_line():
    flow = numeric_mode()
    for angle in (0.0, 1.3, 3.0):
        expected = crossed(flow, [0.1, -0.2], angle)
        found = float(flow.flux(start=(Rational(1, 10), Rational(-1, 5))))
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (0, 2), (2, 1)])
def test_the_flux_in_a_plane_integrates_over_the_other_coordinate(plane):
    """The trapezoidal rule over the third; SciPy's along the half-line."""
    flow = three_coordinates()
    (rest,) = {0, 1, 2} - set(plane)
    current = lambdify(flow.coordinates, flow.current, "numpy")
    axis = np.linspace(-15, 15, 301)

    def normal(length):
        x = [axis] * 3
        x[plane[0]], x[plane[1]], x[rest] = (
            axis * 0 + 0.4 + length * 0.6,
            axis * 0 + 0.8 * length,
            axis,
        )
        field = current(*x)
        across = -0.8 * field[plane[0], 0] + 0.6 * field[plane[1], 0]
        return across.sum() * (axis[1] - axis[0])

    expected, _ = quad(normal, 0, 15, epsabs=1e-14, epsrel=1e-11, points=[1, 4])
    found = float(flow.flux(plane=plane, start=(Rational(2, 5), 0)))
    assert found == pytest.approx(expected, rel=1e-8)


@EXAMPLES
def test_the_flux_changes_its_sign_with_the_plane(flow):
    assert flow.flux(plane=(1, 0)) == -flow.flux(plane=(0, 1))


def test_two_coordinates_turn_at_their_cycle_frequency():
    for flow in (textbook(), numeric_mode()):
        turns = 2 * np.pi * abs(float(flow.flux()))
        assert turns == pytest.approx(float(flow.cycle_frequencies[0]), rel=1e-14)


def test_the_flux_of_a_mode_is_the_rate_at_which_its_position_changes_sign():
    """Kac and Rice: θ crosses 0 upwards arccos(C(τ))/(2πτ) times per unit time, as τ → 0."""
    process = numeric_mode().process
    with mp.workdps(80):
        A = mp.matrix(process.drift.tolist())
        tau = mp.mpf(10) ** -20
        # The stationary covariance is diagonal, so C is the propagator's first entry.
        rate = mp.acos(mp.expm(-A * tau)[0, 0]) / (2 * mp.pi * tau)
        assert abs(-N(numeric_mode().flux(), 40) / rate - 1) < mp.mpf(10) ** -15


def test_simulated_modes_turn_as_often_as_the_flux_says():
    """Exact steps of ωτ = 0.02; crossings of the v-axis, whose number errs by γτ/3 = 0.1 %.

    Replicas are independent. At 4.5 standard errors, 2·10⁻⁵ of the bias aside, a true theory fails
    once in 10⁵ seeds; the seed is fixed.
    """
    flow, replicas, steps = numeric_mode(), 400, 4000
    A = np.array(flow.process.drift, dtype=float)
    B = np.array(flow.process.stationary_covariance(), dtype=float)
    tau = 0.02 / float(flow.cycle_frequencies[0])
    step = expm(-tau * A)
    kick = np.linalg.cholesky(B - step @ B @ step.T)
    generator = np.random.default_rng(20)
    x = np.linalg.cholesky(B) @ generator.normal(size=(2, replicas))
    turns = np.zeros(replicas)
    for _ in range(steps):
        before = x[0]
        x = step @ x + kick @ generator.normal(size=(2, replicas))
        turns += (before < 0) & (x[0] >= 0)
    rates = turns / (steps * tau)
    error = rates.std(ddof=1) / np.sqrt(replicas)
    # Clockwise in the plane (θ, v): a positive velocity carries θ to the right.
    expected = -float(flow.flux())
    assert error < 0.02 * expected
    assert abs(rates.mean() - expected) < 4.5 * error


@pytest.mark.parametrize("plane", [(0, 0), (0, 2), (-1, 0), (0,)])
def test_a_plane_that_does_not_exist_is_refused(plane):
    with pytest.raises(ValueError, match="plane"):
        textbook().flux(plane=plane)


def test_a_start_outside_the_plane_is_refused():
    with pytest.raises(ValueError, match="start"):
        textbook().flux(start=(0, 0, 0))


# -- any linear process -------------------------------------------------------------------------


@st.composite
def processes(draw):
    """A = (P + K) W is stable for P, W positive definite and K antisymmetric; D = R Rᵀ."""
    size = draw(st.integers(1, 4))
    fractions = st.builds(Rational, st.integers(-3, 3), st.integers(1, 3))

    def square():
        return Matrix(size, size, draw(st.lists(fractions, min_size=size**2, max_size=size**2)))

    turn, first, second, root = square(), square(), square(), square()
    P, W = (x * x.T + eye(size) for x in (first, second))
    return sgd.OrnsteinUhlenbeck((P + turn - turn.T) * W, root * root.T)


@given(processes())
def test_laws_of_every_linear_process(process):
    size = process.dimension
    B = process.stationary_covariance()
    A, D = (np.array(x, dtype=float) for x in (process.drift, process.diffusion))
    expected = solve_continuous_lyapunov(A, 2 * D)
    found = np.array(B, dtype=float)
    # The rates of these processes span less than a factor 10⁵.
    assert np.abs(found - expected).max() <= 1e-10 * np.abs(expected).max()
    assume(np.linalg.cond(found) < 1e6)
    flow = sgd.fokker_planck(process)
    Q, U = flow.circulation, flow.precision
    assert zeros(size) == Q + Q.T
    assert (process.diffusion + Q) * U == process.drift
    assert flow.divergence == 0
    rates = np.sort(np.abs(np.linalg.eigvals(np.array(Q * U, dtype=float)).imag))
    scale = np.abs(np.array(Q * U, dtype=float)).max() * np.linalg.cond(found)
    frequencies = numbers(flow.cycle_frequencies)
    assert len(frequencies) == size // 2
    assert np.allclose(frequencies, rates[size % 2 :: 2], atol=1e-8 * scale + 1e-14)


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


def three_transient():
    """A drift with two complex rates, which SymPy's exponential does not finish."""
    drift = Matrix([[2, 1, 0], [-1, 3, 1], [0, -2, 1]])
    return sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diag(1, 2, 3)))


def sgd_flow(noise, curvature):
    langevin = sgd.Langevin(Rational(1, 2), Rational(3, 4), Sigma, 2)
    return sgd.fokker_planck(sgd.ornstein_uhlenbeck(langevin, noise=noise, curvature=curvature))


MIXED = Matrix([[2, Rational(-4, 5)], [Rational(-4, 5), 1]])
LARGER = {
    "three": three_transient,
    "diagonal": lambda: sgd_flow(MIXED, [1, 3]),
    "dense": lambda: sgd_flow(MIXED, [[2, 1], [1, 3]]),
}


@pytest.fixture(params=LARGER)
def larger(request):
    """Flows of three and four coordinates, with points and starts inserted as numbers."""
    flow = LARGER[request.param]()
    size = flow.process.dimension
    values = dict(
        zip(flow.process.start, [Rational(n, 5) for n in range(1, size + 1)], strict=True)
    )
    place = [Rational((-1) ** n, n + 2) for n in range(size)]
    return flow, values | dict(zip(flow.coordinates, place, strict=True)), place


def test_transient_density_of_many_coordinates(larger):
    flow, values, place = larger
    A = np.array(flow.process.drift, dtype=float)
    B = solve_continuous_lyapunov(A, 2 * np.array(flow.process.diffusion, dtype=float))
    step = expm(-float(WHEN) * A)
    start = numbers(values[x] for x in flow.process.start)
    covariance, offset = B - step @ B @ step.T, numbers(place) - step @ start
    expected = np.exp(-offset @ np.linalg.solve(covariance, offset) / 2) / np.sqrt(
        np.linalg.det(2 * np.pi * covariance)
    )
    assert float(N(flow.density_at(WHEN).subs(values))) == pytest.approx(expected, rel=1e-9)


def test_probability_of_many_coordinates_is_conserved(larger):
    """A central difference over 10⁻⁸ errs by 10⁻¹⁶ of the density's third derivative."""
    flow, values, _ = larger
    delta = Rational(1, 10**8)
    later, earlier = (N(flow.density_at(WHEN + d).subs(values), 30) for d in (delta, -delta))
    rate = (later - earlier) / (2 * delta)
    outflow = N(flow.divergence_at(WHEN).subs(values), 30)
    assert abs(rate) > later / 100
    assert abs(rate + outflow) < abs(rate) * 1e-9


def test_probability_of_one_coordinate_is_conserved():
    a = symbols("a", positive=True)
    flow = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(Matrix([[a]]), Matrix([[3]])))
    change = flow.density_at(t).diff(t) + flow.divergence_at(t)
    assert simplify(change / flow.density_at(t)) == 0


@pytest.mark.parametrize("point", POINTS)
def test_the_transient_divergence_is_minus_the_rate_of_the_density(point):
    flow = numeric_mode()
    rate = number(flow.density_at(t).diff(t), flow, point)
    outflow = number(flow.divergence_at(WHEN), flow, point)
    assert abs(rate + outflow) < abs(rate) * Rational(1, 10**30)


def test_a_point_has_no_density():
    with pytest.raises(ValueError, match="time = 0"):
        textbook().density_at(0)


def test_symbols_in_a_transient_of_many_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"time = t"):
        LARGER["diagonal"]().density_at(t)
    with pytest.raises(ValueError, match=r"time = t"):
        LARGER["three"]().current_at(t)


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


def two_directions(name):
    """Two directions of a rule's own equation, with symbols for everything."""
    h1, h2, s11, s12, s22 = symbols("h1 h2 s11 s12 s22", real=True)
    noise = Matrix([[s11, s12], [s12, s22]])
    langevin = sgd.modified_equation(getattr(sgd, name)())
    process = sgd.ornstein_uhlenbeck(langevin, noise=noise, curvature=[h1, h2])
    return process, (h1, h2, s11, s12, s22)


def test_entropy_production_vanishes_exactly_where_noise_and_curvature_commute(name):
    """It is a multiple of (h₁ − h₂)² Σ₁₂², the square of the commutator's entry."""
    process, (h1, h2, s11, s12, s22) = two_directions(name)
    rate = entropy_production_rate(process, process.velocities)
    values = {h1: Rational(5, 4), h2: 3, s11: 2, s12: Rational(-4, 5), s22: 1}
    hyper = {eta: Rational(1, 10), beta: Rational(3, 5), S: 4, s.nu: Rational(7, 10)}
    hyper[s.tau] = Rational(1, 3)
    drift, diffusion = (x.subs(values | hyper) for x in (process.drift, process.diffusion))
    expected = path_asymmetry(drift.tolist(), diffusion.tolist(), [1, 1, -1, -1])
    assert expected > 1e-3
    assert abs(rate.subs(values | hyper) / expected - 1) < 1e-15
    rest = simplify(rate / (s12 * (h1 - h2)) ** 2).subs({s12: 0, h2: h1})
    assert rate.subs(s12, 0) == 0
    assert rate.subs(h2, h1) == 0
    assert rest.subs(values | hyper) > 0


def test_entropy_production_does_not_depend_on_the_basis():
    turn = Matrix([[3, 4], [-4, 3]]) / 5
    straight, turned = (
        sgd_flow(noise, curvature)
        for noise, curvature in (
            (MIXED, diag(1, 3)),
            (turn * MIXED * turn.T, turn * diag(1, 3) * turn.T),
        )
    )
    rates = [flow.entropy_production(flow.process.velocities) for flow in (straight, turned)]
    assert rates[0] == rates[1] > 0


@given(st.lists(st.integers(-3, 3), min_size=8, max_size=8))
def test_entropy_production_is_positive_unless_noise_and_curvature_commute(entries):
    root, H = Matrix(2, 2, entries[:4]), Matrix(2, 2, entries[4:])
    noise, H = root * root.T + eye(2), H * H.T + eye(2)
    flow = sgd_flow(noise, H)
    rate = flow.entropy_production(flow.process.velocities)
    assert (rate == 0) == (noise * H == H * noise)
    assert rate >= 0


def test_noise_along_fewer_directions_than_flow():
    """One shared source of noise for two velocities: a singular D that is not diagonal."""
    flow = sgd_flow(Matrix([[4, 2], [2, 1]]), [1, 3])
    assert flow.entropy_production(flow.process.velocities) == oo


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


# -- algebra that ends --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 5])
def test_dense_decimals_beside_symbols_are_refused_and_numbers_are_not(size):
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(2, size, size))
    hessian, noise = (x @ x.T + np.eye(size) for x in factors)
    langevin = sgd.modified_equation(sgd.heavy_ball())
    process = sgd.ornstein_uhlenbeck(langevin, noise, hessian)
    with pytest.raises(ValueError, match=r"decimal numbers.*beta.*process\.at"):
        sgd.fokker_planck(process)
    numbers = process.at(sgd.Hyperparameters(0.05, 0.9, 8).values)
    found = float(sgd.fokker_planck(numbers).entropy_production(odd=process.velocities))
    # tr(D⁻¹ E C Eᵀ) − tr A with the friction E, of the covariance that SciPy finds.
    A, D = (np.array(x, dtype=float) for x in (numbers.drift, numbers.diffusion))
    C = solve_continuous_lyapunov(A, 2 * D)
    friction = A[size:, size:]
    lost = np.linalg.inv(D[size:, size:]) @ friction @ C[size:, size:] @ friction.T
    assert found == pytest.approx(np.trace(lost) - np.trace(friction), rel=1e-8)
    assert found > 0


def test_three_coupled_coordinates_with_a_letter_are_solved():
    a = sgd.symbols.h
    drift = Matrix([[a, 1, 0], [0, 2 * a, 1], [0, 0, 3 * a]])
    flow = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, eye(3)))
    assert flow.circulation == -flow.circulation.T
    left = (eye(3) + flow.circulation) * flow.precision - drift
    assert left.applyfunc(simplify) == zeros(3)
