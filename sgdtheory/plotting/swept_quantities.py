r"""What a panel shows of a model: one number a setting, and the line of it along a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import shortened
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.number_checks import check_number

__all__ = ["QUANTITIES", "check_quantity", "swept_line", "with_setting"]

Array = NDArray[np.float64]

QUANTITIES: dict[str, tuple[Callable[..., Any], str]] = {
    "local_displacement": (
        lambda model, steps, start: model.local_displacement(),
        "local displacement\n" r"$E\,|\theta_{k+1}-\theta_k|^2$ (unit of $\theta^2$)",
    ),
    "displacement": (
        lambda model, steps, start: model.displacement(steps, **start),
        r"displacement $E\,|\Delta_k|^2$ (unit of $\theta^2$)",
    ),
    "exponent": (
        lambda model, steps, start: model.exponent(steps, **start),
        "local exponent\n" r"$d\,\log E|\Delta_k|^2\,/\,d\,\log k$",
    ),
    "stationary_variance": (
        lambda model, steps, start: model.spectrum.total(model.stationary_covariance()[..., 0, 0]),
        "variance of the position\n" r"$\sum_i \mathrm{Var}\,\theta_i$ (unit of $\theta^2$)",
    ),
}
_OF_STEPS = ("displacement", "exponent")


def check_quantity(quantity: Any, steps: Any, start: Mapping[str, Any]) -> None:
    """Refuse what is no quantity, and steps or a start where it has none.

    Args:
        quantity: its name.
        steps: an update count, or None.
        start: as of `Predictor.displacement`.

    Raises:
        ValueError: naming what does not fit.
    """
    if not isinstance(quantity, str) or quantity not in QUANTITIES:
        raise ValueError(f"quantity = {quantity!r}: give one of {', '.join(QUANTITIES)}.")
    if quantity in _OF_STEPS:
        check_number("steps", steps, at_least=1.0)
    elif steps is not None or start:
        raise ValueError(
            f"steps = {steps}, start = {shortened(dict(start))}: {quantity} is of the stationary "
            f"state. Leave them out, or ask for {' or '.join(_OF_STEPS)}."
        )


def with_setting(own: Hyperparameters, name: str, values: Any) -> Hyperparameters:
    """The same settings but for one.

    >>> with_setting(Hyperparameters(0.1, batch_size=8), "learning_rate", 0.2).settings
    {'learning_rate': 0.2, 'momentum': 0.0, 'batch_size': 8, 'weight_decay': 0.0}
    """
    return Hyperparameters(**{**own.settings, name: values})


def swept_line(model: Any, name: str, grid: Array, ask: Callable[[Any], Array]) -> Array:
    """The quantity along the grid; NaN where a setting has no stationary state.

    Args:
        model: with one setting.
        name: of the hyperparameter that varies.
        grid: its values.
        ask: a predictor for the quantity, one number a setting.

    Raises:
        UnstableError: where no setting has a stationary state.
    """

    def at(values: Any) -> Array:
        return ask(
            replace(model, hyperparameters=with_setting(model.hyperparameters, name, values))
        )

    try:
        return np.asarray(at(grid))
    except UnstableError:
        curve = np.full(len(grid), np.nan)
    for place, value in enumerate(grid):
        try:
            curve[place] = at(np.array([value]))[0]
        except UnstableError as error:
            refused = error
    if np.all(np.isnan(curve)):
        raise refused
    return curve
