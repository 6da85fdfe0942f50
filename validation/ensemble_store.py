"""Averages of an ensemble on disk: one folder a cell, complete or not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from validation.durable_files import written_whole
from validation.ensemble_averages import EnsembleAverages
from validation.ensemble_runs import measure
from validation.experiments import Experiment
from validation.run_folder import RunFolder

__all__ = ["read_averages", "run_ensemble"]

_FILE = "averages.safetensors"


def run_ensemble(
    experiment: Experiment,
    seed: int,
    folder: Path,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Path:
    """Measure one cell into a folder, unless it has been.

    Args:
        experiment: with engine = "ensemble".
        seed: of all batches.
        folder: of this cell.
        device: where to simulate; any torch device.
        progress: called with the number of updates done since the last call.

    Raises:
        ValueError: naming a file that is damaged or of another run, or a run that diverged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = RunFolder(folder, experiment.identity, seed)
    with place.locked():
        place.claim(experiment)
        if place.is_complete():
            return folder
        found = measure(experiment, seed, device, progress)
        averages = {
            part.name: np.ascontiguousarray(getattr(found, part.name)) for part in fields(found)
        }
        with written_whole(folder / _FILE) as temporary:
            save_file(averages, temporary)
        place.complete({"averages": _digest(folder)})
    return folder


def _digest(folder: Path) -> str:
    return sha256((folder / _FILE).read_bytes()).hexdigest()


def read_averages(experiment: Experiment, seed: int, folder: Path) -> EnsembleAverages:
    """What `run_ensemble` has left.

    Raises:
        ValueError: naming the file that is missing, damaged or of another run.
    """
    place = RunFolder(folder, experiment.identity, seed)
    path = folder / _FILE
    remedy = "Delete the folder and run it again: it ends the same."
    if not place.is_complete():
        raise ValueError(f"{folder} is not complete. Run the sweep again: it does what is missing.")
    try:
        intact = place.completion().get("averages") == _digest(folder)
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {error}. {remedy}") from error
    if not intact:
        raise ValueError(f"{path} is not what the run has written. {remedy}")
    return EnsembleAverages(**tensors)
