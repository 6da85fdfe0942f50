r"""How a displacement grows, and by which exponent: predicted curves, measured points on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import detached
from sgdtheory.number_checks import check_numbers
from sgdtheory.plotting.canvas import LINES, PARTS, axes_for, draw_measured, only_decades
from sgdtheory.plotting.compared_models import models_by_name
from sgdtheory.plotting.crossover_marks import crossover_marks, mark_updates
from sgdtheory.plotting.measured_points import checked_errors, checked_points

__all__ = ["plot_displacement", "plot_exponent"]

_POINTS = 240
# Shown beyond the last crossover, so that what follows it is seen; and where nothing saturates.
_BEYOND, _ENDLESS = 10.0, 1e4
_LARGEST = 2.0**53
_EXPONENT = r"exponent $c = d\,\log E|\Delta_k|^2\,/\,d\,\log k$"


def plot_displacement(
    model: Any,
    steps: Any = None,
    measured: Any = None,
    errors: Any = None,
    ax: Any = None,
    **start: Any,
) -> Any:
    r"""E|Δ_k|² against the update count k, in doubly logarithmic axes.

    .. math:: E|\Delta_k|^2 = |E\,\Delta_k|^2 + \mathrm{tr}\,(F_k - 1)\,C_0\,(F_k - 1)^T + N_k

    Of one model, the three parts as well, where more than one of them is there: drift of the mean,
    relaxation of the start's spread, and noise; and the crossovers of its growth, which are dotted
    lines.

    Args:
        model: a `Predictor`, of a spectrum or a landscape; or several by name, as
            ``{"discrete": …, "continuous": …}``.
        steps: update counts k ≥ 1: of the measured values, or, without any, of the curves; by
            default until everything has settled.
        measured: E|Δ_k|² at the steps, (steps,). Unit: θ².
        errors: their standard errors, (steps,); drawn as intervals of 95 %.
        ax: matplotlib Axes to draw in, or None for a new figure.
        start: position, velocity, phase and start_covariance, as of `Predictor.displacement`; by
            default the stationary state.

    Returns:
        The Axes.

    Raises:
        ValueError: naming what does not fit; for a displacement that is 0 at all steps.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
    >>> model = Predictor(Hyperparameters(0.1), Spectrum([1.0]))
    >>> axes = plot_displacement(model, [1, 10], ax=Figure().subplots())
    >>> bool(np.all(axes.lines[0].get_ydata() == model.displacement([1, 10])))
    True
    """
    models = models_by_name(model, "a curve")
    places, values, bars = _measurement(steps, measured, errors)
    grid = _grid(models, places, values, start)
    curves = [(name, one.displacement(grid, **start)) for name, one in models.items()]
    styles: list[Any] = list(LINES)
    if len(models) == 1:
        curves, styles = _parts_too(models, curves, grid, start)
    axes = axes_for(ax)
    for (name, curve), style in zip(curves, styles, strict=False):
        axes.plot(grid, _positive(name, curve), label=name, **style)
    if values is not None:
        draw_measured(axes, places, values, bars, "measured")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="updates $k$",
        ylabel=r"displacement $E\,|\Delta_k|^2$ (unit of $\theta^2$)",
    )
    _finish(axes, models, grid, start)
    only_decades(axes)
    return axes


def plot_exponent(
    model: Any,
    steps: Any = None,
    measured: Any = None,
    errors: Any = None,
    ax: Any = None,
    **start: Any,
) -> Any:
    r"""The local exponent of the displacement against the update count, which is logarithmic.

    .. math:: c(k) = \frac{d \log E|\Delta_k|^2}{d \log k}

    Thin lines are where motion is ballistic, c = 2, diffusive, c = 1, and over, c = 0.

    Args:
        model: as of `plot_displacement`; likewise the following.
        steps: update counts k ≥ 1.
        measured: local exponents at the steps, (steps,).
        errors: their standard errors, (steps,); drawn as intervals of 95 %.
        ax: matplotlib Axes to draw in, or None for a new figure.
        start: as of `Predictor.exponent`.

    Returns:
        The Axes.

    Raises:
        ValueError: naming what does not fit; for steps at which nothing moves.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
    >>> flat = Predictor(Hyperparameters(0.1), Spectrum([1e-9]))
    >>> axes = plot_exponent(flat, [10, 100], ax=Figure().subplots())
    >>> axes.lines[-1].get_ydata().round(3)
    array([1., 1.])
    """
    models = models_by_name(model, "a curve")
    places, values, bars = _measurement(steps, measured, errors)
    grid = _grid(models, places, values, start)
    curves = {name: detached(one.exponent(grid, **start)) for name, one in models.items()}
    axes = axes_for(ax)
    for level in (0, 1, 2):
        axes.axhline(level, color="0.8", linewidth=0.8, zorder=0)
    styles = LINES if len(models) > 1 else (PARTS["total"],)
    for (name, curve), style in zip(curves.items(), styles, strict=False):
        axes.plot(grid, curve, label=name, **style)
    if values is not None:
        draw_measured(axes, places, values, bars, "measured")
    axes.set(xscale="log", xlabel="updates $k$", ylabel=_EXPONENT)
    _finish(axes, models, grid, start)
    return axes


def _measurement(steps: Any, measured: Any, errors: Any) -> tuple[Any, Any, Any]:
    if steps is None:
        if measured is not None:
            raise ValueError("steps = None: give the update counts at which it was measured.")
        return None, None, checked_errors(errors, None)
    places = checked_points("steps", steps)
    check_numbers("steps", places, at_least=1.0)
    values = None if measured is None else checked_points("measured", measured, len(places))
    return places, values, checked_errors(errors, values)


def _grid(models: Any, places: Any, measured: Any, start: Any) -> NDArray[np.float64]:
    """Where curves are computed: at the very steps, and between them where those are points."""
    if places is not None and measured is None:
        return np.asarray(places)
    if places is None:
        places = np.array([1.0, max(_end(one, start) for one in models.values())])
    between = np.geomspace(places.min(), places.max(), _POINTS).round()
    return np.union1d(between, places)


def _end(model: Any, start: Any) -> float:
    found = model.crossovers(**start)
    settled = float(detached(found.saturation))
    memory = float(detached(found.velocity_memory))
    return min(_LARGEST, max(_BEYOND * settled if np.isfinite(settled) else 0, _ENDLESS, memory))


def _positive(name: str, curve: Any) -> NDArray[np.float64]:
    """What a logarithmic axis can show, NaN elsewhere."""
    values = detached(curve)
    if not np.any(values > 0):
        raise ValueError(
            f"{name}: the displacement is 0 at all steps, which a logarithmic axis cannot show. "
            "Give the run noise, or a start off the minimum."
        )
    return np.where(values > 0, values, np.nan)


def _parts_too(models: Any, curves: Any, grid: Any, start: Any) -> tuple[Any, Any]:
    (model,) = models.values()
    parts = model.displacement_parts(grid, **start)
    present = {
        name: values
        for name in ("drift", "relaxation", "noise")
        if np.any((values := detached(getattr(parts, name))) > 0)
    }
    if len(present) < 2:
        return curves, [PARTS["total"]]
    return [*curves, *present.items()], [PARTS["total"], *(PARTS[name] for name in present)]


def _finish(axes: Any, models: Any, grid: Any, start: Any) -> None:
    axes.set_xlim(grid.min(), max(grid.max(), grid.min() + 1))
    if len(models) == 1:
        (model,) = models.values()
        mark_updates([axes], crossover_marks(model.crossovers(**start)))
    axes.legend(fontsize="small", frameon=False)
