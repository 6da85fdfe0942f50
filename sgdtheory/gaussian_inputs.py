r"""Linear regression with Gaussian inputs, whose gradient noise grows with the distance δ.

One example's gradient is x(xᵀδ − ε). Its covariance needs fourth moments of the inputs: a sum over
pairings, after which the directions of H meet in one number, tr(HP).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import Eq, Expr, ImmutableMatrix, Matrix, Poly, Symbol, Trace, Transpose
from sympy.tensor.array.expressions import ArrayContraction, ArrayTensorProduct
from sympy.tensor.array.expressions.from_array_to_matrix import convert_array_to_matrix

from sgdtheory import symbols as s
from sgdtheory.arrays import real, shortened
from sgdtheory.derivation import Derivation
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.mean_square_stability import LinearRegression
from sgdtheory.second_moments import HEAVY_BALL, SecondMomentMap, Setting, closed
from sgdtheory.spectrum import Spectrum
from sgdtheory.transient_moments import RegressionMoments, follow, offset_of, state_of
from sgdtheory.update_rule import UpdateRule

__all__ = ["GaussianInputs"]

Array: TypeAlias = NDArray[np.float64]


# -- in symbols -------------------------------------------------------------------------------


def _pairing(partner: int) -> Expr:
    """x₀ x₁ᵀ P x₂ x₃ᵀ, averaged with x₀ paired with one partner and the other two paired."""
    H, P = s.matrix("H", s.dimension), s.matrix("P", s.dimension)
    slots = (0, partner, *(n for n in (1, 2, 3) if n != partner))
    axes = {slot: axis for axis, slot in enumerate(slots)}
    paired = ArrayContraction(ArrayTensorProduct(H, H, P), (axes[1], 4), (axes[2], 5))
    # Both matrices are symmetric, which SymPy does not know.
    return convert_array_to_matrix(paired).replace(
        lambda x: isinstance(x, Transpose), lambda x: x.arg
    )


@cache
def _covariance() -> tuple[tuple[Expr, ...], Expr]:
    """The pairings of the inputs' part, and Σ as matrices."""
    H, P = s.matrix("H", s.dimension), s.matrix("P", s.dimension)
    pairings = tuple(_pairing(partner) for partner in (1, 2, 3))
    return pairings, (s.sigma2 * H + sum(pairings[1:], pairings[0]) - H * P * H).doit()


@cache
def _variance() -> Expr:
    """Σ along an eigenvector, in ρ, P, T and σ²."""
    H, P = s.matrix("H", s.dimension), s.matrix("P", s.dimension)
    along = _covariance()[1].subs(Trace(H * P), s.prediction_error).subs(s.dimension, 1)
    curvature, spread = s.matrix("H", 1), s.matrix("P", 1)
    (variance,) = along.subs({curvature: Matrix([[s.rho]]), spread: Matrix([[s.spread]])}).doit()
    return variance


@cache
def _coefficients() -> LoweredFunction:
    """(1, P, T) coefficients of Σ along an eigenvector, as functions of (ρ, σ²)."""
    polynomial = Poly(_variance(), s.spread, s.prediction_error)
    parts = [polynomial.coeff_monomial(x) for x in (1, s.spread, s.prediction_error)]
    return lower(ImmutableMatrix([parts]), (s.rho, s.sigma2))


@cache
def _derivation() -> Derivation:
    x, error, gradient = (s.matrix(name, s.dimension, 1) for name in ("x", "delta", "g"))
    label = s.matrix("epsilon", 1)
    pairings, covariance = _covariance()
    return closed(
        Derivation()
        .then(
            "Gradient of one example",
            "Of half the squared error of one input x and its target; δ is the distance from the "
            "true weights and ε the error of the label.",
            Eq(gradient, x * (x.T * error - label), evaluate=False),
            assumption="labels err independently of the inputs, with variance σ²",
        )
        .then(
            "Pair the inputs",
            "The average of x xᵀ P x xᵀ over Gaussian inputs is the sum over the three ways to "
            "pair the four factors x, each pair giving H; P = E[δδᵀ].",
            *pairings,
            assumption="inputs are Gaussian with mean 0 and covariance H",
        )
        .then(
            "Covariance of the gradient",
            "Add the labels' part, subtract the square of the mean gradient Hδ, average over δ.",
            Eq(s.matrix("Sigma", s.dimension), covariance, evaluate=False),
        )
        .then(
            "Along an eigenvector of H",
            "The diagonal closes by itself; directions meet in T = tr(HP) alone.",
            Eq(s.Sigma, _variance(), evaluate=False),
        )
    )


# -- at numbers -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GaussianInputs(LinearRegression):
    r"""Linear regression with endless Gaussian inputs of covariance H, in H's eigenbasis.

    .. math:: \Sigma(P) = \sigma^2 H + H P H + H \operatorname{tr}(HP),

    with P = E[δδᵀ] of the distance δ from the true weights.

    Args:
        eigenvalues: ρ of H, (modes,), ≥ 0. Unit: loss/θ².
        noise_scale: σ² ≥ 0, the variance of the labels' errors. Unit: loss.
        offset: μ − θ* along each eigenvector, (modes,) or a number: how far weight decay pulls the
            minimum from the true weights. Unit: θ.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    Source:
        Liu, Ziyin, Ueda, arXiv 2012.03636; Ziyin, Liu, Mori, Ueda, arXiv 2102.05375.

    >>> problem = GaussianInputs([1.0, 0.5], noise_scale=0.1)
    >>> hyper = Hyperparameters(learning_rate=0.2, batch_size=2)
    >>> round(problem.stability_limit(hyper), 4)
    0.9468
    >>> problem.stationary(hyper).variances.round(4)
    array([0.1158, 0.0562])
    """

    eigenvalues: Array
    noise_scale: float
    offset: Any = 0.0

    def __post_init__(self) -> None:
        checked = Spectrum(real(self.eigenvalues), self.noise_scale)
        object.__setattr__(self, "eigenvalues", checked.eigenvalues)
        object.__setattr__(self, "offset", offset_of("offset", self.offset, len(checked)))

    @property
    def derivation(self) -> Derivation:
        """From one example's gradient to the closed recursion of second moments."""
        return _derivation()

    @property
    def _eigenvalues(self) -> Array:
        return self.eigenvalues

    @cached_property
    def _coefficients(self) -> tuple[Array, Array, Array]:
        parts = np.asarray(_coefficients()(self.eigenvalues, self.noise_scale))
        constant, own, shared = np.moveaxis(parts[..., 0, :], -1, 0)
        return constant, own, shared

    def gradient_noise(self, spread: ArrayLike = 0.0, mean: ArrayLike = 0.0) -> Array:
        """Variance of one example's gradient along each eigenvector, (modes,).

        Args:
            spread: variances of the positions, (modes,) or a number.
            mean: their mean as an offset from the minimum μ, likewise.
        """
        spread = real(spread)
        if not np.all(np.isfinite(spread) & (spread >= 0)):
            raise ValueError(f"spread = {shortened(spread)}: variances must be finite and ≥ 0.")
        return self._noise(spread, real(mean))

    def _noise(self, spread: Array, mean: Array) -> Array:
        constant, own, shared = self._coefficients
        distance = spread + (mean + self.offset) ** 2
        return constant + own * distance + shared * np.sum(self.eigenvalues * distance)

    def _gain(self, update: SecondMomentMap) -> float:
        _, own, shared = self._coefficients
        response = update.variances
        if np.any(own * response >= 1):
            return np.inf
        return float(np.sum(self.eigenvalues * response * shared / (1 - own * response)))

    def stationary(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> Spectrum:
        """The spectrum with the noise that a stationary run feels, for a `Predictor`.

        The noise depends on the position, but an error has mean 0 whatever came before, so errors
        of different updates are uncorrelated: every stationary second moment, lagged ones too, is
        that of white noise with the average covariance. What `Predictor` says of a stationary run
        is exact with it; transients need `moments`, and distributions are not Gaussian.

        Linear equations, diagonal but for T = tr(HP): solved in closed form, O(modes).

        Args:
            hyperparameters: η, β, S, λ.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Raises:
            UnstableError: at or beyond `stability_limit`, naming both.
        """
        update = self._bounded_update(Setting(hyperparameters, rule, parameters))
        gain, response = self._gain(update), update.variances
        constant, own, shared = self._coefficients
        # With T = 0 first; then T itself, which returns to its own equation with the gain.
        alone = (constant + own * self.offset**2) / (1 - own * response)
        error = np.sum(self.eigenvalues * (response * alone + self.offset**2)) / (1 - gain)
        return Spectrum(
            self.eigenvalues, noise_variances=alone + shared * error / (1 - own * response)
        )

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

        One update after the other: O(modes) each. Covariances between directions exist too, but
        no variance depends on them.

        Args:
            hyperparameters: η, β, S, λ.
            steps: update counts, one or an array.
            position: offset from the minimum μ in the eigenbasis, (modes,) or a number.
            velocity: likewise; 0 for a fresh optimiser.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        >>> problem = GaussianInputs([1.0, 0.5], noise_scale=0.1)
        >>> run = problem.moments(Hyperparameters(0.2, batch_size=2), [0, 1], position=1.0)
        >>> run.second_moments[:, :, 0, 0]
        array([[1.   , 1.   ], [0.692, 0.831]])
        """
        update = self._update(Setting(hyperparameters, rule, parameters))
        size = len(self.eigenvalues)
        start = state_of(position, velocity, size)
        history = follow(update, steps, start, np.zeros((size, 2, 2)), self._noise)
        moved, gathered = history.departures[..., 0], history.covariances[..., 0, 0]
        return RegressionMoments(
            start + history.departures,
            history.covariances,
            np.sum(moved**2 + gathered, axis=-1),
        )
