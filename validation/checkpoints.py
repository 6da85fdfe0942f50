"""A training's whole state in one safetensors file: tensors and numbers, nothing that executes.

A checkpoint replaces the one before at once, and that one is kept as a second generation. A
SHA-256 over all tensors and numbers tells a damaged file from a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from validation.durable_files import written_whole

__all__ = [
    "FORMAT",
    "VERSION",
    "Checkpoint",
    "optimizer_state",
    "read_checkpoint",
    "restore_optimizer",
    "tensors_under",
    "write_checkpoint",
]

FORMAT, VERSION = "sgdtheory checkpoint", 1
_NAME, _PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is.

    Args:
        identity: of the experiment.
        seed: of the run.
        step: updates made, those of the burn-in too.
        tensors: by name; the part before the first "/" says whose they are.
        numbers: plain types.
    """

    identity: str
    seed: int
    step: int
    tensors: Mapping[str, torch.Tensor]
    numbers: Mapping[str, Any]


def tensors_under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those whose names begin with `prefix/`, without it."""
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }


def optimizer_state(
    optimizer: torch.optim.SGD,
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Momentum buffers by the number of their parameter, and the settings of every group."""
    state = optimizer.state_dict()
    buffers = {
        str(number): held["momentum_buffer"]
        for number, held in state["state"].items()
        if held.get("momentum_buffer") is not None
    }
    return buffers, state["param_groups"]


def restore_optimizer(
    optimizer: torch.optim.SGD,
    buffers: Mapping[str, torch.Tensor],
    groups: list[dict[str, Any]],
) -> None:
    """Put an optimizer back to what `optimizer_state` returned."""
    state = {int(number): {"momentum_buffer": buffer} for number, buffer in buffers.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _digest(about: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the numbers, and of every tensor with its name, type and shape."""
    total = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        content: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        total.update(content)
    return total.hexdigest()


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """On disk when this returns; killed before, the folder still has the last one.

    Args:
        folder: of the run.
        checkpoint: its state.
    """
    # A copy of each: safetensors refuses tensors that share memory, as tied weights do.
    tensors = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
        for name, tensor in checkpoint.tensors.items()
    }
    about = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "identity": checkpoint.identity,
            "seed": checkpoint.seed,
            "step": checkpoint.step,
            "numbers": checkpoint.numbers,
        }
    )
    path = folder / _NAME
    with written_whole(path) as temporary:
        # One entry, because safetensors writes several in any order.
        sealed = json.dumps({"about": about, "sha256": _digest(about, tensors)})
        save_file(tensors, temporary, {"checkpoint": sealed})
        if path.exists():
            os.replace(path, folder / _PREVIOUS)


def read_checkpoint(folder: Path, identity: str, seed: int) -> Checkpoint | None:
    """The last checkpoint of a run, or the one before if a kill left only that; None if none.

    Args:
        folder: of the run.
        identity: of the experiment that it must be of.
        seed: that it must be of.

    Raises:
        ValueError: naming the file, what is wrong and what to do.
    """
    for name in (_NAME, _PREVIOUS):
        if (folder / name).exists():
            found = _read(folder / name, _remedy(folder, name))
            if (found.identity, found.seed) != (identity, seed):
                raise ValueError(
                    f"{folder / name} is of the experiment {found.identity}, seed {found.seed}, "
                    f"not of {identity}, seed {seed}. Give each run a folder of its own."
                )
            return found
    return None


def _remedy(folder: Path, name: str) -> str:
    if name == _NAME and (folder / _PREVIOUS).exists():
        return f"Delete it: the run then goes on from {_PREVIOUS}, and ends the same."
    return "Delete the folder of this run and run it again: it ends the same."


def _read(path: Path, remedy: str) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            stated = json.loads((file.metadata() or {})["checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text, seal = stated["about"], stated["sha256"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error!r}. {remedy}") from error
    if seal != _digest(text, tensors):
        raise ValueError(
            f"{path} is damaged: the SHA-256 of its content is not the one it states. {remedy}"
        )
    about = json.loads(text)
    if (about["format"], about["version"]) != (FORMAT, VERSION):
        raise ValueError(
            f"{path} has the format {about['format']!r}, version {about['version']}; this program "
            f"reads {FORMAT!r}, version {VERSION}. {remedy}"
        )
    return Checkpoint(about["identity"], about["seed"], about["step"], tensors, about["numbers"])
