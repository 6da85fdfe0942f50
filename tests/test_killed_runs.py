"""Runs that are killed at any moment and taken up again end bit for bit as if they had not been.

The moments are drawn with a fixed seed but fall where the machine happens to be: every outcome must
be the same.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_run_work import EXPERIMENTS, work
from safetensors.torch import load_file

from validation.record_store import open_record
from validation.torch_runs import run

TESTS = Path(__file__).parent
NAMES = list(EXPERIMENTS)
SEED = 5


@pytest.fixture(scope="module")
def server():
    """Forks of one process that has torch loaded and one thread."""
    environment = {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_run_work", "torch._dynamo"])
    yield context
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="module", params=NAMES)
def uninterrupted(request, server, tmp_path_factory):
    """The name of an experiment and the folder of its run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(server, request.param, folder)
    return request.param, folder


def finish(server, name, folder):
    process = server.Process(target=work, args=(name, str(folder)))
    process.start()
    process.join()
    assert process.exitcode == 0


def killed(server, name, folder, moment):
    """Start or go on, and SIGKILL when `moment` returns; whether it was still running."""
    started = server.Event()
    process = server.Process(target=work, args=(name, str(folder), 0.004, started))
    process.start()
    moment(process, started)
    running = process.is_alive()
    process.kill()
    process.join()
    return running


def assert_same(folder, whole):
    """Every number of the record, the final parameters, buffers and generators: all their bits."""
    (found, expected) = (open_record(each / "record.zarr") for each in (folder, whole))
    assert found.identical(expected)
    for name in expected.variables:
        assert found[name].values.tobytes() == expected[name].values.tobytes()
    for name in ("checkpoint.safetensors", "complete.json", "experiment.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_the_run_that_is_compared_with_has_everything(uninterrupted):
    name, folder = uninterrupted
    state = load_file(folder / "checkpoint.safetensors")
    kinds = {key.split("/")[0] for key in state}
    momentum = {"momentum"} if EXPERIMENTS[name].optimizer.momentum else set()
    assert kinds == {"model", "generator", "record"} | momentum
    record = open_record(folder / "record.zarr")
    assert record.sizes["update"] == EXPERIMENTS[name].record.updates
    assert (record["local_displacement"].values > 0).all()


def test_other_seeds_are_other_runs(uninterrupted, tmp_path):
    name, folder = uninterrupted
    torch.set_num_threads(1)
    other = open_record(run(EXPERIMENTS[name], SEED + 1, tmp_path / "run"))
    same = open_record(folder / "record.zarr")
    assert not (other["local_displacement"] == same["local_displacement"]).any()


def test_killed_at_random_moments(uninterrupted, server, tmp_path):
    """Ten times each training, and at three checkpoints at least, however slow the machine is."""
    name, whole = uninterrupted
    source, folder = np.random.default_rng(NAMES.index(name)), tmp_path / "run"
    kills, checkpoints, most = 0, set(), 0.1

    def soon(process, started):
        started.wait()
        time.sleep(source.uniform(0.0, most))

    while kills < 10 or len(checkpoints) < 3:
        if killed(server, name, folder, soon):
            kills += 1
            before = len(checkpoints)
            checkpoints |= {path.read_bytes() for path in folder.glob("checkpoint.safetensors")}
            # A disk that others keep busy may need longer for a checkpoint.
            most *= 1.0 if len(checkpoints) > before else 1.5
        else:
            # It got to its end too soon: another one.
            assert_same(folder, whole)
            shutil.rmtree(folder)
            most = 0.1
    finish(server, name, folder)
    assert_same(folder, whole)


PATTERNS = {
    "a checkpoint": "checkpoint.safetensors.temporary",
    "the generation before": "checkpoint.previous.safetensors",
    "the declaration": "experiment.json*",
    "metadata": "record.zarr/*/zarr.json",
    "a chunk of displacements": "record.zarr/local_displacement/c/*/*",
    "a chunk of projections": "record.zarr/velocities/c/*/*/*",
    "the completion": "complete.json*",
}


@pytest.mark.parametrize("what", PATTERNS)
def test_killed_while_it_writes(uninterrupted, server, tmp_path, what):
    """As soon as a new file of that kind is seen; twice, the second time after going on."""
    name, whole = uninterrupted
    folder = tmp_path / "run"

    def seen():
        return {(path, os.stat(path).st_mtime_ns) for path in folder.glob(PATTERNS[what])}

    for _ in range(2):
        before = seen()

        def appears(process, started, before=before):
            while process.is_alive():
                # A temporary file may be gone when it is looked at.
                with suppress(FileNotFoundError):
                    if seen() - before:
                        return

        killed(server, name, folder, appears)
    finish(server, name, folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("uninterrupted", NAMES[:1], indirect=True)
def test_killed_in_interpreters_of_their_own(uninterrupted, tmp_path):
    name, whole = uninterrupted
    folder = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TESTS / "killed_run_work.py"), name, str(folder)]
    checkpoint = folder / "checkpoint.safetensors"
    # Within the burn-in and well after it, 7 checkpoints later.
    for count in (2, 7):
        times = {path.stat().st_mtime_ns for path in folder.glob(checkpoint.name)}
        most = len(times) + count
        with subprocess.Popen([*command, "0.004"], env=environment) as process:
            while process.poll() is None and len(times) < most:
                with suppress(FileNotFoundError):
                    times.add(checkpoint.stat().st_mtime_ns)
            assert process.returncode is None
            process.kill()
    subprocess.run([*command, "0"], env=environment, check=True)
    assert_same(folder, whole)


def test_a_complete_run_is_left_as_it_is(uninterrupted, tmp_path):
    name, whole = uninterrupted
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.name != "lock"}
    counted = []
    run(EXPERIMENTS[name], SEED, whole, progress=counted.append)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    record = EXPERIMENTS[name].record
    assert sum(counted) == record.burn_in + record.updates


def test_progress_counts_every_update_once_also_after_a_restart(tmp_path):
    experiment, folder = EXPERIMENTS[NAMES[0]], tmp_path / "run"
    torch.set_num_threads(1)

    class StoppedError(Exception):
        pass

    def stopping(count):
        counted.append(count)
        if sum(counted) == 44:
            raise StoppedError

    counted = []
    with pytest.raises(StoppedError):
        run(experiment, SEED, folder, progress=stopping)
    # The burn-in of 17, and checkpoints every 4 updates from there: whole projections.
    again = []
    run(experiment, SEED, folder, progress=again.append)
    assert again[0] == 41
    assert sum(again) == 78
    assert set(again[1:]) == {1}


def test_two_processes_cannot_share_a_folder(server, tmp_path):
    name, folder = NAMES[0], tmp_path / "run"
    process = server.Process(target=work, args=(name, str(folder), 0.05))
    process.start()
    while not (folder / "checkpoint.safetensors").exists():
        assert process.is_alive()
    with pytest.raises(ValueError, match=r"run/lock is held: another process runs in this folder"):
        run(EXPERIMENTS[name], SEED, folder)
    process.kill()
    process.join()
    run(EXPERIMENTS[name], SEED, folder)


@pytest.fixture
def damaged(uninterrupted, tmp_path):
    """The name of an experiment, a copy of its run's folder, and what takes its end away."""
    name, whole = uninterrupted
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    return name, folder


def refused(name, folder, file):
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}"):
        run(EXPERIMENTS[name], SEED, folder)


KINDS = {
    "checkpoint": "checkpoint.safetensors",
    "a chunk": "record.zarr/*/c/**/[0-9]*",
    "metadata of an array": "record.zarr/*/zarr.json",
    "metadata of the group": "record.zarr/zarr.json",
    "declaration": "experiment.json",
    "completion": "complete.json",
}


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused_by_name(damaged, kind):
    name, folder = damaged
    source = np.random.default_rng(list(KINDS).index(kind))
    if kind != "completion":
        (folder / "complete.json").unlink()
    files = sorted(path for path in folder.glob(KINDS[kind]) if path.is_file())
    for _ in range(8):
        file = files[source.integers(len(files))]
        content = file.read_bytes()
        file.write_bytes(content[: source.integers(len(content))])
        refused(name, folder, file)
        file.write_bytes(content)
    run(EXPERIMENTS[name], SEED, folder)


def test_a_truncated_checkpoint_that_is_deleted_as_told_costs_nothing(damaged, uninterrupted):
    name, folder = damaged
    for place in ("complete.json", "checkpoint.safetensors"):
        (folder / place).unlink()
    torch.set_num_threads(1)
    run(EXPERIMENTS[name], SEED, folder)
    assert_same(folder, uninterrupted[1])


def test_the_folder_of_another_run_is_refused_by_name(damaged):
    name, folder = damaged
    other = EXPERIMENTS[name].varied({"optimizer.learning_rate": 0.03})
    with pytest.raises(ValueError, match=r"experiment.json is of another run: identity"):
        run(other, SEED, folder)
    with pytest.raises(ValueError, match=r"experiment.json is of another run: seed = 5, not 6"):
        run(EXPERIMENTS[name], SEED + 1, folder)
    (folder / "experiment.json").unlink()
    with pytest.raises(ValueError, match=r"experiment.json is missing beside record.zarr"):
        run(EXPERIMENTS[name], SEED, folder)


def test_a_run_that_diverges_is_refused_by_its_update(tmp_path):
    rule = replace(EXPERIMENTS[NAMES[1]].optimizer, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"update \d+ of the record"):
        run(replace(EXPERIMENTS[NAMES[1]], optimizer=rule), SEED, tmp_path / "run")
