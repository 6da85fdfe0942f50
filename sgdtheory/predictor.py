r"""Hyperparameters and a spectrum in, arrays out: the numeric face of both theories.

Each number is a lowered expression of the chapters above. A predictor adds no physics: it checks
its input once, evaluates, and weighs by the spectrum's counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, cast

import numpy as np
from sympy import Expr, ImmutableMatrix, Integer, Symbol

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
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.displacement import local_exponent, squared_distance
from sgdtheory.epoch_recursion import EpochRecursion
from sgdtheory.gaussian_process import GaussianProcess, UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.landscape import Landscape
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.sampling import SAMPLINGS
from sgdtheory.spectrum import Spectrum
from sgdtheory.stability import jury_conditions
from sgdtheory.sweeps import Sweep
from sgdtheory.time_scales import regimes, relaxation_time, relaxation_updates
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Predictor"]

THEORIES = ("discrete", "continuous")
# The largest whole number up to which every other one is a double.
LARGEST_STEP = 2.0**53
# Settings × steps × modes whose values are held at once on the way to a sum over the modes.
_HELD = 2**20


_EPOCH_SYMBOLS = (s.N, s.M, s.phase)


def _process(rule: UpdateRule, theory: str, sampling: str) -> GaussianProcess:
    """One eigen-direction of curvature h and noise variance Σ."""
    if theory == "discrete":
        return recursion(rule, noise=s.Sigma, curvature=s.h, sampling=sampling)
    return ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)


_TIMED = ("propagator", "departure", "covariance", "autocovariance", "displacement")
# What changes in two updates.
_SPANNING = ("departure_growth", "covariance_growth", "displacement_growth")


@lru_cache(maxsize=1024)
def _lowered(
    rule: UpdateRule, theory: str, sampling: str, result: str, backend: str
) -> LoweredFunction:
    """A result as a function of (time, h, Σ, η, β, S, N, M, φ, the rule's own symbols)."""
    process = _process(rule, theory, sampling)
    time = s.k if theory == "discrete" else s.t
    if result == "phased_covariance":
        # A start inside an epoch costs a propagation more, so it is a result of its own.
        expression = cast(EpochRecursion, process).covariance(s.k, s.phase)
    elif result in _SPANNING:
        span = Integer(2) if theory == "discrete" else 2 * s.eta
        level = getattr(process, result.removesuffix("_growth"))(time)
        growth = getattr(process, result)(time, span)
        # Side by side they share their coefficients, and these leave the quotient.
        parts = ([[x]] if isinstance(x, Expr) else x for x in (level, growth))
        expression = ImmutableMatrix.hstack(*map(ImmutableMatrix, parts))
    else:
        value = getattr(process, result)
        expression = value(time) if result in _TIMED else value() if callable(value) else value
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    arguments = (time, s.h, s.Sigma, s.eta, s.beta, s.S, *_EPOCH_SYMBOLS, *own)
    return lower(expression, arguments, backend)


def _few_settings_at_once(sum_over_modes: Callable[..., Any]) -> Callable[..., Any]:
    """A sweep's sums over the modes, part by part: its values per mode need not fit in memory."""

    @wraps(sum_over_modes)
    def summed(self: Predictor, counts: Any, *args: Any, **settings: Any) -> Any:
        few = max(1, _HELD // max(1, counts.size * len(self.spectrum)))
        if self.sweep.size <= few:
            return sum_over_modes(self, counts, *args, **settings)
        parts = [sum_over_modes(part, counts, *args, **settings) for part in self._parts(few)]
        joined = concatenated(parts)
        return joined.reshape((*self.sweep.shape, *joined.shape[1:]))

    return summed


@dataclass(frozen=True, eq=False)
class Predictor:
    r"""Predictions for a run: hyperparameters, a spectrum, and one of two theories.

    Args:
        hyperparameters: η, β, S, λ.
        spectrum: eigenvalues and noise variances; or a `Landscape`, whose H and Σ need not commute:
            then this is a `DensePredictor`, with the same verbs in the landscape's coordinates.
        theory: "discrete" (exact for a quadratic loss) or "continuous" (Langevin equation).
        rule: the optimiser; heavy ball, as torch.optim.SGD, by default.
        sampling: "with_replacement", batches with independent errors; "epochs", reshuffled, or
            "fixed_order", one order for ever. The latter two need the discrete theory and the
            hyperparameters' dataset_size.
        parameters: values of the rule's further symbols, as ``{symbols.nu: 0.7}``; numbers or
            arrays.

    Steps are update counts everywhere, a number or an array; results have the shape of `steps`,
    then (modes,), then the state (θ − μ, v). Under epochs stationary results are averages over the
    phase, the place in an epoch; transient ones start at an epoch's first batch unless `phase`
    says how many of its batches were over.

    Hyperparameters and parameters may be arrays, which broadcast: every result has the sweep's
    axes in front. Where they, or the steps, are xarray.DataArrays, so are the results, with the
    axes "step", "mode", "state" and "state\_" after the sweep's, and the settings, the steps and
    the eigenvalues as coordinates.

    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.9, batch_size=10)
    >>> model = Predictor(hyper, Spectrum([1.0, 0.1]))
    >>> model.stationary_covariance()[:, 0, 0].round(5)
    array([0.05135, 0.05013])
    >>> model.regime
    ('underdamped', 'underdamped')
    >>> sweep = Hyperparameters(learning_rate=np.array([0.1, 0.2, 0.4]), momentum=0.9)
    >>> Predictor(sweep, Spectrum([1.0, 0.1])).displacement([1, 10]).shape
    (3, 2)
    """

    hyperparameters: Hyperparameters
    spectrum: Spectrum
    theory: str = "discrete"
    rule: UpdateRule = field(default_factory=heavy_ball)
    sampling: str = "with_replacement"
    parameters: Mapping[Symbol, Any] = field(default_factory=dict)

    def __new__(
        cls, hyperparameters: Any = None, spectrum: Any = None, *args: Any, **settings: Any
    ) -> Any:
        """A landscape's predictor works in its own coordinates."""
        if isinstance(spectrum, Landscape):
            modes = cls(hyperparameters, spectrum.spectrum, *args, **settings)
            return DensePredictor(spectrum, modes)
        return super().__new__(cls)

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

    # -- evaluation ---------------------------------------------------------------------------

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
    def _epoch(self) -> tuple[Any, Any]:
        """N and M; without epochs no result contains them."""
        hyper = self.hyperparameters
        if hyper.dataset_size is None:
            return 0.0, 0.0
        return hyper.dataset_size, hyper.updates_per_epoch

    def _parts(self, size: int) -> Iterator[Predictor]:
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
        hyper = self.hyperparameters
        theory = theory or self.theory
        counts = np.asarray(steps, dtype=np.float64)[..., None]
        time = like(counts, self._double)
        axes = counts.ndim
        rate, momentum, batch, *others = (
            self._setting(value, axes)
            for value in (
                hyper.learning_rate,
                hyper.momentum,
                hyper.batch_size,
                *self._epoch,
                *(self.parameters[symbol] for symbol in sorted(self.parameters, key=str)),
            )
        )
        if theory == "continuous":
            time = time * rate
        function = _lowered(self.rule, theory, self.sampling, result, backend_of([self._double]))
        values = function(
            time,
            self._curvature(axes - 1),
            like(self.spectrum.variances, self._double),
            rate,
            momentum,
            batch,
            *others[:2],
            phase,
            *others[2:],
        )
        finite = np.isfinite(detached(values))
        if not np.all(finite):
            where = tuple(np.argwhere(~finite)[0][: len(self.sweep.shape)])
            raise UnstableError(
                f"{result} at steps up to {np.max(counts, initial=0):g}{self.sweep.place(where)} "
                "is too large for floating point: a direction is unstable and grows without limit. "
                "Ask for fewer steps."
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

    def _require_stationary(self) -> None:
        """The updates themselves must be stable; so must the theory's own process."""
        stable = np.all([c > 0 for c in jury_conditions(*self._characteristic("discrete"))], axis=0)
        if self.theory == "continuous":
            stable &= np.all([c > 0 for c in self._characteristic("continuous")], axis=0)
        if np.all(stable):
            return
        *setting, i = map(int, np.argwhere(~stable)[0])
        where, hyper = tuple(setting), self.hyperparameters
        rho = detached(self.spectrum.eigenvalues)[i]
        h = rho + self.sweep.number(hyper.weight_decay, where)
        rate = self.sweep.number(hyper.learning_rate, where) * h
        momentum = self.sweep.number(hyper.momentum, where)
        interval = recursion(self.rule).stability
        assert interval is not None
        own = {x: self.sweep.number(value, where) for x, value in self.parameters.items()}
        here = {s.beta: momentum, **own}
        raise UnstableError(
            f"eigenvalues[{i}] = {rho:g}{self.sweep.place(where)} gives h = {h:g} and "
            f"ηh = {rate:g}; a stationary state needs ηh in {interval}, which is "
            f"{interval.subs(here)} at β = {momentum:g}. "
            + ("Lower the learning rate" if h > 0 else "Raise the weight decay")
            + ", leave the direction out, or use mean(), covariance() or "
            "displacement(position=...), which need no stationary state."
        )

    # -- moments ------------------------------------------------------------------------------

    def stationary_covariance(self) -> Any:
        """Covariance of (θ − μ, v) in the stationary state, shape (modes, 2, 2).

        Raises:
            UnstableError: when a direction has no stationary state, naming it.
        """
        values = self._stationary_covariance()
        return self._output("stationary_covariance", values, "mode", "state", "state_")

    def _stationary_covariance(self) -> Any:
        self._require_stationary()
        return self._evaluate("stationary_covariance")

    def _output(self, name: str, values: Any, *axes: str, steps: Any = None) -> Any:
        """A result as the caller's kind of array; `axes` follow the sweep's and the steps'."""
        if not isinstance(values, np.ndarray) or values.dtype.kind != "U":
            values = like(values, self._kind)
        if not (self.sweep.named or is_named(steps)):
            return values
        return self.sweep.labelled(name, values, steps, axes, self.spectrum.eigenvalues)

    def mean(self, steps: Any, position: Any, velocity: Any = 0.0) -> Any:
        """Mean of (θ − μ, v) after `steps` updates, shape (steps, modes, 2).

        Args:
            steps: update counts.
            position: start, as an offset from the minimum in the eigenbasis, (modes,) or a number.
            velocity: start velocity likewise; 0 for a fresh optimiser.
        """
        values = self._mean(self._steps(steps), position, velocity)
        return self._output("mean", values, "mode", "state", steps=steps)

    def _mean(self, counts: Any, position: Any, velocity: Any) -> Any:
        flow = self._evaluate("propagator", counts)
        return flow[..., 0] * self._offset("position", position)[..., None] + (
            flow[..., 1] * self._offset("velocity", velocity)[..., None]
        )

    def covariance(self, steps: Any, phase: int = 0) -> Any:
        """Covariance after `steps` updates from a fixed start, shape (steps, modes, 2, 2).

        Args:
            steps: update counts.
            phase: under epochs, batches of its epoch that were over at the start.
        """
        values = self._covariance(self._steps(steps), phase)
        return self._output("covariance", values, "mode", "state", "state_", steps=steps)

    def _covariance(self, counts: Any, phase: int) -> Any:
        if np.ndim(phase) == 0 and phase == 0:
            return self._evaluate("covariance", counts)
        if self.sampling == "with_replacement":
            raise ValueError(
                f"phase = {phase}: only epochs have phases, and sampling is 'with_replacement'. "
                "Leave it out."
            )
        epoch = int(np.min(detached(self.hyperparameters.updates_per_epoch)))
        if np.ndim(phase) or phase not in range(epoch):
            raise ValueError(
                f"phase = {phase}: a whole number from 0 to {epoch - 1}, the batches of an epoch "
                "that were over at the start."
            )
        return self._evaluate("phased_covariance", counts, phase=phase)

    def autocovariance(self, steps: Any) -> Any:
        """E[x_k x_0ᵀ] in the stationary state, shape (steps, modes, 2, 2)."""
        self._require_stationary()
        values = self._evaluate("autocovariance", self._steps(steps))
        return self._output("autocovariance", values, "mode", "state", "state_", steps=steps)

    @property
    def effective_temperature(self) -> Any:
        """T = h Var θ per mode, shape (modes,), in units of loss.

        By equipartition: a direction's mean loss ½ h Var θ is ½ T. In continuous time it is the
        noise's intensity over twice the friction, ηΣ/(2S(1 − β)) for heavy ball, the same for all
        directions only where their noise is.

        Raises:
            UnstableError: when a direction has no stationary state.
        """
        values = self._curvature() * self._stationary_covariance()[..., 0, 0]
        return self._output("effective_temperature", values, "mode")

    # -- displacement -------------------------------------------------------------------------

    def local_displacement(self) -> Any:
        """E|θ_{k+1} − θ_k|² in the stationary state, summed over modes.

        Raises:
            ValueError: in the continuous theory for a rule whose Langevin equation does not list
                the local displacement among its observables.
        """
        if self.theory == "discrete":
            return self._output("local_displacement", self._displacement(np.asarray(1.0), None))
        faithful = modified_equation(self.rule).observables
        if "local displacement" not in faithful:
            raise ValueError(
                f"rule = {self.rule.name}, theory = 'continuous': of the stationary observables "
                f"only {' and '.join(faithful)} tend to those of the updates as the learning rate "
                "vanishes; a batch's error reaches the position in two updates, and the Langevin "
                "equation's noise is white. Use theory='discrete'."
            )
        velocity = self._stationary_covariance()[..., 1, 1]
        rate = self._setting(self.hyperparameters.learning_rate, 0)
        return self._output("local_displacement", rate**2 * self.spectrum.total(velocity))

    def displacement(
        self, steps: Any, position: Any = None, velocity: Any = 0.0, phase: int = 0
    ) -> Any:
        """E|θ_k − θ_0|² summed over modes, of the shape of `steps`.

        Args:
            steps: update counts.
            position: a fixed start, as an offset from the minimum; None for a stationary start.
            velocity: start velocity, with `position`.
            phase: under epochs, batches of its epoch that were over at the start; with `position`.
        """
        values = self._displacement(self._steps(steps), position, velocity, phase)
        return self._output("displacement", values, steps=steps)

    @_few_settings_at_once
    def _displacement(self, counts: Any, position: Any, velocity: Any = 0.0, phase: int = 0) -> Any:
        if position is None:
            for name, value in (("velocity", velocity), ("phase", phase)):
                if np.any(detached(value)):
                    raise ValueError(
                        f"{name} = {value} without a position: a stationary start has no fixed "
                        f"{name}. Give position= as well."
                    )
            self._require_stationary()
            return self.spectrum.total(self._evaluate("displacement", counts))
        moved = self._evaluate("departure", counts)[..., 0, :]
        drift = moved[..., 0] * self._offset("position", position)
        drift = drift + moved[..., 1] * self._offset("velocity", velocity)
        variance = self._covariance(counts, phase)[..., 0, 0]
        return self.spectrum.total(squared_distance(drift, variance))

    def exponent(self, steps: Any, position: Any = None) -> Any:
        """Local slope of log displacement in log steps, over [k−1, k+1]; [1, 2] at k = 1.

        Growth has an expression of its own, so the slope keeps its digits late in the curve, and
        where that has levelled off. Under epochs some growths are differences: within an epoch, and
        under "fixed_order", they lose about log₁₀ M digits; from a `position`, log₁₀ k, and all of
        them where the variance has settled.

        Raises:
            ValueError: naming the steps where nothing has moved.
        """
        counts = self._steps(steps, minimum=1)
        lower = np.maximum(counts - 1, 1)
        before, after = (self._displacement(k, position) for k in (lower, counts + 1))
        # 0/0, where nothing moves, is refused with a reason.
        with np.errstate(invalid="ignore"):
            growth = self._growth(lower, position)
        values = local_exponent(before, after, growth, counts)
        return self._output("exponent", values, steps=steps)

    @_few_settings_at_once
    def _growth(self, counts: Any, position: Any) -> Any:
        """What the displacement gains in the two updates after `counts`, relative to itself."""
        total = self.spectrum.total
        if position is None:
            pair = self._evaluate("displacement_growth", counts)[..., 0, :]
            return total(pair[..., 1]) / total(pair[..., 0])
        moved = self._evaluate("departure_growth", counts)[..., 0, ::2]
        spread = self._evaluate("covariance_growth", counts)[..., 0, ::2]
        moved = moved * self._offset("position", position)[..., None]
        drift, further = moved[..., 0], moved[..., 1]
        growth = further * (2 * drift + further) + spread[..., 1]
        return total(growth) / total(squared_distance(drift, spread[..., 0]))

    def _offset(self, name: str, value: Any) -> Any:
        offset = like(value, self._double)
        if tuple(offset.shape) not in ((), (len(self.spectrum),)):
            raise ValueError(
                f"{name} has shape {tuple(offset.shape)}: it must be one number or one per "
                f"eigenvalue, ({len(self.spectrum)},), in the eigenbasis."
            )
        if not np.all(np.isfinite(detached(offset))):
            raise ValueError(f"{name} = {value}: it must be finite.")
        return offset

    # -- time scales --------------------------------------------------------------------------

    def _characteristic(self, theory: str | None = None) -> tuple[Any, Any]:
        """Trace and determinant of the generator per mode, as NumPy numbers."""
        shape = (*self.sweep.shape, len(self.spectrum))
        return (
            np.broadcast_to(detached(self._evaluate("trace", theory=theory)), shape),
            np.broadcast_to(detached(self._evaluate("determinant", theory=theory)), shape),
        )

    @property
    def regime(self) -> Any:
        """Per mode: "overdamped", "critical", "underdamped" or "alternating".

        A tuple; for a sweep an array of strings. Critical means that the two rates agree to
        rounding; alternating, in discrete time only, that a root is negative, so that a mean
        changes sign at every update. A regime says nothing about stability: beyond it
        `relaxation_steps` of the discrete theory is infinite.
        """
        momentum = detached(self._setting(self.hyperparameters.momentum, 1))
        discrete = self.theory == "discrete"
        names = regimes(*self._characteristic(), momentum, discrete=discrete)
        if self.sweep.shape or self.sweep.named:
            return self._output("regime", names, "mode")
        return tuple(map(str, names))

    @property
    def relaxation_steps(self) -> Any:
        """Per mode: updates for the slowest root's envelope to fall by 1/e; ∞ if it does not."""
        trace, determinant = self._characteristic()
        if self.theory == "discrete":
            values = relaxation_updates(trace, determinant)
        else:
            rate = detached(self._setting(self.hyperparameters.learning_rate, 1))
            values = relaxation_time(trace, determinant) / rate
        return self._output("relaxation_steps", values, "mode")
