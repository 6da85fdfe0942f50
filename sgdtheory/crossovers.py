r"""Where the growth of a displacement changes its law: named update counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sgdtheory.named_results import NamedResults
from sgdtheory.notebook_display import ShownAsTable

__all__ = ["Crossovers", "first_update"]

# Epochs are counted in floating point too, so the last octaves are left alone.
_LARGEST = 2.0**50


@dataclass(frozen=True, eq=False)
class Crossovers(ShownAsTable, NamedResults):
    """Update counts at which the growth of E|Δ_k|² changes; for a sweep, arrays of them.

    Args:
        velocity_memory: steps shorter than this are ballistic (exponent 2), longer ones diffuse;
            the integrated autocorrelation time of a flat direction's steps.
        relaxation: per mode, (modes,): later, this direction has stopped contributing growth. The
            smallest are those of the spectrum's outliers.
        epoch: updates per epoch, after which what a batch gave is taken back; None for batches with
            replacement.
        start_overtakes: the first update, once the velocity has forgotten, from which most of the
            displacement is what the start determined, drift and relaxation; ∞ if never, and for a
            stationary start, whose share tends to one half.
        saturation: 1 − 1/e of the final displacement is reached; ∞ where there is none, as in the
            cycle of one order for ever.

    The last two are found to the octave that shows them first: a bump between two octaves is not
    seen.
    """

    _FURTHER: ClassVar[Mapping[str, tuple[str, ...]]] = {"relaxation_steps": ("mode",)}

    velocity_memory: Any
    relaxation: Any
    epoch: Any
    start_overtakes: Any
    saturation: Any

    def _named_values(self) -> dict[str, Any]:
        # In a data set "relaxation" is a part of the displacement.
        values = super()._named_values()
        return {"relaxation_steps": values.pop("relaxation"), **values}


def first_update(reached: Callable[[int], bool], first: int = 1) -> float:
    """The first update count at which something is reached, to the octave that shows it first.

    `first` and its doubles are tried in turn; between the last before and the first after, by
    bisection.

    Args:
        reached: whether it is, at an update count.
        first: the smallest count that is tried, ≥ 1.

    Returns:
        The count, or ∞ if 2⁵⁰ updates do not reach it.

    >>> first_update(lambda k: k >= 1000)
    1000.0
    >>> first_update(lambda k: False)
    inf
    """
    lower, upper = first - 1, first
    while not reached(upper):
        lower, upper = upper, 2 * upper
        if upper > _LARGEST:
            return float("inf")
    while upper - lower > 1 and lower >= first:
        middle = (lower + upper) // 2
        if reached(middle):
            upper = middle
        else:
            lower = middle
    return float(upper)
