r"""How far the parameters have gone: E|Δ_k|², and the local exponent of its growth."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like, logarithm

__all__ = ["local_exponent", "squared_distance"]

# Relative growth below which a logarithm is taken of the growth and not of the ratio.
_SLIGHT = 0.1


def squared_distance(drift: Any, variance: Any) -> Any:
    """E|θ_k − θ_0|² per mode from a fixed start: drift squared and variance."""
    return drift**2 + variance


def local_exponent(before: Any, after: Any, relative: Any, steps: Any) -> Any:
    r"""d log E|Δ|² / d log k at `steps`, over [k − 1, k + 1], and over [1, 2] at k = 1.

    Args:
        before: E|Δ|² at the interval's lower end.
        after: at its upper end.
        relative: growth from k − 1 to k + 1, by an expression that is no difference, in units of
            what it began with.
        steps: NumPy array of update counts k ≥ 1.

    Raises:
        ValueError: naming the steps where nothing has moved.

    >>> before, after, steps = np.array([81.0]), np.array([121.0]), np.array([10.0])
    >>> local_exponent(before, after, after / before - 1, steps).round(3)
    array([2.])
    """
    still = ~((detached(before) > 0) & (detached(after) > 0))
    if np.any(still):
        raise ValueError(
            f"steps = {np.unique(np.broadcast_to(steps, still.shape)[still])}: the displacement is "
            "0 there or one update beside, so its logarithm has no slope. Leave these steps out, "
            "or give the run noise."
        )
    # A ratio keeps its digits unless it is near 1, and at k = 1 the interval has another end.
    slight = like(steps, before) > 1
    slight = slight & (relative > -_SLIGHT) & (relative < _SLIGHT)
    library = _library(before)
    # Each branch stays finite where the other is taken: an infinite slope would spoil a gradient.
    grown = library.where(
        slight, library.log1p(relative.clip(-_SLIGHT, _SLIGHT)), logarithm(after / before)
    )
    lower = np.maximum(steps - 1, 1)
    return grown / like(np.log1p((steps + 1 - lower) / lower), after)


def _library(value: Any) -> Any:
    return sys.modules["torch"] if backend_of([value]) == "torch" else np
