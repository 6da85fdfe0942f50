"""The update rule applied by hand, and what a theory of it must then say.

Every update is made with numbers, from the two expressions of the rule; of theories, nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sgdtheory import symbols as s
from sgdtheory.lowering import lower
from sgdtheory.testing.law import Law, Theory, asked, close, pairs, tolerance
from sgdtheory.testing.run import Run
from sgdtheory.update_rule import UpdateRule

__all__ = ["followed", "laws_of", "one_update"]

Array = NDArray[np.float64]
Update = Callable[[Array, Array, Run, Array], tuple[Array, Array]]
# By hand it is slow, and what is wrong is wrong at once.
_MOST = 12


def one_update(rule: UpdateRule) -> Update:
    """A function of positions, velocities (…, modes), a run and the noise of the gradient."""
    if rule.parameters - {s.eta, s.beta}:
        raise ValueError(
            f"rule = {rule.name}: it has parameters besides η and β, {rule.parameters}. Put "
            "numbers in their place."
        )
    letters = (s.theta, s.v, s.eta, s.beta)
    ahead = lower(rule.gradient_at, letters)
    velocity = lower(rule.velocity, (*letters, s.g))
    position = lower(rule.position, (*letters, s.g, s.v_next))

    def update(x: Array, v: Array, run: Run, noise: Array) -> tuple[Array, Array]:
        settings = run.learning_rate, run.momentum
        g = run.curvature * np.asarray(ahead(x, v, *settings)) + noise
        faster = np.asarray(velocity(x, v, *settings, g))
        return np.asarray(position(x, v, *settings, g, faster)), faster

    return update


def followed(update: Update, run: Run, k: int) -> tuple[Array, Array]:
    """Mean and covariance after k updates, (modes, 2) and (modes, 2, 2).

    Noise enters linearly: a push of one standard deviation in any one update, carried to the end,
    is a column of the covariance's root.
    """
    modes = len(run.eigenvalues)
    still = np.zeros(modes)
    push = np.sqrt(np.array(run.noise) / run.batch_size)
    x, v = run.start
    pushed = np.zeros((2, k, modes))
    fresh = np.stack(update(still, still, run, push))
    for step in range(k):
        x, v = update(x, v, run, still)
        pushed[:, :step] = update(pushed[0, :step], pushed[1, :step], run, still)
        pushed[:, step] = fresh
    return np.stack([x, v], axis=-1), np.einsum("ikm,jkm->mij", pushed, pushed)


def laws_of(rule: UpdateRule) -> tuple[Law, ...]:
    """Those that set a theory beside the rule itself."""
    update = one_update(rule)

    def exact_mean(theory: Theory, run: Run) -> None:
        k = min(run.steps[0], _MOST)
        mean, _ = followed(update, run, k)
        found = asked(theory, run).mean(k, *run.start)
        close(f"mean of {k} updates of {rule.name}", found, mean, run.units, tolerance(run, k))

    def exact_covariance(theory: Theory, run: Run) -> None:
        k = min(run.steps[0], _MOST)
        _, covariance = followed(update, run, k)
        found = asked(theory, run).covariance(k)
        what = f"covariance of {k} updates of {rule.name}"
        close(what, found, covariance, pairs(run.units), tolerance(run, k))

    def small(theory: Theory, run: Run) -> None:
        coarse, fine = (_error(theory, update, run, share) for share in (2**-5, 2**-9))
        # Sixteen times smaller; 10 leaves room for the next order.
        allowed = coarse / 10 + 1e-9
        close("error at η/16, of that at η", fine, 0.0, 1.0, allowed)

    return (
        Law(
            "the mean by hand",
            "Means are those of the update rule, applied with numbers.",
            ("mean",),
            exact_mean,
            exact=True,
        ),
        Law(
            "the covariance by hand",
            "Covariances are those of the update rule, applied with numbers.",
            ("covariance",),
            exact_covariance,
            exact=True,
        ),
        Law(
            "small learning rates",
            "As η falls at a fixed time, the theory and the rule by hand agree to first order.",
            ("mean", "covariance"),
            small,
        ),
    )


def _error(theory: Theory, update: Update, run: Run, share: float) -> float:
    """Largest relative difference over one relaxation time of the first direction."""
    beta = min(run.momentum, 0.5)
    rate = share * (1 - beta) / float(run.curvature[0])
    one = run.varied(
        learning_rate=rate,
        momentum=beta,
        weight_decay=0.0,
        eigenvalues=(float(run.curvature[0]),),
        noise=(run.noise[0],),
        position=(1.0,),
        velocity=(0.0,),
    )
    k = round(1 / share)
    mean, covariance = followed(update, one, k)
    model = asked(theory, one)
    found = np.asarray(model.mean(k, *one.start))[0, 0], np.asarray(model.covariance(k))[0, 0, 0]
    return float(max(abs(found[0] / mean[0, 0] - 1), abs(found[1] / covariance[0, 0, 0] - 1)))
