"""The published exponents and what is said of them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from validation.published import hypotheses as chapter
from validation.published import report
from validation.published.fitting import fit, left_out, shares
from validation.published.hypotheses import HYPOTHESES
from validation.published.table import GRID, PUBLISHED, SCATTER, SCATTER_FREEDOM, Cell

DOCS = Path(__file__).parent.parent / "docs" / "published"
BY_NAME = {hypothesis.name: hypothesis for hypothesis in HYPOTHESES}
HOT, TWO = BY_NAME["hot start"], BY_NAME["hot start, flat end at the weight decay"]
# a, log of the smallest and of the largest eigenvalue.
SPECTRUM = np.array([1.2, np.log(1e-4), np.log(3.0)])


def rows(name):
    with (DOCS / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_scatter_is_that_of_the_four_pairs_of_equal_reach():
    pairs = [(1.054, 1.063), (0.987, 1.000), (0.958, 0.924), (0.915, 0.895)]
    expected = np.sqrt(np.mean([(a - b) ** 2 / 2 for a, b in pairs]))
    assert pytest.approx(expected) == SCATTER
    assert SCATTER_FREEDOM == 4
    assert len(PUBLISHED) == 12
    assert len(GRID) == 27


def test_a_hypothesis_sees_little_but_the_reach():
    """One combination of the settings, up to the memory of a velocity in a run of thousands."""
    same = (Cell(1e-4, 256, 0.9), Cell(2e-4, 512, 0.9), Cell(5e-5, 256, 0.95), Cell(2e-4, 256, 0.8))
    values = HOT.exponents(same, SPECTRUM)
    assert np.ptp(values) < 0.005
    assert abs(HOT.exponents((Cell(2e-4, 256, 0.9),), SPECTRUM)[0] - values[0]) > 0.02


@pytest.mark.parametrize("name", BY_NAME)
def test_nodes_and_fitted_steps_are_enough(name, monkeypatch):
    hypothesis = BY_NAME[name]
    at = np.array([c.coordinate(c.first_guesses[-1]) for c in hypothesis.constants])
    coarse = hypothesis.exponents(PUBLISHED, at)
    monkeypatch.setattr(chapter, "_NODES", 2 * chapter._NODES)
    np.testing.assert_allclose(hypothesis.exponents(PUBLISHED, at), coarse, atol=1e-6)
    # Every update of the second epoch, as a fit of all of them has it.
    whole = replace_windows(PUBLISHED[-3:])
    if hypothesis.sampling == "with_replacement":
        np.testing.assert_allclose(hypothesis.exponents(whole, at), coarse[-3:], atol=3e-4)


class WholeWindow(Cell):
    @property
    def window(self):
        return np.arange(self.updates // 2, self.updates + 1, dtype=float)


def replace_windows(cells):
    return tuple(WholeWindow(c.learning_rate, c.batch_size, c.momentum) for c in cells)


def test_constants_are_recovered_with_the_errors_that_are_stated():
    """10 fits to synthetic cells of known scatter: Σz² is χ²; false alarms 1 % for both."""
    truth, runs = np.array([1.2, np.log(3.0)]), 10
    exact = TWO.exponents(PUBLISHED, truth)
    rng = np.random.default_rng(5)
    squares = []
    for noise in SCATTER * rng.standard_normal((runs, len(PUBLISHED))):
        cells = tuple(
            replace(cell, exponent=float(c))
            for cell, c in zip(PUBLISHED, exact + noise, strict=True)
        )
        found = fit(TWO, cells, [truth])
        stated = np.array(list(found.standard_errors().values()))
        # The statement takes the larger of two scatters; here the true one is known.
        errors = stated * SCATTER / max(SCATTER, found.residual_scatter)
        squares.append(((found.coordinates - truth) / errors) ** 2)
    low, high = stats.chi2.ppf([0.0025, 0.9975], runs)
    total = np.sum(squares, axis=0)
    assert np.all((low < total) & (total < high))


def test_noise_alone_never_exceeds_one_and_a_hot_start_does():
    cool = (Cell(1e-5, 256, 0.8), Cell(1e-5, 512, 0.9))
    for name in ("stationary start", "start at the minimum"):
        assert BY_NAME[name].exponents(cool, SPECTRUM).max() < 1.005
    assert HOT.exponents(cool, SPECTRUM).min() > 1.3


def test_the_last_settings_of_the_pretraining_start_in_their_own_state():
    same = Cell(1e-3, 256, 0.9)
    stationary = BY_NAME["stationary start"].exponents((same,), SPECTRUM)
    # They differ by the velocity, which a fresh optimiser has not.
    assert HOT.exponents((same,), SPECTRUM) == pytest.approx(stationary, abs=2e-3)


def test_shares_make_up_the_exponent():
    found = fit(TWO, PUBLISHED)
    for cell, c in zip(found.cells, found.predicted, strict=True):
        part = shares(found, cell)
        mixed = part.ballistic * part.ballistic_exponent
        mixed += (1 - part.ballistic) * part.noise_exponent
        assert mixed == pytest.approx(c, abs=0.01)


def test_the_documentation_shows_what_the_command_finds():
    """With two constants, which takes seconds; the other hypotheses by their root mean square."""
    found = fit(TWO, PUBLISHED)
    stored = {row["hypothesis"]: row for row in rows("hypotheses")}
    assert set(stored) == set(BY_NAME)
    assert f"{found.rms:.3f}" == stored[TWO.name]["rms error of c"]
    aside = np.sqrt(np.mean((left_out(found) - [c.exponent for c in PUBLISHED]) ** 2))
    assert f"{aside:.3f}" == stored[TWO.name]["rms, each cell left out"]
    hot = fit(HOT, PUBLISHED)
    stored_cells = [float(row["predicted"]) for row in rows("cells")]
    np.testing.assert_allclose(hot.predicted, stored_cells, atol=1e-3)
    stored_grid = [float(row["predicted"]) for row in rows("predictions")]
    np.testing.assert_allclose(hot.predict(GRID)[0], stored_grid, atol=1e-3)
    # The claim of the page: within 0.05, with at most four constants.
    assert hot.rms < 0.05


def test_everything_is_written(tmp_path, monkeypatch):
    kept = (HOT, BY_NAME["hot start, epochs"])
    fits = tuple(fit(h, PUBLISHED, [np.append(SPECTRUM, [])]) for h in kept)
    found = report.Findings(fits, {HOT.name: fits[0].predicted})
    report.write(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "hypotheses.csv",
        "cells.csv",
        "predictions.csv",
        "exponents.png",
    }
    assert report.lines(found)[1].startswith("hot start ")
