r"""A quadratic loss with any gradient noise: a Hessian H and a covariance Σ that need not commute.

Everything about them is asked in H's eigenbasis, where each direction has its own curvature and Σ
is a full matrix. It is found once, in O(d³).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import backend_of
from sgdtheory.notebook_display import ShownAsTable, Table, described
from sgdtheory.spectrum import Spectrum

__all__ = ["Landscape"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landscape(ShownAsTable):
    r"""Hessian H of the loss and covariance Σ of one example's gradient, in any coordinates.

    Args:
        hessian: H, shape (d, d), symmetric, NumPy. Unit: loss/θ². Without weight decay.
        noise_covariance: Σ, shape (d, d), symmetric, positive semi-definite. Unit: (loss/θ)².

    Symmetry and semi-definiteness are asked within rounding: max(16, d) roundings, of the floating
    type that was given, of the largest entry. What rounding left of an antisymmetric part is
    removed.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    >>> dense = Landscape([[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]])
    >>> dense.eigenvalues.round(12)
    array([1., 3.])
    >>> dense.spectrum.variances.round(12), round(dense.commutator, 4)
    (array([0.5, 0.5]), 0.4472)
    """

    hessian: Array
    noise_covariance: Array

    def __post_init__(self) -> None:
        for name in ("hessian", "noise_covariance"):
            object.__setattr__(self, name, _symmetric(name, getattr(self, name)))
        if self.noise_covariance.shape != self.hessian.shape:
            raise ValueError(
                f"noise_covariance has shape {self.noise_covariance.shape} and hessian "
                f"{self.hessian.shape}: give both in the same d coordinates."
            )

    @property
    def dimension(self) -> int:
        """Number d of coordinates."""
        return len(self.hessian)

    @cached_property
    def _eigensystem(self) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(self.hessian)
        return values, vectors

    @property
    def eigenvalues(self) -> Array:
        """ρ of the Hessian, shape (d,), ascending."""
        return self._eigensystem[0]

    @property
    def eigenvectors(self) -> Array:
        """Orthonormal eigenvectors of the Hessian, shape (d, d), one a column."""
        return self._eigensystem[1]

    @cached_property
    def noise_in_eigenbasis(self) -> Array:
        """VᵀΣV, shape (d, d): Σ_ij between the eigenvectors; diagonal if H and Σ commute."""
        rotated = self.eigenvectors.T @ self.noise_covariance @ self.eigenvectors
        return np.asarray((rotated + rotated.T) / 2)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues, and Σ_ii along each eigenvector: all that one direction at a time feels."""
        variances = np.diag(self.noise_in_eigenbasis)
        # Where Σ vanishes along an eigenvector, rounding may leave a variance just below zero.
        return Spectrum(self.eigenvalues, noise_variances=np.maximum(variances, 0.0))

    @cached_property
    def commutator(self) -> float:
        """‖HΣ − ΣH‖/(‖H‖‖Σ‖) in the Frobenius norm: 0 if and only if they share eigenvectors."""
        product = self.hessian @ self.noise_covariance
        size = np.linalg.norm(self.hessian) * np.linalg.norm(self.noise_covariance)
        return float(np.linalg.norm(product - product.T) / size) if size else 0.0

    def tables(self) -> tuple[Table, ...]:
        """What a notebook shows; print one for plain text."""
        rows = (
            ("dimension", str(self.dimension)),
            ("eigenvalues of H", described(self.eigenvalues)),
            ("noise along its eigenvectors", described(self.spectrum.variances)),
            ("‖HΣ − ΣH‖/(‖H‖‖Σ‖)", described(self.commutator)),
        )
        return (Table("Landscape", rows),)


def _symmetric(name: str, value: Any) -> Array:
    """A checked copy of a matrix, its antisymmetric rounding removed."""
    if backend_of([value]) == "torch":
        raise ValueError(
            f"{name} is a torch tensor: eigenvectors of equal eigenvalues have no gradients, so a "
            "Landscape holds NumPy arrays. Pass tensor.detach().cpu().numpy()."
        )
    try:
        given = np.asarray(value)
        matrix = given.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r}: give a matrix of real numbers.") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"{name} has shape {matrix.shape}: it must be (d, d) with d ≥ 1.")
    if not np.all(np.isfinite(matrix)):
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"{name}[{i}, {j}] = {matrix[i, j]}: it must be finite. Repair it.")
    rounding = _rounding(given, matrix)
    asymmetry = np.abs(matrix - matrix.T)
    i, j = np.unravel_index(int(np.argmax(asymmetry)), matrix.shape)
    if asymmetry[i, j] > rounding:
        raise ValueError(
            f"{name}[{i}, {j}] = {matrix[i, j]:.17g} but {name}[{j}, {i}] = {matrix[j, i]:.17g}: "
            f"it must be symmetric to {rounding:.2g}. Pass (A + Aᵀ)/2 if that is what you mean."
        )
    matrix = (matrix + matrix.T) / 2
    if name == "noise_covariance":
        _require_semidefinite(name, matrix, rounding)
    return matrix


def _rounding(given: NDArray[Any], matrix: Array) -> float:
    precision = np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps
    return float(max(16, len(matrix)) * precision * np.max(np.abs(matrix)))


def _require_semidefinite(name: str, matrix: Array, rounding: float) -> None:
    try:
        # An order of magnitude faster than eigenvalues, and all that a valid matrix needs.
        np.linalg.cholesky(matrix + rounding * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        lowest = float(np.linalg.eigvalsh(matrix)[0])
        if lowest < -rounding:
            raise ValueError(
                f"{name} has the eigenvalue {lowest:.6g}: a covariance has none below 0, here to "
                f"{rounding:.2g}. Check its sign, or project onto eigenvalues ≥ 0."
            ) from None
