"""Pictures that a command writes to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw_columns", "save_picture"]

# By table: the horizontal axis, its label, the curves, and what they are.
_CURVES = {
    "displacement": ("step", "updates k", ("displacement",), "displacement E|Δ|²"),
    "parts": (
        "step",
        "updates k",
        ("displacement", "drift", "relaxation", "noise"),
        "displacement E|Δ|²",
    ),
    "variances": (
        "eigenvalue",
        "eigenvalue ρ",
        ("position_variance", "velocity_variance"),
        "stationary variance",
    ),
}


def save_picture(draw: Callable[[], Any], path: Path) -> None:
    """Write a figure in the format that the file's name ends in.

    Args:
        draw: makes the matplotlib Figure.
        path: of the file.

    Raises:
        OSError: for a file that cannot be written.
        ValueError: for a format that matplotlib does not write.
    """
    # A picture in a file needs no display.
    os.environ.setdefault("MPLBACKEND", "Agg")
    figure = draw()
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(
            f"--plot {path}: there are no pictures that end in {path.suffix or 'nothing'!r}. Give "
            f"one of .{', .'.join(formats)}."
        )
    figure.savefig(path, dpi=150)


def draw_columns(of: str, columns: Mapping[str, Sequence[Any]]) -> Any:
    """Positive numbers of a table in doubly logarithmic axes; an exponent in axes of its own below.

    Args:
        of: the table, as of `predict`.
        columns: by name.

    Returns:
        The matplotlib Figure.

    Raises:
        ValueError: for a table that is no curve.
        ImportError: without matplotlib.
    """
    if of not in _CURVES:
        raise ValueError(
            f"--plot: {of} is no curve over updates or eigenvalues. Plot {', '.join(_CURVES)}, or "
            "draw from --format csv."
        )
    # Loaded where one is drawn: help and tables need no picture.
    from sgdtheory.plotting.canvas import LINES, new_figure

    horizontal, below, names, beside = _CURVES[of]
    rows = 2 if "exponent" in columns else 1
    panels = np.ravel(new_figure(6, 3.5 * rows, rows=rows))
    x = np.asarray(columns[horizontal])
    order = np.argsort(x, kind="stable")
    for name, line in zip(names, LINES, strict=False):
        y = np.asarray(columns[name], dtype=np.float64)[order]
        if np.any(y > 0):
            shown = np.where(y > 0, y, np.nan)
            panels[0].plot(x[order], shown, **line, label=name.replace("_", " "))
    panels[0].set(xscale="log", yscale="log", ylabel=beside)
    if len(names) > 1:
        panels[0].legend(fontsize="small")
    if rows == 2:
        panels[1].plot(x[order], np.asarray(columns["exponent"])[order], **LINES[0])
        panels[1].axhline(1, color="0.6", linewidth=0.8)
        panels[1].set(xscale="log", ylabel="local exponent")
    panels[-1].set(xlabel=below)
    return panels[0].figure
