r"""Settings that vary: arrays of hyperparameters, broadcast, and the axes that results get from it.

Plain arrays broadcast as NumPy's do, from the last axis on. xarray's broadcast by the names of
their axes, and results then carry these names. A result's first axes are the sweep's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, is_named

__all__ = ["Sweep", "xarray_for"]

# Axes that results have after the sweep's.
OWN_AXES = ("step", "mode", "state", "state_")
STATE = ["position", "velocity"]


def xarray_for(purpose: str) -> Any:
    """The xarray module.

    Args:
        purpose: what it is wanted for, to begin the message with.

    Raises:
        ImportError: when it is not installed, with the command that installs it.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError(
            f"{purpose} names axes with xarray, which is not installed. Run pip install "
            "'sgdtheory[sweeps]', or give plain arrays of shapes that broadcast."
        ) from None
    return xarray


@dataclass(frozen=True, eq=False)
class Sweep:
    """The settings that numbers and arrays span when they broadcast.

    Args:
        settings: numbers and arrays by name: NumPy's and torch's, or xarray's.

    Raises:
        ValueError: naming arrays that do not broadcast against one another.

    >>> Sweep({"learning_rate": np.array([0.1, 0.2]), "momentum": np.zeros((3, 1))}).shape
    (3, 2)
    """

    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._check_axes()
        self._check_shapes()

    # -- its axes -----------------------------------------------------------------------------

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return {name: value for name, value in self.settings.items() if _has_axes(value)}

    @cached_property
    def named(self) -> bool:
        """Whether its axes have names."""
        return any(map(is_named, self.settings.values()))

    @cached_property
    def axes(self) -> tuple[Any, ...]:
        """Names of its axes, in the order in which the settings bring them; if it is named."""
        named = filter(is_named, self.settings.values())
        return tuple(dict.fromkeys(axis for value in named for axis in value.dims))

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes; () for one setting."""
        if self.named:
            lengths = {a: n for value in self._arrays.values() for a, n in value.sizes.items()}
            return tuple(lengths[axis] for axis in self.axes)
        return np.broadcast_shapes(*(tuple(value.shape) for value in self._arrays.values()))

    @property
    def size(self) -> int:
        """Number of settings."""
        return int(np.prod(self.shape))

    def _check_axes(self) -> None:
        if not self.named:
            return
        by_name = next(name for name, value in self.settings.items() if is_named(value))
        for name, value in self.settings.items():
            plain = _has_axes(value) and not is_named(value)
            if plain or backend_of([value]) == "torch":
                raise ValueError(
                    f"{by_name} is an xarray.DataArray and {name} a {type(value).__name__}: axes "
                    "with names broadcast against none without, and hold NumPy's numbers. Make "
                    "all arrays DataArrays, or none."
                )
        if taken := set(self.axes) & set(OWN_AXES):
            raise ValueError(
                f"axes {self.axes}: results have axes of their own called "
                f"{', '.join(sorted(taken))}. Rename the sweep's."
            )

    def _check_shapes(self) -> None:
        try:
            if self.named:
                named = [value for value in self._arrays.values() if is_named(value)]
                sys.modules["xarray"].align(*named, join="exact", copy=False)
            _ = self.shape
        except ValueError:
            shapes = ", ".join(
                f"{name} {dict(value.sizes) if self.named else tuple(value.shape)}"
                for name, value in self._arrays.items()
            )
            raise ValueError(
                f"shapes {shapes}: they do not broadcast against one another. Give equal lengths, "
                "with equal coordinates, or axes of length 1 for an outer product."
            ) from None

    # -- its settings -------------------------------------------------------------------------

    def aligned(self, value: Any) -> Any:
        """A setting with all axes of the sweep, of its length or 1; one number as it is.

        Args:
            value: a number, or an array that broadcasts against the sweep.
        """
        if is_named(value):
            ordered = value.transpose(*(axis for axis in self.axes if axis in value.dims)).values
            inserted = (slice(None) if axis in value.dims else None for axis in self.axes)
            return ordered[tuple(inserted)] if value.ndim else ordered[()]
        if not _has_axes(value):
            return value
        return value.reshape((1,) * (len(self.shape) - value.ndim) + tuple(value.shape))

    def part(self, value: Any, which: slice) -> Any:
        """A setting where the sweep's settings, in one row, are `which`; one number as it is."""
        aligned = self.aligned(value)
        if not _has_axes(aligned):
            return aligned
        row = np.arange(*which.indices(self.size))
        where = np.unravel_index(row, self.shape)
        # Along an axis of length 1 there is one value for all.
        own = (np.minimum(i, n - 1) for i, n in zip(where, aligned.shape, strict=True))
        return aligned[tuple(own)]

    def number(self, value: Any, index: tuple[int, ...]) -> float:
        """A setting at one place in the sweep."""
        return float(np.broadcast_to(detached(self.aligned(value)), self.shape)[index])

    def place(self, index: tuple[int, ...]) -> str:
        """What varies, at one place in the sweep, for a message; nothing for one setting."""
        varying = (f"{x} = {self.number(value, index):g}" for x, value in self._arrays.items())
        return f" at {', '.join(varying)}" if self._arrays else ""

    def require_one_setting(self, who: str) -> None:
        """Refuse arrays by name.

        Args:
            who: takes one setting only, to say so.

        Raises:
            ValueError: naming the first array.
        """
        for name, value in self._arrays.items():
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}: {who} takes one setting. Loop over the "
                "values."
            )

    # -- names for results --------------------------------------------------------------------

    def labelled(
        self, name: str, values: Any, steps: Any, axes: Sequence[str], eigenvalues: Any
    ) -> Any:
        """A result as a DataArray: the sweep's axes, the steps', its own; with coordinates.

        Args:
            name: of the result.
            values: the result, a NumPy array.
            steps: update counts as they were given; None for a result without.
            axes: names of the axes after those.
            eigenvalues: of the modes.
        """
        step_axes = _step_axes(steps)
        named = [value for value in (*self.settings.values(), steps) if is_named(value)]
        xarray = sys.modules["xarray"]
        brought = xarray.merge(
            [value.coords.to_dataset() for value in named], compat="override", join="exact"
        ).coords
        ours: dict[str, Any] = {axis: STATE for axis in axes if axis in ("state", "state_")}
        if "mode" in axes:
            ours["eigenvalue"] = ("mode", eigenvalues)
        if steps is not None:
            ours["step"] = (step_axes, np.asarray(steps))
        # Labels that the caller brought stand; the values are there in any case.
        new = {
            key: value for key, value in (self._coordinates | ours).items() if key not in brought
        }
        dims = (*self.axes, *step_axes, *axes)
        return xarray.DataArray(values, brought, dims, name).assign_coords(new)

    @property
    def _coordinates(self) -> dict[str, Any]:
        """Every setting's values, along its axes."""
        return {
            name: (value.dims, value.values) if is_named(value) else value
            for name, value in self.settings.items()
        }

    def require_named_steps(self, steps: Any) -> None:
        """Refuse steps with named axes that do not fit beside the sweep's.

        Args:
            steps: a DataArray.

        Raises:
            ValueError: naming the axes.
        """
        if self._arrays and not self.named:
            raise ValueError(
                f"steps is an xarray.DataArray and {next(iter(self._arrays))} an array without "
                "names: make both DataArrays, or neither."
            )
        if taken := set(steps.dims) & {*self.axes, *OWN_AXES[1:]}:
            raise ValueError(
                f"steps has the axes {steps.dims}, of which {', '.join(map(str, taken))} is the "
                "sweep's or a result's own: every setting is asked at the same steps. Rename the "
                "axis, or loop."
            )


def _has_axes(value: Any) -> bool:
    return np.ndim(value) > 0


def _step_axes(steps: Any) -> tuple[Any, ...]:
    if steps is None or np.ndim(steps) == 0:
        return ()
    if is_named(steps):
        return tuple(steps.dims)
    count = np.ndim(steps)
    return ("step",) if count == 1 else tuple(f"step_{axis}" for axis in range(count))
