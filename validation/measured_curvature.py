"""Curvature and gradient noise where a run has ended, as files that other runs and people take.

weights.safetensors       the model's state: `model.weights` of the next experiment
directions.safetensors    eigenvectors, one a column: `record.directions` of the next one
spectrum.npz              Ritz values, weights and σ² = tr Σ / tr H, for `sgdtheory advise`
curvature.json            eigenvalues with residuals, trace, noise along the eigenvectors
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from validation.checkpoints import read_checkpoint
from validation.directions import write_directions
from validation.durable_files import written_whole
from validation.example_gradients import gradient_noise
from validation.experiments import Experiment
from validation.lanczos import lanczos_quadrature
from validation.network_curvature import loss_curvature, top_eigenpairs, trace
from validation.run_folder import RunFolder
from validation.torch_training import Training

__all__ = ["Effort", "measure_curvature"]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Args:
        eigenpairs: the largest ones.
        examples: of the data, from its beginning; 0 for all.
        batch: examples in memory at once.
        probes: of trace and density.
        steps: of Lanczos, of every probe.
    """

    eigenpairs: int = 20
    examples: int = 0
    batch: int = 64
    probes: int = 4
    steps: int = 60


def measure_curvature(
    experiment: Experiment,
    seed: int,
    run: Path,
    folder: Path,
    *,
    kind: str = "hessian",
    effort: Effort = Effort(),
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure at the end of a complete run.

    Args:
        experiment: with engine = "torch".
        seed: of the run.
        run: its folder.
        folder: of the files; made if need be.
        kind: "hessian" or "gauss_newton".
        effort: how much is measured.
        device: any torch device.

    Returns:
        What curvature.json holds.

    Raises:
        ValueError: for a run that is not complete, or a model whose examples are coupled.
    """
    training = _ended(experiment, seed, run, device)
    batches = _batches(training, effort)
    curvature = loss_curvature(kind, training.model, experiment.loss.name, batches)
    pairs = top_eigenpairs(curvature, effort.eigenpairs, seed)
    whole = trace(curvature, max(2, effort.probes), seed)
    density = lanczos_quadrature(curvature, effort.steps, effort.probes, seed)
    noise = gradient_noise(training.model, experiment.loss.name, batches, pairs.vectors)
    found = {
        "experiment": experiment.identity,
        "seed": seed,
        "kind": kind,
        "examples": noise.examples,
        "eigenvalues": pairs.values.tolist(),
        "residuals": pairs.residuals.tolist(),
        "trace": float(whole.value),
        "trace_error": float(whole.standard_error),
        "noise_along": noise.along.tolist(),
        "noise_total": noise.total,
        "squared_gradient": noise.mean_square,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "weights.safetensors") as temporary:
        save_file(training.model.state_dict(), temporary)
    write_directions(folder / "directions.safetensors", torch.as_tensor(pairs.vectors))
    with written_whole(folder / "spectrum.npz") as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            ritz_values=density.ritz_values,
            weights=density.weights,
            dimension=density.dimension,
            noise_scale=noise.total / float(whole.value),
        )
    with written_whole(folder / "curvature.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _ended(experiment: Experiment, seed: int, run: Path, device: str) -> Training:
    place = RunFolder(run, experiment.identity, seed)
    checkpoint = read_checkpoint(run, experiment.identity, seed) if place.is_complete() else None
    if checkpoint is None:
        raise ValueError(
            f"{run} is not a complete training. Run it first: `python -m validation run`, with "
            'engine = "torch".'
        )
    training = Training(experiment, seed, torch.device(device))
    training.restore(checkpoint.step, checkpoint.tensors, checkpoint.numbers)
    training.model.eval()
    return training


def _batches(training: Training, effort: Effort) -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs, targets = training.examples
    count = min(effort.examples or len(inputs), len(inputs))
    return list(
        zip(inputs[:count].split(effort.batch), targets[:count].split(effort.batch), strict=True)
    )
