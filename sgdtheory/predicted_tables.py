"""A predictor's curves and directions as one data set: the last part of a `Predictor`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.arrays import detached, is_named
from sgdtheory.named_results import data_frame, dataset
from sgdtheory.predicted_displacement import PredictedDisplacement
from sgdtheory.sweeps import xarray_for

__all__ = ["PredictedTables"]


class PredictedTables(PredictedDisplacement):
    """Results with names; see `Predictor`."""

    def to_xarray(self, steps: Any = None, **start: Any) -> Any:
        """What is predicted as an xarray.Dataset: curves over steps, and numbers of each mode.

        Variables over "step" are displacement and exponent; over "mode" eigenvalue, noise_variance,
        count, curvature, relaxation_steps and regime, and, where there is a stationary state,
        stationary_variance (of θ) and effective_temperature. A grid's axes come first; settings
        are coordinates, and every variable has its units.

        Args:
            steps: update counts ≥ 1, one or several; None for no curves.
            start: `position`, `velocity` and `start_covariance`, as of `displacement`.

        Raises:
            ImportError: when xarray is not installed.
            ValueError: for a sweep of arrays whose axes have no names, and for torch tensors.
            UnstableError: for curves from a stationary state that there is none of.

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> runs = Hyperparameters.grid([0.1, 0.2], momentum=0.9)
        >>> found = Predictor(runs, Spectrum([1.0, 0.1])).to_xarray([1, 10, 100])
        >>> dict(found.sizes), found.displacement.units
        ({'learning_rate': 2, 'step': 3, 'mode': 2}, 'θ²')
        """
        xarray = xarray_for("to_xarray")
        self._require_numpy("to_xarray", ("step", "mode"))
        if self.sweep.shape and not self.sweep.named:
            raise ValueError(
                f"the sweep has shape {self.sweep.shape}, and its axes have no names. Make it by "
                "Hyperparameters.grid, or of xarray.DataArrays."
            )
        values: dict[str, Any] = {}
        if steps is not None:
            counts = steps if is_named(steps) else _named_steps(xarray, steps)
            values["displacement"] = self.displacement(counts, **start)
            values["exponent"] = self.exponent(counts, **start)
        return dataset(values | self._of_modes(), {})

    def _of_modes(self) -> dict[str, Any]:
        spectrum = self.spectrum
        counts = np.ones(len(spectrum)) if spectrum.counts is None else spectrum.counts
        xarray = xarray_for("to_xarray")
        values = {
            name: xarray.DataArray(x, dims="mode")
            for name, x in (("noise_variance", spectrum.variances), ("count", counts))
        }
        names = ["curvature", "relaxation_steps", "regime"]
        results = {name: getattr(self, name) for name in names}
        if self._first_unstable is None:
            variance = self.stationary_covariance()[..., 0, 0]
            if is_named(variance):
                variance = variance.drop_vars(["state", "state_"])
            results |= {
                "stationary_variance": variance,
                "effective_temperature": self.effective_temperature,
            }
        for name, x in results.items():
            values[name] = x if is_named(x) else self._labelled(name, np.asarray(x))
        return values

    def _labelled(self, name: str, values: Any) -> Any:
        return self.sweep.labelled(name, values, None, ("mode",), self.spectrum.eigenvalues)

    def to_pandas(self, steps: Any = None, **start: Any) -> Any:
        """A pandas.DataFrame: displacement and exponent at steps, or without steps, the modes.

        Args:
            steps: as of `to_xarray`; rows are its steps, and a grid's settings before them.
            start: likewise.

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> model = Predictor(Hyperparameters(0.1), Spectrum([1.0, 0.1]))
        >>> model.to_pandas([1, 10]).columns.tolist()
        ['displacement', 'exponent']
        >>> model.to_pandas().relaxation_steps.round(1).tolist()
        [9.5, 99.5]
        """
        data = self.to_xarray(steps, **start)
        return data_frame(data if steps is None else data[["displacement", "exponent"]])


def _named_steps(xarray: Any, steps: Any) -> Any:
    counts = detached(steps)
    axes = {"step": counts} if counts.ndim == 1 else None
    return xarray.DataArray(counts, axes)
