r"""The alternative to the Γ method: resample blocks of time, and look at the spread.

Blocks are as long as Politis and White's rule makes them for the linearized series.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from arch.bootstrap import CircularBlockBootstrap, StationaryBootstrap, optimal_block_length

from validation.data import Array
from validation.estimators.chains import checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import linearized

__all__ = ["bootstrap_of_means"]

Scheme = Literal["stationary", "circular"]
_SCHEMES = {"stationary": StationaryBootstrap, "circular": CircularBlockBootstrap}
_COLUMNS = {"stationary": "stationary", "circular": "circular"}
# Squares of the kernel that a block of b times amounts to, summed over lags: ν = N b⁻¹ times this.
_DEGREES = {"stationary": 1.0, "circular": 1.5}


def bootstrap_of_means(
    function: Callable[..., Array],
    *series: Array,
    scheme: Scheme = "stationary",
    resamples: int = 400,
    seed: int = 0,
) -> Estimate:
    """A function of the series' means, as `function_of_means`, by the block bootstrap.

    Bias: the mean of the resamples shows that of order 1/N, which is taken off. Errors are too
    small by some τ/b of their square, where a block of b times cuts through the memory τ. Chains
    are laid end to end, so that a few blocks join two of them.

    Args:
        function: of the means, entry by entry.
        series: (chains, time, ...) each; trailing axes broadcast. All entries share one length of
            block, the longest that any of them asks for.
        scheme: blocks of geometric ("stationary") or of equal lengths ("circular").
        resamples: how many; the error of the error is 1/√(2 · resamples).
        seed: of the resampling.
    """
    series = checked_chains(*series)
    total = series[0].shape[0] * series[0].shape[1]
    laid = [one.reshape(total, *one.shape[2:]) for one in series]
    linear = linearized(function, *series)
    lengths = optimal_block_length(linear.reshape(total, -1))[_COLUMNS[scheme]].to_numpy()
    length = int(np.clip(np.ceil(np.nanmax(lengths)), 1, total))
    bootstrap = _SCHEMES[scheme](length, *laid, seed=np.random.default_rng(seed))
    value = np.asarray(function(*(one.mean(axis=0) for one in laid)))
    found = np.stack(
        [
            function(*(one.mean(axis=0) for one in drawn))
            for drawn, _ in bootstrap.bootstrap(resamples)
        ]
    )
    bias = found.mean(axis=0) - value
    degrees = np.full(value.shape, _DEGREES[scheme] * total / length)
    return Estimate(value - bias, found.std(axis=0, ddof=1), len(series[0]), degrees, bias)
