"""Results as xarray's data sets and pandas' tables: axes by name, and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np

from sgdtheory.arrays import detached, is_named
from sgdtheory.sweeps import xarray_for

__all__ = ["NamedResults", "data_frame", "dataset"]

UNITS = {
    "step": "updates",
    "displacement": "θ²",
    "exponent": "1",
    "drift": "θ²",
    "relaxation": "θ²",
    "noise": "θ²",
    "total": "θ²",
    "ballistic_share": "1",
    "eigenvalue": "loss/θ²",
    "noise_variance": "(loss/θ)²",
    "count": "1",
    "curvature": "loss/θ²",
    "stationary_variance": "θ²",
    "effective_temperature": "loss",
    "relaxation_steps": "updates",
    "velocity_memory": "updates",
    "epoch": "updates",
    "start_overtakes": "updates",
    "saturation": "updates",
}


def dataset(
    values: Mapping[str, Any],
    axes: Mapping[str, Any],
    further: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:
    """Arrays as the variables of one xarray.Dataset.

    Args:
        values: by name: numbers, arrays, or DataArrays, which bring their axes.
        axes: coordinates of the arrays' axes by name, in the order of the axes.
        further: names of axes that single values have after those.

    Raises:
        ImportError: when xarray is not installed.
        ValueError: for an array whose axes are not those.
    """
    xarray = xarray_for("to_xarray")
    named = {}
    for name, value in values.items():
        array = value if is_named(value) else detached(value)
        if array.ndim and not is_named(value):
            own = (*axes, *(further or {}).get(name, ()))
            _require_axes(name, array.shape, own, axes)
            array = (own, array)
        named[name] = array
    found = xarray.Dataset(named, coords={name: np.asarray(x) for name, x in axes.items()})
    for name in (*found.data_vars, *found.coords):
        if name in UNITS:
            found[name].attrs["units"] = UNITS[name]
    return found


def _require_axes(
    name: str, shape: tuple[int, ...], own: tuple[str, ...], axes: Mapping[str, Any]
) -> None:
    lengths = tuple(len(np.atleast_1d(x)) for x in axes.values())
    if len(shape) != len(own) or shape[: len(lengths)] != lengths:
        given = ", ".join(f"{axis} of {n}" for axis, n in zip(axes, lengths, strict=True))
        raise ValueError(
            f"{name} has shape {shape}, and the axes given are {given or 'none'}: name all of its "
            "axes, in their order, with their coordinates, as to_xarray(step=steps). Settings of "
            "Hyperparameters.grid bring names of their own."
        )


def data_frame(data: Any) -> Any:
    """The variables of a data set as columns; its axes are the index, one number each is one row.

    Args:
        data: a Dataset; coordinates that are one number are left out.
    """
    plain = data.drop_vars([name for name, x in data.coords.items() if not x.ndim])
    if plain.sizes:
        # A grid's axes first, as the variables that have them all have it.
        widest = max(plain.data_vars.values(), key=lambda x: x.ndim).dims
        return plain.to_dataframe(dim_order=[*dict.fromkeys([*widest, *plain.sizes])])
    return plain.expand_dims("setting").to_dataframe().reset_index(drop=True)


class NamedResults:
    """Of records of arrays of one shape: their fields as variables with named axes."""

    # Axes that a field has after those of all.
    _FURTHER: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def _named_values(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {n: x for n, x in values.items() if x is not None and not isinstance(x, bool)}

    def to_xarray(self, **axes: Any) -> Any:
        """An xarray.Dataset of what is in here, with units; gradients stay behind.

        Args:
            axes: coordinates of the arrays' axes by name and in order, as ``step=[1, 10]``; not
                needed where the results carry names already.

        Raises:
            ImportError: when xarray is not installed.
            ValueError: when the axes do not fit, with the shape.
        """
        return dataset(self._named_values(), axes, self._FURTHER)

    def to_pandas(self, **axes: Any) -> Any:
        """The same as a pandas.DataFrame, without what is there for each mode.

        Args:
            axes: as of `to_xarray`.
        """
        data = self.to_xarray(**axes)
        return data_frame(data.drop_dims("mode", errors="ignore"))
