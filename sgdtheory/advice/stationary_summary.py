"""The stationary state in a few numbers: its temperature, and how long it takes to get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.advice.advised_run import AdvisedRun, if_defined
from sgdtheory.modified_equations import modified_equation

__all__ = ["EffectiveTemperature", "RelaxationTimes", "effective_temperature", "relaxation_times"]

Array = NDArray[np.float64]
# A factor up to which directions are called equal.
_EQUAL = 1.1


@dataclass(frozen=True)
class EffectiveTemperature:
    """T = h Var θ of the directions that have noise and settle; twice their mean loss.

    Args:
        lowest: T of the coldest direction. Unit: loss.
        median: half of the directions are colder.
        highest: T of the hottest.
        anisotropy: largest over smallest Var θ: 1 where positions spread alike.
        inverse_temperature: κ of the stationary density exp(−κΦ) in continuous time; None for
            batches without replacement, and for a rule without.
    """

    lowest: float
    median: float
    highest: float
    anisotropy: float
    inverse_temperature: float | None

    @property
    def isotropic(self) -> bool:
        """Whether the variances of all directions agree within a tenth."""
        return self.anisotropy <= _EQUAL

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words."""
        spread = (
            f"one temperature, {self.median:.4g}"
            if self.highest <= _EQUAL * self.lowest
            else f"temperatures h Var θ from {self.lowest:.4g} to {self.highest:.4g}, half of them "
            f"below {self.median:.4g}"
        )
        shape = (
            "Positions spread alike in all directions (isotropic)"
            if self.isotropic
            else "Positions do not spread alike (anisotropic)"
        )
        told = [
            f"Directions that settle have {spread}.",
            f"{shape}: largest over smallest variance is {self.anisotropy:.4g}.",
        ]
        if self.inverse_temperature is not None:
            told.append(f"Inverse temperature κ = {self.inverse_temperature:.6g}.")
        return tuple(told)


def effective_temperature(run: AdvisedRun) -> EffectiveTemperature | None:
    """Temperatures of a run; None where no direction has noise and settles.

    Args:
        run: whose directions.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> run = AdvisedRun(Hyperparameters(0.01, 0.9, 100), Spectrum([1.0, 0.01]))
    >>> found = effective_temperature(run)
    >>> found.isotropic, round(found.inverse_temperature, 9)
    (True, 19.0)
    """
    warm = run.variances > 0
    if not np.any(warm):
        return None
    variance, counts = run.variances[warm], run.counts[warm]
    temperature = run.curvature[warm] * variance
    return EffectiveTemperature(
        float(temperature.min()),
        _weighted_median(temperature, counts),
        float(temperature.max()),
        float(variance.max() / variance.min()),
        if_defined(lambda: _kappa(run)) if run.sampling == "with_replacement" else None,
    )


def _kappa(run: AdvisedRun) -> Any:
    kappa = modified_equation(run.rule).inverse_temperature
    return kappa.subs({**run.hyperparameters.values, **run.parameters})


@dataclass(frozen=True)
class RelaxationTimes:
    """Updates until the deviation of a direction has fallen by 1/e.

    Args:
        fastest: of all directions that settle.
        median: half of the stationary variance lies in faster directions; half of the directions
            are faster, where there is no noise.
        slowest: of all directions that settle.
        updates_per_epoch: None where the data set's size is not known.
    """

    fastest: float
    median: float
    slowest: float
    updates_per_epoch: float | None

    @property
    def epochs(self) -> tuple[float, float, float] | None:
        """Fastest, median and slowest in epochs."""
        if self.updates_per_epoch is None:
            return None
        epoch = self.updates_per_epoch
        return self.fastest / epoch, self.median / epoch, self.slowest / epoch

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words."""
        told = (
            f"From {self.fastest:.4g} updates (the fastest direction) to {self.slowest:.4g} (the "
            f"slowest); half of the variance lies in directions faster than {self.median:.4g}.",
        )
        if self.epochs is None:
            return told
        fast, median, slow = self.epochs
        return (*told, f"In epochs: {fast:.3g}, {slow:.3g} and {median:.3g}.")


def relaxation_times(run: AdvisedRun) -> RelaxationTimes | None:
    """Relaxation times of a run; None where nothing settles.

    Args:
        run: whose directions.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> run = AdvisedRun(Hyperparameters(0.1), Spectrum([1.0, 0.01]))
    >>> [round(x, 2) for x in (relaxation_times(run).fastest, relaxation_times(run).slowest)]
    [9.49, 999.5]
    """
    settles, hyper = run.settles, run.hyperparameters
    if not np.any(settles):
        return None
    updates = np.asarray(run.each.relaxation_steps)[settles]
    weights = (run.counts * run.variances)[settles]
    if not np.any(weights > 0):
        weights = run.counts[settles]
    return RelaxationTimes(
        float(updates.min()),
        _weighted_median(updates, weights),
        float(updates.max()),
        None if hyper.dataset_size is None else float(hyper.updates_per_epoch),
    )


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])
