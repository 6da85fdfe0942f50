"""What the theory says about a run that has not been recorded yet.

Nothing is fitted: curvature, noise and forces were measured where the record begins, and the
settings are declared. The exact discrete theory moves every direction; noise grows by what the
spread adds to it, and the mean goes where the gradient and the curvature's slope push it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import sgdtheory as sgd
from validation.data import Array
from validation.experiments import Experiment
from validation.past_convergence.measured_start import MeasuredStart

__all__ = ["Dynamics", "log_spaced", "rates", "settings_of", "slope", "window"]

# Eigenvalues below this share of the largest are flat for the mean: rounding is larger.
_FLAT = 1e-6


def log_spaced(updates: int, count: int = 24) -> Array:
    """Update numbers from 1 to the end, evenly in their logarithms, each once."""
    return np.unique(np.geomspace(1, updates, count).round().astype(int))


def window(updates: int) -> Array:
    """Where exponents are read: the last factor of eight."""
    return np.unique(np.geomspace(updates / 8, updates, 13).round().astype(int))


def slope(updates: Array, curve: Array) -> float:
    """Of a straight line through log |Δ|² against log k, all points alike."""
    return float(np.polyfit(np.log(updates), np.log(curve), 1)[0])


def rates(a: Array, b: float, learning_rate: float) -> dict[str, Array]:
    """γ, ω² and the frequency of rotation, from the roots of z² = az + b over the time η."""
    logarithms = np.log(np.array([np.roots([1.0, -one, -b]) for one in a]) + 0j) / learning_rate
    first, second = logarithms.T
    return {
        "friction": -(first + second).real / 2,
        "natural_frequency_squared": (first * second).real,
        "frequency": np.abs(first.imag),
    }


@dataclass(frozen=True)
class Dynamics:
    """The theory of one record.

    Args:
        experiment: whose settings hold.
        start: what was measured before.
        examples: N.
    """

    experiment: Experiment
    start: MeasuredStart
    examples: int

    @property
    def _settings(self) -> sgd.Hyperparameters:
        return settings_of(self.experiment, self.examples)

    def _predictor(self, noise: Array, sampling: str = "with_replacement") -> sgd.Predictor:
        spectrum = sgd.Spectrum(
            self.start.eigenvalues, noise_variances=noise, counts=self.start.counts
        )
        return sgd.Predictor(self._settings, spectrum, sampling=sampling)

    @cached_property
    def _label_noise(self) -> Array:
        """Of fresh errors of the targets: s²H, whatever the sampler."""
        return self.experiment.data.label_noise**2 * self.start.eigenvalues

    def _sum(self, function: Callable[[sgd.Predictor], Any], driven: bool = True) -> Any:
        """Of the noise of fresh labels, which is white, and that of the data, which is sampled."""
        white = self._label_noise + (self._added_noise if driven else 0.0)
        found = function(self._predictor(white))
        if self.start.noise.any():
            found = found + function(
                self._predictor(self.start.noise, self.experiment.sampler.name)
            )
        return found

    @cached_property
    def _added_noise(self) -> Array:
        """What the stationary spread adds to the noise, and what that adds, to the end."""
        rho, counts, spread = self.start.eigenvalues, self.start.counts, self.start.spread

        def temperature(noise: Array, sampling: str = "with_replacement") -> float:
            """tr(HP)/tr H: the variance of positions, all alike, that makes the same error."""
            variances = self._predictor(noise, sampling).stationary_covariance()[:, 0, 0]
            return float((counts * rho) @ variances / (counts @ rho))

        constant = temperature(self._label_noise)
        constant += temperature(self.start.noise, self.experiment.sampler.name)
        gain = temperature(spread)
        if gain >= 1:
            raise ValueError(
                f"{self.experiment.name}: noise drives itself without bounds, its gain is "
                f"{gain:.3g}. Lower the learning rate or take larger batches."
            )
        return spread * constant / (1 - gain)

    @property
    def white(self) -> bool:
        """Whether the noise of one batch knows nothing of another's."""
        return self.experiment.sampler.name == "with_replacement"

    @property
    def white_noise(self) -> Array:
        """Of one example along every mode, where it is white."""
        return np.asarray(self._label_noise + self._added_noise + self.start.noise)

    @property
    def variances(self) -> Array:
        """Stationary, of positions and velocities along the known directions, (k, 2)."""
        found = self._sum(lambda p: p.stationary_covariance())[: self.start.known]
        return np.stack([found[:, 0, 0], found[:, 1, 1]], axis=1)

    @property
    def circulation(self) -> Array:
        """½⟨θ_{k+1}v_k − v_{k+1}θ_k⟩ along the known directions."""
        found = self._sum(lambda p: p.autocovariance([1]))[0, : self.start.known]
        return np.asarray(found[:, 0, 1] - found[:, 1, 0]) / 2

    @property
    def coefficients(self) -> tuple[Array, float]:
        """a and b of θ_{k+1} = aθ_k + bθ_{k−1} + noise, from the rule's own recursion."""
        s = sgd.symbols
        matrix = sgd.recursion(sgd.heavy_ball(), noise=s.Sigma, curvature=s.h).map
        rule = self.experiment.optimizer
        curvature = self.start.eigenvalues[: self.start.known] + rule.weight_decay
        trace = sgd.lower(matrix.trace(), (s.h, s.eta, s.beta))
        determinant = sgd.lower(matrix.det(), (s.eta, s.beta, s.h))
        settings = rule.learning_rate, rule.momentum
        return (
            np.asarray(trace(curvature, *settings)),
            -float(np.max(determinant(*settings, curvature))),
        )

    def local_displacement(self, driven: bool = True) -> float:
        """E|θ_k − θ_{k−1}|² once the velocities are stationary, less that of the mean."""
        return float(self._sum(lambda p: p.local_displacement(), driven))

    def diffusion(self, updates: Array) -> Array:
        """Σ Var θ(k) from a fixed start at rest."""
        found = self._sum(lambda p: p.covariance(updates))[..., 0, 0]
        return np.asarray(found @ self.start.counts)

    def responses(self, updates: Array, rho: Array) -> Array:
        """How far a unit of constant force has moved directions of curvature ρ, (updates, k)."""
        flat = _FLAT * self.start.eigenvalues.max()
        curved = np.maximum(rho, flat)
        spectrum = sgd.Spectrum(curved, noise_variances=np.zeros_like(curved))
        left = sgd.Predictor(self._settings, spectrum).mean(updates, np.ones_like(curved))
        curvature = curved + self.experiment.optimizer.weight_decay
        return np.asarray((1 - left[..., 0]) / curvature)

    def drift(self, updates: Array, induced: bool = True) -> Array:
        """|E θ(k) − θ_0|², of the gradient that is left, and of the force that noise induces."""
        share = 0.0
        if induced:
            found = self._sum(lambda p: p.stationary_covariance())[:, 0, 0]
            weights = self.start.counts * self.start.eigenvalues
            share = float(weights @ found / weights.sum()) / 2
        return self.start.force.square(lambda rho: self.responses(updates, rho), share)

    @property
    def relaxation(self) -> Array:
        """Updates in which the slowest root of each known direction falls by 1/e."""
        found = self._predictor(self.start.eigenvalues).relaxation_steps
        return np.asarray(found)[: self.start.known]

    def everything(self) -> dict[str, Any]:
        """All predictions, as plain numbers and arrays."""
        updates, late = (f(self.experiment.record.updates) for f in (log_spaced, window))
        variances, (a, b) = self.variances, self.coefficients
        diffusion, pushed = self.diffusion(late), self.drift(late, induced=False)
        return {
            "local_displacement": self.local_displacement(),
            "local_displacement_additive": self.local_displacement(driven=False),
            "position_variance": variances[:, 0],
            "velocity_variance": variances[:, 1],
            "circulation": self.circulation,
            **rates(a, b, self.experiment.optimizer.learning_rate),
            "relaxation": self.relaxation,
            "diffusion": self.diffusion(updates),
            "drift": self.drift(updates),
            "gradient_drift": self.drift(updates, induced=False),
            "exponent": slope(late, diffusion + pushed),
            "exponent_of_diffusion": slope(late, diffusion),
            "exponent_with_induced_force": slope(late, diffusion + self.drift(late)),
        }


def settings_of(experiment: Experiment, examples: int) -> sgd.Hyperparameters:
    """The hyperparameters of an experiment on so many examples."""
    rule, sampler = experiment.optimizer, experiment.sampler
    return sgd.Hyperparameters(
        learning_rate=rule.learning_rate,
        momentum=rule.momentum,
        batch_size=sampler.batch_size,
        weight_decay=rule.weight_decay,
        dataset_size=examples,
    )
