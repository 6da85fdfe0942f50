"""Which assumption of a prediction is weakest for a run: each is replaced, and a number moves.

A ratio says by what factor the number would change. The ratios compare unlike things, so their
order is a guide to what to look at first and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sgdtheory.advice.advised_run import AdvisedRun, if_defined
from sgdtheory.advice.self_driven_noise import self_driven_noise
from sgdtheory.number_checks import check_number
from sgdtheory.predictor import Predictor
from sgdtheory.spectrum import Spectrum

__all__ = ["UNCHECKED", "StrainedAssumption", "strained_assumptions"]

# What is asked of Σ ∝ H: noise of the same total that grows as ρ to the power 1 less this.
_LESS_STEEP = 0.1
UNCHECKED = (
    "that the loss is quadratic as far as the run goes",
    "that the gradient noise shares the Hessian's eigenvectors (a Landscape does without)",
)


@dataclass(frozen=True)
class StrainedAssumption:
    """What becomes of a number when an assumption is replaced.

    Args:
        assumption: what the prediction takes for granted.
        instead: what it is replaced by.
        quantity: the number asked about.
        ratio: with the replacement over as predicted, ≥ 0; ∞ where the number grows without limit.
    """

    assumption: str
    instead: str
    quantity: str
    ratio: float

    def __post_init__(self) -> None:
        if self.ratio != np.inf:
            check_number("ratio", self.ratio, at_least=0.0)

    @property
    def severity(self) -> float:
        """The size of log ratio: 0 where nothing changes."""
        return abs(float(np.log(self.ratio))) if self.ratio > 0 else np.inf

    def __str__(self) -> str:
        change = "grows without limit" if self.ratio == np.inf else f"is × {self.ratio:.4g}"
        return f"{self.assumption}. {self.instead}, {self.quantity} {change}."


def strained_assumptions(run: AdvisedRun, steps: int) -> tuple[StrainedAssumption, ...]:
    """The assumptions of a run's prediction that can be put to the test, the weakest first.

    Args:
        run: whose.
        steps: its length in updates.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> hyper = Hyperparameters(0.1, 0.9, 100, dataset_size=50_000)
    >>> found = strained_assumptions(AdvisedRun(hyper, Spectrum([1.0, 1e-4])), 1000)
    >>> print(found[0])
    Batches are drawn with replacement. Reshuffled in epochs, the variance of the flattest
    direction (h = 0.0001) is × 0.01558.
    """
    tried = (_sampling, _stationarity, _constant_noise, _noise_shape, _time, _falling)
    found = [strain for test in tried for strain in test(run, steps)]
    return tuple(sorted(found, key=lambda strain: -strain.severity))


def _replaced(
    run: AdvisedRun, other: AdvisedRun, steps: int, assumption: str, instead: str
) -> Iterator[StrainedAssumption]:
    """By the ratio of displacements at the run's end, where both are finite and not 0."""
    ours, theirs = run.displacement(steps), other.displacement(steps)
    if ours and theirs is not None:
        quantity = f"the displacement after {steps} updates"
        yield StrainedAssumption(assumption, instead, quantity, theirs / ours)


def _sampling(run: AdvisedRun, steps: int) -> Iterator[StrainedAssumption]:
    hyper = run.hyperparameters
    testable = hyper.dataset_size is not None and hyper.dataset_size >= 2
    if run.sampling != "with_replacement" or not testable or hyper.batch_size % 1:
        return
    white = run.but(theory="discrete")
    other = white.but(sampling="epochs")
    yield from _replaced(
        white,
        other,
        steps,
        "Batches are drawn with replacement",
        "Reshuffled in epochs, as a data loader does it",
    )
    warm = white.variances > 0
    if np.any(warm):
        flattest = int(np.argmin(np.where(warm, run.curvature, np.inf)))
        yield StrainedAssumption(
            "Batches are drawn with replacement",
            "Reshuffled in epochs",
            f"the variance of the flattest direction (h = {run.curvature[flattest]:.3g})",
            float(other.variances[flattest] / white.variances[flattest]),
        )


def _stationarity(run: AdvisedRun, steps: int) -> Iterator[StrainedAssumption]:
    if run.origin != "stationary":
        return
    total = run.total.spectrum.total
    settled = total(run.total.stationary_covariance()[:, 0, 0])
    if settled > 0:
        reached = total(run.total.covariance(steps)[:, 0, 0])
        yield StrainedAssumption(
            "The run is in its stationary state",
            "If it began at rest at the minimum",
            "the position variance at its end",
            max(0.0, float(reached / settled)),
        )


def _constant_noise(run: AdvisedRun, _: int) -> Iterator[StrainedAssumption]:
    if np.all(run.settles[run.curvature > 0]) and np.any(run.variances > 0):
        yield StrainedAssumption(
            "The noise is the same everywhere",
            "If it grew with the distance, as linear regression's does",
            "the stationary prediction error",
            self_driven_noise(run).amplification,
        )


def _noise_shape(run: AdvisedRun, steps: int) -> Iterator[StrainedAssumption]:
    own = run.spectrum
    if own.noise_variances is not None or not np.any(own.variances > 0):
        return
    shape = own.eigenvalues ** (1 - _LESS_STEEP)
    variances = shape * own.total(own.variances) / own.total(shape)
    other = Spectrum(own.eigenvalues, noise_variances=variances, counts=own.counts)
    yield from _replaced(
        run,
        run.but(spectrum=other),
        steps,
        "The noise is proportional to the Hessian",
        f"With the same total, growing as its power {1 - _LESS_STEEP:g}",
    )


def _time(run: AdvisedRun, steps: int) -> Iterator[StrainedAssumption]:
    if run.theory == "continuous":
        yield from _replaced(
            run,
            run.but(theory="discrete"),
            steps,
            "Time is continuous",
            "In the updates themselves",
        )


def _falling(run: AdvisedRun, steps: int) -> Iterator[StrainedAssumption]:
    lowest = min(
        float(run.spectrum.eigenvalues.min()),
        *(tail.lowest for tail in run.spectrum.negative_tails),
        0.0,
    )
    if lowest + run.hyperparameters.weight_decay >= 0:
        return
    one = Predictor(
        run.hyperparameters,
        Spectrum([lowest], noise_variances=[0.0]),
        rule=run.rule,
        parameters=run.parameters,
    )
    grown = if_defined(lambda: abs(one.mean(steps, 1.0)[0, 0]))
    yield StrainedAssumption(
        "No direction falls",
        f"Along the lowest eigenvalue {lowest:.3g}",
        f"a deviation after {steps} updates",
        np.inf if grown is None else grown,
    )
