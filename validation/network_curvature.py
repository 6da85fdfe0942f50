r"""Curvature of a trained network, without ever writing its matrix down.

The Hessian of the training loss is the Gauss-Newton matrix and a part that is small where the
network fits its data. Products of both with vectors are curvlinops'; eigenpairs are ARPACK's.
Nothing is drawn at random in a product: no augmentation, no dropout, every example once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import subspace_angles
from scipy.sparse.linalg import LinearOperator, eigsh

from validation.data import Array
from validation.estimators import Estimate, replica_mean
from validation.forward_mode import begin_forward_mode
from validation.losses import loss

__all__ = [
    "KINDS",
    "CurvatureChange",
    "Eigenpairs",
    "change",
    "loss_curvature",
    "top_eigenpairs",
    "trace",
]

KINDS = ("hessian", "gauss_newton")


class _MeanLoss(torch.nn.Module):
    """A loss of this project in the form that curvlinops takes."""

    reduction = "mean"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._loss = loss(name)

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self._loss(outputs, targets)


def loss_curvature(
    kind: str,
    model: torch.nn.Module,
    loss_name: str,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> LinearOperator:
    """∇²L of the mean loss over all batches, or its Gauss-Newton part, without weight decay.

    Args:
        kind: "hessian" or "gauss_newton".
        model: in evaluation; its parameters in their order, flattened, are θ.
        loss_name: as in an experiment.
        batches: inputs and targets; every example once.

    Raises:
        ValueError: for another kind, and a model whose examples are coupled by batch statistics.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: there are {', '.join(KINDS)}.")
    _require_independent_examples(model)
    begin_forward_mode()
    with warnings.catch_warnings():
        # A library that curvlinops loads is compiled by a part of torch that is going away.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        from curvlinops import GGNLinearOperator, HessianLinearOperator

    made = HessianLinearOperator if kind == "hessian" else GGNLinearOperator
    count = sum(len(inputs) for inputs, _ in batches)
    found = made(
        model,
        _MeanLoss(loss_name),
        list(model.parameters()),
        list(batches),
        check_deterministic=False,
        num_data=count,
    )
    return found.to_scipy()


def _require_independent_examples(model: torch.nn.Module) -> None:
    coupled = [
        name
        for name, module in model.named_modules()
        if module.training and isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    ]
    if coupled:
        raise ValueError(
            f"{', '.join(coupled)} normalize by the statistics of a batch, so that there is no "
            "loss of one example and no Hessian of their mean. Call model.eval(), or declare "
            'batch_norm = "frozen".'
        )


@dataclass(frozen=True)
class Eigenpairs:
    """The largest eigenvalues, descending.

    Args:
        values: (k,).
        vectors: (parameters, k), orthonormal columns.
        residuals: |Hu − ρu|, (k,): each eigenvalue is that near to one of the matrix.
    """

    values: Array
    vectors: Array
    residuals: Array


def top_eigenpairs(
    operator: LinearOperator, count: int, seed: int = 0, tolerance: float = 1e-4
) -> Eigenpairs:
    """By restarted Lanczos, from a start that the seed decides.

    Args:
        operator: symmetric.
        count: k.
        seed: of the start.
        tolerance: of every residual, relative to its eigenvalue.

    Raises:
        ValueError: for a count that the matrix does not have.
    """
    size = operator.shape[0]
    if not 1 <= count < size:
        raise ValueError(f"count = {count}: give at least 1, and fewer than {size} parameters.")
    start = np.random.default_rng(seed).standard_normal(size).astype(operator.dtype)
    values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=tolerance)
    order = np.argsort(values)[::-1]
    values, vectors = values[order].astype(float), vectors[:, order].astype(float)
    products = np.asarray(operator @ vectors.astype(operator.dtype), dtype=float)
    return Eigenpairs(values, vectors, np.linalg.norm(products - vectors * values, axis=0))


def trace(operator: LinearOperator, probes: int = 20, seed: int = 0) -> Estimate:
    """Hutchinson's: the mean of zᵀHz over random signs z, with the error of that mean.

    Bias: none.

    Args:
        operator: symmetric.
        probes: at least 2.
        seed: of the signs.
    """
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(operator.shape[0], probes)).astype(operator.dtype)
    products = np.asarray(operator @ signs, dtype=float)
    return replica_mean(np.einsum("pk,pk->k", signs, products))


@dataclass(frozen=True)
class CurvatureChange:
    """How much eigenpairs moved between two moments of a training.

    Args:
        relative: of every eigenvalue, after/before − 1, (k,).
        overlaps: |uᵢ·uᵢ'| of each with its successor, (k,); 1 if it did not turn.
        angle: the largest between the two spaces that they span, in radians.
    """

    relative: Array
    overlaps: Array
    angle: float


def change(before: Eigenpairs, after: Eigenpairs) -> CurvatureChange:
    """From before to after, eigenpair by eigenpair in descending order."""
    overlaps = np.abs(np.einsum("pk,pk->k", before.vectors, after.vectors))
    angles = subspace_angles(before.vectors, after.vectors)
    return CurvatureChange(after.values / before.values - 1, overlaps, float(angles.max()))
