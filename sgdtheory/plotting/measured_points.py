"""What was measured, checked before it is drawn: finite numbers, and their standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import real, shortened
from sgdtheory.number_checks import FARTHEST

__all__ = ["checked_errors", "checked_points", "checked_states"]


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    try:
        numbers = real(value)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if numbers.size == 0 or not np.all(np.abs(numbers) < FARTHEST):
        raise ValueError(
            f"{name} = {shortened(value)}: give real numbers, at least one, each finite and less "
            f"than {FARTHEST:g} in size."
        )
    return numbers


def checked_points(name: str, value: Any, size: int | None = None) -> NDArray[np.float64]:
    """Finite numbers on one axis, of any kind of array.

    Args:
        name: of the argument, for the message.
        value: what was given.
        size: how many there must be; None for any number.

    Raises:
        ValueError: naming the argument.

    >>> checked_points("measured", [1, 2], 2)
    array([1., 2.])
    """
    numbers = np.atleast_1d(_numbers(name, value))
    if numbers.ndim != 1 or size not in (None, len(numbers)):
        shape = "one axis" if size is None else f"shape ({size},), one number for each place"
        raise ValueError(f"{name} has shape {numbers.shape}: it must have {shape}.")
    return numbers


def checked_errors(errors: Any, measured: NDArray[np.float64] | None) -> Any:
    """Standard errors that belong to measured values; None without.

    Args:
        errors: what was given.
        measured: the values, or None.

    Raises:
        ValueError: for negative ones, or errors of nothing.
    """
    if errors is None:
        return None
    if measured is None:
        raise ValueError(
            f"errors = {shortened(errors)} without measured values: give measured= as well."
        )
    numbers = checked_points("errors", errors, len(measured))
    if np.any(numbers < 0):
        raise ValueError(f"errors has {numbers.min():g}: a standard error must be ≥ 0.")
    return numbers


def checked_states(name: str, value: Any, columns: int) -> NDArray[np.float64]:
    """Points of a space of so many coordinates, (..., points, columns), as (runs, points, columns).

    Args:
        name: of the argument, for the message.
        value: what was given.
        columns: coordinates of a point.

    Raises:
        ValueError: for another shape.

    >>> checked_states("trajectory", [[0.0, 1.0], [2.0, 3.0]], 2).shape
    (1, 2, 2)
    """
    numbers = _numbers(name, value)
    if numbers.ndim < 2 or numbers.shape[-1] != columns:
        raise ValueError(
            f"{name} has shape {numbers.shape}: its last axis must hold the {columns} coordinates "
            f"of a point, (..., points, {columns})."
        )
    return numbers.reshape(-1, *numbers.shape[-2:])
