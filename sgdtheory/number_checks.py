"""Numbers that a user gives, one or an array: finite, inside limits, and named where they fail."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, is_named, shortened

__all__ = ["FARTHEST", "check_number", "check_numbers"]

FARTHEST = 1e150
"""Of a place: beyond it a square, and with it a displacement or a picture, is no double."""


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    below: float = np.inf,
) -> None:
    """Refuse what is not one finite number inside the limits, by name.

    Args:
        name: of the argument, for the message.
        value: what was given.
        above: it must be larger.
        at_least: it must not be smaller.
        below: it must be smaller.

    Raises:
        ValueError: naming the argument, its value and the limits.
    """
    limits = ["finite"] + [
        text
        for text, used in (
            (f"> {above:g}", above > -np.inf),
            (f"≥ {at_least:g}", at_least > -np.inf),
            (f"< {below:g}", below < np.inf),
        )
        if used
    ]
    try:
        number = float("nan" if isinstance(value, str) or np.ndim(value) else detached(value))
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not _inside(number, above, at_least, below):
        raise ValueError(f"{name} = {value!r}: it must be one number, {' and '.join(limits)}.")


def _inside(numbers: Any, above: float, at_least: float, below: float) -> Any:
    return np.isfinite(numbers) & (numbers > above) & (numbers >= at_least) & (numbers < below)


def check_numbers(
    name: str,
    value: Any,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    below: float = np.inf,
) -> None:
    """The same for a number or each element of an array, which the message names.

    Args:
        name: of the argument, for the message.
        value: what was given.
        above: each must be larger.
        at_least: none must be smaller.
        below: each must be smaller.

    Raises:
        ValueError: naming the argument or the element, its value and the limits.

    >>> check_numbers("learning_rate", np.array([0.1, -0.1]), above=0.0)
    Traceback (most recent call last):
    ...
    ValueError: learning_rate[1] = -0.1: it must be one number, finite and > 0.
    """
    if isinstance(value, list | tuple):
        raise ValueError(  # noqa: TRY004
            f"{name} = {shortened(value)}: it must be one number, or for a sweep an array of them. "
            "Pass numpy.array(...)."
        )
    array = is_named(value) or isinstance(value, np.ndarray) or backend_of([value]) == "torch"
    if not array or value.ndim == 0:
        check_number(name, value, above=above, at_least=at_least, below=below)
        return
    numbers = detached(value)
    if numbers.dtype.kind not in "iuf" or numbers.size == 0:
        raise ValueError(
            f"{name} is an array of {numbers.size} elements of type {numbers.dtype}: give one or "
            "more real numbers."
        )
    # Half precision cannot hold the limits themselves.
    outside = ~_inside(numbers.astype(np.float64), above, at_least, below)
    if np.any(outside):
        where = np.argwhere(outside)[0]
        element = f"{name}[{', '.join(map(str, where))}]"
        number = float(numbers[tuple(where)])
        check_number(element, number, above=above, at_least=at_least, below=below)
