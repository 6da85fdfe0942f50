"""Advice: every number against a hand loop or another library, every edge of what a run can be."""

from __future__ import annotations

import builtins
import json
import math
from dataclasses import fields
from functools import cache

import numpy as np
import oracles
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.advice import advise
from sgdtheory.advice.advised_run import AdvisedRun
from sgdtheory.advice.direction_ranges import direction_ranges
from sgdtheory.advice.self_driven_noise import self_driven_noise
from sgdtheory.plotting import plot_advice
from sgdtheory.spectra.named_densities import marchenko_pastur

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

OWN = {
    "dampened": ({"tau": 0.3}, {s.tau: 0.3}),
    "quasi_hyperbolic": ({"nu": 0.7}, {s.nu: 0.7}),
}
RHO, COUNTS = np.array([8.0, 1.0, 0.05, 1e-3]), np.array([1.0, 3.0, 20.0, 500.0])
RATE, BATCH, DECAY = 0.1, 16, 2e-4


def law(name, h, rate=RATE, momentum=0.9):
    """M and n of the named rule, from the hand loop, as arrays."""
    momentum = 0.0 if name == "plain_sgd" else momentum
    own = OWN.get(name, ({}, {}))[0]
    M, n = oracles.linear_law(oracles.UPDATES[name], h, eta=rate, beta=momentum, **own)
    return np.array(M, dtype=float), np.array(n, dtype=float)


def run_of(name, spectrum=None, *, rate=RATE, batch=BATCH, dataset=None, steps=300, **settings):
    hyper = sgd.Hyperparameters(rate, 0.0 if name == "plain_sgd" else 0.9, batch, DECAY, dataset)
    return {
        "hyperparameters": hyper,
        "spectrum": sgd.Spectrum(RHO, 0.5, counts=COUNTS) if spectrum is None else spectrum,
        "rule": getattr(sgd, name)(),
        "parameters": OWN.get(name, ({}, {}))[1],
        "steps": steps,
        **settings,
    }


@cache
def advice_of(name, spectrum=None, **settings):
    return advise(**run_of(name, spectrum, **settings))


def stationary(name, h, noise, batch=BATCH):
    M, n = law(name, h)
    return solve_discrete_lyapunov(M, np.outer(n, n) * noise / batch)


def hand_made(name, steps, batch=BATCH, noise=0.5 * RHO):
    """Stationary variance, excess loss and displacement, summed over the directions."""
    variance = loss = moved = 0.0
    for rho, sigma, count in zip(RHO, noise, COUNTS, strict=True):
        h = rho + DECAY
        P = stationary(name, h, sigma, batch)
        later = np.linalg.matrix_power(law(name, h)[0], steps) @ P
        variance += count * P[0, 0]
        loss += count * h * P[0, 0] / 2
        moved += count * 2 * (P - later)[0, 0]
    return variance, loss, moved


# -- direction by direction -------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.24])
def test_regimes_counts_and_relaxation_are_those_of_the_roots(name, rate):
    ranges = direction_ranges(AdvisedRun(**run_of(name, rate=rate)))
    assert sum(part.directions for part in ranges) == COUNTS.sum()
    for rho, count in zip(RHO, COUNTS, strict=True):
        h = rho + DECAY
        roots = np.linalg.eigvals(law(name, h, rate)[0])
        (part,) = [p for p in ranges if p.lowest_curvature <= h <= p.highest_curvature]
        assert part.directions >= count
        oscillating = bool(np.any(abs(roots.imag) > 1e-12) or np.any(roots.real < -1e-12))
        assert part.oscillates == oscillating
        assert part.stable == (abs(roots).max() < 1)
        if part.stable:
            updates = -1 / np.log(abs(roots).max())
            assert part.fastest_relaxation * (1 - 1e-9) <= updates
            assert updates <= part.slowest_relaxation * (1 + 1e-9)


def test_the_learning_rate_at_which_the_first_direction_becomes_unstable(name):
    margin = advice_of(name).stability
    h = RHO.max() + DECAY
    for factor, stable in ((1 - 1e-6, True), (1 + 1e-6, False)):
        M, _ = law(name, h, factor * margin.learning_rate_limit)
        assert (oracles.spectral_radius(M) < 1) == stable
    assert margin.fraction == pytest.approx(RATE / margin.learning_rate_limit, rel=1e-12)
    assert margin.step_limit == pytest.approx(h * margin.learning_rate_limit, rel=1e-12)
    assert margin.largest_step == pytest.approx(RATE * h, rel=1e-12)


def test_temperatures_are_those_of_the_covariance(name):
    found = advice_of(name).temperature
    variances = [stationary(name, rho + DECAY, 0.5 * rho)[0, 0] for rho in RHO]
    temperatures = (RHO + DECAY) * variances
    assert found.lowest == pytest.approx(temperatures.min(), rel=1e-9)
    assert found.highest == pytest.approx(temperatures.max(), rel=1e-9)
    # 500 of 524 directions are the flattest.
    assert found.median == pytest.approx(temperatures[-1], rel=1e-9)
    assert found.anisotropy == pytest.approx(max(variances) / min(variances), rel=1e-9)


def test_half_of_the_variance_relaxes_before_the_median():
    found = advice_of("heavy_ball", dataset=1600).relaxation
    shares = [
        n * stationary("heavy_ball", r + DECAY, 0.5 * r)[0, 0]
        for r, n in zip(RHO, COUNTS, strict=True)
    ]
    assert shares[-1] > sum(shares) / 2
    slowest = -1 / math.log(oracles.spectral_radius(law("heavy_ball", RHO[-1] + DECAY)[0]))
    assert found.median == found.slowest == pytest.approx(slowest, rel=1e-9)
    assert found.epochs[2] == pytest.approx(slowest / 100, rel=1e-9)


def test_the_published_inverse_temperature():
    # Kunin et al., arXiv 2107.09133: κ = S(1 − β²).
    assert advice_of("heavy_ball").temperature.inverse_temperature == pytest.approx(
        BATCH * (1 - 0.9**2), rel=1e-12
    )


def test_the_distance_of_the_continuous_theory():
    rule, h = oracles.PUBLISHED["heavy_ball"], RHO.max() + DECAY
    A, N = oracles.langevin_law(*rule(h, RATE, 0.9), h, RATE / BATCH)
    continuous = solve_continuous_lyapunov(np.array(A, float), np.array(N, float))[0, 0]
    exact = stationary("heavy_ball", h, 1.0)[0, 0]
    error = advice_of("heavy_ball").stability.continuous_error
    assert error == pytest.approx(exact / continuous - 1, rel=1e-9)


# -- in all -----------------------------------------------------------------------------------


def test_displacement_exponent_and_stationary_sums(name):
    found = advice_of(name).forecast
    variance, loss, moved = hand_made(name, 300)
    assert found.variance == pytest.approx(variance, rel=1e-9)
    assert found.excess_loss == pytest.approx(loss, rel=1e-9)
    assert found.displacement == pytest.approx(moved, rel=1e-9)
    assert found.local_displacement == pytest.approx(hand_made(name, 1)[2], rel=1e-9)
    before, after = hand_made(name, 299)[2], hand_made(name, 301)[2]
    assert found.exponent == pytest.approx(np.log(after / before) / np.log(301 / 299), rel=1e-6)
    window = np.arange(150, 301)
    line = np.polyfit(np.log(window), np.log([hand_made(name, k)[2] for k in window]), 1)
    assert found.window == (150, 300)
    assert found.window_exponent == pytest.approx(line[0], rel=1e-6)


def test_without_a_length_the_run_has_saturated():
    found = advice_of("heavy_ball", steps=None).forecast
    final = 2 * found.variance
    assert found.steps == found.saturation
    assert hand_made("heavy_ball", found.steps)[2] >= (1 - 1 / math.e) * final
    assert hand_made("heavy_ball", found.steps - 1)[2] < (1 - 1 / math.e) * final


def test_an_offset_start_drifts():
    offsets = (0.1, 0.0, -0.2, 3.0)
    found = advice_of("heavy_ball", start=offsets, steps=200).forecast
    moved = 0.0
    for rho, count, offset in zip(RHO, COUNTS, offsets, strict=True):
        M, n = law("heavy_ball", rho + DECAY)
        flow, spread = oracles.iterate(M, np.outer(n, n) * 0.5 * rho / BATCH, 200)
        moved += count * (((np.array(flow)[0, 0] - 1) * offset) ** 2 + np.array(spread)[0, 0])
    assert found.origin == "offset"
    assert found.displacement == pytest.approx(moved, rel=1e-9)


def test_twice_the_batch():
    advice = advice_of("heavy_ball")
    now, then = hand_made("heavy_ball", 300), hand_made("heavy_ball", 300, 2 * BATCH)
    ratios = advice.doubled.ratios
    names = ("variance", "excess_loss", "displacement")
    assert [ratios[name] for name in names] == pytest.approx(
        [a / b for a, b in zip(then, now, strict=True)]
    )
    half = hand_made("heavy_ball", 150, 2 * BATCH)[2]
    assert advice.doubled.same_examples == pytest.approx(half / now[2])
    assert advice.doubled.forecast.exponent == pytest.approx(advice.forecast.exponent)
    assert advice.doubled.stability.noise_gain < advice.stability.noise_gain
    assert advice_of("heavy_ball", dataset=BATCH + 1).doubled is None


def test_settings_that_keep_the_variance_of_slow_directions(name):
    spectrum = sgd.Spectrum([1e-5], 0.5)
    kept = advice_of(name, spectrum).doubled.kept_variance
    assert kept[0].learning_rate == pytest.approx(2 * RATE)
    # Where velocity and gradient are mixed the slow law has no momentum, nor has plain SGD one.
    assert len(kept) == (1 if name in ("plain_sgd", "quasi_hyperbolic") else 2)
    h = 1e-5 + DECAY
    before = stationary(name, h, 0.5e-5)[0, 0]
    for setting in kept:
        M, n = law(name, h, setting.learning_rate, setting.momentum)
        after = solve_discrete_lyapunov(M, np.outer(n, n) * 0.5e-5 / (2 * BATCH))[0, 0]
        assert setting.variance_ratio == pytest.approx(after / before, rel=1e-9)
        assert setting.variance_ratio == pytest.approx(1, rel=1e-3)


def test_a_setting_that_keeps_the_variance_may_be_unstable():
    by_rate, by_momentum = advice_of("heavy_ball", rate=0.3).doubled.kept_variance
    assert by_rate.fraction > 1
    assert by_rate.variance_ratio is None
    assert str(by_rate) == "learning rate 0.6, momentum 0.9, unstable"
    assert by_momentum.fraction < 1


# -- assumptions ------------------------------------------------------------------------------


def ratio_of(advice, words, quantity=""):
    (found,) = [
        x.ratio for x in advice.assumptions if words in x.assumption and quantity in x.quantity
    ]
    return found


def test_they_are_ranked():
    advice = advice_of("heavy_ball", dataset=1600, steps=100)
    severities = [x.severity for x in advice.assumptions]
    assert len(severities) == 5
    assert severities == sorted(severities, reverse=True)
    assert severities[0] == pytest.approx(abs(math.log(advice.assumptions[0].ratio)))


def test_sampling_by_a_hand_made_sum_over_the_epoch():
    advice = advice_of("heavy_ball", dataset=160, steps=40)
    M, n = oracles.linear_law(oracles.heavy_ball, RHO[-1] + DECAY, eta=RATE, beta=0.9)
    epochs = oracles.reshuffled_stationary(M, n, [0], BATCH, 160)[0][0][0]
    white = oracles.stationary_recursion(M, oracles.outer(n, 1 / BATCH))[0][0]
    found = ratio_of(advice, "with replacement", "flattest")
    assert found == pytest.approx(float(epochs / white), rel=1e-9)
    moved = 0.0
    for rho, count in zip(RHO, COUNTS, strict=True):
        M, n = oracles.linear_law(oracles.heavy_ball, rho + DECAY, eta=RATE, beta=0.9)
        C = oracles.reshuffled_stationary(M, n, [0, 40], BATCH, 160)
        moved += count * 0.5 * rho * 2 * (C[0][0][0] - C[40][0][0])
    expected = moved / hand_made("heavy_ball", 40)[2]
    assert ratio_of(advice, "with replacement", "displacement") == pytest.approx(expected, rel=1e-9)


def test_stationarity_by_iterating_from_rest():
    advice = advice_of("heavy_ball", steps=50)
    reached = 0.0
    for rho, count in zip(RHO, COUNTS, strict=True):
        M, n = law("heavy_ball", rho + DECAY)
        _, spread = oracles.iterate(M, np.outer(n, n) * 0.5 * rho / BATCH, 50)
        reached += count * np.array(spread)[0, 0]
    expected = reached / hand_made("heavy_ball", 50)[0]
    assert ratio_of(advice, "stationary") == pytest.approx(expected, rel=1e-9)


def test_noise_of_another_shape_and_the_same_total():
    advice = advice_of("heavy_ball")
    shape = RHO**0.9
    noise = 0.5 * shape * (COUNTS @ RHO) / (COUNTS @ shape)
    expected = hand_made("heavy_ball", 300, noise=noise)[2] / hand_made("heavy_ball", 300)[2]
    assert ratio_of(advice, "proportional") == pytest.approx(expected, rel=1e-9)
    given = sgd.Spectrum(RHO, noise_variances=0.5 * RHO, counts=COUNTS)
    told = advice_of("heavy_ball", given).assumptions
    assert not [x for x in told if "proportional" in x.assumption]


def test_discrete_time_against_the_published_langevin_equation():
    advice = advice_of("heavy_ball", steps=30, theory="continuous")
    moved = 0.0
    for rho, count in zip(RHO, COUNTS, strict=True):
        h = rho + DECAY
        A, N = oracles.langevin_law(
            *oracles.PUBLISHED["heavy_ball"](h, RATE, 0.9), h, RATE * 0.5 * rho / BATCH
        )
        A, N = np.array(A, float), np.array(N, float)
        P = solve_continuous_lyapunov(A, N)
        moved += count * 2 * (P - expm(-A * RATE * 30) @ P)[0, 0]
    assert advice.forecast.displacement == pytest.approx(moved, rel=1e-8)
    expected = hand_made("heavy_ball", 30)[2] / moved
    assert ratio_of(advice, "continuous") == pytest.approx(expected, rel=1e-8)


def test_noise_that_drives_itself_as_a_linear_regression_does():
    rho, batch = np.array([2.0, 1.0, 1.0, 0.1]), 3
    hyper = sgd.Hyperparameters(0.05, 0.5, batch)
    problem = sgd.GaussianInputs(rho, noise_scale=0.2)
    counted = AdvisedRun(hyper, sgd.Spectrum([2.0, 1.0, 0.1], 0.2, counts=[1, 2, 1]))
    loop = self_driven_noise(counted)
    # The second moments themselves, one update after the other.
    late = problem.moments(hyper, 20_000, position=0.0).second_moments[:, 0, 0]
    constant = [
        solve_discrete_lyapunov(M, np.outer(n, n) * 0.2 * r / batch)[0, 0]
        for r in rho
        for M, n in [law("heavy_ball", r, 0.05, 0.5)]
    ]
    assert loop.gain < 1
    assert loop.amplification == pytest.approx((rho @ late) / (rho @ constant), rel=1e-9)
    limit = problem.stability_limit(hyper)
    for factor, bounded in ((0.999, True), (1.001, False)):
        at = counted.but(hyperparameters=sgd.Hyperparameters(factor * limit, 0.5, batch))
        assert (self_driven_noise(at).gain < 1) == bounded
        assert np.isfinite(self_driven_noise(at).amplification) == bounded


def test_a_deviation_along_a_falling_direction_grows():
    M, _ = law("heavy_ball", -0.3 + DECAY)
    grown = np.linalg.matrix_power(M, 60)[0, 0]
    for handling in ("drop", "clamp", "drift"):
        spectrum = sgd.Spectrum.from_hessian_eigenvalues([1.0, 0.1, -0.3], negative=handling)
        advice = advice_of("heavy_ball", spectrum, steps=60)
        assert ratio_of(advice, "falls") == pytest.approx(grown, rel=1e-9)
        assert "1 negative directions" in str(advice)
    assert not advice_of("heavy_ball").stability.falling_directions


# -- millions of directions -------------------------------------------------------------------


def test_many_eigenvalues_are_as_their_sum():
    rng = np.random.default_rng(0)
    rho = 10 ** rng.uniform(-8, 0, 300_000)
    hyper = sgd.Hyperparameters(0.3, 0.9, 64, dataset_size=50_000)
    spectrum = sgd.Spectrum(rho)
    advice = advise(hyper, spectrum, steps=1000)
    whole = sgd.Predictor(hyper, spectrum)
    assert len(advice.run.total.spectrum) < 2000
    assert advice.forecast.displacement == pytest.approx(whole.displacement(1000), rel=1e-6)
    assert sum(part.directions for part in advice.ranges) == 300_000


def test_many_offsets_are_as_their_sum():
    rng = np.random.default_rng(2)
    spectrum = sgd.Spectrum(10 ** rng.uniform(-8, 0, 30_000))
    hyper, offsets = sgd.Hyperparameters(0.3, 0.9, 64), rng.normal(size=30_000)
    offsets[:100] = 0.0
    advice = advise(hyper, spectrum, steps=300, start=offsets)
    expected = sgd.Predictor(hyper, spectrum).displacement(300, position=offsets)
    assert len(advice.run.total.spectrum) < 4000
    assert advice.forecast.displacement == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rate", [0.3, 8.0])
def test_many_of_which_some_do_not_settle(rate):
    rng = np.random.default_rng(1)
    rho = 10 ** rng.uniform(-6, 0, 50_000)
    rho[:10_000], rho[10_000:10_100] = 0.0, -1e-4 * rho[10_000:10_100]
    noise = np.abs(rho) + 1e-3 * rng.uniform(size=len(rho))
    spectrum = sgd.Spectrum(rho, noise_variances=noise)
    hyper = sgd.Hyperparameters(rate, 0.9, 64)
    advice = advise(hyper, spectrum, steps=50)
    assert (advice.forecast.origin, advice.stability.stable) == ("minimum", rate < 1)
    assert len(advice.run.total.spectrum) < 20_000
    expected = sgd.Predictor(hyper, spectrum).displacement(50, position=0.0)
    assert advice.forecast.displacement == pytest.approx(expected, rel=1e-6)
    assert advice.stability.flat_directions == 10_000
    assert advice.stability.falling_directions == 100


# -- whatever a run can be --------------------------------------------------------------------

H = sgd.Hyperparameters
NOISY_FLAT = sgd.Spectrum([1.0, 0.0], noise_variances=[1.0, 1.0])
EDGES = {
    "one mode": (H(0.1, 0.9, 8), sgd.Spectrum([1.0]), {}),
    "one update": (H(0.1, 0.9, 8), sgd.Spectrum([1.0]), {"steps": 1}),
    "alternating": (H(1.5), sgd.Spectrum([1.0]), {"steps": 3}),
    "critical": (H(1.0), sgd.Spectrum([1.0]), {}),
    "at the limit": (H(2.0), sgd.Spectrum([1.0, 0.1]), {"steps": 20}),
    "unstable": (H(5.0, 0.9, 8), sgd.Spectrum([1.0, 0.1]), {}),
    "nothing settles": (H(50.0, 0.9), sgd.Spectrum([1.0, 0.8]), {}),
    "zeros": (H(0.1, 0.9, 8), sgd.Spectrum([1.0, 0.0]), {}),
    "zeros that decay": (H(0.1, 0.9, 8, 1e-4), sgd.Spectrum([1.0, 0.0]), {}),
    "flat with noise": (H(0.1, 0.9, 8), NOISY_FLAT, {"steps": 50}),
    "all flat": (H(0.1, 0.9), sgd.Spectrum([0.0], noise_variances=[1.0]), {}),
    "noiseless": (H(0.1, 0.9), sgd.Spectrum([1.0], 0.0), {}),
    "noiseless, off": (H(0.1, 0.9), sgd.Spectrum([1.0], 0.0), {"start": 0.1}),
    "falling": (H(0.1, 0.9), sgd.Spectrum([-1.0], noise_variances=[1.0]), {}),
    "hardly curved": (H(1e-6), sgd.Spectrum([1.0, 1e-18]), {}),
    "very long": (H(0.1, 0.9, 8), sgd.Spectrum(RHO), {"steps": 2**52}),
    "epochs": (H(0.1, 0.9, 8, 1e-4, 800), sgd.Spectrum(RHO), {"sampling": "epochs"}),
    "fixed": (H(0.1, 0.9, 8, 0, 80), sgd.Spectrum(RHO), {"sampling": "fixed_order", "steps": 21}),
    "one batch": (H(0.1, 0.9, 80, 0, 80), sgd.Spectrum(RHO), {"sampling": "epochs"}),
    "half an example": (H(0.1, 0.9, 8.5, 0, 80), sgd.Spectrum(RHO), {}),
    "continuous": (H(0.1, 0.9, 8), sgd.Spectrum(RHO), {"theory": "continuous"}),
    "continuous Nesterov": (
        H(0.1, 0.9, 8),
        sgd.Spectrum(RHO),
        {"theory": "continuous", "rule": sgd.nesterov()},
    ),
    "own rule": (
        H(0.1, 0.9, 8),
        sgd.Spectrum(RHO),
        {
            "rule": sgd.UpdateRule(
                velocity=s.beta * s.v - s.g,
                position=s.theta + s.eta * s.v_next,
                gradient_at=s.theta + s.eta * s.beta * s.v,
            )
        },
    ),
    "density": (
        H(0.1, 0.9, 8),
        sgd.Spectrum.from_density(marchenko_pastur(0.5, directions=100)),
        {},
    ),
    "unstable density": (
        H(9.0, 0.9, 8),
        sgd.Spectrum.from_density(marchenko_pastur(0.5, directions=100)),
        {"steps": 20},
    ),
}


@cache
def edge(case):
    hyper, spectrum, settings = EDGES[case]
    return advise(hyper, spectrum, **settings)


@pytest.mark.parametrize("case", EDGES)
def test_words_and_numbers_whatever_the_run(case):
    advice = edge(case)
    text = str(advice)
    for missing in ("nan", "inf", "None", "np.float"):
        assert missing not in text
    sections = advice.sections
    assert {"The run", "Stability", "Regimes", "Displacement"} <= sections.keys()
    for sentence in (x for sentences in sections.values() for x in sentences):
        assert sentence in text
        assert sentence in advice._repr_markdown_()
    numbers = json.loads(json.dumps(advice.as_dict(), allow_nan=False))
    assert numbers["stability"]["largest_step"] == advice.stability.largest_step
    assert numbers.keys() == {"settings"} | {x.name for x in fields(advice)} - {"run"}


@pytest.mark.parametrize("h", [28.018131659742636, 0.2600411435233663, 0.0027366898871297013])
@pytest.mark.parametrize("roundings", [-2, 0, 2])
def test_at_the_limit_itself_rounding_decides_nothing(h, roundings):
    rate = 3.8 / h * (1 + roundings * np.finfo(np.float64).eps)
    advice = advise(H(rate, 0.9, 8), sgd.Spectrum([h, 0.1 * h]), steps=10)
    assert not advice.stability.stable
    assert advice.stability.unstable_directions == 1
    assert advice.forecast.origin == "minimum"


def test_an_unstable_run_is_told_what_to_change():
    advice = advise(H(5.0, 0.9, 8), sgd.Spectrum([1.0, 0.1]))
    first, *_ = advice.sections["Stability"]
    assert first == (
        "UNSTABLE. Directions that grow without limit: 1; lower the learning rate below 3.8."
    )
    steep, gentle = advice.ranges
    assert (steep.stable, gentle.stable) == (False, True)
    lowered = advise(H(3.7, 0.9, 8), sgd.Spectrum([1.0, 0.1]))
    assert lowered.stability.stable


def test_tensors_are_numbers():
    torch = pytest.importorskip("torch")
    rate = torch.tensor(RATE, dtype=torch.float64, requires_grad=True)
    rho = torch.tensor(RHO, requires_grad=True)
    advice = advise(H(rate, 0.9, 8), sgd.Spectrum(rho), steps=10)
    assert str(advice) == str(advise(H(RATE, 0.9, 8), sgd.Spectrum(RHO), steps=10))


REFUSED = {
    "give a Spectrum; a Landscape's": {"spectrum": sgd.Landscape(np.eye(2), np.eye(2))},
    "advice takes one setting": {"hyperparameters": H(np.array([0.1, 0.2]))},
    "counts of both signs": {
        "spectrum": sgd.Spectrum(0.5 + 1e-9 * np.arange(1000.0)).compress(1e-6, momentum=0.5)
    },
    "so nothing moves": {"spectrum": sgd.Spectrum([0.0])},
    r"steps = 0.5": {"steps": 0.5},
    r"steps = 1.5: give a whole": {"steps": 1.5},
    "start = 'here'": {"start": "here"},
    r"position has shape \(2,\)": {"start": [1.0, 2.0]},
    "theory = 'classical'": {"theory": "classical"},
    "needs a data set": {"sampling": "epochs"},
    "hyperparameters = 0.1": {"hyperparameters": 0.1},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_run_can_have_is_refused(message):
    given = {"hyperparameters": H(0.1), "spectrum": sgd.Spectrum([1.0]), **REFUSED[message]}
    with pytest.raises(ValueError, match=message):
        advise(**given)


# -- the picture ------------------------------------------------------------------------------


@pytest.fixture
def closed():
    yield
    matplotlib.pyplot.close("all")


@pytest.mark.usefixtures("closed")
def test_the_picture_shows_the_displacement_its_parts_and_the_regimes():
    advice = advice_of("heavy_ball", start=0.01)
    growth, slope, regimes = plot_advice(advice)
    lines = {line.get_label(): line.get_data() for line in growth.lines}
    steps, total = lines["total"]
    assert total[steps == 1][0] == pytest.approx(
        sgd.Predictor(
            advice.run.hyperparameters, sgd.Spectrum(RHO, 0.5, counts=COUNTS)
        ).displacement(1, position=0.01)
    )
    np.testing.assert_allclose(lines["drift"][1] + lines["noise"][1], total, rtol=1e-12)
    assert slope.lines[0].get_xdata().tolist() == steps.tolist()
    # Crossovers that are near to one another share a text.
    names = {name for text in growth.texts for name in text.get_text().split(", ")}
    assert {"velocity forgotten", "run's length"} <= names
    labels = [text.get_text() for text in regimes.get_legend().get_texts()]
    assert {"underdamped", "overdamped", "unstable beyond"} <= set(labels)
    limit = next(x for x in regimes.lines if x.get_label() == "unstable beyond").get_xdata()[0]
    assert RATE * limit == pytest.approx(advice.stability.step_limit)
    for axis in (growth, slope, regimes):
        assert axis.get_xlabel()
        assert axis.get_ylabel()
    # Told apart without colour.
    assert len({line.get_linestyle() for line in growth.lines if line.get_label()[0] != "_"}) == 3
    hatches = [patch.get_hatch() for patch in regimes.patches]
    assert len(set(hatches)) == len(hatches) == 2


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize(
    "case",
    [
        "one mode",
        "nothing settles",
        "zeros that decay",
        "all flat",
        "noiseless",
        "falling",
        "fixed",
    ],
)
def test_there_is_a_picture_whatever_the_run(case):
    axes = plot_advice(edge(case))
    axes[0].figure.canvas.draw()


@pytest.mark.usefixtures("closed")
def test_it_draws_where_it_is_told():
    _, mine = matplotlib.pyplot.subplots(1, 3)
    assert plot_advice(advice_of("heavy_ball"), mine).tolist() == mine.tolist()
    with pytest.raises(ValueError, match="3 matplotlib Axes"):
        plot_advice(advice_of("heavy_ball"), mine[:2])


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    advice, kept = advice_of("heavy_ball"), builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"sgdtheory\[plot\]"):
        plot_advice(advice)
