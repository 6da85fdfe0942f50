"""What a record says: each quantity that was predicted, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from validation.data import Array
from validation.estimators import (
    Estimate,
    circulation,
    function_of_means,
    rotation_rates,
    variance,
)
from validation.past_convergence.predictions import log_spaced, slope, window
from validation.preparation import relative_change
from validation.record_store import open_record

__all__ = ["Measured", "measure"]

# The share of a record in which velocities and fast directions become stationary.
_SETTLING = 0.25


@dataclass(frozen=True)
class Measured:
    """Of one record.

    Args:
        local_displacement: mean of |θ_k − θ_{k−1}|² once it has settled.
        position_variance: of every direction, (k,).
        velocity_variance: likewise; and the following.
        circulation: ½⟨θ_{k+1}v_k − v_{k+1}θ_k⟩.
        friction: γ, of positions alone, as are the following.
        natural_frequency_squared: ω².
        frequency: of rotation; 0 where overdamped.
        displacement: |θ_k − θ_0|² at `log_spaced` updates.
        exponent: its slope over the last factor of eight.
        change: of the mean |θ_k − θ_{k−1}|², last third of what has settled against its first.
        velocity_change: of the mean square velocity along all directions, likewise.
    """

    local_displacement: Estimate
    position_variance: Estimate
    velocity_variance: Estimate
    circulation: Estimate
    friction: Estimate
    natural_frequency_squared: Estimate
    frequency: Estimate
    displacement: Array
    exponent: float
    change: Estimate
    velocity_change: Estimate


def measure(folder: Path, identity: str, learning_rate: float) -> Measured:
    """All of a record.

    Args:
        folder: of the run.
        identity: of its experiment.
        learning_rate: η.
    """
    record = open_record(folder / "record.zarr", identity)
    local, way = (
        np.asarray(record[name])[:, 0] for name in ("local_displacement", "global_displacement")
    )
    count = len(local)
    first = int(count * _SETTLING)
    x, v = (
        np.asarray(record[name])[first:, 0][None].astype(float)
        for name in ("positions", "velocities")
    )
    rates = rotation_rates(x, learning_rate)
    late = window(count)
    squares = (v[0] ** 2 / v[0].var(axis=0)).mean(axis=1)
    return Measured(
        function_of_means(np.positive, local[None, first:]),
        variance(x),
        variance(v),
        circulation(x, v),
        rates.friction,
        rates.natural_frequency_squared,
        rates.frequency,
        way[log_spaced(count) - 1],
        slope(late, way[late - 1]),
        relative_change(local[first:], (0.0, 1 / 3)),
        relative_change(squares, (0.0, 1 / 3)),
    )
