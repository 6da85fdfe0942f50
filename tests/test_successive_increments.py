"""The late exponent of a stationary start: its bound, by brute force and on random runs."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.flat_direction import flat_displacement, velocity_memory
from sgdtheory.successive_increments import doubling_identity, exponent_bound

RULES = {
    "plain_sgd": (sgd.plain_sgd(), {}),
    "heavy_ball": (sgd.heavy_ball(), {}),
    "nesterov": (sgd.nesterov(), {}),
    "dampened": (sgd.dampened(), {"tau": 0.3}),
    "quasi_hyperbolic": (sgd.quasi_hyperbolic(), {"nu": 0.7}),
}
OWN = {"tau": s.tau, "nu": s.nu}


def momentum_of(name):
    return 0.0 if name == "plain_sgd" else 0.8


def test_the_identity_holds_for_numbers_that_are_no_sgd():
    gained, reduced = doubling_identity()[-1].formulas[0].args
    assert (gained - reduced).expand() == 0
    rng = np.random.default_rng(0)
    F, root = rng.standard_normal((2, 2, 2))
    B = root @ root.T
    left = np.eye(2) - F
    values = {
        s.matrix(name, 2)[place]: X[place]
        for name, X in (("F", F), ("B", B))
        for place in np.ndindex(2, 2)
    }
    assert float(reduced.xreplace(values)) == pytest.approx(-2 * (left @ left @ B)[0, 0])


@pytest.mark.parametrize("name", RULES)
def test_a_flat_direction_by_brute_force(name):
    rule, own = RULES[name]
    beta = momentum_of(name)
    with mp.workdps(60):
        M, n = oracles.linear_law(
            oracles.UPDATES[name], mp.mpf(10) ** -30, eta=mp.mpf(1) / 5, beta=mp.mpf(beta), **own
        )
        B = oracles.stationary_recursion(M, oracles.outer(n, mp.mpf(1)))
        moved = [B[0][0] - oracles.times(oracles.power(M, k), B)[0][0] for k in (1, 2, 7, 100)]
        expected = [float(x / moved[0]) for x in moved]
    here = {s.beta: beta, **{OWN[key]: value for key, value in own.items()}}
    found = [float(flat_displacement(rule).subs(s.k, k).subs(here)) for k in (1, 2, 7, 100)]
    assert found == pytest.approx(expected, rel=1e-10)
    memory = float(velocity_memory(rule).subs(here))
    late = [float(flat_displacement(rule).subs(s.k, k).subs(here)) for k in (10**6, 10**6 + 1)]
    assert late[1] - late[0] == pytest.approx(memory, rel=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_the_bound_is_the_flat_direction_s(name):
    """Found on the grid of curvatures; no other direction's ratio is larger."""
    rule, own = RULES[name]
    here = {OWN[key]: value for key, value in own.items()}
    steps = np.array([1, 2, 5, 20, 100, 1000, 10**5])
    bound = exponent_bound(steps, momentum_of(name), rule=rule, parameters=here)
    flat = flat_displacement(rule).subs({s.beta: momentum_of(name), **here})
    ratio = [float(flat.subs(s.k, int(2 * k)) / flat.subs(s.k, int(k))) for k in steps]
    # Rules whose successive steps anticorrelate reach 1 only late.
    np.testing.assert_allclose(bound, np.maximum(np.log2(ratio), 1.0), atol=1e-8)


def test_the_bound_falls_as_the_memory_over_the_steps():
    steps = np.array([10**3, 10**4, 10**5])
    excess = exponent_bound(steps, 0.9) - 1
    np.testing.assert_allclose(excess[1:] / excess[:-1], 0.1, rtol=0.02)
    assert excess[0] < 0.007


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_stationary_run_exceeds_the_bound(theory, data):
    """Random curvatures up to the limit of stability, any noise, any settings."""
    beta = data.draw(st.sampled_from([0.0, 0.3, 0.9, 0.99]))
    rate = data.draw(st.floats(1e-3, 1.0))
    modes = data.draw(st.integers(1, 6))
    shares = data.draw(st.lists(st.floats(-12, -1e-6), min_size=modes, max_size=modes))
    noise = data.draw(st.lists(st.floats(1e-6, 1e6), min_size=modes, max_size=modes))
    h = 2 * (1 + beta) / rate * 10.0 ** np.array(shares)
    model = sgd.Predictor(
        sgd.Hyperparameters(rate, beta), sgd.Spectrum(h, noise_variances=noise), theory=theory
    )
    steps = np.unique(data.draw(st.lists(st.integers(1, 10**6), min_size=1, max_size=5)))
    once, twice = model.displacement(steps), model.displacement(2 * steps)
    bound = exponent_bound(steps, beta, theory=theory)
    assert np.all(np.log2(twice / once) <= bound + 1e-9)


def test_nor_does_one_whose_noise_commutes_with_nothing():
    rng = np.random.default_rng(1)
    A, C = rng.standard_normal((2, 6, 6))
    model = sgd.Predictor(sgd.Hyperparameters(0.05, 0.9), sgd.Landscape(A @ A.T, C @ C.T))
    steps = np.array([1, 3, 10, 100, 1000])
    grown = np.log2(model.displacement(2 * steps) / model.displacement(steps))
    assert np.all(grown <= exponent_bound(steps, 0.9) + 1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [0]}, "steps"),
        ({"steps": [1.5]}, "steps"),
        ({"steps": []}, "steps"),
        ({"momentum": 1.0}, "momentum"),
        ({"theory": "quantum"}, "theory = 'quantum'"),
        ({"rule": sgd.dampened()}, "further symbols"),
    ],
)
def test_what_has_no_bound_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        exponent_bound(**{"steps": [1], "momentum": 0.5} | change)


# -- other starts ---------------------------------------------------------------------------------


def test_a_cold_start_without_momentum_never_exceeds_one_and_with_it_only_within_its_memory():
    spectrum = sgd.Spectrum(np.geomspace(1e-6, 1, 60))
    steps = np.unique(np.geomspace(1, 1e6, 60).astype(int))
    plain = sgd.Predictor(sgd.Hyperparameters(0.5), spectrum)
    assert plain.exponent(steps, position=0.0).max() <= 1 + 1e-9
    fast = sgd.Predictor(sgd.Hyperparameters(0.01, 0.99), sgd.Spectrum([1e-9]))
    # A fresh optimiser's velocity is a random walk at first, and its position that one's integral.
    assert fast.exponent(10, position=0.0) == pytest.approx(2.7, abs=0.1)
    assert fast.exponent(10**5, position=0.0) == pytest.approx(1, abs=0.01)


def test_a_hot_start_exceeds_one_late():
    spectrum = sgd.Spectrum(np.geomspace(1e-6, 1, 60))
    hot, cool = (sgd.Predictor(sgd.Hyperparameters(rate), spectrum) for rate in (0.5, 0.005))
    spread = hot.stationary_covariance()
    assert cool.exponent(100, start_covariance=spread) > 1.05
    assert cool.exponent(100) < 1


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_what_the_theorem_does_not_cover(beta):
    """Noise that remembers. Reshuffled epochs stay below the bound here; one order for ever repeats
    its cycle, and grows anew after every epoch."""
    hyper = sgd.Hyperparameters(0.1, beta, 10, dataset_size=1000)
    steps = np.array([1, 2, 5, 20, 40, 99, 101, 130, 1020, 10_001, 99_901])
    bound = exponent_bound(steps, beta)
    for h in (1e-7, 1e-3, 0.1, 2.0):
        grown = {}
        for sampling in ("epochs", "fixed_order"):
            model = sgd.Predictor(hyper, sgd.Spectrum([h]), sampling=sampling)
            once, twice = model.displacement(steps), model.displacement(2 * steps)
            grown[sampling] = np.log2(twice / once)
        assert np.all(grown["epochs"] <= bound + 1e-6)
        # One update after an epoch's end is one update after the start.
        assert grown["fixed_order"][-1] == pytest.approx(grown["fixed_order"][0], abs=1e-3)
    if beta:
        assert grown["fixed_order"][-1] > 1.5 > bound[-1]
