"""Displacement curves as they were measured: what is refused before anything is fitted to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import real

__all__ = ["check_positive", "checked_curves", "checked_steps"]

Array = NDArray[np.float64]


def checked_steps(steps: Any) -> Array:
    """Update counts ≥ 1 in ascending order, (T,).

    Args:
        steps: as given.

    Raises:
        ValueError: naming what is wrong.
    """
    counts = real(steps)
    if counts.ndim != 1 or len(counts) < 4:
        raise ValueError(
            f"steps has shape {counts.shape}: give at least 4 update counts, on one axis."
        )
    if not (np.all(np.isfinite(counts)) and counts[0] >= 1 and np.all(np.diff(counts) > 0)):
        raise ValueError(f"steps = {counts}: give finite update counts ≥ 1 in ascending order.")
    return counts


def checked_curves(displacement: Any, steps: Any) -> Array:
    """Squared distances of every run, (R, T).

    Args:
        displacement: as given, (T,) or (R, T).
        steps: at which they were measured, (T,).

    Raises:
        ValueError: naming what is wrong.
    """
    curves = np.atleast_2d(real(displacement))
    if curves.ndim != 2 or curves.shape[1] != len(steps):
        raise ValueError(
            f"displacement has shape {np.shape(displacement)} for {len(steps)} steps: give "
            f"({len(steps)},) for one run or (replicas, {len(steps)})."
        )
    if not np.all(np.isfinite(curves) & (curves >= 0)):
        raise ValueError("displacement: squared distances must be finite and ≥ 0.")
    return curves


def check_positive(curve: Array, steps: Array) -> None:
    """Refuse a curve whose logarithm is not finite.

    Args:
        curve: (T,).
        steps: (T,).

    Raises:
        ValueError: naming the step.
    """
    if not np.all(curve > 0):
        raise ValueError(
            f"displacement is 0 at step {steps[int(np.argmin(curve))]:g}, so its logarithm is "
            "infinite. Leave out the steps where nothing has moved."
        )
