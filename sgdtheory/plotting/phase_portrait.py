r"""The portrait of a phase space: level lines of the modified loss, currents on them, and motion.

.. math:: \kappa\Phi = \tfrac12 x^T B^{-1} x, \qquad J = W x\,p
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.plotting.canvas import COLOURS, axes_for, legend_above
from sgdtheory.plotting.density_levels import LEVELS, draw_cloud, draw_levels, level_lines
from sgdtheory.plotting.measured_points import checked_points, checked_states
from sgdtheory.plotting.planes import Plane, plane_of

__all__ = ["plot_phase_portrait"]

_SHADES = ("#c6dbef", "#deebf7", "#f0f6fc")
# Rings of arrows, in standard deviations, beside the level lines; so many arrows for each.
_RINGS, _ARROWS = (0.5, 1.25, 1.75, 2.5), 10
_LONGEST = 0.5
_EDGE = 3.5


def plot_phase_portrait(
    process: Any,
    direction: int = 0,
    trajectory: Any = None,
    cloud: Any = None,
    start: Any = None,
    ax: Any = None,
) -> Any:
    r"""The stationary density of one direction's phase space, its currents, and how a mean relaxes.

    Ellipses are level lines of the modified loss, κΦ = ½, 2 and 4½: one, two and three standard
    deviations, with 39, 86 and 99 % of the states inside. Arrows are the probability current. In
    continuous time it is that of `fokker_planck`; of updates it is p(x) times the mean of
    (x_{k+1} − x_{k−1})/2η at x. Under epochs covariances are averages over the phase, and p is the
    Gaussian that has them.

    Args:
        process: a `Predictor`, of either theory; or an `OrnsteinUhlenbeck` of two coordinates and
            without symbols.
        direction: number of the predictor's eigenvalue.
        trajectory: measured (θ − μ, v) of one run, (steps, 2), or of some, (runs, steps, 2).
        cloud: measured states without an order, (…, 2).
        start: (θ − μ, v) from which the mean relaxes; by default at rest, three standard
            deviations out.
        ax: matplotlib Axes to draw in, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: naming what does not fit; for a direction without noise.
        UnstableError: for a direction without stationary state.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
    >>> model = Predictor(Hyperparameters(0.1, momentum=0.9), Spectrum([1.0]))
    >>> axes = plot_phase_portrait(model, ax=Figure().subplots())
    >>> ellipse = axes.lines[0].get_xydata()
    >>> quotient = ellipse[:, 0].max() / model.stationary_covariance()[0, 0, 0] ** 0.5
    >>> round(float(quotient), 3)
    1.0
    """
    plane = plane_of(process, direction)
    path = None if trajectory is None else checked_states("trajectory", trajectory, 2)
    points = None if cloud is None else checked_states("cloud", cloud, 2)
    spread = np.sqrt(np.diag(plane.covariance))
    if start is None:
        begun = np.array([LEVELS[-1] * spread[0], 0.0])
    else:
        begun = checked_points("start", start, 2)
    axes = axes_for(ax, 5.0, 4.2)
    _draw_levels(axes, plane)
    if points is not None:
        draw_cloud(axes, points, "measured states", 1.5)
    _draw_currents(axes, plane)
    _draw_relaxation(axes, plane, begun)
    for number, run in enumerate(path if path is not None else []):
        axes.plot(
            *run.T,
            "-",
            color=COLOURS[2],
            marker=".",
            markersize=3,
            linewidth=0.7,
            zorder=2.5,
            label=None if number else "measured trajectory",
        )
    _set_limits(axes, spread, [begun[None], *(path if path is not None else [])])
    axes.set(xlabel=plane.names[0], ylabel=plane.names[1])
    legend_above(axes)
    return axes


def _draw_levels(axes: Any, plane: Plane) -> None:
    for line, shade in reversed(list(zip(level_lines(plane.covariance), _SHADES, strict=True))):
        axes.fill(*line.T, facecolor=shade, zorder=0.5)
    draw_levels(axes, plane.covariance)


def _draw_currents(axes: Any, plane: Plane) -> None:
    """Arrows in the coordinates of the axes, the longest as long as the rings' distance allows."""
    angles = [np.arange(n) * 2 * np.pi / n for n in (round(_ARROWS * r) for r in _RINGS)]
    circle = np.concatenate(
        [r * np.array([np.cos(a), np.sin(a)]) for r, a in zip(_RINGS, angles, strict=True)], axis=1
    )
    places = plane.root @ circle
    peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(plane.covariance)))
    current = plane.turning @ places * peak * np.exp(-(circle**2).sum(0) / 2)
    longest = np.linalg.norm(np.linalg.solve(plane.root, current), axis=0).max()
    axes.quiver(
        *places,
        *current,
        angles="xy",
        scale_units="xy",
        scale=longest / _LONGEST if longest > 0 else 1.0,
        pivot="mid",
        color="#222222",
        width=0.0045,
        zorder=2,
    )
    # A legend has no picture of a field of arrows.
    axes.plot(
        [],
        [],
        linestyle="none",
        color="#222222",
        marker=r"$\rightarrow$",
        markersize=10,
        label="probability current $J$",
    )


def _draw_relaxation(axes: Any, plane: Plane, start: NDArray[np.float64]) -> None:
    path = plane.relaxing(start)
    axes.plot(
        *path.T,
        "--",
        color=COLOURS[1],
        marker="." if plane.steps and len(path) < 200 else "",
        markersize=4,
        linewidth=1.4,
        zorder=3,
        label="mean, relaxing",
    )
    axes.plot(*start, "s", color=COLOURS[1], markersize=5, zorder=3)


def _set_limits(axes: Any, spread: NDArray[np.float64], shown: list[Any]) -> None:
    """Symmetric about the minimum, and no narrower than the density."""
    reach = 1.05 * np.max([np.abs(points).max(0) for points in shown], axis=0)
    width, height = np.maximum(reach, _EDGE * spread)
    axes.set(xlim=(-width, width), ylim=(-height, height))
