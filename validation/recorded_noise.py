"""Gradient noise and mean gradient where a record begins, with the data of that record.

Runs that share their data and their start share the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from validation.directions import read_directions
from validation.example_curvatures import Batches
from validation.example_gradients import gradient_noise
from validation.experiments import Cell
from validation.lanczos import vector_quadrature
from validation.measured_curvature import batches_of, mean_square_output, write_arrays
from validation.network_curvature import loss_curvature
from validation.noise_induced_force import direction_sum
from validation.staged_experiments import Effort
from validation.torch_training import Training

__all__ = ["measure_recorded_noise", "require_the_same"]

# Relative, of sums in float32.
_ROUNDING = 1e-4


def measure_recorded_noise(cell: Cell, start: Path, effort: Effort, device: str = "cpu") -> Path:
    """Of one example, without the label noise that is drawn afresh.

    Args:
        cell: a recorded run that begins at `start`.
        start: folder of the curvature.
        effort: of the curvature.
        device: any torch device.

    Raises:
        ValueError: if the record begins with another network than that of the curvature.

    Returns:
        An npz file: of how many `examples`; noise `along` every direction and in `total`; of the
        mean gradient, the weight decay's included, its measure over eigenvalues,
        alone, and summed with the gradient of the trace in units of their lengths.
    """
    experiment = cell.experiment
    declared = {**asdict(experiment.data), "label_noise": 0.0}
    decay = experiment.optimizer.weight_decay
    measured = hashlib.sha256((start / "curvature.json").read_bytes()).hexdigest()
    text = json.dumps([declared, experiment.loss.name, decay, measured], sort_keys=True)
    path = start / f"noise-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        return path
    training = Training(experiment, cell.seed, torch.device(device))
    training.model.eval()
    size = sum(p.numel() for p in training.parameters)
    vectors = read_directions(start / "directions.safetensors", size).numpy()
    batches = batches_of(training, effort)
    require_the_same(training, batches, start)
    noise = gradient_noise(training.model, experiment.loss.name, batches, vectors)
    curvature = loss_curvature(effort.kind, training.model, experiment.loss.name, batches)
    slope = np.load(start / "trace_gradient.npy", mmap_mode="r")
    here = torch.cat([p.detach().flatten() for p in training.parameters]).double().cpu().numpy()
    mean = noise.mean + decay * here
    found = {
        "examples": len(training.examples[0]),
        "along": noise.along,
        "total": noise.total,
    }
    for name, vector in (("gradient", mean), ("both", direction_sum(mean, slope))):
        found[f"{name}_nodes"], found[f"{name}_weights"] = vector_quadrature(
            curvature, vector, effort.steps
        )
    write_arrays(path, found)
    return path


def require_the_same(training: Training, batches: Batches, start: Path) -> None:
    """See that a record begins with the network of the curvature; weights alone do not say so.

    Args:
        training: at the record's first update.
        batches: the examples that the curvature was measured on.
        start: folder of the curvature.

    Raises:
        ValueError: if outputs differ.
    """
    before = json.loads((start / "curvature.json").read_text())["mean_square_output"]
    now = mean_square_output(training, batches)
    if not math.isclose(now, before, rel_tol=_ROUNDING):
        raise ValueError(
            f"The recorded network has outputs of mean square {now:.6g}, that of the curvature had "
            f"{before:.6g}: with the same weights they differ. Statistics of batch normalization "
            'that are "frozen" are set anew by every stage: declare batch_norm = "evaluation", and '
            '"frozen" in the first stage alone; and the same inputs in the last stage and the '
            "record."
        )
