"""Predictors that one picture compares: each by its name, and of one setting."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any

import numpy as np

from sgdtheory.arrays import shortened
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.plotting.canvas import LINES
from sgdtheory.predictor import Predictor

__all__ = ["direction_numbers", "models_by_name", "require_predictor"]


def direction_numbers(name: str, values: Any, count: int, most: int = 1) -> list[int]:
    """Numbers of different eigenvalues.

    Args:
        name: of the argument, for the message.
        values: one whole number, or a sequence of them.
        count: of eigenvalues.
        most: how many may be given.

    Raises:
        ValueError: naming the argument.

    >>> direction_numbers("directions", (0, 2), 3, most=2)
    [0, 2]
    """
    try:
        chosen = [index(one) for one in ([values] if np.ndim(values) == 0 else values)]
    except (TypeError, ValueError):
        chosen = []
    whole = not any(isinstance(one, bool) for one in np.ravel(np.asarray(values, dtype=object)))
    if (
        not 1 <= len(chosen) <= most
        or len(set(chosen)) < len(chosen)
        or not whole
        or not all(one in range(count) for one in chosen)
    ):
        wanted = "the number of an eigenvalue" + (", or two different ones" if most > 1 else "")
        raise ValueError(f"{name} = {shortened(values)}: give {wanted}, from 0 to {count - 1}.")
    return chosen


def require_predictor(model: Any, what: str) -> None:
    """Refuse what is no predictor of one setting.

    Args:
        model: what was given.
        what: is drawn, to say what takes one setting.

    Raises:
        ValueError: saying what to give.
    """
    if isinstance(model, DensePredictor):
        return
    if not isinstance(model, Predictor):
        raise ValueError(  # noqa: TRY004
            f"model = {shortened(model)}: give a Predictor, as Predictor(hyperparameters, "
            "spectrum) is."
        )
    model.sweep.require_one_setting(what)


def models_by_name(models: Any, what: str) -> dict[str, Any]:
    """One predictor, or several by name, as a dictionary.

    Args:
        models: a predictor, named after its theory; or a mapping of names to predictors.
        what: is drawn, for the message.

    Raises:
        ValueError: for what is none, for none, or for more than lines that can be told apart.
    """
    named = dict(models) if isinstance(models, Mapping) else {_theory(models): models}
    if not 1 <= len(named) <= len(LINES):
        raise ValueError(
            f"models: there are {len(named)}. Give 1 to {len(LINES)}: more lines cannot be told "
            "apart without colour."
        )
    for model in named.values():
        require_predictor(model, what)
    return {str(name): model for name, model in named.items()}


def _theory(model: Any) -> str:
    own = getattr(model, "modes", model)
    return f"{getattr(own, 'theory', '')} theory"
