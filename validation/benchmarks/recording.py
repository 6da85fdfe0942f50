"""What a record costs: a step of ResNet-18 that is recorded beside one that is not.

    python -m validation.benchmarks.recording

Two trainings that are the same make them in pairs whose order alternates, so that what slows down
the machine slows down both. A ratio is the median over the pairs; what stands for lowest and
highest is the interval that holds the median of all pairs with a probability of 95 %.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from validation.benchmarks.table import Row, Target, lines
from validation.benchmarks.timing import Spread, timed
from validation.experiments import Data, Experiment, Loss, Model, Optimizer, Record, Sampler
from validation.recorder import Recorder, checkpoint_interval
from validation.torch_training import Training

__all__ = ["SIZES", "measure", "median_interval", "pairs"]

Array: TypeAlias = NDArray[np.float64]

PART = "recording"
# Width and batch size.
SIZES = ((16, 16), (16, 64), (64, 16), (64, 64))
DIRECTIONS = 8
CHEAP = Target(1.05)
# Seconds for the pairs of one row, unless the turns take longer.
_SECONDS = 20.0


def _experiment(width: int, batch: int, directions: int) -> Experiment:
    return Experiment(
        "recording",
        Model("resnet18", {"width": width}),
        Data("digits_images"),
        Sampler("epochs", batch),
        Optimizer(1e-3, 0.9, weight_decay=5e-4),
        Record(updates=2**31, random_projections=directions),
        Loss("cross_entropy"),
    )


def _steps(
    width: int, batch: int, directions: int
) -> tuple[Callable[[], None], Callable[[], None]]:
    """A bare step and a recorded one, of two trainings that are the same."""
    experiment = _experiment(width, batch, directions)
    bare, training = (Training(experiment, 0, torch.device("cpu")) for _ in range(2))
    size = sum(p.numel() for p in training.parameters)
    drawn = torch.randn(size, directions, generator=torch.Generator().manual_seed(0))
    recorder = Recorder(
        training.parameters, training.optimizer, experiment.record, drawn, lambda *_: None
    )

    def recorded() -> None:
        training.update()
        recorder.observe()
        if recorder.update % checkpoint_interval(experiment.record) == 0:
            recorder.flush()

    return bare.update, recorded


def pairs(bare: Callable[[], Any], recorded: Callable[[], Any], turns: int) -> Array:
    """Seconds of both, (pairs, 2), after a first pair that does not count.

    Args:
        bare: a step.
        recorded: another.
        turns: pairs at least; more while there is time.
    """
    works = (bare, recorded)
    for work in works:
        work()
    taken: list[tuple[float, float]] = []
    end = perf_counter() + _SECONDS
    while len(taken) < turns or perf_counter() < end:
        seconds = [0.0, 0.0]
        for i in (0, 1) if len(taken) % 2 else (1, 0):
            seconds[i] = timed(works[i])[0]
        taken.append((seconds[0], seconds[1]))
    return np.array(taken)


def median_interval(values: Array, confidence: float = 0.95) -> Spread:
    """Median, with the order statistics that hold the true one; all values where these are few."""
    count = len(values)
    below = max(int(stats.binom.ppf((1 - confidence) / 2, count, 0.5)) - 1, 0)
    ordered = np.sort(values)
    return Spread(float(np.median(values)), float(ordered[below]), float(ordered[-1 - below]))


def measure(turns: int = 9) -> list[Row]:
    """Rows of the table.

    Args:
        turns: pairs at least, of each row.
    """
    rows = []
    for width, batch in SIZES:
        for directions in (0, DIRECTIONS):
            seconds = pairs(*_steps(width, batch, directions), turns)
            what = f" and states along {directions} directions" if directions else ""
            rows.append(
                Row(
                    PART,
                    f"ResNet-18, width {width}, batch {batch}: displacement{what}",
                    float(np.median(seconds[:, 0])) * 1e3,
                    "ms a bare step",
                    median_interval(seconds[:, 1] / seconds[:, 0]),
                    None if directions else CHEAP,
                )
            )
    return rows


if __name__ == "__main__":
    print("\n".join(lines(measure())))
