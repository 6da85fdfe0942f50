"""Densities of eigenvalues: their moments, samples and nodes against numbers found otherwise.

Sums over a density are compared with adaptive quadrature of the hand loop's displacement in 30
digits. Statistical tests state the rate at which they would fail by chance.
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
from scipy.special import roots_jacobi
from scipy.stats import kstest, t

import sgdtheory as sgd
from sgdtheory.spectra.density_panels import resolved
from sgdtheory.spectra.named_densities import log_normal, marchenko_pastur, power_law
from sgdtheory.spectra.spectral_density import SpectralDensity
from sgdtheory.spectrum import Spectrum

rho = sgd.symbols.rho


# -- the densities once more, in many digits ------------------------------------------------------


def _marchenko_pastur(q):
    low, high = ((1 - mp.sqrt(q)) ** 2, (1 + mp.sqrt(q)) ** 2)

    def density(x):
        # An end itself may round to the outside.
        return max(q, 1) * mp.sqrt(max((high - x) * (x - low), 0)) / (2 * mp.pi * q * x)

    return density, low, high


def _power_law(a, low, high):
    low, high = mp.mpf(low), mp.mpf(high)
    total = mp.log(high / low) if a == 0 else (low**-a - high**-a) / a
    return lambda x: x ** (-1 - a) / total, low, high


def _log_normal(median, width, high):
    below = mp.ncdf(mp.log(high / median) / width)
    return (
        lambda x: mp.npdf(mp.log(x / median) / width) / (x * width) / below,
        mp.mpf(median) * mp.exp(-14 * width),
        mp.mpf(high),
    )


def _beta(p, q):
    return lambda x: x ** (p - 1) * (1 - x) ** (q - 1) / mp.beta(p, q), mp.mpf(0), mp.mpf(1)


def _triangle():
    return lambda x: 4 * min(x, 1 - x), mp.mpf(0), mp.mpf(1)


# The density that is asked about, and its twin.
DENSITIES = {
    "Marchenko-Pastur, narrow": (marchenko_pastur(0.25), _marchenko_pastur(mp.mpf("0.25"))),
    "Marchenko-Pastur, square": (marchenko_pastur(1), _marchenko_pastur(mp.mpf(1))),
    "twelve decades": (power_law(0.5, 1e-12, 1.0), _power_law(mp.mpf("0.5"), "1e-12", 1)),
    "rising": (power_law(-0.5, 1e-6, 1.0), _power_law(mp.mpf("-0.5"), "1e-6", 1)),
    "log-normal": (log_normal(1e-3, 2.0, largest=1.0), _log_normal(mp.mpf("1e-3"), 2, 1)),
    "two singular ends": (
        SpectralDensity.normalised(lambda x: x**-0.75 * (1 - x) ** 0.5, 0.0, 1.0),
        _beta(mp.mpf("0.25"), mp.mpf("1.5")),
    ),
    "a kink": (
        SpectralDensity(lambda x: 4 * np.minimum(x, 1 - x), 0.0, 1.0, breaks=(0.5,)),
        _triangle(),
    ),
}
# ηh at the largest eigenvalue, of the limit 3.8 in discrete time; and the momentum.
SETTINGS = {"discrete": (2.4, 0.9), "continuous": (0.5, 0.5)}
STEPS = {"discrete": (40, 3000), "continuous": (2000,)}


def _one_direction(theory, eta, x, steps):
    """Displacement of one direction with noise variance x, batch size 1, by hand."""
    beta = mp.mpf(str(SETTINGS[theory][1]))
    if theory == "discrete":
        found = oracles.recursion_moments(oracles.heavy_ball, steps, x, x, 1, eta=eta, beta=beta)
    else:
        law = oracles.PUBLISHED["heavy_ball"]
        found = oracles.diffusion_moments(law, eta * steps, x, x, 1, eta=eta, beta=beta)
    return found["displacement"]


def _rate(name, theory):
    return SETTINGS[theory][0] / float(DENSITIES[name][1][2])


@cache
def _integral(name, theory, steps):
    density, low, high = DENSITIES[name][1]
    eta = mp.mpf(_rate(name, theory))
    # Factors of 30 in ρ; from 0 in the variable √√ρ, in which the edges here are smooth.
    if low > 0:
        parts = int(mp.ceil(mp.log(high / low, 30)))
        ends = [mp.log(low) + mp.log(high / low) * i / parts for i in range(parts + 1)]

        def integrand(u):
            x = mp.exp(u)
            return density(x) * x * _one_direction(theory, eta, x, steps)
    else:
        quarter = mp.mpf(1) / 4
        inside = [high / 2, *(high / mp.mpf(30) ** n for n in range(1, 5))]
        ends = [0, *sorted(x**quarter for x in inside), high**quarter]

        def integrand(u):
            return density(u**4) * 4 * u**3 * _one_direction(theory, eta, u**4, steps)

    value, error = mp.quad(integrand, ends, error=True, maxdegree=6)
    assert error < 1e-13 * value
    return float(value)


@pytest.mark.parametrize("theory", SETTINGS)
@pytest.mark.parametrize("name", DENSITIES)
def test_displacement_is_the_integral_to_the_stated_tolerance(name, theory):
    hyper = sgd.Hyperparameters(_rate(name, theory), SETTINGS[theory][1])
    with mp.workdps(30):
        exact = np.array([_integral(name, theory, k) for k in STEPS[theory]])
    for tolerance in (1e-4, 1e-8, 1e-11):
        spectrum = Spectrum.from_density(DENSITIES[name][0], tolerance=tolerance)
        found = sgd.Predictor(hyper, spectrum, theory=theory).displacement(STEPS[theory])
        assert np.all(np.abs(found / exact - 1) < tolerance)


def test_a_tenth_of_the_nodes_would_not_do():
    """The test above can fail, near the limit of stability and before modes have settled."""
    density = DENSITIES["rising"][0]
    hyper = sgd.Hyperparameters(3.4, 0.9)
    whole = Spectrum.from_density(density)
    nodes, counts = density.nodes_and_counts(lambda _: 15, 1e-8)
    found, expected = (
        sgd.Predictor(hyper, spectrum).displacement([20, 40, 80])
        for spectrum in (Spectrum(nodes, counts=counts), whole)
    )
    assert np.abs(found / expected - 1).max() > 1e-7


def _midpoints(count):
    """ρ^(−1.3) from 1e-5 to 1 as midpoints in log ρ, each with its share of 50 directions."""
    ends = np.geomspace(1e-5, 1, count + 1)
    shares = -np.diff(ends**-0.3) / (1e-5**-0.3 - 1)
    return Spectrum(np.sqrt(ends[1:] * ends[:-1]), counts=50 * shares)


@pytest.mark.parametrize("sampling", ["with_replacement", "epochs"])
def test_transients_are_sums_over_the_same_nodes(sampling):
    """A start adds the drift's square, and a decay its own scale: against many midpoints."""
    hyper = sgd.Hyperparameters(0.7, 0.9, 10, weight_decay=1e-3, dataset_size=1000)

    def displacement(spectrum):
        model = sgd.Predictor(hyper, spectrum, sampling=sampling)
        return model.displacement([3, 100, 5000], position=0.4)

    found = displacement(Spectrum.from_density(power_law(0.3, 1e-5, 1.0, directions=50.0)))
    coarse, fine = (displacement(_midpoints(count)) for count in (20_000, 40_000))
    # The midpoint rule errs by the square of its step.
    assert np.all(np.abs(found / (fine + (fine - coarse) / 3) - 1) < 1e-8)


def test_weights_are_positive_and_count_all_directions():
    density = marchenko_pastur(4, directions=1000).with_outliers([30.0, 40.0], [1, 2])
    spectrum = Spectrum.from_density(density)
    assert spectrum.counts.min() > 0
    assert spectrum.size == pytest.approx(1003, rel=1e-14)
    assert spectrum.eigenvalues[[0, -2, -1]].tolist() == [0.0, 30.0, 40.0]
    assert spectrum.counts[[0, -2, -1]].tolist() == [750.0, 1.0, 2.0]


def test_settings_outside_the_range_are_refused():
    spectrum = Spectrum.from_density(marchenko_pastur(0.5), momentum=0.5)
    with pytest.raises(ValueError, match=r"momentum = 0\.9"):
        sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), spectrum)


# -- the Gauss rule, against SciPy's for the same weight ------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(0, 0), (-0.5, 0.5), (0.5, -0.75)])
def test_a_panel_has_the_nodes_of_its_own_gauss_rule(a, b):
    panel = resolved(lambda x: (1 - x) ** a * x**b, 0.0, 1.0, 40, 1e-9)
    if a < 0:
        panel = resolved(lambda x: x**a * (1 - x) ** b, 0.0, 1.0, 40, 1e-9)
    nodes, weights = panel.gauss(12)
    expected, shares = roots_jacobi(12, a, b) if a >= 0 else roots_jacobi(12, b, a)
    assert np.allclose(nodes, (1 + expected) / 2, atol=1e-12)
    assert np.allclose(weights / weights.sum(), shares / shares.sum(), atol=1e-12)


# -- moments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", [0.1, 0.9999, 1, 4])
def test_moments_of_marchenko_and_pastur_are_narayana_polynomials(q):
    density = marchenko_pastur(q, scale=3.0, directions=7.0)
    polynomials = (1, 1, 1 + q, 1 + 3 * q + q**2, 1 + 6 * q + 6 * q**2 + q**3)
    for order, value in enumerate(polynomials):
        assert density.moment(order) == pytest.approx(3.0**order * value, rel=1e-11)
    assert density.trace == pytest.approx(21.0, rel=1e-11)


def test_moments_of_the_log_normal():
    density = log_normal(0.02, 1.7)
    for order in range(6):
        exact = np.exp(order * np.log(0.02) + (order * 1.7) ** 2 / 2)
        assert density.moment(order) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize("a", [-1, 0, 0.5, 1, 2.5])
def test_moments_of_a_power_law(a):
    density = power_law(a, 1e-4, 2.0)
    twin, low, high = _power_law(mp.mpf(a), "1e-4", 2)
    for order in range(4):
        exact = mp.quad(lambda x, n=order: twin(x) * x**n, np.geomspace(float(low), float(high), 9))
        assert density.moment(order) == pytest.approx(float(exact), rel=1e-9)


def test_nodes_have_the_moments_of_the_density():
    for density, _ in DENSITIES.values():
        spectrum = Spectrum.from_density(density)
        for order in range(6):
            assert spectrum.moment(order) == pytest.approx(density.moment(order), rel=1e-8)


def test_values_are_those_of_the_expression():
    density = marchenko_pastur(0.5, scale=2)
    x = np.linspace(density.lower, density.upper, 7)[1:-1]
    exact = [float(density.expression.subs(rho, value)) for value in x]
    assert np.allclose(density(x), exact, rtol=1e-12)
    assert density([-1.0, density.upper + 1e-9]).tolist() == [0.0, 0.0]


# -- samples --------------------------------------------------------------------------------------


def test_samples_follow_the_distribution_function():
    """Kolmogorov and Smirnov, three times at 1e-4: one false alarm in 3300."""
    rng = np.random.default_rng(1)
    powers = power_law(0.5, 1e-8, 1.0).sample(20_000, rng)
    assert kstest(powers, lambda x: (1e4 - x**-0.5) / (1e4 - 1)).pvalue > 1e-4
    logs = np.log(log_normal(3.0, 2.0).sample(20_000, rng) / 3) / 2
    assert kstest(logs, "norm").pvalue > 1e-4
    singular = SpectralDensity(0.5 / rho**0.5, 0.0, 1.0).sample(20_000, rng)
    assert kstest(singular**0.5, "uniform").pvalue > 1e-4


def test_outliers_are_drawn_by_their_counts():
    """A binomial number within 5 deviations: one false alarm in 1.7 million."""
    density = power_law(0, 1e-3, 1.0, directions=300.0).with_outliers([7.0], 100.0)
    drawn = density.sample(40_000, np.random.default_rng(2))
    assert abs((drawn == 7.0).sum() - 10_000) < 5 * np.sqrt(40_000 * 0.25 * 0.75)


@pytest.mark.parametrize("q", [0.25, 4])
def test_marchenko_and_pastur_against_random_matrices(q):
    """Fractions above thresholds and moments: t-tests with a family-wise false alarm of 1e-3.

    Complex entries: then the mean density differs from its limit only by 1/d².
    """
    d, repeats, rng = 120, 60, np.random.default_rng(3)
    examples = int(d / q)
    density = marchenko_pastur(q)
    sums = []
    for _ in range(repeats):
        x = rng.standard_normal((2, examples, d)) / np.sqrt(2)
        matrix = x[0] + 1j * x[1]
        values = np.linalg.eigvalsh(matrix.conj().T @ matrix / examples)
        sums.append([f(values).mean() for f in STATISTICS])
    drawn = density.sample(400_000, rng)
    expected = [f(drawn).mean() for f in STATISTICS]
    sampling_variance = [f(drawn).var() / len(drawn) for f in STATISTICS]
    mean, variance = np.mean(sums, axis=0), np.var(sums, axis=0, ddof=1) / repeats
    deviations = (mean - expected) / np.sqrt(variance + sampling_variance)
    allowed = t.isf(1e-3 / 2 / (2 * len(STATISTICS)), repeats - 1)
    assert np.abs(deviations).max() < allowed


STATISTICS = (
    lambda x: x,
    lambda x: x**2,
    lambda x: x**3,
    lambda x: (x > 0.5) * 1.0,
    lambda x: (x > 1.5) * 1.0,
)


# -- what is no density ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SpectralDensity(rho, 0.0, 1.0), r"integral 0\.5 .*must be 1.*normalised"),
        (lambda: SpectralDensity(lambda x: x - 0.5, 0.0, 1.0), r"density = -0\.\d+ at ρ"),
        (lambda: SpectralDensity(lambda x: 1.0, 0.0, 1.0), r"shape \(\) for eigenvalues of shape"),
        (lambda: SpectralDensity("rho", 0.0, 1.0), "density = 'rho': give an expression"),
        (lambda: SpectralDensity(rho * sgd.symbols.h, 0.0, 1.0), "density contains h: .*subs"),
        (lambda: SpectralDensity(rho, -1.0, 1.0), r"lower = -1\.0.*≥ 0"),
        (lambda: SpectralDensity(rho, 1.0, 1.0), r"upper = 1\.0.*> 1"),
        (lambda: SpectralDensity(2 * rho, 0.0, 1.0, 0.0), r"directions = 0\.0.*> 0"),
        (lambda: SpectralDensity(2 * rho, 0, 1, outliers={-1.0: 1}), "outliers: an eigenvalue"),
        (lambda: SpectralDensity(2 * rho, 0, 1, outliers={3.0: 0}), "the count at 3"),
        (lambda: SpectralDensity(2 * rho, 0, 1, breaks=(2.0,)), "breaks = 2"),
        (
            lambda: SpectralDensity.normalised(lambda x: np.abs(x - 0.4), 0.0, 1.0),
            r"not resolved between 0\.125 and 1.*breaks=",
        ),
        (
            lambda: SpectralDensity.normalised(lambda x: (2 - x) ** -0.5, 1.0, 2.0),
            "not resolved between 1 and 2.*diverges at an end",
        ),
        (
            lambda: SpectralDensity.normalised(1 / rho, 0.0, 1.0),
            "not resolved between 0 and .*cut it off",
        ),
        (lambda: SpectralDensity.normalised(0 * rho, 0.0, 1.0), "0 from 0 to 1"),
        (lambda: SpectralDensity(1 / (1 + rho) ** 2, 0, np.inf), "too slowly.*order 2"),
        (lambda: SpectralDensity(lambda x: 0 * x, 0, np.inf), "0 wherever it was looked for"),
        (lambda: SpectralDensity(lambda x: 2 * x, 0, 1).expression, "given as a function"),
        (lambda: SpectralDensity(2 * rho, 0, 1).moment(0.5), r"order = 0\.5"),
        (lambda: SpectralDensity(2 * rho, 0, 1).moment(33), "order = 33"),
        (lambda: marchenko_pastur(0), "aspect_ratio = 0"),
        (lambda: power_law(0.5, 0.0, 1.0), r"smallest = 0\.0"),
        (lambda: power_law(0.5, 2.0, 1.0), r"largest = 1\.0"),
        (lambda: power_law("a", 1.0, 2.0), "tail_exponent = 'a'"),
        (lambda: log_normal(1.0, -1.0), r"log_deviation = -1\.0"),
        (lambda: Spectrum.from_density(rho), "density = rho: give a SpectralDensity"),
        (lambda: Spectrum.from_density(power_law(0, 0.1, 1), tolerance=0.0), r"tolerance = 0\.0"),
    ],
)
def test_what_is_no_density_is_refused_by_name(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_without_a_largest_eigenvalue_no_learning_rate_is_stable():
    spectrum = Spectrum.from_density(log_normal(1e-3, 1.0))
    with pytest.raises(ValueError, match="limit of stability"):
        sgd.Predictor(sgd.Hyperparameters(10.0), spectrum)
