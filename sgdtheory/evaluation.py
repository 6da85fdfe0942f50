r"""A run as it is asked about: its settings, checked once, and a direction's results at them.

Whatever can be said of one direction is an expression of the chapters above, lowered; here it is
evaluated for all directions, steps and settings of a sweep, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any

import numpy as np
from sympy import EmptySet, Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import (
    backend_of,
    common_kind,
    concatenated,
    detached,
    double,
    is_named,
    like,
    shortened,
)
from sgdtheory.direction_results import lowered_result
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.sampling import SAMPLINGS
from sgdtheory.spectrum import Spectrum
from sgdtheory.stability import jury_conditions
from sgdtheory.sweeps import Sweep
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Evaluation", "few_settings_at_once"]

THEORIES = ("discrete", "continuous")
# The largest whole number up to which every other one is a double.
LARGEST_STEP = 2.0**53
# Settings × steps × modes whose values are held at once on the way to a sum over the modes.
_HELD = 2**20

Array = np.ndarray[Any, np.dtype[np.float64]]


def few_settings_at_once(sum_over_modes: Callable[..., Any]) -> Callable[..., Any]:
    """A sweep's sums over the modes, part by part: its values per mode need not fit in memory.

    Args:
        sum_over_modes: a method of an `Evaluation`, of counts and further arguments.
    """

    @wraps(sum_over_modes)
    def summed(self: Evaluation, counts: Any, *args: Any, **settings: Any) -> Any:
        few = max(1, _HELD // max(1, counts.size * len(self.spectrum)))
        if self.sweep.size <= few:
            return sum_over_modes(self, counts, *args, **settings)
        parts = [sum_over_modes(part, counts, *args, **settings) for part in self._parts(few)]
        joined = concatenated(parts)
        return joined.reshape((*self.sweep.shape, *joined.shape[1:]))

    return summed


@dataclass(frozen=True, eq=False)
class Evaluation(ShownAsTable):
    """The settings of a run or a sweep, and results of its directions; see `Predictor`."""

    hyperparameters: Hyperparameters
    spectrum: Spectrum
    theory: str = "discrete"
    rule: UpdateRule = field(default_factory=heavy_ball)
    sampling: str = "with_replacement"
    parameters: Mapping[Symbol, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (
            ("hyperparameters", Hyperparameters),
            ("spectrum", Spectrum),
            ("rule", UpdateRule),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                advice = f"give a {kind.__name__}"
                if hasattr(value, "stationary"):
                    advice += f", as the {type(value).__name__}'s .stationary(hyperparameters) is"
                raise ValueError(f"{name} = {shortened(value)}: {advice}.")  # noqa: TRY004
        if self.theory not in THEORIES:
            raise ValueError(f"theory = {self.theory!r}: give one of {', '.join(THEORIES)}.")
        self._check_sampling()
        self.hyperparameters.require_for(self.rule, self.parameters)
        self.spectrum.require_for(self.hyperparameters, self.rule, self.parameters, self.sampling)
        if self.sweep.named:
            self._require_numpy("the sweep", self.sweep.axes)

    @cached_property
    def sweep(self) -> Sweep:
        """The axes along which hyperparameters and parameters vary."""
        return self.hyperparameters.sweep_with(self.parameters)

    def _require_numpy(self, named: str, axes: tuple[Any, ...]) -> None:
        if backend_of(self._inputs) == "torch":
            raise ValueError(
                f"{named} has the named axes {axes}, and the spectrum, a hyperparameter or a "
                "parameter is a torch tensor: results cannot have both names and gradients. Pass "
                "plain arrays, or no tensors."
            )

    def _check_sampling(self) -> None:
        if not isinstance(self.sampling, str) or self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling = {self.sampling!r}: give one of {', '.join(SAMPLINGS)}.")
        if self.sampling == "with_replacement":
            return
        if self.theory == "continuous":
            raise ValueError(
                f"sampling = {self.sampling!r} with theory = 'continuous': what an epoch remembers "
                "is counted in updates, and has no counterpart in continuous time. Use "
                "theory='discrete'."
            )
        batch = detached(self.hyperparameters.batch_size)
        broken = (batch != np.floor(batch)) | (batch < 1)
        if np.any(broken):
            raise ValueError(
                f"batch_size = {batch[broken][0]:g} with sampling = {self.sampling!r}: an epoch is "
                "divided into batches of whole examples. Give a whole number."
            )
        size = self.hyperparameters.dataset_size
        if size is None or np.any(detached(size) < 2):
            raise ValueError(
                f"dataset_size = {size}: sampling = {self.sampling!r} needs a data set of at least "
                "2 examples. Give Hyperparameters(..., dataset_size=N)."
            )

    # -- results of a direction ----------------------------------------------------------------

    @property
    def _inputs(self) -> tuple[Any, ...]:
        hyper = self.hyperparameters
        return (
            self.spectrum.eigenvalues,
            self.spectrum.variances,
            hyper.learning_rate,
            hyper.momentum,
            hyper.batch_size,
            hyper.weight_decay,
            *self.parameters.values(),
        )

    @cached_property
    def _kind(self) -> Any:
        """A number of the kind, floating type and device that outputs take over.

        Everything is computed in double precision; a NumPy spectrum stands for float64.
        """
        return common_kind(self._inputs)

    @cached_property
    def _double(self) -> Any:
        return double(self._kind)

    @property
    def curvature(self) -> Any:
        """The curvature h = ρ + λ of every direction, shape (modes,)."""
        # Each setting has its own, also where they are all the same.
        alike = like(np.zeros((*self.sweep.shape, 1)), self._double)
        return self._output("curvature", self._curvature() + alike, "mode")

    def _curvature(self, axes: int = 0) -> Any:
        """With `axes` of length 1 between the sweep's and that of the modes."""
        decay = self._setting(self.hyperparameters.weight_decay, axes + 1)
        return like(self.spectrum.eigenvalues, self._double) + decay

    def _setting(self, value: Any, axes: int) -> Any:
        """A number as it is; an array with the sweep's axes, then `axes` of length 1."""
        aligned = self.sweep.aligned(value)
        if np.ndim(aligned) == 0:
            return aligned
        return like(aligned, self._double)[(..., *(None,) * axes)]

    @property
    def _rule_settings(self) -> tuple[Any, ...]:
        """η, β, S and the rule's own parameters, in the order of lowered results."""
        hyper = self.hyperparameters
        own = (self.parameters[symbol] for symbol in sorted(self.parameters, key=str))
        return hyper.learning_rate, hyper.momentum, hyper.batch_size, *own

    @property
    def _epoch(self) -> tuple[Any, Any]:
        """N and M; without epochs no result contains them."""
        hyper = self.hyperparameters
        if hyper.dataset_size is None:
            return 0.0, 0.0
        return hyper.dataset_size, hyper.updates_per_epoch

    def _parts(self, size: int) -> Iterator[Any]:
        """Predictors of `size` settings each, in one row, of all that the sweep has."""
        for start in range(0, self.sweep.size, size):
            row = slice(start, start + size)
            hyper = {
                name: self.sweep.part(value, row)
                for name, value in self.hyperparameters.settings.items()
            }
            own = {x: self.sweep.part(value, row) for x, value in self.parameters.items()}
            yield replace(self, hyperparameters=Hyperparameters(**hyper), parameters=own)

    def _evaluate(
        self, result: str, steps: Any = 0, *, theory: str | None = None, phase: int = 0
    ) -> Any:
        """A result at `steps` (with a modes axis added), per mode, in double precision."""
        theory = theory or self.theory
        counts = np.asarray(steps, dtype=np.float64)[..., None]
        time = like(counts, self._double)
        axes = counts.ndim
        rate, momentum, batch, *own = (self._setting(x, axes) for x in self._rule_settings)
        if theory == "continuous":
            time = time * rate
        function = lowered_result(
            self.rule, theory, self.sampling, result, backend_of([self._double])
        )
        values = function(
            time,
            self._curvature(axes - 1),
            like(self.spectrum.variances, self._double),
            rate,
            momentum,
            batch,
            *(self._setting(x, axes) for x in self._epoch),
            phase,
            *own,
        )
        return self._finite(result, values, counts)

    def _finite(self, result: str, values: Any, counts: Array) -> Any:
        """Values of a result, refused where they are too large."""
        finite = np.isfinite(detached(values))
        if not np.all(finite):
            where = tuple(np.argwhere(~finite)[0][: len(self.sweep.shape)])
            raise UnstableError(
                f"{result} at steps up to {np.max(counts, initial=0):g}{self.sweep.place(where)} "
                "is too large for floating point: a direction is unstable and grows without limit, "
                "or its noise does not fit. Ask for fewer steps, or choose other units."
            )
        return values

    def _steps(self, steps: Any, minimum: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
        if is_named(steps):
            self.sweep.require_named_steps(steps)
            self._require_numpy("steps", steps.dims)
        try:
            given = detached(steps)
        except (TypeError, ValueError):
            given = np.asarray(None)
        # A list of nothing is an array of no counts; NumPy would also read text and drop i.
        if given.size and given.dtype.kind not in "iuf":
            raise ValueError(f"steps = {steps!r}: give update counts, one or an array.")
        counts = given.astype(np.float64)
        if not np.all(np.isfinite(counts) & (counts >= minimum) & (counts <= LARGEST_STEP)):
            raise ValueError(
                f"steps = {steps}: update counts must be finite, ≥ {minimum} and ≤ 2⁵³."
            )
        if np.any(counts != np.floor(counts)):
            raise ValueError(f"steps = {steps}: update counts must be whole numbers. Round them.")
        return counts

    @cached_property
    def _first_unstable(self) -> tuple[int, ...] | None:
        """Setting and direction of the first that has no stationary state.

        The updates themselves must be stable; so must the theory's own process.
        """
        few = max(1, _HELD // len(self.spectrum))
        if self.sweep.size > few:
            for number, part in enumerate(self._parts(few)):
                if (found := part._first_unstable) is not None:
                    setting = np.unravel_index(number * few + found[0], self.sweep.shape)
                    return (*map(int, setting), found[-1])
            return None
        stable = np.all([c > 0 for c in jury_conditions(*self._characteristic("discrete"))], axis=0)
        if self.theory == "continuous":
            stable &= np.all([c > 0 for c in self._characteristic("continuous")], axis=0)
        return None if np.all(stable) else tuple(map(int, np.argwhere(~stable)[0]))

    def _require_stationary(self) -> None:
        if self._first_unstable is None:
            return
        *setting, i = self._first_unstable
        where, hyper = tuple(setting), self.hyperparameters
        rho = detached(self.spectrum.eigenvalues)[i]
        h = rho + self.sweep.number(hyper.weight_decay, where)
        rate = self.sweep.number(hyper.learning_rate, where) * h
        momentum = self.sweep.number(hyper.momentum, where)
        interval = recursion(self.rule).stability
        assert interval is not None
        own = {x: self.sweep.number(value, where) for x, value in self.parameters.items()}
        here = {s.beta: momentum, **own}
        stable = interval.subs(here)
        if stable is EmptySet:
            letters = ", ".join(f"{name} = {value:g}" for name, value in here.items())
            raise UnstableError(
                f"eigenvalues[{i}] = {rho:g}{self.sweep.place(where)}: with {letters} the updates "
                "are stable for no learning rate. Change these."
            )
        raise UnstableError(
            f"eigenvalues[{i}] = {rho:g}{self.sweep.place(where)} gives h = {h:g} and "
            f"ηh = {rate:g}; a stationary state needs ηh in {interval}, here "
            f"{stable.evalf(4)}, with β = {momentum:g}. "
            + ("Lower the learning rate" if h > 0 else "Raise the weight decay")
            + ", leave the direction out, or use mean(), covariance() or "
            "displacement(position=...), which need no stationary state."
        )

    def _characteristic(self, theory: str | None = None) -> tuple[Any, Any]:
        """Trace and determinant of the generator per mode, as NumPy numbers."""
        shape = (*self.sweep.shape, len(self.spectrum))
        return (
            np.broadcast_to(detached(self._evaluate("trace", theory=theory)), shape),
            np.broadcast_to(detached(self._evaluate("determinant", theory=theory)), shape),
        )

    # -- what a caller gives and gets ----------------------------------------------------------

    def _output(self, name: str, values: Any, *axes: str, steps: Any = None) -> Any:
        """A result as the caller's kind of array; `axes` follow the sweep's and the steps'."""
        if not isinstance(values, np.ndarray) or values.dtype.kind != "U":
            values = like(values, self._kind)
        if not (self.sweep.named or is_named(steps)):
            return values
        return self.sweep.labelled(name, values, steps, axes, self.spectrum.eigenvalues)
