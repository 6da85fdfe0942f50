r"""The one place where theory meets measurement: predictions, rows and verdicts.

Each row holds both theories' prediction, the measurement, its standard error and both z-scores.
Both theories are given the same Hessian and the same noise: the covariance of the examples' own
gradients at the minimum and around it, in the spread that a stationary run has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

import sgdtheory as sgd
from validation.curvature import Geometry, geometry
from validation.data import Array, Regression
from validation.estimators import Estimate, ReplicaAverages, jackknife, replica_mean, z_scores
from validation.trajectories import Segment, Settings

__all__ = [
    "FALSE_ALARM_RATE",
    "THEORIES",
    "Case",
    "Row",
    "Verdict",
    "compare",
    "family_limit",
    "local_displacement_row",
    "prepare",
    "relaxation_rows",
    "stationary_noise",
    "stationary_rows",
    "verdicts",
]

THEORIES = ("continuous", "discrete")
FALSE_ALARM_RATE = 0.01
# Directions whose gradient noise is rounding error have nothing to compare.
NOISELESS = 1e-9


@dataclass(frozen=True)
class Row:
    """One number, predicted twice and measured once."""

    subject: str
    observable: str
    where: str
    continuous: float
    discrete: float
    measured: float
    standard_error: float
    z_continuous: float
    z_discrete: float

    def z(self, theory: str) -> float:
        """Deviation from one theory, in normal quantiles."""
        return {"continuous": self.z_continuous, "discrete": self.z_discrete}[theory]

    def deviation(self, theory: str) -> float:
        """Measured/predicted − 1."""
        return (
            self.measured / {"continuous": self.continuous, "discrete": self.discrete}[theory] - 1
        )


@dataclass(frozen=True)
class Case:
    """A problem and settings with everything that theory needs and says about them.

    Args:
        problem: what is trained.
        settings: how.
        geometry: its Hessian and gradient noise.
        directions: indices of the eigen-directions that the noise reaches.
        noise: covariance of one example's gradient in the stationary state, (m, d, d).
        models: both theories on these directions.
    """

    problem: Regression
    settings: Settings
    geometry: Geometry
    directions: Array
    noise: Array
    models: dict[str, sgd.Predictor]

    @property
    def eigenvalues(self) -> Array:
        """Of the compared directions."""
        return self.geometry.eigenvalues[self.directions]

    @property
    def start(self) -> Array:
        """The origin of the weights as an offset from the minimum, (directions, m)."""
        return self.geometry.start[self.directions]

    @property
    def multiplicative_share(self) -> float:
        """Largest share that distance from the minimum adds to the noise of a direction."""
        felt, at_minimum = (
            np.diagonal(noise.sum(axis=0))[self.directions]
            for noise in (self.noise, self.geometry.noise)
        )
        return float((felt / at_minimum - 1).max())

    @property
    def burn_in(self) -> int:
        """Updates until the slowest direction has forgotten its start to one part in e¹²."""
        return int(np.ceil(12 * self.models["discrete"].relaxation_steps.max()))

    def predict(self, value: Callable[[sgd.Predictor], Any]) -> dict[str, Array]:
        """What each theory says."""
        return {theory: np.asarray(value(model)) for theory, model in self.models.items()}


def prepare(problem: Regression, settings: Settings) -> Case:
    """Curvature and noise of a problem, and both theories given these."""
    shape = geometry(problem, settings.weight_decay)
    hyper = sgd.Hyperparameters(
        settings.learning_rate, settings.momentum, settings.batch_size, settings.weight_decay
    )
    noise = stationary_noise(problem, shape, hyper)
    at_minimum = np.diagonal(shape.noise.sum(axis=0))
    directions = np.flatnonzero(at_minimum > NOISELESS * at_minimum.max())
    spectrum = sgd.Spectrum(
        shape.eigenvalues[directions],
        noise_variances=np.diagonal(noise.sum(axis=0))[directions],
    )
    models = {theory: sgd.Predictor(hyper, spectrum, theory=theory) for theory in THEORIES}
    return Case(problem, settings, shape, directions, noise, models)


def stationary_noise(problem: Regression, shape: Geometry, hyper: sgd.Hyperparameters) -> Array:
    """Covariance of one example's gradient in the stationary state, in the eigenbasis, (m, d, d).

    Outputs share their inputs and nothing else: each is a regression of its own.

    Raises:
        UnstableError: at or beyond the learning rate where the noise drives itself beyond bounds.
    """
    V = shape.vectors
    return np.stack(
        [
            V.T @ sgd.FiniteDataset(problem.features, target).stationary(hyper).noise_covariance @ V
            for target in problem.targets.T
        ]
    )


def compare(
    case: Case,
    observable: str,
    where: Sequence[str],
    predicted: dict[str, Array],
    measured: Estimate,
) -> list[Row]:
    """Rows of one observable: one label, prediction and measurement each."""
    scores = {theory: z_scores(measured, predicted[theory]) for theory in THEORIES}
    return [
        Row(
            case.problem.name,
            observable,
            label,
            float(predicted["continuous"][i]),
            float(predicted["discrete"][i]),
            float(measured.value[i]),
            float(measured.standard_error[i]),
            float(scores["continuous"][i]),
            float(scores["discrete"][i]),
        )
        for i, label in enumerate(where)
    ]


def _near_half_relaxation(case: Case, choices: Sequence[int] | Array) -> Array:
    """For each direction the index of the lag next to half its relaxation time."""
    half = np.maximum(case.models["discrete"].relaxation_steps / 2, 1.0)
    return np.abs(np.log(np.asarray(choices)[None, :] / half[:, None])).argmin(axis=1)


def _circulation(model: sgd.Predictor) -> Array:
    lagged = model.autocovariance(1)
    return (lagged[:, 0, 1] - lagged[:, 1, 0]) / 2


def stationary_rows(case: Case, measured: ReplicaAverages) -> list[Row]:
    """Variances, circulation and autocorrelation along every direction; displacement in all."""
    keep, everyone = case.directions, np.arange(len(case.directions))
    labels = [f"ρ = {value:.3g}" for value in case.eigenvalues]
    lags = np.asarray(measured.lags)
    chosen = _near_half_relaxation(case, measured.lags)

    def autocorrelation(model: sgd.Predictor) -> Array:
        covariance = model.autocovariance(lags)[chosen, everyone, 0, 0]
        return covariance / model.stationary_covariance()[:, 0, 0]

    rows = []
    for observable, predicted, samples in (
        (
            "position variance",
            case.predict(lambda model: model.stationary_covariance()[:, 0, 0]),
            measured.position_variance,
        ),
        (
            "velocity variance",
            case.predict(lambda model: model.stationary_covariance()[:, 1, 1]),
            measured.velocity_variance,
        ),
        ("circulation", case.predict(_circulation), measured.circulation),
    ):
        rows += compare(case, observable, labels, predicted, replica_mean(samples[:, keep]))
    rows += compare(
        case,
        "position autocorrelation",
        [f"{label}, lag {lag}" for label, lag in zip(labels, lags[chosen], strict=True)],
        case.predict(autocorrelation),
        jackknife(
            lambda product, variance: product / variance,
            measured.products[:, chosen, keep],
            measured.position_variance[:, keep],
        ),
    )
    return rows + _displacement_rows(case, measured)


def local_displacement_row(case: Case, where: str, measured: ReplicaAverages) -> list[Row]:
    """Displacement of one update."""
    one_update = measured.displacement[:, list(measured.lags).index(1)]
    return compare(
        case,
        "local displacement",
        [where],
        case.predict(lambda model: np.atleast_1d(model.local_displacement())),
        replica_mean(one_update[:, None]),
    )


def _displacement_rows(case: Case, measured: ReplicaAverages) -> list[Row]:
    lags = np.asarray(measured.lags)
    first, last = np.arange(0, len(lags) - 2, 2), np.arange(2, len(lags), 2)
    log_ratio = np.log(lags[last] / lags[first])

    def exponent(displacement: Array) -> Array:
        return np.log(displacement[last] / displacement[first]) / log_ratio

    rows = local_displacement_row(case, "one update", measured)
    rows += compare(
        case,
        "global displacement",
        [f"lag {lag}" for lag in lags],
        case.predict(lambda model: model.displacement(lags)),
        replica_mean(measured.displacement),
    )
    rows += compare(
        case,
        "exponent",
        [f"lags {a} to {b}" for a, b in zip(lags[first], lags[last], strict=True)],
        case.predict(lambda model: exponent(model.displacement(lags))),
        jackknife(exponent, measured.displacement),
    )
    return rows


def relaxation_rows(case: Case, transient: Segment) -> list[Row]:
    """What is left of the first offset: the projection of each replica's offset on it."""
    offsets = transient.positions[:, case.directions].numpy()
    left = np.einsum("rito,io->rti", offsets, case.start) / (case.start**2).sum(axis=1)
    steps = np.unique(np.geomspace(1, left.shape[1] - 1, 20).astype(int))
    chosen = steps[_near_half_relaxation(case, steps)]
    everyone = np.arange(len(chosen))
    return compare(
        case,
        "mean relaxation",
        [f"ρ = {x:.3g}, step {k}" for x, k in zip(case.eigenvalues, chosen, strict=True)],
        case.predict(lambda model: model.mean(chosen, 1.0)[everyone, everyone, 0]),
        replica_mean(left[:, chosen, everyone]),
    )


def family_limit(rows: int) -> float:
    """|z| that the largest of `rows` exceeds by chance with the stated false-alarm rate.

    Šidák's bound; rows of one run depend on one another, which makes it cautious.
    """
    return float(stats.norm.isf((1 - (1 - FALSE_ALARM_RATE) ** (1 / rows)) / 2))


@dataclass(frozen=True)
class Verdict:
    """One observable of one subject: how its rows stand with both theories.

    Args:
        subject: name of the data set.
        observable: what was measured.
        rows: how many numbers.
        limit: |z| that the largest of ALL rows of the run exceeds by chance at the stated rate.
        worst_z: largest |z| of each theory.
        deviation: measured/predicted − 1 where |z| is largest, of each theory.
    """

    subject: str
    observable: str
    rows: int
    limit: float
    worst_z: dict[str, float]
    deviation: dict[str, float]

    def holds(self, theory: str) -> bool:
        """Whether chance explains the deviations from this theory."""
        return self.worst_z[theory] <= self.limit


def verdicts(rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """One verdict per subject and observable, in the order of the rows."""
    limit = family_limit(len(rows))
    groups = dict.fromkeys((row.subject, row.observable) for row in rows)
    found = []
    for subject, observable in groups:
        group = [r for r in rows if (r.subject, r.observable) == (subject, observable)]
        worst = {
            theory: group[int(np.argmax([abs(row.z(theory)) for row in group]))]
            for theory in THEORIES
        }
        found.append(
            Verdict(
                subject,
                observable,
                len(group),
                limit,
                {theory: abs(row.z(theory)) for theory, row in worst.items()},
                {theory: row.deviation(theory) for theory, row in worst.items()},
            )
        )
    return tuple(found)
