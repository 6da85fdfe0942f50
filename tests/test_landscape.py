"""Any H and Σ: predictions in a landscape's own coordinates, against the whole 2d×2d system.

The brute force knows no eigenbasis: it is one update of the hand loop applied to vectors, iterated,
or the matrix exponential of the whole system. Simulated SGD at the end: its comparisons together
raise a false alarm with probability 1e-4 (Šidák); the seed is fixed.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch
from scipy.linalg import block_diag, expm, solve_continuous_lyapunov, solve_discrete_lyapunov
from scipy.stats import ortho_group
from scipy.stats import t as student

import sgdtheory as sgd
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.landscape import Landscape

s = sgd.symbols
THEORIES = pytest.mark.parametrize("theory", ["discrete", "continuous"])
ETA, DECAY, BATCH = 0.15, 0.02, 8
CLOSE = 1e-11


def random_landscape(dimension, seed, lowest=0.05):
    """Curvatures up to 4, one of them `lowest`, and noise of every correlation."""
    rng = np.random.default_rng([dimension, seed])
    axes = ortho_group.rvs(dimension, random_state=rng) if dimension > 1 else np.eye(1)
    curvatures = np.r_[lowest, rng.uniform(0.05, 4.0, dimension - 1)]
    root = rng.normal(size=(dimension, dimension))
    return Landscape((axes * curvatures) @ axes.T, root @ root.T)


def predictor(landscape, theory="discrete", rule=None, *, hyper=None, **parameters):
    hyper = hyper or sgd.Hyperparameters(ETA, 0.6, BATCH, DECAY)
    rule = rule or sgd.heavy_ball()
    values = {getattr(s, name): value for name, value in parameters.items()}
    modes = sgd.Predictor(hyper, landscape.spectrum, theory=theory, rule=rule, parameters=values)
    return DensePredictor(landscape, modes)


@pytest.fixture
def settings(hyper):
    """The rule's numbers, with this file's learning rate."""
    return {key: float(value) for key, value in hyper.items()} | {"eta": ETA}


@pytest.fixture
def model(name, rule, settings):
    """A dense predictor of the rule for a landscape and a theory."""

    def build(landscape, theory):
        hyper = sgd.Hyperparameters(ETA, settings["beta"], BATCH, DECAY)
        own = {key: settings[key] for key in settings.keys() - {"eta", "beta"}}
        return predictor(landscape, theory, rule, hyper=hyper, **own)

    return build


# -- brute force --------------------------------------------------------------------------------


def whole_recursion(landscape, update, settings):
    """M and N of one update in the landscape's coordinates, positions first."""
    size = landscape.dimension
    H = landscape.hessian + DECAY * np.eye(size)
    M, kicks = np.empty((2 * size, 2 * size)), np.empty((2 * size, size))
    for j, unit in enumerate(np.eye(2 * size)):
        x, v = update(unit[:size], unit[size:], lambda at: H @ at, **settings)
        M[:, j] = np.r_[x, v]
    for j, error in enumerate(np.eye(size)):
        x, v = update(np.zeros(size), np.zeros(size), lambda at, e=error: H @ at + e, **settings)
        kicks[:, j] = np.r_[x, v]
    return M, kicks @ landscape.noise_covariance @ kicks.T / BATCH


def whole_diffusion(landscape, name, eta, beta, tau=0.0, nu=1.0):
    """A and 2D/κ of the published Langevin equation with the matrix H, positions first."""
    size = landscape.dimension
    H, one = landscape.hessian + DECAY * np.eye(size), np.eye(size)
    force = {"dampened": 1 - tau, "quasi_hyperbolic": 1 - beta}.get(name, 1.0)
    mass = eta * (1 + beta) / (2 * force)
    ahead = {"nesterov": 1.0, "quasi_hyperbolic": 1 - nu}.get(name, 0.0)
    friction = ((1 - beta) * one + eta * beta * ahead * H) / force
    A = np.block([[0 * one, -one], [H / mass, friction / mass]])
    gained = eta * landscape.noise_covariance / (BATCH * mass**2)
    return A, block_diag(0 * one, gained)


def one_update(landscape, theory, name, settings):
    """F and C after one update, and the stationary covariance, of the whole system."""
    if theory == "discrete":
        F, C = whole_recursion(landscape, oracles.UPDATES[name], settings)
        return F, C, lambda: solve_discrete_lyapunov(F, C)
    A, N = whole_diffusion(landscape, name, **settings)
    flow = expm(np.block([[-A, N], [np.zeros_like(A), A.T]]) * ETA)
    size = len(A)
    F = flow[:size, :size]
    return F, flow[:size, size:] @ F.T, lambda: solve_continuous_lyapunov(A, N)


def iterated(F, C, steps):
    """F_k and C_k, one update after the other."""
    flow, gathered = np.eye(len(F)), np.zeros_like(C)
    for _ in range(steps):
        flow, gathered = F @ flow, F @ gathered @ F.T + C
    return flow, gathered


def error(value, expected):
    """Relative to the largest entry."""
    assert value.shape == expected.shape
    return np.abs(value - expected).max() / np.abs(expected).max()


# -- exactness ----------------------------------------------------------------------------------

STEPS = (1, 2, 3, 17, 200)


@THEORIES
@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 12])
def test_moments_are_those_of_the_whole_system(model, name, theory, dimension, settings):
    landscape = random_landscape(dimension, seed=1)
    run = model(landscape, theory)
    F, C, stationary = one_update(landscape, theory, name, settings)
    B = stationary()
    assert error(run.stationary_covariance(), B) < CLOSE
    rng = np.random.default_rng(5)
    position, velocity = rng.normal(size=(2, dimension))
    covariances, means = run.covariance(STEPS), run.mean(STEPS, position, velocity)
    correlations = run.autocovariance(STEPS)
    moved, stayed = run.displacement(STEPS, position, velocity), run.displacement(STEPS)
    for index, k in enumerate(STEPS):
        flow, gathered = iterated(F, C, k)
        mean = flow @ np.r_[position, velocity]
        assert error(covariances[index], gathered) < CLOSE
        assert np.abs(means[index] - mean).max() < CLOSE * np.abs([position, velocity]).max()
        assert np.abs(correlations[index] - flow @ B).max() < CLOSE * np.abs(B).max()
        there = slice(0, dimension)
        expected = np.sum((mean[there] - position) ** 2) + np.trace(gathered[there, there])
        assert np.isclose(moved[index], expected, rtol=1e-10)
        expected = 2 * np.trace((B - flow @ B)[there, there])
        assert np.isclose(stayed[index], expected, rtol=1e-9)


@THEORIES
@pytest.mark.parametrize("lowest", [-DECAY, -DECAY - 0.05, -DECAY + 1e-12])
def test_transients_need_no_stationary_state(model, name, theory, lowest, settings):
    """A flat direction, one that slowly grows, one that hardly decays."""
    landscape = random_landscape(4, seed=2, lowest=lowest)
    run = model(landscape, theory)
    F, C, _ = one_update(landscape, theory, name, settings)
    for k in (1, 5, 64, 300):
        flow, gathered = iterated(F, C, k)
        assert error(run.covariance(k), gathered) < CLOSE
        expected = flow @ np.r_[np.ones(4), np.zeros(4)]
        assert np.abs(run.mean(k, 1.0) - expected).max() < CLOSE * np.abs(flow).max()


@THEORIES
def test_many_updates_reach_the_stationary_state(model, theory):
    run = model(random_landscape(5, seed=3), theory)
    assert error(run.covariance(10**6), run.stationary_covariance()) < 1e-13


@THEORIES
def test_every_entry_of_an_early_or_flat_block_is_exact(theory):
    """With a diagonal H the blocks are seen one by one; 60 digits of the pair's own exponential."""
    curvatures = np.array([1e-12, 0.5, 3.0])
    noise = np.array([[2.0, 1.0, -0.5], [1.0, 1.0, 0.25], [-0.5, 0.25, 1.5]])
    hyper = sgd.Hyperparameters(0.125, 0.875, BATCH)
    run = predictor(Landscape(np.diag(curvatures), noise), theory, hyper=hyper)
    counts = (1, 2, 5, 1000)
    blocks = run.covariance(counts).reshape(len(counts), 2, 3, 2, 3)
    with mp.workdps(60):
        eta, beta = mp.mpf(1) / 8, mp.mpf(7) / 8
        for i, j, (index, k) in (
            (i, j, step) for i in range(3) for j in range(3) for step in enumerate(counts)
        ):
            exact = paired(theory, curvatures[i], curvatures[j], k, eta, beta)
            for a in range(2):
                for b in range(2):
                    expected = exact[a, b] * mp.mpf(noise[i, j]) / BATCH
                    value = mp.mpf(blocks[index, a, i, b, j])
                    # Beyond the first updates an entry may pass through zero.
                    unit = 0 if k < 3 else mp.sqrt(abs(exact[0, 0] * exact[1, 1])) / 1000
                    assert abs(value - expected) <= 1e-12 * max(abs(expected), unit)


def paired(theory, h_i, h_j, k, eta, beta):
    """∑ F_i n nᵀ F_jᵀ over k updates, or its integral, of heavy ball with unit Σ/S."""
    curvatures = [mp.mpf(float(h)) for h in (h_i, h_j)]
    if theory == "discrete":
        laws = [oracles.linear_law(oracles.heavy_ball, h, eta=eta, beta=beta) for h in curvatures]
        F_i, F_j = (mp.matrix([list(row) for row in M]) for M, _ in laws)
        kick = mp.matrix(list(laws[0][1]))
        once = kick * kick.T
    else:
        laws = [
            oracles.langevin_law(*oracles.PUBLISHED["heavy_ball"](h, eta, beta), h, eta)
            for h in curvatures
        ]
        A_i, A_j = (mp.matrix([list(row) for row in A]) for A, _ in laws)
        F_i, F_j = mp.expm(-A_i * eta), mp.expm(-A_j * eta)
        block = mp.matrix(4, 4)
        block[:2, :2], block[2:, 2:] = -A_i, A_j.T
        block[:2, 2:] = mp.matrix([list(row) for row in laws[0][1]])
        once = mp.expm(block * eta)[:2, 2:] * F_j.T
    total = mp.matrix(2, 2)
    for _ in range(k):
        total = F_i * total * F_j.T + once
    return total


# -- laws ---------------------------------------------------------------------------------------


@THEORIES
def test_turned_coordinates_turn_the_predictions(model, theory):
    landscape = random_landscape(6, seed=4)
    R = ortho_group.rvs(6, random_state=np.random.default_rng(6))
    both = block_diag(R, R)
    turned = Landscape(R @ landscape.hessian @ R.T, R @ landscape.noise_covariance @ R.T)
    here, there = model(landscape, theory), model(turned, theory)
    position = np.arange(6.0)
    for moment in (
        lambda run: run.stationary_covariance(),
        lambda run: run.covariance(20),
        lambda run: run.autocovariance(20),
    ):
        assert error(moment(there), both @ moment(here) @ both.T) < CLOSE
    assert error(there.mean(20, R @ position), both @ here.mean(20, position)) < CLOSE
    assert np.isclose(there.displacement(20), here.displacement(20), rtol=1e-12)
    assert np.isclose(
        there.displacement(20, R @ position), here.displacement(20, position), rtol=1e-12
    )
    assert np.isclose(there.exponent(20, R @ position), here.exponent(20, position), rtol=1e-9)


@THEORIES
def test_noise_that_commutes_is_the_spectrum(model, theory):
    axes = ortho_group.rvs(4, random_state=np.random.default_rng(7))
    rho, variances = np.array([0.2, 0.7, 1.5, 3.0]), np.array([3.0, 0.0, 1.0, 2.0])
    landscape = Landscape((axes * rho) @ axes.T, (axes * variances) @ axes.T)
    assert landscape.commutator < 1e-15
    run = model(landscape, theory)
    options = {"theory": theory, "rule": run.modes.rule, "parameters": run.modes.parameters}
    modes = sgd.Predictor(
        run.modes.hyperparameters, sgd.Spectrum(rho, noise_variances=variances), **options
    )
    for dense, blocks in (
        (run.stationary_covariance(), modes.stationary_covariance()),
        (run.covariance(30), modes.covariance(30)),
        (run.autocovariance(30), modes.autocovariance(30)),
    ):
        # Directions come in the order of Spectrum or of the landscape; both ascend here.
        expected = np.einsum("ip,pab,jp->aibj", axes, blocks, axes).reshape(8, 8)
        assert error(dense, expected) < CLOSE
    assert np.isclose(run.displacement(30), modes.displacement(30), rtol=1e-12)
    assert run.regime == modes.regime
    assert np.allclose(run.relaxation_steps, modes.relaxation_steps, rtol=1e-12)


@THEORIES
def test_covariances_are_symmetric_and_not_negative(model, theory):
    run = model(random_landscape(7, seed=8), theory)
    for covariance in (run.stationary_covariance(), run.covariance(3)):
        size = np.abs(covariance).max()
        assert np.abs(covariance - covariance.T).max() < 1e-15 * 16 * size
        assert np.linalg.eigvalsh(covariance).min() > -1e-15 * 16 * size


def test_correlations_between_directions_leave_sums_alone():
    landscape = random_landscape(5, seed=9)
    own_noise = np.diag(np.diag(landscape.noise_in_eigenbasis))
    V = landscape.eigenvectors
    commuting = Landscape(landscape.hessian, V @ own_noise @ V.T)
    assert landscape.commutator > 0.1
    one, other = predictor(landscape), predictor(commuting)
    assert np.allclose(one.displacement([1, 10, 100]), other.displacement([1, 10, 100]), rtol=1e-12)
    assert np.isclose(one.local_displacement(), other.local_displacement(), rtol=1e-12)
    assert error(one.stationary_covariance(), other.stationary_covariance()) > 0.1


@pytest.mark.parametrize("steps", [3, [3], [[1, 2, 3], [4, 5, 0]], []])
def test_results_have_the_shape_of_the_steps(steps):
    run = predictor(random_landscape(3, seed=10))
    shape = np.shape(steps)
    assert run.covariance(steps).shape == run.autocovariance(steps).shape == (*shape, 6, 6)
    assert run.mean(steps, np.ones(3)).shape == (*shape, 6)
    assert np.shape(run.displacement(steps)) == shape
    for where in np.ndindex(shape):
        k = np.array(steps)[where]
        assert np.array_equal(run.covariance(steps)[where], run.covariance(k))


@pytest.mark.parametrize("fastest", [0.5, 30.0, 3000.0])
def test_a_duration_is_cut_into_stretches_short_for_the_fastest_mode(fastest):
    """Curvatures at which updates diverge and the continuous theory still has transients."""
    landscape = random_landscape(3, seed=20, lowest=fastest / ETA)
    run = predictor(landscape, "continuous")
    settings = {"eta": ETA, "beta": 0.6}
    A, N = whole_diffusion(landscape, "heavy_ball", **settings)
    B = solve_continuous_lyapunov(A, N)
    F = expm(-A * ETA)
    assert error(run.covariance(1), B - F @ B @ F.T) < CLOSE
    with pytest.raises(sgd.UnstableError) if fastest > 4 else nullcontext():
        run.stationary_covariance()


def test_no_update_leaves_the_start_fixed():
    run = predictor(random_landscape(3, seed=11))
    assert not run.covariance(0).any()
    assert error(run.autocovariance(0), run.stationary_covariance()) < 1e-15


def test_more_pairs_than_a_block_holds():
    landscape = random_landscape(150, seed=12)
    run = predictor(landscape)
    assert len(list(run._rows())) > 1
    settings = {"eta": ETA, "beta": 0.6}
    F, C, _ = one_update(landscape, "discrete", "heavy_ball", settings)
    assert error(run.covariance(13), iterated(F, C, 13)[1]) < CLOSE


def test_a_predictor_has_a_derivation():
    run = predictor(random_landscape(2, seed=13))
    assert [step.title for step in run.derivation][-2] == "Stationary covariance of the pair"
    assert run.assumptions == run.derivation.assumptions
    assert run.curvature.shape == (2,)


# -- the record ---------------------------------------------------------------------------------


def test_eigenbasis():
    landscape = random_landscape(6, seed=14)
    V, rho = landscape.eigenvectors, landscape.eigenvalues
    assert error((V * rho) @ V.T, landscape.hessian) < 1e-14
    assert error(V @ landscape.noise_in_eigenbasis @ V.T, landscape.noise_covariance) < 1e-14
    assert np.array_equal(landscape.spectrum.eigenvalues, rho)
    assert landscape.spectrum is landscape.spectrum


def test_commutator():
    H, Sigma = np.diag([1.0, 3.0]), np.array([[2.0, 1.0], [1.0, 2.0]])
    # HΣ − ΣH = [[0, −2], [2, 0]]; the norms are √8, √10 and √10.
    assert np.isclose(Landscape(H, Sigma).commutator, np.sqrt(8) / 10)
    assert Landscape(H, np.eye(2)).commutator == 0
    assert Landscape(H, np.zeros((2, 2))).commutator == 0


def test_a_direction_without_noise_has_no_negative_variance():
    rng = np.random.default_rng(15)
    axes = ortho_group.rvs(30, random_state=rng)
    noise = (axes[:, :3] * [1.0, 2.0, 3.0]) @ axes[:, :3].T
    landscape = Landscape((axes * np.arange(1.0, 31.0)) @ axes.T, noise)
    assert np.diag(landscape.noise_in_eigenbasis).min() < 0
    assert landscape.spectrum.variances.min() == 0


def test_rounding_of_the_given_type_is_allowed():
    rng = np.random.default_rng(16)
    axes = ortho_group.rvs(20, random_state=rng).astype(np.float32)
    single = (axes * np.linspace(0, 1, 20, dtype=np.float32)) @ axes.T
    single[0, 1] += np.float32(1e-7)
    landscape = Landscape(single, single)
    assert np.array_equal(landscape.hessian, landscape.hessian.T)
    with pytest.raises(ValueError, match=r"hessian\[\d+, \d+\].*symmetric to"):
        Landscape(single.astype(np.float64), single)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.eye(2), "torch tensor.*detach"),
        ([[1.0, 2.0], [3.0, 4.0]], r"\[0, 1\] = 2 but .*\[1, 0\] = 3: it must be symmetric"),
        ([[1.0, 0.0], [0.0, np.nan]], r"\[1, 1\] = nan: it must be finite"),
        ([1.0, 2.0], r"shape \(2,\): it must be \(d, d\)"),
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (np.ones((0, 0)), r"d ≥ 1"),
        ("text", "real numbers"),
        ([[1j, 0], [0, 1]], "real numbers"),
        ([[1, 2], [3]], "real numbers"),
    ],
)
@pytest.mark.parametrize("name", ["hessian", "noise_covariance"])
def test_what_is_no_symmetric_matrix_is_refused(name, matrix, message):
    arguments = {"hessian": np.eye(2), "noise_covariance": np.eye(2)} | {name: matrix}
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        Landscape(**arguments)


def test_a_covariance_is_not_negative():
    with pytest.raises(ValueError, match="noise_covariance has the eigenvalue -1"):
        Landscape(np.eye(2), [[1.0, 2.0], [2.0, 1.0]])
    assert Landscape([[1.0, 2.0], [2.0, 1.0]], np.eye(2)).eigenvalues[0] == pytest.approx(-1)


def test_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"noise_covariance has shape \(3, 3\) and hessian \(2, 2"):
        Landscape(np.eye(2), np.eye(3))


def test_what_a_dense_predictor_cannot_do_is_refused():
    landscape = random_landscape(3, seed=17)
    hyper = sgd.Hyperparameters(ETA, 0.6, BATCH)
    with pytest.raises(ValueError, match="landscape = None: give a Landscape"):
        DensePredictor(None, sgd.Predictor(hyper, landscape.spectrum))
    for modes in (None, sgd.Predictor(hyper, sgd.Spectrum([1.0, 2.0, 3.0]))):
        with pytest.raises(ValueError, match=r"another spectrum.*landscape\.spectrum"):
            DensePredictor(landscape, modes)
    tensor = sgd.Hyperparameters(torch.tensor(0.1), 0.6, BATCH)
    with pytest.raises(ValueError, match="torch scalars"):
        DensePredictor(landscape, sgd.Predictor(tensor, landscape.spectrum))

    class Epochs:
        spectrum, sampling = landscape.spectrum, "epochs"

    with pytest.raises(ValueError, match=r"'epochs'.*'with_replacement'"):
        DensePredictor(landscape, Epochs())


@pytest.mark.parametrize("name", ["position", "velocity"])
@pytest.mark.parametrize("value", [np.ones(2), np.nan, "here", np.ones((3, 1))])
def test_starts_of_another_shape_are_refused(name, value):
    run = predictor(random_landscape(3, seed=18))
    start = {"position": np.ones(3)} | {name: value}
    for ask in (run.mean, run.displacement):
        with pytest.raises(ValueError, match=f"{name} = "):
            ask(3, **start)


@pytest.mark.parametrize("steps", [-1, 1.5, np.nan, "many"])
def test_steps_are_update_counts(steps):
    run = predictor(random_landscape(3, seed=19))
    for ask in (run.covariance, run.autocovariance):
        with pytest.raises(ValueError, match="steps = "):
            ask(steps)


@THEORIES
def test_a_direction_without_stationary_state_is_named(theory):
    landscape = Landscape([[0.0, 1.0], [1.0, 0.0]], np.eye(2))
    run = predictor(landscape, theory)
    for ask in (run.stationary_covariance, lambda: run.autocovariance(3), run.local_displacement):
        with pytest.raises(sgd.UnstableError, match=r"eigenvalues\[0\] = -1"):
            ask()
    assert np.isfinite(run.covariance(10)).all()
    with pytest.raises(sgd.UnstableError, match="too large for floating point"):
        run.covariance(10**5)


# -- simulated ----------------------------------------------------------------------------------

SIMULATED = Landscape(
    [[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.4]],
    [[1.0, 0.6, -0.4], [0.6, 2.0, 0.3], [-0.4, 0.3, 0.5]],
)
GROUPS, REPLICAS, BURN_IN = 64, 256, 600
TIMES, LAGS = (1, 4, 30), (1, 8)
UPPER = np.triu_indices(6)
FALSE_ALARM = 1e-4
# 21 entries in the stationary state and at each of 3 times, 36 at each of 2 lags.
COMPARISONS = 21 * (1 + len(TIMES)) + 36 * len(LAGS)
CRITICAL = student.ppf(1 - (1 - (1 - FALSE_ALARM) ** (1 / COMPARISONS)) / 2, GROUPS - 1)
SIMULATION = sgd.Hyperparameters(0.2, 0.7, 4)


@cache
def simulated():
    """Products of the state's entries, averaged in groups: name, time → (GROUPS, 6, 6).

    An example's error is Lε with LLᵀ = Σ and independent signs ε: far from Gaussian.
    """
    rng = np.random.default_rng(23)
    shape = (GROUPS, REPLICAS, 3)
    root = np.linalg.cholesky(SIMULATED.noise_covariance)
    H = SIMULATED.hessian
    hyper = SIMULATION

    def step(x, v):
        heads = rng.binomial(hyper.batch_size, 0.5, shape)
        error = (2 * heads - hyper.batch_size) / hyper.batch_size @ root.T
        gradient = x @ H + error
        return oracles.heavy_ball(x, v, lambda at: gradient, hyper.learning_rate, hyper.momentum)

    def product(late, early):
        return np.einsum("gri,grj->gij", late, early) / REPLICAS

    seen, x, v = {}, np.zeros(shape), np.zeros(shape)
    for k in range(1, BURN_IN + 1):
        x, v = step(x, v)
        if k in TIMES:
            state = np.concatenate([x, v], axis=-1)
            seen["transient", k] = product(state, state)
    origin = np.concatenate([x, v], axis=-1)
    seen["stationary", 0] = product(origin, origin)
    for lag in range(1, max(LAGS) + 1):
        x, v = step(x, v)
        if lag in LAGS:
            seen["autocovariance", lag] = product(np.concatenate([x, v], axis=-1), origin)
    return seen


def predicted(run):
    return {
        ("stationary", 0): run.stationary_covariance(),
        **{("transient", k): run.covariance(k) for k in TIMES},
        **{("autocovariance", lag): run.autocovariance(lag) for lag in LAGS},
    }


def t_values(sample, expected):
    """Of the entries that are not another's mirror image."""
    deviation = sample.std(axis=0, ddof=1) / np.sqrt(GROUPS)
    return (sample.mean(axis=0) - expected) / deviation


def compared(observable, values):
    return values.ravel() if observable[0] == "autocovariance" else values[UPPER]


def test_simulated_sgd_with_correlated_noise():
    expected = predicted(predictor(SIMULATED, hyper=SIMULATION))
    values = {
        observable: compared(observable, t_values(sample, expected[observable]))
        for observable, sample in simulated().items()
    }
    assert sum(map(len, values.values())) == COMPARISONS
    assert all(np.abs(t).max() < CRITICAL for t in values.values())


def test_the_simulation_sees_the_correlations_between_directions():
    """The same variances along the eigenvectors, without their correlations: it has the power."""
    V = SIMULATED.eigenvectors
    diagonal = V @ np.diag(SIMULATED.spectrum.variances) @ V.T
    other = predictor(Landscape(SIMULATED.hessian, diagonal), hyper=SIMULATION)
    sample = simulated()["stationary", 0]
    assert np.abs(t_values(sample, other.stationary_covariance())).max() > CRITICAL
