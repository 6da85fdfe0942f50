r"""Hyperparameters and a spectrum in, arrays out: the numeric face of both theories.

Each number is a lowered expression of the chapters above. A predictor adds no physics: it checks
its input once, evaluates, and weighs by the spectrum's counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
from sympy import Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import backend_of, common_kind, detached, double, like, shortened
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
from sgdtheory.time_scales import regimes, relaxation_time, relaxation_updates
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Predictor"]

THEORIES = ("discrete", "continuous")
# The largest whole number up to which every other one is a double.
LARGEST_STEP = 2.0**53


_EPOCH_SYMBOLS = (s.N, s.M, s.phase)


def _process(rule: UpdateRule, theory: str, sampling: str) -> GaussianProcess:
    """One eigen-direction of curvature h and noise variance Σ."""
    if theory == "discrete":
        return recursion(rule, noise=s.Sigma, curvature=s.h, sampling=sampling)
    return ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)


_TIMED = ("propagator", "departure", "covariance", "autocovariance", "displacement")


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
    else:
        value = getattr(process, result)
        expression = value(time) if result in _TIMED else value() if callable(value) else value
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    arguments = (time, s.h, s.Sigma, s.eta, s.beta, s.S, *_EPOCH_SYMBOLS, *own)
    return lower(expression, arguments, backend)


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
        parameters: values of the rule's further symbols, as ``{symbols.nu: 0.7}``.

    Steps are update counts everywhere, a number or an array; results have the shape of `steps`,
    then (modes,), then the state (θ − μ, v). Under epochs stationary results are averages over the
    phase, the place in an epoch; transient ones start at an epoch's first batch unless `phase`
    says how many of its batches were over.

    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.9, batch_size=10)
    >>> model = Predictor(hyper, Spectrum([1.0, 0.1]))
    >>> model.stationary_covariance()[:, 0, 0].round(5)
    array([0.05135, 0.05013])
    >>> model.regime
    ('underdamped', 'underdamped')
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
        batch = float(detached(self.hyperparameters.batch_size))
        if batch != int(batch) or batch < 1:
            raise ValueError(
                f"batch_size = {batch:g} with sampling = {self.sampling!r}: an epoch is divided "
                "into batches of whole examples. Give a whole number."
            )
        size = self.hyperparameters.dataset_size
        if size is None or size < 2:
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
        return like(self._curvature, self._kind)

    @property
    def _curvature(self) -> Any:
        return like(self.spectrum.eigenvalues, self._double) + self.hyperparameters.weight_decay

    @property
    def _epoch(self) -> tuple[float, float]:
        """N and M; without epochs no result contains them."""
        hyper = self.hyperparameters
        if self.sampling == "with_replacement" or hyper.dataset_size is None:
            return 0.0, 0.0
        return float(hyper.dataset_size), float(hyper.updates_per_epoch)

    def _evaluate(
        self, result: str, steps: Any = 0, *, theory: str | None = None, phase: int = 0
    ) -> Any:
        """A result at `steps` (with a modes axis added), per mode, in double precision."""
        hyper = self.hyperparameters
        theory = theory or self.theory
        counts = np.asarray(steps, dtype=np.float64)[..., None]
        time = like(counts, self._double)
        if theory == "continuous":
            time = time * hyper.learning_rate
        own = [self.parameters[symbol] for symbol in sorted(self.parameters, key=str)]
        function = _lowered(self.rule, theory, self.sampling, result, backend_of([self._double]))
        values = function(
            time,
            self._curvature,
            like(self.spectrum.variances, self._double),
            hyper.learning_rate,
            hyper.momentum,
            hyper.batch_size,
            *self._epoch,
            phase,
            *own,
        )
        if not np.all(np.isfinite(detached(values))):
            raise UnstableError(
                f"{result} at steps up to {np.max(counts, initial=0):g} is too large for floating "
                "point: a direction is unstable and grows without limit. Ask for fewer steps."
            )
        return values

    def _steps(self, steps: Any, minimum: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
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
        i = int(np.argmin(stable))
        h = detached(self._curvature)[i]
        rate = float(detached(self.hyperparameters.learning_rate)) * h
        momentum = float(detached(self.hyperparameters.momentum))
        interval = recursion(self.rule).stability
        assert interval is not None
        here = {s.beta: momentum, **{x: float(detached(v)) for x, v in self.parameters.items()}}
        raise UnstableError(
            f"eigenvalues[{i}] = {detached(self.spectrum.eigenvalues)[i]:g} gives h = {h:g} and "
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
        return self._cast(self._stationary_covariance())

    def _stationary_covariance(self) -> Any:
        self._require_stationary()
        return self._evaluate("stationary_covariance")

    def _cast(self, values: Any) -> Any:
        return like(values, self._kind)

    def mean(self, steps: Any, position: Any, velocity: Any = 0.0) -> Any:
        """Mean of (θ − μ, v) after `steps` updates, shape (steps, modes, 2).

        Args:
            steps: update counts.
            position: start, as an offset from the minimum in the eigenbasis, (modes,) or a number.
            velocity: start velocity likewise; 0 for a fresh optimiser.
        """
        return self._cast(self._mean(self._steps(steps), position, velocity))

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
        return self._cast(self._covariance(self._steps(steps), phase))

    def _covariance(self, counts: Any, phase: int) -> Any:
        if np.ndim(phase) == 0 and phase == 0:
            return self._evaluate("covariance", counts)
        if self.sampling == "with_replacement":
            raise ValueError(
                f"phase = {phase}: only epochs have phases, and sampling is 'with_replacement'. "
                "Leave it out."
            )
        epoch = self.hyperparameters.updates_per_epoch
        if np.ndim(phase) or phase not in range(epoch):
            raise ValueError(
                f"phase = {phase}: a whole number from 0 to {epoch - 1}, the batches of an epoch "
                "that were over at the start."
            )
        return self._evaluate("phased_covariance", counts, phase=phase)

    def autocovariance(self, steps: Any) -> Any:
        """E[x_k x_0ᵀ] in the stationary state, shape (steps, modes, 2, 2)."""
        self._require_stationary()
        return self._cast(self._evaluate("autocovariance", self._steps(steps)))

    @property
    def effective_temperature(self) -> Any:
        """T = h Var θ per mode, shape (modes,), in units of loss.

        By equipartition: a direction's mean loss ½ h Var θ is ½ T. In continuous time it is the
        noise's intensity over twice the friction, ηΣ/(2S(1 − β)) for heavy ball, the same for all
        directions only where their noise is.

        Raises:
            UnstableError: when a direction has no stationary state.
        """
        return self._cast(self._curvature * self._stationary_covariance()[..., 0, 0])

    # -- displacement -------------------------------------------------------------------------

    def local_displacement(self) -> Any:
        """E|θ_{k+1} − θ_k|² in the stationary state, summed over modes.

        Raises:
            ValueError: in the continuous theory for a rule whose Langevin equation does not list
                the local displacement among its observables.
        """
        if self.theory == "discrete":
            return self.displacement(1)
        faithful = modified_equation(self.rule).observables
        if "local displacement" not in faithful:
            raise ValueError(
                f"rule = {self.rule.name}, theory = 'continuous': of the stationary observables "
                f"only {' and '.join(faithful)} tend to those of the updates as the learning rate "
                "vanishes; a batch's error reaches the position in two updates, and the Langevin "
                "equation's noise is white. Use theory='discrete'."
            )
        velocity = self._stationary_covariance()[..., 1, 1]
        return self._cast(self.hyperparameters.learning_rate**2 * self.spectrum.total(velocity))

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
        return self._cast(self._displacement(self._steps(steps), position, velocity, phase))

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

        A difference over two updates: late in the curve, at k updates, it keeps about 16 − log₁₀ k
        digits.
        """
        counts = self._steps(steps, minimum=1)
        return self._cast(local_exponent(lambda k: self._displacement(k, position), counts))

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
        size = len(self.spectrum)
        return (
            np.broadcast_to(detached(self._evaluate("trace", theory=theory)), size),
            np.broadcast_to(detached(self._evaluate("determinant", theory=theory)), size),
        )

    @property
    def regime(self) -> tuple[str, ...]:
        """Per mode: "overdamped", "critical", "underdamped" or "alternating".

        Critical means that the two rates agree to rounding; alternating, in discrete time only,
        that a root is negative, so that a mean changes sign at every update. A regime says nothing
        about stability: beyond it `relaxation_steps` of the discrete theory is infinite.
        """
        momentum = float(detached(self.hyperparameters.momentum))
        return regimes(*self._characteristic(), momentum, discrete=self.theory == "discrete")

    @property
    def relaxation_steps(self) -> Any:
        """Per mode: updates for the slowest root's envelope to fall by 1/e; ∞ if it does not."""
        trace, determinant = self._characteristic()
        if self.theory == "discrete":
            return self._cast(relaxation_updates(trace, determinant))
        rate = float(detached(self.hyperparameters.learning_rate))
        return self._cast(relaxation_time(trace, determinant) / rate)
