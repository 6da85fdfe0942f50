r"""The force that noise exerts where the curvature changes: minus half of ∇L's curvature, averaged.

About a minimum, positions with the covariance c Σ_i u_i u_iᵀ see the mean gradient

.. math:: \langle\nabla L(\theta + x)\rangle = \nabla L + \tfrac{c}{2} \nabla \sum_i u_i^T H u_i

so that noise drives a network towards flatter places, although its loss does not change there
(Blanc et al., arXiv 1904.09080; Damian et al., arXiv 2106.06530). Only directions of known
curvature are displaced, and by as much as they really spread: with rectified units, the second
difference of a gradient over longer ways counts kinks that the training never meets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from validation.data import Array
from validation.losses import loss

__all__ = ["direction_sum", "full_gradient", "trace_gradient"]


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
    directions: Array,
    displacement: float,
) -> Array:
    """∇ Σ_i u_iᵀHu_i over directions u_i, (parameters,).

    From gradients at θ ± εu and at θ: their second difference over ε² is D³L[u, u].

    Args:
        model: in evaluation, in float64, or rounding takes over; left as it was.
        loss_name: as in an experiment.
        batches: inputs and targets, in float64; every example once.
        directions: u, (parameters, k), of unit length.
        displacement: ε.
    """
    if not displacement > 0 or next(model.parameters()).dtype != torch.float64:
        raise ValueError(
            f"displacement = {displacement} of a model in {next(model.parameters()).dtype}: give a "
            "displacement above 0, and a model in float64."
        )
    parameters = list(model.parameters())
    here = torch.nn.utils.parameters_to_vector(parameters).detach().clone()
    columns = torch.as_tensor(np.ascontiguousarray(directions.T)).to(here)
    try:
        total = -2 * len(columns) * full_gradient(model, loss_name, batches)
        for column in columns:
            for away in (displacement, -displacement):
                torch.nn.utils.vector_to_parameters(here + away * column, parameters)
                total += full_gradient(model, loss_name, batches)
    finally:
        torch.nn.utils.vector_to_parameters(here, parameters)
    return np.asarray((total / displacement**2).cpu().numpy())


def direction_sum(*vectors: Array) -> Array:
    """The sum of vectors, each in units of its length; zero ones add nothing.

    The measure of a sum over eigenvalues, less those of its terms, is what two forces do together.
    """
    return np.asarray(sum(vector / (np.linalg.norm(vector) or 1.0) for vector in vectors))
