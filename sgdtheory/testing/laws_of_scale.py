r"""What must not change when units, names of directions or irrelevant settings do.

A theory has no units but those of its symbols: position, and loss. η is a position² a loss, and
with it time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.law import (
    Law,
    Theory,
    asked,
    close,
    close_moments,
    entered,
    moments,
    near_instability,
    pairs,
    refused,
    stationary_units,
    tolerance,
)
from sgdtheory.testing.run import Run

__all__ = ["LAWS_OF_SCALE"]

Array = NDArray[np.float64]

LAWS_OF_SCALE: list[Law] = []
_law = partial(entered, LAWS_OF_SCALE)
# What is as good as nothing, and yet no rounding error.
_HARDLY = 2.0**-30


@_law("units of position", "mean", "covariance")
def _units_of_position(theory: Theory, run: Run) -> None:
    """θ measured in other units: curvatures and noise change by c⁻², η by c², velocities by c⁻¹."""
    c = 8.0
    other = run.varied(
        learning_rate=run.learning_rate * c**2,
        weight_decay=run.weight_decay / c**2,
        eigenvalues=tuple(rho / c**2 for rho in run.eigenvalues),
        noise=tuple(each / c**2 for each in run.noise),
        position=tuple(c * x for x in run.position),
        velocity=tuple(v / c for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([c, 1 / c]), "θ in other units")


@_law("units of the loss", "mean", "covariance")
def _units_of_loss(theory: Theory, run: Run) -> None:
    """The loss times a: curvatures and velocities times a, noise times a², η by 1/a; θ the same."""
    a = 8.0
    other = run.varied(
        learning_rate=run.learning_rate / a,
        weight_decay=run.weight_decay * a,
        eigenvalues=tuple(rho * a for rho in run.eigenvalues),
        noise=tuple(each * a**2 for each in run.noise),
        velocity=tuple(v * a for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([1.0, a]), "the loss in other units")


def _require_scaled(theory: Theory, run: Run, other: Run, factors: Array, what: str) -> None:
    mean, spread = moments(asked(theory, run), run)
    expected = mean * factors, spread * np.outer(factors, factors)
    found, units = moments(asked(theory, other), other), run.units * factors
    close_moments(f" with {what}", run, found, expected, units, tolerance(run, run.steps[0]))


@_law("noise scales covariances", "covariance")
def _louder(theory: Theory, run: Run) -> None:
    """Four times the noise variance is four times the covariance; so is a quarter of the batch."""
    k = run.steps[0]
    base = run.varied(batch_size=4 * run.batch_size)
    expected = 4 * np.asarray(asked(theory, base).covariance(k))
    louder = base.varied(noise=tuple(4 * each for each in base.noise))
    scale, allowed = 4 * pairs(run.units), tolerance(run, k)
    for what, other in (("four times the noise", louder), ("a quarter of the batch", run)):
        found = asked(theory, other).covariance(k)
        close(f"covariance({k}) with {what}", found, expected, scale, allowed)


@_law("weight decay is curvature", "mean", "covariance")
def _decay(theory: Theory, run: Run) -> None:
    """λ pulls as a curvature does: ρ and λ act through ρ + λ alone, with the noise as it is."""
    other = run.varied(weight_decay=0.0, eigenvalues=tuple(run.curvature.tolist()))
    found, expected = (moments(asked(theory, one), run) for one in (other, run))
    allowed = tolerance(run, run.steps[0])
    close_moments(", λ as curvature", run, found, expected, run.units, allowed)


@_law("directions are independent", "mean", "covariance")
def _independent(theory: Theory, run: Run) -> None:
    """Along eigenvectors that noise shares, each direction moves as if it were alone."""
    mean, spread = moments(asked(theory, run), run)
    for i in range(len(run.eigenvalues)):
        one = slice(i, i + 1)
        alone = _chosen(run, one)
        found, expected = moments(asked(theory, alone), alone), (mean[one], spread[one])
        allowed = tolerance(run, run.steps[0])
        close_moments(f" of direction {i} alone", run, found, expected, run.units[one], allowed)


@_law("directions have no order", "mean", "covariance")
def _unordered(theory: Theory, run: Run) -> None:
    """Directions named in another order give the same numbers in that order."""
    backwards = slice(None, None, -1)
    other = _chosen(run, backwards)
    mean, spread = moments(asked(theory, run), run)
    found, expected = moments(asked(theory, other), other), (mean[backwards], spread[backwards])
    allowed = tolerance(run, run.steps[0])
    close_moments(" backwards", run, found, expected, other.units, allowed)


def _chosen(run: Run, directions: slice) -> Run:
    """The same with some of its directions, or in another order."""
    own = ("eigenvalues", "noise", "position", "velocity")
    return run.varied(**{name: getattr(run, name)[directions] for name in own})


@_law("weight decay begins at none", "mean", "covariance")
def _no_decay(theory: Theory, run: Run) -> None:
    """λ → 0: hardly any weight decay hardly differs from none."""
    rho = tuple(run.curvature.tolist())
    none = run.varied(weight_decay=0.0, eigenvalues=rho)
    _require_near(theory, none, none.varied(weight_decay=_HARDLY * min(rho)), "λ → 0")


def _takes_no_momentum(theory: Theory) -> str:
    """Whether it is of a rule without."""
    hardly = Hyperparameters(0.5, _HARDLY)
    return refused(
        "momentum", lambda: theory(hardly, Spectrum([1.0])).mean(1, np.ones(1), np.zeros(1))
    )


@_law("momentum begins at none", "mean", "covariance", untried=_takes_no_momentum)
def _no_momentum(theory: Theory, run: Run) -> None:
    """β → 0: hardly any momentum hardly differs from none."""
    # As far from instability as it was.
    flatter = run.curvature * min(1.0, run.limit(0.0) / run.limit(run.momentum))
    none = run.varied(momentum=0.0, weight_decay=0.0, eigenvalues=tuple(flatter.tolist()))
    _require_near(theory, none, none.varied(momentum=_HARDLY), "β → 0")


@_law("full batches are silent", "covariance")
def _silent(theory: Theory, run: Run) -> None:
    """S → ∞: without noise nothing spreads, at any time."""
    k = run.steps[0]
    noisy, silent = (
        np.asarray(asked(theory, one).covariance(k)) for one in (run, run.varied(batch_size=2**40))
    )
    allowed = tolerance(run, k) + _share_of_batch(run)
    # A theory that is wrong about how far noise spreads is not wrong about this.
    close(f"covariance({k}) as S → ∞", silent, 0.0, stationary_units(run, noisy), allowed)


@_law("large data are endless", "mean", "covariance")
def _endless(theory: Theory, run: Run) -> None:
    """N → ∞: of hardly exhausted data the number does not matter."""
    finite = theory(replace(run.hyperparameters, dataset_size=2**40), run.spectrum)
    allowed = tolerance(run, run.steps[0]) + _share_of_batch(run)
    found, expected = moments(finite, run), moments(asked(theory, run), run)
    close_moments(" as N → ∞", run, found, expected, run.units, allowed)


def _share_of_batch(run: Run) -> float:
    """Of 2⁴⁰ examples, with room for what spreads further than its units say."""
    return 4 * near_instability(run) * run.batch_size / 2**40


def _require_near(theory: Theory, none: Run, hardly: Run, limit: str) -> None:
    """A setting that differs by 2⁻³⁰ of its scale, in each of k updates."""
    found, expected = (moments(asked(theory, one), none) for one in (hardly, none))
    allowed = tolerance(none, none.steps[0]) * _HARDLY / np.finfo(float).eps
    close_moments(f" as {limit}", none, found, expected, none.units, allowed)
