r"""Damping regimes and relaxation times of a mode, from the trace and determinant of its generator.

The rates are r = (a ± √(a² − 4b))/2. The small one is taken as 2b/(a + √…), which a flat direction
does not lose in rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ROUNDING", "regimes", "relaxation_time", "relaxation_updates"]

# A few roundings of a double, by which two equal rates may differ.
ROUNDING = 8 * float(np.finfo(np.float64).eps)


def regimes(trace: Any, determinant: Any, momentum: Any, *, discrete: bool) -> Any:
    """Per mode: "overdamped", "critical", "underdamped" or "alternating"; an array of names.

    Args:
        trace: of the generators, (..., modes).
        determinant: of the generators, likewise.
        momentum: a number, or an array that broadcasts; known to one rounding of 1, so that 1 − β,
            and with it the damping, is to less.
        discrete: whether the generator is that of an update.

    >>> regimes(np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 1.0]), 0.0, discrete=False)
    array(['overdamped', 'critical', 'underdamped'], dtype='<U11')
    """
    discriminant = trace**2 - 4 * determinant
    rounding = ROUNDING / (1 - momentum) * np.maximum(trace**2, abs(4 * determinant))
    names = np.where(discriminant > 0, "overdamped", "underdamped").astype("U11")
    names[abs(discriminant) <= rounding] = "critical"
    if discrete:
        # Of the map: a negative root is there if its product is negative, or its sum.
        product, total = 1 - trace + determinant, 2 - trace
        negative = (total < 0) | (product < -ROUNDING * (1 + trace))
        names[(discriminant >= -rounding) & negative] = "alternating"
    return names


def relaxation_time(trace: Any, determinant: Any) -> Any:
    """Time for the slowest rate's envelope to fall by 1/e; ∞ if it does not.

    >>> relaxation_time(np.array([1.0]), np.array([1.0]))
    array([2.])
    """
    discriminant = trace**2 - 4 * determinant
    slow, _ = _rates(trace, determinant)
    return _inverse(np.where(discriminant >= 0, slow, trace / 2))


def relaxation_updates(trace: Any, determinant: Any) -> Any:
    """Updates for the envelope of the slowest root 1 − r to fall by 1/e; ∞ if it does not.

    >>> relaxation_updates(np.array([1.5]), np.array([0.5])).round(3)
    array([1.443])
    """
    discriminant = trace**2 - 4 * determinant
    slow, fast = _rates(trace, determinant)
    with np.errstate(divide="ignore", invalid="ignore"):
        real = np.minimum(_decay(slow), _decay(fast))
        return _inverse(np.where(discriminant >= 0, real, -np.log1p(determinant - trace) / 2))


def _rates(trace: Any, determinant: Any) -> tuple[Any, Any]:
    root = np.sqrt(np.maximum(trace**2 - 4 * determinant, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 * determinant / (trace + root), (trace + root) / 2


def _decay(rate: Any) -> Any:
    """−log|1 − rate|, exact for small rates."""
    return np.where(rate < 1, -np.log1p(-np.minimum(rate, 1)), -np.log(np.abs(rate - 1)))


def _inverse(rate: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rate > 0, 1 / rate, np.inf)
