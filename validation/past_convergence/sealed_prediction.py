"""Predictions in a file that cannot change, written before the record begins."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from validation.data import Array
from validation.durable_files import read_sealed, write_sealed
from validation.experiments import Cell
from validation.measured_curvature import OUTPUTS
from validation.past_convergence.measured_start import read_start
from validation.past_convergence.predictions import Dynamics, settings_of
from validation.past_convergence.settling import settling_noise
from validation.past_convergence.theory_records import NAME as THEORY
from validation.past_convergence.theory_records import make_theory_records

__all__ = ["NAME", "predict"]

NAME = "prediction.json"
# At which the noise of the examples is taken, evenly from the record's beginning to its end.
_TIMES = 17


def predict(
    cell: Cell, start: Path, noise: Path, folder: Path, residual: Array | None = None
) -> dict[str, Any]:
    """Write the predictions of a record into its folder, once, before it begins; or read them.

    Args:
        cell: the run.
        start: folder of the curvature.
        noise: file of the noise of its data.
        folder: of the run.
        residual: f(θ_0) − y, (N, outputs), where the products of the outputs' gradients are known:
            noise of the examples then fades as the mean settles.

    Raises:
        ValueError: if there is a record already, and no prediction before it.
    """
    path = folder / NAME
    if path.exists():
        return read_sealed(path, "Delete the folder of this run: a prediction comes before.")
    if (folder / "record.zarr").exists():
        raise ValueError(
            f"{folder} holds a record without a prediction made before. Delete it and run again."
        )
    experiment = cell.experiment
    with np.load(noise) as found:
        size, total = int(found["examples"]), float(found["total"])
    inputs = [start / name for name in ("curvature.json", "spectrum.npz", "force.npz")] + [noise]
    settling = None
    if residual is not None:
        inputs.append(start / OUTPUTS)
        steps = np.linspace(0, experiment.record.updates, _TIMES).round().astype(int)
        settings = settings_of(experiment, size)
        settling = settling_noise(start / OUTPUTS, residual, settings, steps)
    probes = len(np.load(start / "spectrum.npz")["ritz_values"])
    dynamics, *others = (
        Dynamics(experiment, read_start(start, noise, probe, settling), size)
        for probe in (None, *range(probes if probes > 1 else 0))
    )
    whole, alone = dynamics.everything(), [one.everything() for one in others]
    folder.mkdir(parents=True, exist_ok=True)
    if dynamics.white:
        make_theory_records(dynamics, cell.seed, folder / THEORY)
        inputs.append(folder / THEORY)
    content = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in inputs},
        "noise_of_examples": {"at_start": total, "settling": settling[1] if settling else None},
        "experiment": experiment.content,
        "eigenvalues": dynamics.start.eigenvalues[: dynamics.start.known].tolist(),
        "values": {name: np.asarray(value).tolist() for name, value in whole.items()},
        "errors": {
            name: (np.std([one[name] for one in alone], axis=0, ddof=1) / np.sqrt(probes)).tolist()
            for name in whole
            if len(alone) > 1
        },
    }
    write_sealed(path, content)
    return content
