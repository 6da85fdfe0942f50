"""Estimators: their values on small arrays, and the coverage of their standard errors."""

import numpy as np
import pytest
import torch
from scipy import stats

from validation.estimators import Estimate, averages, jackknife, replica_mean, z_scores
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
