r"""The geometry of a linear regression, exactly: Hessian, minimum, and the covariance of gradients.

Nothing is assumed about the noise: its covariance is taken over the examples' own gradients.
"""

from __future__ import annotations

from collections.abc import Callable
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
        projected: features along the eigenvectors, (N, d).
        noise: covariance of one example's gradient at the minimum, (m, d, d).
    """

    eigenvalues: Array
    vectors: Array
    minimum: Array
    projected: Array
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

    def noise_around_minimum(self, spread: Array) -> Array:
        r"""Covariance of one example's gradient, averaged over positions with covariance `spread`.

        A gradient is x (xᵀδ − r): beside the noise at the minimum it has x xᵀδ, whose covariance
        over examples, averaged over δ, is E[x xᵀ P x xᵀ] − H P H. The mixed term has mean 0.

        Args:
            spread: P, (m, d, d), in the eigenbasis.
        """
        stretched = ((self.projected @ spread) * self.projected).sum(axis=-1, keepdims=True)
        fourth = self.projected.T @ (stretched * self.projected)
        hessian = np.diag(self.eigenvalues)
        return self.noise + fourth / len(self.projected) - hessian @ spread @ hessian

    def stationary_noise(self, spread_of: Callable[[Array], Array]) -> Array:
        """The noise that a stationary run feels, where spread and noise sustain one another.

        Args:
            spread_of: the covariance of positions that a noise covariance causes, (m, d, d) both.

        Raises:
            ValueError: when they do not settle, because the noise drives itself beyond bounds.
        """
        noise, growth = self.noise, 1.0
        while growth < 1e6:
            renewed = self.noise_around_minimum(spread_of(noise))
            if np.abs(renewed - noise).max() < 1e-13 * np.abs(renewed).max():
                return renewed
            noise, growth = renewed, np.abs(renewed).max() / np.abs(self.noise).max()
        raise ValueError(
            f"the noise has grown {growth:.1g}-fold and still grows: the learning rate is at or "
            "beyond the limit that the noise's own dependence on position sets. Lower it, or raise "
            "the batch size."
        )


def geometry(problem: Regression, weight_decay: float) -> Geometry:
    """Exact Hessian XᵀX/N, its eigenpairs, the minimum, and the gradients' covariance there."""
    X, Y = problem.features, problem.targets
    hessian = X.T @ X / len(X)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    regularised = hessian + weight_decay * np.eye(len(hessian))
    minimum = np.linalg.solve(regularised, X.T @ Y / len(X))
    projected = X @ vectors
    residuals = X @ minimum - Y
    gradients = np.einsum("nd,no->ond", projected, residuals)
    centred = gradients - gradients.mean(axis=1, keepdims=True)
    noise = centred.transpose(0, 2, 1) @ centred / len(X)
    return Geometry(np.maximum(eigenvalues, 0.0), vectors, minimum, projected, noise)
