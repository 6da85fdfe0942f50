r"""A Gaussian density in a plane, outlined at one, two and three standard deviations.

These are level lines of the modified loss: κΦ = ½, 2 and 4½.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.plotting.canvas import COLOURS

__all__ = ["LEVELS", "draw_cloud", "draw_levels", "level_lines"]

LEVELS = (1, 2, 3)
_LEVELS_OF_LOSS = r"modified loss, $\kappa\Phi = \frac{1}{2},\ 2,\ \frac{9}{2}$"


def level_lines(covariance: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Ellipses of one, two and three standard deviations in a plane, (points, 2) each.

    Args:
        covariance: (2, 2).

    >>> float(level_lines(np.diag([4.0, 1.0]))[2][:, 0].max())
    6.0
    """
    root = np.linalg.cholesky(covariance)
    angle = np.linspace(0, 2 * np.pi, 361)
    unit = np.array([np.cos(angle), np.sin(angle)])
    return [np.asarray((level * root @ unit).T) for level in LEVELS]


def draw_levels(axes: Any, covariance: NDArray[Any]) -> None:
    """These ellipses as lines, each with its number of standard deviations.

    Args:
        axes: to draw in.
        covariance: (2, 2).
    """
    for level, line in zip(LEVELS, level_lines(covariance), strict=True):
        name = _LEVELS_OF_LOSS if level == LEVELS[0] else None
        axes.plot(*line.T, "-", color=COLOURS[0], linewidth=1, zorder=1, label=name)
        axes.annotate(
            f"{level}σ",
            line[np.argmin(line[:, 1])],
            xytext=(0, -2),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize="x-small",
            color=COLOURS[0],
        )


def draw_cloud(axes: Any, points: NDArray[np.float64], label: str, zorder: float) -> None:
    """Measured places of the plane as pixels: thousands of paths would make a drawing unwieldy.

    Args:
        axes: to draw in.
        points: (…, 2).
        label: in the legend.
        zorder: above what they are drawn.
    """
    axes.plot(
        *points.reshape(-1, 2).T,
        ".",
        color="0.45",
        markersize=2,
        markeredgewidth=0,
        zorder=zorder,
        label=label,
        rasterized=True,
    )
