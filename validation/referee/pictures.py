"""Pictures of a judgement: where theories part under each sampler, and whether errors are honest.

Every theory has its own color and marker, so that the pictures also read in black and white.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from scipy import stats

from validation.referee.judgement import Judgement
from validation.referee.table import Row
from validation.referee.theories import THEORIES

__all__ = ["PICTURES", "picture"]

PICTURES = {
    "flat_directions": "Variance of the flattest direction, measured over predicted, against its "
    "relaxation time, in passes through the data. A theory that holds stays on the line; each "
    "point is one setting.",
    "deviations": "Deviations of all rows from the theories made for each sampler, against those "
    "of chance alone. On the diagonal, standard errors are what they say.",
}
_COLORS = ("#999999", "#e69f00", "#cc79a7", "#0072b2", "#56b4e9", "#009e73", "#d55e00")
_MARKERS = ("x", "s", "v", "o", "+", "^", "D")
_STYLE = {
    theory.name: {"color": color, "marker": marker}
    for theory, color, marker in zip(THEORIES, _COLORS, _MARKERS, strict=True)
}


def picture(name: str, judgement: Judgement) -> Figure | None:
    """One of PICTURES; None where no row belongs into it."""
    draw, belongs = _DRAWN[name]
    shown: dict[tuple[str, str], list[Row]] = {}
    for row in filter(belongs, judgement.rows):
        shown.setdefault((row.subject, row.sampler), []).append(row)
    if not shown:
        return None
    subjects, samplers = (list(dict.fromkeys(part)) for part in zip(*shown, strict=True))
    size = 3.6 * len(samplers), 3.4 * len(subjects)
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    grid = figure.subplots(len(subjects), len(samplers), squeeze=False)
    for subject, axes in zip(subjects, grid, strict=True):
        for sampler, axis in zip(samplers, axes, strict=True):
            rows = shown.get((subject, sampler), [])
            axis.set_visible(bool(rows))
            axis.grid(visible=True, alpha=0.25, linewidth=0.6)
            axis.set_title(f"{subject}\n{sampler}", fontsize=9)
            if rows:
                draw(axis, sampler, rows)
    named = [axis.get_legend_handles_labels() for axis in grid.flat]
    keys = {
        label: handle
        for handles, labels in named
        for handle, label in zip(handles, labels, strict=True)
    }
    columns = 2 * len(samplers) + 1
    figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=columns, fontsize=8)
    return figure


def _flat_directions(axis: Any, sampler: str, rows: Sequence[Row]) -> None:
    times = [row.relaxation_epochs for row in rows]
    for name, style in _STYLE.items():
        axis.scatter(
            times,
            [row.measured / row.predicted[name] for row in rows],
            s=14,
            linewidths=0.8,
            label=name,
            **style,
        )
    axis.axhline(1, color="#222222", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlim=(min(times) / 2, 2 * max(times)))
    # Few labels, and one at least: those of all minor ticks would overlap.
    subs = (1, 2, 5) if max(times) < 10 * min(times) else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=subs))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel="relaxation time (epochs)", ylabel="measured / predicted")


def _deviations(axis: Any, sampler: str, rows: Sequence[Row]) -> None:
    for theory in THEORIES:
        if sampler not in theory.samplings or theory.name in ("paper", "overdamped"):
            continue
        z = np.sort([row.z[theory.name] for row in rows if not np.isnan(row.z[theory.name])])
        chance = stats.norm.ppf((np.arange(len(z)) + 0.5) / len(z))
        color = _STYLE[theory.name]["color"]
        axis.plot(chance, np.clip(z, -8, 8), ".", ms=3, color=color, label=theory.name)
    axis.plot([-4, 4], [-4, 4], color="#222222", linewidth=0.8)
    axis.set(ylim=(-8.5, 8.5), xlabel="z of chance alone", ylabel="z (cut at ±8)")


_DRAWN: dict[str, tuple[Callable[[Any, str, Sequence[Row]], None], Callable[[Row], bool]]] = {
    "flat_directions": (_flat_directions, lambda row: bool(np.isfinite(row.relaxation_epochs))),
    "deviations": (_deviations, lambda row: row.observable != "stability limit"),
}
