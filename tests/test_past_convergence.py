"""From stages to a table: predictions first, gates that can fail, and what is compared."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from validation.__main__ import main
from validation.durable_files import read_sealed
from validation.estimators import Estimate
from validation.experiments import Data, Experiment, Loss, Model, Optimizer, Record, Sampler
from validation.past_convergence import comparison
from validation.past_convergence.findings import findings
from validation.past_convergence.measured_start import Force, MeasuredStart
from validation.past_convergence.predictions import Dynamics, log_spaced, rates, slope, window
from validation.past_convergence.report import lines
from validation.past_convergence.staged_runs import prepared
from validation.past_convergence.theory_records import make_theory_records, read_theory_records
from validation.past_convergence.verdict import verdicts
from validation.preparation import relative_change
from validation.staged_experiments import Gates, read_staged

TEXT = """
name = "tiny"
seeds = [0, 1]

[model]
name = "mlp"
options = { width = 6, depth = 1 }
dtype = "float64"

[data]
name = "digits_images"
options = { size = 4, examples = 64 }
label_noise = 0.02

[sampler]
name = "with_replacement"
batch_size = 8

[optimizer]
learning_rate = 0.01
momentum = 0.9

[record]
updates = 600
checkpoint_every = 200

[[stages]]
name = "pretrain"
"data.label_noise" = 0.0
"optimizer.learning_rate" = 0.03
"record.updates" = 400
gate = { unexplained = 0.9 }

[[stages]]
name = "converge"
"data.label_noise" = 0.0
"optimizer.learning_rate" = 0.03
"record.updates" = 400

[curvature]
kind = "gauss_newton"
eigenpairs = 6
probes = 2
steps = 20
force_displacement = 1e-3
linearized = 2

[gates]
self_driven = 0.5

[[comparisons]]
name = "batch size"
"sampler.batch_size" = [8, 32]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    path = folder / "tiny.toml"
    path.write_text(TEXT)
    places = ["--root", str(folder / "runs"), "--output", str(folder / "reports")]
    main(["run", str(path), *places, "--workers", "1"])
    return folder, path, places


def test_a_prediction_is_older_than_its_record_and_seals_its_inputs(ran):
    folder, _, _ = ran
    made = sorted((folder / "runs" / "tiny").rglob("prediction.json"))
    assert len(made) == 4
    for path in made:
        record = path.parent / "record.zarr" / "zarr.json"
        assert path.stat().st_mtime_ns <= record.stat().st_mtime_ns
        content = read_sealed(path, "")
        assert "outputs.npz" in content["inputs"]
        assert "theory_records.npz" in content["inputs"]
        assert len(content["inputs"]) == 6
        path.with_suffix(".copy").write_text(path.read_text().replace("0.9", "0.8", 1))
        with pytest.raises(ValueError, match="has been changed"):
            read_sealed(path.with_suffix(".copy"), "")


def test_run_again_nothing_is_done_and_the_table_is_the_same(ran, capsys):
    _, path, places = ran
    capsys.readouterr()
    main(["run", str(path), *places, "--workers", "1"])
    assert "0 cells done, 4 complete before, 0 failed" in capsys.readouterr().out


def test_compare_and_report_take_what_was_run(ran, capsys):
    folder, path, places = ran
    capsys.readouterr()
    main(["compare", str(path), *places[:2]])
    assert "batch_size = 32" in capsys.readouterr().out
    (page,) = (folder / "reports").rglob("index.html")
    text = page.read_text()
    assert "predicted, then recorded" in text
    drawn = {image.stem for image in page.parent.glob("*.png")}
    assert drawn == {"isotropy", "spiral", "slice", "displacement", "exponents"}
    assert (page.parent / "rows.csv").read_text().count("\n") > 20
    page.unlink()
    main(["report", str(path), *places[:2], "--output", str(folder / "reports" / "referee")])
    assert page.read_text() == text


def test_rows_are_of_every_setting_with_errors(ran):
    folder, path, _ = ran
    found = findings(read_staged(path), folder / "runs")
    assert {row.setting for row in found.rows} == {"base", "batch_size = 32"}
    quantities = {row.quantity for row in found.rows}
    assert {"|δ|²", "Var θ", "Var v", "circulation", "exponent"} <= quantities
    assert "exponent of a Hessian held fixed, on the average" in quantities
    assert all(row.error > 0 for row in found.rows)
    assert any("one false alarm in 100" in line for line in lines(found))


def test_a_verdict_is_over_stationary_settings_of_one_chance():
    def row(setting, deviation, z, chance="fresh", *, stationary=True):
        return comparison.Row(
            setting,
            chance,
            "|δ|²",
            1.0,
            1.0 + deviation,
            deviation,
            0.0,
            0.1,
            0.02,
            z,
            (deviation,),
            0,
            stationary,
        )

    rows = [row("a", 0.1, 1.0), row("b", -0.3, -3.0), row("c", 9.0, 90.0, stationary=False)]
    first, second = verdicts([*rows, row("d", 0.5, 5.0, "own")], bound=4.0)
    assert (first.settings, first.largest, first.largest_z, first.holds) == (2, -0.3, 3.0, True)
    assert first.deviation == pytest.approx(-0.1)
    assert first.error == pytest.approx(np.sqrt((0.1**2 - 0.02**2) / 2 + 0.02**2))
    assert (second.chance, second.holds) == ("own", False)
    # Chance is each setting's own: sixteen that part by three errors say more than one.
    (together,) = verdicts([row(str(i), 0.3, 3.0) for i in range(16)], bound=4.0)
    assert together.largest_z == pytest.approx(3.0)
    assert together.z > 4.0
    assert not together.holds


def test_the_hessian_is_measured_again_where_the_record_ended(ran):
    folder, _, _ = ran
    (first, second) = sorted((folder / "runs" / "tiny").rglob("curvature_after.json"))
    for path in (first, second):
        told = read_sealed(path, "")
        assert len(told["relative_change"]) == len(told["overlaps"]) == 6
        assert 0 < told["trace"] != told["trace_before"]


def test_a_record_without_its_prediction_is_refused(ran, tmp_path):
    folder, path, _ = ran
    staged = read_staged(path)
    starts = prepared(staged, folder / "runs")
    record = comparison.records_of(staged, starts, folder / "runs" / "tiny", {})[0]
    kept = (record.folder / "prediction.json").rename(tmp_path / "prediction.json")
    try:
        with pytest.raises(ValueError, match=r"prediction\.json cannot be read"):
            comparison.records_of(staged, starts, folder / "runs" / "tiny", {})
    finally:
        kept.rename(record.folder / "prediction.json")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("unexplained = 0.9", "unexplained = 1e-9", r"stage pretrain, seed \d: its loss is"),
        ("self_driven = 0.5", "self_driven = 1e-6", r"noise would drive itself"),
        ("eigenpairs = 6", "eigenpairs = 6\nwhat = 1", r"curvature is not allowed: what"),
        ('"sampler.batch_size" = [8, 32]', '"sampler.batch" = [8]', r"sampler\.batch names no"),
        ("updates = 600", "updates = 600\nburn_in = 5", r"Leave out engine, record\.burn_in"),
    ],
)
def test_what_cannot_be_gone_on_with_is_told(ran, tmp_path, old, new, told):
    _, _, places = ran
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(SystemExit, match=told):
        main(["run", str(path), *places, "--workers", "1"])


def test_without_a_run_there_is_nothing_to_compare(tmp_path):
    (tmp_path / "tiny.toml").write_text(TEXT)
    with pytest.raises(ValueError, match="seeds \\[0, 1\\] are not prepared"):
        findings(read_staged(tmp_path / "tiny.toml"), tmp_path / "runs")


def dynamics(label_noise, force, spread=0.0, batch=4):
    """Three known directions, one node that stands for two more."""
    rho, counts = np.array([3.0, 1.0, 0.3, 0.01]), np.array([1.0, 1.0, 1.0, 2.0])
    nothing = (np.zeros(1), np.zeros(1))
    start = MeasuredStart(
        rho,
        counts,
        3,
        np.array([0.02, 0.01, 0.02, 0.001]),
        spread * rho,
        Force((rho, force**2), nothing, nothing, (float(np.linalg.norm(force)), 0.0)),
    )
    experiment = Experiment(
        "by hand",
        Model("mlp"),
        Data("digits_images", label_noise=label_noise),
        Sampler("with_replacement", batch),
        Optimizer(0.1, 0.8),
        Record(updates=256),
        Loss("half_squared_error"),
    )
    return Dynamics(experiment, start, 64), rho, counts


def test_diffusion_and_drift_are_those_of_the_recursion():
    force = np.array([0.5, 0.2, 0.1, 0.3])
    law, rho, counts = dynamics(0.3, force)
    steps = np.array([1, 2, 10, 100])
    noise = 0.3**2 * rho + np.array([0.02, 0.01, 0.02, 0.001])
    expected_drift, expected = [], []
    for h, push, variance in zip(rho, force, noise, strict=True):
        map_, kick = np.array([[1 - 0.1 * h, 0.08], [-h, 0.8]]), np.array([-0.1, -1.0])
        x, p, means, spreads = np.zeros(2), np.zeros((2, 2)), [], []
        for _ in range(100):
            x = map_ @ x + kick * push
            p = map_ @ p @ map_.T + np.outer(kick, kick) * variance / 4
            means.append(x[0] ** 2)
            spreads.append(p[0, 0])
        expected_drift.append(means)
        expected.append(spreads)
    np.testing.assert_allclose(
        law.drift(steps, induced=False), np.sum(expected_drift, axis=0)[steps - 1], rtol=1e-9
    )
    np.testing.assert_allclose(
        law.diffusion(steps), (counts @ np.array(expected))[steps - 1], rtol=1e-9
    )


def test_noise_that_drives_itself_is_that_of_examples_that_differ():
    """One output whose slope is ±√(2ρ) or 0 in turn: E h² = 2ρ², the spread of H_n is ρ² more."""
    rho = 1.0
    law, _, _ = dynamics(0.5, np.zeros(4), batch=2)
    start = replace(
        law.start,
        eigenvalues=np.array([rho]),
        counts=np.ones(1),
        known=1,
        noise=np.zeros(1),
        spread=np.array([rho**2]),
    )
    law = replace(law, start=start)
    source = np.random.default_rng(0)
    theta, v = np.zeros((2, 4000))
    total, steps = 0.0, 3000
    for step in range(steps + 200):
        drawn = source.random((2, 4000)) < 0.5
        gradient = drawn * (
            2 * rho * theta - np.sqrt(2 * rho) * 0.5 * source.normal(size=drawn.shape)
        )
        v = 0.8 * v - gradient.mean(axis=0)
        theta = theta + 0.1 * v
        total += (0.01 * v**2).mean() if step >= 200 else 0.0
    measured = total / steps
    error = 2e-3 * measured
    assert abs(measured - law.local_displacement()) < 4 * error
    assert law.local_displacement(driven=False) < measured - 20 * error
    with pytest.raises(ValueError, match="drives itself without bounds"):
        replace(law, start=replace(start, spread=np.array([100.0]))).local_displacement()


def test_records_of_the_theory_scatter_about_what_it_predicts(tmp_path):
    """Long records of three directions and a drift: estimators are unbiased there."""
    law, _, _ = dynamics(0.3, np.array([0.5, 0.2, 0.1, 0.3]) / 50)
    recorded = replace(law.experiment, record=Record(updates=4096))
    law = Dynamics(recorded, law.start, 64)
    make_theory_records(law, 5, tmp_path / "records.npz")
    made = read_theory_records(tmp_path / "records.npz")
    predicted = law.everything()
    for name in ("velocity_variance", "position_variance", "circulation", "local_displacement"):
        found = np.array([getattr(one, name).value for one in made])
        if name != "local_displacement":
            found = found[:, :2]
        error = found.std(axis=0, ddof=1) / np.sqrt(len(made))
        assert np.all(
            np.abs(found.mean(axis=0) - np.ravel(predicted[name])[: found[0].size]) < 4 * error
        ), name
        assert np.all(error < 0.03 * found.mean(axis=0))
    exponents = np.array([one.exponent for one in made])
    assert abs(exponents.mean() - predicted["exponent"]) < 0.15
    assert exponents.std() > 0.05
    for name in ("change", "velocity_change"):
        changed = np.array([float(getattr(one, name).value) for one in made])
        assert 0.001 < changed.std(ddof=1) < 0.1
        assert abs(changed.mean()) < 4 * changed.std(ddof=1) / np.sqrt(len(made))


def test_records_of_another_version_are_told_from_those_of_this(tmp_path):
    np.savez(tmp_path / "records.npz", local_displacement=np.ones(32), exponent=np.ones(32))
    with pytest.raises(ValueError, match=r"records\.npz: there is no change, circulation.* Delete"):
        read_theory_records(tmp_path / "records.npz")


@pytest.mark.parametrize("name", ["change", "velocity_change"])
@pytest.mark.parametrize(
    ("change", "trials", "steady"),
    [
        (0.1 + 2.8 * 0.04, 400, True),
        (0.1 + 3.2 * 0.04, 400, False),
        (0.1 - 3.2 * 0.04, 400, False),
        # Without enough records of the theory: the record's own error, and no bias.
        (0.04, 3, True),
        (0.06, 3, False),
    ],
)
def test_the_gate_of_a_record_is_the_scatter_of_the_theorys_own(name, change, trials, steady):
    def found(value):
        of = {"change": 0.1, "velocity_change": 0.1} if trials > 16 else {}
        of |= {name: value}
        return SimpleNamespace(
            **{
                each: Estimate(np.asarray(of.get(each, 0.0)), np.asarray(0.01), 1)
                for each in ("change", "velocity_change")
            }
        )

    source = np.random.default_rng(3)
    made = [found(0.1 + 0.04 * source.normal()) for _ in range(trials)]
    record = SimpleNamespace(measured=found(change), trials=made)
    assert comparison._steady(record, Gates(change=0.05)) == steady


def test_a_row_is_judged_by_what_the_theory_itself_gives():
    def row(*by_seed, own=0.0):
        deviation = float(np.mean(by_seed))
        return comparison.Row(
            "a", "fresh", "c", 1.0, 1.0, deviation, 0.0, 9.0, own, 9.0, by_seed, 0, True
        )

    source = np.random.default_rng(0)
    made = [row(*(0.2 + np.array([0.1, 0.3]) * source.normal(size=2))) for _ in range(400)]
    judged = comparison.judged(row(0.5, 0.7, own=0.05), made)
    assert judged.bias == pytest.approx(0.2, abs=0.03)
    assert judged.deviation == pytest.approx(0.4, abs=0.03)
    assert judged.error == pytest.approx(np.hypot(np.hypot(0.1, 0.3) / 2, 0.05), rel=0.1)
    assert judged.z == pytest.approx(judged.deviation / judged.error, rel=0.02)
    # Three trials tell nothing of a scatter: the row is left as it was.
    assert comparison.judged(row(0.5, 0.7), made[:3]) == row(0.5, 0.7)


@pytest.mark.parametrize(("sampler", "error"), [("fixed_order", 0.1 / 3**0.5), ("epochs", 1e-6)])
def test_one_order_for_ever_errs_from_seed_to_seed(sampler, error):
    """However well a record knows its own mean: another order has another."""
    record = SimpleNamespace(sampler=sampler, chance=sampler)
    rows = comparison._Rows("a", [record] * 3, True)
    columns = [(1.0, 1.0 + away, away, 3**0.5 * 1e-6) for away in (0.1, 0.2, 0.3)]
    assert rows._row("q", columns, 0).error == pytest.approx(error)


def test_coefficients_are_those_of_the_two_step_recursion():
    law, rho, _ = dynamics(0.1, np.zeros(4))
    a, b = law.coefficients
    np.testing.assert_allclose(a, 1 + 0.8 - 0.1 * rho[:3])
    assert b == pytest.approx(-0.8)


def test_rates_are_those_of_an_oscillation_sampled_at_updates():
    eta, gamma, delta = 0.1, 0.3, 1.7
    roots = np.exp(eta * np.array([-gamma + 1j * delta, -gamma - 1j * delta]))
    found = rates(np.array([roots.sum().real]), -float(np.prod(roots).real), eta)
    assert found["friction"][0] == pytest.approx(gamma)
    assert found["frequency"][0] == pytest.approx(delta)
    assert found["natural_frequency_squared"][0] == pytest.approx(gamma**2 + delta**2)


def test_updates_and_slopes():
    assert log_spaced(1000)[0] == 1
    assert log_spaced(1000)[-1] == window(1000)[-1] == 1000
    assert window(1000)[0] == 125
    assert slope(window(1000), 3.0 * window(1000) ** 0.7) == pytest.approx(0.7)


def test_a_relative_change_has_the_error_of_its_memory():
    source = np.random.default_rng(1)
    z = []
    for _ in range(200):
        noise = source.normal(size=1200)
        series = 5 + np.convolve(noise, 0.8 ** np.arange(30), mode="valid")
        found = relative_change(series, (0.0, 1 / 3))
        z.append(float(found.value / found.standard_error))
    assert 0.8 < np.std(z) < 1.25
    assert json.dumps(float(found.value))


def test_noise_that_the_spread_adds_is_that_of_the_spread_under_its_sampler():
    """Under epochs positions spread less, and so does what their spread adds to the steps."""

    def added(name):
        told, _, _ = dynamics(0.0, np.zeros(4), spread=0.5)
        sampled = replace(told.experiment, sampler=Sampler(name, 4))
        one = Dynamics(sampled, told.start, 64)
        return one.local_displacement() - one.local_displacement(driven=False)

    assert 0 < added("epochs") < 0.7 * added("with_replacement")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("momentum = 0.9", "momentum = 0.9\nnesterov = true"),
        ('"sampler.batch_size" = [8, 32]', '"optimizer.nesterov" = [false, true]'),
    ],
)
def test_rules_that_are_not_heavy_ball_are_not_predicted(old, new, tmp_path):
    path = tmp_path / "nesterov.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match="predictions are those of heavy ball"):
        read_staged(path)
