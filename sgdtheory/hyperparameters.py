r"""What a training run sets: learning rate, momentum, batch size, weight decay, data set size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import detached
from sgdtheory.update_rule import UpdateRule

__all__ = ["Hyperparameters", "check_number"]


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """What a training run sets.

    Args:
        learning_rate: η > 0.
        momentum: 0 ≤ β < 1.
        batch_size: S > 0, examples.
        weight_decay: λ ≥ 0, loss/θ².
        dataset_size: N, examples; needed by sampling models that count epochs.

    A number, or a torch scalar if gradients with respect to it are wanted.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.
    """

    learning_rate: Any
    momentum: Any = 0.0
    batch_size: Any = 1
    weight_decay: Any = 0.0
    dataset_size: int | None = None

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_number("momentum", self.momentum, at_least=0.0, below=1.0)
        check_number("batch_size", self.batch_size, above=0.0)
        check_number("weight_decay", self.weight_decay, at_least=0.0)
        if self.dataset_size is not None:
            check_number(
                "dataset_size", self.dataset_size, at_least=float(self.batch_size), below=2.0**53
            )
            if self.dataset_size != int(self.dataset_size):
                raise ValueError(
                    f"dataset_size = {self.dataset_size}: it must be a whole number of examples."
                )

    def require_for(self, rule: UpdateRule, parameters: Mapping[Symbol, Any]) -> None:
        """Refuse what does not fit a rule: a momentum that it lacks, or other further symbols.

        Args:
            rule: the optimiser.
            parameters: values of its symbols beside η and β.

        Raises:
            ValueError: naming what does not fit.
        """
        momentum = float(detached(self.momentum))
        if s.beta not in rule.parameters and momentum:
            raise ValueError(
                f"momentum = {momentum:g}: the {rule.name} rule has none. Set it to 0, or choose "
                "another rule."
            )
        own = rule.parameters - {s.eta, s.beta}
        if own != set(parameters):
            raise ValueError(
                f"parameters = {dict(parameters)}: the {rule.name} rule has the further symbols "
                f"{sorted(own, key=str)}; give exactly these, by symbol."
            )
        for symbol, value in parameters.items():
            check_number(f"parameters: {symbol}", value)

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
    def updates_per_epoch(self) -> int:
        """M, full batches in the data set; an incomplete one is dropped.

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
        return int(self.dataset_size // float(detached(self.batch_size)))


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    below: float = np.inf,
) -> None:
    """Refuse what is not one finite number inside the limits, by name.

    Args:
        name: of the argument, for the message.
        value: what was given.
        above: it must be larger.
        at_least: it must not be smaller.
        below: it must be smaller.

    Raises:
        ValueError: naming the argument, its value and the limits.
    """
    limits = ["finite"] + [
        text
        for text, used in (
            (f"> {above:g}", above > -np.inf),
            (f"≥ {at_least:g}", at_least > -np.inf),
            (f"< {below:g}", below < np.inf),
        )
        if used
    ]
    try:
        number = float("nan" if isinstance(value, str) else detached(value))
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not (np.isfinite(number) and number > above and number >= at_least and number < below):
        raise ValueError(f"{name} = {value!r}: it must be one number, {' and '.join(limits)}.")
