"""What a theory of an update rule must say, set beside the rule applied by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sgdtheory.testing.by_hand import Update, followed, one_update, stationary_state
from sgdtheory.testing.law import (
    Law,
    Theory,
    asked,
    close,
    pairs,
    stationary_tolerance,
    stationary_units,
    tolerance,
)
from sgdtheory.testing.run import Run
from sgdtheory.update_rule import UpdateRule

__all__ = ["laws_of"]

Array = NDArray[np.float64]
# By hand it is slow, and what is wrong is wrong at once.
_MOST = 12


def laws_of(rule: UpdateRule) -> tuple[Law, ...]:
    """Those that know the rule."""
    update = one_update(rule)
    return (*_transient(rule, update), *_stationary(rule), _small(update))


def _transient(rule: UpdateRule, update: Update) -> tuple[Law, ...]:
    def mean(theory: Theory, run: Run) -> None:
        k = min(run.steps[0], _MOST)
        expected, _ = followed(update, run, k)
        found = asked(theory, run).mean(k, *run.start)
        close(f"mean of {k} updates of {rule.name}", found, expected, run.units, tolerance(run, k))

    def covariance(theory: Theory, run: Run) -> None:
        k = min(run.steps[0], _MOST)
        _, expected = followed(update, run, k)
        found = asked(theory, run).covariance(k)
        what = f"covariance of {k} updates of {rule.name}"
        close(what, found, expected, pairs(run.units), tolerance(run, k))

    return (
        _exact(mean, "It is that of the update rule, applied with numbers."),
        _exact(covariance, "It is that of the update rule, applied with numbers."),
    )


def _stationary(rule: UpdateRule) -> tuple[Law, ...]:
    state = stationary_state(rule)

    def stationary_covariance(theory: Theory, run: Run) -> None:
        expected = state(run).covariance
        found = asked(theory, run).stationary_covariance()
        what, units = f"stationary covariance of {rule.name}", stationary_units(run, expected)
        close(what, found, expected, units, stationary_tolerance(run))

    def autocovariance(theory: Theory, run: Run) -> None:
        k, held = min(run.steps[0], _MOST), state(run)
        found = asked(theory, run).autocovariance(k)
        what, units = f"autocovariance({k}) of {rule.name}", stationary_units(run, held.covariance)
        close(what, found, held.autocovariance(k), units, stationary_tolerance(run, k))

    def displacement(theory: Theory, run: Run) -> None:
        k, held = min(run.steps[0], _MOST), state(run)
        found = asked(theory, run).displacement(k)
        units = float(stationary_units(run, held.covariance)[:, 0, 0].sum())
        what = f"displacement({k}) of {rule.name}"
        close(what, found, held.displacement(k), units, stationary_tolerance(run, k))

    return (
        _exact(
            stationary_covariance,
            "One more update of the rule, solved to fifty digits, leaves it as it is.",
        ),
        _exact(
            autocovariance,
            "It is the stationary covariance, which the rule carries on, to fifty digits.",
        ),
        _exact(
            displacement,
            "It is twice what updates of the rule do not keep of the variance, to fifty digits.",
        ),
    )


def _exact(law: Callable[[Theory, Run], None], statement: str) -> Law:
    """Of one verb, whose name the function has."""
    verb = law.__name__
    return Law(f"the {verb.replace('_', ' ')} by hand", statement, (verb,), law, exact=True)


def _small(update: Update) -> Law:
    def small(theory: Theory, run: Run) -> None:
        coarse, fine = (_errors(theory, update, run, share) for share in (2**-3, 2**-7))
        for what, was, now, smaller in zip(_PARTS, coarse, fine, _SMALLER, strict=True):
            close(f"{what}, its error at η/16 in that at η", now, 0.0, 1.0, was / smaller + 1e-9)

    return Law(
        "small learning rates",
        "As η falls and time is one relaxation, the theory and the rule by hand agree to first "
        "order in η; in Cov(θ, v), which is √η of its scale, to half an order.",
        ("mean", "covariance"),
        small,
    )


_PARTS = ("mean θ", "mean v", "Var θ", "Var v", "Cov(θ, v)")
# Sixteen and four times, with room for the next order.
_SMALLER = (10.0, 10.0, 10.0, 10.0, 3.0)
# Of longer memories a relaxation takes too many updates by hand.
_LONGEST_MEMORY = 0.8


def _errors(theory: Theory, update: Update, run: Run, share: float) -> Array:
    """Largest relative differences, of all directions, after the steepest has relaxed once."""
    beta = min(run.momentum, _LONGEST_MEMORY)
    memory = 1 / (1 - beta)
    # As steep as a start is far, so that neither hides what becomes of the other.
    faster = run.curvature * memory
    slow = run.varied(
        learning_rate=share / memory**2 / float(run.curvature.max()),
        momentum=beta,
        position=(1.0,) * len(faster),
        velocity=tuple((np.array(run.velocity) * faster).tolist()),
    )
    k = round(memory / share)
    mean, covariance = followed(update, slow, k)
    model = asked(theory, slow)
    away = np.abs(np.asarray(model.mean(k, *slow.start)) - mean)
    deviation = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    apart = np.abs(np.asarray(model.covariance(k)) - covariance) / pairs(deviation)
    parts = (away[:, 0], away[:, 1] / faster, apart[:, 0, 0], apart[:, 1, 1], apart[:, 0, 1])
    return np.array([part.max() for part in parts])
