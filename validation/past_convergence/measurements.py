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

__all__ = ["Found", "along_directions", "changes", "measure", "settled_from"]

_SETTLING = 0.25


@dataclass(frozen=True)
class Found:
    """What is predicted of one record, as estimated from it.

    Args:
        local_displacement: mean of |θ_k − θ_{k−1}|² once it has settled.
        position_variance: of every direction, (k,).
        velocity_variance: likewise; and the following.
        circulation: ½⟨θ_{k+1}v_k − v_{k+1}θ_k⟩.
        friction: γ, of positions alone, as are the following.
        natural_frequency_squared: ω².
        frequency: of rotation; 0 where overdamped.
        change: of the mean |θ_k − θ_{k−1}|², last third of what has settled against its first.
        velocity_change: of the mean square velocity along all directions, likewise.
        exponent: slope of |θ_k − θ_0|² over the last factor of eight.
    """

    local_displacement: Estimate
    position_variance: Estimate
    velocity_variance: Estimate
    circulation: Estimate
    friction: Estimate
    natural_frequency_squared: Estimate
    frequency: Estimate
    change: Estimate
    velocity_change: Estimate
    exponent: float


def measure(folder: Path, identity: str, learning_rate: float) -> tuple[Found, Array]:
    """All of a record, and |θ_k − θ_0|² at `log_spaced` updates.

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
    first = settled_from(count)
    x, v = (
        np.asarray(record[name])[first:, 0][None].astype(float)
        for name in ("positions", "velocities")
    )
    late = window(count)
    found = Found(
        local_displacement=function_of_means(np.positive, local[None, first:]),
        **along_directions(x, v, learning_rate),
        **changes(local[first:], v[0]),
        exponent=slope(late, way[late - 1]),
    )
    return found, way[log_spaced(count) - 1]


def settled_from(updates: int) -> int:
    """The number of updates in which velocities and fast directions become stationary."""
    return int(updates * _SETTLING)


def along_directions(x: Array, v: Array, learning_rate: float) -> dict[str, Estimate]:
    """The moments of `Found`, by their names.

    Args:
        x: positions once they have settled, (1, time, k).
        v: velocities, likewise.
        learning_rate: η.
    """
    rates = rotation_rates(x, learning_rate)
    return {
        "position_variance": variance(x),
        "velocity_variance": variance(v),
        "circulation": circulation(x, v),
        "friction": rates.friction,
        "natural_frequency_squared": rates.natural_frequency_squared,
        "frequency": rates.frequency,
    }


def changes(local: Array, v: Array) -> dict[str, Estimate]:
    """Whether a record is stationary: both changes of `Found`, by their names.

    Args:
        local: |θ_k − θ_{k−1}|² once it has settled, (time,).
        v: velocities, (time, k).
    """
    squares = (v**2 / v.var(axis=0)).mean(axis=1)
    thirds = (0.0, 1 / 3)
    return {
        "change": relative_change(local, thirds),
        "velocity_change": relative_change(squares, thirds),
    }
