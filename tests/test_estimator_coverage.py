"""How often 95 % intervals hold the truth, on simulated heavy balls whose truth is known.

The claim is a band for the true coverage. A count of 400 is refuted where no coverage in the band
gives it with a probability of 1 in 2000 on its side: a false alarm in a thousand tests, or rarer.
"""

import numpy as np
import pytest
from scipy import stats

from validation.estimator_coverage import (
    CELLS,
    MEASURES,
    Cell,
    alignment_counts,
    counted,
    measured,
    simulated,
)
from validation.estimators import Estimate

RUNS = 400
BAND = (0.92, 0.97)
NAMES = (
    "mean of θ",
    "variance of θ",
    "variance of v",
    "autocorrelation of θ, lag 10",
    "circulation",
    "displacement, lag 32",
    "exponent, lags 16 to 32",
    "h Var θ/(½η(1+β) Var v)",
    "⟨θ·g⟩/(½η(1+β)⟨v·v⟩)",
    "stationarity of θ, mean trend",
    "stationarity of θ, variance early late",
)
# One of the two rates for each regime: they share their regression.
RATES = {"overdamped": "natural frequency ω²", "underdamped": "friction γ"}
RECORDS = [cell for cell in CELLS if cell.name in RATES]
BY_NAME = {measure.name: measure for measure in MEASURES}


def refuted(held, runs, band=BAND):
    """Whether no coverage within the band explains a count."""
    low, high = band
    return held < stats.binom.ppf(5e-4, runs, low) or held > stats.binom.isf(5e-4, runs, high)


@pytest.fixture(scope="module", params=RECORDS, ids=lambda c: f"{c.name}-{c.chains}x{c.time}")
def record(request):
    return request.param, simulated(request.param, RUNS, seed=1000 + RECORDS.index(request.param))


@pytest.mark.parametrize("name", [*NAMES, "rate"])
def test_intervals_hold_the_truth_as_often_as_they_say(record, name):
    cell, states = record
    found = measured(BY_NAME[RATES[cell.name] if name == "rate" else name], cell, states)
    assert found.runs == RUNS
    assert not refuted(found.held, found.runs), found


def test_errors_a_third_off_are_refuted():
    # Errors of 0.7 cover 83 %, of 1.5 cover 99.7 %.
    rng = np.random.default_rng(2)
    value = rng.standard_normal(RUNS)
    for factor, wrong in ((0.7, True), (1.0, False), (1.5, True)):
        found = counted(Estimate(value, np.full(RUNS, factor), 1000), 0.0)
        assert bool(refuted(found.held, found.runs)) is wrong


def test_few_long_chains_of_a_slow_direction_hold_the_variance_less_often():
    # 40 relaxation times a chain: the variance's own law is skewed, and the error follows it.
    cell = Cell("slow", 0.9, 0.01, 4, 2000)
    found = measured(BY_NAME["variance of θ"], cell, simulated(cell, RUNS, seed=2000))
    assert not refuted(found.held, found.runs, (0.85, 0.94)), found


def test_intervals_of_the_noise_hold_the_truth():
    counts = alignment_counts(turn=0.3, examples=2000, runs=RUNS, seed=3000)
    for name, found in counts.items():
        assert not refuted(found.held, found.runs), (name, found)


def test_the_law_of_the_simulated_states_is_that_of_the_equation():
    # 20,000 independent pairs a lag: bounds of four standard errors of a product.
    cell = Cell("check", 0.9, 2.0, 4, 12)
    states = simulated(cell, 5000, seed=4)
    first, last = states.positions[:, 0].ravel(), states.positions[:, -1].ravel()
    for pair, exact in (
        (first * first, cell.covariance()[0, 0]),
        (last * first, cell.covariance(11)[0, 0]),
    ):
        assert abs(pair.mean() - exact) < 4 * pair.std() / np.sqrt(len(pair))
