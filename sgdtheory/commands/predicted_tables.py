"""What `sgdtheory predict` can be asked for: each a table of a run's numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sgdtheory as sgd
from sgdtheory.commands.settings import Settings

__all__ = ["TABLES", "Asked"]

Columns = dict[str, Sequence[Any]]


@dataclass(frozen=True)
class Asked:
    """A run, and the updates at which it is looked at.

    Args:
        settings: of the run.
        steps: update counts.
    """

    settings: Settings
    steps: NDArray[np.int64]

    @cached_property
    def spectrum(self) -> sgd.Spectrum:
        """From the file."""
        return self.settings.read_spectrum()

    @cached_property
    def model(self) -> sgd.Predictor:
        """The predictor of the run."""
        run = self.settings
        return sgd.Predictor(run.hyperparameters, self.spectrum, **run.optimiser())

    @property
    def position(self) -> float | None:
        """Where it starts, as predictors take it."""
        start = self.settings.start
        return {"stationary": None, "minimum": 0.0}[start] if isinstance(start, str) else start

    @property
    def directions(self) -> Columns:
        """What tells directions apart."""
        spectrum = self.spectrum
        counts = spectrum.counts
        number = np.ones(len(spectrum)) if counts is None else counts
        return {"eigenvalue": spectrum.eigenvalues, "count": number}

    def of_every_direction(self, values: dict[str, Any]) -> Columns:
        """Columns of results of shape (steps, modes): a line a step and direction.

        Args:
            values: results by name.
        """
        shape = (len(self.steps), len(self.spectrum))
        lines: dict[str, Any] = {"step": np.repeat(self.steps, shape[1])}
        lines |= {name: np.tile(column, shape[0]) for name, column in self.directions.items()}
        return lines | {name: np.broadcast_to(v, shape).ravel() for name, v in values.items()}


def _displacement(asked: Asked) -> Columns:
    model, position = asked.model, asked.position
    moved: Any = model.displacement(asked.steps, position)
    # What has not moved has no exponent, and update 0 has none.
    exponent: Any = np.full(len(asked.steps), np.nan)
    some = np.asarray(moved > 0)
    if some.any():
        exponent[some] = model.exponent(asked.steps[some], position)
    columns: dict[str, Any] = {"step": asked.steps, "displacement": moved, "exponent": exponent}
    return columns


def _fitted(asked: Asked) -> Columns:
    """One line: what an experimenter finds who records at these steps."""
    fitted = asked.model.window_exponent(asked.steps, asked.position)
    first, last, count = asked.steps.min(), asked.steps.max(), len(asked.steps)
    return {"from": [first], "to": [last], "steps": [count], "exponent": [float(fitted)]}


def _parts(asked: Asked) -> Columns:
    parts = asked.model.displacement_parts(asked.steps, asked.position)
    return {
        "step": asked.steps,
        "drift": parts.drift,
        "relaxation": parts.relaxation,
        "noise": parts.noise,
        "displacement": parts.total,
    }


def _entries(covariance: Any) -> dict[str, Any]:
    return {
        "position_variance": covariance[..., 0, 0],
        "velocity_variance": covariance[..., 1, 1],
        "position_velocity": covariance[..., 0, 1],
    }


def _variances(asked: Asked) -> Columns:
    model = asked.model
    return {
        **asked.directions,
        **_entries(model.stationary_covariance()),
        "effective_temperature": model.effective_temperature,
        "relaxation_steps": model.relaxation_steps,
        "regime": model.regime,
    }


def _covariance(asked: Asked) -> Columns:
    return asked.of_every_direction(_entries(asked.model.covariance(asked.steps)))


def _autocovariance(asked: Asked) -> Columns:
    values = asked.model.autocovariance(asked.steps)
    return asked.of_every_direction(
        {
            "position_position": values[..., 0, 0],
            "position_velocity": values[..., 0, 1],
            "velocity_position": values[..., 1, 0],
            "velocity_velocity": values[..., 1, 1],
        }
    )


def _mean(asked: Asked) -> Columns:
    if not asked.position:
        raise ValueError(
            f"--start {asked.settings.start}: the mean of such a run stays at the minimum. Give an "
            "offset from it, as --start 1."
        )
    values = asked.model.mean(asked.steps, asked.position)
    return asked.of_every_direction({"position": values[..., 0], "velocity": values[..., 1]})


TABLES: dict[str, Callable[[Asked], Columns]] = {
    "displacement": _displacement,
    "exponent": _fitted,
    "parts": _parts,
    "variances": _variances,
    "mean": _mean,
    "covariance": _covariance,
    "autocovariance": _autocovariance,
}
