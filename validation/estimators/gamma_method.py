r"""A function of means of time series: its value, bias and standard error.

Near the means m_j of series y_j, f deviates by the mean of one series, Σ_j ∂f/∂m_j (y_j − m_j):
its integrated autocorrelation time is that of f. What the curvature of f adds on the average,
½ Σ ∂²f/∂m_i∂m_j Cov(m_i, m_j), is taken off. Every estimator is a set of series and a function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from validation.data import Array
from validation.estimators.chains import block_means, checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.integrated_time import integrated_autocorrelation

__all__ = ["expanded", "function_of_means", "linearized"]

Function = Callable[..., Array]
# Blocks over all chains whose scatter stands for that of the means.
BLOCKS = 16
# Steps of first and second differences, in errors of the means: within these f is a parabola even
# where a mean is but a few errors from the end of its range, and rounding is not yet seen.
SMALL, BENT = 1e-3, 1e-2


def linearized(function: Function, *series: Array) -> Array:
    """Σ_j ∂f/∂m_j (y_j − m_j), (chains, time, ...): a series whose mean fluctuates as f does.

    Derivatives are central differences over a small part of a mean's error: as wide as the error
    itself, they would tear apart means that only ever move together.

    Args:
        function: of the means, entry by entry.
        series: (chains, time, ...) each; trailing axes broadcast.
    """
    means = [one.mean(axis=(0, 1)) for one in series]
    total = np.zeros(())
    for place, (one, mean) in enumerate(zip(series, means, strict=True)):
        step = SMALL * one.std(axis=(0, 1)) / np.sqrt(one.shape[0] * one.shape[1])
        ahead, behind = (
            function(*means[:place], mean + sign * step, *means[place + 1 :]) for sign in (1, -1)
        )
        slope = np.divide(ahead - behind, 2 * step, out=np.zeros_like(ahead), where=step > 0)
        total = total + slope * one
    return np.asarray(total - total.mean(axis=(0, 1)))


def _scatter_bias(function: Function, series: tuple[Array, ...], least: int) -> Array:
    """½ Σ ∂²f Cov(m), from second differences along the deviations of blocks.

    Deviations are scaled down to a small part of the means' own errors: f is asked nowhere else.
    """
    blocks = [block_means(one, least) for one in series]
    count = len(blocks[0])
    middle = [block.mean(axis=0) for block in blocks]
    shrink = BENT / np.sqrt(count)
    away = [(block - mean) * shrink for block, mean in zip(blocks, middle, strict=True)]
    ahead, behind = (
        function(*(mean + sign * step for mean, step in zip(middle, away, strict=True)))
        for sign in (1, -1)
    )
    bend = ((ahead + behind) / 2 - function(*middle)) / BENT**2
    return np.asarray(bend.sum(axis=0) / (count - 1))


def _curvature_bias(function: Function, series: tuple[Array, ...]) -> Array:
    """½ Σ ∂²f Cov(m) from whole chains if they are many, else from blocks of them.

    Neighboring blocks of L times share a memory τ, and their scatter misses τ/L of itself: blocks
    of half the length miss twice that, and show how much.
    """
    whole = _scatter_bias(function, series, BLOCKS)
    if len(series[0]) >= BLOCKS:
        return whole
    return 2 * whole - _scatter_bias(function, series, 2 * BLOCKS)


def function_of_means(function: Function, *series: Array) -> Estimate:
    """A function of the series' means, less its bias, with its standard error.

    Bias: of order 1/N², after that of order 1/N is taken off; none where f is linear.

    Args:
        function: of the means, entry by entry, smooth; it is also called with further leading axes.
            Where it is NaN, so are value and error.
        series: (chains, time, ...) each; trailing axes broadcast, and shape the value.

    Raises:
        ValueError: if a series is no set of chains, or has entries that are not finite.
    """
    return expanded(function, *series)[0]


def expanded(function: Function, *series: Array) -> tuple[Estimate, Array]:
    """What `function_of_means` finds, and the linearized series, (chains, time, ...)."""
    series = checked_chains(*series)
    value = np.asarray(function(*(one.mean(axis=(0, 1)) for one in series)))
    known = np.isfinite(value)
    linear = np.where(known, linearized(function, *series), 0.0)
    memory = integrated_autocorrelation(linear)
    bias = _curvature_bias(function, series)
    estimate = Estimate(
        value - bias,
        np.where(known, memory.mean_error, np.nan),
        len(series[0]),
        memory.degrees_of_freedom,
        bias,
        memory.short,
    )
    return estimate, linear
