"""Displacements of any start, their parts, exponents of a window, and crossovers."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import oracles
import pytest

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.flat_direction import diffusion_rate, velocity_memory

RULES = {
    "plain_sgd": (sgd.plain_sgd(), {}),
    "heavy_ball": (sgd.heavy_ball(), {}),
    "nesterov": (sgd.nesterov(), {}),
    "dampened": (sgd.dampened(), {"tau": 0.3}),
    "quasi_hyperbolic": (sgd.quasi_hyperbolic(), {"nu": 0.7}),
}
OWN = {"tau": s.tau, "nu": s.nu}
RATE, BATCH, EIGENVALUES = 0.2, 4, (1.5, 0.1, 1e-3)
VARIANCES = (2.0, 0.5, 1.0)
START = np.array([[[0.5, 0.1], [0.1, 0.3]], [[2.0, -0.4], [-0.4, 0.2]], [[0.0, 0.0], [0.0, 1.0]]])
POSITION, VELOCITY = np.array([0.3, -1.0, 2.0]), np.array([0.1, 0.2, -0.3])
STEPS = [1, 2, 5, 40, 1000]


def model_of(name, **settings):
    rule, own = RULES[name]
    momentum = 0.0 if name == "plain_sgd" else 0.8
    hyper = sgd.Hyperparameters(
        RATE, momentum, BATCH, dataset_size=settings.pop("dataset_size", None)
    )
    spectrum = sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES)
    parameters = {OWN[key]: value for key, value in own.items()}
    return sgd.Predictor(hyper, spectrum, rule=rule, parameters=parameters, **settings)


def law(name, h):
    own = RULES[name][1]
    beta = 0 if name == "plain_sgd" else 0.8
    return oracles.linear_law(oracles.UPDATES[name], h, eta=RATE, beta=beta, **own)


def parts_by_hand(name, step, position, velocity, spread):
    """Update by update, in many digits."""
    drift = relaxation = noise = mp.mpf(0)
    for i, (h, variance) in enumerate(zip(EIGENVALUES, VARIANCES, strict=True)):
        M, n = law(name, mp.mpf(h))
        flow, gained = oracles.leap(M, oracles.outer(n, mp.mpf(variance) / BATCH), step)
        a, b = flow[0][0] - 1, flow[0][1]
        drift += (a * position[i] + b * velocity[i]) ** 2
        C = spread[i]
        relaxation += a * a * C[0][0] + 2 * a * b * C[0][1] + b * b * C[1][1]
        noise += gained[0][0]
    return [float(x) for x in (drift, relaxation, noise)]


@pytest.mark.parametrize("name", RULES)
def test_the_parts_of_any_start_are_those_of_the_recursion(name):
    model = model_of(name)
    parts = model.displacement_parts(STEPS, POSITION, VELOCITY, start_covariance=START)
    with mp.workdps(50):
        expected = np.array([parts_by_hand(name, k, POSITION, VELOCITY, START) for k in STEPS])
    found = np.stack([parts.drift, parts.relaxation, parts.noise], axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    total = model.displacement(STEPS, POSITION, VELOCITY, start_covariance=START)
    np.testing.assert_allclose(total, expected.sum(-1), rtol=1e-11)
    np.testing.assert_allclose(parts.total, total, rtol=1e-14)


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_a_start_with_the_stationary_spread_is_the_stationary_start(theory):
    model = model_of("heavy_ball", theory=theory)
    spread = model.stationary_covariance()
    steps = np.array([1, 3, 30, 3000])
    by_spread = model.displacement(steps, start_covariance=spread)
    np.testing.assert_allclose(by_spread, model.displacement(steps), rtol=1e-12)
    given, stationary = (
        model.displacement_parts(steps, **kw) for kw in ({"start_covariance": spread}, {})
    )
    np.testing.assert_allclose(given.relaxation, stationary.relaxation, rtol=1e-12)
    np.testing.assert_allclose(given.noise, stationary.noise, rtol=1e-12)
    np.testing.assert_allclose(
        model.exponent(steps, start_covariance=spread), model.exponent(steps), rtol=1e-9
    )
    np.testing.assert_array_equal(stationary.drift, 0)


def test_under_epochs_the_stationary_parts_add_up_and_the_start_keeps_its_own():
    model = model_of("heavy_ball", sampling="epochs", dataset_size=40)
    parts = model.displacement_parts(STEPS)
    np.testing.assert_allclose(parts.total, model.displacement(STEPS), rtol=1e-13)
    moved = model.displacement(STEPS, start_covariance=model.stationary_covariance())
    noise = model.displacement(STEPS, position=0.0)
    np.testing.assert_allclose(parts.relaxation, moved - noise, rtol=1e-9)


def test_a_covariance_is_handed_from_one_setting_to_the_next():
    hot, cool = (
        sgd.Predictor(
            sgd.Hyperparameters(rate, 0.8, BATCH),
            sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES),
        )
        for rate in (0.2, 0.05)
    )
    twice = cool.covariance(7, start_covariance=hot.covariance(11))
    for i, (h, variance) in enumerate(zip(EIGENVALUES, VARIANCES, strict=True)):
        gained = oracles.NOTHING
        for rate, steps in ((0.2, 11), (0.05, 7)):
            M, n = oracles.linear_law(oracles.heavy_ball, h, eta=rate, beta=0.8)
            N = oracles.outer(n, variance / BATCH)
            for _ in range(steps):
                gained = oracles.plus(oracles.sandwiched(M, gained), N)
        np.testing.assert_allclose(twice[i], gained, rtol=1e-12)


@pytest.mark.parametrize("start", ["spread", "spread and offset"])
def test_the_local_exponent_of_a_spread_start(start):
    model = model_of("nesterov")
    position, velocity = (POSITION, VELOCITY) if "offset" in start else (0 * POSITION, 0 * VELOCITY)
    steps = np.array([1, 2, 30, 20_000])
    found = model.exponent(steps, position, velocity, start_covariance=START)
    with mp.workdps(50):
        for k, exponent in zip(steps, found, strict=True):
            low = max(int(k) - 1, 1)
            ends = [mp.mpf(0), mp.mpf(0)]
            for j, step in enumerate((low, int(k) + 1)):
                for i, (h, variance) in enumerate(zip(EIGENVALUES, VARIANCES, strict=True)):
                    M, n = law("nesterov", mp.mpf(h))
                    flow, gained = oracles.leap(M, oracles.outer(n, mp.mpf(variance) / BATCH), step)
                    m = (flow[0][0] - 1, flow[0][1])
                    about = oracles.plus(
                        oracles.outer((position[i], velocity[i]), mp.mpf(1)),
                        tuple(tuple(map(mp.mpf, row)) for row in START[i].tolist()),
                    )
                    image = oracles.column(about, m)
                    ends[j] += m[0] * image[0] + m[1] * image[1] + gained[0][0]
            slope = mp.log(ends[1] / ends[0]) / mp.log(mp.mpf(int(k) + 1) / low)
            assert float(exponent) == pytest.approx(float(slope), rel=1e-8)


@pytest.mark.parametrize("sampling", ["with_replacement", "epochs"])
def test_a_window_exponent_is_the_line_that_numpy_fits(sampling):
    model = model_of("heavy_ball", sampling=sampling, dataset_size=40)
    steps = np.arange(50, 101)
    for start in ({}, {"position": POSITION}, {"start_covariance": np.array([1.0, 2.0, 3.0])}):
        curve = model.displacement(steps, **start)
        slope = np.polynomial.Polynomial.fit(np.log(steps), np.log(curve), 1).convert().coef[1]
        assert float(model.window_exponent(steps, **start)) == pytest.approx(slope, rel=1e-9)


def test_a_sweep_has_an_exponent_each_and_tensors_their_gradient():
    torch = pytest.importorskip("torch")
    steps, spectrum = np.arange(10, 100), sgd.Spectrum(EIGENVALUES)
    rates = np.array([0.05, 0.1, 0.2])
    sweep = sgd.Predictor(sgd.Hyperparameters(rates, 0.8), spectrum)
    each = [
        float(sgd.Predictor(sgd.Hyperparameters(r, 0.8), spectrum).window_exponent(steps, 1.0))
        for r in rates
    ]
    np.testing.assert_allclose(sweep.window_exponent(steps, 1.0), each, rtol=1e-12)
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    value = sgd.Predictor(sgd.Hyperparameters(rate, 0.8), spectrum).window_exponent(
        steps, start_covariance=np.ones(3)
    )
    value.backward()
    ends = [
        sgd.Predictor(sgd.Hyperparameters(r, 0.8), spectrum).window_exponent(
            steps, start_covariance=np.ones(3)
        )
        for r in (0.1 - 1e-5, 0.1 + 1e-5)
    ]
    assert float(rate.grad) == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_covariance": np.ones((2, 2))}, "start_covariance has shape"),
        ({"start_covariance": -np.ones(3)}, r"start_covariance\[0\] = .* positive"),
        ({"start_covariance": np.tile([[1.0, 2.0], [2.0, 1.0]], (3, 1, 1))}, "positive"),
        ({"start_covariance": np.tile([[1.0, 0.2], [0.1, 1.0]], (3, 1, 1))}, "symmetric"),
        ({"start_covariance": np.full(3, np.nan)}, "finite"),
    ],
)
def test_a_start_that_is_no_covariance_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        model_of("heavy_ball").displacement([1], **change)


@pytest.mark.parametrize("steps", [5, [5], [5, 5], [[1, 2], [3, 4]], [0, 5]])
def test_a_window_needs_two_steps(steps):
    with pytest.raises(ValueError, match="steps ="):
        model_of("heavy_ball").window_exponent(steps)


# -- crossovers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_a_velocity_is_remembered_for_the_autocorrelation_time_of_its_steps(name):
    """Steps of a direction so flat that 10⁴ updates do not relax it."""
    rule, own = RULES[name]
    beta = 0 if name == "plain_sgd" else 0.8
    with mp.workdps(60):
        M, n = oracles.linear_law(
            oracles.UPDATES[name], mp.mpf(10) ** -30, eta=mp.mpf(1) / 5, beta=mp.mpf(beta), **own
        )
        B = oracles.stationary_recursion(M, oracles.outer(n, mp.mpf(1)))
        spread = [
            2 * (B[0][0] - oracles.times(oracles.power(M, k), B)[0][0])
            for k in (1, 10**6, 10**6 + 1)
        ]
    values = {s.beta: beta, s.eta: 0.2, s.S: 1, s.Sigma: 1, s.tau: 0.3, s.nu: 0.7}
    assert float(diffusion_rate(rule).subs(values)) == pytest.approx(
        float(spread[2] - spread[1]), rel=1e-12
    )
    assert float(velocity_memory(rule).subs(values)) == pytest.approx(
        float((spread[2] - spread[1]) / spread[0]), rel=1e-12
    )


def test_crossovers_are_where_a_walk_through_all_updates_finds_them():
    model = model_of("heavy_ball")
    steps = np.arange(1, 6001)
    start = {"start_covariance": np.array([0.0, 0.0, 500.0])}
    found = model.crossovers(**start)
    parts = model.displacement_parts(steps, **start)
    after = steps >= float(found.velocity_memory)
    assert float(found.start_overtakes) == steps[after & (parts.ballistic_share > 0.5)][0]
    final = model.displacement(10**8, **start)
    reached = model.displacement(steps, **start) >= (1 - np.exp(-1)) * final
    assert float(found.saturation) == steps[reached][0]
    np.testing.assert_array_equal(found.relaxation, model.relaxation_steps)
    assert found.epoch is None


def test_crossovers_of_epochs_sweeps_and_directions_without_end():
    rates = np.array([0.05, 0.2])
    hyper = sgd.Hyperparameters(rates, 0.8, BATCH, dataset_size=40)
    spectrum = sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES)
    sweep = sgd.Predictor(hyper, spectrum, sampling="epochs").crossovers()
    one = sgd.Predictor(
        sgd.Hyperparameters(0.2, 0.8, BATCH, dataset_size=40), spectrum, sampling="epochs"
    ).crossovers()
    assert sweep.epoch == one.epoch == 10
    assert sweep.saturation.shape == (2,)
    assert sweep.saturation[1] == one.saturation
    saddle = sgd.Spectrum([1.0, -0.1], noise_variances=[1.0, 1.0])
    endless = sgd.Predictor(sgd.Hyperparameters(0.1), saddle).crossovers(position=0.1)
    assert np.isinf(endless.saturation)
    assert np.isinf(endless.relaxation[1])


# -- a landscape ----------------------------------------------------------------------------------


def test_a_landscape_moves_as_the_whole_recursion_says():
    """In its own coordinates, by the 2d × 2d recursion; Σ and the start commute with nothing."""
    rng = np.random.default_rng(3)
    size, rate, beta, batch = 3, 0.2, 0.8, 4
    H, sigma, spread = (
        A @ A.T / size + 0.05 * np.eye(size) for A in rng.standard_normal((3, size, size))
    )
    root = rng.standard_normal((2 * size, 2 * size))
    spread = root @ root.T
    position, velocity = rng.standard_normal((2, size))
    model = sgd.Predictor(sgd.Hyperparameters(rate, beta, batch), sgd.Landscape(H, sigma))
    one = np.eye(size)
    M = np.block([[one - rate * H, rate * beta * one], [-H, beta * one]])
    n = np.vstack([-rate * one, -one])
    start = np.concatenate([position, velocity])
    flow, gained, curve = np.eye(2 * size), np.zeros((2 * size, 2 * size)), []
    for _ in range(60):
        flow, gained = M @ flow, M @ gained @ M.T + n @ sigma @ n.T / batch
        moved = (flow - np.eye(2 * size))[:size]
        curve.append(
            [
                np.sum((moved @ start) ** 2),
                np.trace(moved @ spread @ moved.T),
                np.trace(gained[:size, :size]),
            ]
        )
    expected, steps = np.array(curve), np.arange(1, 61)
    asked = {"position": position, "velocity": velocity, "start_covariance": spread}
    parts = model.displacement_parts(steps, **asked)
    np.testing.assert_allclose(
        np.stack([parts.drift, parts.relaxation, parts.noise], -1), expected, rtol=1e-9
    )
    total = expected.sum(-1)
    np.testing.assert_allclose(model.displacement(steps, **asked), total, rtol=1e-10)
    fitted = np.polynomial.Polynomial.fit(np.log(steps[19:]), np.log(total[19:]), 1).convert()
    assert float(model.window_exponent(steps[19:], **asked)) == pytest.approx(fitted.coef[1])
    slope = np.log(total[30] / total[28]) / np.log(31 / 29)
    assert float(model.exponent(30, **asked)) == pytest.approx(slope, rel=1e-8)
    assert model.crossovers(**asked).saturation == pytest.approx(
        model.modes.crossovers(
            position @ model.landscape.eigenvectors,
            velocity @ model.landscape.eigenvectors,
            start_covariance=model._spread(spread),
        ).saturation
    )
    alone = model.displacement(steps, start_covariance=spread[:size, :size])
    block = np.zeros_like(spread)
    block[:size, :size] = spread[:size, :size]
    np.testing.assert_allclose(alone, model.displacement(steps, start_covariance=block))
    with pytest.raises(ValueError, match="start_covariance has shape"):
        model.displacement(steps, start_covariance=np.ones(3))


def test_one_order_for_ever_has_crossovers_although_it_returns():
    hyper = sgd.Hyperparameters(0.1, 0.9, 16, dataset_size=168)
    model = sgd.Predictor(hyper, sgd.Spectrum([1.0, 0.01]), sampling="fixed_order")
    found = model.crossovers(position=0.1)
    assert found.epoch == 10
    assert np.isinf(found.saturation)
    with pytest.raises(ValueError, match="has no slope"):
        model.exponent([9, 10, 11])


def test_what_grows_beyond_all_numbers_is_refused_by_name():
    saddle = sgd.Spectrum([-1.0], noise_variances=[1.0])
    model = sgd.Predictor(sgd.Hyperparameters(0.1), saddle)
    with pytest.raises(sgd.UnstableError, match="too large for floating point"):
        model.displacement([5000], position=1.0)
