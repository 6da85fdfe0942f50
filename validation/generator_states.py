"""The states of all global random generators, as tensors, so that dropout goes on where it was.

Batches and label noise are functions of the seed and the step and need none of this; a model of
one's own may draw from torch's, NumPy's or Python's generator.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["generator_states", "own_generators", "restore_generators"]


def _device_states(device: torch.device) -> dict[str, torch.Tensor]:
    if device.type == "cpu":
        return {}
    return {"device": getattr(torch, device.type).get_rng_state(*_index(device))}


def _index(device: torch.device) -> tuple[torch.device, ...]:
    """CUDA has a generator a device, Metal has one."""
    return () if device.type == "mps" else (device,)


def generator_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's generators, of NumPy's legacy one and of Python's.

    Args:
        device: whose generator counts beside the processor's.
    """
    _, words, position, has_normal, normal = np.random.get_state(legacy=True)
    _, python, python_normal = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        **_device_states(device),
        "numpy": torch.tensor([*map(int, words), position, has_normal], dtype=torch.int64),
        "numpy_normal": torch.tensor([normal], dtype=torch.float64),
        "python": torch.tensor(python, dtype=torch.int64),
        "python_normal": torch.tensor(
            [] if python_normal is None else [python_normal], dtype=torch.float64
        ),
    }


def restore_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put all generators back to what `generator_states` returned."""
    torch.set_rng_state(states["torch"])
    if "device" in states and device.type != "cpu":
        getattr(torch, device.type).set_rng_state(states["device"], *_index(device))
    *words, position, has_normal = states["numpy"].tolist()
    normal = states["numpy_normal"].item()
    np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), position, has_normal, normal))
    python_normal = [*states["python_normal"].tolist(), None][0]
    random.setstate((3, tuple(states["python"].tolist()), python_normal))


@contextmanager
def own_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Generators that begin with a seed; afterwards the caller's are as they were.

    Args:
        seed: of them all, up to 2⁶⁴ − 1.
        device: whose generator counts beside the processor's.
    """
    before = generator_states(device)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        restore_generators(before, device)
