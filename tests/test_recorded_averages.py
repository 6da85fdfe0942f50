"""Linear models that torch trained, before the referee: their averages, and who is right."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from validation.data import regression
from validation.ensemble_runs import measure
from validation.estimators import Estimate, z_scores
from validation.experiments import (
    HESSIAN,
    Cell,
    Data,
    Experiment,
    Model,
    Optimizer,
    Record,
    Sampler,
)
from validation.record_store import open_record
from validation.recorded_averages import recorded_averages
from validation.referee.judgement import judge
from validation.torch_runs import run

SAMPLERS = ("with_replacement", "epochs", "fixed_order")
EXPERIMENT = Experiment(
    "trained",
    Model("linear", dtype="float64"),
    Data("power_law", {"examples": 64, "features": 3, "exponent": 1.0, "rotated": True}),
    Sampler("with_replacement", 8),
    Optimizer(0.3, 0.8, weight_decay=0.05),
    Record(
        updates=519,
        burn_in=256,
        directions=HESSIAN,
        snapshots_every=1,
        replicas=48,
        lags=(1, 3, 7),
    ),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Cells that have run, one a sampler."""
    root = tmp_path_factory.mktemp("runs")
    cells = [Cell(replace(EXPERIMENT, sampler=Sampler(name, 8)), 0) for name in SAMPLERS]
    for cell in cells:
        run(cell.experiment, cell.seed, root / cell.folder)
    return root, dict(zip(SAMPLERS, cells, strict=True))


def test_averages_are_those_of_the_parameters_about_the_minimum(trained):
    root, cells = trained
    cell = cells["epochs"]
    data = regression(EXPERIMENT.data, EXPERIMENT.folder)
    size = len(data.features)
    hessian = data.features.T @ data.features / size
    pull = data.features.T @ data.targets[:, 0] / size
    minimum = np.linalg.solve(hessian + 0.05 * np.eye(3), pull)
    vectors = np.linalg.eigh(hessian)[1]
    # The run's own vectors, since their signs are free.
    used = load_file(root / cell.folder / "directions.safetensors")["directions"]
    np.testing.assert_allclose(np.abs(vectors.T @ used), np.eye(3), atol=1e-12)
    with open_record(root / cell.folder / "record.zarr") as record:
        states = (record.snapshots.values - minimum) @ used
    # Row 0 is the start; 512 origins are 64 epochs.
    after = states[1:]
    found = recorded_averages(cell.experiment, 0, root / cell.folder)
    variance = (after[:512] ** 2).mean(axis=0)
    np.testing.assert_allclose(found.position_variance, variance, rtol=1e-10)
    np.testing.assert_allclose(
        found.products[:, 2], (after[7:519] * after[:512]).mean(axis=0), rtol=1e-9, atol=1e-12
    )
    velocities = np.diff(states, axis=0) / 0.3
    np.testing.assert_allclose(
        found.velocity_variance, (velocities[:512] ** 2).mean(axis=0), rtol=1e-10
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_torch_and_the_simulator_agree(trained, name):
    """Three directions, two variances, three samplers: |z| > 4 by chance in 1 of 800 runs."""
    root, cells = trained
    cell = cells[name]
    record = replace(EXPERIMENT.record, replicas=1024)
    simulated = measure(replace(cell.experiment, record=record, engine="ensemble"), 1)
    found = recorded_averages(cell.experiment, 0, root / cell.folder)
    for kind in ("position_variance", "velocity_variance"):
        several = [getattr(each, kind) for each in (found, simulated)]
        means = [each.mean(axis=0) for each in several]
        errors = [
            each.std(axis=0, ddof=1) / len(each) ** 0.5 / mean
            for each, mean in zip(several, means, strict=True)
        ]
        difference = Estimate(np.log(means[0] / means[1]), np.hypot(*errors), len(several[0]))
        z = z_scores(difference, np.zeros(3))
        assert np.abs(z).max() < 4, (kind, z)


def test_the_referee_judges_what_torch_trained(trained):
    root, cells = trained
    judgement = judge(list(cells.values()), root)
    subject = "power_law, regression, torch.optim.SGD"
    survivors = judgement.survivors()
    assert "multiplicative" in survivors[subject, "with_replacement"]
    assert not {"paper", "overdamped"} & set(survivors[subject, "with_replacement"])
    assert {row.subject for row in judgement.rows} == {subject}


@pytest.mark.parametrize("relaxations", [6, 8])
def test_what_is_left_of_a_distant_start_is_no_deviation(relaxations, tmp_path):
    """The origin is a thousand deviations away from the minimum of data with little noise."""
    options = {"examples": 32, "features": 3, "exponent": 0.5, "noise": 0.01}
    distant = replace(
        EXPERIMENT,
        data=Data("power_law", options),
        sampler=Sampler("epochs", 8),
        optimizer=Optimizer(0.02, 0.5),
        record=Record(
            updates=640,
            burn_in=43 * relaxations,
            directions=HESSIAN,
            replicas=16,
            lags=(1, 3, 7),
        ),
    )
    cell = Cell(distant, 0)
    run(distant, 0, tmp_path / cell.folder)
    (verdict,) = (
        v
        for v in judge([cell], tmp_path).verdicts
        if (v.theory, v.observable) == ("epochs", "position variance")
    )
    assert verdict.worst_z < verdict.limit


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"directions": None}, "record.directions = None"),
        ({"projections_every": 2}, "record.projections_every = 2"),
        ({"replicas": 1}, "record.replicas = 1"),
        ({"updates": 14}, "leave no epoch of 8 updates beside the longest lag, 7"),
    ],
)
def test_a_record_that_lacks_something_says_what(changes, told, tmp_path):
    lacking = replace(EXPERIMENT, record=replace(EXPERIMENT.record, **changes))
    with pytest.raises(ValueError, match=told):
        recorded_averages(lacking, 0, tmp_path)


def test_the_hessian_of_several_outputs_is_refused(tmp_path):
    record = Record(updates=8, directions=HESSIAN, replicas=2)
    digits = replace(EXPERIMENT, data=Data("digits"), record=record)
    with pytest.raises(ValueError, match="620 parameters, the Hessian of one output 62"):
        run(digits, 0, tmp_path)
