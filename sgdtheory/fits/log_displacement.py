r"""The logarithm of a measured displacement, and straight lines through it.

Values of one curve at many steps are nearly the same value, so a line through log D against log k
needs their covariance, and points that are few and even in log k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

__all__ = [
    "leading_weights",
    "log_moments",
    "log_spaced",
    "self_similar_correlation",
    "whitener",
]

Array = NDArray[np.float64]

# Combinations of steps that scatter less than this, relative to the one that scatters most, say
# more about the theory's last digits than about the exponent.
_SMALLEST_SCATTER = 1e-6


def log_spaced(steps: Array, points: int) -> NDArray[np.intp]:
    """Indices of about `points` steps that are even in log k, from the first to the last.

    Args:
        steps: k > 0, ascending, (T,).
        points: at least 2.

    >>> log_spaced(np.arange(1.0, 101.0), 5)
    array([ 0,  2,  9, 31, 99])
    """
    logs = np.log(steps)
    wanted = np.linspace(logs[0], logs[-1], points)
    above = np.clip(np.searchsorted(logs, wanted), 1, len(logs) - 1)
    return np.unique(np.where(wanted - logs[above - 1] < logs[above] - wanted, above - 1, above))


def log_moments(mean: Array, covariance: Array) -> tuple[Array, Array]:
    r"""What log D has on average beyond log E D, and the covariance of log D.

    A sum of squares with mean E and variance V is close to a gamma variable of shape a = E²/V
    (Welch and Satterthwaite), whose logarithm has the mean log E + ψ(a) − log a and the variance
    ψ'(a). Correlations are those of D, their limit for slight scatter (the delta method).

    Args:
        mean: E D > 0, (T,).
        covariance: of D, (T, T).

    Source:
        Satterthwaite, Biometrics Bulletin 2, 110 (1946).

    One squared Gaussian number: E log χ² = −γ − log 2, Var log χ² = π²/2.

    >>> excess, covariance = log_moments(np.array([1.0]), np.array([[2.0]]))
    >>> excess.round(4), covariance.round(4)
    (array([-1.2704]), array([[4.9348]]))
    """
    variance = np.diag(covariance)
    shape = mean**2 / variance
    scale = np.sqrt(polygamma(1, shape) / variance)
    return digamma(shape) - np.log(shape), covariance * np.outer(scale, scale)


def self_similar_correlation(steps: Array, exponent: float) -> Array:
    r"""Correlation of log D of a Gaussian process with stationary increments and E D ∝ k^c.

    With Cov(Δ_k, Δ_l) ∝ k^c + l^c − |k − l|^c along every direction, D's correlation is the square
    of Δ's. It depends on k/l alone: against log k the curve is stationary about its line
    (Lamperti), and no scale or number of directions enters.

    Args:
        steps: k > 0, (T,).
        exponent: 0 < c < 2.

    Source:
        Lamperti, Trans. Am. Math. Soc. 104, 62 (1962).

    >>> self_similar_correlation(np.array([1.0, 4.0]), 1.0)
    array([[1.  , 0.25],
           [0.25, 1.  ]])
    """
    ratio = np.log(steps) - np.log(steps).min()
    powers = np.exp(exponent * ratio)
    spans = abs(np.exp(ratio)[:, None] - np.exp(ratio)) ** exponent
    covariance = (powers[:, None] + powers - spans) / 2
    deviation = np.sqrt(np.diag(covariance))
    return np.asarray((covariance / np.outer(deviation, deviation)) ** 2)


def whitener(covariance: Array) -> Array:
    """W with W C Wᵀ = 1: combinations of the values that are independent, (at most T, T).

    Those that hardly scatter are left out: nothing is gained by them but sensitivity to what a
    theory leaves out, and what is kept is unbiased without them.

    >>> whitener(np.array([[4.0, 4.0], [4.0, 4.0]])).round(4)
    array([[0.25, 0.25]])
    """
    deviation = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = values > _SMALLEST_SCATTER * values[-1]
    rows = (vectors[:, kept] / np.sqrt(values[kept])).T / deviation
    # Of an eigenvector and its negative, the one whose entries add up to more.
    return np.asarray(rows * np.where(rows.sum(1) < 0, -1.0, 1.0)[:, None])


def leading_weights(steps: Array, covariance: Array, degree: int = 1) -> Array:
    """Weights w so that w @ log D is the leading coefficient of a polynomial in log k, (T,).

    Generalised least squares: for degree 1 the exponent, for degree 2 the bend.

    Args:
        steps: k > 0, (T,).
        covariance: of log D, up to a factor, (T, T).
        degree: of the polynomial.

    Raises:
        ValueError: where steps are too few or too much alike.

    >>> steps = np.array([1.0, 2.0, 4.0])
    >>> float((leading_weights(steps, np.eye(3)) @ np.log(5 * steps**0.7)).round(12))
    0.7
    """
    logs = np.log(steps)
    design = np.vander((logs - logs.mean()) / np.ptp(logs), degree + 1)
    whiten = whitener(covariance)
    whitened = whiten @ design
    if np.linalg.matrix_rank(whitened) <= degree:
        raise ValueError(
            f"steps = {steps}: displacements there are so much alike that {len(whiten)} "
            f"independent values are left, too few for {degree + 1} coefficients. Widen the window."
        )
    return np.asarray((np.linalg.pinv(whitened) @ whiten)[0] / np.ptp(logs) ** degree)
