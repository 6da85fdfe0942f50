r"""How often the intervals of `sgdtheory.calibrate` hold what they should: a simulation.

`python -m validation.calibration_coverage` writes one row a rule, regime and length of record, and
beside that table another one of what epochs would do to runs taken for ones with replacement. The
runs are simulated update by update; every direction of one record is a run of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import sgdtheory as sgd
from sgdtheory import symbols as s
from validation.data import Array

RATE, BATCH, NOISE, MINIMUM = 0.1, 16, 2.0, 0.7

Update = Callable[[Array, Array, Array, float], tuple[Array, Array]]


def _heavy_ball(x: Array, v: Array, g: Array, beta: float) -> tuple[Array, Array]:
    v = beta * v - g
    return x + RATE * v, v


def _nesterov(x: Array, v: Array, g: Array, beta: float) -> tuple[Array, Array]:
    v = beta * v - g
    return x + RATE * (beta * v - g), v


def _quasi_hyperbolic(x: Array, v: Array, g: Array, beta: float) -> tuple[Array, Array]:
    v = beta * v - (1 - beta) * g
    return x + RATE * (0.7 * v - 0.3 * g), v


@dataclass(frozen=True)
class Cell:
    """What is simulated: a rule by hand, its twin, momentum, curvature, steps, replicas."""

    name: str
    update: Update
    rule: sgd.UpdateRule
    momentum: float
    curvature: float
    steps: int
    replicas: int = 1
    start: str = "stationary"

    @property
    def parameters(self) -> dict[object, float]:
        """Of the rule's own symbols."""
        return {s.nu: 0.7} if self.name == "quasi-hyperbolic" else {}


CELLS = (
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 1.0, 1000),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.1, 1000),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.02, 1000),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.02, 250),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.02, 100, replicas=20),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 1.0, 1000, start="given"),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.1, 1000, start="given"),
    Cell("plain SGD", _heavy_ball, sgd.plain_sgd(), 0.0, 0.02, 1000, start="given"),
    Cell("heavy ball", _heavy_ball, sgd.heavy_ball(), 0.9, 2.0, 1000),
    Cell("heavy ball", _heavy_ball, sgd.heavy_ball(), 0.9, 0.02, 1000),
    Cell("heavy ball", _heavy_ball, sgd.heavy_ball(), 0.9, 0.02, 5000),
    Cell("heavy ball", _heavy_ball, sgd.heavy_ball(), 0.9, 0.002, 1500),
    Cell("Nesterov", _nesterov, sgd.nesterov(), 0.9, 0.5, 1000),
    Cell("quasi-hyperbolic", _quasi_hyperbolic, sgd.quasi_hyperbolic(), 0.9, 0.5, 1000),
)


EPOCH_CELLS = tuple(
    Cell("heavy ball", _heavy_ball, sgd.heavy_ball(), beta, h, 0)
    for beta, h in ((0.0, 1.0), (0.0, 0.02), (0.9, 0.2), (0.9, 0.02))
)


def simulated(cell: Cell, runs: int, seed: int) -> tuple[Array, Array]:
    """Positions and velocities, (steps, runs), from a long way into the stationary state."""
    rng = np.random.default_rng(seed)
    x, v = np.full(runs, MINIMUM), np.zeros(runs)
    positions, velocities = [], []
    forgotten = int(20 * (1 + 1 / (RATE * cell.curvature)) + 20 / (1 - cell.momentum))
    for step in range(forgotten + cell.steps):
        error = np.sqrt(NOISE / BATCH) * rng.standard_normal(runs)
        gradient = cell.curvature * (x - MINIMUM) + error
        x, v = cell.update(x, v, gradient, cell.momentum)
        if step >= forgotten:
            positions.append(x)
            velocities.append(v)
    return np.array(positions), np.array(velocities)


def coverage(cell: Cell, runs: int = 2000, seed: int = 0) -> dict[str, float]:
    """Shares of the 95 % intervals that hold the truth, and how long the records were."""
    hyper = sgd.Hyperparameters(RATE, cell.momentum, BATCH)
    positions, velocities = (
        record.reshape(cell.steps, cell.replicas, runs).swapaxes(0, 1)
        for record in simulated(cell, runs * cell.replicas, seed)
    )
    parameters = dict(cell.parameters)
    found = sgd.calibrate(
        positions, hyper, velocities, rule=cell.rule, parameters=parameters, start=cell.start
    )

    def share(interval: Array, truth: float) -> float:
        return float(np.mean((interval[:, 0] <= truth) & (truth <= interval[:, 1])))

    exact = sgd.Predictor(
        hyper, sgd.Spectrum([cell.curvature]), rule=cell.rule, parameters=parameters
    )
    estimated = found.momentum_error.max() > 0
    wald = 1.96 * found.minimum_error
    near = np.stack([found.minimum - wald, found.minimum + wald], axis=1)
    return {
        "relaxations": cell.replicas * cell.steps / float(exact.relaxation_steps[0]),
        "curvature": share(found.curvature_interval, cell.curvature),
        "noise": share(found.noise_variance_interval, NOISE),
        "momentum": share(found.momentum_interval, cell.momentum) if estimated else float("nan"),
        "minimum": share(near, MINIMUM),
        "bias": float(np.median(found.curvature) / cell.curvature - 1),
        "whiteness": float(np.mean(found.whiteness < 0.05)),
    }


def _row(cell: Cell, found: dict[str, float]) -> dict[str, str]:
    def shown(name: str, digits: str = ".3f") -> str:
        value = found.get(name, np.nan)
        return "not estimated" if np.isnan(value) else f"{value:{digits}}"

    return {
        "rule": cell.name,
        "β": f"{cell.momentum:g}",
        "ηh": f"{RATE * cell.curvature:g}",
        "start": cell.start,
        "replicas": str(cell.replicas),
        "record / relaxation": shown("relaxations", ".3g"),
        "h covered": shown("curvature"),
        "Σ covered": shown("noise"),
        "1 − β covered": shown("momentum"),
        "μ ± 1.96 errors": shown("minimum"),
        "median of h / truth − 1": shown("bias", "+.3f"),
        "whiteness p < 0.05": shown("whiteness"),
    }


def epochs_bias(
    cell: Cell, batches: int, runs: int = 400, steps: int = 4096, seed: int = 0
) -> dict[str, str]:
    """What comes of a heavy-ball run over reshuffled epochs if it is taken for another."""
    rng, beta = np.random.default_rng(seed), cell.momentum
    x, v, positions = np.full(runs, MINIMUM), np.zeros(runs), []
    forgotten = int(20 * (1 + 1 / (RATE * cell.curvature)) + 20 / (1 - beta))
    epochs = -(-(forgotten + steps) // batches)
    for _ in range(epochs):
        errors = rng.standard_normal((batches, runs))
        # Less their mean they have the covariances of one epoch's batches that use all examples.
        errors = (errors - errors.mean(0)) * np.sqrt(NOISE / BATCH)
        for error in errors:
            x, v = cell.update(x, v, cell.curvature * (x - MINIMUM) + error, beta)
            positions.append(x)
    found = sgd.calibrate(np.array(positions[-steps:]), sgd.Hyperparameters(RATE, beta, BATCH))
    return {
        "β": f"{beta:g}",
        "ηh": f"{RATE * cell.curvature:g}",
        "batches an epoch": str(batches),
        "median of h / truth": f"{np.median(found.curvature) / cell.curvature:.2f}",
        "median of β": f"{np.median(found.momentum):.3f}" if beta else "not estimated",
        "whiteness p < 0.05": f"{np.mean(found.whiteness < 0.05):.3f}",
    }


def _write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(output: Path = Path("docs/calibration/coverage.csv"), runs: int = 2000) -> None:
    """Measure coverage and write a table.

    Args:
        output: the table; epochs.csv is written beside it.
        runs: simulated a row; 2000 make a standard error of 0.5 %.
    """
    _write(output, (_row(cell, coverage(cell, runs)) for cell in CELLS))
    beside = output.with_name("epochs.csv")
    _write(beside, (epochs_bias(cell, batches) for batches in (8, 64) for cell in EPOCH_CELLS))


if __name__ == "__main__":
    tyro.cli(main)
