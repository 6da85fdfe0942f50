"""Runs that are killed, in processes that know nothing of pytest."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from validation.experiments import Data, Experiment, Model, Optimizer, Record, Sampler
from validation.torch_runs import run


class Noise(torch.nn.Module):
    """Draws from the global generators of NumPy and Python, an odd number of times."""

    def forward(self, values):
        return values * (1 + 0.01 * np.random.randn()) + 0.01 * random.gauss(0, 1)


def dropout_network(examples):
    """Its dropout draws from torch's global generator."""
    return torch.nn.Sequential(
        torch.nn.Linear(examples.inputs.shape[1], 8),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.3),
        Noise(),
        torch.nn.Linear(8, examples.targets.shape[1]),
    )


RECORD = Record(
    updates=61,
    burn_in=17,
    checkpoint_every=5,
    projections_every=2,
    random_projections=2,
    snapshots_every=7,
)
EXPERIMENTS = {
    "dropout, epochs, label noise": Experiment(
        "dropout",
        Model("killed_run_work:dropout_network"),
        Data("diabetes", label_noise=0.3),
        Sampler("epochs", 13),
        Optimizer(0.02, 0.9, weight_decay=0.01),
        RECORD,
    ),
    "linear replicas without momentum": Experiment(
        "linear",
        Model("linear", dtype="float64"),
        Data("diabetes"),
        Sampler("with_replacement", 4),
        Optimizer(0.02),
        Record(
            updates=50,
            checkpoint_every=4,
            projections_every=9,
            random_projections=1,
            replicas=3,
        ),
    ),
}


def work(name: str, folder: str, pause: float = 0.0, started: Any = None) -> None:
    """A run with pauses between its updates, so that there is time to kill it.

    Args:
        name: of the experiment.
        folder: of the run.
        pause: seconds after every update.
        started: an event that is set when the training begins.
    """

    def progress(_: int) -> None:
        if started is not None:
            started.set()
        time.sleep(pause)

    torch.set_num_threads(1)
    run(EXPERIMENTS[name], 5, Path(folder), progress=progress)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], float(sys.argv[3]))
