"""Update counts as a user types them: a list, or a geometric range."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_steps"]

_LARGEST = 2**53
_MOST = 100_000


def read_steps(text: str) -> NDArray[np.int64]:
    """Whole numbers from ``1,10,100`` or ``start:stop:count``.

    Args:
        text: a list with commas, or the first and last count and how many in geometric progression
            between them, where neighbours that round to one number count once.

    Raises:
        ValueError: naming what is no count.

    >>> read_steps("1:1000:4"), read_steps("0,7,1e3")
    (array([   1,   10,  100, 1000]), array([   0,    7, 1000]))
    """
    parts = text.split(":")
    if len(parts) == 1:
        return np.array([_count(text, part) for part in text.split(",")], dtype=np.int64)
    if len(parts) != 3:
        _refuse(text, f"it has {len(parts)} parts between colons instead of 3")
    start, stop, number = (_count(text, part) for part in parts)
    if not 1 <= start < stop:
        _refuse(text, "a geometric progression begins at 1 or above and ends later")
    if not 2 <= number <= _MOST:
        _refuse(text, f"their number lies between 2 and {_MOST}")
    return np.unique(np.rint(np.geomspace(start, stop, number)).astype(np.int64))


def _count(text: str, part: str) -> int:
    try:
        value = float(part)
    except ValueError:
        _refuse(text, f"{part.strip()!r} is no number")
    if not 0 <= value <= _LARGEST or value != int(value):
        _refuse(text, f"{part.strip()} is no whole number from 0 to 2⁵³")
    return int(value)


def _refuse(text: str, reason: str) -> NoReturn:
    raise ValueError(
        f"--steps {text}: {reason}. Give update counts as 1,10,100, or as start:stop:count."
    )
