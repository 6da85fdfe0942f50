"""Moments of positions or velocities along every direction."""

from __future__ import annotations

import numpy as np

from validation.data import Array
from validation.estimators.chains import checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import function_of_means

__all__ = ["covariance", "mean", "skewness", "variance"]


def mean(series: Array) -> Estimate:
    """⟨x⟩ of every direction.

    Bias: none.

    Args:
        series: positions or velocities, (chains, time, directions).
    """
    return function_of_means(np.positive, series)


def variance(series: Array) -> Estimate:
    """⟨x²⟩ − ⟨x⟩² of every direction.

    Bias: the measured mean follows the record, and takes its own variance from the plain value;
    that is given back, to order 1/N.

    Args:
        series: positions or velocities, (chains, time, directions).
    """
    (x,) = _centered(series)
    return function_of_means(lambda square, one: square - one**2, x**2, x)


def covariance(first: Array, second: Array) -> Estimate:
    """⟨xy⟩ − ⟨x⟩⟨y⟩ of every direction; of positions and velocities at equal k, (η/2)⟨v²⟩.

    Bias: as that of the variance.

    Args:
        first: (chains, time, directions).
        second: of the same shape.
    """
    x, y = _centered(first, second)
    return function_of_means(lambda product, one, other: product - one * other, x * y, x, y)


def skewness(series: Array) -> Estimate:
    """⟨(x − ⟨x⟩)³⟩/Var(x)^{3/2} of every direction.

    Bias: of order 1/N, taken off; none for a symmetric law.

    Args:
        series: positions or velocities, (chains, time, directions).
    """
    (x,) = _centered(series)

    def standardized(cube: Array, square: Array, one: Array) -> Array:
        spread = np.maximum(square - one**2, np.finfo(float).tiny)
        return (cube - 3 * one * square + 2 * one**3) / spread**1.5

    return function_of_means(standardized, x**3, x**2, x)


def _centered(*series: Array) -> list[Array]:
    """Less the mean of all chains, so that squares of a far-away mean do not cancel."""
    return [one - one.mean(axis=(0, 1)) for one in checked_chains(*series)]
