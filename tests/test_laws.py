"""Laws that hold for every stable run, on random hyperparameters and spectra (Hypothesis).

Tolerances come from the accuracy criterion of test_accuracy, 50 roundings times the condition
number. With 1 − β ≥ 1e-2 and at most 1000 updates a condition number is at most about
1000/(1 − β) = 1e5, and 50 · 2⁻⁵² · 1e5 is 1e-9. Each law is stated in units of the mode: positions
in standard deviations, velocities likewise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sgdtheory as sgd

LAW = 1e-9
THEORIES = ("discrete", "continuous")
RULES = {
    "heavy_ball": lambda beta: 2 * (1 + beta),
    "nesterov": lambda beta: 2 * (1 + beta) / (1 + 2 * beta),
}
steps = st.integers(0, 1000)


@st.composite
def runs(draw, rules=tuple(RULES)):
    """A predictor that is stable in both theories."""
    rule = draw(st.sampled_from(rules))
    eta = 10 ** draw(st.floats(-5, 1))
    beta = 1 - 10 ** draw(st.floats(-2, 0))
    highest = 0.9 * RULES[rule](beta)
    count = draw(st.integers(1, 5))
    y = [highest * 10 ** draw(st.floats(-10, 0)) for _ in range(count)]
    noise = [10 ** draw(st.floats(-3, 3)) for _ in range(count)]
    decay = draw(st.sampled_from([0.0, 0.5 * min(y) / eta]))
    return sgd.Predictor(
        sgd.Hyperparameters(eta, beta, draw(st.integers(1, 4096)), decay),
        sgd.Spectrum(np.array(y) / eta - decay, noise_variances=noise),
        theory=draw(st.sampled_from(THEORIES)),
        rule=getattr(sgd, rule)(),
    )


def spread(run):
    """Standard deviations of position and velocity, shape (modes, 2)."""
    B = run.stationary_covariance()
    return np.sqrt(np.stack([B[:, 0, 0], B[:, 1, 1]], axis=-1))


def in_units(run, covariance):
    """Covariances as correlations."""
    scale = spread(run)
    return covariance / (scale[..., :, None] * scale[..., None, :])


def smallest_eigenvalue(symmetric):
    return np.linalg.eigvalsh((symmetric + np.swapaxes(symmetric, -1, -2)) / 2).min()


@given(runs(), steps)
def test_every_number_is_finite(run, k):
    for value in (
        run.stationary_covariance(),
        run.covariance(k),
        run.autocovariance(k),
        run.displacement(k),
        run.mean(k, 1.0, 1.0),
        run.local_displacement() if run.theory == "discrete" else 0.0,
        run.exponent(k + 1),
    ):
        assert np.isfinite(value).all()


@given(runs(), steps)
def test_covariances_are_positive_semidefinite(run, k):
    for covariance in (run.stationary_covariance(), run.covariance(k)):
        assert (np.diagonal(covariance, axis1=-2, axis2=-1) >= 0).all()
        assert smallest_eigenvalue(in_units(run, covariance)) >= -LAW


@given(runs(), steps)
def test_covariances_are_symmetric(run, k):
    covariance = run.covariance(k)
    assert np.array_equal(covariance, np.swapaxes(covariance, -1, -2))


@given(runs(), steps)
def test_nothing_is_more_correlated_than_with_itself(run, k):
    assert (np.abs(in_units(run, run.autocovariance(k))) <= 1 + LAW).all()


@given(runs())
def test_autocovariance_at_lag_zero_is_the_covariance(run):
    difference = run.autocovariance(0) - run.stationary_covariance()
    assert np.abs(in_units(run, difference)).max() <= LAW


@given(runs(), steps)
def test_displacement_is_the_loss_of_correlation(run, k):
    lost = 2 * (run.stationary_covariance() - run.autocovariance(k))[:, 0, 0].sum()
    scale = run.stationary_covariance()[:, 0, 0].sum()
    assert run.displacement(k) >= 0
    assert abs(run.displacement(k) - lost) <= LAW * scale


@given(runs())
def test_displacement_saturates_at_twice_the_variance(run):
    """After 40 relaxation times e⁻⁴⁰ of the correlation is left."""
    late = int(40 * run.relaxation_steps.max()) + 40
    expected = 2 * run.stationary_covariance()[:, 0, 0].sum()
    # So late, a condition number is 40 memories of the flattest mode: e⁻⁴⁰ times anything is small.
    assert abs(run.displacement(late) / expected - 1) <= LAW


@given(runs())
def test_covariance_from_a_point_becomes_stationary(run):
    late = int(40 * run.relaxation_steps.max()) + 40
    difference = run.covariance(late) - run.stationary_covariance()
    assert np.abs(in_units(run, difference)).max() <= LAW


@given(runs(), steps, steps)
def test_the_mean_propagates_by_a_semigroup(run, j, k):
    """mean(j + k) is mean(k) started from mean(j)."""
    start = spread(run) * [1.0, -1.0]
    once = run.mean(j + k, start[:, 0], start[:, 1])
    between = run.mean(j, start[:, 0], start[:, 1])
    twice = run.mean(k, between[:, 0], between[:, 1])
    # In these units no propagator exceeds the non-normality of a mode, √(B₁₁B₂₂/det B) ≲ 1e2.
    assert np.abs((once - twice) / spread(run)).max() <= 1e2 * LAW


@given(runs(), steps, steps)
def test_covariance_propagates_by_the_same_semigroup(run, j, k):
    """C(j + k) = C(k) + F_k C(j) F_kᵀ, with the columns of F_k from two means."""
    modes = len(run.spectrum)
    columns = [run.mean(k, *start) for start in ((np.ones(modes), 0.0), (0.0, np.ones(modes)))]
    flow = np.stack(columns, axis=-1)
    expected = run.covariance(k) + flow @ run.covariance(j) @ np.swapaxes(flow, -1, -2)
    difference = run.covariance(j + k) - expected
    assert np.abs(in_units(run, difference)).max() <= 1e2 * LAW


@given(runs(), steps, steps)
def test_covariance_from_a_point_only_grows(run, j, k):
    """In the order of positive semidefinite matrices, and never beyond the stationary one."""
    early, late = run.covariance(min(j, k)), run.covariance(max(j, k))
    assert smallest_eigenvalue(in_units(run, late - early)) >= -LAW
    assert smallest_eigenvalue(in_units(run, run.stationary_covariance() - late)) >= -LAW


@given(runs(), steps)
def test_a_start_at_the_minimum_moves_by_its_variance(run, k):
    variance = run.covariance(k)[:, 0, 0].sum()
    assert np.isclose(run.displacement(k, position=0.0), variance, rtol=1e-14, atol=0)


@given(runs(), steps)
def test_a_random_start_from_the_stationary_state_is_the_stationary_displacement(run, k):
    """Averaged over starts: the drift of covariance B and the noise since (total variance)."""
    B = run.stationary_covariance()
    modes = len(run.spectrum)
    columns = [run.mean(k, *start) for start in ((np.ones(modes), 0.0), (0.0, np.ones(modes)))]
    moved = np.stack(columns, axis=-1)[:, 0, :] - [1.0, 0.0]
    drift = np.einsum("mi,mij,mj->m", moved, B, moved)
    expected = (drift + run.covariance(k)[:, 0, 0]).sum()
    assert abs(run.displacement(k) - expected) <= 1e2 * LAW * B[:, 0, 0].sum()


@given(runs(), st.integers(-20, 20))
def test_more_noise_scales_every_covariance(run, exponent):
    """By a power of two, which floating point multiplies without rounding."""
    factor = 2.0**exponent
    spectrum = replace(run.spectrum, noise_variances=run.spectrum.variances * factor)
    louder = replace(run, spectrum=spectrum)
    assert np.array_equal(louder.covariance(17), factor * run.covariance(17))
    assert louder.displacement(17) == factor * run.displacement(17)


@given(runs(), st.integers(-10, 10), steps)
def test_units_of_the_position(run, exponent, k):
    """θ → cθ: h → h/c², Σ → Σ/c², η → c²η, and |Δ|² → c²|Δ|². Powers of two do not round."""
    c = 2.0**exponent
    rescaled = in_other_units(run, learning_rate=c**2, curvature=c**-2, noise=c**-2)
    assert rescaled.displacement(k) == c**2 * run.displacement(k)


@given(runs(), st.integers(-10, 10), steps)
def test_units_of_the_loss(run, exponent, k):
    """L → aL: h → ah, Σ → a²Σ, η → η/a, and nothing moves otherwise."""
    a = 2.0**exponent
    rescaled = in_other_units(run, learning_rate=1 / a, curvature=a, noise=a**2)
    assert rescaled.displacement(k) == run.displacement(k)


def in_other_units(run, learning_rate, curvature, noise):
    hyper, spectrum = run.hyperparameters, run.spectrum
    return replace(
        run,
        hyperparameters=replace(
            hyper,
            learning_rate=hyper.learning_rate * learning_rate,
            weight_decay=hyper.weight_decay * curvature,
        ),
        spectrum=sgd.Spectrum(
            spectrum.eigenvalues * curvature, noise_variances=spectrum.variances * noise
        ),
    )


@given(runs(), steps)
def test_directions_are_independent(run, k):
    """A spectrum is the sum of its modes, each predicted alone."""
    alone = [
        replace(run, spectrum=sgd.Spectrum([rho], noise_variances=[noise])).displacement(k)
        for rho, noise in zip(run.spectrum.eigenvalues, run.spectrum.variances, strict=True)
    ]
    assert np.isclose(run.displacement(k), sum(alone), rtol=LAW, atol=0)


@given(runs(), st.permutations(range(5)))
def test_the_order_of_directions_does_not_matter(run, order):
    chosen = [i for i in order if i < len(run.spectrum)]
    shuffled = sgd.Spectrum(
        run.spectrum.eigenvalues[chosen], noise_variances=run.spectrum.variances[chosen]
    )
    before, after = run.covariance([3, 30]), replace(run, spectrum=shuffled).covariance([3, 30])
    assert np.array_equal(before[:, chosen], after)


@given(
    st.floats(0, 0.95),
    st.floats(0.2, 5.0),
    st.sampled_from(["stationary", "transient", "autocovariance"]),
)
def test_both_theories_agree_as_the_learning_rate_vanishes(beta, times, what):
    """At a fixed number of relaxation times, an error of first order: 16 times less at η/16."""
    h = 1.0

    def error(eta):
        relaxation = (1 - beta) / (eta * h)
        count = max(1, round(times * relaxation))
        values = []
        for theory in THEORIES:
            run = sgd.Predictor(
                sgd.Hyperparameters(eta, beta),
                sgd.Spectrum([h], noise_variances=[1.0 / eta]),
                theory=theory,
            )
            values.append(
                {
                    "stationary": lambda run=run: run.stationary_covariance()[0, 0, 0],
                    "transient": lambda run=run: run.displacement(count, position=1.0),
                    "autocovariance": lambda run=run: run.autocovariance(count)[0, 0, 0],
                }[what]()
            )
        return abs(values[0] / values[1] - 1)

    small = 1e-3 * (1 - beta)
    coarse, fine = error(small), error(small / 16)
    # First order, or better where its coefficient vanishes; 12 leaves room for the second order.
    assert fine <= coarse / 12 + LAW


@pytest.mark.parametrize("theory", THEORIES)
def test_sgd_without_noise_does_not_spread(theory):
    still = sgd.Predictor(
        sgd.Hyperparameters(0.1, 0.9), sgd.Spectrum([1.0], noise_scale=0.0), theory=theory
    )
    assert still.displacement(100) == 0
    assert not still.covariance(100).any()
