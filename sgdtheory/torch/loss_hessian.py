r"""Products with the Hessian of a loss, and its largest eigenvalues.

Products are curvlinops', eigenpairs ARPACK's; the matrix is written down only where all of its
directions are asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from sgdtheory.torch.loader_settings import Batches
from sgdtheory.torch.undisturbed_model import Loss

__all__ = ["Eigenpairs", "largest_eigenpairs", "loss_hessian"]

# Columns of the identity that are multiplied at once.
_COLUMNS = 64


class _MeanLoss(torch.nn.Module):
    """A user's loss in the form that curvlinops takes."""

    reduction = "mean"

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        return self._loss(outputs, targets)


def loss_hessian(
    model: torch.nn.Module,
    loss: Loss,
    parameters: Sequence[torch.nn.Parameter],
    batches: Batches,
) -> LinearOperator:
    """∇²L of the mean loss over all batches, in the parameters' order, without weight decay.

    Args:
        model: in the mode of the measurement.
        loss: a mean over examples.
        parameters: that span θ.
        batches: every example once.

    Raises:
        ImportError: where curvlinops is not installed.
    """
    with warnings.catch_warnings():
        # A library that curvlinops loads, and torch's first derivative in forward mode, are
        # compiled by a part of torch that is going away.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            from curvlinops import HessianLinearOperator
        except ImportError:
            raise ImportError(
                "products with the Hessian need curvlinops: pip install 'sgdtheory[torch]'."
            ) from None
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
    operator = HessianLinearOperator(
        model,
        _MeanLoss(loss),
        list(parameters),
        batches,
        check_deterministic=False,
        num_data=sum(len(inputs) for inputs, _ in batches),
    )
    return operator.to_scipy()


class Eigenpairs(NamedTuple):
    """Descending eigenvalues (k,), orthonormal columns (P, k), and |Hu − ρu|, (k,)."""

    values: NDArray[np.float64]
    vectors: NDArray[Any]
    residuals: NDArray[np.float64]


def largest_eigenpairs(
    operator: LinearOperator, count: int, seed: int, tolerance: float
) -> Eigenpairs:
    """Of a symmetric operator; all of them where it has no more.

    Args:
        operator: (P, P).
        count: k ≥ 1.
        seed: of the start.
        tolerance: of every residual, relative to its eigenvalue.

    Raises:
        ValueError: where they do not converge.
    """
    size = operator.shape[0]
    if count >= size:
        columns = np.eye(size, dtype=operator.dtype)
        parts = [operator @ columns[:, i : i + _COLUMNS] for i in range(0, size, _COLUMNS)]
        matrix = np.hstack(parts)
        values, vectors = np.linalg.eigh((matrix + matrix.T).astype(float) / 2)
        vectors = vectors.astype(operator.dtype)
    else:
        start = np.random.default_rng(seed).standard_normal(size).astype(operator.dtype)
        try:
            values, vectors = eigsh(operator, k=count, which="LA", v0=start, tol=tolerance)
        except ArpackNoConvergence as error:
            raise ValueError(
                f"directions = {count}, tolerance = {tolerance:g}: only {len(error.eigenvalues)} "
                "eigenvalues have converged. Ask for fewer, or raise the tolerance."
            ) from None
    order = np.argsort(values)[::-1]
    values, vectors = values[order].astype(float), np.ascontiguousarray(vectors[:, order])
    products = np.hstack(
        [operator @ vectors[:, i : i + _COLUMNS] for i in range(0, len(values), _COLUMNS)]
    )
    return Eigenpairs(values, vectors, np.linalg.norm(products - vectors * values, axis=0))
