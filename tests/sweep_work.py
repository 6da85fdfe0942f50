"""Functions that perform the cells of tests/test_sweep_runs.py; workers import them from here."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from pathlib import Path

import numpy as np

from validation.durable_files import write_sealed


def call(folder):
    """Leaves a file for every call, with the process that performs it, and counts them."""
    calls = folder / "calls"
    calls.mkdir(parents=True, exist_ok=True)
    (calls / uuid.uuid4().hex).write_text(str(os.getpid()))
    return len(list(calls.iterdir()))


def finish(folder, result):
    (folder / "result.json").write_text(json.dumps(result))
    write_sealed(folder / "complete.json", {"format": "test"})
    return folder


def train(cell, folder, device):
    """SGD with momentum on a quadratic loss with noise of variance 1."""
    call(folder)
    optimizer, record = cell.experiment.optimizer, cell.experiment.record
    noise = np.random.default_rng(cell.seed).normal(size=record.burn_in + record.updates)
    position, velocity, path = 1.0, 0.0, []
    for draw in noise:
        velocity = optimizer.momentum * velocity - (position + draw)
        position += optimizer.learning_rate * velocity
        path.append(position)
    return finish(folder, path)


def train_slowly(cell, folder, device):
    """Time enough to be killed."""
    train(cell, folder.with_name("hidden-" + folder.name), device)
    call(folder)
    time.sleep(0.5)
    return train(cell, folder, device)


def wait_for_ever(cell, folder, device):
    """Only seed 0 ends."""
    if cell.seed == 0:
        return train(cell, folder, device)
    call(folder)
    while True:
        time.sleep(0.05)


def fail_twice(cell, folder, device):
    if call(folder) <= 2:
        raise ValueError(f"the loss of seed {cell.seed} is infinite")
    return finish(folder, cell.seed)


class UnpicklableError(Exception):
    """Cannot be made anew from its arguments, as torch's and others' cannot."""

    def __init__(self, number, *, keyword):
        super().__init__(f"raised by seed {number}")
        self.lock = threading.Lock()


def odd_seeds_fail(cell, folder, device):
    if cell.seed % 2:
        call(folder)
        raise UnpicklableError(cell.seed, keyword=1)
    return train(cell, folder, device)


def seed_one_kills_its_worker_once(cell, folder, device):
    if cell.seed == 1 and call(folder) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return train(cell, folder, device)


def seed_one_always_kills_its_worker(cell, folder, device):
    if cell.seed == 1:
        call(folder)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return train(cell, folder, device)


def every_seed_kills_its_worker(cell, folder, device):
    os.kill(os.getpid(), signal.SIGKILL)


def forget_the_mark(cell, folder, device):
    call(folder)
    return folder


def count_threads(cell, folder, device):
    """What the libraries of this process say that they use."""
    import numba
    import threadpoolctl
    import torch

    folder.mkdir(parents=True)
    blas = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return finish(folder, [torch.get_num_threads(), numba.get_num_threads(), *blas])


def calls_of(folder: Path) -> list[int]:
    """Processes that performed a cell, one a call."""
    calls = folder / "calls"
    return [int(path.read_text() or 0) for path in calls.iterdir()] if calls.exists() else []
