"""SGD itself, simulated, against the theory: every rule, every sampling, additive noise and not.

The additive noise is that of sixteen examples whose gradients at 0 are the corners of a box, twice:
far from Gaussian, as the second moments of a linear recursion must not care, and the same wherever
the run is. Batches of three make epochs of five updates, which leave one example out. The other
problem is a linear regression on six examples, whose noise depends on where the run is.

Replicas are independent, so a mean over them has a standard error; averages over the places of an
epoch are taken inside each replica. All comparisons of this file together raise a false alarm with
probability 1e-4 (Šidák); the seeds are fixed.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

import sgdtheory as sgd
from sgdtheory.ensembles.run import estimated
from sgdtheory.sampling import SAMPLINGS

s = sgd.symbols
LOOKING_AHEAD = sgd.UpdateRule(
    s.beta * s.v - s.g,
    s.theta + s.eta * s.v_next,
    gradient_at=s.theta + s.eta * s.beta * s.v,
    name="looking ahead",
)
# Rule, η, β, and the rule's own. All regimes are there: plain SGD alternates where it is steep.
RULES = {
    "plain_sgd": (sgd.plain_sgd(), 0.3, 0.0, {}),
    "heavy_ball": (sgd.heavy_ball(), 0.1, 0.8, {}),
    "nesterov": (sgd.nesterov(), 0.1, 0.8, {}),
    "dampened": (sgd.dampened(), 0.15, 0.7, {s.tau: 0.3}),
    "quasi_hyperbolic": (sgd.quasi_hyperbolic(), 0.4, 0.8, {s.nu: 0.7}),
    "looking_ahead": (LOOKING_AHEAD, 0.1, 0.8, {}),
}
# The law of two directions takes 8 s to derive for the rule that is left out.
MULTIPLICATIVE_RULES = [rule for rule in RULES if rule != "quasi_hyperbolic"]
BATCH, WEIGHT_DECAY, REPLICAS = 3, 0.05, 2**14
CURVATURES, VARIANCES = np.array([4.5, 0.8, 0.3]), np.array([2.0, 1.0, 0.5])
START = np.array([0.3, -0.4, 0.5])
FORCES = np.sqrt(VARIANCES) * np.tile([*product((-1, 1), repeat=3)], (2, 1))
EPOCH = len(FORCES) // BATCH
# In the middle of an epoch and at its end; after BURN_IN, whole epochs, the start is forgotten.
TIMES, BURN_IN, LAGS = (1, 2, 5, 18, 70), 300, (1, 3, 5, 22)

INPUTS = np.array([[1.5, 0.3], [-0.4, 1.1], [0.9, -1.3], [-2.0, 0.2], [0.6, 0.8], [0.1, -0.5]])
TARGETS = np.array([1.0, -0.5, 0.3, 0.8, -1.2, 0.4])
OFFSET = np.array([0.7, -0.6])

FALSE_ALARM = 1e-4
# At each time a mean, a symmetric covariance and a displacement; one stationary covariance; at each
# lag an autocovariance and a displacement: for three 2×2 problems, then for one 4×4.
ADDITIVE = len(TIMES) * (3 * (2 + 3) + 1) + 3 * 3 + len(LAGS) * (3 * 4 + 1)
MULTIPLICATIVE = len(TIMES) * (4 + 10 + 1) + 10 + len(LAGS) * (16 + 1)
COMPARISONS = len(RULES) * len(SAMPLINGS) * ADDITIVE + len(MULTIPLICATIVE_RULES) * MULTIPLICATIVE
SINGLE = 1 - (1 - FALSE_ALARM) ** (1 / COMPARISONS)
CRITICAL = student.ppf(1 - SINGLE / 2, REPLICAS - 1)
# Some averages over a fixed order are the same for every order: there only rounding is left.
ROUNDING = 1e-13

each_rule = pytest.mark.parametrize("rule", RULES)
each_multiplicative_rule = pytest.mark.parametrize("rule", MULTIPLICATIVE_RULES)
each_sampling = pytest.mark.parametrize("sampling", SAMPLINGS)


# -- measured ---------------------------------------------------------------------------------


def squares(x):
    return x[..., :, None] * x[..., None, :]


def measured(early, late, means, positions):
    """Estimates by observable, each with its standard error.

    Args:
        early: states at TIMES and what they moved, (R, T, m, i) and (R, T).
        late: states at every lag, 0 first, from every place of an epoch, (R, lags, M, m, i).
        means: predicted at TIMES: a mean's own error is tested, and squares to nothing elsewhere.
        positions: how many of the i are.
    """
    states, moved = early
    lagged = [
        estimated(np.einsum("rpmi,rpmj->rmij", later, late[:, 0]) / EPOCH)
        for later in late.swapaxes(0, 1)
    ]
    steps = (late[:, 1:] - late[:, :1])[..., :positions]
    return {
        "mean": estimated(states),
        "covariance": estimated(squares(states - means)),
        "transient displacement": estimated(moved),
        "stationary covariance": lagged[0],
        **{f"autocovariance {lag}": lagged[i] for i, lag in enumerate(LAGS, 1)},
        "displacement": estimated((steps**2).sum((-1, -2)).mean(-1)),
    }


def trained(ensemble, hyper, start, rule, sampling):
    """Two runs of which the second goes on: states at TIMES and displacements, and states after."""
    own_rule, _, _, own = RULES[rule]
    steps = [*TIMES, BURN_IN]
    early = ensemble.simulate(hyper, steps, start, 0.0, own_rule, own, sampling=sampling)
    later = BURN_IN + np.array([0, *LAGS])[:, None] + np.arange(EPOCH)
    steps, places = np.unique(later, return_inverse=True)
    went = early.position, early.velocity, own_rule, own
    run = ensemble.simulate(hyper, steps, *went, sampling=sampling, first_step=BURN_IN)
    late = run.states[:, places.reshape(later.shape)]
    return (early.states[:, :-1], early.displacements[:, :-1]), late


def deviations(seen, expected):
    """Student's t by observable, of entries that are not another's mirror image."""
    rounding = ROUNDING * np.abs(expected["stationary covariance"]).max()
    found = {}
    for name, (value, error) in seen.items():
        t = (value - expected[name]) / np.maximum(error, rounding)
        symmetric = name in ("covariance", "stationary covariance")
        found[name] = (t[..., *np.triu_indices(t.shape[-1])] if symmetric else t).ravel()
    return found


def worst(seen, expected):
    """The largest |t|, and of which observable it is."""
    return max((np.abs(t).max(), name) for name, t in deviations(seen, expected).items())


# -- noise that does not depend on the position ------------------------------------------------


@cache
def simulated(rule, sampling):
    _, eta, beta, _ = RULES[rule]
    hyper = sgd.Hyperparameters(eta, beta, BATCH, WEIGHT_DECAY)
    seed = [*product(RULES, SAMPLINGS)].index((rule, sampling))
    ensemble = sgd.QuadraticEnsemble(CURVATURES, FORCES, replicas=REPLICAS, seed=seed)
    early, late = trained(ensemble, hyper, START, rule, sampling)
    return measured(early, late, predictor(rule, sampling).mean(TIMES, START), 1)


@cache
def predictor(rule, sampling, theory="discrete", noise=1.0):
    own_rule, eta, beta, own = RULES[rule]
    return sgd.Predictor(
        sgd.Hyperparameters(eta, beta, BATCH, WEIGHT_DECAY, len(FORCES)),
        sgd.Spectrum(CURVATURES, noise_variances=noise * VARIANCES),
        rule=own_rule,
        parameters=own,
        sampling=sampling,
        theory=theory,
    )


def predicted(model):
    return {
        "mean": model.mean(TIMES, START),
        "covariance": model.covariance(TIMES),
        "transient displacement": model.displacement(TIMES, position=START),
        "stationary covariance": model.stationary_covariance(),
        **{f"autocovariance {lag}": model.autocovariance(lag) for lag in LAGS},
        "displacement": model.displacement(LAGS),
    }


def test_the_examples_are_what_is_said_of_them():
    assert np.allclose(FORCES.mean(axis=0), 0)
    assert np.allclose(FORCES.T @ FORCES / len(FORCES), np.diag(VARIANCES))
    assert BURN_IN % EPOCH == 0
    assert len(FORCES) % BATCH


@each_rule
def test_the_start_is_forgotten(rule):
    """e⁻³⁰ of it is left: in a fixed order it is weighed against rounding."""
    assert 30 * np.max(predictor(rule, "with_replacement").relaxation_steps) < BURN_IN


@each_rule
@each_sampling
def test_additive_noise_spreads_as_predicted(rule, sampling):
    assert worst(simulated(rule, sampling), predicted(predictor(rule, sampling)))[0] < CRITICAL


# -- noise that does ---------------------------------------------------------------------------


@cache
def regression(rule):
    """What is measured, what the theory says, and what it says of the noise at the minimum alone.

    Multiplicative noise leaves fourth moments only where it is weak: η is small for that.
    """
    own_rule, eta, beta, own = RULES[rule]
    hyper = sgd.Hyperparameters(0.6 * eta, beta, BATCH, WEIGHT_DECAY)
    problem = sgd.FiniteDataset(INPUTS, TARGETS)
    law = problem.moments(hyper, [*TIMES, BURN_IN], OFFSET, 0.0, own_rule, own)
    minimum = problem.minimum(WEIGHT_DECAY)
    seed = len(RULES) * len(SAMPLINGS) + list(RULES).index(rule)
    ensemble = sgd.LinearRegressionEnsemble(INPUTS, TARGETS, replicas=REPLICAS, seed=seed)
    early, late = trained(ensemble, hyper, minimum + OFFSET, rule, "with_replacement")
    states, late = (state_of(part, minimum) for part in (early[0], late))
    means = law.mean[:-1, None]
    seen = measured((states, early[1]), late, means, 2)
    early_law = {
        "mean": means,
        "covariance": law.covariance[:-1, None],
        "transient displacement": law.displacement[:-1],
    }
    at_minimum = sgd.Landscape(problem.hessian, problem.gradient_noise(weight_decay=WEIGHT_DECAY))
    whole, blind = (
        early_law | stationary_law(sgd.Predictor(hyper, landscape, rule=own_rule, parameters=own))
        for landscape in (problem.stationary(hyper, own_rule, own), at_minimum)
    )
    return seen, whole, blind, law.covariance[-1]


def state_of(states, minimum):
    """(…, d, 2) in the problem's coordinates to (…, 1, 2d), positions first, from the minimum."""
    x = states - np.stack([minimum, 0 * minimum], axis=-1)
    return np.swapaxes(x, -1, -2).reshape(*x.shape[:-2], 1, -1)


def stationary_law(model):
    return {
        "stationary covariance": model.stationary_covariance(),
        **{f"autocovariance {lag}": model.autocovariance(lag) for lag in LAGS},
        "displacement": model.displacement(LAGS),
    }


@each_multiplicative_rule
def test_multiplicative_noise_spreads_as_predicted(rule):
    seen, whole, _, after_burn_in = regression(rule)
    assert worst(seen, whole)[0] < CRITICAL
    late = whole["stationary covariance"]
    assert np.allclose(after_burn_in, late, rtol=0, atol=1e-6 * np.abs(late).max())


# -- what would be seen ------------------------------------------------------------------------


def test_every_comparison_is_counted():
    additive = deviations(
        simulated("nesterov", "epochs"), predicted(predictor("nesterov", "epochs"))
    )
    multiplicative = deviations(*regression("nesterov")[:2])
    assert sum(t.size for t in additive.values()) == ADDITIVE
    assert sum(t.size for t in multiplicative.values()) == MULTIPLICATIVE


@each_rule
@each_sampling
def test_a_factor_in_the_noise_is_seen(rule, sampling):
    """Of eight per cent, in each of the observables that are second moments."""
    found = deviations(simulated(rule, sampling), predicted(predictor(rule, sampling, noise=1.08)))
    blind = [name for name, t in found.items() if np.abs(t).max() < CRITICAL]
    assert not {"covariance", "stationary covariance", "displacement"} & set(blind)


@each_rule
def test_the_samplings_are_told_apart(rule):
    for drawn, supposed in product(SAMPLINGS, repeat=2):
        t, name = worst(simulated(rule, drawn), predicted(predictor(rule, supposed)))
        assert (t < CRITICAL) == (drawn == supposed), (drawn, supposed, name)


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov"])
def test_the_continuous_theory_is_told_from_the_exact_one(rule):
    """At ηh = 0.45 they differ by 1/(1 − ηh/(2(1+β))) = 1.14 for heavy ball."""
    seen = simulated(rule, "with_replacement")
    found = deviations(seen, predicted(predictor(rule, "with_replacement", "continuous")))
    assert np.abs(found["stationary covariance"]).max() > CRITICAL


def test_nesterov_is_told_from_heavy_ball():
    seen = simulated("nesterov", "with_replacement")
    found = deviations(seen, predicted(predictor("heavy_ball", "with_replacement")))
    assert np.abs(found["stationary covariance"]).max() > CRITICAL


@each_multiplicative_rule
def test_noise_that_feeds_on_the_spread_is_told_from_noise_at_the_minimum(rule):
    seen, _, blind, _ = regression(rule)
    found = deviations(seen, blind)
    assert np.abs(found["stationary covariance"]).max() > CRITICAL
    assert np.abs(found["displacement"]).max() > CRITICAL
