"""Chains as they come, checked once, and cut into blocks."""

from __future__ import annotations

import numpy as np

from validation.data import Array

__all__ = ["block_means", "checked_chains"]


def checked_chains(*series: Array) -> tuple[Array, ...]:
    """The series as arrays of floats, (chains, time, ...), of equal numbers of chains and times.

    Raises:
        ValueError: naming the series, its shape or entry, and what is wanted.
    """
    arrays = tuple(np.asarray(one, dtype=float) for one in series)
    for place, one in enumerate(arrays):
        if one.ndim < 2 or one.shape[1] < 4 or one.shape[0] < 1:
            raise ValueError(
                f"Series {place} has shape {one.shape}. Chains are (chains, time) or (chains, "
                "time, directions), with four times at least; a single chain is series[None]."
            )
        if one.shape[:2] != arrays[0].shape[:2]:
            raise ValueError(
                f"Series {place} has {one.shape[0]} chains of {one.shape[1]} times, series 0 has "
                f"{arrays[0].shape[0]} of {arrays[0].shape[1]}. Give states of the same updates."
            )
        if not np.isfinite(one).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(one))[0])
            raise ValueError(
                f"Series {place} is {one[where]} at (chain, time, ...) = {where}. A run that "
                "diverged has no stationary state: leave it out, or lower its learning rate."
            )
    return arrays


def block_means(series: Array, least: int) -> Array:
    """Means of consecutive blocks within chains, (blocks, ...): `least` blocks in all, or more.

    Times at the end of a chain that fill no block are left out.
    """
    chains, time = series.shape[:2]
    per_chain = min(-(-least // chains), time)
    length = time // per_chain
    cut = series[:, : per_chain * length]
    blocks = cut.reshape(chains * per_chain, length, *series.shape[2:])
    return np.asarray(blocks.mean(axis=1))
