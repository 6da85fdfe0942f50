r"""Whether a record is stationary: its mean and its variance, early against late, and along time.

Each test is one contrast, the mean of w_k x_k with weights of time that sum to zero. Its error is
that of the series w_k r_k, r what the contrast leaves unexplained, with all its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from validation.data import Array
from validation.estimators.chains import checked_chains
from validation.estimators.estimate import Estimate, z_scores
from validation.estimators.integrated_time import integrated_autocorrelation

__all__ = ["Contrast", "Stationarity", "stationarity_tests"]


@dataclass(frozen=True)
class Contrast:
    """One test of every direction.

    Args:
        difference: what is 0 in a stationary state.
        z: in normal quantiles.
        p_value: two-sided.
    """

    difference: Estimate
    z: Array
    p_value: Array


@dataclass(frozen=True)
class Stationarity:
    """Four tests of every direction; each raises a false alarm as often as it says.

    Args:
        mean_early_late: mean of the last third less that of the first.
        variance_early_late: the same of the squares about the mean.
        mean_trend: rise of the mean over the record, of a straight line.
        variance_trend: the same of the squares about the mean.
    """

    mean_early_late: Contrast
    variance_early_late: Contrast
    mean_trend: Contrast
    variance_trend: Contrast

    def p_value(self) -> Array:
        """Smallest p of the four, times four (Bonferroni), of every direction."""
        tests = (
            self.mean_early_late,
            self.variance_early_late,
            self.mean_trend,
            self.variance_trend,
        )
        return np.minimum(1.0, 4 * np.min([one.p_value for one in tests], axis=0))


def _thirds(time: int) -> Array:
    """Weights whose mean with x is the last third's mean less the first third's."""
    third = time // 3
    weights = np.zeros(time)
    weights[:third], weights[-third:] = -time / third, time / third
    return weights


def _line(time: int) -> Array:
    """Weights whose mean with x is the rise of the least-squares line from end to end."""
    centered = np.arange(time) - (time - 1) / 2
    return np.asarray(centered * (time - 1) / (centered**2).mean())


def _contrast(series: Array, weights: Array) -> Contrast:
    w = weights.reshape(-1, *(1,) * (series.ndim - 2))
    difference = (w * series).mean(axis=(0, 1))
    rest = series - series.mean(axis=(0, 1)) - w * difference / (weights**2).mean()
    memory = integrated_autocorrelation(w * rest)
    estimate = Estimate(
        difference,
        memory.mean_error,
        len(series),
        memory.degrees_of_freedom,
        None,
        memory.short,
    )
    z = z_scores(estimate, np.zeros(()))
    return Contrast(estimate, z, 2 * stats.norm.sf(np.abs(z)))


def stationarity_tests(series: Array) -> Stationarity:
    """Tests that mean and variance of every direction do not change along the record.

    Bias: none of the means; squares about the measured mean lose the same at all times. The error
    is that of a stationary record with the memory that is seen. A drift slower than the record is
    memory just as well: no test can tell it from one, and `short` says so.

    Args:
        series: positions or velocities, (chains, time, directions).
    """
    (series,) = checked_chains(series)
    time = series.shape[1]
    x = series - series.mean(axis=(0, 1))
    return Stationarity(
        _contrast(x, _thirds(time)),
        _contrast(x**2, _thirds(time)),
        _contrast(x, _line(time)),
        _contrast(x**2, _line(time)),
    )
