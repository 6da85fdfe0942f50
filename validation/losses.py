"""The losses that are lowered: the mean over a batch of one loss for each example.

Where several copies of a model are trained at once, outputs and targets have an axis of copies
first and the losses of the copies are added: each copy's gradient is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

__all__ = ["LOSSES", "BatchLoss", "cross_entropy", "half_squared_error", "loss"]

BatchLoss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def half_squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """½ |f − y|², averaged over a batch, summed over copies.

    Args:
        outputs: f, (…, batch, outputs).
        targets: y, of the same shape.
    """
    _check_shapes(outputs, targets)
    return 0.5 * (outputs - targets).square().sum() / outputs.shape[-2]


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """−Σ_c y_c log softmax(f)_c, averaged over a batch, summed over copies.

    Args:
        outputs: f, (…, batch, classes).
        targets: y, one-hot or probabilities, of the same shape.
    """
    _check_shapes(outputs, targets)
    return -(targets * outputs.log_softmax(dim=-1)).sum() / outputs.shape[-2]


LOSSES: dict[str, BatchLoss] = {
    "half_squared_error": half_squared_error,
    "cross_entropy": cross_entropy,
}


def loss(name: str) -> BatchLoss:
    """The loss of a name.

    Args:
        name: a key of `LOSSES`.

    Raises:
        ValueError: for another name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss.name = {name!r}: there are {', '.join(LOSSES)}.")
    return LOSSES[name]


def _check_shapes(outputs: torch.Tensor, targets: torch.Tensor) -> None:
    # Unequal shapes would broadcast to the wrong loss without a word.
    if outputs.shape != targets.shape or outputs.ndim < 2:
        raise ValueError(
            f"The model's outputs have the shape {tuple(outputs.shape)}, the targets "
            f"{tuple(targets.shape)}: both must be (batch, outputs). Give the model as many "
            "outputs as a target has numbers."
        )
