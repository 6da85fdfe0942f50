"""Curvature and gradient noise where a run has ended, as files that other runs and people take.

weights.safetensors       the model's state: `model.weights` of the next experiment
directions.safetensors    eigenvectors, one a column: `record.directions` of the next one
spectrum.npz              Ritz values, weights and σ² = tr Σ / tr H, for `sgdtheory advise`
curvature.json            eigenvalues with residuals, trace, noise along the eigenvectors
trace_gradient.npy        ∇ of the known curvatures' sum, and force.npz its measure over eigenvalues
outputs.npz               products of all outputs' gradients, for the network with its Hessian fixed
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator

from validation.checkpoints import read_checkpoint
from validation.data import Array
from validation.directions import write_directions
from validation.durable_files import written_whole
from validation.estimators import Estimate, replica_mean
from validation.example_curvatures import (
    Batches,
    curvature_spread,
    gauss_newton_squares,
    total_curvature_spread,
)
from validation.example_gradients import gradient_noise
from validation.experiments import Experiment
from validation.lanczos import RitzValues, deflated, lanczos_quadrature, vector_quadrature
from validation.linearized_training import output_products
from validation.network_curvature import Eigenpairs, loss_curvature, top_eigenpairs, trace
from validation.noise_induced_force import trace_gradient
from validation.run_folder import RunFolder
from validation.staged_experiments import Effort
from validation.torch_training import Training

__all__ = [
    "OUTPUTS",
    "batches_of",
    "curvature_slope",
    "ended_training",
    "mean_square_output",
    "measure_curvature",
    "write_arrays",
]

OUTPUTS = "outputs.npz"


def measure_curvature(
    experiment: Experiment,
    seed: int,
    run: Path,
    folder: Path,
    *,
    effort: Effort,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure at the end of a complete run.

    Args:
        experiment: with engine = "torch".
        seed: of the run.
        run: its folder.
        folder: of the files; made if need be.
        effort: what is measured, and how much.
        device: any torch device.

    Returns:
        What curvature.json holds.

    Raises:
        ValueError: for a run that is not complete, or a model whose examples are coupled.
    """
    training = ended_training(experiment, seed, run, device)
    batches = batches_of(training, effort)
    loss_name = experiment.loss.name
    curvature = loss_curvature(effort.kind, training.model, loss_name, batches)
    pairs = top_eigenpairs(curvature, effort.eigenpairs, seed)
    rest = deflated(curvature, pairs.vectors)
    density = lanczos_quadrature(rest, effort.steps, effort.probes, seed)
    if effort.is_exact(loss_name):
        sums = _from_outputs(training, batches, pairs, density)
    else:
        sums = _from_probes(training, batches, pairs, rest, effort.probes, seed)
    noise = gradient_noise(training.model, loss_name, batches, pairs.vectors)
    found = {
        "experiment": experiment.identity,
        "seed": seed,
        "kind": effort.kind,
        "examples": noise.examples,
        "mean_square_output": mean_square_output(training, batches),
        "eigenvalues": pairs.values.tolist(),
        "residuals": pairs.residuals.tolist(),
        "trace": float(sums.trace.value),
        "trace_error": float(sums.trace.standard_error),
        "noise_along": noise.along.tolist(),
        "noise_total": noise.total,
        "squared_gradient": noise.mean_square,
        "curvature_spread_along": sums.spread_along.tolist(),
        "curvature_spread_total": float(sums.spread_total.value),
        "curvature_spread_total_error": float(sums.spread_total.standard_error),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _measure_force(training, batches, curvature, pairs.vectors, effort, folder)
    with written_whole(folder / "weights.safetensors") as temporary:
        save_file(training.model.state_dict(), temporary)
    write_directions(folder / "directions.safetensors", torch.as_tensor(pairs.vectors).float())
    joined = _joined(pairs, density)
    write_arrays(
        folder / "spectrum.npz",
        {
            "ritz_values": joined.ritz_values,
            "weights": joined.weights,
            "dimension": joined.dimension,
            "noise_scale": noise.total / found["trace"],
        },
    )
    if effort.linearized:
        write_arrays(folder / OUTPUTS, _output_modes(training, pairs.vectors))
    # The last: where it is, all is.
    with written_whole(folder / "curvature.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    return found


@dataclass(frozen=True)
class _Sums:
    """tr H, and the spread of single examples' curvatures along the known directions and in all."""

    trace: Estimate
    spread_along: Array
    spread_total: Estimate


def _from_outputs(
    training: Training, batches: Batches, pairs: Eigenpairs, density: RitzValues
) -> _Sums:
    """Exact but for tr H², whose part beyond the largest eigenvalues the probes have seen."""
    found = gauss_newton_squares(training.model, batches, pairs.vectors)
    beyond = replica_mean(
        density.dimension * (density.weights * density.ritz_values**2).sum(axis=1)
    )
    return _Sums(
        Estimate(np.asarray(found.trace), np.zeros(()), 1),
        found.along - pairs.values**2 - pairs.residuals**2,
        replace(beyond, value=found.total - (pairs.values**2).sum() - beyond.value),
    )


def _from_probes(
    training: Training,
    batches: Batches,
    pairs: Eigenpairs,
    rest: LinearOperator,
    probes: int,
    seed: int,
) -> _Sums:
    """The largest eigenvalues, and Hutchinson's of the rest; products with every example's own."""
    model, name = training.model, training.loss_name
    left = trace(rest, probes, seed)
    return _Sums(
        replace(left, value=left.value + pairs.values.sum()),
        curvature_spread(model, name, batches, pairs.vectors),
        total_curvature_spread(model, name, batches, probes, seed),
    )


def _joined(pairs: Eigenpairs, rest: RitzValues) -> RitzValues:
    """The largest eigenvalues, each once, and what probes have seen of the others."""
    size, count = rest.dimension, len(pairs.values)
    shape = len(rest.ritz_values), count
    values = np.hstack([np.broadcast_to(pairs.values, shape), rest.ritz_values])
    weights = np.hstack([np.full(shape, 1 / size), rest.weights * (1 - count / size)])
    return RitzValues(values, weights, size)


def _measure_force(
    training: Training,
    batches: Batches,
    curvature: LinearOperator,
    vectors: Array,
    effort: Effort,
    folder: Path,
) -> None:
    """Where the sum of the known curvatures rises, and as nodes and weights over eigenvalues."""
    slope = curvature_slope(training, batches, vectors, effort)
    nodes, weights = vector_quadrature(curvature, slope, effort.steps)
    write_arrays(folder / "force.npz", {"nodes": nodes, "weights": weights})
    with written_whole(folder / "trace_gradient.npy") as temporary, temporary.open("wb") as file:
        np.save(file, slope)


def curvature_slope(training: Training, batches: Batches, vectors: Array, effort: Effort) -> Array:
    """∇ Σ uᵀHu over directions, in double precision; 0 where no force is declared."""
    if not effort.force_displacement:
        return np.zeros(len(vectors))
    exact = copy.deepcopy(training.model).double()
    wide = [(_wide(x), _wide(y)) for x, y in batches]
    name = training.loss_name
    return trace_gradient(exact, name, wide, vectors, effort.force_displacement)


def _output_modes(training: Training, vectors: Array) -> dict[str, Array]:
    """K with its eigenvalues and modes, and slopes along the eigenvectors."""
    found = output_products(training, vectors)
    values, modes = eigh(found.gram)
    # Twice as precise they would be read, by every record, twice as long.
    gram, modes = found.gram.astype(np.float32), modes.astype(np.float32)
    return {"gram": gram, "along": found.along, "values": values, "modes": modes}


def _wide(values: torch.Tensor) -> torch.Tensor:
    return values.double() if values.is_floating_point() else values


@torch.no_grad()
def mean_square_output(training: Training, batches: Batches) -> float:
    """⟨f²⟩ over examples and outputs: that of two networks alike only if they are the same one."""
    outputs = torch.cat([training.model(inputs) for inputs, _ in batches])
    return float(outputs.double().square().mean())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """An npz file that is there whole or not at all."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def ended_training(experiment: Experiment, seed: int, run: Path, device: str) -> Training:
    """A complete training as it ended, its model in evaluation.

    Raises:
        ValueError: if it is not complete.
    """
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


def batches_of(training: Training, effort: Effort) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The examples that curvature is measured on, so many in memory at once."""
    inputs, targets = training.examples
    count = min(effort.examples or len(inputs), len(inputs))
    return list(
        zip(inputs[:count].split(effort.batch), targets[:count].split(effort.batch), strict=True)
    )
