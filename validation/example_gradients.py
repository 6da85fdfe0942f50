r"""The covariance of single examples' gradients, along directions and in total.

Σ = ⟨g gᵀ⟩ − ⟨g⟩⟨g⟩ᵀ over all examples. A batch of S drawn with replacement has the noise covariance
Σ/S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from validation.data import Array
from validation.single_examples import loss_of_one, named_parameters

__all__ = ["GradientNoise", "gradient_noise"]


@dataclass(frozen=True)
class GradientNoise:
    """Of one example.

    Args:
        along: uᵀΣu of every direction, (k,).
        total: tr Σ.
        mean: ⟨g⟩, what is left of the gradient of the loss, (parameters,).
        examples: N.
    """

    along: Array
    total: float
    mean: Array
    examples: int

    @property
    def mean_square(self) -> float:
        """|⟨g⟩|²."""
        return float(self.mean @ self.mean)


def gradient_noise(
    model: torch.nn.Module,
    loss_name: str,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    directions: Array,
) -> GradientNoise:
    """Every example's own gradient, a batch of them in memory at once.

    Args:
        model: in evaluation; its parameters in their order, flattened, are θ.
        loss_name: as in an experiment.
        batches: inputs and targets; every example once. Memory: batch × parameters.
        directions: (parameters, k).
    """
    fixed, of_one = named_parameters(model), loss_of_one(model, loss_name)
    each = torch.func.vmap(torch.func.grad(of_one), in_dims=(None, 0, 0))
    onto = torch.as_tensor(directions).to(next(iter(fixed.values())))
    size = sum(value.numel() for value in fixed.values())
    total, mean = 0.0, torch.zeros(size, dtype=torch.float64)
    projected: list[Array] = []
    for inputs, targets in batches:
        gradients = torch.cat([g.flatten(1) for g in each(fixed, inputs, targets).values()], dim=1)
        projected.append((gradients @ onto).double().cpu().numpy())
        total += float(gradients.double().square().sum())
        mean += gradients.double().sum(dim=0).cpu()
    along = np.concatenate(projected)
    mean /= len(along)
    total = total / len(along) - float(mean.square().sum())
    return GradientNoise(along.var(axis=0), total, mean.numpy(), len(along))
