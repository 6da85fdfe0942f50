"""Noise of epochs: against sums over batches in exact arithmetic, many digits, and permutations."""

from __future__ import annotations

from functools import cache
from itertools import product

import mpmath as mp
import numpy as np
import oracles
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sympy import Matrix, N, Rational, sympify

import sgdtheory as sgd

s = sgd.symbols
SAMPLINGS = ("epochs", "fixed_order")
# Batches of 3: four of them are the data set of 12; of 14 examples two are left over.
DATASETS = (12, 14)
BATCH = 3
LENGTH = 4


@cache
def process_of(name, sampling):
    rule = getattr(sgd, name)()
    return sgd.recursion(rule, noise=s.Sigma, curvature=s.h, sampling=sampling)


@pytest.fixture(params=SAMPLINGS)
def sampling(request):
    return request.param


@pytest.fixture
def process(name, sampling):
    return process_of(name, sampling)


@pytest.fixture(params=DATASETS)
def dataset(request):
    return request.param


@pytest.fixture
def here(values, dataset):
    here = values | {s.S: BATCH, s.N: dataset, s.M: LENGTH, s.Sigma: 1}
    return {symbol: sympify(value) for symbol, value in here.items()}


@pytest.fixture
def law(update, hyper, values):
    M, n = oracles.linear_law(update, values[s.h], **hyper)
    return M, n


def matrix(nested):
    return Matrix([list(row) for row in nested])


def covariance_by_hand(sampling, law, steps, dataset, phase=0):
    if sampling == "epochs":
        return oracles.reshuffled_covariance(*law, steps, BATCH, dataset, phase)
    return oracles.fixed_order_covariance(*law, steps, BATCH, dataset)


def stationary_by_hand(sampling, law, lags, dataset):
    how = oracles.reshuffled_stationary if sampling == "epochs" else oracles.fixed_order_stationary
    return how(*law, lags, BATCH, dataset)


# -- exact rationals ----------------------------------------------------------------------------


# No update, one, an epoch, and some epochs with a rest; then counts and phases as they come.
BEGINNINGS = ((0, 0), (1, 0), (LENGTH, 0), (2 * LENGTH + 3, 0))


def drawn(name, sampling, dataset):
    """Two further (steps, phase) of each case; the same in every run."""
    rng = np.random.default_rng([*name.encode(), *sampling.encode(), dataset])
    return [(int(rng.integers(1, 3 * LENGTH)), int(rng.integers(1, LENGTH))) for _ in range(2)]


def test_covariance_from_a_fixed_start(name, process, sampling, law, here, dataset):
    for steps, phase in (*BEGINNINGS, *drawn(name, sampling, dataset)):
        expected = matrix(covariance_by_hand(sampling, law, steps, dataset, phase))
        assert process.covariance(steps, phase).xreplace(here) == expected, (steps, phase)


@pytest.mark.parametrize("phase", range(1, LENGTH))
@pytest.mark.parametrize("steps", [1, LENGTH - 2, LENGTH, 2 * LENGTH + 1])
def test_a_start_inside_an_epoch(steps, phase):
    """Of one rule, all phases: an epoch not over, just over, and some more."""
    h, eta, beta = Rational(5, 4), Rational(1, 10), Rational(1, 2)
    law = oracles.linear_law(oracles.heavy_ball, h, eta=eta, beta=beta)
    here = {s.S: BATCH, s.N: 14, s.M: LENGTH, s.Sigma: 1, s.h: h, s.eta: eta, s.beta: beta}
    found = process_of("heavy_ball", "epochs").covariance(steps, phase)
    expected = matrix(covariance_by_hand("epochs", law, steps, 14, phase))
    assert found.xreplace({symbol: sympify(value) for symbol, value in here.items()}) == expected


def test_stationary_moments(process, sampling, law, here, dataset):
    lags = (0, 1, 3, 4, 6, 13)
    expected = stationary_by_hand(sampling, law, lags, dataset)
    assert process.stationary_covariance().xreplace(here) == matrix(expected[0])
    for lag in lags:
        assert process.autocovariance(lag).xreplace(here) == matrix(expected[lag])
        lost = 2 * (expected[0][0][0] - expected[lag][0][0])
        assert process.displacement(lag).xreplace(here) == lost


def test_the_mean_knows_nothing_of_epochs(process, name):
    white = sgd.recursion(getattr(sgd, name)(), noise=s.Sigma, curvature=s.h)
    assert process.mean(s.k) == white.mean(s.k)


def test_a_symbol_for_the_count_gives_the_same_as_the_count(process, here):
    for result in ("covariance", "autocovariance"):
        general = getattr(process, result)(s.k)
        assert general.xreplace(here | {s.k: 6}) == getattr(process, result)(6).xreplace(here)


def test_one_batch_an_epoch_has_no_noise(sampling):
    process = process_of("heavy_ball", sampling)
    one = {s.N: 5, s.S: 5, s.M: 1, s.eta: Rational(1, 10), s.beta: Rational(1, 2), s.h: 1}
    one = {symbol: sympify(value) for symbol, value in one.items()}
    for value in (process.stationary_covariance(), process.covariance(7)):
        assert value.xreplace(one) == Matrix.zeros(2)


# -- any rule -----------------------------------------------------------------------------------

small = st.fractions(min_value=Rational(-3, 2), max_value=Rational(3, 2), max_denominator=8)


@settings(max_examples=12)
@given(a=small, b=small, c=small, d=small, sampling=st.sampled_from(SAMPLINGS))
def test_rules_that_nobody_named(a, b, c, d, sampling):
    """θ' = θ + a v + b g, v' = c v + d g, with whatever coefficients are stable."""
    a, b, c, d = (Rational(x.numerator, x.denominator) for x in (a, b, c, d))
    rule = sgd.UpdateRule(c * s.v + d * s.g, s.theta + a * s.v + b * s.g)
    h = Rational(3, 4)
    law = oracles.linear_law(lambda x, v, g: (x + a * v + b * g(x), c * v + d * g(x)), h)
    assume(oracles.spectral_radius(law[0]) < 0.95)
    assume(b != 0 or d != 0)
    process = sgd.recursion(rule, noise=s.Sigma, curvature=s.h, sampling=sampling)
    # The trace of 1 − M divides nothing here, and det(1 − M) > 0 by stability.
    here = {
        symbol: sympify(value)
        for symbol, value in {s.h: h, s.S: BATCH, s.N: 12, s.M: LENGTH, s.Sigma: 1}.items()
    }
    expected = matrix(covariance_by_hand(sampling, law, 6, 12))
    assert process.covariance(6).xreplace(here) == expected
    by_hand = stationary_by_hand(sampling, law, (0, 5), 12)
    assert process.stationary_covariance().xreplace(here) == matrix(by_hand[0])
    assert process.autocovariance(5).xreplace(here) == matrix(by_hand[5])


# -- many digits, long epochs, flat directions --------------------------------------------------

STEPS = (1, 3, 50, 99, 100, 101, 12345, 10**7)
UPDATES = 100


@pytest.mark.parametrize(
    ("rate", "beta"),
    [
        *product((1e-14, 0.95), (0.0, 0.99999)),
        ("critical", 0.0),
        (1e-8, 0.9),
        (1e-3, 0.9),
        ("critical", 0.9),
        (0.5, 0.99999),
    ],
)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_floating_point_keeps_its_digits(sampling, beta, rate):
    """Against 80 digits; a momentum is known to one rounding, so 1 − β to ε/(1 − β)."""
    eta, batch = 0.125, 10
    y = {"critical": (1 - beta**0.5) ** 2 if beta else 1.0, 0.95: 1.9 * (1 + beta)}.get(rate, rate)
    h, size = y / eta, batch * UPDATES
    model = sgd.Predictor(
        sgd.Hyperparameters(eta, beta, batch, dataset_size=size),
        sgd.Spectrum([h], noise_variances=[1.0]),
        sampling=sampling,
    )
    tolerance = 1e-12 + 4 * np.finfo(float).eps / (1 - beta)
    with mp.workdps(80):
        M, n = oracles.linear_law(oracles.heavy_ball, mp.mpf(h), eta=mp.mpf(eta), beta=mp.mpf(beta))
        M = tuple(tuple(mp.mpf(x) for x in row) for row in M)
        n = tuple(map(mp.mpf, n))
        how = (
            oracles.reshuffled_stationary
            if sampling == "epochs"
            else oracles.fixed_order_stationary
        )
        exact = how(M, n, (0, *STEPS), batch, size)
        transient = [
            oracles.reshuffled_covariance(M, n, k, batch, size)
            if sampling == "epochs"
            else oracles.fixed_order_covariance(M, n, k, batch, size)
            for k in STEPS
        ]
        found = (
            model.stationary_covariance()[0],
            model.displacement(STEPS),
            model.covariance(STEPS)[:, 0],
            model.autocovariance(STEPS)[:, 0],
        )
        spread = [exact[0][i][i] for i in (0, 1)]
        for i in (0, 1):
            assert abs(found[0][i, i] - spread[i]) <= tolerance * spread[i]
        for index, k in enumerate(STEPS):
            moved = 2 * (spread[0] - exact[k][0][0])
            assert abs(found[1][index] - moved) <= tolerance * moved
            for i in (0, 1):
                gained = transient[index][i][i]
                assert abs(found[2][index, i, i] - gained) <= tolerance * gained
            # A correlation is held to its unit: late ones are differences.
            seen = found[3][index, 0, 0] - exact[k][0][0]
            assert abs(seen) <= tolerance * spread[0]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_flat_directions_do_not_diffuse(sampling):
    """Where every example is used, an epoch takes back what it gave: |Δ|² is bounded."""
    hyper = sgd.Hyperparameters(0.1, 0.9, 10, dataset_size=1000)
    flat = sgd.Spectrum([1e-12], noise_variances=[1.0])
    white = sgd.Predictor(hyper, flat)
    shuffled = sgd.Predictor(hyper, flat, sampling=sampling)
    late = np.array([10_030, 1_000_050])
    assert np.all(shuffled.displacement(late) < 3 * shuffled.displacement(50))
    assert np.all(white.displacement(late) > 100 * shuffled.displacement(late))


# -- permutations, drawn -------------------------------------------------------------------------

REPLICAS = 4000
FALSE_ALARM_RATE = 1e-4


def train(sampling, rng, steps, h, eta, beta, errors, batch):
    """Heavy ball on ½hθ², each example with its own error; positions, (steps + 1, replicas)."""
    size = len(errors)
    theta, v = np.zeros(REPLICAS), np.zeros(REPLICAS)
    path = [theta]
    orders = rng.permuted(np.tile(np.arange(size), (REPLICAS, 1)), axis=1)
    for k in range(steps):
        place = k % (size // batch)
        if place == 0 and k and sampling == "epochs":
            orders = rng.permuted(orders, axis=1)
        noise = errors[orders[:, place * batch : (place + 1) * batch]].mean(axis=1)
        v = beta * v - (h * theta + noise)
        theta = theta + eta * v
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_simulated_epochs_spread_as_predicted(sampling):
    """Every comparison at once: a false alarm in one of 10⁴ runs of the whole family."""
    rng = np.random.default_rng(17)
    errors = rng.standard_gamma(0.5, 30)
    errors -= errors.mean()
    h, eta, beta, batch = 0.4, 0.2, 0.8, 5
    steps = np.array([1, 4, 6, 7, 17, 40, 120])
    path = train(sampling, rng, int(steps[-1]), h, eta, beta, errors, batch)
    model = sgd.Predictor(
        sgd.Hyperparameters(eta, beta, batch, dataset_size=len(errors)),
        sgd.Spectrum([h], noise_variances=[np.mean(errors**2)]),
        sampling=sampling,
    )
    squares = path[steps] ** 2
    z = (squares.mean(axis=1) - model.displacement(steps, position=0.0)) / (
        squares.std(axis=1, ddof=1) / np.sqrt(REPLICAS)
    )
    limit = stats.norm.isf(FALSE_ALARM_RATE / (2 * len(SAMPLINGS) * len(steps)))
    assert np.abs(z).max() < limit
    white = sgd.Predictor(model.hyperparameters, model.spectrum).displacement(steps, position=0.0)
    wrong = (squares.mean(axis=1) - white) / (squares.std(axis=1, ddof=1) / np.sqrt(REPLICAS))
    assert np.abs(wrong).max() > 3 * limit


# -- through the predictor ----------------------------------------------------------------------


def predictor(sampling="epochs", theory="discrete", size=12, **settings):
    hyper = sgd.Hyperparameters(0.1, 0.6, 3, dataset_size=size)
    return sgd.Predictor(
        hyper, sgd.Spectrum([1.25, 0.3]), theory=theory, sampling=sampling, **settings
    )


# The rule with a symbol of its own, and the one without momentum.
@pytest.mark.parametrize("name", ["quasi_hyperbolic", "plain_sgd"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_predictor_sums_the_process(sampling, name, rule, here):
    own = {symbol: float(here[symbol]) for symbol in rule.parameters - {s.eta, s.beta}}
    momentum = 0.0 if name == "plain_sgd" else 0.6
    model = sgd.Predictor(
        sgd.Hyperparameters(0.1, momentum, 3, dataset_size=int(here[s.N])),
        sgd.Spectrum([1.25], noise_variances=[1.0]),
        rule=rule,
        sampling=sampling,
        parameters=own,
    )
    process = process_of(name, sampling)
    for result in ("covariance", "autocovariance"):
        exact = np.array(getattr(process, result)(9).xreplace(here), dtype=float)
        found = getattr(model, result)(9)[0]
        assert np.allclose(found, exact, rtol=1e-12, atol=1e-12 * np.abs(exact).max())
    exact = float(process.covariance(9, 2).xreplace(here)[0, 0])
    assert np.isclose(model.displacement(9, position=0.0, phase=2), exact, rtol=1e-12)


def test_epochs_torch_and_numpy_agree_and_have_gradients():
    torch = pytest.importorskip("torch")
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    model = sgd.Predictor(
        sgd.Hyperparameters(rate, 0.6, 3, dataset_size=12),
        sgd.Spectrum(torch.tensor([1.25, 0.3], dtype=torch.float64)),
        sampling="epochs",
    )
    value = model.displacement([1, 5, 30]).sum()
    expected = predictor().displacement([1, 5, 30]).sum()
    assert float(value.detach()) == pytest.approx(expected, rel=1e-13)
    value.backward()

    def at(eta):
        return (
            sgd.Predictor(
                sgd.Hyperparameters(eta, 0.6, 3, dataset_size=12),
                sgd.Spectrum([1.25, 0.3]),
                sampling="epochs",
            )
            .displacement([1, 5, 30])
            .sum()
        )

    slope = (at(0.1 + 1e-6) - at(0.1 - 1e-6)) / 2e-6
    assert float(rate.grad) == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"theory": "continuous"}, "counted in updates.*discrete"),
        ({"size": None}, "dataset_size = None.*epochs"),
        ({"size": 3.5}, "dataset_size = 3.5.*whole"),
    ],
)
def test_what_epochs_need_is_said(settings, said):
    with pytest.raises(ValueError, match=said):
        predictor(**settings)


@pytest.mark.parametrize("phase", [-1, 4, 1.5])
def test_a_phase_beyond_the_epoch_is_refused(phase):
    with pytest.raises(ValueError, match=rf"phase = {phase}.*from 0 to 3"):
        predictor().covariance(3, phase=phase)


def test_a_phase_without_epochs_or_without_a_position_is_refused():
    with pytest.raises(ValueError, match=r"phase = 1.*with_replacement"):
        predictor("with_replacement").covariance(3, phase=1)
    with pytest.raises(ValueError, match=r"phase = 1 without a position"):
        predictor().displacement(3, phase=1)


def test_an_unknown_sampling_is_refused_by_the_recursion():
    with pytest.raises(ValueError, match=r"sampling = 'shuffled'.*epochs"):
        sgd.recursion(sgd.heavy_ball(), sampling="shuffled")


@pytest.mark.parametrize("result", ["stationary_covariance", "covariance", "displacement"])
def test_every_result_has_a_derivation_that_ends_in_it(process, result):
    steps = process.derivation_of(result)
    value = getattr(process, result)() if result.startswith("st") else getattr(process, result)(s.k)
    assert steps[len(steps) - 1].formulas[-1] == value
    assert any("One epoch" in step.title for step in steps)


def test_an_evaluated_expression_is_the_predictors_number():
    process = process_of("heavy_ball", "epochs")
    here = {s.eta: 0.1, s.beta: 0.6, s.h: 1.25, s.Sigma: 1.25, s.S: 3, s.N: 12, s.M: 4}
    exact = sum(
        float(N(process.displacement(7).subs({**here, s.h: h, s.Sigma: h}))) for h in (1.25, 0.3)
    )
    assert predictor().displacement(7) == pytest.approx(exact, rel=1e-12)


def test_where_every_example_is_used_nothing_is_left_of_white_noise():
    """(N − MS)/(S(N − 1)) is 0 in floating point too, whatever N, S: flat directions show it."""
    for size, batch in ((1000, 10), (50_000, 25), (60_000, 600)):
        length = size // batch
        with mp.workdps(80):
            responses = [(1 - mp.mpf(1e-10)) ** j for j in range(length)]
            varying = length * sum(u * u for u in responses) - sum(responses) ** 2
        model = sgd.Predictor(
            sgd.Hyperparameters(1.0, 0.0, batch, dataset_size=size),
            sgd.Spectrum([1e-10], noise_variances=[1.0]),
            rule=sgd.plain_sgd(),
            sampling="epochs",
        )
        exact = float(varying / (size - 1))
        assert model.covariance(length)[0, 0, 0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_nothing_moves_without_noise_and_its_exponent_is_refused(sampling):
    model = sgd.Predictor(
        sgd.Hyperparameters(0.1, 0.9, 10, dataset_size=10),
        sgd.Spectrum([1.0, 0.01]),
        sampling=sampling,
    )
    assert np.all(model.displacement([1, 2, 30]) == 0)
    with pytest.raises(ValueError, match=r"steps = \[1\. 2\.\].*displacement is 0"):
        model.exponent([1, 2])


@pytest.mark.parametrize("batch", [0.5, 2.5])
def test_batches_of_parts_of_examples_are_refused(batch):
    with pytest.raises(ValueError, match=rf"batch_size = {batch}.*whole"):
        sgd.Predictor(
            sgd.Hyperparameters(0.1, 0.9, batch, dataset_size=100),
            sgd.Spectrum([1.0]),
            sampling="epochs",
        )


@pytest.mark.parametrize("phase", [-2, 1.5])
def test_a_phase_that_is_no_count_is_refused_by_the_recursion(phase):
    with pytest.raises(ValueError, match=rf"phase = {phase}"):
        process_of("heavy_ball", "epochs").covariance(5, phase)


def test_only_what_rests_on_a_stationary_state_assumes_stability():
    process = sgd.recursion(sgd.heavy_ball(), sampling="epochs")
    told = {
        result: process.derivation_of(result).assumptions
        for result in ("covariance", "displacement", "stationary_covariance")
    }
    assert not any("stability" in text for text in told["covariance"])
    for result in ("displacement", "stationary_covariance"):
        assert any("region of stability" in text for text in told[result])
