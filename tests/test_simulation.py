"""SGD itself, simulated: mini-batches drawn with replacement on a quadratic, against the theory.

An example's gradient error is ±√Σ, a batch of S is their mean: binomial, not Gaussian, as the
second moments of a linear recursion must not care. Every number compared is the mean over
independent groups of replicas, so it comes with a standard error and Student's t. All comparisons
of this file together raise a false alarm with probability 1e-4 (Šidák); the seed is fixed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import oracles
import pytest
from scipy.stats import t as student

import sgdtheory as sgd

ETA, BETA, BATCH = 0.1, 0.8, 4
CURVATURES = np.array([5.0, 0.6, 0.05])
VARIANCES = np.array([2.0, 1.0, 0.5])
START = np.array([0.3, -0.4, 0.5])
RULES = ("heavy_ball", "nesterov")
TRANSIENT = (1, 2, 5, 20, 100)
LAGS = (1, 2, 5, 20, 100)
# The slowest mode relaxes in (1−β)/(ηh) = 40 updates: e⁻²⁵ of the start is left after 1000.
BURN_IN = 1000
GROUPS, REPLICAS = 64, 256

FALSE_ALARM = 1e-4
# Per rule: 3 stationary entries, 3 transient ones and a mean at 5 times, a displacement and an
# autocovariance at 5 lags, in 3 directions each; and the transient displacement at 5 times.
COMPARISONS = len(RULES) * (len(CURVATURES) * (3 + 4 * 5 + 2 * 5) + 5)
CRITICAL = student.ppf(1 - (1 - (1 - FALSE_ALARM) ** (1 / COMPARISONS)) / 2, GROUPS - 1)


@cache
def simulated(rule):
    """Observables per group: name, lag → array (GROUPS, modes)."""
    rng = np.random.default_rng([17, RULES.index(rule)])
    update = oracles.UPDATES[rule]
    shape = (GROUPS, REPLICAS, len(CURVATURES))

    def step(x, v):
        heads = rng.binomial(BATCH, 0.5, shape)
        error = np.sqrt(VARIANCES) * (2 * heads - BATCH) / BATCH
        return update(x, v, lambda at: CURVATURES * at + error, ETA, BETA)

    def average(values):
        return values.mean(axis=1)

    seen = {}
    x, v = np.broadcast_to(START, shape).copy(), np.zeros(shape)
    means = predictor(rule).mean(range(BURN_IN + 1), START)
    for k in range(1, BURN_IN + 1):
        x, v = step(x, v)
        if k in TRANSIENT:
            # About the predicted mean: its own error is tested, and squares to nothing here.
            dx, dv = x - means[k, :, 0], v - means[k, :, 1]
            seen["mean", k] = average(x)
            seen["transient xx", k] = average(dx**2)
            seen["transient xv", k] = average(dx * dv)
            seen["transient vv", k] = average(dv**2)
            seen["transient displacement", k] = average(((x - START) ** 2).sum(-1, keepdims=True))
    seen["xx", 0], seen["xv", 0], seen["vv", 0] = (average(p) for p in (x * x, x * v, v * v))
    origin = x
    for lag in range(1, max(LAGS) + 1):
        x, v = step(x, v)
        if lag in LAGS:
            seen["displacement", lag] = average((x - origin) ** 2)
            seen["autocovariance", lag] = average(x * origin)
    return seen


@cache
def predictor(rule, theory="discrete"):
    hyper = sgd.Hyperparameters(ETA, BETA, BATCH)
    spectrum = sgd.Spectrum(CURVATURES, noise_variances=VARIANCES)
    return sgd.Predictor(hyper, spectrum, theory=theory, rule=getattr(sgd, rule)())


@cache
def predicted(rule, theory="discrete"):
    model = predictor(rule, theory)
    B, C = model.stationary_covariance(), model.covariance(TRANSIENT)
    rows = {("xx", 0): B[:, 0, 0], ("xv", 0): B[:, 0, 1], ("vv", 0): B[:, 1, 1]}
    for i, k in enumerate(TRANSIENT):
        rows["mean", k] = model.mean(k, START)[:, 0]
        rows["transient xx", k] = C[i, :, 0, 0]
        rows["transient xv", k] = C[i, :, 0, 1]
        rows["transient vv", k] = C[i, :, 1, 1]
        rows["transient displacement", k] = np.atleast_1d(model.displacement(k, position=START))
    for lag in LAGS:
        correlation = model.autocovariance(lag)[:, 0, 0]
        rows["autocovariance", lag] = correlation
        rows["displacement", lag] = 2 * (B[:, 0, 0] - correlation)
    return rows


def t_values(sample, expected):
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    return (sample.mean(axis=0) - expected) / error


OBSERVABLES = [
    *[(name, 0) for name in ("xx", "xv", "vv")],
    *[
        (name, k)
        for name in (
            "mean",
            "transient xx",
            "transient xv",
            "transient vv",
            "transient displacement",
        )
        for k in TRANSIENT
    ],
    *[(name, lag) for name in ("displacement", "autocovariance") for lag in LAGS],
]


@pytest.mark.parametrize("rule", RULES)
def test_the_number_of_comparisons_is_the_number_made(rule):
    made = sum(predicted(rule)[row].size for row in OBSERVABLES)
    assert made * len(RULES) == COMPARISONS
    assert set(OBSERVABLES) == set(predicted(rule)) == set(simulated(rule))


@pytest.mark.parametrize("observable", OBSERVABLES, ids=lambda row: f"{row[0]} {row[1]}")
@pytest.mark.parametrize("rule", RULES)
def test_simulated_sgd_has_the_predicted_moments(rule, observable):
    values = t_values(simulated(rule)[observable], predicted(rule)[observable])
    assert np.abs(values).max() < CRITICAL


def test_the_whole_displacement_is_the_sum_of_the_directions():
    rows, model = predicted("heavy_ball"), predictor("heavy_ball")
    assert np.allclose(
        model.displacement(LAGS), [rows["displacement", lag].sum() for lag in LAGS], rtol=1e-9
    )


@pytest.mark.parametrize("observable", [("xx", 0), ("vv", 0), ("displacement", 5)])
def test_the_simulation_can_tell_the_continuous_theory_from_the_exact_one(observable):
    """At ηh = 0.5 they differ by 1/(1 − ηh/(2(1+β))) = 1.16: the comparison has the power."""
    steep = t_values(
        simulated("heavy_ball")[observable], predicted("heavy_ball", "continuous")[observable]
    )
    assert np.abs(steep[0]) > CRITICAL


def test_the_simulation_can_tell_nesterov_from_heavy_ball():
    other = t_values(simulated("nesterov")["xx", 0], predicted("heavy_ball")["xx", 0])
    assert np.abs(other[0]) > CRITICAL
