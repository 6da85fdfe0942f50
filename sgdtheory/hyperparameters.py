r"""What a training run sets: learning rate, momentum, batch size, weight decay, data set size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from sympy import Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import backend_of, detached, is_named, shortened
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_numbers
from sgdtheory.sweeps import Sweep, xarray_for
from sgdtheory.update_rule import UpdateRule

__all__ = ["Hyperparameters", "require_hyperparameters"]


@dataclass(frozen=True, eq=False)
class Hyperparameters(ShownAsTable):
    """What a training run sets, or a sweep over runs.

    Args:
        learning_rate: η > 0.
        momentum: 0 ≤ β < 1.
        batch_size: S > 0, examples.
        weight_decay: λ ≥ 0, loss/θ².
        dataset_size: N, examples; needed by sampling models that count epochs.

    Each is a number, or an array for a sweep: they broadcast against one another, and results get
    the sweep's axes in front. NumPy arrays and torch tensors broadcast from the last axis on;
    xarray.DataArrays by the names of their axes, which results then carry (see `grid`). Torch
    tensors, of any shape, carry gradients.

    Raises:
        ValueError: naming the argument, its value or the element's, and the limit it broke; for
            arrays that do not broadcast, their shapes.

    >>> Hyperparameters(np.array([0.1, 0.2, 0.3]), momentum=np.array([[0.0], [0.9]])).shape
    (2, 3)
    """

    learning_rate: Any
    momentum: Any = 0.0
    batch_size: Any = 1
    weight_decay: Any = 0.0
    dataset_size: Any = None

    def __post_init__(self) -> None:
        check_numbers("learning_rate", self.learning_rate, above=0.0)
        check_numbers("momentum", self.momentum, at_least=0.0, below=1.0)
        check_numbers("batch_size", self.batch_size, above=0.0)
        check_numbers("weight_decay", self.weight_decay, at_least=0.0)
        if self.dataset_size is not None:
            check_numbers("dataset_size", self.dataset_size, above=0.0, below=2.0**53)
        # Asked here, not at the first prediction: do they broadcast?
        _ = self.sweep
        if self.dataset_size is not None:
            self._check_dataset()

    def _check_dataset(self) -> None:
        size, batch = (
            np.broadcast_to(detached(self.sweep.aligned(value)), self.shape)
            for value in (self.dataset_size, self.batch_size)
        )
        if np.any(short := size < batch):
            raise ValueError(
                f"dataset_size = {size[short][0]:g}: it must be ≥ batch_size, {batch[short][0]:g}."
            )
        if np.any(broken := size != np.floor(size)):
            raise ValueError(
                f"dataset_size = {size[broken][0]}: it must be a whole number of examples."
            )

    @classmethod
    def grid(
        cls,
        learning_rate: Any,
        momentum: Any = 0.0,
        batch_size: Any = 1,
        weight_decay: Any = 0.0,
        dataset_size: Any = None,
    ) -> Hyperparameters:
        """Every combination of the values given: an axis, of its name, for each that is several.

        Args:
            learning_rate: η > 0, a number or a sequence of them.
            momentum: likewise, 0 ≤ β < 1.
            batch_size: likewise, S > 0.
            weight_decay: likewise, λ ≥ 0.
            dataset_size: likewise, N.

        Returns:
            Hyperparameters that hold xarray.DataArrays, so that results carry named axes.

        Raises:
            ImportError: when xarray is not installed.
            ValueError: for what is neither a number nor a flat sequence, by name.

        >>> runs = Hyperparameters.grid(learning_rate=[0.1, 0.2, 0.3], momentum=[0.0, 0.9])
        >>> runs.shape, runs.momentum.dims
        ((3, 2), ('momentum',))
        """
        return cls(
            _axis("learning_rate", learning_rate),
            _axis("momentum", momentum),
            _axis("batch_size", batch_size),
            _axis("weight_decay", weight_decay),
            _axis("dataset_size", dataset_size),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What was given, by the arguments' names.

        >>> Hyperparameters(0.1).settings
        {'learning_rate': 0.1, 'momentum': 0.0, 'batch_size': 1, 'weight_decay': 0.0}
        """
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    @cached_property
    def sweep(self) -> Sweep:
        """The axes along which they vary."""
        return Sweep(self.settings)

    def sweep_with(self, parameters: Mapping[Symbol, Any]) -> Sweep:
        """The axes along which they and a rule's parameters vary.

        Args:
            parameters: values of the rule's symbols beside η and β, numbers or arrays.

        Raises:
            ValueError: when they do not broadcast against one another, with their shapes.
        """
        own = {str(symbol): value for symbol, value in parameters.items()}
        return Sweep({**self.settings, **own})

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the sweep's axes; () for one setting."""
        return self.sweep.shape

    def require_for(self, rule: UpdateRule, parameters: Mapping[Symbol, Any]) -> None:
        """Refuse what does not fit a rule: a momentum that it lacks, or other further symbols.

        Args:
            rule: the optimiser.
            parameters: values of its symbols beside η and β, numbers or arrays.

        Raises:
            ValueError: naming what does not fit.
        """
        momenta = detached(self.momentum)
        if s.beta not in rule.parameters and np.any(momenta):
            raise ValueError(
                f"momentum = {momenta[momenta != 0][0]:g}: the {rule.name} rule has none. Set it "
                "to 0, or choose another rule."
            )
        own = rule.parameters - {s.eta, s.beta}
        if own != set(parameters):
            raise ValueError(
                f"parameters = {dict(parameters)}: the {rule.name} rule has the further symbols "
                f"{sorted(own, key=str)}; give exactly these, by symbol."
            )
        for symbol, value in parameters.items():
            check_numbers(f"parameters: {symbol}", value)

    @property
    def values(self) -> dict[Symbol, Any]:
        """The numbers by the symbols of the theory, to insert into its expressions.

        >>> Hyperparameters(0.1, momentum=0.9, batch_size=128).values[s.beta]
        0.9
        """
        values = {
            s.eta: self.learning_rate,
            s.beta: self.momentum,
            s.S: self.batch_size,
            s.lamda: self.weight_decay,
        }
        if self.dataset_size is None:
            return values
        return values | {s.N: self.dataset_size, s.M: self.updates_per_epoch}

    @property
    def updates_per_epoch(self) -> Any:
        """M, full batches in the data set; an incomplete one is dropped. An array for a sweep.

        Raises:
            ValueError: without `dataset_size`.

        >>> Hyperparameters(0.1, batch_size=128, dataset_size=50_000).updates_per_epoch
        390
        """
        if self.dataset_size is None:
            raise ValueError(
                "dataset_size = None: counting epochs needs the number of examples. Give "
                "Hyperparameters(..., dataset_size=N)."
            )
        examples, batch = (
            value if is_named(value) else detached(value)
            for value in (self.dataset_size, self.batch_size)
        )
        updates = examples // batch
        return updates.astype(np.int64) if is_named(updates) or updates.ndim else int(updates)


def require_hyperparameters(value: object) -> None:
    """Refuse what is none.

    Raises:
        TypeError: saying what was given.
    """
    if not isinstance(value, Hyperparameters):
        raise TypeError(f"hyperparameters = {shortened(value)}: give Hyperparameters(...).")


def _axis(name: str, values: Any) -> Any:
    """Several values as an array with an axis of that name; a number as it is."""
    if values is None or isinstance(values, str) or np.ndim(values) == 0:
        return values
    if np.ndim(values) > 1 or is_named(values) or backend_of([values]) == "torch":
        raise ValueError(
            f"{name} = {shortened(values)}: a grid takes a number or a flat sequence of them. Give "
            "other arrays, with axes that broadcast, to Hyperparameters(...)."
        )
    xarray = xarray_for("Hyperparameters.grid")
    return xarray.DataArray(np.asarray(values), dims=name, coords={name: np.asarray(values)})
