"""Which setting damps how: regimes over learning rate and momentum, for one curvature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, minimum_filter
from sympy import Symbol

from sgdtheory.arrays import detached, shortened
from sgdtheory.hyperparameters import Hyperparameters, require_hyperparameters
from sgdtheory.number_checks import check_number
from sgdtheory.plotting.canvas import COLOURS, REGIMES, axes_for, legend_above
from sgdtheory.plotting.regime_grid import RegimeGrid, regime_grid, require_steps_alone
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["plot_regimes"]

Array = NDArray[np.float64]

_SHOWN = {**REGIMES, "unstable": ("#999999", "..")}
# Sizes of a written name in cells of a figure of usual size.
_LETTER, _MARGIN = 9, 8
_ALPHA = 0.3


def plot_regimes(
    rule: UpdateRule | None = None,
    curvature: float | None = None,
    hyperparameters: Hyperparameters | None = None,
    spectrum: Spectrum | None = None,
    parameters: Mapping[Symbol, float] | None = None,
    ax: Any = None,
) -> Any:
    """Regimes of one direction over the plane of learning rate and momentum.

    Overdamped, underdamped, alternating and unstable regions, each with its hatching; the line of
    critical damping is dashed, the limit of stability is a thick line. A setting is a star. The
    directions of a spectrum are ticks left of it, where this curvature would be damped as they are.

    Args:
        rule: the optimiser, heavy ball by default.
        curvature: h of the direction, 1e-100 to 1e100; by default the spectrum's largest with
            weight decay, or 1, with which the axis is ηh. Unit: loss/θ².
        hyperparameters: a setting to be marked; no sweep.
        spectrum: directions to be marked, with `hyperparameters`.
        parameters: values of the rule's further symbols.
        ax: matplotlib Axes to draw in, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: naming what does not fit.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> axes = plot_regimes(ax=Figure().subplots())
    >>> [text.get_text() for text in axes.texts]
    ['overdamped', 'underdamped', 'unstable']
    """
    rule, parameters = rule or heavy_ball(), dict(parameters or {})
    require_rule(rule)
    marks = _marked_curvatures(hyperparameters, spectrum)
    setting = hyperparameters or Hyperparameters(1.0)
    setting.require_for(rule, parameters)
    setting.sweep_with(parameters).require_one_setting("a map of regimes")
    label = r"$\eta h$, learning rate times curvature (pure number)"
    if curvature is None and marks is not None:
        curvature = float(marks.max())
    if curvature is not None:
        # Beyond, products of learning rates and curvatures leave the range of numbers.
        check_number("curvature", curvature, at_least=1e-100, below=1e100)
        label = rf"learning rate $\eta$ (unit of time), for curvature $h = {curvature:.4g}$"
    h, marked = float(curvature or 1.0), np.array([])
    if hyperparameters is not None:
        marked = np.array([float(detached(hyperparameters.learning_rate))])
    if marks is not None:
        require_steps_alone(rule)
        marked = np.append(marked, marked[0] * marks / h)
    drawn = regime_grid(rule, h, parameters, marked)
    axes = axes_for(ax, 5.6, 4.0)
    _fill(axes, drawn)
    _draw_borders(axes, drawn)
    axes.set(xscale="log", xlim=drawn.rates[[0, -1]], ylim=(0, 1))
    axes.set(xlabel=label, ylabel=r"momentum $\beta$ (pure number)")
    if hyperparameters is not None:
        _mark(axes, hyperparameters, marked)
    legend_above(axes, title=f"{rule.name} rule")
    return axes


def _marked_curvatures(hyperparameters: Any, spectrum: Any) -> Array | None:
    if hyperparameters is not None:
        require_hyperparameters(hyperparameters)
    if spectrum is None:
        return None
    if not isinstance(spectrum, Spectrum):
        raise ValueError(  # noqa: TRY004
            f"spectrum = {shortened(spectrum)}: give a Spectrum, as Spectrum(eigenvalues) is."
        )
    if hyperparameters is None:
        raise ValueError(
            "spectrum without hyperparameters: directions are marked at a setting's learning rate "
            "and momentum. Give hyperparameters= as well."
        )
    h = detached(spectrum.eigenvalues) + float(detached(hyperparameters.weight_decay))
    if not np.any(h > 0):
        raise ValueError(
            f"spectrum: its largest curvature is {h.max():g}, and a logarithmic axis shows those "
            "above 0. Give a direction that curves upwards."
        )
    return np.asarray(h[h > 0], dtype=np.float64)


def _fill(axes: Any, drawn: RegimeGrid) -> None:
    """Every region, with its name in it where there is room, else in the legend."""
    for name, (face, hatch) in _SHOWN.items():
        inside = drawn.names == name
        # Critical damping is a line.
        if name == "critical" or not np.any(inside):
            continue
        axes.contourf(
            drawn.rates,
            drawn.momenta,
            inside.astype(np.float64),
            levels=[0.5, 1.5],
            colors=[face],
            alpha=_ALPHA,
            hatches=[hatch],
            zorder=0.5,
        )
        if (place := _place_for(name, inside)) is None:
            axes.fill([], [], facecolor=face, hatch=hatch, alpha=_ALPHA, label=name)
            continue
        row, column, rotation = place
        axes.text(
            drawn.rates[column],
            drawn.momenta[row],
            name,
            ha="center",
            va="center",
            rotation=rotation,
            fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )


def _place_for(name: str, inside: Any) -> tuple[int, int, int] | None:
    """Row, column and rotation of a name that fits into a region; None if it does not."""
    length, height = _LETTER * len(name) + _MARGIN, _MARGIN + 8
    for rotation, (rows, columns) in ((0, (height, length)), (90, (length, height))):
        fits = minimum_filter(inside, (rows, columns), mode="constant", cval=0)
        if np.any(fits):
            depth = distance_transform_edt(np.pad(fits, 1))[1:-1, 1:-1]
            row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
            return int(row), int(column), rotation
    return None


def _draw_borders(axes: Any, drawn: RegimeGrid) -> None:
    stable = np.where(drawn.margin > 0, drawn.discriminant, np.nan)
    for values, style, width, label in (
        (stable, "--", 1.3, "critical damping"),
        (drawn.margin, "-", 2.2, "limit of stability"),
    ):
        if np.nanmin(values) < 0 < np.nanmax(values):
            axes.contour(
                drawn.rates,
                drawn.momenta,
                values,
                levels=[0.0],
                colors=[COLOURS[6]],
                linestyles=[style],
                linewidths=[width],
                zorder=2,
            )
            axes.plot([], [], style, color=COLOURS[6], linewidth=width, label=label)


def _mark(axes: Any, setting: Hyperparameters, marked: Array) -> None:
    """The setting, first of what is marked, and the spectrum's directions."""
    momentum = float(detached(setting.momentum))
    rate, *directions = marked
    if directions:
        axes.plot(
            directions,
            np.full(len(directions), momentum),
            "|",
            color=COLOURS[0],
            markersize=9,
            zorder=3,
            label="the spectrum's directions",
        )
    axes.plot(
        rate,
        momentum,
        "*",
        color=COLOURS[1],
        markeredgecolor="white",
        markersize=14,
        zorder=4,
        label=rf"setting, $\eta = {rate:.3g}$, $\beta = {momentum:.3g}$",
        clip_on=False,
    )
