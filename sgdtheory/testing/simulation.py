"""A theory beside its rule applied to drawn noise: two-sided, sequential, at a stated risk.

Replicas come in groups. After each group every observable is a mean with its standard error, and
the n-th look spends the share 6/(π²n²) of the risk, divided among all observables: so all looks
together raise a false alarm with at most the probability that was stated, whenever they stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sgdtheory.testing.by_hand import one_update
from sgdtheory.testing.law import Theory
from sgdtheory.testing.run import Run
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["Simulated", "check_against_simulation"]

Array = NDArray[np.float64]
_GROUP = 4096
_NAMES = ("position", "velocity", "Var θ", "Cov(θ, v)", "Var v", "|θ(k) − θ(0)|²")


@dataclass(frozen=True)
class Simulated:
    """What was seen when it stopped.

    Args:
        holds: whether no observable parted from the theory.
        observable: the one that is farthest from it.
        predicted: by the theory.
        measured: mean over replicas.
        error: its standard error.
        bound: largest size of z that was allowed at that look.
        replicas: simulated.
        looks: made.
        false_alarm: probability with which a right theory is refused, all looks together.
    """

    holds: bool
    observable: str
    predicted: float
    measured: float
    error: float
    bound: float
    replicas: int
    looks: int
    false_alarm: float

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "PARTS"
        z = (self.measured - self.predicted) / self.error
        return (
            f"{verdict}: {self.observable} {self.measured:.6g} ± {self.error:.2g}, predicted "
            f"{self.predicted:.6g}; z = {z:+.1f}, {self.bound:.1f} allowed after {self.replicas} "
            f"replicas in {self.looks} looks, false alarms with probability {self.false_alarm:g}; "
            "mean and covariance alone were asked"
        )


def check_against_simulation(
    theory: Theory,
    run: Run,
    rule: UpdateRule | None = None,
    *,
    dataset_noise: Array | None = None,
    false_alarm: float = 0.01,
    looks: int = 8,
    seed: int = 0,
) -> Simulated:
    """Simulate the rule from a start until the theory parts, or no more looks are left.

    Args:
        theory: as in `check`; `mean` and `covariance` are asked.
        run: the run; its first of two steps is the time.
        rule: heavy ball by default.
        dataset_noise: gradients of N examples less their mean, (N, modes), of which reshuffled
            epochs draw batches without replacement; by default noise is Gaussian and white, of the
            run's variances.
        false_alarm: probability of refusing a right theory.
        looks: at most; each adds 4096 replicas.
        seed: of the simulation.

    Raises:
        ValueError: for a probability outside 0 to 1, no whole number of looks, a theory without
            mean or covariance, or a batch that does not divide N.
        TypeError: for what is no rule.

    >>> import sgdtheory as sgd
    >>> from sgdtheory.testing import Run, check_against_simulation
    >>> run = Run(0.1, 0.9, 1, 0.0, (1.0,), (1.0,), (1.0,), (0.0,), (20, 20))
    >>> bool(check_against_simulation(sgd.Predictor, run, looks=2))
    True
    """
    if (
        not 0 < false_alarm < 1
        or isinstance(looks, bool)
        or not isinstance(looks, int)
        or looks < 1
    ):
        raise ValueError(
            f"false_alarm = {false_alarm}, looks = {looks}: give a probability between 0 and 1, "
            "and a whole number of looks, at least one."
        )
    rule = heavy_ball() if rule is None else rule
    require_rule(rule)
    update = one_update(rule)
    k, modes = run.steps[0], len(run.eigenvalues)
    model = theory(run.hyperparameters, run.spectrum)
    lacking = [name for name in ("mean", "covariance") if not hasattr(model, name)]
    if lacking:
        raise ValueError(f"theory: it has no {' and no '.join(lacking)}, which are compared.")
    mean, covariance = np.asarray(model.mean(k, *run.start)), np.asarray(model.covariance(k))
    predicted = _predicted(mean, covariance, np.array(run.position))
    rng = np.random.default_rng(seed)
    seen: list[Array] = []
    look = 0
    while True:
        look += 1
        noise = (
            _white(run, k, rng) if dataset_noise is None else _epochs(run, k, rng, dataset_noise)
        )
        x, v = (np.broadcast_to(one, (_GROUP, modes)) for one in run.start)
        for push in noise:
            x, v = update(x, v, run, push)
        seen.append(_observed(x, v, mean, np.array(run.position)))
        values = np.concatenate(seen)
        risk = false_alarm * 6 / (np.pi * look) ** 2 / predicted.size
        bound = float(stats.t.isf(risk / 2, len(values) - 1))
        told = _look(predicted, values, bound, look, false_alarm)
        if look == looks or not told.holds:
            return told


def _predicted(mean: Array, covariance: Array, start: Array) -> Array:
    """Means of what `_observed` returns, (observables, modes)."""
    moved = covariance[:, 0, 0] + (mean[:, 0] - start) ** 2
    return np.stack(
        [mean[:, 0], mean[:, 1], *(covariance[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1))), moved]
    )


def _observed(x: Array, v: Array, mean: Array, start: Array) -> Array:
    """Of every replica, (replicas, observables, modes); moments about the predicted mean."""
    dx, dv = x - mean[:, 0], v - mean[:, 1]
    return np.stack([x, v, dx**2, dx * dv, dv**2, (x - start) ** 2], axis=1)


def _look(
    predicted: Array, values: Array, bound: float, look: int, false_alarm: float
) -> Simulated:
    measured = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    # Without noise a mean is exact: rounding is then its error.
    error = np.maximum(error, 1e-12 * np.abs(measured) + np.finfo(float).tiny)
    z = np.abs(measured - predicted) / error
    z = np.where(np.isfinite(z), z, np.inf)
    place = np.unravel_index(int(z.argmax()), z.shape)
    return Simulated(
        bool(z[place] <= bound),
        f"{_NAMES[place[0]]} of direction {place[1]}",
        float(predicted[place]),
        float(measured[place]),
        float(error[place]),
        bound,
        len(values),
        look,
        false_alarm,
    )


def _white(run: Run, k: int, rng: np.random.Generator) -> Array:
    """(k, replicas, modes)."""
    deviation = np.sqrt(np.array(run.noise) / run.batch_size)
    return rng.standard_normal((k, _GROUP, len(run.noise))) * deviation


def _epochs(run: Run, k: int, rng: np.random.Generator, each: Array) -> Array:
    """Means over batches of a new order in every epoch and replica, (k, replicas, modes)."""
    count, size = len(each), run.batch_size
    if count % size:
        raise ValueError(
            f"batch_size = {size} and {count} examples: give a batch that divides them."
        )
    per_epoch = count // size
    drawn = []
    for _ in range(-(-k // per_epoch)):
        order = rng.permuted(np.tile(np.arange(count), (_GROUP, 1)), axis=1)
        batches = each[order].reshape(_GROUP, per_epoch, size, -1).mean(axis=2)
        drawn.append(batches.swapaxes(0, 1))
    return np.concatenate(drawn)[:k] if drawn else np.empty((0, _GROUP, each.shape[1]))
