r"""Hyperparameters and a spectrum in, arrays out: the numeric face of both theories.

Each number is a lowered expression of the chapters above. A predictor adds no physics: it checks
its input once, evaluates, and weighs by the spectrum's counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.direction_results import lowered_displacement
from sgdtheory.displacement import local_exponent, squared_distance
from sgdtheory.evaluation import Evaluation, few_settings_at_once
from sgdtheory.landscape import Landscape
from sgdtheory.lowering.totals import fastest_backend
from sgdtheory.modified_equations import modified_equation
from sgdtheory.time_scales import regimes, relaxation_time, relaxation_updates

__all__ = ["Predictor"]


@dataclass(frozen=True, eq=False)
class Predictor(Evaluation):
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

    >>> from sgdtheory import Hyperparameters, Spectrum
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

    def __new__(
        cls, hyperparameters: Any = None, spectrum: Any = None, *args: Any, **settings: Any
    ) -> Any:
        """A landscape's predictor works in its own coordinates."""
        if isinstance(spectrum, Landscape):
            modes = cls(hyperparameters, spectrum.spectrum, *args, **settings)
            return DensePredictor(spectrum, modes)
        return super().__new__(cls)

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

    def _displacement(self, counts: Any, position: Any, velocity: Any = 0.0, phase: int = 0) -> Any:
        if position is not None:
            return self._transient_displacement(counts, position, velocity, phase)
        for name, value in (("velocity", velocity), ("phase", phase)):
            if np.any(detached(value)):
                raise ValueError(
                    f"{name} = {value} without a position: a stationary start has no fixed "
                    f"{name}. Give position= as well."
                )
        self._require_stationary()
        if self.sampling == "with_replacement":
            return self._chained_displacement(counts)
        return self._stationary_displacement(counts)

    @few_settings_at_once
    def _transient_displacement(self, counts: Any, position: Any, velocity: Any, phase: int) -> Any:
        moved = self._evaluate("departure", counts)[..., 0, :]
        drift = moved[..., 0] * self._offset("position", position)
        drift = drift + moved[..., 1] * self._offset("velocity", velocity)
        variance = self._covariance(counts, phase)[..., 0, 0]
        return self.spectrum.total(squared_distance(drift, variance))

    @few_settings_at_once
    def _stationary_displacement(self, counts: Any) -> Any:
        return self.spectrum.total(self._evaluate("displacement", counts))

    def _chained_displacement(self, counts: Any) -> Any:
        """The same without an array of modes and steps, where the modes' propagators are powers."""
        backend = backend_of([self._double])
        if backend == "numpy":
            backend = fastest_backend(counts.size * len(self.spectrum) * self.sweep.size)
        weights = self.spectrum.counts
        sums = lowered_displacement(self.rule, self.theory, backend)(
            counts.ravel(),
            self._curvature(),
            like(self.spectrum.variances, self._double),
            *(self._setting(value, 1) for value in self._rule_settings),
            weights=1.0 if weights is None else like(weights, self._double),
        )
        return self._finite(
            "displacement", sums.reshape((*self.sweep.shape, *counts.shape)), counts
        )

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

    @few_settings_at_once
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

    # -- time scales --------------------------------------------------------------------------

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
