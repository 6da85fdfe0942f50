"""The training loss on a plane through the parameters, along two directions."""

from __future__ import annotations

import numpy as np
import torch

from validation.data import Array
from validation.losses import loss
from validation.torch_training import Training

__all__ = ["loss_slice"]


@torch.no_grad()
def loss_slice(training: Training, plane: Array, first: Array, second: Array) -> Array:
    """L(θ + x·u + y·w) for every x and y, (second, first); the model is left as it was.

    Args:
        training: at θ, its model in evaluation.
        plane: u and w, (parameters, 2).
        first: x, along u.
        second: y, along w.
    """
    parameters, (inputs, targets) = training.parameters, training.examples
    here = torch.nn.utils.parameters_to_vector(parameters).clone()
    u, w = torch.as_tensor(plane.T.copy()).to(here)
    found = np.empty((len(second), len(first)))
    try:
        for i, y in enumerate(second):
            for j, x in enumerate(first):
                torch.nn.utils.vector_to_parameters(here + float(x) * u + float(y) * w, parameters)
                outputs = torch.cat([training.model(part) for part in inputs.split(256)])
                found[i, j] = float(loss(training.loss_name)(outputs, targets))
    finally:
        torch.nn.utils.vector_to_parameters(here, parameters)
    return found
