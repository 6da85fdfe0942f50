r"""Means and covariances of a run's directions, as arrays: the first part of a `Predictor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import detached, like, shortened
from sgdtheory.evaluation import Evaluation
from sgdtheory.number_checks import FARTHEST

__all__ = ["PredictedMoments"]

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class PredictedMoments(Evaluation):
    """Moments of (θ − μ, v) per mode; see `Predictor`."""

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
        flow = self._evaluate("propagator", self._steps(steps))
        values = flow[..., 0] * self._offset("position", position)[..., None] + (
            flow[..., 1] * self._offset("velocity", velocity)[..., None]
        )
        return self._output("mean", values, "mode", "state", steps=steps)

    def covariance(self, steps: Any, phase: int = 0, start_covariance: Any = None) -> Any:
        """Covariance after `steps` updates, shape (steps, modes, 2, 2).

        Args:
            steps: update counts.
            phase: under epochs, batches of its epoch that were over at the start.
            start_covariance: of (θ − μ, v) at the start, (modes, 2, 2), or of θ alone, (modes,),
                for a fresh optimiser; None for a fixed start.

        A run that changes its settings hands its covariance on:

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> spectrum = Spectrum([1.0, 0.1])
        >>> hot, cool = (Predictor(Hyperparameters(rate), spectrum) for rate in (0.2, 0.1))
        >>> cool.covariance(10, start_covariance=hot.stationary_covariance())[:, 0, 0].round(3)
        array([0.06 , 0.092])
        """
        counts = self._steps(steps)
        values = self._covariance(counts, phase)
        if start_covariance is not None:
            flow = self._evaluate("propagator", counts)
            start = self._start_covariance(start_covariance)
            values = values + flow @ start @ flow.swapaxes(-1, -2)
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

    # -- what a caller gives ------------------------------------------------------------------

    def _offset(self, name: str, value: Any) -> Any:
        offset = like(value, self._double)
        if tuple(offset.shape) not in ((), (len(self.spectrum),)):
            raise ValueError(
                f"{name} has shape {tuple(offset.shape)}: it must be one number or one per "
                f"eigenvalue, ({len(self.spectrum)},), in the eigenbasis."
            )
        if not np.all(np.abs(detached(offset)) <= FARTHEST):
            raise ValueError(
                f"{name} = {shortened(value)}: it must be finite, and at most {FARTHEST:g}."
            )
        return offset

    def _start_covariance(self, value: Any) -> Any:
        """Per mode, (modes, 2, 2); variances of the position alone leave the velocity fixed."""
        given, modes = like(value, self._double), len(self.spectrum)
        if tuple(given.shape) == (modes,):
            given = given[:, None, None] * like(np.diag([1.0, 0.0]), self._double)
        if tuple(given.shape) != (modes, 2, 2):
            raise ValueError(
                f"start_covariance has shape {tuple(given.shape)}: give one covariance of (θ, v) "
                f"per eigenvalue, ({modes}, 2, 2), or one variance of θ, ({modes},)."
            )
        plain = detached(given)
        variances, mixed = plain[:, [0, 1], [0, 1]], (plain[:, 0, 1] + plain[:, 1, 0]) / 2
        size = np.sqrt(np.abs(variances).prod(-1))
        # What an earlier run computed is symmetric, and its correlation at most 1, to rounding.
        possible = (variances >= 0).all(-1) & (np.abs(mixed) <= (1 + _ROUNDING) * size)
        possible &= np.abs(plain[:, 0, 1] - plain[:, 1, 0]) <= _ROUNDING * size
        possible &= np.isfinite(plain).all((-1, -2))
        if not np.all(possible):
            i = int(np.argmin(possible))
            raise ValueError(
                f"start_covariance[{i}] = {plain[i].tolist()}: a covariance is symmetric, finite "
                "and positive semi-definite. Check it."
            )
        return (given + given.swapaxes(-1, -2)) / 2
