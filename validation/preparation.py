"""The stages of a staged experiment, one after the other, each with its gate.

Every stage is a run of its own, in a folder named by its identity, which holds the weights that it
began with: killed and called again, or called with a changed file, only what is missing is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from validation import torch_runs
from validation.durable_files import read_sealed, write_sealed, written_whole
from validation.estimators import Estimate, function_of_means
from validation.experiments import Cell, Experiment
from validation.losses import loss
from validation.measured_curvature import ended_training, measure_curvature
from validation.record_store import open_record
from validation.staged_experiments import Stage, StagedExperiment
from validation.torch_training import Training

__all__ = ["Start", "prepare", "recorded_cell", "relative_change"]

Progress = Callable[[int], object]
GATE = "gate.json"


@dataclass(frozen=True)
class Start:
    """Where the record begins.

    Args:
        seed: of the run.
        folder: of the curvature's files and the weights.
    """

    seed: int
    folder: Path

    @property
    def curvature(self) -> dict[str, Any]:
        """What curvature.json holds."""
        found: dict[str, Any] = json.loads((self.folder / "curvature.json").read_text())
        return found


def prepare(
    staged: StagedExperiment,
    seed: int,
    root: Path,
    device: str = "cpu",
    progress: Progress = lambda _: None,
    train: bool = True,
) -> Start:
    """Perform all stages and measure the curvature where they end, or what is missing of it.

    Args:
        staged: what is declared.
        seed: of the run.
        root: folder of the experiment.
        device: any torch device.
        progress: called with the number of updates done since the last call.
        train: whether to do what is missing, or to refuse.

    Raises:
        ValueError: where a gate stays shut, with what was reached and what to change.
        FileNotFoundError: where something is missing that is not to be done.
    """
    weights = staged.recorded.model.weights
    last: tuple[Experiment, Path] | None = None
    for stage in staged.stages:
        values = {**stage.values, "name": stage.name}
        if last is not None:
            values["model.weights"] = weights
        experiment = staged.recorded.varied(values)
        folder = root / Cell(experiment, seed).folder
        if not train and not (folder / GATE).exists():
            raise FileNotFoundError(folder)
        torch_runs.run(experiment, seed, folder, device, progress)
        weights = str(_weights(experiment, seed, folder, device).resolve())
        _pass(stage, experiment, seed, folder, device)
        last = experiment, folder
    if last is None:
        raise ValueError(f"{staged.name}: there is no stage before the record. Declare [[stages]].")
    return _measured(staged, *last, seed, device, train)


def recorded_cell(staged: StagedExperiment, start: Start, values: dict[str, Any]) -> Cell:
    """The run that is recorded from a start, with some entries and chance of its own.

    Settings of one start draw other batches and other label errors: else they fluctuate together,
    and fifty say no more than one.

    Args:
        staged: what is declared.
        start: where it begins.
        values: one of the settings that are compared.
    """
    files = {
        "model.weights": str((start.folder / "weights.safetensors").resolve()),
        "record.directions": str((start.folder / "directions.safetensors").resolve()),
    }
    experiment = staged.recorded.varied({**values, **files, "name": "record"})
    own = json.dumps([start.seed, values], sort_keys=True)
    return Cell(experiment, int(hashlib.sha256(own.encode()).hexdigest()[:8], 16))


def _weights(experiment: Experiment, seed: int, folder: Path, device: str) -> Path:
    path = folder / "weights.safetensors"
    if not path.exists():
        training = ended_training(experiment, seed, folder, device)
        with written_whole(path) as temporary:
            save_file(training.model.state_dict(), temporary)
    return path


def _pass(stage: Stage, experiment: Experiment, seed: int, folder: Path, device: str) -> None:
    """Measure what the gate asks for, keep it, and refuse to go on where it is not reached."""
    path = folder / GATE
    if path.exists():
        found = read_sealed(path, "Delete it: it is then measured again.")
    else:
        training = ended_training(experiment, seed, folder, device)
        change = relative_change(_local_displacement(folder, experiment.identity), (0.5, 0.75))
        found = {
            "unexplained": unexplained(training),
            "change": float(change.value),
            "change_error": float(change.standard_error),
        }
        write_sealed(path, found)
    told = []
    limit = stage.gate.unexplained
    if limit is not None and not found["unexplained"] <= limit:
        told.append(
            f"its loss is {found['unexplained']:.3g} of that of the best constant, {limit:g} is "
            "allowed"
        )
    limit = stage.gate.change
    if limit is not None and not abs(found["change"]) <= limit:
        told.append(
            f"|θ_k − θ_{{k−1}}|² has changed by {found['change']:+.1%} ± "
            f"{found['change_error']:.1%} from its third quarter to its last, {limit:.1%} are "
            "allowed"
        )
    if told:
        raise ValueError(
            f"stage {stage.name}, seed {seed}: {'; '.join(told)}. Give the stage more updates or "
            "another learning rate, or its gate another limit."
        )


def _local_displacement(folder: Path, identity: str) -> np.ndarray[Any, Any]:
    record = open_record(folder / "record.zarr", identity)
    return np.asarray(record["local_displacement"])[:, 0]


def relative_change(series: np.ndarray[Any, Any], parts: tuple[float, float]) -> Estimate:
    """How much the mean of a series changes, less one: its end against what was before.

    Args:
        series: (time,).
        parts: where the earlier part begins and where it ends and the later one begins, as shares
            of the time; the later one lasts as long.
    """
    first, middle = (int(part * len(series)) for part in parts)
    early, late = series[first:middle], series[-(middle - first) :]
    means = [function_of_means(np.positive, part[None]) for part in (early, late)]
    (before, before_error), (after, after_error) = (
        (float(one.value), float(one.standard_error)) for one in means
    )
    ratio = after / before
    error = abs(ratio) * np.hypot(before_error / before, after_error / after)
    return Estimate(np.asarray(ratio - 1), np.asarray(error), 1, means[1].degrees)


@torch.no_grad()
def unexplained(training: Training) -> float:
    """The loss over all examples as a share of that of the best constant output."""
    inputs, targets = training.examples
    name = training.loss_name
    outputs = torch.cat([training.model(part) for part in inputs.split(256)])
    constant = targets.mean(dim=0).expand_as(targets)
    if name == "cross_entropy":
        constant = constant.clamp_min(torch.finfo(constant.dtype).tiny).log()
    return float(loss(name)(outputs, targets) / loss(name)(constant, targets))


def _measured(
    staged: StagedExperiment,
    experiment: Experiment,
    run: Path,
    seed: int,
    device: str,
    train: bool,
) -> Start:
    folder, effort = run / "curvature", asdict(staged.effort)
    mark = folder / "effort.json"
    if not mark.exists() or read_sealed(mark, "Delete it.") != effort:
        if not train:
            raise FileNotFoundError(mark)
        measure_curvature(experiment, seed, run, folder, effort=staged.effort, device=device)
        write_sealed(mark, effort)
    start = Start(seed, folder)
    _pass_curvature(staged, start)
    return start


def _pass_curvature(staged: StagedExperiment, start: Start) -> None:
    found, limits = start.curvature, staged.gates
    relative = np.divide(found["residuals"], found["eigenvalues"])
    told = []
    if min(found["eigenvalues"]) <= 0 or relative.max() > limits.residual:
        told.append(
            f"an eigenpair has a residual of {relative.max():.2g} of its eigenvalue, "
            f"{limits.residual:g} are allowed, and the smallest eigenvalue is "
            f"{min(found['eigenvalues']):.3g}"
        )
    rule, size = staged.recorded.optimizer, staged.recorded.sampler.batch_size
    spread = found["curvature_spread_total"] / found["trace"]
    share = rule.learning_rate * spread / (2 * (1 - rule.momentum) * size)
    if share > limits.self_driven:
        told.append(
            f"the spread of positions would add {share:.2g} to the noise of fresh label errors, "
            f"{limits.self_driven:g} is allowed: noise would drive itself. Lower the learning rate"
        )
    if told:
        raise ValueError(
            f"curvature, seed {start.seed}: {'; '.join(told)}. Measure fewer eigenpairs, or anneal "
            "for longer."
        )
