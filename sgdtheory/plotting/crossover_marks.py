"""Where growth changes its law: dotted lines across panels, with names above them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgdtheory.arrays import detached

__all__ = ["crossover_marks", "mark_updates", "names_without_crowding"]

# Steps nearer than this factor, as names of 8 points are on an axis of some decades, share a name.
_CROWDED = 1.6


def crossover_marks(found: Any) -> dict[str, float | None]:
    """Named update counts of one setting.

    Args:
        found: `Crossovers`, or a forecast that has them.
    """
    marks = {
        "velocity forgotten": found.velocity_memory,
        "epoch": found.epoch,
        "start overtakes": found.start_overtakes,
        "63 % there": found.saturation,
    }
    return {name: at if at is None else float(detached(at)) for name, at in marks.items()}


def names_without_crowding(marks: Mapping[str, float]) -> list[tuple[float, str]]:
    """Marks of a logarithmic axis in ascending order; one name for those too near to one another.

    >>> names_without_crowding({"saturated": 1e4, "epoch": 20, "velocity forgotten": 19})
    [(19, 'velocity forgotten, epoch'), (10000.0, 'saturated')]
    """
    named: list[tuple[float, str]] = []
    for place, name in sorted((place, name) for name, place in marks.items()):
        if named and place < _CROWDED * named[-1][0]:
            named[-1] = (named[-1][0], f"{named[-1][1]}, {name}")
        else:
            named.append((place, name))
    return named


def mark_updates(panels: Sequence[Any], marks: Mapping[str, float | None]) -> None:
    """Dotted lines across panels at named update counts, with the names above the first panel.

    Args:
        panels: that share a logarithmic axis of update counts.
        marks: by name; what is None or outside the axis is left out.
    """
    first, last = panels[0].get_xlim()
    seen = {name: at for name, at in marks.items() if at and first <= at <= last}
    for at in seen.values():
        for axes in panels:
            axes.axvline(at, color="0.4", linestyle=":", linewidth=1, zorder=1)
    for at, name in names_without_crowding(seen):
        panels[0].text(
            at,
            1.02,
            name,
            rotation=25,
            rotation_mode="anchor",
            fontsize="x-small",
            color="0.25",
            transform=panels[0].get_xaxis_transform(),
        )
