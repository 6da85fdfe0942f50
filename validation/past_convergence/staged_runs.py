"""A staged experiment from its first update to its last record, seed by seed, setting by setting.

<root>/<name>/<stage>-<identity>/seed-<n>       one run a stage, with its gate
              …/curvature                       where the last stage ended
<root>/<name>/record-<identity>/seed-<n>        one run a setting: prediction first, then record
              …/curvature_after.json            of the first setting: how far the curvature moved
"""

from __future__ import annotations

from concurrent.futures import Executor, Future, as_completed
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from validation import torch_runs
from validation.data import Array
from validation.directions import read_directions
from validation.durable_files import read_sealed, write_sealed
from validation.estimators import Estimate
from validation.example_curvatures import gauss_newton_squares
from validation.experiments import Cell
from validation.linearized_training import (
    linearized_displacement,
    output_residuals,
    replica_seeds,
)
from validation.loss_slice import loss_slice
from validation.measured_curvature import (
    OUTPUTS,
    batches_of,
    curvature_slope,
    ended_training,
    write_arrays,
)
from validation.network_curvature import Eigenpairs, change, loss_curvature, top_eigenpairs, trace
from validation.past_convergence.predictions import log_spaced, window
from validation.past_convergence.sealed_prediction import NAME, predict
from validation.preparation import Start, prepare, recorded_cell
from validation.recorded_noise import measure_recorded_noise
from validation.run_folder import RunFolder
from validation.staged_experiments import Effort, StagedExperiment
from validation.sweeps import SweepOutcome
from validation.sweeps import sweep as run_sweep
from validation.torch_training import Training

__all__ = ["AFTER", "LINEARIZED", "SLICE", "prepared", "run_staged"]

AFTER = "curvature_after.json"
SLICE = "slice.npz"
LINEARIZED = "linearized.npz"
# Standard deviations that the plane of the loss reaches to each side, and its points.
_REACH, _POINTS = 4.0, 25


def run_staged(
    staged: StagedExperiment, root: Path, executor: Executor, device: str = "cpu"
) -> SweepOutcome:
    """Prepare every seed and record every setting, or what is missing of both.

    A seed that is prepared is recorded while others are prepared: no worker waits for another.

    Args:
        staged: what is declared.
        root: folder of all runs.
        executor: of processes that share it.
        device: any torch device.

    Raises:
        ValueError: where a gate of the preparation stays shut, for all seeds that it stopped.
    """
    place = root / staged.name
    place.mkdir(parents=True, exist_ok=True)
    waiting = [
        executor.submit(prepare, staged, seed, place, device) for seed in staged.recorded.seeds
    ]
    outcomes: list[SweepOutcome] = []
    afterwards: list[Future[None]] = []
    shut = []
    with tqdm(total=len(waiting), unit="seed", desc=f"{staged.name}: stages", leave=False) as bar:
        for future in as_completed(waiting):
            try:
                start = future.result()
            except ValueError as error:
                # Told at once: others may go on for long.
                tqdm.write(str(error))
                shut.append(str(error))
            bar.update()
            if not shut:
                outcomes.append(_record(staged, start, place, executor, device))
                afterwards += _look_back(staged, start, place, executor, device)
    if shut:
        raise ValueError("\n".join(shut))
    for look in afterwards:
        look.result()
    return SweepOutcome(
        *(
            tuple(cell for outcome in outcomes for cell in getattr(outcome, each.name))
            for each in fields(SweepOutcome)
        )
    )


def prepared(staged: StagedExperiment, root: Path) -> dict[int, Start]:
    """The starts of all seeds whose stages are complete; nothing is trained.

    Raises:
        ValueError: naming the seeds that are not.
    """
    found, missing = {}, []
    for seed in staged.recorded.seeds:
        try:
            found[seed] = prepare(staged, seed, root / staged.name, train=False)
        except FileNotFoundError:
            missing.append(seed)
    if missing:
        raise ValueError(
            f"{staged.name}: seeds {missing} are not prepared in {root.resolve()}. Run them first: "
            "`python -m validation run`."
        )
    return found


def _record(
    staged: StagedExperiment, start: Start, place: Path, executor: Executor, device: str
) -> SweepOutcome:
    """Every setting, from one start."""
    cells = [recorded_cell(staged, start, dict(values)) for values in staged.settings]
    work = partial(_perform, start=start.folder, effort=staged.effort)
    return run_sweep(cells, work, place, executor=executor, device=device)


def _look_back(
    staged: StagedExperiment, start: Start, place: Path, executor: Executor, device: str
) -> list[Future[None]]:
    """At what the first record has done to the curvature, and at the loss about its start."""
    cell = recorded_cell(staged, start, dict(staged.settings[0]))
    if not RunFolder(place / cell.folder, cell.experiment.identity, cell.seed).is_complete():
        return []
    looks = [executor.submit(_curvature_after, cell, place, start, staged.effort, device)]
    if start.seed == staged.recorded.seeds[0]:
        looks.append(executor.submit(_slice, cell, place, start, device))
    return looks


def _perform(cell: Cell, folder: Path, device: str, *, start: Path, effort: Effort) -> Path:
    """One record: the noise of its data, the prediction, and only then the run."""
    noise = measure_recorded_noise(cell, start, effort, device)
    residual = _residual(cell, device) if effort.linearized else None
    predict(cell, start, noise, folder, residual)
    if residual is not None and not (folder / LINEARIZED).exists():
        _linearize(cell, start, residual, folder / LINEARIZED, effort.linearized)
    return torch_runs.run(cell.experiment, cell.seed, folder, device)


def _residual(cell: Cell, device: str) -> Array:
    training = Training(cell.experiment, cell.seed, torch.device(device))
    training.model.eval()
    return output_residuals(training)


def _linearize(cell: Cell, start: Path, residual: Array, path: Path, count: int) -> None:
    """Displacements with the Hessian held fixed, of the record's batches first: an npz file."""
    length = cell.experiment.record.updates
    updates = np.union1d(log_spaced(length), window(length))
    curves = linearized_displacement(
        np.load(start / OUTPUTS)["gram"],
        residual,
        cell.experiment,
        replica_seeds(cell.seed, count),
        updates,
    )
    write_arrays(path, {"updates": updates, "displacement": curves})


def _slice(cell: Cell, place: Path, start: Start, device: str) -> None:
    """The loss about the start on the plane of the largest and the smallest known eigenvalue."""
    folder = place / cell.folder
    if (folder / SLICE).exists():
        return
    training = Training(cell.experiment, cell.seed, torch.device(device))
    training.model.eval()
    size = sum(p.numel() for p in training.parameters)
    chosen = [0, len(start.curvature["eigenvalues"]) - 1]
    vectors = read_directions(start.folder / "directions.safetensors", size)[:, chosen].numpy()
    predicted = read_sealed(folder / NAME, "Delete the folder of this run and run it again.")
    spread = np.sqrt(np.array(predicted["values"]["position_variance"])[chosen])
    first, second = (np.linspace(-_REACH * one, _REACH * one, _POINTS) for one in spread)
    values = loss_slice(training, vectors, first, second)
    found = {"directions": np.array(chosen), "first": first, "second": second, "loss": values}
    write_arrays(folder / SLICE, found)


def _curvature_after(cell: Cell, place: Path, start: Start, effort: Effort, device: str) -> None:
    """Eigenpairs and trace where the record ended, and how far they have moved and turned."""
    folder = place / cell.folder
    if (folder / AFTER).exists():
        return
    training = ended_training(cell.experiment, cell.seed, folder, device)
    batches, name = batches_of(training, effort), cell.experiment.loss.name
    curvature = loss_curvature(effort.kind, training.model, name, batches)
    after = top_eigenpairs(curvature, effort.eigenpairs, cell.seed)
    found = start.curvature
    size = sum(p.numel() for p in training.parameters)
    vectors = read_directions(start.folder / "directions.safetensors", size).double().numpy()
    before = Eigenpairs(np.array(found["eigenvalues"]), vectors, np.array(found["residuals"]))
    moved = change(before, after)
    slopes = (
        np.load(start.folder / "trace_gradient.npy"),
        curvature_slope(training, batches, vectors, effort),
    )
    # Curvature along the directions of before: what the record itself has felt.
    felt = np.einsum("pk,pk->k", vectors, curvature @ vectors.astype(curvature.dtype))
    if effort.is_exact(name):
        exact = gauss_newton_squares(training.model, batches, vectors[:, :0]).trace
        whole = Estimate(np.asarray(exact), np.zeros(()), 1)
    else:
        whole = trace(curvature, effort.probes, cell.seed)
    write_sealed(
        folder / AFTER,
        {
            "eigenvalues": after.values.tolist(),
            "residuals": after.residuals.tolist(),
            "relative_change": moved.relative.tolist(),
            "overlaps": moved.overlaps.tolist(),
            "largest_angle": moved.angle,
            "along_directions_of_before": felt.tolist(),
            "overlap_of_forces": _cosine(*slopes),
            "trace": float(whole.value),
            "trace_error": float(whole.standard_error),
            "trace_before": found["trace"],
        },
    )


def _cosine(first: Array, second: Array) -> float | None:
    """Between two forces; none where one is not measured."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else None
