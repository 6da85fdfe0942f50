"""What densities of directions add up to, against sums and integrals of the exact theory."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.anomalous_diffusion import heavy_tail, saturation, slow_direction, white

RULES = {
    "plain SGD": (sgd.plain_sgd(), 0.0, {}),
    "heavy ball": (sgd.heavy_ball(), 0.9, {}),
    "nesterov": (sgd.nesterov(), 0.8, {}),
    "dampened": (sgd.dampened(), 0.8, {s.tau: 0.3}),
    "quasi-hyperbolic": (sgd.quasi_hyperbolic(), 0.8, {s.nu: 0.7}),
}
RATE, BATCH, SCALE = 0.01, 8, 2.0


def predictor(name, spectrum, **settings):
    rule, momentum, parameters = RULES[name]
    hyper = sgd.Hyperparameters(RATE, momentum, BATCH)
    return sgd.Predictor(hyper, spectrum, rule=rule, parameters=parameters, **settings)


def values_of(name):
    _, momentum, parameters = RULES[name]
    return {s.eta: RATE, s.beta: momentum, s.S: BATCH, s.sigma2: SCALE, **parameters}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_a_slow_direction_is_the_limit_of_the_exact_one(name, theory):
    slow, h = slow_direction(RULES[name][0]), 1e-9
    spectrum = sgd.Spectrum([h], noise_variances=[3.0])
    steps = np.array([10**8, 10**10, 10**12])
    exact = predictor(name, spectrum, theory=theory).displacement(steps)
    here = values_of(name) | {s.h: h, s.Sigma: 3.0}
    found = [float(slow.displacement.subs(here).subs(s.k, int(k)).evalf(30)) for k in steps]
    np.testing.assert_allclose(found, exact, rtol=2e-6)


def power_law_spectrum(power, ends, nodes=800):
    """Density ρ^power: Gauss-Legendre in log ρ."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    low, high = np.log(ends)
    logarithm = (low + high) / 2 + (high - low) / 2 * x
    rho = np.exp(logarithm)
    return sgd.Spectrum(
        rho, noise_scale=SCALE, counts=w * (high - low) / 2 * np.exp((power + 1) * logarithm)
    )


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("tail", [0.25, 0.6])
def test_a_heavy_tail_of_flat_directions_makes_its_own_exponent(name, tail):
    """Against the sum over 24 decades, of which the ends matter by less than what is allowed."""
    growth = heavy_tail(RULES[name][0])
    spectrum = power_law_spectrum(-1 - tail, (1e-22, 10.0))
    model, steps = predictor(name, spectrum), np.array([10**8, 10**10])
    here = values_of(name) | {s.tail: tail, s.amplitude: 1}
    found = [float(growth.displacement.subs(here).subs(s.k, int(k)).evalf(30)) for k in steps]
    # Steep ends contribute (ρ r k)^{-a}, flat ones (ρ r k)^{1−a}.
    np.testing.assert_allclose(found, model.displacement(steps), rtol=2e-2)
    measured = np.log(np.divide(*model.displacement(steps[::-1]))) / np.log(100)
    assert measured == pytest.approx(tail, abs=5e-3)
    assert growth.exponent == growth.limiting_exponent == s.tail


def test_tails_heavier_than_one_diffuse():
    model = predictor("plain SGD", power_law_spectrum(-2.5, (1e-14, 1.0)))
    assert model.exponent([10**6, 10**10]) == pytest.approx([1.0, 1.0], abs=0.01)


@pytest.mark.parametrize("name", ["plain SGD", "heavy ball"])
@pytest.mark.parametrize("edge", [0.5, 1.0, 1.7])
def test_what_is_left_to_a_plateau_falls_with_the_edge(name, edge):
    """Density ρ^{b−1} up to 1: late, what is left is the edge's."""
    growth = saturation(RULES[name][0])
    spectrum = power_law_spectrum(edge - 1, (1e-25, 1.0))
    model, steps = predictor(name, spectrum), np.array([10**6, 10**8])
    here = values_of(name) | {s.edge: edge, s.amplitude: 1, s.dimension: 1 / edge}
    slow = slow_direction(RULES[name][0])
    plateau = slow.per_direction.subs(here) / edge
    missing = plateau - growth.displacement.subs(here)
    left = np.array([float(missing.subs(s.k, int(k)).evalf(30)) for k in steps])
    # By the incomplete gamma function: ∫₀¹ ρ^{b−1} e^{−ρx} dρ.
    rate = mp.mpf(float(slow.rate.subs(here)))
    with mp.workdps(30):
        times = [rate * int(k) for k in steps]
        exact = [
            float(mp.mpf(float(plateau)) * edge * mp.gammainc(edge, 0, x) / x**edge) for x in times
        ]
    np.testing.assert_allclose(left, exact, rtol=1e-6)
    # The exact theory's plateau differs by what a finite ηh adds to steep directions, not to flat.
    gained = np.diff(model.displacement(steps))
    np.testing.assert_allclose(gained, -np.diff(left), rtol=1e-3)


def test_a_marchenko_pastur_edge_saturates_as_the_square_root():
    """Eigenvalues of a square random matrix's law, by its own density."""
    x, w = np.polynomial.legendre.leggauss(1000)
    # ρ = 4 sin²φ takes the edges' square roots away.
    angle, rho = (x + 1) * np.pi / 4, 4 * np.sin((x + 1) * np.pi / 4) ** 2
    density = np.sqrt(rho * (4 - rho)) / (2 * np.pi * rho)
    counts = density * 8 * np.sin(angle) * np.cos(angle) * w * np.pi / 4
    model = predictor("plain SGD", sgd.Spectrum(rho, noise_scale=SCALE, counts=counts))
    steps = np.array([10**5, 10**6])
    final = model.displacement(10**15)
    left = final - model.displacement(steps)
    here = values_of("plain SGD") | {s.edge: 0.5, s.amplitude: 1 / np.pi, s.dimension: 1}
    growth = saturation(sgd.plain_sgd())
    plateau = float(slow_direction(sgd.plain_sgd()).per_direction.subs(here))
    expected = [
        plateau - float(growth.displacement.subs(here).subs(s.k, int(k)).evalf(30)) for k in steps
    ]
    np.testing.assert_allclose(left, expected, rtol=2e-3)


def test_a_white_spectrum_at_every_step():
    even = white(sgd.heavy_ball())
    spectrum = power_law_spectrum(0.0, (1e-14, 0.01))
    counts = spectrum.counts / spectrum.counts.sum()
    model = predictor("heavy ball", sgd.Spectrum(spectrum.eigenvalues, SCALE, counts=counts))
    steps = np.array([10**4, 10**5, 10**6, 10**8])
    here = values_of("heavy ball") | {s.amplitude: 0.01, s.dimension: 1}
    found = [float(even.displacement.subs(here).subs(s.k, int(k)).evalf(30)) for k in steps]
    np.testing.assert_allclose(found, model.displacement(steps), rtol=2e-3)
    slopes = [float(even.exponent.subs(here).subs(s.k, int(k)).evalf(30)) for k in steps]
    np.testing.assert_allclose(slopes, model.exponent(steps), rtol=5e-3)


def test_one_direction_goes_from_two_to_one_to_zero():
    model = predictor("heavy ball", sgd.Spectrum([1e-6]), theory="continuous")
    early = sgd.Predictor(sgd.Hyperparameters(1e-4, 0.999), sgd.Spectrum([1e-6])).exponent(3)
    assert early == pytest.approx(2, abs=0.01)
    assert model.exponent([10**5, 10**12]) == pytest.approx([1, 0], abs=0.01)
    assert any("slower" in text for text in heavy_tail(sgd.heavy_ball()).assumptions)
    assert saturation(sgd.nesterov()).limiting_exponent == 0
    assert white(sgd.nesterov()).limiting_exponent == 0
