r"""How differently single examples curve: what makes gradient noise grow with the distance.

At a distance x from the minimum one example's gradient has moved by H_n x, and the noise has gained
the covariance of that over examples. Over positions with the covariance cI it is c times

.. math:: \frac1N \sum_n H_n^2 - H^2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from validation.data import Array
from validation.estimators import Estimate, replica_mean
from validation.forward_mode import begin_forward_mode
from validation.single_examples import loss_of_one, named_parameters, output_slopes

__all__ = [
    "GaussNewtonSquares",
    "curvature_spread",
    "gauss_newton_squares",
    "total_curvature_spread",
]

Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]


def curvature_spread(
    model: torch.nn.Module, loss_name: str, batches: Batches, directions: Array
) -> Array:
    """(1/N) Σ_n |H_n d|² − |Hd|² of every direction d, (k,).

    Args:
        model: in evaluation; its parameters in their order, flattened, are θ.
        loss_name: as in an experiment.
        batches: inputs and targets; every example once. Memory: batch × parameters.
        directions: (parameters, k).
    """
    begin_forward_mode()
    named, of_one = named_parameters(model), loss_of_one(model, loss_name)

    def product(
        along: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        gradient = torch.func.grad(lambda parameters: of_one(parameters, x, y))
        found: dict[str, torch.Tensor] = torch.func.jvp(gradient, (named,), (along,))[1]
        return found

    each = torch.func.vmap(product, in_dims=(None, 0, 0))
    return np.array([_spread(each, _split(column, named), batches) for column in directions.T])


def _split(flat: Array, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    values = torch.as_tensor(np.ascontiguousarray(flat)).to(next(iter(like.values())))
    parts = values.split([value.numel() for value in like.values()])
    return {name: part.view_as(like[name]) for name, part in zip(like, parts, strict=True)}


def _spread(each: object, along: dict[str, torch.Tensor], batches: Batches) -> float:
    squares, count = 0.0, 0
    mean = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in along.items()}
    for inputs, targets in batches:
        products = each(along, inputs, targets)  # type: ignore[operator]
        squares += sum(float(one.double().square().sum()) for one in products.values())
        for name, one in products.items():
            mean[name] += one.double().sum(dim=0)
        count += len(inputs)
    return squares / count - sum(float((one / count).square().sum()) for one in mean.values())


def total_curvature_spread(
    model: torch.nn.Module, loss_name: str, batches: Batches, probes: int = 8, seed: int = 0
) -> Estimate:
    """tr((1/N) Σ H_n² − H²), the mean over random signs.

    Bias: none.

    Args:
        model: as of `curvature_spread`; likewise the following.
        loss_name: as in an experiment.
        batches: inputs and targets.
        probes: at least 2.
        seed: of the signs.
    """
    size = sum(value.numel() for value in model.parameters())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(size, probes))
    return replica_mean(curvature_spread(model, loss_name, batches, signs))


@dataclass(frozen=True)
class GaussNewtonSquares:
    """Of one example's Gauss-Newton matrix J_nᵀJ_n, for half squared errors; means over examples.

    Args:
        along: |J_nᵀJ_n d|² of every direction d, (k,).
        trace: tr J_nᵀJ_n.
        total: tr (J_nᵀJ_n)².
    """

    along: Array
    trace: float
    total: float


def gauss_newton_squares(
    model: torch.nn.Module, batches: Batches, directions: Array
) -> GaussNewtonSquares:
    """Exactly, from the gradients of every output: the small matrices J_nJ_nᵀ hold all of it.

    Args:
        model: in evaluation.
        batches: inputs and targets; every example once.
        directions: (parameters, k); k may be 0.
    """
    onto = torch.as_tensor(directions).to(next(model.parameters()))
    along, trace, total, count = np.zeros(directions.shape[1]), 0.0, 0.0, 0
    for inputs, _ in batches:
        for slopes in output_slopes(model, inputs):
            products = (slopes @ slopes.mT).double()
            moved = (slopes @ onto).double()
            along += torch.einsum("nik,nij,njk->k", moved, products, moved).cpu().numpy()
            trace += float(products.diagonal(dim1=1, dim2=2).sum())
            total += float(products.square().sum())
        count += len(inputs)
    return GaussNewtonSquares(along / count, trace / count, total / count)
