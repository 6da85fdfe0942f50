"""Exponents and tails fitted to simulated curves: coverage, false alarms, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import sgdtheory as sgd
from validation.coverage import (
    HYPER,
    MOMENTUM,
    power_law_eigenvalues,
    simulated_curves,
    simulated_paths,
)

STEPS = np.unique(np.geomspace(10, 1000, 24).round())
FREE = sgd.Predictor(HYPER, sgd.Spectrum(np.full(20, 1e-10)))
TAIL = sgd.Predictor(MOMENTUM, sgd.Spectrum(power_law_eigenvalues(0.5, 1e-5, 1.0, 300)))
RUNS = 200
# For a coverage of 95 %, and for false alarms of 5 %: limits that a true rate breaks once in 1000.
LOW = stats.binom.ppf(0.001, RUNS, 0.95) / RUNS
HIGH = stats.binom.ppf(0.999, RUNS, 0.05) / RUNS


def covered(fits, truth):
    ends = np.array([fit.interval for fit in fits])
    return np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))


def test_with_the_theory_s_covariance():
    curves = simulated_curves(FREE, STEPS, RUNS, seed=0)
    fits = [sgd.fit_exponent(STEPS, curve, model=FREE) for curve in curves]
    assert covered(fits, fits[0].expected) >= LOW
    assert np.mean([fit.p_value < 0.05 for fit in fits]) <= HIGH
    assert fits[0].expected == pytest.approx(1.0, abs=1e-3)
    z = np.array([fit.z_score for fit in fits])
    # Σz² is χ², nearly; 1e-4 on either side.
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], RUNS)
    assert low < (z**2).sum() < high


def test_a_bare_regression_would_not_do():
    """What the module is for: points of one curve are one path."""
    curves = simulated_curves(FREE, STEPS, RUNS, seed=0)
    rejected = [
        stats.t.sf(abs(fit.slope - 1) / fit.stderr, len(STEPS) - 2) * 2 < 0.05
        for fit in (stats.linregress(np.log(STEPS), np.log(curve)) for curve in curves)
    ]
    assert np.mean(rejected) > 0.4


def test_without_a_model_from_one_curve():
    pytest.importorskip("arch")
    curves = simulated_curves(FREE, STEPS, RUNS, seed=1)
    fits = [sgd.fit_exponent(STEPS, curve, resamples=299) for curve in curves]
    assert covered(fits, 1.0) >= LOW
    assert np.mean([fit.p_value < 0.05 for fit in fits]) <= HIGH
    assert {fit.method for fit in fits} == {"curve"}


def test_without_a_model_from_many_runs():
    """40 runs a fit: with 16 the bootstrap covers 91 to 95 %, as the documentation says."""
    pytest.importorskip("arch")
    curves = simulated_curves(FREE, STEPS, 40 * RUNS, seed=2).reshape(RUNS, 40, -1)
    fits = [sgd.fit_exponent(STEPS, group, resamples=299) for group in curves]
    assert covered(fits, 1.0) >= stats.binom.ppf(0.001, RUNS, 0.93) / RUNS
    assert {fit.method for fit in fits} == {"replicas"}


def test_a_recorded_path():
    pytest.importorskip("arch")
    paths = simulated_paths(FREE, 32 * 32 + 1, 60, seed=3)
    steps = [1, 2, 4, 8, 16, 32]
    fits = [sgd.fit_exponent_of_positions(path, steps, resamples=299) for path in paths]
    assert covered(fits, 1.0) >= stats.binom.ppf(0.001, 60, 0.95) / 60


def test_windows_show_a_bend_and_bands_hold_for_all():
    runs = 100
    curves = simulated_curves(TAIL, 10 * STEPS, runs, seed=4)
    scans = [sgd.scan_windows(10 * STEPS, curve, model=TAIL) for curve in curves]
    expected = np.array([fit.expected for fit in scans[0].fits])
    inside = [
        np.all((scan.bands[:, 0] <= expected) & (expected <= scan.bands[:, 1])) for scan in scans
    ]
    assert np.mean(inside) >= stats.binom.ppf(0.001, runs, 0.95) / runs
    assert np.ptp(expected) > 0.02
    assert scans[0].windows.shape == (6, 2)
    assert np.all(scans[0].p_values >= [fit.p_value for fit in scans[0].fits])


def test_a_start_that_drifts_is_told_from_diffusion():
    runs = 60
    curves = simulated_curves(TAIL, 10 * STEPS, runs, seed=5, position=0.1)
    fits = [sgd.fit_exponent(10 * STEPS, c, model=TAIL, position=0.1) for c in curves]
    assert covered(fits, fits[0].expected) >= stats.binom.ppf(0.001, runs, 0.95) / runs


def test_a_tail_is_recovered():
    """100 curves of 500 directions; all four shares at 1e-3 each."""
    runs, tail = 100, sgd.PowerLawTail(0.5, 1e-4, 1.0, directions=500, noise_scale=1.0)
    steps = np.unique(np.geomspace(10, 1e5, 24).round())
    exact = sgd.Predictor(
        MOMENTUM, sgd.Spectrum(power_law_eigenvalues(0.5, 1e-4, 1.0, 500), noise_scale=1.0)
    )
    curves = simulated_curves(exact, steps, runs, seed=6)
    fits = [
        sgd.fit_spectrum_tail(steps, curve, MOMENTUM, directions=500, largest=1.0)
        for curve in curves
    ]
    ends = np.array([fit.intervals["exponent"] for fit in fits])
    share = np.mean((ends[:, 0] <= 0.5) & (ends[:, 1] >= 0.5))
    assert share >= stats.binom.ppf(0.001, runs, 0.95) / runs
    smallest = np.array([fit.intervals["log_smallest"] for fit in fits])
    inside = (smallest[:, 0] <= np.log(1e-4)) & (np.log(1e-4) <= smallest[:, 1])
    assert inside.mean() >= stats.binom.ppf(0.001, runs, 0.95) / runs
    # What was fitted is a spectrum; its curves lie about the true one, here by their own scatter.
    ratios = [
        sgd.Predictor(MOMENTUM, fit.spectrum).displacement(steps) / exact.displacement(steps)
        for fit in fits
    ]
    assert np.all(np.abs(np.log(ratios).mean(0)) < 4 * np.log(ratios).std(0) / np.sqrt(runs) + 0.01)
    assert np.mean([fit.goodness_of_fit < 0.001 for fit in fits]) < 0.05
    assert fits[0].tail.largest == pytest.approx(tail.largest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [1, 2, 3]}, "at least 4 update counts"),
        ({"steps": np.arange(10)}, "steps"),
        ({"displacement": np.zeros(24)}, "displacement"),
        ({"displacement": np.ones(5)}, "displacement"),
        ({"level": 1.5}, "level"),
        ({"position": 1.0}, "without a model"),
        ({"resamples": 5}, "resamples = 5"),
        ({"displacement": np.ones((3, 24))}, "3 runs"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    given = {"steps": STEPS, "displacement": STEPS.astype(float)} | change
    if len(given["steps"]) != len(STEPS):
        given["displacement"] = np.asarray(given["steps"], dtype=float)
    with pytest.raises(ValueError, match=message):
        sgd.fit_exponent(**given)


def test_a_tail_that_no_window_shows_is_refused():
    with pytest.raises(ValueError, match="position without directions"):
        sgd.fit_spectrum_tail(STEPS, STEPS, MOMENTUM, position=1.0)
    with pytest.raises(ValueError, match="directions"):
        sgd.fit_spectrum_tail(STEPS, STEPS, MOMENTUM, directions=-1)
