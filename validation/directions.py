"""Directions on which states are projected: of a file, of a linear model's Hessian, or random."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from validation.durable_files import written_whole
from validation.experiments import HESSIAN, Experiment
from validation.linear_problem import linear_problem
from validation.samplers import generator

__all__ = [
    "declared_directions",
    "hessian_directions",
    "random_directions",
    "read_directions",
    "write_directions",
]


def declared_directions(
    experiment: Experiment, seed: int, parameters: int, computed: Path
) -> torch.Tensor:
    """All that an experiment records along, (parameters, k), in the model's precision.

    Args:
        experiment: what was declared; first those of the file or the Hessian, then random ones.
        seed: of the run.
        parameters: P, of one replica.
        computed: where those are written that come from no file.
    """
    record, dtype = experiment.record, getattr(torch, experiment.model.dtype)
    given, made = [torch.empty(parameters, 0, dtype=dtype)], []
    if record.directions == HESSIAN:
        made.append(hessian_directions(experiment, parameters))
    elif record.directions is not None:
        given.append(read_directions(experiment.path(record.directions), parameters))
    if record.random_projections:
        made.append(random_directions(seed, parameters, record.random_projections))
    if made:
        write_directions(computed, torch.cat(made, dim=1))
    return torch.cat([each.to(dtype) for each in (*given, *made)], dim=1)


def hessian_directions(experiment: Experiment, parameters: int) -> torch.Tensor:
    """Eigenvectors of a linear model's Hessian, by ascending eigenvalue, float64.

    Raises:
        ValueError: for another model, and for one with several outputs.
    """
    vectors = linear_problem(experiment).vectors
    if len(vectors) != parameters:
        raise ValueError(
            f'record.directions = "{HESSIAN}": the model has {parameters} parameters, the Hessian '
            f"of one output {len(vectors)}. Give data with one output, or directions of a file."
        )
    return torch.as_tensor(vectors)


def random_directions(seed: int, parameters: int, count: int) -> torch.Tensor:
    """Unit vectors, uniform on the sphere, (parameters, count), float64; not made orthogonal.

    Args:
        seed: of the run; a direction depends on it and its number alone.
        parameters: P.
        count: how many.
    """
    columns = torch.empty(parameters, count, dtype=torch.float64)
    for i in range(count):
        source = generator(seed, "random directions", i)
        column = torch.randn(parameters, dtype=torch.float64, generator=source)
        columns[:, i] = column / torch.linalg.vector_norm(column)
    return columns


def write_directions(path: Path, directions: torch.Tensor) -> None:
    """A safetensors file with the tensor `directions`, (P, k), one a column."""
    with written_whole(path) as temporary:
        save_file({"directions": directions.contiguous()}, temporary)


def read_directions(path: Path, parameters: int) -> torch.Tensor:
    """The tensor `directions` of a safetensors file.

    Args:
        path: of the file.
        parameters: P, as many as a direction must have entries.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    remedy = f"Give a safetensors file with a tensor `directions`, ({parameters}, k), one a column."
    try:
        with safe_open(path, framework="pt") as file:
            found = file.get_tensor("directions")
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as directions: {error}. {remedy}") from error
    if found.ndim != 2 or len(found) != parameters or not found.is_floating_point():
        raise ValueError(
            f"{path}: directions are {found.dtype}, {tuple(found.shape)}, but the model has "
            f"{parameters} parameters. {remedy}"
        )
    if not found.isfinite().all():
        raise ValueError(f"{path}: directions contain infinity or NaN. {remedy}")
    return found
