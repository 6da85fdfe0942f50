"""Constants from a record: coverage, an independent likelihood, refusals, and predictions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.recursion_likelihood import Record, RestrictedLikelihood
from validation.calibration_coverage import (
    BATCH,
    CELLS,
    EPOCH_CELLS,
    NOISE,
    RATE,
    coverage,
    epochs_bias,
    simulated,
)

BY_NAME = {(cell.name, cell.curvature): cell for cell in reversed(CELLS)}
REPLICATED = next(cell for cell in CELLS if cell.replicas > 1)


@pytest.mark.parametrize(
    "key", [("plain SGD", 1.0), ("heavy ball", 2.0), ("Nesterov", 0.5), ("quasi-hyperbolic", 0.5)]
)
def test_intervals_cover(key):
    """400 runs each; binomial limits of 95 %, at a false-alarm rate of 1 % for all ten shares."""
    runs = 400
    low, high = stats.binom.ppf([0.0005, 0.9995], runs, 0.95) / runs
    found = coverage(BY_NAME[key], runs, seed=1)
    for name in ("curvature", "noise", "momentum"):
        assert np.isnan(found[name]) or low <= found[name] <= high
    assert found["whiteness"] < stats.binom.ppf(0.9995, runs, 0.05) / runs


def test_short_replicas_cover_and_raise_no_alarms():
    """20 replicas of a fifth of a relaxation time; 400 runs, 1 % for all three shares."""
    low, high = stats.binom.ppf([0.0015, 0.9985], 400, 0.95) / 400
    found = coverage(REPLICATED, 400, seed=8)
    assert low <= found["curvature"] <= high
    assert low <= found["noise"] <= high
    assert found["whiteness"] < stats.binom.ppf(0.9985, 400, 0.05) / 400


def test_a_given_start_is_told_by_regression_alone():
    """With the first state given and an intercept, least squares are the likelihood's maximum."""
    rng, far = np.random.default_rng(9), [np.full(4, 3.0)]
    for _ in range(1000):
        far.append(far[-1] - RATE * (far[-1] + 0.3 * rng.standard_normal(4)))
    far = np.array(far)
    found = sgd.calibrate(far, sgd.Hyperparameters(RATE, 0, BATCH), start="given")
    for i in range(4):
        fit = stats.linregress(far[1:-1, i], far[2:, i])
        np.testing.assert_allclose(found.curvature[i], (1 - fit.slope) / RATE, rtol=1e-5)
        np.testing.assert_allclose(found.curvature_error[i], fit.stderr / RATE, rtol=0.01)
        at = fit.intercept / (1 - fit.slope)
        np.testing.assert_allclose(found.minimum[i], at, atol=1e-5)


@pytest.mark.parametrize("key", [("plain SGD", 0.1), ("heavy ball", 2.0)])
def test_a_pooled_noise_scale_is_not_biased_by_slow_directions(key):
    """30 runs of 20 directions; mean and number of large z at 0.1 % each."""
    cell = BY_NAME[key]
    positions, velocities = simulated(cell, 600, seed=10)
    hyper, z = sgd.Hyperparameters(RATE, cell.momentum, BATCH), []
    for i in range(0, 600, 20):
        found = sgd.calibrate(positions[:, i : i + 20], hyper, velocities[:, i : i + 20])
        scale, error = found.noise_scale
        z.append((scale - NOISE / cell.curvature) / error)
    assert abs(np.mean(z)) < 3.3 * stats.sem(z)
    assert np.sum(np.abs(z) > 1.96) <= stats.binom.ppf(0.999, len(z), 0.05)


def test_epochs_are_refused_since_they_would_mislead():
    """Long epochs: curvature several times too large, and residuals that look white."""
    found = epochs_bias(EPOCH_CELLS[1], 64, runs=50)
    assert float(found["median of h / truth"]) > 5
    assert float(found["whiteness p < 0.05"]) < 0.3


def dense_restricted_likelihood(theta, v, h, beta):
    """By the Gaussian law of the whole record: its covariance matrix, inverted as a whole."""
    M = np.array([[1 - RATE * h, RATE * beta], [-h, beta]])
    n = np.array([-RATE, -1.0])
    P = np.linalg.solve(np.eye(4) - np.kron(M, M), np.outer(n, n).ravel()).reshape(2, 2)
    steps = len(theta)
    # Positions and velocities of all states but the first are degenerate: keep θ_0 and every v.
    picked = [0] + [2 * i + 1 for i in range(steps)]
    C = np.zeros((2 * steps, 2 * steps))
    for i in range(steps):
        power = P
        for j in range(i, steps):
            C[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] = power
            C[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = power.T
            power = M @ power
    C = C[np.ix_(picked, picked)]
    data = np.concatenate([theta[:1], v])
    mean = np.zeros(len(data))
    mean[0] = 1.0
    inverse = np.linalg.inv(C)
    weight = mean @ inverse @ mean
    squares = data @ inverse @ data - (mean @ inverse @ data) ** 2 / weight
    freedom = len(data) - 1
    determinant = np.linalg.slogdet(C)[1]
    return -0.5 * (freedom * np.log(squares) + determinant + np.log(weight))


def test_the_likelihood_is_that_of_the_whole_record():
    """μ is seen through θ_0 alone in these coordinates, so differences between settings agree."""
    cell = BY_NAME["heavy ball", 2.0]
    positions, velocities = simulated(cell, 1, seed=3)
    theta, v = positions[:40], velocities[:40]
    origin = theta.mean()
    likelihood = RestrictedLikelihood(Record.of(theta[None], v[None]), sgd.heavy_ball(), RATE, 0.9)
    settings = [(2.0, 0.9), (1.0, 0.9), (3.0, 0.8), (0.2, 0.95)]
    ours = [likelihood(np.array([[np.log(h), np.log1p(-beta)]]))[0] for h, beta in settings]
    whole = [dense_restricted_likelihood(theta[:, 0] - origin, v[:, 0], *x) for x in settings]
    np.testing.assert_allclose(np.diff(ours), np.diff(whole), rtol=1e-6)


def test_a_calibrated_spectrum_predicts_what_was_held_back():
    """Displacement of the second half of 64 replicas; z of four lags at 0.1 % in all."""
    rng = np.random.default_rng(7)
    h, noise = np.array([2.0, 0.3]), np.array([1.0, 4.0])
    hyper = sgd.Hyperparameters(RATE, 0.8, BATCH, weight_decay=0.1)
    x, v, path = np.zeros((64, 2)), np.zeros((64, 2)), []
    for _ in range(4400):
        gradient = h * x + np.sqrt(noise / BATCH) * rng.standard_normal(x.shape)
        v = 0.8 * v - gradient
        x = x + RATE * v
        path.append(x)
    path = np.array(path[400:]).transpose(1, 0, 2)
    found = sgd.calibrate(path[:, :2000], hyper)
    np.testing.assert_allclose(found.curvature, h, atol=4 * found.curvature_error.max())
    assert np.all(np.abs(found.momentum_z) < 4)
    np.testing.assert_allclose(found.spectrum.eigenvalues, found.curvature - 0.1)
    model, held = sgd.Predictor(hyper, found.spectrum), path[:, 2000:]
    for lag in (1, 5, 20, 100):
        moved = ((held[:, lag:] - held[:, :-lag]) ** 2).sum(-1).mean(1)
        error = np.hypot(moved.std(ddof=1) / 8, 0.01 * moved.mean())
        assert abs(moved.mean() - float(model.displacement(lag))) < 4 * error


def test_noise_that_is_not_white_is_noticed():
    """Batches of reshuffled epochs of eight: what one gives the next take back."""
    rng = np.random.default_rng(2)
    errors = rng.standard_normal((2000, 8))
    errors = (errors - errors.mean(1, keepdims=True)).ravel()
    x, path = 0.0, []
    for error in errors:
        x = x - RATE * (x + error)
        path.append([x])
    found = sgd.calibrate(path, sgd.Hyperparameters(RATE))
    assert found.whiteness[0] < 1e-6


def test_a_fixed_momentum_a_scale_and_a_short_record():
    cell = BY_NAME["heavy ball", 2.0]
    positions, velocities = simulated(cell, 5, seed=4)
    hyper = sgd.Hyperparameters(RATE, 0.9, BATCH)
    found = sgd.calibrate(positions, hyper, estimate_momentum=False)
    assert np.all(found.momentum == 0.9)
    assert np.all(found.momentum_z == 0)
    scale, error = found.noise_scale
    assert abs(scale - NOISE / cell.curvature) < 4 * error
    decayed = sgd.Hyperparameters(RATE, 0.9, BATCH, weight_decay=5.0)
    with pytest.raises(ValueError, match="Check the weight decay"):
        _ = sgd.calibrate(positions, decayed).noise_scale
    both = sgd.calibrate(positions, hyper, velocities)
    freed = sgd.calibrate(positions, hyper)
    np.testing.assert_allclose(both.curvature, freed.curvature, rtol=0.01)
    assert not found.short.any()
    slow, _ = simulated(BY_NAME["plain SGD", 0.02], 2, seed=5)
    assert sgd.calibrate(slow[:100], sgd.Hyperparameters(RATE, 0, BATCH)).short.all()
    assert found.markdown(2).count("\n") == 3
    assert len(found) == 5


def test_it_is_saved_and_read_again(tmp_path):
    positions, _ = simulated(BY_NAME["plain SGD", 1.0], 3, seed=6)
    found = sgd.calibrate(positions, sgd.Hyperparameters(RATE, 0, BATCH))
    found.save(tmp_path / "run.npz")
    again = sgd.Calibration.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.curvature, found.curvature)
    assert again.weight_decay == 0.0
    with np.load(tmp_path / "run.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["eigenvalues"], found.spectrum.eigenvalues)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    for name in ("broken.npz", "other.npz"):
        with pytest.raises(ValueError, match="calibration"):
            sgd.Calibration.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros(50)}, "positions has shape"),
        ({"positions": np.zeros((5, 2))}, "at least 20 steps"),
        ({"positions": np.full((50, 1), np.nan)}, "not finite"),
        ({"positions": "text"}, "positions"),
        ({"velocities": np.zeros((49, 1))}, "velocities have shape"),
        ({"velocities": np.zeros((50, 1))}, "misses the heavy ball rule"),
        ({"sampling": "epochs"}, "drawn with replacement"),
        ({"sampling": "other"}, "give one of"),
        ({"start": "other"}, "'stationary' or 'given'"),
        ({"rule": sgd.nesterov()}, "velocities = None"),
        ({"positions": np.ones((50, 1))}, "does not move"),
    ],
)
def test_what_is_no_record_is_refused(change, message):
    rng = np.random.default_rng(0)
    given = {
        "positions": np.cumsum(rng.standard_normal((50, 1)), 0),
        "hyperparameters": sgd.Hyperparameters(0.1, 0.5),
    }
    with pytest.raises(ValueError, match=message):
        sgd.calibrate(**given | change)


def test_the_other_rules_symbols_are_asked_for():
    with pytest.raises(ValueError, match="further symbols"):
        sgd.calibrate(np.zeros((50, 1)), sgd.Hyperparameters(0.1, 0.5), rule=sgd.dampened())
    assert s.tau in sgd.dampened().parameters
