r"""How far the parameters have gone: E|Δ_k|², and the local exponent of its growth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sgdtheory.arrays import detached, like, logarithm

__all__ = ["local_exponent", "squared_distance"]


def squared_distance(drift: Any, variance: Any) -> Any:
    """E|θ_k − θ_0|² per mode from a fixed start: drift squared and variance."""
    return drift**2 + variance


def local_exponent(displacement: Callable[[Any], Any], steps: Any) -> Any:
    r"""d log E|Δ|² / d log k at `steps`, over [k − 1, k + 1], and over [1, 2] at k = 1.

    Args:
        displacement: maps update counts to E|Δ_k|².
        steps: NumPy array of update counts ≥ 1.

    Raises:
        ValueError: naming the steps where nothing has moved.

    >>> local_exponent(lambda k: k**1.5, np.array([10.0])).round(3)
    array([1.5])
    """
    lower, upper = np.maximum(steps - 1, 1), steps + 1
    before, after = displacement(lower), displacement(upper)
    still = ~((detached(before) > 0) & (detached(after) > 0))
    if np.any(still):
        raise ValueError(
            f"steps = {np.ravel(steps)[np.ravel(still)]}: the displacement is 0 there or one "
            "update beside, so its logarithm has no slope. Leave these steps out, or give the run "
            "noise."
        )
    return logarithm(after / before) / like(np.log(upper / lower), after)
