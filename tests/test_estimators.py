"""Estimators: their values on small arrays, and the coverage of their standard errors."""

import numpy as np
import pytest
import torch
from scipy import stats

from validation.estimators import (
    Estimate,
    autocorrelation,
    averages,
    bootstrap_of_means,
    circulation,
    covariance,
    cross_correlation,
    displacement,
    dissipation_ratio,
    exponents,
    function_of_means,
    integrated_autocorrelation,
    jackknife,
    mean,
    noise_alignment,
    replica_mean,
    rotation_rates,
    skewness,
    slope,
    stationarity_tests,
    stationary_ratio,
    variance,
    z_scores,
)
from validation.estimators.integrated_time import autocovariance
from validation.trajectories import Segment


def random_segment(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 9, 4)
    return Segment(
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.randn(shape, generator=generator, dtype=torch.float64),
    )


def by_hand(segment, lag):
    """Time averages, one element after the other."""
    x, v = segment.positions.numpy(), segment.velocities.numpy()
    replicas, directions, times, _ = x.shape
    product = np.zeros((replicas, directions))
    displacement = np.zeros(replicas)
    circulation = np.zeros((replicas, directions))
    for t in range(times - lag):
        product += (x[:, :, t] * x[:, :, t + lag]).sum(-1) / (times - lag)
        displacement += ((x[:, :, t + lag] - x[:, :, t]) ** 2).sum((1, 2)) / (times - lag)
    for t in range(times - 1):
        area = x[:, :, t + 1] * v[:, :, t] - v[:, :, t + 1] * x[:, :, t]
        circulation += area.sum(-1) / 2 / (times - 1)
    return product, displacement, circulation


def test_averages_over_segments_are_those_taken_by_hand():
    segments = [random_segment(1), random_segment(2)]
    found = averages(segments, (1, 3))
    for index, lag in enumerate((1, 3)):
        both = [by_hand(segment, lag) for segment in segments]
        expected = [np.mean(parts, axis=0) for parts in zip(*both, strict=True)]
        np.testing.assert_allclose(found.products[:, index], expected[0], atol=1e-13)
        np.testing.assert_allclose(found.displacement[:, index], expected[1], atol=1e-13)
        np.testing.assert_allclose(found.circulation, expected[2], atol=1e-13)
    squares = np.mean([(s.positions**2).mean(2).sum(-1).numpy() for s in segments], axis=0)
    np.testing.assert_allclose(found.position_variance, squares, atol=1e-13)


def test_jackknife_of_a_mean_is_the_mean_and_its_standard_error():
    samples = np.random.default_rng(0).normal(size=(20, 3))
    found, expected = jackknife(lambda mean: mean, samples), replica_mean(samples)
    np.testing.assert_allclose(found.value, expected.value, atol=1e-13)
    np.testing.assert_allclose(found.standard_error, expected.standard_error, rtol=1e-12)


def test_jackknife_removes_most_of_the_bias_of_a_ratio():
    generator = np.random.default_rng(1)
    plain, corrected = [], []
    for _ in range(4000):
        samples = generator.exponential(size=(10, 1))
        plain.append(1 / samples.mean())
        corrected.append(jackknife(lambda mean: 1 / mean, samples).value[0])
    # E[1/mean of n exponentials] = n/(n − 1): 11 % too high for n = 10.
    assert np.mean(plain) == pytest.approx(10 / 9, abs=5 * np.std(plain) / np.sqrt(4000))
    assert abs(np.mean(corrected) - 1) < 0.5 * (np.mean(plain) - 1)


def test_replica_intervals_cover_autocorrelated_series():
    # AR(1) with memory 20 updates, 16 replicas of 200 updates: naive errors would be 6 times too
    # small. 1000 intervals at 95 %: their coverage lies within 93 to 97 % with probability 99.6 %.
    generator = np.random.default_rng(2)
    a, repeats, replicas, length = 0.95, 1000, 16, 200
    x = generator.normal(size=(repeats, replicas)) / np.sqrt(1 - a * a)
    total = np.zeros_like(x)
    for _ in range(length):
        total += x / length
        x = a * x + generator.normal(size=x.shape)
    covered = 0
    for samples in total:
        z = z_scores(replica_mean(samples[:, None]), np.zeros(1))
        covered += abs(z[0]) < stats.norm.isf(0.025)
    assert 0.93 < covered / repeats < 0.97


def test_z_scores_have_the_normal_false_alarm_rate_with_few_replicas():
    # 20,000 tests at 1 %: five standard deviations of the count around 200 are 70.
    samples = np.random.default_rng(3).normal(size=(6, 20_000))
    z = z_scores(replica_mean(samples), np.zeros(20_000))
    alarms = int((np.abs(z) > stats.norm.isf(0.005)).sum())
    assert 130 < alarms < 270


def test_z_scores_keep_sign_and_stay_finite_far_away():
    estimate = Estimate(np.array([1.0, -1.0]), np.array([1e-9, 1e-9]), 1000)
    z = z_scores(estimate, np.zeros(2))
    assert z[0] > 35
    assert z[1] < -35
    assert np.isfinite(z).all()


def autoregression(a, chains, time, seed, quantities=1):
    """Stationary AR(1) of unit variance, (chains, time, quantities)."""
    generator = np.random.default_rng(seed)
    x = np.empty((chains, time, quantities))
    x[:, 0] = generator.standard_normal((chains, quantities))
    for k in range(1, time):
        kick = np.sqrt(1 - a * a) * generator.standard_normal((chains, quantities))
        x[:, k] = a * x[:, k - 1] + kick
    return x


def oscillation(chains, time, seed, momentum=0.9, pull=0.2):
    """Heavy ball with η = 1, from rest: positions, velocities and gradients."""
    generator = np.random.default_rng(seed)
    x, v, kept = np.zeros(chains), np.zeros(chains), []
    for _ in range(time + 300):
        gradient = pull * x + generator.standard_normal(chains)
        kept.append((x, v, gradient))
        v = momentum * v - gradient
        x = x + v
    return np.moveaxis(np.array(kept[300:]), (0, 1, 2), (1, 0, 2)).swapaxes(1, 2)[..., None]


def test_autocovariance_by_fourier_transform_is_that_taken_by_hand():
    x = np.random.default_rng(4).normal(size=(3, 11, 2)) + 5
    centered = x - x.mean(axis=(0, 1))
    expected = [(centered[:, lag:] * centered[:, : 11 - lag]).mean((0, 1)) for lag in range(11)]
    np.testing.assert_allclose(autocovariance(x), expected, atol=1e-13)


def test_integrated_time_of_an_autoregression_is_that_known():
    # Bound of 4 of its own standard errors on 20 values: a false alarm in 800.
    for a in (0.0, 0.5, 0.9):
        found = integrated_autocorrelation(autoregression(a, 4, 4000, 5, quantities=20))
        exact = (1 + a) / (2 * (1 - a))
        assert (np.abs(found.time - exact) < 4 * found.standard_error).all()
        assert not found.short.any()


def test_a_window_over_all_lags_is_the_spread_of_the_replicas():
    x = autoregression(0.99, 40, 12, 6)
    found = integrated_autocorrelation(x)
    assert found.window[0] == 11
    spread = x.mean(axis=1).std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(found.mean_error, spread, rtol=1e-10)
    np.testing.assert_allclose(found.degrees_of_freedom, 39)


def test_records_shorter_than_fifty_integrated_times_are_marked():
    # 4 to 16 integrated times; too short a record hides its memory, so that one in six escapes.
    x = autoregression(0.98, 1, 400, 23, quantities=200)
    assert integrated_autocorrelation(x).short.all()
    assert variance(x).short.mean() > 0.75
    assert not integrated_autocorrelation(autoregression(0.5, 1, 4000, 24)).short.any()


def test_errors_of_a_ratio_of_white_series_are_those_of_the_delta_method():
    # Windows cost N/(2W + 1) degrees of freedom: 17 of 20,000 make an error of 2 % of the error.
    generator = np.random.default_rng(8)
    x, y = generator.normal(3, 1, (4, 5000, 1)), generator.normal(2, 1, (4, 5000, 1))
    found = function_of_means(lambda a, b: a / b, x, y)
    expected = (3 / 2) * np.sqrt((1 / 9 + 1 / 4) / 20_000)
    assert found.standard_error[0] == pytest.approx(expected, rel=0.1)


def test_a_linear_function_of_means_has_no_bias():
    x = autoregression(0.5, 4, 100, 9)
    found = function_of_means(lambda a, b: 2 * a - b, x, x**2)
    assert abs(found.bias[0]) < 1e-9
    np.testing.assert_allclose(found.value, (2 * x - x**2).mean((0, 1)), atol=1e-9)


def test_the_bias_of_the_variance_of_a_short_record_is_taken_off():
    # 2000 records of 8 relaxation times, 4 chains: the mean of all has its own variance. Bounds
    # of four standard errors of the average over records: a false alarm in 16,000.
    found = variance(autoregression(0.9, 4, 80, 10, quantities=2000))
    error = found.value.std() / np.sqrt(2000)
    assert (found.value + found.bias).mean() < 1 - 4 * error
    left = 1 - found.value.mean()
    assert left < 0.5 * -found.bias.mean()


def test_correlations_and_circulation_are_those_taken_by_hand():
    x, v, _ = oscillation(3, 200, 11)
    a, b = x[:, :190].ravel(), v[:, 10:].ravel()
    found = cross_correlation(x, v, [10])
    np.testing.assert_allclose((found.value + found.bias)[0], np.corrcoef(a, b)[0, 1], atol=1e-12)
    ends = (x[:, 1:, 0], v[:, :-1, 0], v[:, 1:, 0], x[:, :-1, 0])
    forth, back = (np.cov(p.ravel(), q.ravel(), ddof=0)[0, 1] for p, q in (ends[:2], ends[2:]))
    area = circulation(x, v)
    np.testing.assert_allclose((area.value + area.bias)[0], (forth - back) / 2, atol=1e-12)


def test_moments_are_those_of_scipy():
    x, v, _ = oscillation(3, 200, 12)
    for found, expected in (
        (mean(x + 1e3), 1e3 + x.mean()),
        (variance(x), x.var()),
        (covariance(x, v), np.cov(x.ravel(), v.ravel(), ddof=0)[0, 1]),
        (skewness(x), stats.skew(x, axis=None)),
    ):
        np.testing.assert_allclose(found.value[0] + found.bias[0], expected, atol=1e-9)


def test_rotation_is_that_of_least_squares():
    x, _, _ = oscillation(3, 400, 13)
    columns = [np.ones((3, 398)), x[:, 1:-1, 0], x[:, :-2, 0]]
    design = np.stack([column.ravel() for column in columns], axis=1)
    _, a, b = np.linalg.lstsq(design, x[:, 2:, 0].ravel(), rcond=None)[0]
    found = rotation_rates(x, learning_rate=0.5)
    np.testing.assert_allclose(found.coefficient.value + found.coefficient.bias, a, rtol=1e-9)
    np.testing.assert_allclose(found.memory.value + found.memory.bias, b, rtol=1e-9)
    root = np.log(np.roots([1, -a, -b])[0]) / 0.5
    for one, expected in (
        (found.friction, -root.real),
        (found.frequency, abs(root.imag)),
        (found.natural_frequency_squared, abs(root) ** 2),
    ):
        np.testing.assert_allclose(one.value + one.bias, expected, rtol=1e-9)


def test_a_position_that_changes_its_sign_every_update_has_no_frequency():
    rng, x = np.random.default_rng(15), np.zeros((4, 2000, 1))
    a, b = -1.45, -0.5  # heavy ball with β = 0.5 and ηh = 2.95
    for k in range(2, 2000):
        x[:, k] = a * x[:, k - 1] + b * x[:, k - 2] + rng.normal(size=(4, 1))
    found = rotation_rates(x, learning_rate=1.0)
    assert np.isnan(found.frequency.value)
    assert np.isnan(found.natural_frequency_squared.value)
    assert abs(found.friction.value + np.log(0.5) / 2) < 4 * found.friction.standard_error


def test_a_direction_that_stands_still_is_named():
    x = np.random.default_rng(16).normal(size=(2, 50, 3))
    x[..., 1] = 0.25
    with pytest.raises(ValueError, match=r"Directions \[1\] stand still"):
        rotation_rates(x, learning_rate=1.0)


def test_displacement_and_slopes_are_those_taken_by_hand():
    x = np.random.default_rng(14).normal(size=(3, 60, 2)).cumsum(axis=1)
    lags, origins = (1, 2, 5), 55
    expected = []
    for lag in lags:
        moved = x[:, lag : lag + origins] - x[:, :origins]
        expected.append((moved**2).sum(-1).mean())
    curve, steps = displacement(x, lags), exponents(x, lags)
    line = slope(x, lags, "equal")
    np.testing.assert_allclose(curve.value, expected, rtol=1e-12)
    logs = np.log(lags)
    local = np.diff(np.log(expected)) / np.diff(logs)
    np.testing.assert_allclose(steps.value + steps.bias, local, rtol=1e-9)
    fitted = np.polyfit(logs, np.log(expected), 1)[0]
    np.testing.assert_allclose(line.value + line.bias, fitted, rtol=1e-9)


def test_generalized_least_squares_is_surer_than_equal_weights():
    x = np.random.default_rng(15).normal(size=(4, 4000, 1)).cumsum(axis=1)
    lags = (1, 2, 4, 8, 16, 32)
    general, equal = slope(x, lags), slope(x, lags, "equal")
    assert general.standard_error[0] < 0.8 * equal.standard_error[0]


def test_plain_and_unbiased_commutator_of_commuting_noise():
    # 400 sets of 400 examples whose noise commutes with H: bounds of four standard errors.
    generator, hessian = np.random.default_rng(16), np.diag([3.0, 1.0, 0.5])
    values, plain, wanted = [], [], []
    for _ in range(400):
        g = generator.standard_normal((400, 3)) * np.sqrt([3.0, 1.0, 0.5]) + 7
        found = noise_alignment(g, hessian).commutator_squared
        values.append(found.value[0])
        plain.append(found.value[0] + found.bias[0])
        noise = np.cov(g, rowvar=False)
        bracket = hessian @ noise - noise @ hessian
        wanted.append((bracket**2).sum() / (hessian**2).sum() / (noise**2).sum())
    np.testing.assert_allclose(plain, wanted, rtol=1e-9)
    error = np.std(values) / 20
    assert abs(np.mean(values)) < 4 * error
    assert np.mean(plain) > 10 * error


def test_scale_and_cosine_of_noise_are_the_plain_ones_less_their_bias():
    generator = np.random.default_rng(17)
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    g = generator.standard_normal((300, 2)) @ np.array([[1.0, 0.3], [0.0, 0.7]])
    noise, found = np.cov(g, rowvar=False), noise_alignment(g, hessian)
    cosine = (noise * hessian).sum() / np.linalg.norm(noise) / np.linalg.norm(hessian)
    scale = np.trace(noise) / np.trace(hessian)
    np.testing.assert_allclose(found.scale.value + found.scale.bias, scale, rtol=1e-12)
    np.testing.assert_allclose(found.cosine.value + found.cosine.bias, cosine, rtol=1e-12)


def test_dissipation_balances_on_a_loss_that_is_not_quadratic():
    # L = θ⁴/4 with η = 0.1, β = 0.8: one z-score of 3.3 in a thousand tests.
    generator, eta, beta = np.random.default_rng(18), 0.1, 0.8
    x, v, kept = np.zeros(64), np.zeros(64), []
    for _ in range(1300):
        gradient = x**3 + generator.standard_normal(64)
        kept.append((x, v, gradient))
        v = beta * v - gradient
        x = x + eta * v
    states = np.array(kept[300:]).transpose(1, 2, 0)[..., None]
    assert abs(z_scores(dissipation_ratio(*states, eta, beta), 1.0)[0]) < 3.3
    assert abs(z_scores(dissipation_ratio(*states, eta, 0.7), 1.0)[0]) > 3.3


def test_a_ratio_of_variances_knows_a_wrong_curvature():
    x, v, _ = oscillation(16, 2000, 19)
    assert abs(z_scores(stationary_ratio(x, v, np.array([0.2]), 1.0, 0.9), 1.0)[0]) < 3.3
    assert z_scores(stationary_ratio(x, v, np.array([0.3]), 1.0, 0.9), 1.0)[0] > 3.3


def test_a_drift_and_a_growing_spread_are_seen():
    x = autoregression(0.8, 8, 1000, 20)
    time = np.linspace(0, 1, 1000)[:, None]
    drifting, growing = stationarity_tests(x + time), stationarity_tests(x * (1 + time))
    assert drifting.mean_trend.p_value[0] < 1e-3
    assert drifting.mean_early_late.p_value[0] < 1e-3
    assert growing.variance_trend.p_value[0] < 1e-3
    assert growing.variance_early_late.p_value[0] < 1e-3
    assert drifting.p_value()[0] < 4e-3


def test_contrasts_of_stationarity_are_those_taken_by_hand():
    x = autoregression(0.8, 4, 300, 21)
    found = stationarity_tests(x)
    pooled = x.mean(axis=(0, 2))
    late = pooled[200:].mean() - pooled[:100].mean()
    rise = np.polyfit(np.arange(300), pooled, 1)[0] * 299
    np.testing.assert_allclose(found.mean_early_late.difference.value, late, rtol=1e-10)
    np.testing.assert_allclose(found.mean_trend.difference.value, rise, rtol=1e-9)


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_bootstrap_and_gamma_method_agree(scheme):
    # Blocks of b times miss τ/b of the squared error, and 400 resamples have an error of 3.5 %.
    x = autoregression(0.7, 4, 2000, 22)
    drawn = bootstrap_of_means(lambda s, m: s - m**2, x**2, x, scheme=scheme, seed=1)
    exact = variance(x)
    assert drawn.standard_error[0] == pytest.approx(exact.standard_error[0], rel=0.25)
    assert abs(drawn.value[0] - exact.value[0]) < 0.2 * exact.standard_error[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean(np.zeros(10)), "single chain"),
        (lambda: covariance(np.zeros((2, 9, 1)), np.zeros((2, 8, 1))), "same updates"),
        (lambda: mean(np.full((1, 9, 1), np.nan)), "diverged"),
        (lambda: autocorrelation(np.zeros((2, 9, 1)), [5]), "half a chain"),
        (lambda: exponents(np.ones((2, 9, 1)), [2, 1]), "ascending"),
        (lambda: noise_alignment(np.ones((100, 2)), np.eye(3)), "same d parameters"),
        (lambda: noise_alignment(np.ones((10, 2)), np.eye(2)), "cannot fill"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
