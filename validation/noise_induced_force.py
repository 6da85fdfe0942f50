r"""The force that noise exerts where the curvature changes: minus half of ∇L's curvature, averaged.

About a minimum, positions with the covariance cI see the mean gradient

.. math:: \langle\nabla L(\theta + x)\rangle = \nabla L + \tfrac{c}{2} \nabla \operatorname{tr} H

so that noise drives a network towards flatter places, although its loss does not change there
(Blanc et al., arXiv 1904.09080; Damian et al., arXiv 2106.06530).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from validation.data import Array
from validation.losses import loss

__all__ = ["TraceGradient", "direction_sum", "full_gradient", "trace_gradient"]

# Of the displacement in units of a unit normal vector: far above rounding in float64, and so near
# that fourth derivatives do not count.
_STEP = 3e-4


@dataclass(frozen=True)
class TraceGradient:
    """∇ tr H.

    Args:
        vector: mean over probes, (parameters,).
        squared_length: |∇ tr H|² from pairs of different probes, without the probes' own scatter.
        squared_length_error: its standard error.
    """

    vector: Array
    squared_length: float
    squared_length_error: float


def full_gradient(
    model: torch.nn.Module, loss_name: str, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """∇L over all examples, flat, (parameters,)."""
    parameters, count = list(model.parameters()), sum(len(inputs) for inputs, _ in batches)
    total = torch.zeros(sum(p.numel() for p in parameters)).to(parameters[0])
    for inputs, targets in batches:
        value = loss(loss_name)(model(inputs), targets) * (len(inputs) / count)
        total += torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
    return total


def trace_gradient(
    model: torch.nn.Module,
    loss_name: str,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    probes: int,
    seed: int = 0,
) -> TraceGradient:
    """From gradients at θ ± εz and at θ, z normal: their second difference over ε² is D³L[z, z].

    Args:
        model: in evaluation, in float64, or rounding takes over; left as it was.
        loss_name: as in an experiment.
        batches: inputs and targets, in float64; every example once.
        probes: z, at least 2.
        seed: of the probes.
    """
    if probes < 2 or next(model.parameters()).dtype != torch.float64:
        raise ValueError(
            f"probes = {probes} of a model in {next(model.parameters()).dtype}: give two probes or "
            "more, and a model in float64."
        )
    parameters = list(model.parameters())
    here = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
    source = torch.Generator().manual_seed(seed)
    try:
        middle = full_gradient(model, loss_name, batches)
        found = []
        for _ in range(probes):
            z = _STEP * torch.randn(len(here), dtype=here.dtype, generator=source).to(here.device)
            bend = -2 * middle
            for sign in (1, -1):
                torch.nn.utils.vector_to_parameters(here + sign * z, parameters)
                bend = bend + full_gradient(model, loss_name, batches)
            found.append((bend / _STEP**2).cpu().numpy())
    finally:
        torch.nn.utils.vector_to_parameters(here, parameters)
    return _mean(np.stack(found))


def _mean(samples: Array) -> TraceGradient:
    count = len(samples)
    products = samples @ samples.T
    apart = products.sum(axis=1) - np.diag(products)
    square = apart.sum() / (count * (count - 1))
    # Each probe is in n − 1 of the pairs: the U-statistic's projection.
    error = 2 * np.std(apart / (count - 1), ddof=1) / np.sqrt(count)
    return TraceGradient(samples.mean(axis=0), float(square), float(error))


def direction_sum(*vectors: Array) -> Array:
    """The sum of vectors, each in units of its length; zero ones add nothing.

    The measure of a sum over eigenvalues, less those of its terms, is what two forces do together.
    """
    return np.asarray(sum(vector / (np.linalg.norm(vector) or 1.0) for vector in vectors))
