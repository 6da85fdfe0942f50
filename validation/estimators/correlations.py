"""Correlations between times, and between positions and velocities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from validation.data import Array
from validation.estimators.chains import checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import function_of_means

__all__ = ["autocorrelation", "checked_lags", "cross_correlation", "stacked"]


def checked_lags(lags: Sequence[int], time: int) -> list[int]:
    """Lags as whole numbers of updates, from 0 to half a chain.

    Raises:
        ValueError: naming the lag and the limit.
    """
    for lag in lags:
        if int(lag) != lag or not 0 <= lag <= time // 2:
            raise ValueError(
                f"Lag {lag} is asked of chains of {time} times. Lags are whole numbers from 0 to "
                f"half a chain, {time // 2}: at longer ones hardly a pair is independent. Record "
                "longer chains or ask for shorter lags."
            )
    if not len(lags):
        raise ValueError("No lag is given: lags = (1, 2, 4) are three.")
    return [int(lag) for lag in lags]


def stacked(estimates: Sequence[Estimate]) -> Estimate:
    """Estimates of one kind, along a new first axis."""
    value, error, degrees, bias, short = (
        np.stack([np.asarray(getattr(one, name)) for one in estimates])
        for name in ("value", "standard_error", "degrees_of_freedom", "bias", "short")
    )
    return Estimate(value, error, estimates[0].replicas, degrees, bias, short)


def autocorrelation(series: Array, lags: Sequence[int]) -> Estimate:
    """Corr(x_k, x_{k+l}), (lags, directions): less the means, over both ends' spreads.

    Bias: of order τ/N, taken off. Intervals are symmetric, and too short where the correlation
    itself is within a few errors of ±1.

    Args:
        series: positions or velocities, (chains, time, directions).
        lags: l, in updates; lag 0 is 1 exactly.
    """
    return cross_correlation(series, series, lags)


def cross_correlation(first: Array, second: Array, lags: Sequence[int]) -> Estimate:
    """Corr(x_k, y_{k+l}), (lags, directions): less the means, over both ends' spreads.

    Bias: of order τ/N, taken off.

    Args:
        first: x, (chains, time, directions).
        second: y, of the same shape.
        lags: l ≥ 0, in updates; for l < 0 exchange the two.
    """
    first, second = checked_chains(first, second)
    time = first.shape[1]
    x, y = (one - one.mean(axis=(0, 1)) for one in (first, second))
    found = []
    for lag in checked_lags(lags, time):
        a, b = x[:, : time - lag], y[:, lag:]
        found.append(function_of_means(_correlation, a * b, a, b, a**2, b**2))
    return stacked(found)


def _correlation(product: Array, a: Array, b: Array, aa: Array, bb: Array) -> Array:
    spread = np.maximum((aa - a**2) * (bb - b**2), np.finfo(float).tiny)
    return np.asarray((product - a * b) / np.sqrt(spread))
