r"""How long a series remembers, and the standard error of its mean.

With Γ(t) the autocovariance, the mean of a chain of T times has the variance
(1/T) Σ_{|t| ≤ W} (1 − |t|/T) Γ(t), for a window W beyond which nothing is left of Γ. For W = T − 1
this is exactly the spread of the chains' means, the replica method; for W ≪ T it is Wolff's Γ
method (hep-lat/0306017). The window chooses between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from validation.data import Array
from validation.estimators.chains import checked_chains

__all__ = ["IntegratedTime", "autocovariance", "integrated_autocorrelation"]

# Of an oscillation under an envelope e^{−t/τ}, the squared autocorrelations sum to τ/4.
ENVELOPE = 4.0
# The fewest independent pieces that a window may leave.
PIECES = 3.0
# Integrated times that all chains together must hold. The windows of a record as long as that
# leave some six degrees of freedom; where they leave fewer, τ itself may be measured too small.
LONG, FEW = 50.0, 6.0


@dataclass(frozen=True)
class IntegratedTime:
    """Memory of every quantity.

    Args:
        time: τ = ½ + Σ Γ(t)/Γ(0), in updates; ½ without memory, less if it swings back.
        standard_error: of τ.
        window: W, in updates.
        mean_error: standard error of the mean over all chains and times.
        degrees_of_freedom: of that error.
        short: where all chains together hold fewer than 50 τ, or there are fewer than 6 degrees of
            freedom.
    """

    time: Array
    standard_error: Array
    window: Array
    mean_error: Array
    degrees_of_freedom: Array
    short: Array


def autocovariance(series: Array) -> Array:
    """Γ(t) about the mean over ALL chains and times, averaged over chains, (time, ...).

    The mean of all chains is closer to the truth than each chain's own, and chains that sit at
    different places are seen to. Γ is too small by the variance of that mean, at every lag.

    Args:
        series: (chains, time, ...).
    """
    time = series.shape[1]
    centered = series - series.mean(axis=(0, 1))
    padded = fft.next_fast_len(2 * time, real=True)
    spectrum = fft.rfft(centered, padded, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    pairs = (time - np.arange(time)).reshape(-1, *(1,) * (power.ndim - 1))
    return np.asarray(fft.irfft(power, padded, axis=0)[:time] / pairs)


def _windows(correlation: Array, total: int, largest: int) -> Array:
    """Where Wolff's criterion stops; the memory is read from SQUARED autocorrelations.

    Sums of the autocorrelation itself come back to zero within a period of an oscillation, and
    would stop there. Chance alone adds 2/N of their sum to every square: that is taken off.
    """
    lag = np.arange(1, largest + 1).reshape(-1, *(1,) * (correlation.ndim - 1))
    squares = np.cumsum(correlation[1 : largest + 1] ** 2, axis=0)
    memory = ENVELOPE * (0.5 + squares) / (1 + 2 * lag / total)
    stop = np.exp(-lag / memory) < memory / np.sqrt(lag * total)
    return np.where(stop.any(axis=0), stop.argmax(axis=0) + 1, largest)


def _upto(sums: Array, window: Array) -> Array:
    """Entry `window` of cumulated sums that begin at lag 1."""
    return np.asarray(np.take_along_axis(sums, (window - 1)[None], axis=0)[0])


def integrated_autocorrelation(series: Array) -> IntegratedTime:
    r"""Integrated autocorrelation time τ, and the standard error of the mean √(2τΓ(0)/N).

    The window is Wolff's: the truncation e^{−W/τ} against the noise of a longer window, with τ
    an envelope. What the mean of all chains takes from Γ is given back. Errors of τ are those of
    Madras and Sokal, 2τ√((W + ½ − τ)/N).

    Args:
        series: (chains, time) or (chains, time, ...).
    """
    (series,) = checked_chains(series)
    chains, time = series.shape[:2]
    gamma = autocovariance(series)
    lag = np.arange(1, time)
    triangle = 1 - lag / time
    reach = (1 + 2 * np.cumsum(triangle)) / time
    allowed = int(np.searchsorted(reach, chains / PIECES, side="right"))
    still = gamma[0] == 0
    correlation = gamma / np.where(still, 1.0, gamma[0])
    window = _windows(correlation, chains * time, max(allowed, 1))
    shape = (-1, *(1,) * (gamma.ndim - 1))
    weighted = np.cumsum(triangle.reshape(shape) * gamma[1:], axis=0)
    share = reach[window - 1] / chains
    of_chain = (gamma[0] + 2 * _upto(weighted, window)) / time
    # An oscillation cut off too early can leave less than nothing: one time's share remains.
    of_mean = np.maximum(of_chain, gamma[0] / time**2) / chains / (1 - share)
    whole = gamma[0] / 2 + _upto(np.cumsum(gamma[1:], axis=0), window) + (window + 0.5) * of_mean
    tau = np.where(still, 0.5, whole / np.where(still, 1.0, gamma[0] + of_mean))
    total = chains * time
    error = 2 * np.abs(tau) * np.sqrt(np.maximum(window + 0.5 - tau, 0) / total)
    degrees = 1 / share - 1
    short = (total < LONG * tau) | (degrees < FEW)
    return IntegratedTime(tau, error, window, np.sqrt(of_mean), degrees, np.asarray(short))
