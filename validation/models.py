"""What is trained: independent copies of a linear model that one optimiser moves together."""

from __future__ import annotations

import torch

__all__ = ["LinearReplicas", "half_squared_error"]


class LinearReplicas(torch.nn.Module):
    """Copies of θ ↦ xᵀθ. SGD acts element by element, so a copy trains as if it were alone.

    Args:
        start: weights of each copy, (replicas, features, outputs).
    """

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(start.clone())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs of each copy for its own batch: (replicas, batch, features) → (…, outputs)."""
        return features @ self.weights


def half_squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """½ |f − y|², averaged over a batch, summed over copies: each copy's gradient is its own."""
    return 0.5 * (outputs - targets).square().sum() / outputs.shape[1]
