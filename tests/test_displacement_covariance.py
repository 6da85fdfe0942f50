"""Covariances of displacement curves, against simulated runs and the recursion by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import sgdtheory as sgd
from sgdtheory.fits.displacement_covariance import direction_moments, displacement_moments

STEPS = np.array([1.0, 5.0, 20.0, 60.0, 200.0])
HYPER = sgd.Hyperparameters(learning_rate=0.1, momentum=0.8, batch_size=32)
RATE_OF_FALSE_ALARMS = 1e-3


def whitened_forces(variances, examples, seed):
    """Gaussian forces of exactly zero mean and exactly these variances, uncorrelated."""
    raw = np.random.default_rng(seed).standard_normal((examples, len(variances)))
    q, _ = np.linalg.qr(raw - raw.mean(0))
    return q * np.sqrt(examples * np.asarray(variances))


def simulated(start):
    curvatures, variances = [1.0, 0.05, 0.002], [1.0, 0.3, 2.0]
    ensemble = sgd.QuadraticEnsemble(
        curvatures, whitened_forces(variances, 2048, 1), replicas=6000, seed=3
    )
    model = sgd.Predictor(HYPER, sgd.Spectrum(curvatures, noise_variances=variances))
    if start == "stationary":
        rng = np.random.default_rng(7)
        roots = np.linalg.cholesky(model.stationary_covariance())
        x = np.einsum("mab,rmb->rma", roots, rng.standard_normal((6000, 3, 2)))
        run = ensemble.simulate(HYPER, STEPS.astype(int), position=x[..., 0], velocity=x[..., 1])
        return displacement_moments(model, STEPS), run.displacements
    offset = np.array([0.3, 1.0, 2.0])
    run = ensemble.simulate(HYPER, STEPS.astype(int), position=offset)
    return displacement_moments(model, STEPS, position=offset), run.displacements


@pytest.mark.parametrize("start", ["stationary", "fixed"])
def test_covariances_are_those_of_simulated_runs(start):
    """Every mean and covariance at once: false alarms at 0.1 % by Bonferroni's bound."""
    moments, measured = simulated(start)
    deviations = measured - measured.mean(0)
    i, j = np.triu_indices(len(STEPS))
    products = deviations[:, i] * deviations[:, j]
    error = products.std(0, ddof=1) / np.sqrt(len(products))
    z = (products.mean(0) - moments.covariance[i, j]) / error
    means = (measured.mean(0) - moments.mean) / (measured.std(0, ddof=1) / np.sqrt(len(measured)))
    limit = stats.norm.isf(RATE_OF_FALSE_ALARMS / 2 / (len(z) + len(means)))
    assert np.abs(z).max() < limit
    assert np.abs(means).max() < limit


def brute_force_covariance(h, variance, eta, beta, batch, steps, position, velocity_spread):
    """Cov(Δ_k, Δ_l) by carrying the joint law of all positions and the start, update by update."""
    last = int(max(steps))
    M = np.array([[1 - eta * h, eta * beta], [-h, beta]])
    n = np.array([-eta, -1.0])
    # Rows of coefficients of (start θ, start v, ε_1 … ε_last) in (θ, v).
    state = np.zeros((2, 2 + last))
    state[:, :2] = np.eye(2)
    rows = {}
    for k in range(1, last + 1):
        state = M @ state
        state[:, 1 + k] += n
        rows[k] = state[0] - np.eye(2 + last)[0]
    R = np.array([rows[int(k)] for k in steps])
    law = np.diag(np.r_[0.0, 0.0, np.full(last, variance / batch)])
    law[:2, :2] = velocity_spread
    return R @ law @ R.T, R[:, 0] * position


@pytest.mark.parametrize("spread", [None, np.array([[0.5, -0.1], [-0.1, 0.3]])])
def test_a_directions_moments_are_those_of_its_recursion(spread):
    h, variance, position = 0.4, 1.7, 0.6
    model = sgd.Predictor(HYPER, sgd.Spectrum([h], noise_variances=[variance]))
    start = None if spread is None else spread[None]
    steps = np.array([20.0, 1.0, 5.0, 60.0])
    found = direction_moments(model, steps, position, start_covariance=start)
    covariance, mean = brute_force_covariance(
        h, variance, 0.1, 0.8, 32, steps, position, np.zeros((2, 2)) if spread is None else spread
    )
    np.testing.assert_allclose(found.covariance[..., 0], covariance, rtol=1e-10)
    np.testing.assert_allclose(found.mean[:, 0], mean, rtol=1e-10)


def test_a_stationary_start_is_a_spread_about_the_minimum():
    """Polarisation and propagation are two ways to the same covariance."""
    model = sgd.Predictor(HYPER, sgd.Spectrum([1.0, 0.05, 1e-4], counts=[1, 3, 10]))
    polarised = displacement_moments(model, STEPS)
    propagated = displacement_moments(model, STEPS, start_covariance=model.stationary_covariance())
    np.testing.assert_allclose(polarised.covariance, propagated.covariance, rtol=1e-9)
    np.testing.assert_allclose(polarised.mean, propagated.mean, rtol=1e-9)


def test_flat_directions_keep_their_digits():
    """Along a flat direction Δ is a sum of independent steps: Cov(Δ_k, Δ_l) = Var Δ_min(k, l)."""
    hyper = sgd.Hyperparameters(learning_rate=0.1)
    model = sgd.Predictor(hyper, sgd.Spectrum([1e-13], noise_variances=[2.0]))
    steps = np.array([10.0, 100.0, 1000.0])
    c = direction_moments(model, steps).covariance[..., 0]
    np.testing.assert_allclose(c, 0.01 * 2.0 * np.minimum.outer(steps, steps), rtol=1e-9)


def test_counts_and_parts_of_a_spectrum_add_up(monkeypatch):
    eigenvalues, counts = np.geomspace(1e-3, 1, 7), np.array([5.0, 1, 2, 1, 1, 3, 1])
    repeated = sgd.Spectrum(np.repeat(eigenvalues, counts.astype(int)))
    whole = displacement_moments(sgd.Predictor(HYPER, repeated), STEPS, position=0.3)
    monkeypatch.setattr("sgdtheory.fits.displacement_covariance._HELD", 2 * len(STEPS) ** 2)
    model = sgd.Predictor(HYPER, sgd.Spectrum(eigenvalues, counts=counts))
    parts = displacement_moments(model, STEPS, position=np.full(7, 0.3))
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-12)
    np.testing.assert_allclose(parts.averaged(4).covariance, whole.covariance / 4, rtol=1e-12)


def test_continuous_theory_agrees_where_the_learning_rate_vanishes():
    hyper = sgd.Hyperparameters(learning_rate=1e-4, momentum=0.5)
    steps = np.array([1e3, 1e4, 1e5])
    both = [
        displacement_moments(sgd.Predictor(hyper, sgd.Spectrum([1.0]), theory=theory), steps)
        for theory in ("discrete", "continuous")
    ]
    np.testing.assert_allclose(both[0].covariance, both[1].covariance, rtol=2e-3)


def refused():
    spectrum = sgd.Spectrum([1.0, 0.1])
    epochs = sgd.Hyperparameters(0.1, batch_size=4, dataset_size=64)
    yield sgd.Predictor(epochs, spectrum, sampling="epochs"), "sampling = 'epochs'"
    yield sgd.Predictor(sgd.Hyperparameters(np.array([0.1, 0.2])), spectrum), "sweep of shape"
    yield sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), spectrum.compress()), "compressed"
    yield spectrum, "give a Predictor"


@pytest.mark.parametrize(("model", "message"), list(refused()))
def test_what_is_not_gaussian_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        displacement_moments(model, STEPS)


def test_an_unstable_direction_has_no_stationary_start():
    model = sgd.Predictor(HYPER, sgd.Spectrum([1.0, -0.01], noise_variances=[1.0, 1.0]))
    with pytest.raises(sgd.UnstableError, match="stationary state"):
        displacement_moments(model, STEPS)
    assert np.all(displacement_moments(model, STEPS, position=0.1).mean > 0)
