r"""Many independent runs of one optimiser on one problem, simulated as they are.

Nothing of the theory enters but the rule itself: the batches are drawn, the gradient is taken where
the rule takes it, and the rule is applied.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from sympy import ImmutableMatrix, Symbol

from sgdtheory.arrays import backend_of, detached, like, shortened
from sgdtheory.ensembles.counter_based_generator import key_of
from sgdtheory.ensembles.plan import Draws, Examples, Plan, Step
from sgdtheory.ensembles.run import Run
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.sampling import SAMPLINGS
from sgdtheory.second_moments import HEAVY_BALL, Setting
from sgdtheory.update_rule import UpdateRule

__all__ = ["Ensemble", "checked"]

# A draw is one of 2⁶⁶ of its replica, an example one of less than 2³¹, or products overflow.
_LARGEST = 2**31 - 1
_LAST_STEP = 2**31


@lru_cache(maxsize=256)
def _coefficients(rule: UpdateRule, symbols: tuple[Symbol, ...]) -> LoweredFunction:
    return lower(ImmutableMatrix([list(rule.coefficients)]), symbols)


def _step(setting: Setting) -> Step:
    values = setting.values
    numbers = _coefficients(setting.rule, tuple(values))(*values.values())
    return Step(*np.ravel(numbers).tolist())


def _whole(name: str, value: Any, least: int, most: int) -> int:
    number = detached(value)
    if (
        number.ndim
        or number.dtype.kind not in "iuf"
        or not least <= number <= most
        or number != np.floor(number)
    ):
        raise ValueError(
            f"{name} = {shortened(value)}: give one whole number from {least} to {most}."
        )
    return int(number)


def checked(name: str, value: Any, dimensions: int, reference: Any) -> Any:
    """Finite numbers of the reference's kind.

    Args:
        name: of the argument, for the message.
        value: what was given.
        dimensions: how many axes it must have.
        reference: an array.

    Raises:
        ValueError: naming the argument.
    """
    array = like(value, reference)
    if len(array.shape) != dimensions or 0 in array.shape:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}: it must have {dimensions} axes, and entries."
        )
    if not np.all(np.isfinite(detached(array))):
        raise ValueError(f"{name} holds numbers that are not finite. Remove or repair them.")
    return array.contiguous() if backend_of([array]) == "torch" else np.ascontiguousarray(array)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble(ShownAsTable, ABC):
    """Independent replicas of SGD on N examples.

    Replica r of a seed draws the same batches whatever else is simulated: with more replicas or
    fewer, by any number of threads, in one run or in several, by Numba or by torch. NumPy arrays
    are simulated by Numba, on all of its threads; torch tensors by torch, on their device and in
    their floating type.

    Args:
        replicas: R.
        seed: 0 ≤ seed < 2⁶⁴.
        first_replica: number of the first one, so that an ensemble can be had in parts.
    """

    replicas: int
    seed: int = 0
    first_replica: int = 0
    _key: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, least in (("replicas", 1), ("first_replica", 0)):
            number = _whole(name, getattr(self, name), least, _LARGEST)
            object.__setattr__(self, name, number)
        object.__setattr__(self, "_key", key_of(self.seed))

    @property
    @abstractmethod
    def _rows(self) -> Any:
        """What is drawn, (N, d)."""

    @abstractmethod
    def _examples(self, weight_decay: float) -> Examples:
        """The problem with its weight decay."""

    def _draws(self, hyperparameters: Hyperparameters, sampling: str) -> Draws:
        if not isinstance(sampling, str) or sampling not in SAMPLINGS:
            raise ValueError(f"sampling = {sampling!r}: give one of {', '.join(SAMPLINGS)}.")
        examples = len(self._rows)
        epochs = sampling != "with_replacement"
        size = _whole("batch_size", hyperparameters.batch_size, 1, examples if epochs else _LARGEST)
        if hyperparameters.dataset_size not in (None, examples):
            raise ValueError(
                f"dataset_size = {hyperparameters.dataset_size}: there are {examples} examples. "
                "Give this number, or none."
            )
        repeats = SAMPLINGS[sampling]().repeats
        return Draws(examples, size, epochs, repeats, *self._key, self.first_replica)

    def _state(self, name: str, value: Any) -> Any:
        size = self._rows.shape[1]
        given = like(value, self._rows)
        if tuple(given.shape) not in ((), (size,), (self.replicas, size)):
            raise ValueError(
                f"{name} has shape {tuple(given.shape)}: give one number, ({size},) for a start "
                f"that all replicas share, or ({self.replicas}, {size})."
            )
        if not np.all(np.isfinite(detached(given))):
            raise ValueError(f"{name} = {shortened(value)}: it must be finite.")
        return like(np.zeros((self.replicas, size)), self._rows) + given

    def _records(self, steps: Any, first_step: int) -> Any:
        counts = np.atleast_1d(detached(steps))
        if (
            counts.ndim != 1
            or counts.size == 0
            or counts.dtype.kind not in "iu"
            or np.any(counts[1:] <= counts[:-1])
            or np.min(counts) < first_step
            or np.max(counts) > _LAST_STEP
        ):
            raise ValueError(
                f"steps = {shortened(steps)}: give whole numbers of updates, ascending, from "
                f"first_step = {first_step} to {_LAST_STEP}."
            )
        return counts.astype(np.int64)

    def _directions(self, directions: Any) -> Any:
        size = self._rows.shape[1]
        if directions is None:
            return like(np.empty((size, 0)), self._rows)
        given = checked("directions", directions, 2, self._rows)
        if given.shape[0] != size:
            raise ValueError(
                f"directions has shape {tuple(given.shape)}: give one a column, ({size}, m)."
            )
        return given

    def simulate(
        self,
        hyperparameters: Hyperparameters,
        steps: Any,
        position: Any = 0.0,
        velocity: Any = 0.0,
        rule: UpdateRule = HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
        *,
        sampling: str = "with_replacement",
        first_step: int = 0,
        directions: Any = None,
    ) -> Run:
        """Run all replicas, and keep their states after given numbers of updates.

        Args:
            hyperparameters: η, β, S, λ.
            steps: update counts, ascending; counted from the beginning, not from `first_step`.
            position: θ at the start: one number, (d,), or (R, d).
            velocity: likewise; 0 for a fresh optimiser.
            rule: the optimiser.
            parameters: values of the rule's further symbols.
            sampling: "with_replacement", "epochs" or "fixed_order"; an incomplete batch is
                dropped.
            first_step: updates made before: to go on where a run ended, give its last step,
                position and velocity.
            directions: what states are projected on, (d, m), a column each; by default they are
                kept whole.

        Raises:
            ValueError: naming the argument, its value and the limit it broke.
        """
        setting = Setting(hyperparameters, rule, parameters)
        first = _whole("first_step", first_step, 0, _LAST_STEP)
        plan = Plan(
            self._examples(setting.weight_decay),
            _step(setting),
            self._draws(hyperparameters, sampling),
            first,
            self._records(steps, first),
            self._directions(directions),
        )
        start = self._state("position", position), self._state("velocity", velocity)
        return Run(plan.records, *_back_end("ensemble", self._rows).follow(plan, *start))

    def batches(
        self,
        hyperparameters: Hyperparameters,
        updates: int,
        *,
        sampling: str = "with_replacement",
        first_step: int = 0,
    ) -> Any:
        """Numbers of the examples of every batch that the replicas draw, (R, updates, S).

        Args:
            hyperparameters: their batch size counts.
            updates: how many.
            sampling: "with_replacement", "epochs" or "fixed_order".
            first_step: updates before the first of them.
        """
        draws = self._draws(hyperparameters, sampling)
        first = _whole("first_step", first_step, 0, _LAST_STEP)
        count = _whole("updates", updates, 1, _LAST_STEP)
        place = {"device": self._rows.device} if backend_of([self._rows]) == "torch" else {}
        drawn = _back_end("batches", self._rows)
        return drawn.batches(draws, self.replicas, first, count, **place)


def _back_end(part: str, array: Any) -> Any:
    name = "torch" if backend_of([array]) == "torch" else "numba"
    if find_spec(name) is None:
        raise ModuleNotFoundError(
            "NumPy arrays are simulated by Numba: pip install 'sgdtheory[numba]', or give tensors."
        )
    return import_module(f"sgdtheory.ensembles.{name}_{part}")
