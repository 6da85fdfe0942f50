r"""A run about which advice is asked: what its directions do one by one, and in all.

Advice must be possible where predictions are not: with a learning rate that is too large, along
directions that are flat or fall, for millions of eigenvalues. Here it is decided what of a run has
a stationary state, where it starts, and which directions stand for all of them in a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Symbol

from sgdtheory.advice.few_directions import CurvatureRange, few_directions, selected, with_offsets
from sgdtheory.arrays import backend_of, detached, shortened
from sgdtheory.compression import SettingsRange
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.mean_square_stability import noiseless_limit
from sgdtheory.number_checks import check_number
from sgdtheory.predictor import Predictor
from sgdtheory.second_moments import Setting
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["AdvisedRun", "if_defined"]

Array = NDArray[np.float64]

STARTS = ("stationary", "minimum")
# Sums over more directions than this are taken of fewer that stand for them.
_FEW = 20_000
# So much of the limit of stability counts as settling where a run is beyond it.
_BELOW = 0.999
_ROUNDING = 1e-12


def if_defined(number: Callable[[], Any]) -> float | None:
    """A number, or None where the theory refuses to give it or it is beyond floating point.

    Args:
        number: what computes it.
    """
    try:
        # 0/0, where nothing has moved, and what overflows are refused afterwards.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = float(number())
    except ValueError:  # as an UnstableError is
        return None
    return value if np.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class AdvisedRun:
    """A run's settings, spectrum, length and start; the arguments are those of `advise`."""

    hyperparameters: Hyperparameters
    spectrum: Spectrum
    theory: str = "discrete"
    rule: UpdateRule = field(default_factory=heavy_ball)
    sampling: str = "with_replacement"
    parameters: Mapping[Symbol, float] = field(default_factory=dict)
    steps: Any = None
    start: Any = "stationary"

    def __post_init__(self) -> None:
        if not isinstance(self.spectrum, Spectrum):
            raise ValueError(  # noqa: TRY004
                f"spectrum = {shortened(self.spectrum)}: give a Spectrum; a Landscape's is its "
                ".spectrum."
            )
        if self.spectrum.counts is not None and detached(self.spectrum.counts).min() < 0:
            raise ValueError(
                "spectrum has counts of both signs, as compressed ones do: they stand for sums, "
                "and advice is about directions, too. Give the spectrum that it came from; its "
                "size does not matter."
            )
        object.__setattr__(self, "spectrum", _without_gradients(self.spectrum))
        if isinstance(self.hyperparameters, Hyperparameters):
            self.hyperparameters.sweep_with(self.parameters).require_one_setting("advice")
            numbers = {x: float(detached(y)) for x, y in self.hyperparameters.settings.items()}
            object.__setattr__(self, "hyperparameters", Hyperparameters(**numbers))
            own = {symbol: float(detached(x)) for symbol, x in self.parameters.items()}
            object.__setattr__(self, "parameters", own)
        # The predictor checks all the rest.
        _ = self.each
        if not np.any(self.moves):
            raise ValueError(
                "spectrum has neither noise nor curvature, so nothing moves. Give eigenvalues that "
                "are not all 0, or noise_variances."
            )
        if self.steps is not None:
            check_number("steps", self.steps, at_least=1, below=2.0**53)
            if self.steps != int(self.steps):
                raise ValueError(f"steps = {self.steps}: give a whole number of updates.")
        if isinstance(self.start, str) and self.start not in STARTS:
            raise ValueError(
                f"start = {self.start!r}: give 'stationary', 'minimum', or the offset from the "
                "minimum along every eigenvector, a number or (modes,)."
            )
        if not isinstance(self.start, str):
            self.each.mean(0, self.start)

    def but(self, **changes: Any) -> AdvisedRun:
        """The same run with other settings."""
        return replace(self, **changes)

    def predictor(self, spectrum: Spectrum, **changes: Any) -> Predictor:
        """A predictor with the run's settings.

        Args:
            spectrum: of the directions asked about.
            changes: of the settings.
        """
        settings = {
            "theory": self.theory,
            "rule": self.rule,
            "sampling": self.sampling,
            "parameters": self.parameters,
        }
        return Predictor(self.hyperparameters, spectrum, **{**settings, **changes})

    # -- direction by direction ---------------------------------------------------------------

    @cached_property
    def directions(self) -> Spectrum:
        """Every direction, with no promise about sums."""
        own = self.spectrum
        return Spectrum(own.eigenvalues, noise_variances=own.variances, counts=own.counts)

    @cached_property
    def each(self) -> Predictor:
        """Of every direction."""
        return self.predictor(self.directions)

    @cached_property
    def counts(self) -> Array:
        """Directions that every eigenvalue stands for, (modes,)."""
        counts = self.directions.counts
        return np.ones(len(self.directions)) if counts is None else np.asarray(counts)

    @cached_property
    def curvature(self) -> Array:
        """h = ρ + λ, (modes,)."""
        return np.asarray(self.each.curvature)

    @cached_property
    def settles(self) -> NDArray[np.bool_]:
        """Which directions have a stationary state, (modes,)."""
        found = np.isfinite(self.each.relaxation_steps) & (self.curvature > 0)
        if self.theory == "continuous":
            updates = self.predictor(self.directions, theory="discrete")
            found &= np.isfinite(updates.relaxation_steps)
        if self.learning_rate_limit is not None:
            # At the limit itself rounding decides what a relaxation time is.
            share = self.hyperparameters.learning_rate / self.learning_rate_limit
            found &= self.curvature * share < self.curvature.max() * (1 - _ROUNDING)
        return found

    @cached_property
    def moves(self) -> NDArray[np.bool_]:
        """Which directions move at all: a flat one without noise stays where it is, (modes,)."""
        return (self.curvature != 0) | (np.asarray(self.directions.variances) > 0)

    @property
    def stationary(self) -> bool:
        """Whether all that moves has a stationary state."""
        return bool(np.all(self.settles[self.moves]))

    @cached_property
    def variances(self) -> Array:
        """Stationary Var θ, (modes,); 0 where there is no stationary state."""
        found = np.zeros(len(self.directions))
        if np.any(self.settles):
            settled = self.predictor(selected(self.directions, self.settles))
            found[self.settles] = settled.stationary_covariance()[:, 0, 0]
        return found

    @property
    def variance(self) -> float | None:
        """Stationary Σ n Var θ; None where something that moves has no stationary state."""
        return float(self.counts @ self.variances) if self.stationary else None

    @property
    def excess_loss(self) -> float | None:
        """Stationary ½ Σ n h Var θ, likewise."""
        mean = self.counts @ (self.curvature * self.variances) / 2
        return float(mean) if self.stationary else None

    @cached_property
    def learning_rate_limit(self) -> float | None:
        """From which on means along the steepest direction no longer decay; None if unknown."""
        steepest = float(self.directions.eigenvalues.max())
        setting = Setting(self.hyperparameters, self.rule, self.parameters)
        return if_defined(lambda: noiseless_limit(setting, steepest))

    # -- in all -------------------------------------------------------------------------------

    @cached_property
    def _in_all(self) -> tuple[Spectrum, Any]:
        """Directions that stand for all that move, and their offsets at the start."""
        limit, hyper = self.learning_rate_limit, self.hyperparameters
        start = 0.0 if isinstance(self.start, str) else detached(self.start)
        offset = np.asarray(start, dtype=np.float64)
        if len(self.spectrum) <= _FEW or limit is None:
            # A compressed spectrum is refused where it makes no promise, as beyond the limit.
            whole = self.spectrum if self.stationary else self.directions
            return selected(whole, self.moves), offset[self.moves] if offset.ndim else offset
        share = hyper.learning_rate / limit
        reach = CurvatureRange(
            hyper.weight_decay,
            np.inf if share < 1 else float(self.curvature.max()) * _BELOW / share,
            SettingsRange(
                hyper.momentum,
                # The larger half at least, so that many settings ask for the same directions.
                max(0.5, min(1.001 * share, (1 + share) / 2)) if share < 1 else _BELOW,
                self.rule,
                tuple(self.parameters.items()),
                self.sampling == "fixed_order",
            ),
        )
        if offset.ndim:
            return with_offsets(self.spectrum, offset, reach)
        return few_directions(self.spectrum, reach), offset

    @cached_property
    def total(self) -> Predictor:
        """Of few directions, in sums."""
        return self.predictor(self._in_all[0])

    @cached_property
    def origin(self) -> str:
        """Where the run starts, in a word; the minimum where there is no stationary state."""
        if not isinstance(self.start, str):
            return "offset"
        return "stationary" if self.start == "stationary" and self.stationary else "minimum"

    @property
    def moved_to_the_minimum(self) -> bool:
        """Whether a stationary start was asked for where there is none."""
        return isinstance(self.start, str) and self.start != self.origin

    @property
    def started(self) -> dict[str, Any]:
        """The start, as arguments of the total's methods."""
        return {} if self.origin == "stationary" else {"position": self._in_all[1]}

    def displacement(self, steps: int) -> float | None:
        """E|θ_k − θ_0|²; None beyond floating point.

        Args:
            steps: update count.
        """
        return if_defined(lambda: self.total.displacement(steps, **self.started))


def _without_gradients(spectrum: Spectrum) -> Spectrum:
    """The spectrum as NumPy arrays: itself, where it is."""
    names = ("eigenvalues", "noise_scale", "noise_variances", "counts")
    given = {name: getattr(spectrum, name) for name in names}
    if backend_of(given.values()) == "numpy":
        return spectrum
    plain: dict[str, Any] = {
        name: value if value is None else np.asarray(detached(value), dtype=np.float64)
        for name, value in given.items()
    }
    return replace(spectrum, **plain)
