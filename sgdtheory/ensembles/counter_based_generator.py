r"""Random numbers as a pure function of where they are used: Philox4x32-10.

Every draw is numbered. Its 128-bit counter holds that number, the replica and the purpose, and the
seed is the key, so a draw depends neither on what was drawn before nor on who draws it: any number
of threads, any division of the replicas and any interruption give the same numbers.

The functions are written for integers of 64 bits whose product wraps around, and masked where that
shows: one text for Python's integers, NumPy and torch arrays and compiled scalars.
"""

from __future__ import annotations

from operator import index
from typing import Any

__all__ = [
    "BATCHES",
    "LABELS",
    "MASK",
    "ORDERS",
    "STREAMS",
    "UNIT",
    "key_of",
    "long_words",
    "philox",
]

MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)

# What a draw is for, the low part of the counter's last word; the rest of it counts attempts.
BATCHES, ORDERS, LABELS, STREAMS = 0, 1, 2, 4
# A double holds 53 bits.
UNIT = 2.0**-53


def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Four random words of 32 bits for one counter and one key.

    Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Args:
        c0: the counter, four words of 32 bits, each an integer of at least 64 bits or an array.
        c1: its second word.
        c2: its third.
        c3: its fourth.
        k0: the key, two words.
        k1: its second.

    >>> [hex(word) for word in philox(0, 0, 0, 0, 0, 0)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    for _ in range(10):
        p0 = c0 * _MULTIPLIERS[0]
        p1 = c2 * _MULTIPLIERS[1]
        c0 = ((p1 >> 32) & MASK) ^ c1 ^ k0
        c2 = ((p0 >> 32) & MASK) ^ c3 ^ k1
        c1 = p1 & MASK
        c3 = p0 & MASK
        k0 = (k0 + _WEYL[0]) & MASK
        k1 = (k1 + _WEYL[1]) & MASK
    return c0, c1, c2, c3


def long_words(w0: Any, w1: Any, w2: Any, w3: Any) -> tuple[Any, Any]:
    """Two whole numbers from 1 to 2⁵³, from four words; times `UNIT` they are uniform in (0, 1].

    >>> long_words(0, 0, 2**32 - 1, 2**32 - 1)
    (1, 9007199254740992)
    """
    first = (w0 >> 5) * 2**26 + (w1 >> 6) + 1
    second = (w2 >> 5) * 2**26 + (w3 >> 6) + 1
    return first, second


def key_of(seed: int) -> tuple[int, int]:
    """The two words of a seed.

    Args:
        seed: 0 ≤ seed < 2⁶⁴.

    Raises:
        ValueError: for anything else.

    >>> key_of(2**32 + 7)
    (7, 1)
    """
    # NumPy's integers count as whole numbers; truth values do not.
    whole = not isinstance(seed, bool) and hasattr(seed, "__index__")
    if not whole or not 0 <= (number := index(seed)) < 2**64:
        raise ValueError(f"seed = {seed!r}: give a whole number from 0 to 2⁶⁴ − 1.")
    return number & MASK, number >> 32
