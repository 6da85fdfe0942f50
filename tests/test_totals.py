"""Sums over modes by addition chains: the plan, every mode against 70 digits, what is refused."""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy import exp

import sgdtheory as sgd
from sgdtheory.lowering.addition_chains import AdditionChain, Run, addition_chain
from sgdtheory.lowering.totals import fastest_backend, lower_total

s = sgd.symbols
EPS = np.finfo(float).eps
BACKENDS = ("numpy", "numba", "torch")
ARGUMENTS = (s.h, s.Sigma, s.eta, s.beta, s.S)


@cache
def motion(theory, rule="heavy_ball"):
    make = getattr(sgd, rule)()
    if theory == "discrete":
        return sgd.recursion(make, noise=s.Sigma, curvature=s.h).displacement(s.k)
    langevin = sgd.modified_equation(make)
    process = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h)
    return process.displacement(s.k * s.eta)


@cache
def total(theory, backend, rule="heavy_ball"):
    return lower_total(motion(theory, rule), s.k, ARGUMENTS, backend)


# -- the plan -----------------------------------------------------------------------------------


@given(st.sets(st.integers(1, 2**53), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_chain_reaches_its_grid_with_a_product_a_digit(exponents):
    # The record refuses to be built otherwise.
    chain = addition_chain(sorted(exponents))
    digits = sum(-(-exponent.bit_length() // 5) for exponent in exponents)
    assert chain.cost <= digits + 31 * 11


def test_times_that_double_cost_one_product_each():
    grid = [mantissa << octave for mantissa in range(16, 28) for octave in range(17)]
    assert addition_chain(grid).cost < 1.1 * len(grid)


def test_gaps_of_a_few_octaves_are_squared_over():
    (run,) = addition_chain([1, 8, 16]).runs
    assert run.places == (0, -1, -1, 1, 2)


def test_a_chain_that_misses_its_grid_cannot_be_built():
    with pytest.raises(ValueError, match="reaches"):
        AdditionChain((3,), (1, 2), ((0, 0),), (Run((1,), (0,), False),))


# -- the numbers --------------------------------------------------------------------------------


def points(theory, seed, count):
    """All regimes: flat and steep, critical to the last bit, alternating up to the limit."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        eta, beta = 10 ** rng.uniform(-6, 1), 1 - 10 ** rng.uniform(-5, 0)
        if index % 8 == 0:
            beta = 0.0
        limit = 2 * (1 + beta)
        y = 10 ** rng.uniform(-14, np.log10(0.999 * limit))
        if index % 5 == 1:
            y = limit * (1 - 10 ** rng.uniform(-8, -1))
        if index % 5 == 2:
            y = (1 - np.sqrt(beta)) ** 2 if theory == "discrete" else (1 - beta) ** 2 / limit
            y = max(y, 1e-14) * (1 + int(rng.integers(-2, 3)) * EPS)
        yield int(10 ** rng.uniform(0, 7)), y / eta, eta, beta


def exact(theory, k, h, eta, beta):
    if theory == "discrete":
        update = oracles.UPDATES["heavy_ball"]
        found = oracles.recursion_moments(update, k, h, 1, mp.mpf(1), eta=eta, beta=beta)
    else:
        published = oracles.PUBLISHED["heavy_ball"]
        found = oracles.diffusion_moments(published, k * eta, h, 1, 1, eta, beta=beta)
    return oracles.flat(found["displacement"])[0]


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_every_mode_is_right_to_rounding(theory):
    """Within 1e-12, or 10 roundings of its inputs, of 70 digits."""
    late = []
    with mp.workdps(70):
        change = mp.mpf(10) ** -25
        for k, *inputs in points(theory, 3, 120):
            plain = [mp.mpf(x) for x in inputs]
            value = exact(theory, k, *plain)
            condition = mp.mpf(0)
            for i in range(3):
                there = list(plain)
                there[i] *= 1 + change
                condition += abs(exact(theory, k, *there) / value - 1) / change
            allowed = max(1e-12, 10 * EPS * float(1 + condition))
            h, eta, beta = inputs
            for backend in BACKENDS:
                got = float(total(theory, backend)([k], [h], [1.0], eta, beta, 1.0)[..., 0])
                late.append((float(abs(got / value - 1)) / allowed, backend, k, *inputs))
    assert max(late)[0] <= 1, max(late)


@given(
    seed=st.integers(0, 2**32 - 1),
    modes=st.integers(1, 700),
    rows=st.integers(1, 3),
    theory=st.sampled_from(["discrete", "continuous"]),
    rule=st.sampled_from(["heavy_ball", "nesterov"]),
)
@settings(max_examples=25, deadline=None)
def test_sums_are_those_of_the_elementwise_function(seed, modes, rows, theory, rule):
    rng = np.random.default_rng(seed)
    beta = rng.uniform(0, 0.95, (rows, 1))
    eta = 10 ** rng.uniform(-3, 0, (rows, 1))
    h = rng.uniform(0, 1.3 * (1 + beta.min()) / (1 + 2 * beta.max()) / eta.max(), modes)
    noise, weights = rng.uniform(0, 2, modes), rng.integers(1, 4, modes)
    steps = rng.integers(0, 3000, int(rng.integers(1, 9)))
    function = sgd.lower(motion(theory, rule), (s.k, *ARGUMENTS))
    per_mode = function(steps[:, None], h, noise, eta[..., None], beta[..., None], 4.0)
    expected = (per_mode * weights).sum(-1)
    for backend in BACKENDS:
        found = total(theory, backend, rule)(steps, h, noise, eta, beta, 4.0, weights=weights)
        assert np.allclose(np.asarray(found), expected, rtol=1e-11, atol=0)


def test_no_steps_and_no_time():
    h = np.array([1.0, 0.1])
    for backend in BACKENDS:
        sums = total("discrete", backend)
        assert tuple(sums([], h, h, 0.1, 0.9, 1.0).shape) == (0,)
        assert np.asarray(sums([0, 0], h, h, [[0.1], [0.2]], 0.9, 1.0)).tolist() == [[0, 0], [0, 0]]


def test_a_sum_does_not_depend_on_the_threads(monkeypatch):
    rng = np.random.default_rng(0)
    h = rng.uniform(0, 1, 20_000)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        results.append(total("discrete", "numba")(range(1, 40), h, h, 0.1, 0.9, 1.0))
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_gradients_pass_through_a_sum():
    torch = pytest.importorskip("torch")

    def sums(h, eta, beta):
        return total("discrete", "torch")([1, 6, 13], h, 2.0 * h, eta, beta, 4.0)

    # Overdamped, underdamped, alternating.
    h = torch.tensor([1e-3, 2.0, 11.0], dtype=torch.float64, requires_grad=True)
    numbers = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.3, 0.8))
    assert torch.autograd.gradcheck(sums, (h, *numbers))


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (motion("discrete") ** 2, "each times a coefficient"),
        (motion("discrete") + s.k, "each times a coefficient"),
        (motion("discrete") * s.k, "each times a coefficient"),
        (motion("discrete") + motion("continuous"), "at 2 points"),
        (exp(s.h), "at 0 points"),
        (
            sgd.recursion(sgd.heavy_ball(), curvature=s.h).covariance(s.k)[0, 0],
            "step and impulse responses at one",
        ),
    ],
)
def test_other_expressions_are_refused(expression, message):
    with pytest.raises(ValueError, match=message):
        lower_total(expression, s.k, ARGUMENTS)


def test_numba_is_started_for_large_work_only():
    pytest.importorskip("numba")
    assert fastest_backend(10) == "numpy"
    assert fastest_backend(2**30) == "numba"


def test_what_overflows_is_refused():
    loud = sgd.Spectrum([1.0, 0.5], noise_variances=[1e308, 1e308], counts=[10.0, 10.0])
    with pytest.raises(sgd.UnstableError, match="too large for floating point"):
        sgd.Predictor(sgd.Hyperparameters(1.0, 0.5), loud).displacement([1, 10])


@pytest.mark.parametrize("nu", [0.3, 0.9, 0.999, 1.0])
def test_quasi_hyperbolic_momentum_keeps_its_digits_near_one(nu):
    """Its coefficients are polynomials in β that cancel there unless they are written in 1 − β."""
    rule, own = sgd.quasi_hyperbolic(), {s.nu: nu}
    with mp.workdps(60):
        for lost, y in ((1e-5, 1e-13), (1e-5, 1e-3), (1e-3, 1e-8)):
            beta, eta = 1 - lost, 0.0073
            h = y / eta
            model = sgd.Predictor(
                sgd.Hyperparameters(eta, beta),
                sgd.Spectrum([h], noise_variances=[1.0]),
                rule=rule,
                parameters=own,
            )
            update = oracles.UPDATES["quasi_hyperbolic"]
            inputs = {"eta": mp.mpf(eta), "beta": mp.mpf(beta), "nu": mp.mpf(nu)}
            for k in (1, 7, 1000):
                exact = oracles.recursion_moments(update, k, mp.mpf(h), 1, mp.mpf(1), **inputs)
                found = model.displacement(k)
                assert abs(found / oracles.flat(exact["displacement"])[0] - 1) < 1e-12
