r"""Linear regression on the examples that there are: nothing is assumed about their inputs.

One example's gradient is x(xᵀδ + r), r its residual at the minimum. Averages are over the data
set, so the covariance of the gradient is a matrix that ties all directions of H together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator
from sympy import Eq, Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import real, shortened
from sgdtheory.derivation import Derivation
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.krylov_space import fixed_point, spectral_radius
from sgdtheory.landscape import Landscape
from sgdtheory.mean_square_stability import LinearRegression
from sgdtheory.number_checks import check_number
from sgdtheory.second_moments import HEAVY_BALL, SecondMomentMap, Setting, closed
from sgdtheory.transient_moments import RegressionMoments, follow, offset_of, state_of
from sgdtheory.update_rule import UpdateRule

__all__ = ["FiniteDataset"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FiniteDataset(LinearRegression):
    r"""Linear regression on N examples, L(θ) = (1/2N) Σ (x_nᵀθ − y_n)², in the inputs' coordinates.

    Several outputs are as many problems that share their inputs: one a column of the targets.

    Args:
        inputs: X, (N, d). Unit: √loss/θ.
        targets: y, (N,). Unit: √loss.

    Raises:
        ValueError: for shapes that do not match, or numbers that are not finite.

    >>> problem = FiniteDataset([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], [1.0, 0.0, 1.0])
    >>> problem.minimum(weight_decay=0.0).round(4)
    array([0.3333, 0.3333])
    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.5, batch_size=2)
    >>> round(problem.stability_limit(hyper), 4)
    0.7146
    >>> from sgdtheory import Predictor
    >>> Predictor(hyper, problem.stationary(hyper).spectrum).stationary_covariance().shape
    (2, 2, 2)
    """

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            object.__setattr__(self, name, real(getattr(self, name)))
        X, y = self.inputs, self.targets
        if X.ndim != 2 or X.size == 0 or y.shape != X.shape[:1]:
            raise ValueError(
                f"inputs, targets have shapes {X.shape}, {y.shape}: give (N, d) and (N,); several "
                "outputs are one problem each."
            )
        for name, values in (("inputs", X), ("targets", y)):
            if not np.all(np.isfinite(values)):
                raise ValueError(
                    f"{name} holds numbers that are not finite. Remove or repair them."
                )

    @property
    def derivation(self) -> Derivation:
        """From one example's gradient to the closed recursion of second moments."""
        x, offset, gradient = (s.matrix(name, s.dimension, 1) for name in ("x", "delta", "g"))
        residual = s.matrix("r", 1)
        steps = Derivation().then(
            "Gradient of one example",
            "Inputs and residuals r at the minimum are those of the data set; δ is the offset from "
            "the minimum of the regularised loss. Its covariance is taken over the examples, then "
            "over δ.",
            Eq(gradient, x * (x.T * offset + residual), evaluate=False),
        )
        return closed(steps)

    @property
    def hessian(self) -> Array:
        """XᵀX/N, (d, d), without weight decay."""
        return self.inputs.T @ self.inputs / len(self.inputs)

    @cached_property
    def _eigensystem(self) -> tuple[Array, Array]:
        """Singular values squared over N, and their vectors as columns: a basis of all d.

        Singular values that are rounding are 0, and so are the inputs' components along them.
        """
        size = self.inputs.shape[1]
        _, found, rows = np.linalg.svd(np.linalg.qr(self.inputs, mode="r"))
        singular = np.zeros(size)
        singular[: len(found)] = found
        singular[singular <= max(self.inputs.shape) * np.finfo(float).eps * found.max()] = 0.0
        return singular**2 / len(self.inputs), rows.T

    @property
    def _eigenvalues(self) -> Array:
        return self._eigensystem[0]

    @cached_property
    def _projected(self) -> Array:
        values, vectors = self._eigensystem
        return (self.inputs @ vectors) * (values > 0)

    def _projected_minimum(self, weight_decay: float) -> Array:
        curvature = self._eigenvalues + weight_decay
        pull = self._projected.T @ self.targets / len(self.targets)
        return np.divide(pull, curvature, out=np.zeros_like(pull), where=pull != 0)

    def minimum(self, weight_decay: float = 0.0) -> Array:
        """μ of the regularised loss, (d,); the shortest one where the loss leaves it open.

        Args:
            weight_decay: λ ≥ 0.
        """
        check_number("weight_decay", weight_decay, at_least=0.0)
        return self._eigensystem[1] @ self._projected_minimum(weight_decay)

    def _noise(self, spread: Array, mean: Array, residuals: Array) -> Array:
        """`gradient_noise` in the eigenbasis."""
        Z, rho = self._projected, self._eigenvalues
        errors = Z @ mean + residuals
        weights = errors**2 + np.sum((Z @ spread) * Z, axis=1)
        average = Z.T @ errors / len(Z)
        return (
            Z.T @ (weights[:, None] * Z) / len(Z)
            - np.outer(average, average)
            - np.outer(rho, rho) * spread
        )

    def _residuals(self, weight_decay: float) -> Array:
        return self._projected @ self._projected_minimum(weight_decay) - self.targets

    def gradient_noise(
        self, spread: ArrayLike | None = None, mean: ArrayLike = 0.0, weight_decay: float = 0.0
    ) -> Array:
        r"""Covariance of one example's gradient over examples and positions, (d, d).

        E[x xᵀ(P + mmᵀ)x xᵀ] and the residuals' part, less the covariance HPH of the mean gradient
        and its mean squared.

        Args:
            spread: covariance P of the positions, (d, d); none by default.
            mean: their mean m as an offset from the minimum, (d,) or a number.
            weight_decay: λ, which places the minimum.
        """
        check_number("weight_decay", weight_decay, at_least=0.0)
        V, size = self._eigensystem[1], self.inputs.shape[1]
        P = np.zeros((size, size)) if spread is None else real(spread)
        if P.shape != (size, size) or not np.all(np.isfinite(P)):
            raise ValueError(
                f"spread = {shortened(spread)}: it must be a finite covariance of shape "
                f"({size}, {size})."
            )
        residuals = self._residuals(weight_decay)
        return V @ self._noise(V.T @ P @ V, offset_of("mean", mean, size) @ V, residuals) @ V.T

    def _own_noise(self, update: SecondMomentMap) -> LinearOperator:
        """The noise that the spread adds which a noise sustains: ΦR on (d, d) matrices."""
        size, response = len(self._eigenvalues), update.covariances
        nothing = np.zeros(size), np.zeros(len(self.inputs))

        def matvec(flat: Array) -> Array:
            return self._noise(response * flat.reshape(size, size), *nothing).ravel()

        return LinearOperator((size**2, size**2), matvec=matvec, dtype=np.float64)

    def _gain(self, update: SecondMomentMap) -> float:
        # The leading eigenvector is a covariance, so a covariance is a good start.
        return spectral_radius(self._own_noise(update), np.eye(len(self._eigenvalues)).ravel())

    def stationary(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> Landscape:
        """Hessian and the noise that a stationary run feels, for a `Predictor`.

        Errors of different updates are uncorrelated, so every stationary second moment is that of
        white noise with this covariance; see `GaussianInputs.stationary`. Linear equations in
        that covariance, solved in a Krylov space, O(N d²) an iteration, until the residual is
        rounding.

        Args:
            hyperparameters: η, β, S, λ.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Raises:
            UnstableError: at or beyond `stability_limit`, naming both.
        """
        update = self._bounded_update(Setting(hyperparameters, rule, parameters))
        size, V = len(self._eigenvalues), self._eigensystem[1]
        residuals = self._residuals(float(hyperparameters.weight_decay))
        at_minimum = self._noise(np.zeros((size, size)), np.zeros(size), residuals)
        noise = fixed_point(self._own_noise(update), at_minimum.ravel()).reshape(size, size)
        noise = V @ noise @ V.T
        return Landscape(self.hessian, (noise + noise.T) / 2)

    def moments(
        self,
        hyperparameters: Hyperparameters,
        steps: ArrayLike,
        position: ArrayLike,
        velocity: ArrayLike = 0.0,
        rule: UpdateRule = HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> RegressionMoments:
        """Moments after `steps` updates from a fixed start, below and beyond the stability limit.

        One update after the other: O(N d²) each.

        Args:
            hyperparameters: η, β, S, λ.
            steps: update counts, one or an array.
            position: offset from `minimum`, in the inputs' coordinates, (d,) or a number for all.
            velocity: likewise; 0 for a fresh optimiser.
            rule: the optimiser.
            parameters: values of the rule's further symbols.
        """
        update = self._update(Setting(hyperparameters, rule, parameters))
        V, size = self._eigensystem[1], len(self._eigenvalues)
        own = state_of(position, velocity, size)
        residuals = self._residuals(float(hyperparameters.weight_decay))
        history = follow(
            update,
            steps,
            V.T @ own,
            np.zeros((size, size, 2, 2)),
            lambda spread, mean: self._noise(spread, mean, residuals),
        )
        mean = own + V @ history.departures
        covariance = np.einsum("ai,...ijst,bj->...satb", V, history.covariances, V, optimize=True)
        moved = np.sum(history.departures[..., 0] ** 2, axis=-1)
        flat = (*history.departures.shape[:-2], 2 * size)
        return RegressionMoments(
            np.swapaxes(mean, -1, -2).reshape(flat),
            covariance.reshape(*flat, 2 * size),
            moved + np.einsum("...ii->...", history.covariances[..., 0, 0]),
        )
