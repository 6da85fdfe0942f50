"""Where pictures are drawn, and how: one way to matplotlib, one set of colours and lines."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import shortened

__all__ = [
    "COLOURS",
    "CONFIDENCE",
    "LINES",
    "PARTS",
    "REGIMES",
    "axes_for",
    "draw_measured",
    "legend_above",
    "new_figure",
    "only_decades",
    "row_of_axes",
]

# Okabe and Ito's colours, which the colour-blind tell apart, the darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Lines differ in their dashes, too, for prints in black and white.
_DASHES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (8, 2)),
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (2, 1)),
)
LINES = tuple(
    {"color": colour, "linestyle": dashes} for colour, dashes in zip(COLOURS, _DASHES, strict=True)
)
# Of a displacement.
PARTS = {
    "total": {"color": COLOURS[6], "linestyle": "-"},
    "drift": {"color": COLOURS[1], "linestyle": "--"},
    "relaxation": {"color": COLOURS[0], "linestyle": ":"},
    "noise": {"color": COLOURS[2], "linestyle": "-."},
}
# Face and hatching of the regimes of damping.
REGIMES = {
    "overdamped": (COLOURS[5], ""),
    "critical": (COLOURS[4], "xx"),
    "underdamped": (COLOURS[3], "//"),
    "alternating": (COLOURS[2], "\\\\"),
}
CONFIDENCE = 0.95


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "pictures are drawn by matplotlib, which is not installed. Run pip install "
            "'sgdtheory[plot]'."
        ) from None
    return plt


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> Any:
    """Axes of a new figure, an array of them where there are several.

    Args:
        width: of the figure, in inches.
        height: likewise.
        columns: of axes.
        rows: likewise.

    Raises:
        ImportError: when matplotlib is not installed, with the command that installs it.
    """
    return _pyplot().subplots(rows, columns, figsize=(width, height), layout="constrained")[1]


def axes_for(ax: Any = None, width: float = 5.0, height: float = 3.4) -> Any:
    """The Axes that were given, or those of a new figure.

    Args:
        ax: matplotlib Axes, or None.
        width: of a new figure, in inches.
        height: likewise.

    Raises:
        ImportError: when matplotlib is not installed, with the command that installs it.
        ValueError: for what is no Axes.
    """
    if ax is None:
        return new_figure(width, height)
    if not isinstance(ax, _pyplot().Axes):
        raise ValueError(f"ax = {shortened(ax)}: give one matplotlib Axes, or None.")  # noqa: TRY004
    return ax


def row_of_axes(axes: Any, count: int, width: float = 3.0, height: float = 3.0) -> Any:
    """As many Axes as asked for, in an array of one row: those that were given, or new ones.

    Args:
        axes: matplotlib Axes, or None.
        count: how many.
        width: of each new one, in inches.
        height: likewise.

    Raises:
        ImportError: when matplotlib is not installed.
        ValueError: for another number of Axes, or what are none.
    """
    if axes is None:
        axes = new_figure(width * count, height, count)
    given = np.ravel(np.asarray(axes, dtype=object))
    if len(given) != count or not all(isinstance(one, _pyplot().Axes) for one in given):
        raise ValueError(f"axes = {shortened(axes)}: give {count} matplotlib Axes, or None.")
    return given


def legend_above(axes: Any, columns: int = 2, title: str | None = None) -> None:
    """A legend above the axes, where it hides nothing.

    Args:
        axes: that have something to name.
        columns: of the legend.
        title: above it.
    """
    axes.legend(
        fontsize="small",
        frameon=False,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        title=title,
        title_fontsize="small",
    )


def only_decades(axes: Any) -> None:
    """No labels between the decades of a logarithmic y axis, where two decades are labelled."""
    low, high = np.log10(axes.get_ylim())
    if np.floor(high) > np.ceil(low):
        axes.tick_params(axis="y", which="minor", labelleft=False)


def draw_measured(
    axes: Any, x: NDArray[Any], y: NDArray[Any], errors: NDArray[Any] | None, label: str
) -> None:
    """Measured values as points, with bars of 95 % confidence.

    Args:
        axes: to draw in.
        x: where they were measured.
        y: the values.
        errors: their standard errors, or None.
        label: in the legend.
    """
    quantile = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    axes.errorbar(
        x,
        y,
        None if errors is None else quantile * errors,
        fmt="o",
        color="#222222",
        # A hollow point leaves the line beneath it to be seen.
        markerfacecolor="white",
        markersize=4.5,
        capsize=2,
        linewidth=1,
        zorder=4,
        label=label if errors is None else f"{label}, {CONFIDENCE:.0%} intervals",
    )
