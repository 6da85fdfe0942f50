"""The benchmark: its contenders compute the same, at small sizes, and its table says what was run.

Times are not tested. The sums are compared with exponentials of the published Langevin equation
and powers of the update's own map at 40 digits.
"""

from __future__ import annotations

import csv
import os
import shutil
from functools import cache
from pathlib import Path

import mpmath as mp
import numba
import numpy as np
import oracles
import pytest
import torch

from validation.benchmarks import compression, displacement, ensembles, start, table, timing
from validation.benchmarks.__main__ import PARTS, benchmark
from validation.benchmarks.table import Row, Target
from validation.benchmarks.timing import Contender, Spread, Timing

# One group of the kernel's modes and a rest.
RHO = displacement.modes_of(35)
EPS = np.finfo(float).eps
DOCS = Path(__file__).parent.parent / "docs"
TEXTBOOK = ("lambdify", "torch.where", "expm")


@cache
def exact(theory, time):
    """The sum over the modes at a time in updates."""
    rate, momentum = displacement.RATE, displacement.MOMENTUM
    total = 0
    with mp.workdps(40):
        eta, beta = mp.mpf(rate), mp.mpf(momentum)
        for h in map(mp.mpf, RHO):
            if theory == "discrete":
                found = oracles.recursion_moments(
                    oracles.heavy_ball, int(time), h, h, displacement.BATCH, eta=eta, beta=beta
                )
            else:
                published = oracles.PUBLISHED["heavy_ball"]
                found = oracles.diffusion_moments(
                    published, eta * time, h, h, displacement.BATCH, eta=eta, beta=beta
                )
            total += found["displacement"]
        return float(total)


def exactly(theory, times):
    return np.array([exact(theory, float(time)) for time in times])


@pytest.mark.parametrize("name", displacement.makers(RHO))
def test_every_contender_sums_the_same(name):
    """A textbook form subtracts from 1 what is near it: an error of some ε of the last level."""
    work = displacement.makers(RHO)[name]()
    sums, times = np.asarray(work.sums()), work.times
    assert sums.shape == times.shape
    assert work.modes == len(RHO)
    if len(times) > len(displacement.GRIDS["doubling"]) // 10:
        sums, times = sums[displacement.SOME], times[displacement.SOME]
    expected, tolerance = exactly(work.theory, times), 1e-12
    if any(word in name for word in TEXTBOOK):
        tolerance = 32 * EPS * exact(work.theory, 2.0**30) / expected.min()
    np.testing.assert_allclose(sums, expected, rtol=tolerance)


@pytest.fixture
def _compiler():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: there is no reference kernel")


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("skipped", [0, displacement.LATE])
def test_the_kernel_is_right(skipped):
    with displacement.kernel(RHO) as run:
        sums = run(skipped)
    unit = displacement.UPDATE if skipped == 0 else 1
    times = np.array(displacement.GRIDS["doubling"]) / unit
    expected = exactly("continuous", times[displacement.SOME])
    np.testing.assert_allclose(sums[displacement.SOME], expected, rtol=1e-12)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("count", [1, 31, 32, 33, 64])
def test_the_kernel_takes_any_number_of_modes(count):
    rho = displacement.modes_of(count)
    parts = np.split(rho, [count // 3, count // 2])
    sums = []
    for modes in (rho, *parts):
        with displacement.kernel(modes.copy()) as run:
            sums.append(run(0))
    np.testing.assert_allclose(sums[0], sum(sums[1:]), rtol=1e-14)


# -- times and ratios ---------------------------------------------------------------------------


def test_contenders_run_in_turns_each_after_the_reference():
    runs = []
    reference, first, second = (
        Contender(name, 2.0, lambda name=name: runs.append(name)) for name in "rab"
    )
    timings = timing.race([first, second], reference, turns=3)
    # What is over at once runs twice, and the second time counts.
    assert "".join(runs) == "aabb" + 3 * "rraarrbb"
    assert {name: t.seconds.shape for name, t in timings.items()} == {"a": (3,), "b": (3,)}
    assert all(t.reference.shape == (3,) for t in timings.values())


def test_ratios_are_taken_turn_by_turn():
    fast = Timing("fast", np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0]))
    slow = Timing("slow", np.array([40.0, 80.0, 90.0]), np.array([2.0, 1.0, 3.0]))
    assert fast.ratio == Spread(1.5, 1.0, 2.0)
    assert slow.over(fast) == Spread(20.0, 20.0, 40.0)
    alone = Timing("alone", fast.seconds, None)
    assert alone.ratio is None
    assert slow.over(alone) == Spread(40.0, 30.0, 40.0)


def test_threads_are_limited_and_given_back():
    def now():
        return numba.get_num_threads(), torch.get_num_threads(), timing.processors()

    before = now()
    with timing.threads(1):
        inside = now()
    assert inside[:2] == (1, 1)
    assert len(inside[2]) == 1 or not hasattr(os, "sched_setaffinity")
    assert now() == before


# -- the table ----------------------------------------------------------------------------------


def test_goals_have_a_side():
    assert Target(2.0).verdict(1.9) == "met"
    assert Target(2.0).verdict(3.0) == "missed by a factor of 1.5"
    assert Target(60.0, at_most=False).verdict(61.0) == "met"
    assert Target(60.0, at_most=False).verdict(40.0) == "missed by a factor of 1.5"
    assert Target(2.0).verdict(float("nan")).startswith("missed")


def test_a_goal_is_the_ratios_where_there_is_one():
    assert Row("p", "w", 9.0, "ns", Spread(1.0, 0.5, 3.0), Target(2.0)).result == "met"
    assert Row("p", "w", 9.0, "s", target=Target(2.0)).result == "missed by a factor of 4.5"
    assert Row("p", "w", note="no compiler").cells == ("p", "w", *[""] * 6, "no compiler")


def by_name(rows):
    return {row.what: row for row in rows}


@pytest.mark.usefixtures("_compiler")
def test_displacement_has_its_rows(monkeypatch):
    wanted = {displacement.ours("continuous", "doubling"), *displacement.LAMBDIFY}
    makers = {k: v for k, v in displacement.makers(RHO).items() if k in wanted}
    monkeypatch.setattr(displacement, "makers", lambda rho: makers)
    rows = by_name(displacement.measure(modes=35, turns=1))
    assert wanted | {displacement.KERNEL, displacement.KERNEL_LATE} < rows.keys()
    assert sum(row.target == displacement.FASTER for row in rows.values()) == 2
    assert all(row.ratio is not None for row in rows.values())


@pytest.mark.parametrize("part", [displacement, ensembles])
def test_without_a_compiler_a_row_says_so(part, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    ours = displacement.ours("discrete", "doubling")
    some = {ours: displacement.makers(RHO)[ours]}
    monkeypatch.setattr(displacement, "makers", lambda rho: some)
    rows = by_name(part.measure(35, 1) if part is displacement else part.measure(1, scale=40))
    assert "g++ is not installed" in rows["C++ kernel"].result
    timed = [row for row in rows.values() if row.figure is not None]
    assert timed
    assert all(row.ratio is None and row.target is None for row in timed)


def test_compression_is_measured_and_accurate():
    rows = by_name(compression.measure(directions=20_000, turns=1))
    assert 0 < rows["nodes"].figure < 20_000
    assert rows["error"].result == "met"


def test_a_warm_start_has_its_parts():
    rows = by_name(start.measure(turns=1))
    for name in start.PROGRAMS:
        parts = [row.figure for what, row in rows.items() if what.startswith(f"{name}: warm, of")]
        assert len(parts) == 4
        assert sum(parts) == pytest.approx(rows[f"{name}: warm"].figure)


@pytest.mark.usefixtures("_compiler")
def test_the_command_prints_and_writes_one_table(tmp_path, capsys):
    benchmark(repeats=1, parts=("ensembles",), output=tmp_path / "new")
    printed = capsys.readouterr().out
    with (tmp_path / "new" / "table.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == table.HEADER
    names = [row[1] for row in rows]
    assert {ensembles.KERNEL, ensembles.OURS, ensembles.LOOP} < set(names)
    assert all(cell in printed for row in rows for cell in row)
    assert (tmp_path / "new" / "machine.md").read_text(encoding="utf-8").strip() in printed


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match=r"'speed'.*displacement, start"):
        benchmark(parts=("speed",))


def test_the_documentation_explains_what_it_misses():
    """The stored tables are this program's, complete, and the page says why a goal is missed."""
    rows = []
    for stored in sorted((DOCS / "benchmarks").rglob("table.csv")):
        with stored.open(encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    assert all(tuple(row) == table.HEADER for row in rows)
    assert {row["part"] for row in rows} == set(PARTS)
    page = " ".join((DOCS / "benchmarks.md").read_text(encoding="utf-8").split())
    missed = [row["what"] for row in rows if row["result"].startswith("missed")]
    assert not [what for what in missed if f"*{what}*" not in page]
