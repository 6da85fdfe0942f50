"""A declared experiment: its identity, its refusals, its cells."""

import dataclasses
import importlib
import subprocess
import sys

import pytest

from validation.experiments import Experiment, cells, read_experiment

TEXT = """
name = "digits"
seeds = [0, 3]

[model]
name = "mlp"
[model.options]
width = 16

[data]
name = "digits_images"

[sampler]
name = "epochs"
batch_size = 32

[optimizer]
learning_rate = 0.05
momentum = 0.9

[record]
updates = 100
"""
# The identity of TEXT: a later version must not run it again.
IDENTITY = "db274dc1675017a8"


@pytest.fixture
def read(tmp_path):
    def from_text(text):
        path = tmp_path / "experiment.toml"
        path.write_text(text)
        return read_experiment(path)

    return from_text


def test_the_identity_is_kept_by_versions_and_processes(read, tmp_path):
    assert read(TEXT).identity == IDENTITY
    code = (
        "import sys; from pathlib import Path; from validation.experiments import read_experiment;"
        "print(read_experiment(Path(sys.argv[1])).identity)"
    )
    path = str(tmp_path / "experiment.toml")
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == IDENTITY


def test_what_changes_no_result_changes_no_identity(read):
    sections = TEXT.split("\n\n")
    shuffled = "\n\n".join([sections[0], *reversed(sections[1:])])
    for same in (
        shuffled,
        TEXT.replace("updates = 100", "# a comment\nupdates = 100\nburn_in = 0"),
        TEXT.replace('name = "digits"', 'name = "other"', 1),
        TEXT.replace("seeds = [0, 3]", "seeds = [5]"),
    ):
        assert read(same).identity == IDENTITY


def leaves(record, place=""):
    for part in dataclasses.fields(record):
        value = getattr(record, part.name)
        name = f"{place}{part.name}"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


CHANGED = {
    "model.name": "linear",
    "model.options": {"width": 17},
    "model.dtype": "float64",
    "data.name": "digits",
    "data.options": {"size": 16},
    "data.label_noise": 0.1,
    "sampler.name": "fixed_order",
    "sampler.batch_size": 33,
    "optimizer.learning_rate": 0.06,
    "optimizer.momentum": 0.8,
    "optimizer.weight_decay": 0.1,
    "optimizer.dampening": 0.1,
    "optimizer.nesterov": True,
    "record.updates": 101,
    "record.burn_in": 1,
    "record.checkpoint_every": 100,
    "record.random_projections": 1,
    "record.projections_every": 2,
    "record.snapshots_every": 5,
    "record.replicas": 2,
    "record.lags": [1, 2],
    "loss.name": "cross_entropy",
    "engine": "ensemble",
}
# Files count by their content, see below; these are not part of a result.
LEFT_OUT = {"name", "seeds", "folder", "model.weights", "record.directions"}


def test_every_entry_is_part_of_the_identity(read):
    experiment = read(TEXT)
    assert {name for name, _ in leaves(experiment)} == set(CHANGED) | LEFT_OUT
    identities = [experiment.varied({name: value}).identity for name, value in CHANGED.items()]
    assert len({*identities, IDENTITY}) == len(CHANGED) + 1


def test_a_named_file_counts_by_its_content(read, tmp_path):
    text = TEXT.replace('name = "mlp"', 'name = "mlp"\nweights = "w.safetensors"')
    (tmp_path / "w.safetensors").write_bytes(b"one")
    first = read(text).identity
    (tmp_path / "w.safetensors").write_bytes(b"two")
    assert read(text).identity != first
    (tmp_path / "w.safetensors").write_bytes(b"one")
    assert read(text).identity == first != IDENTITY
    (tmp_path / "renamed.safetensors").write_bytes(b"one")
    assert read(text.replace("w.safe", "renamed.safe")).identity == first
    (tmp_path / "w.safetensors").unlink()
    with pytest.raises(ValueError, match=r"digits names w\.safetensors, which cannot be read"):
        _ = read(text).identity


def test_code_of_ones_own_counts_by_its_file(read, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "own_network_of_this_test.py"
    text = TEXT.replace('name = "mlp"', 'name = "own_network_of_this_test:network"')
    module.write_text("def network(examples): ...\n")
    first = read(text).identity
    module.write_text("def network(examples): return None\n")
    assert read(text).identity != first
    module.unlink()
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="there is no module own_network_of_this_test"):
        _ = read(text).identity


def test_the_hessians_directions_are_no_file_and_part_of_the_identity(read):
    experiment = read(TEXT).varied({"record.directions": "hessian"})
    assert experiment.content["record"]["directions"] == "hessian"
    assert experiment.identity != IDENTITY


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("momentum = 0.9", "momentum = 1.0", r"optimizer\.momentum = 1\.0: .*less than 1"),
        ("updates = 100", "updates = 100\nlags = [2, 4]", r"they begin with 1 and ascend"),
        ("updates = 100", "updates = 100\nlags = [1, 4, 4]", r"they begin with 1 and ascend"),
        ("momentum = 0.9", "nesterov = true", r"takes it with momentum and without dampening"),
        ("momentum = 0.9", "momentum = -0.1", r"optimizer\.momentum = -0\.1"),
        ("momentum = 0.9", "momentun = 0.9", r"optimizer\.momentun = 0\.9"),
        ("learning_rate = 0.05", "learning_rate = 0", r"optimizer\.learning_rate = 0"),
        ("learning_rate = 0.05", "learning_rate = inf", r"optimizer\.learning_rate"),
        ("learning_rate = 0.05", "learning_rate = true", r"optimizer\.learning_rate = True"),
        ("learning_rate = 0.05", 'learning_rate = "fast"', r"optimizer\.learning_rate = 'fast'"),
        ("batch_size = 32", "batch_size = 0", r"sampler\.batch_size = 0"),
        ("batch_size = 32", "batch_size = 3.5", r"sampler\.batch_size = 3\.5"),
        ('name = "epochs"', 'name = "epoch"', r"'with_replacement', 'epochs' or 'fixed_order'"),
        ("updates = 100", "", r"record\.updates"),
        ("seeds = [0, 3]", "seeds = []", "seeds"),
        ("seeds = [0, 3]", "seeds = [-1]", r"seeds\.0 = -1"),
        ("seeds = [0, 3]", "seeds = 7", "seeds = 7"),
        ("seeds = [0, 3]", 'folder = "/"', "folder is that of the file"),
        ("seeds = [0, 3]", 'engine = "jax"', r"engine = 'jax'"),
        ('name = "digits"', 'name = "../up"', r"name = '\.\./up'"),
        ("updates = 100", "updates = 100\n[sweep]\nx = 3", r'sweep\."x" = 3: give a list'),
        ("updates = 100", "updates = [", "cannot be read as TOML"),
        ("updates = 100", "updates = 2020-01-01", r"record\.updates"),
    ],
)
def test_what_is_wrong_is_refused_by_name(read, old, new, told):
    with pytest.raises(ValueError, match=told) as caught:
        read(TEXT.replace(old, new, 1))
    assert "experiment.toml" in str(caught.value)


def test_a_file_takes_from_the_one_that_it_extends_what_it_does_not_say(tmp_path):
    (tmp_path / "below.toml").write_text(TEXT)
    path = tmp_path / "above.toml"
    path.write_text(
        'extends = "below.toml"\nseeds = [7]\n'
        "[optimizer]\nmomentum = 0.5\n[model.options]\ndepth = 3\n"
    )
    own = (
        TEXT.replace("momentum = 0.9", "momentum = 0.5")
        .replace("seeds = [0, 3]", "seeds = [7]")
        .replace("width = 16", "depth = 3")
    )
    (tmp_path / "own.toml").write_text(own)
    assert read_experiment(path) == read_experiment(tmp_path / "own.toml")
    (tmp_path / "highest.toml").write_text('extends = "above.toml"\nseeds = [8]\n')
    highest = read_experiment(tmp_path / "highest.toml")
    assert highest == dataclasses.replace(read_experiment(path), seeds=(8,))


@pytest.mark.parametrize("name", ["'/below.toml'", "'../below.toml'", "3", "'above.toml'"])
def test_a_file_that_cannot_be_extended_is_refused_by_name(name, tmp_path):
    path = tmp_path / "above.toml"
    path.write_text(f"extends = {name}\n{TEXT}")
    with pytest.raises(ValueError, match=r"above\.toml: extends = .*(beside|Leave out)"):
        read_experiment(path)


def test_cells_are_points_times_sweep_times_seeds(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(
        TEXT
        + '[sweep]\n"optimizer.learning_rate" = [0.1, 0.2, 0.3]\n"sampler.batch_size" = [8, 16]\n'
        + '[[points]]\n"optimizer.momentum" = 0.5\n'
        + '[[points]]\n"optimizer.momentum" = 0.9\n"record.updates" = 50\n'
    )
    found = cells(path)
    assert len(found) == len({cell.folder for cell in found}) == 2 * 3 * 2 * 2
    settings = {
        (e.optimizer.momentum, e.optimizer.learning_rate, e.sampler.batch_size, e.record.updates)
        for e in (cell.experiment for cell in found)
    }
    expected = {
        (beta, eta, S, updates)
        for beta, updates in ((0.5, 100), (0.9, 50))
        for eta in (0.1, 0.2, 0.3)
        for S in (8, 16)
    }
    assert settings == expected
    assert found[0].folder.startswith("digits-")
    assert {cell.seed for cell in found} == {0, 3}


def test_a_sweep_over_what_there_is_not_is_refused(read):
    experiment = read(TEXT)
    for name in ("optimizer.lr", "lr", "optimizer.learning_rate.x", "nothing.at.all"):
        with pytest.raises(ValueError, match=f"sweep: {name} names no entry"):
            experiment.varied({name: 1})
    varied = experiment.varied({"model.options.depth": 3})
    assert varied.model.options == {"width": 16, "depth": 3}
    assert isinstance(varied, Experiment)
