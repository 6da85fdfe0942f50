r"""What must not change when units, names of directions or irrelevant settings do.

A theory has no units but those of its symbols: position, and loss. η is a position² a loss, and
with it time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sgdtheory.testing.law import (
    Law,
    Theory,
    asked,
    close,
    entered,
    near_instability,
    pairs,
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
    k, c = run.steps[0], 8.0
    other = run.varied(
        learning_rate=run.learning_rate * c**2,
        weight_decay=run.weight_decay / c**2,
        eigenvalues=tuple(rho / c**2 for rho in run.eigenvalues),
        noise=tuple(each / c**2 for each in run.noise),
        position=tuple(c * x for x in run.position),
        velocity=tuple(v / c for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([c, 1 / c]), k, "θ in other units")


@_law("units of the loss", "mean", "covariance")
def _units_of_loss(theory: Theory, run: Run) -> None:
    """The loss times a: curvatures and velocities times a, noise times a², η by 1/a; θ the same."""
    k, a = run.steps[0], 8.0
    other = run.varied(
        learning_rate=run.learning_rate / a,
        weight_decay=run.weight_decay * a,
        eigenvalues=tuple(rho * a for rho in run.eigenvalues),
        noise=tuple(each * a**2 for each in run.noise),
        velocity=tuple(v * a for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([1.0, a]), k, "the loss in other units")


def _require_scaled(
    theory: Theory, run: Run, other: Run, factors: Array, k: int, what: str
) -> None:
    model, rescaled = asked(theory, run), asked(theory, other)
    means = np.asarray(model.mean(k, *run.start)) * factors
    allowed = tolerance(run, k)
    units = run.units * factors
    close(f"mean({k}) with {what}", rescaled.mean(k, *other.start), means, units, allowed)
    spreads = np.asarray(model.covariance(k)) * np.outer(factors, factors)
    close(f"covariance({k}) with {what}", rescaled.covariance(k), spreads, pairs(units), allowed)


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
    k = run.steps[0]
    other = run.varied(weight_decay=0.0, eigenvalues=tuple(run.curvature.tolist()))
    model, moved = asked(theory, run), asked(theory, other)
    allowed = tolerance(run, k)
    means = moved.mean(k, *run.start), model.mean(k, *run.start)
    close(f"mean({k}), λ as curvature", *means, run.units, allowed)
    spreads = moved.covariance(k), model.covariance(k)
    close(f"covariance({k}), λ as curvature", *spreads, pairs(run.units), allowed)


@_law("directions are independent", "mean", "covariance")
def _independent(theory: Theory, run: Run) -> None:
    """Along eigenvectors that noise shares, each direction moves as if it were alone."""
    k = run.steps[0]
    model = asked(theory, run)
    mean, spread = np.asarray(model.mean(k, *run.start)), np.asarray(model.covariance(k))
    for i in range(len(run.eigenvalues)):
        alone = run.varied(
            **{
                name: (getattr(run, name)[i],)
                for name in ("eigenvalues", "noise", "position", "velocity")
            }
        )
        single = asked(theory, alone)
        units, allowed = run.units[i : i + 1], tolerance(run, k)
        found = single.mean(k, *alone.start)
        close(f"mean({k}) of direction {i} alone", found, mean[i : i + 1], units, allowed)
        found = single.covariance(k)
        expected = spread[i : i + 1]
        close(f"covariance({k}) of direction {i} alone", found, expected, pairs(units), allowed)


@_law("directions have no order", "mean", "covariance")
def _unordered(theory: Theory, run: Run) -> None:
    """Directions named in another order give the same numbers in that order."""
    k = run.steps[0]
    other = run.varied(
        **{
            name: getattr(run, name)[::-1]
            for name in ("eigenvalues", "noise", "position", "velocity")
        }
    )
    model, turned = asked(theory, run), asked(theory, other)
    allowed = tolerance(run, k)
    mean = np.asarray(model.mean(k, *run.start))[::-1]
    close(f"mean({k}) backwards", turned.mean(k, *other.start), mean, other.units, allowed)
    spread = np.asarray(model.covariance(k))[::-1]
    close(f"covariance({k}) backwards", turned.covariance(k), spread, pairs(other.units), allowed)


@_law("weight decay begins at none", "mean", "covariance")
def _no_decay(theory: Theory, run: Run) -> None:
    """λ → 0: hardly any weight decay hardly differs from none."""
    rho = tuple(run.curvature.tolist())
    none = run.varied(weight_decay=0.0, eigenvalues=rho)
    _require_near(theory, none, none.varied(weight_decay=_HARDLY * min(rho)), "λ → 0")


@_law("momentum begins at none", "mean", "covariance")
def _no_momentum(theory: Theory, run: Run) -> None:
    """β → 0: hardly any momentum hardly differs from none."""
    none = run.varied(
        momentum=0.0, eigenvalues=tuple((run.curvature / (1 + run.momentum)).tolist())
    ).varied(weight_decay=0.0)
    _require_near(theory, none, none.varied(momentum=_HARDLY), "β → 0")


@_law("full batches are silent", "covariance")
def _silent(theory: Theory, run: Run) -> None:
    """S → ∞: without noise nothing spreads, at any time."""
    k = run.steps[0]
    found = np.asarray(asked(theory, run.varied(batch_size=2**40)).covariance(k))
    allowed = tolerance(run, k) + 4 * near_instability(run) * run.batch_size / 2**40
    close(f"covariance({k}) as S → ∞", found, 0.0, pairs(run.units), allowed)


@_law("large data are endless", "mean", "covariance")
def _endless(theory: Theory, run: Run) -> None:
    """N → ∞: of hardly exhausted data the number does not matter."""
    k = run.steps[0]
    model = asked(theory, run)
    finite = theory(replace(run.hyperparameters, dataset_size=2**40), run.spectrum)
    allowed = tolerance(run, k) + 4 * near_instability(run) * run.batch_size / 2**40
    means = finite.mean(k, *run.start), model.mean(k, *run.start)
    close(f"mean({k}) as N → ∞", *means, run.units, allowed)
    spreads = finite.covariance(k), model.covariance(k)
    close(f"covariance({k}) as N → ∞", *spreads, pairs(run.units), allowed)


def _require_near(theory: Theory, none: Run, hardly: Run, limit: str) -> None:
    """A setting that differs by 2⁻³⁰ of its scale, in each of k updates."""
    k = none.steps[0]
    without, almost = asked(theory, none), asked(theory, hardly)
    allowed = tolerance(none, k) * _HARDLY / np.finfo(float).eps
    means = almost.mean(k, *none.start), without.mean(k, *none.start)
    close(f"mean({k}) as {limit}", *means, none.units, allowed)
    spreads = almost.covariance(k), without.covariance(k)
    close(f"covariance({k}) as {limit}", *spreads, pairs(none.units), allowed)
