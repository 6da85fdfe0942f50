"""Pictures that a command writes to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgdtheory.plotting import COLOURS, axes_for

__all__ = ["draw_columns", "save_picture"]

_STYLES = ("-", "--", "-.", ":", "-")
_AXES = {"step": "updates k", "eigenvalue": "eigenvalue ρ"}


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
    draw().savefig(path, dpi=150)


def draw_columns(columns: Mapping[str, Sequence[Any]]) -> Any:
    """Positive numbers against steps or eigenvalues, in doubly logarithmic axes.

    An exponent has axes of its own below.

    Args:
        columns: of `predict`, the first of them the horizontal axis.

    Returns:
        The matplotlib Figure.

    Raises:
        ValueError: for a line a step and direction, which is no curve.
    """
    if {"step", "eigenvalue"} <= set(columns):
        raise ValueError(
            "--plot: a line a step and direction is no curve. Plot displacement, parts or "
            "variances, or draw from --format csv."
        )
    horizontal = next(iter(columns))
    figure = axes_for().figure
    figure.clear()
    rows = 2 if "exponent" in columns else 1
    figure.set_size_inches(6, 3.5 * rows)
    panels = np.atleast_1d(figure.subplots(rows, 1, sharex=True))
    x = np.asarray(columns[horizontal])
    order = np.argsort(x)
    names = [name for name in columns if name not in (horizontal, "count", "exponent", "regime")]
    for name, style, colour in zip(names, _STYLES, COLOURS, strict=False):
        y = np.asarray(columns[name], dtype=float)
        shown = np.where(np.isfinite(y) & (y > 0), y, np.nan)
        marker = "." if horizontal == "eigenvalue" else ""
        panels[0].plot(
            x[order], shown[order], style, marker=marker, color=colour, label=words(name)
        )
    panels[0].set(xscale="log", yscale="log")
    panels[0].legend(fontsize="small")
    if rows == 2:
        panels[1].plot(x[order], np.asarray(columns["exponent"])[order], color=COLOURS[6])
        panels[1].axhline(1, color="0.6", linewidth=0.8)
        panels[1].set(ylabel="local exponent")
    panels[-1].set(xlabel=_AXES[horizontal])
    return figure


def words(name: str) -> str:
    """A column's name as a legend has it.

    >>> words("position_variance")
    'position variance'
    """
    return name.replace("_", " ")
