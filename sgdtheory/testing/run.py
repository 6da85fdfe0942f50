"""One example for a law: a run that is stable, where it begins, and when it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.stable_limit import Limit, heavy_ball_limit

__all__ = ["Run"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """Plain numbers, so that it prints as what one would type.

    Args:
        learning_rate: η.
        momentum: β.
        batch_size: S.
        weight_decay: λ.
        eigenvalues: ρ of every direction, of the loss without weight decay.
        noise: variance of one example's gradient along each, loss²/θ².
        position: θ_0 − μ along each.
        velocity: v_0 along each.
        steps: j, k; update counts.
        limit: the largest stable ηh of a momentum; heavy ball's by default.
    """

    learning_rate: float
    momentum: float
    batch_size: int
    weight_decay: float
    eigenvalues: tuple[float, ...]
    noise: tuple[float, ...]
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    steps: tuple[int, int]
    limit: Limit = field(default=heavy_ball_limit, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = ("eigenvalues", "noise", "position", "velocity")
        counts = {name: len(getattr(self, name)) for name in own}
        if len(set(counts.values())) > 1:
            raise ValueError(f"Run: {counts} are numbers of directions. Give one of each for each.")

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Those of `Predictor`."""
        return Hyperparameters(
            self.learning_rate, self.momentum, self.batch_size, self.weight_decay
        )

    @property
    def spectrum(self) -> Spectrum:
        """That of `Predictor`."""
        return Spectrum(np.array(self.eigenvalues), noise_variances=np.array(self.noise))

    @property
    def curvature(self) -> Array:
        """h = ρ + λ, all that a direction feels."""
        return np.array(self.eigenvalues) + self.weight_decay

    @property
    def start(self) -> tuple[Array, Array]:
        """Position and velocity."""
        return np.array(self.position), np.array(self.velocity)

    @property
    def units(self) -> Array:
        """Of position and velocity along every direction, (modes, 2), by their dimensions alone.

        A variance of positions has the dimension ηΣ/(Sh), one of velocities Σ/S; 1/(1 − β) is the
        number of updates that a velocity remembers.
        """
        memory = 1 / (1 - self.momentum)
        kick = np.sqrt(np.array(self.noise) / self.batch_size)
        position = kick * np.sqrt(self.learning_rate * memory / self.curvature)
        velocity = kick * np.sqrt(memory)
        own, moving = np.abs(self.start)
        position = np.maximum(position, own + self.learning_rate * memory * moving)
        velocity = np.maximum(velocity, moving + memory * self.curvature * own)
        return np.stack([position, velocity], axis=-1)

    def varied(self, **changes: Any) -> Run:
        """The same with other values."""
        return replace(self, **changes)
