r"""How far a run goes: sums over its directions, as arrays. The second part of a `Predictor`.

Three starts are possible: the stationary state; a fixed point; and an ensemble about a point, as a
run has it that was in another's stationary state when its settings were changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like, side_by_side
from sgdtheory.direction_results import lowered_displacement
from sgdtheory.displacement import (
    DisplacementParts,
    bilinear_form,
    fitted_slope,
    local_exponent,
    quadratic_form,
)
from sgdtheory.evaluation import few_settings_at_once
from sgdtheory.lowering.totals import fastest_backend
from sgdtheory.modified_equations import modified_equation
from sgdtheory.predicted_moments import PredictedMoments

__all__ = ["PredictedDisplacement"]


@dataclass(frozen=True)
class _Start:
    """A start that is not the stationary state, in the predictor's own arrays."""

    position: Any
    velocity: Any
    phase: int
    covariance: Any


@dataclass(frozen=True, eq=False)
class PredictedDisplacement(PredictedMoments):
    """Displacements, their parts and exponents; see `Predictor`."""

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
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        phase: int = 0,
        start_covariance: Any = None,
    ) -> Any:
        """E|θ_k − θ_0|² summed over modes, of the shape of `steps`.

        Args:
            steps: update counts.
            position: a start, as an offset from the minimum; None for a stationary start.
            velocity: start velocity, with `position`.
            phase: under epochs, batches of its epoch that were over at the start; with `position`.
            start_covariance: spread of the start about `position`, of (θ, v), (modes, 2, 2), or of
                θ alone, (modes,), for a fresh optimiser. Without `position`, about the minimum.

        A run whose learning rate is lowered leaves a state that is wider than its own:

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> spectrum = Spectrum([1.0, 0.1])
        >>> hot, cool = (Predictor(Hyperparameters(rate), spectrum) for rate in (0.2, 0.1))
        >>> spread = hot.stationary_covariance()
        >>> cool.displacement([1, 10, 100], start_covariance=spread).round(4)
        array([0.0121, 0.1034, 0.2479])
        """
        start = self._start(position, velocity, phase, start_covariance)
        return self._output(
            "displacement", self._displacement(self._steps(steps), start), steps=steps
        )

    def _start(self, position: Any, velocity: Any, phase: int, covariance: Any) -> _Start | None:
        if position is None and covariance is None:
            for name, value in (("velocity", velocity), ("phase", phase)):
                if np.any(detached(value)):
                    raise ValueError(
                        f"{name} = {value} without a position: a stationary start has no fixed "
                        f"{name}. Give position= as well."
                    )
            return None
        return _Start(
            self._offset("position", 0.0 if position is None else position),
            self._offset("velocity", velocity),
            phase,
            None if covariance is None else self._start_covariance(covariance),
        )

    def _displacement(self, counts: Any, start: _Start | None) -> Any:
        if start is not None:
            return self._transient_displacement(counts, start)
        self._require_stationary()
        if self.sampling == "with_replacement":
            return self._chained_displacement(counts)
        return self._stationary_displacement(counts)

    @few_settings_at_once
    def _transient_displacement(self, counts: Any, start: _Start) -> Any:
        # Too large is refused by name, and not by a warning on the way.
        with np.errstate(over="ignore", invalid="ignore"):
            drift, relaxation, noise = self._parts_per_mode(counts, start)
            values = self.spectrum.total(drift + relaxation + noise)
        return self._finite("displacement", values, counts)

    def _parts_per_mode(self, counts: Any, start: _Start) -> tuple[Any, Any, Any]:
        moved = self._evaluate("departure", counts)[..., 0, :]
        drift = (moved[..., 0] * start.position + moved[..., 1] * start.velocity) ** 2
        relaxation = 0 * drift
        if start.covariance is not None:
            relaxation = quadratic_form(moved, start.covariance)
        return drift, relaxation, self._covariance(counts, start.phase)[..., 0, 0]

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

    def displacement_parts(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        phase: int = 0,
        start_covariance: Any = None,
    ) -> DisplacementParts:
        """The displacement as drift of the mean, relaxation of the start's spread, and noise.

        Args:
            steps: update counts.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            phase: with `position`.
            start_covariance: about `position`.

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> model = Predictor(Hyperparameters(0.1), Spectrum([1.0, 0.1]))
        >>> parts = model.displacement_parts([1, 10, 100], position=1.0)
        >>> parts.noise.round(4), parts.ballistic_share.round(2)
        (array([0.011 , 0.0554, 0.0962]), array([0.48, 0.89, 0.94]))
        """
        counts, start = self._steps(steps), self._start(position, velocity, phase, start_covariance)
        if start is not None:
            parts = self._transient_parts(counts, start)
        else:
            self._require_stationary()
            parts = self._stationary_parts(counts)
        return DisplacementParts(
            *(
                self._output(name, parts[..., i], steps=steps)
                for i, name in enumerate(("drift", "relaxation", "noise"))
            )
        )

    @few_settings_at_once
    def _transient_parts(self, counts: Any, start: _Start) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            parts = self._parts_per_mode(counts, start)
            values = side_by_side([self.spectrum.total(part) for part in parts])
        return self._finite("displacement", values, counts)

    @few_settings_at_once
    def _stationary_parts(self, counts: Any) -> Any:
        moved = self._evaluate("departure", counts)[..., 0, :]
        # One axis for the steps, none where they are one number.
        spread = self._evaluate("stationary_covariance")
        spread = spread.reshape((*spread.shape[:-3], *(1,) * counts.ndim, *spread.shape[-3:]))
        relaxation = self.spectrum.total(quadratic_form(moved, spread))
        if self.sampling == "with_replacement":
            noise = self.spectrum.total(self._evaluate("covariance", counts)[..., 0, 0])
        else:
            noise = self.spectrum.total(self._evaluate("displacement", counts)) - relaxation
        return side_by_side([0 * relaxation, relaxation, noise])

    # -- exponents ----------------------------------------------------------------------------

    def exponent(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """Local slope of log displacement in log steps, over [k−1, k+1]; [1, 2] at k = 1.

        Growth has an expression of its own, so the slope keeps its digits late in the curve, and
        where that has levelled off. Under epochs some growths are differences: within an epoch, and
        under "fixed_order", they lose about log₁₀ M digits; from a `position`, log₁₀ k, and all of
        them where the variance has settled.

        Args:
            steps: update counts ≥ 1.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.

        Raises:
            ValueError: naming the steps where nothing has moved.
        """
        counts = self._steps(steps, minimum=1)
        start = self._start(position, velocity, 0, start_covariance)
        lower = np.maximum(counts - 1, 1)
        before, after = (self._displacement(k, start) for k in (lower, counts + 1))
        # 0/0, where nothing moves, is refused with a reason.
        with np.errstate(invalid="ignore", divide="ignore"):
            growth = self._growth(lower, start)
        values = local_exponent(before, after, growth, counts)
        return self._output("exponent", values, steps=steps)

    @few_settings_at_once
    def _growth(self, counts: Any, start: _Start | None) -> Any:
        """What the displacement gains in the two updates after `counts`, relative to itself."""
        total = self.spectrum.total
        if start is None:
            pair = self._evaluate("displacement_growth", counts)[..., 0, :]
            return total(pair[..., 1]) / total(pair[..., 0])
        departure = self._evaluate("departure_growth", counts)[..., 0, :]
        moved, further = departure[..., :2], departure[..., 2:]
        spread = self._evaluate("covariance_growth", counts)[..., 0, ::2]
        drift, onward = (
            part[..., 0] * start.position + part[..., 1] * start.velocity
            for part in (moved, further)
        )
        level = drift**2 + spread[..., 0]
        growth = onward * (2 * drift + onward) + spread[..., 1]
        if start.covariance is not None:
            level = level + quadratic_form(moved, start.covariance)
            growth = growth + bilinear_form(further, start.covariance, 2 * moved + further)
        return total(growth) / total(level)

    def window_exponent(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        phase: int = 0,
        start_covariance: Any = None,
    ) -> Any:
        """The exponent as it is fitted: slope of the least-squares line through log E|Δ|².

        Every step has the same weight, so on ``np.arange(first, last + 1)`` most of them are late:
        it is the experimenter's window and grid that decide, and both are in `steps`.

        Args:
            steps: the update counts of the fit, at least two different ones ≥ 1, one axis.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            phase: with `position`.
            start_covariance: about `position`.

        Returns:
            A number; for a sweep an array with its axes.

        Raises:
            ValueError: for fewer steps, or where nothing has moved.

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> diffusing = Predictor(Hyperparameters(0.1), Spectrum([1e-9]))
        >>> round(float(diffusing.window_exponent(np.arange(500, 1001))), 6)
        1.0
        """
        counts = self._steps(steps, minimum=1)
        if counts.ndim != 1 or len(np.unique(counts)) < 2:
            raise ValueError(
                f"steps = {steps}: a line needs at least two different update counts, on one axis."
            )
        start = self._start(position, velocity, phase, start_covariance)
        values = fitted_slope(self._displacement(counts, start), counts)
        return self._output("window_exponent", values)
