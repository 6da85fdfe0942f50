"""Directions on which positions and velocities are projected: read from a file, or random."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from validation.durable_files import written_whole
from validation.samplers import generator

__all__ = ["random_directions", "read_directions", "write_directions"]


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
