r"""The geometry of a linear regression, exactly: Hessian, minimum, and the covariance of gradients.

Nothing is assumed about the noise: its covariance is taken over the examples' own gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from validation.data import Array, Regression

__all__ = ["Geometry", "NoiseShape", "geometry"]


@dataclass(frozen=True)
class NoiseShape:
    """How far a noise covariance is from being proportional to the Hessian.

    Args:
        scale: σ² = tr Σ / tr H.
        distance: |Σ − σ²H| / |Σ|, in the Frobenius norm; 0 if proportional.
        commutator: |HΣ − ΣH| / (|H| |Σ|); 0 if they share eigenvectors.
    """

    scale: float
    distance: float
    commutator: float


@dataclass(frozen=True)
class Geometry:
    """Curvature and gradient noise of a regression, in the Hessian's eigenbasis.

    Args:
        eigenvalues: ρ, ascending, (d,).
        vectors: eigenvectors, (d, d), columns.
        minimum: μ of the regularised loss, (d, m).
        noise: covariance of one example's gradient at the minimum, (m, d, d).
    """

    eigenvalues: Array
    vectors: Array
    minimum: Array
    noise: Array

    @property
    def start(self) -> Array:
        """The origin of the weights as an offset from the minimum, in the eigenbasis, (d, m)."""
        return -self.vectors.T @ self.minimum

    def noise_shape(self) -> NoiseShape:
        """Distance from proportionality, for the sum over outputs."""
        total, hessian = self.noise.sum(axis=0), np.diag(self.eigenvalues)
        scale = float(np.trace(total) / np.trace(hessian))
        commutator = hessian @ total - total @ hessian
        norm = np.linalg.norm
        return NoiseShape(
            scale,
            float(norm(total - scale * hessian) / norm(total)),
            float(norm(commutator) / (norm(hessian) * norm(total))),
        )


def geometry(problem: Regression, weight_decay: float) -> Geometry:
    """Exact Hessian XᵀX/N, its eigenpairs, the minimum, and the gradients' covariance there."""
    X, Y = problem.features, problem.targets
    hessian = X.T @ X / len(X)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    regularised = hessian + weight_decay * np.eye(len(hessian))
    # Flat directions have no minimum of their own: the shortest of all will do.
    minimum = np.linalg.lstsq(regularised, X.T @ Y / len(X), rcond=None)[0]
    projected = X @ vectors
    residuals = X @ minimum - Y
    gradients = np.einsum("nd,no->ond", projected, residuals)
    centred = gradients - gradients.mean(axis=1, keepdims=True)
    noise = centred.transpose(0, 2, 1) @ centred / len(X)
    return Geometry(np.maximum(eigenvalues, 0.0), vectors, minimum, noise)
