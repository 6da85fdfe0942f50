r"""One quantity against one hyperparameter at a time, in panels: theory as lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import detached, shortened
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.plotting.canvas import (
    LINES,
    PARTS,
    draw_measured,
    only_decades,
    row_of_axes,
)
from sgdtheory.plotting.compared_models import models_by_name
from sgdtheory.plotting.measured_points import checked_errors, checked_points
from sgdtheory.plotting.swept_quantities import (
    QUANTITIES,
    check_quantity,
    swept_line,
    with_setting,
)

__all__ = ["plot_hyperparameter_panels"]

Array = NDArray[np.float64]

_POINTS, _TICKS = 80, 7
_LABELS = {
    "learning_rate": r"learning rate $\eta$ (unit of time)",
    "batch_size": r"batch size $S$ (examples)",
    "momentum": r"momentum $\beta$ (pure number)",
    "weight_decay": r"weight decay $\lambda$ (loss per $\theta^2$)",
}


def plot_hyperparameter_panels(
    model: Any,
    vary: Mapping[str, Any] | None = None,
    quantity: str = "local_displacement",
    steps: int | None = None,
    measured: Mapping[str, Any] | None = None,
    errors: Mapping[str, Any] | None = None,
    axes: Any = None,
    **start: Any,
) -> Any:
    r"""A panel for each hyperparameter that is varied, the others as the model has them.

    Where a setting has no stationary state the line has a gap. A thin line is the model's own
    setting.

    Args:
        model: a `Predictor` of a spectrum, or several by name, with the settings in common.
        vary: values of a hyperparameter, by its name: those that were measured, or any; lines span
            them. By default a decade to either side, momenta up to 0.99, and no weight decay where
            the model has none.
        quantity: "local_displacement", "displacement", "exponent" or "stationary_variance".
        steps: update count k, of a displacement or an exponent.
        measured: its values by hyperparameter, each of the length of the values in `vary`.
        errors: their standard errors likewise; drawn as intervals of 95 %.
        axes: as many matplotlib Axes as `vary` has names, or None for a new figure.
        start: position, velocity, phase and start_covariance, as of `Predictor.displacement`.

    Returns:
        The Axes, in an array.

    Raises:
        ValueError: naming what does not fit.
        UnstableError: where no setting of a panel has a stationary state.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> from sgdtheory import Predictor, Spectrum
    >>> model = Predictor(Hyperparameters(0.1, momentum=0.9, batch_size=8), Spectrum([1.0, 0.1]))
    >>> panels = plot_hyperparameter_panels(
    ...     model, {"batch_size": [1, 4]}, axes=Figure().subplots()
    ... )
    >>> batch, displacement = panels[0].lines[-1].get_data()
    >>> round(float(displacement[0] / displacement[-1]), 9)
    4.0
    """
    models = _checked_models(model)
    check_quantity(quantity, steps, start)
    own = next(iter(models.values())).hyperparameters
    values = _checked_values(own, vary)
    points = {name: _points(name, values, measured, errors) for name in values}
    panels = row_of_axes(axes, len(values))

    def ask(one: Any) -> Array:
        return detached(QUANTITIES[quantity][0](one, steps, start))

    for panel, (name, places) in zip(panels, values.items(), strict=True):
        panel.axvline(float(detached(getattr(own, name))), color="0.75", linewidth=0.8, zorder=0)
        _draw_lines(panel, models, name, places, ask)
        found, bars = points[name]
        if found is not None:
            draw_measured(panel, places, found, bars, "measured")
        panel.set_xlabel(_LABELS[name])
        if _logarithmic(name, places):
            panel.set_xscale("log")
            _tick(panel, places)
        if quantity != "exponent":
            panel.set_yscale("log")
    panels[0].set_ylabel(QUANTITIES[quantity][1])
    _share_heights(panels, quantity)
    panels[0].legend(fontsize="small", frameon=False)
    return panels


def _checked_models(model: Any) -> dict[str, Any]:
    models = models_by_name(model, "a panel's model")
    for name, one in models.items():
        if isinstance(one, DensePredictor):
            raise ValueError(  # noqa: TRY004
                f"model = {name}: a landscape's predictor takes no sweep. Sums over directions are "
                "those of its .modes: give that."
            )
    return models


def _checked_values(own: Hyperparameters, vary: Any) -> dict[str, Array]:
    if vary is None:
        vary = {
            name: float(detached(getattr(own, name))) * np.geomspace(0.1, 10, 7)
            for name in ("learning_rate", "batch_size", "weight_decay")
        } | {"momentum": np.array([0.0, 0.5, 0.9, 0.99])}
        vary["batch_size"] = np.unique(np.maximum(vary["batch_size"].round(), 1))
        vary = {name: vary[name] for name in _LABELS if np.any(vary[name])}
    if not isinstance(vary, Mapping) or not vary or not set(vary) <= set(_LABELS):
        raise ValueError(f"vary = {shortened(vary)}: give values by name, of {', '.join(_LABELS)}.")
    values = {name: checked_points(f"vary: {name}", given) for name, given in vary.items()}
    for name, given in values.items():
        if len(np.unique(given)) < 2:
            raise ValueError(f"vary: {name} = {given}: a line needs two different values.")
        # Its own limits are the hyperparameters' to name.
        with_setting(own, name, given)
    return values


def _points(name: str, values: Any, measured: Any, errors: Any) -> tuple[Any, Any]:
    for argument, given in (("measured", measured), ("errors", errors)):
        if given is not None and not (isinstance(given, Mapping) and set(given) <= set(values)):
            raise ValueError(
                f"{argument} = {shortened(given)}: give numbers by the names in vary, "
                f"{', '.join(values)}."
            )
    found, bars = ((given or {}).get(name) for given in (measured, errors))
    if found is not None:
        found = checked_points(f"measured: {name}", found, len(values[name]))
    return found, checked_errors(bars, found)


def _logarithmic(name: str, places: Array) -> bool:
    return name != "momentum" and bool(np.all(places > 0))


def _tick(panel: Any, places: Array) -> None:
    """Labels at the decades; on an axis with fewer than two, at the values that were asked for."""
    low, high = np.log10(panel.get_xlim())
    if np.floor(high) <= np.ceil(low) and len(places) <= _TICKS:
        panel.set_xticks(places, [f"{place:.3g}" for place in places])
    panel.tick_params(axis="x", which="minor", labelbottom=False)


def _draw_lines(
    panel: Any, models: Mapping[str, Any], name: str, places: Array, ask: Callable[[Any], Array]
) -> None:
    spaced = np.geomspace if _logarithmic(name, places) else np.linspace
    grid = spaced(places.min(), places.max(), _POINTS)
    if _counts_examples(name, models):
        grid = grid.round()
    grid = np.union1d(grid, places)
    styles = LINES if len(models) > 1 else (PARTS["total"],)
    for (label, model), style in zip(models.items(), styles, strict=False):
        panel.plot(grid, swept_line(model, name, grid, ask), label=label, **style)


def _counts_examples(name: str, models: Mapping[str, Any]) -> bool:
    """Whether an epoch is divided into batches of whole examples."""
    white = all(one.sampling == "with_replacement" for one in models.values())
    return name == "batch_size" and not white


def _share_heights(panels: Any, quantity: str) -> None:
    """One range for all, so that panels compare; heights are read at the left."""
    low, high = np.transpose([panel.get_ylim() for panel in panels])
    for panel in panels:
        panel.set_ylim(low.min(), high.max())
        if quantity != "exponent":
            only_decades(panel)
    for panel in panels[1:]:
        panel.tick_params(axis="y", which="both", labelleft=False)
