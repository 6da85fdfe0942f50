r"""The one place where theory meets measurement: training on one side, predictors on the other.

Each row holds both theories' prediction, the measurement, its standard error and both z-scores.
Both theories are given the same Hessian and the same noise: the covariance of the examples' own
gradients at the minimum and around it, in the spread that a stationary run has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats

import sgdtheory as sgd
from sgdtheory import symbols as s
from validation.curvature import Geometry, NoiseShape, geometry
from validation.data import PROBLEMS, Array, Regression
from validation.estimators import (
    Estimate,
    ReplicaAverages,
    averages,
    jackknife,
    replica_mean,
    z_scores,
)
from validation.trajectories import Directions, Segment, Settings, Training

__all__ = [
    "FALSE_ALARM_RATE",
    "THEORIES",
    "Effort",
    "Experiment",
    "Row",
    "Subject",
    "Verdict",
    "family_limit",
    "linear_subjects",
    "planned_updates",
    "run",
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


@dataclass(frozen=True)
class Effort:
    """How much is trained.

    Args:
        replicas: independent copies in the stationary record.
        segments: records of `updates` updates.
        updates: length of one record.
        transient_replicas: copies in the relaxation from the origin of the weights.
    """

    replicas: int = 64
    segments: int = 12
    updates: int = 512
    transient_replicas: int = 256


@dataclass(frozen=True)
class Subject:
    """A data set, the settings it is trained with, and variations of one setting each."""

    problem: Regression
    settings: Settings
    panels: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Local displacement against one setting: theory on a fine grid, measurement at points."""

    setting: str
    grid: Array
    theory: dict[str, Array]
    points: Array
    measured: Array
    standard_error: Array


@dataclass(frozen=True)
class Relaxation:
    """One direction of the relaxation from the origin: measured mean and both predictions."""

    eigenvalue: float
    steps: Array
    measured: Array
    one_replica: Array
    theory: dict[str, Array]


@dataclass(frozen=True)
class Curve:
    """Displacement against steps."""

    steps: Array
    theory: dict[str, Array]
    exponent: dict[str, Array]
    measured_at: Array
    measured: Array
    standard_error: Array


@dataclass(frozen=True)
class Portrait:
    """Stationary states of one direction, and the modified loss and current it should have."""

    eigenvalue: float
    positions: Array
    velocities: Array
    grid: tuple[Array, Array]
    modified_loss: Array
    current: tuple[Array, Array]


@dataclass(frozen=True)
class Experiment:
    """Everything that one subject yielded; the report draws it and computes nothing."""

    subject: Subject
    eigenvalues: Array
    regimes: tuple[str, ...]
    noise_shape: NoiseShape
    multiplicative_share: float
    rows: tuple[Row, ...]
    variances: dict[str, dict[str, Array]]
    relaxation: Relaxation
    curve: Curve
    portrait: Portrait
    panels: tuple[Panel, ...]


def linear_subjects() -> tuple[Subject, ...]:
    """The two linear models, with steps so large that the two theories differ."""
    return (
        Subject(
            PROBLEMS["diabetes"](),
            Settings(learning_rate=0.1, momentum=0.9, batch_size=64, weight_decay=0.01),
            {
                "learning_rate": (0.0125, 0.025, 0.05, 0.2),
                "batch_size": (24, 48, 128, 256),
                "momentum": (0.0, 0.5, 0.8, 0.95),
            },
        ),
        Subject(
            PROBLEMS["digits"](),
            Settings(learning_rate=0.05, momentum=0.9, batch_size=32, weight_decay=0.02),
        ),
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
        worst = {t: max(group, key=lambda r, t=t: abs(getattr(r, f"z_{t}"))) for t in THEORIES}
        found.append(
            Verdict(
                subject,
                observable,
                len(group),
                limit,
                {t: abs(getattr(row, f"z_{t}")) for t, row in worst.items()},
                {t: row.measured / getattr(row, t) - 1 for t, row in worst.items()},
            )
        )
    return tuple(found)


# -- theory, given a geometry and settings ---------------------------------------------------------


def _spread_response(settings: Settings, eigenvalues: Array) -> Array:
    """R with P_ij = R_ij Σ_ij: the stationary covariance of positions that unit noise causes.

    In the eigenbasis directions i and j obey x' = M x + n ε each, so their 2×2 cross-covariance
    solves X = M_i X M_jᵀ + n nᵀ/S: four linear equations a pair, whatever the noise covariance.
    """
    exact = sgd.recursion(sgd.heavy_ball(), curvature=s.h)
    values = {s.eta: settings.learning_rate, s.beta: settings.momentum}
    maps = sgd.lower(exact.map.subs(values), (s.h,))(eigenvalues + settings.weight_decay)
    kick = np.array(exact.kick.subs(values), dtype=np.float64).ravel()
    pairs = np.einsum("iab,jcd->ijacbd", maps, maps).reshape(len(maps), len(maps), 4, 4)
    injected = np.outer(kick, kick).ravel() / settings.batch_size
    solved = np.linalg.solve(
        np.eye(4) - pairs, np.broadcast_to(injected, pairs.shape[:3])[..., None]
    )
    return solved[..., 0, 0]


def _predictors(
    settings: Settings, shape: Geometry, keep: Array
) -> tuple[dict[str, sgd.Predictor], float]:
    """Both theories on the kept directions, and the largest share that position adds to noise."""
    response = _spread_response(settings, shape.eigenvalues)
    noise = shape.stationary_noise(lambda noise: response * noise)
    felt = np.diagonal(noise.sum(axis=0))[keep]
    at_minimum = np.diagonal(shape.noise.sum(axis=0))[keep]
    hyper = sgd.Hyperparameters(
        settings.learning_rate, settings.momentum, settings.batch_size, settings.weight_decay
    )
    spectrum = sgd.Spectrum(shape.eigenvalues[keep], noise_variances=felt)
    models = {theory: sgd.Predictor(hyper, spectrum, theory=theory) for theory in THEORIES}
    return models, float((felt / at_minimum - 1).max())


def _noisy(shape: Geometry) -> Array:
    """Indices of the directions that the gradient noise reaches."""
    variances = np.diagonal(shape.noise.sum(axis=0))
    return np.flatnonzero(variances > NOISELESS * variances.max())


# -- rows ------------------------------------------------------------------------------------------


def _rows(
    subject: str,
    observable: str,
    where: Sequence[str],
    predicted: dict[str, Array],
    measured: Estimate,
) -> list[Row]:
    scores = {theory: z_scores(measured, predicted[theory]) for theory in THEORIES}
    return [
        Row(
            subject,
            observable,
            label,
            *(float(predicted[theory][i]) for theory in THEORIES),
            float(measured.value[i]),
            float(measured.standard_error[i]),
            *(float(scores[theory][i]) for theory in THEORIES),
        )
        for i, label in enumerate(where)
    ]


def _both(models: dict[str, sgd.Predictor], value: Callable[[Any], Any]) -> dict[str, Array]:
    return {theory: np.asarray(value(model)) for theory, model in models.items()}


def _half_relaxation(models: dict[str, sgd.Predictor], choices: Sequence[int]) -> Array:
    """For each direction the index of the lag next to half its relaxation time."""
    half = np.maximum(models["discrete"].relaxation_steps / 2, 1.0)
    return np.abs(np.log(np.asarray(choices)[None, :] / half[:, None])).argmin(axis=1)


def _stationary_rows(
    name: str, rho: Array, models: dict[str, sgd.Predictor], measured: ReplicaAverages, keep: Array
) -> list[Row]:
    """Variances, circulation and autocorrelation along every direction; displacement in all."""
    labels = [f"ρ = {value:.3g}" for value in rho]
    lags = np.asarray(measured.lags)

    def diagonal(i: int) -> Callable[[sgd.Predictor], Array]:
        return lambda model: model.stationary_covariance()[:, i, i]

    def circulation(model: sgd.Predictor) -> Array:
        lagged = model.autocovariance(1)
        return (lagged[:, 0, 1] - lagged[:, 1, 0]) / 2

    rows = _rows(
        name,
        "position variance",
        labels,
        _both(models, diagonal(0)),
        replica_mean(measured.position_variance[:, keep]),
    )
    rows += _rows(
        name,
        "velocity variance",
        labels,
        _both(models, diagonal(1)),
        replica_mean(measured.velocity_variance[:, keep]),
    )
    rows += _rows(
        name,
        "circulation",
        labels,
        _both(models, circulation),
        replica_mean(measured.circulation[:, keep]),
    )
    chosen = _half_relaxation(models, measured.lags)
    everyone = np.arange(len(keep))

    def autocorrelation(model: sgd.Predictor) -> Array:
        covariance = model.autocovariance(lags)[chosen, everyone, 0, 0]
        return covariance / model.stationary_covariance()[:, 0, 0]

    rows += _rows(
        name,
        "position autocorrelation",
        [f"{label}, lag {lag}" for label, lag in zip(labels, lags[chosen], strict=True)],
        _both(models, autocorrelation),
        jackknife(
            lambda product, variance: product / variance,
            measured.products[:, chosen, keep],
            measured.position_variance[:, keep],
        ),
    )
    return rows + _displacement_rows(name, models, measured)


def _displacement_rows(
    name: str, models: dict[str, sgd.Predictor], measured: ReplicaAverages
) -> list[Row]:
    lags = np.asarray(measured.lags)
    step = measured.displacement[:, list(measured.lags).index(1)]
    rows = _rows(
        name,
        "local displacement",
        ["one update"],
        _both(models, lambda model: np.atleast_1d(model.local_displacement())),
        replica_mean(step[:, None]),
    )
    rows += _rows(
        name,
        "global displacement",
        [f"lag {lag}" for lag in lags],
        _both(models, lambda model: model.displacement(lags)),
        replica_mean(measured.displacement),
    )
    first, last = np.arange(0, len(lags) - 2, 2), np.arange(2, len(lags), 2)
    log_ratio = np.log(lags[last] / lags[first])

    def exponent(displacement: Array) -> Array:
        return np.log(displacement[last] / displacement[first]) / log_ratio

    rows += _rows(
        name,
        "exponent",
        [f"lags {a} to {b}" for a, b in zip(lags[first], lags[last], strict=True)],
        _both(models, lambda model: exponent(model.displacement(lags))),
        jackknife(exponent, measured.displacement),
    )
    return rows


def _relaxation_rows(
    name: str, shape: Geometry, keep: Array, models: dict[str, sgd.Predictor], transient: Segment
) -> list[Row]:
    """What is left of the first offset: the projection of each replica's offset on it."""
    start = shape.start[keep]
    offsets = transient.positions[:, keep].numpy()
    left = np.einsum("rito,io->rti", offsets, start) / (start**2).sum(axis=1)
    steps = np.unique(np.geomspace(1, left.shape[1] - 1, 20).astype(int))
    chosen = steps[_half_relaxation(models, steps)]
    everyone = np.arange(len(keep))
    return _rows(
        name,
        "mean relaxation",
        [
            f"ρ = {rho:.3g}, step {k}"
            for rho, k in zip(shape.eigenvalues[keep], chosen, strict=True)
        ],
        _both(models, lambda model: model.mean(chosen, 1.0)[everyone, everyone, 0]),
        replica_mean(left[:, chosen, everyone]),
    )


# -- pictures' data --------------------------------------------------------------------------------


def _relaxation_picture(
    shape: Geometry, keep: Array, models: dict[str, sgd.Predictor], transient: Segment
) -> Relaxation:
    """The oscillating direction whose start stands out most from the noise to come."""
    oscillating = np.array([regime == "underdamped" for regime in models["discrete"].regime])
    spread = np.sqrt(models["discrete"].stationary_covariance()[:, 0, 0])
    prominence = np.abs(shape.start[keep]).max(axis=1) / spread
    pick = int(np.argmax(np.where(oscillating, prominence, 0.0)))
    direction = keep[pick]
    output = int(np.abs(shape.start[direction]).argmax())
    origin = shape.start[direction, output]
    steps = np.arange(transient.positions.shape[2])
    states = np.stack(
        [
            part[:, direction, :, output].numpy() / origin
            for part in (transient.positions, transient.velocities)
        ],
        axis=-1,
    )
    return Relaxation(
        float(shape.eigenvalues[direction]),
        steps,
        states.mean(axis=0),
        states[0],
        {theory: model.mean(steps, 1.0)[:, pick] for theory, model in models.items()},
    )


def _curve(models: dict[str, sgd.Predictor], measured: ReplicaAverages) -> Curve:
    steps = np.unique(np.geomspace(1, 4 * max(measured.lags), 120).astype(int))
    estimate = replica_mean(measured.displacement)
    return Curve(
        steps,
        _both(models, lambda model: model.displacement(steps)),
        _both(models, lambda model: model.exponent(steps)),
        np.asarray(measured.lags),
        estimate.value,
        estimate.standard_error,
    )


def _portrait(
    shape: Geometry, direction: int, settings: Settings, noise: float, record: Segment
) -> Portrait:
    """The modified loss and its current on a grid, for the direction of the largest curvature."""
    langevin = sgd.modified_equation(sgd.heavy_ball())
    process = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h)
    flow = sgd.fokker_planck(process)
    rho = float(shape.eigenvalues[direction])
    values = {
        s.h: rho + settings.weight_decay,
        s.Sigma: noise,
        s.eta: settings.learning_rate,
        s.beta: settings.momentum,
        s.S: settings.batch_size,
    }
    spread = np.sqrt(
        np.array(process.stationary_covariance().subs(values).diagonal(), float)
    ).ravel()
    axes = [np.linspace(-3.2 * width, 3.2 * width, 61) for width in spread]
    grid = np.meshgrid(*axes)
    loss = sgd.lower(flow.modified_loss.subs(values), (s.theta, s.v))(*grid)
    current = sgd.lower(flow.current.subs(values).evalf(), (s.theta, s.v))(*grid)
    output = int(np.abs(shape.start[direction]).argmax())
    return Portrait(
        rho,
        record.positions[:, direction, :, output].numpy(),
        record.velocities[:, direction, :, output].numpy(),
        (grid[0], grid[1]),
        loss,
        (current[..., 0, 0], current[..., 1, 0]),
    )


# -- running ---------------------------------------------------------------------------------------


def _burn_in(models: dict[str, sgd.Predictor]) -> int:
    """Updates until the slowest direction has forgotten its start to one part in e¹²."""
    return int(np.ceil(12 * models["discrete"].relaxation_steps.max()))


def _lags(updates: int) -> tuple[int, ...]:
    """Powers of 2 up to half a record."""
    return tuple(2**power for power in range(int(np.log2(updates))))


def planned_updates(subjects: Sequence[Subject], effort: Effort) -> int:
    """Optimiser steps that `run` will take for these subjects, for a progress bar."""
    return sum(stages for subject in subjects for _, stages in _plan(subject, effort))


def _plan(subject: Subject, effort: Effort) -> list[tuple[Settings, int]]:
    plan = []
    for index, settings in enumerate(_all_settings(subject)):
        shape = geometry(subject.problem, settings.weight_decay)
        models, _ = _predictors(settings, shape, _noisy(shape))
        record = effort.updates * (effort.segments if index == 0 else 1)
        plan.append((settings, _burn_in(models) + record + (effort.updates // 4) * (index == 0)))
    return plan


def _all_settings(subject: Subject) -> list[Settings]:
    varied = [
        replace(subject.settings, **{name: value})
        for name, values in subject.panels.items()
        for value in values
    ]
    return [subject.settings, *varied]


def run(
    subject: Subject,
    effort: Effort,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Experiment:
    """Train a subject past convergence and compare it with both theories."""
    problem, settings = subject.problem, subject.settings
    shape = geometry(problem, settings.weight_decay)
    keep = _noisy(shape)
    models, share = _predictors(settings, shape, keep)
    directions = Directions(shape.vectors, shape.minimum)

    def training(settings: Settings, replicas: int, stream: int) -> Training:
        return Training(
            problem,
            settings,
            replicas=replicas,
            seed=1000 * seed + stream,
            device=device,
            progress=progress,
        )

    transient = training(settings, effort.transient_replicas, 1).record(
        effort.updates // 4, directions
    )
    stationary = training(settings, effort.replicas, 2)
    stationary.run(_burn_in(models))
    lags = _lags(effort.updates)
    kept: list[Segment] = []

    def watched() -> Any:
        for segment in stationary.segments(effort.segments, effort.updates, directions):
            if not kept:
                kept.append(segment)
            yield segment

    measured = averages(watched(), lags)
    rho = shape.eigenvalues[keep]
    rows = _relaxation_rows(problem.name, shape, keep, models, transient)
    rows += _stationary_rows(problem.name, rho, models, measured, keep)
    panels, panel_rows = _panels(subject, effort, training, models, measured)
    top = int(np.argmax(models["discrete"].spectrum.variances))
    output = int(np.abs(shape.start[keep[top]]).argmax())
    response = _spread_response(settings, shape.eigenvalues)
    noise = shape.stationary_noise(lambda noise: response * noise)
    return Experiment(
        subject,
        rho,
        models["discrete"].regime,
        shape.noise_shape(),
        share,
        tuple(rows + panel_rows),
        {
            kind: {
                **_both(models, lambda m, i=i: m.stationary_covariance()[:, i, i]),
                "measured": replica_mean(getattr(measured, f"{kind}_variance")[:, keep]).value,
                "standard_error": replica_mean(
                    getattr(measured, f"{kind}_variance")[:, keep]
                ).standard_error,
            }
            for i, kind in enumerate(("position", "velocity"))
        },
        _relaxation_picture(shape, keep, models, transient),
        _curve(models, measured),
        _portrait(
            shape,
            int(keep[top]),
            settings,
            float(noise[output, keep[top], keep[top]]),
            kept[0],
        ),
        panels,
    )


def _panels(
    subject: Subject,
    effort: Effort,
    training: Callable[[Settings, int, int], Training],
    base_models: dict[str, sgd.Predictor],
    base: ReplicaAverages,
) -> tuple[tuple[Panel, ...], list[Row]]:
    """Local displacement against one setting at a time, the subject's own among the points."""
    problem, name = subject.problem, subject.problem.name
    panels, rows = [], []
    stream = 10
    for setting, values in subject.panels.items():
        own = float(getattr(subject.settings, setting))
        measured = {own: replica_mean(base.displacement[:, :1])}
        for value in values:
            stream += 1
            settings = replace(subject.settings, **{setting: value})
            shape = geometry(problem, settings.weight_decay)
            models, _ = _predictors(settings, shape, _noisy(shape))
            trainer = training(settings, effort.replicas, stream)
            trainer.run(_burn_in(models))
            segment = trainer.record(effort.updates, Directions(shape.vectors, shape.minimum))
            measured[value] = replica_mean(averages([segment], (1,)).displacement)
            rows += _rows(
                name,
                "local displacement",
                [f"{setting} = {value:g}"],
                _both(models, lambda model: np.atleast_1d(model.local_displacement())),
                measured[value],
            )
        panels.append(_panel(subject, setting, measured))
    return tuple(panels), rows


def _panel(subject: Subject, setting: str, measured: dict[float, Estimate]) -> Panel:
    points = np.array(sorted(measured))
    grid = (
        np.linspace(points[0], points[-1], 40)
        if setting == "momentum"
        else np.geomspace(points[0], points[-1], 40)
    )
    theory: dict[str, list[float]] = {name: [] for name in THEORIES}
    for value in grid:
        settings = replace(subject.settings, **{setting: float(value)})
        shape = geometry(subject.problem, settings.weight_decay)
        models, _ = _predictors(settings, shape, _noisy(shape))
        for name in THEORIES:
            theory[name].append(float(models[name].local_displacement()))
    return Panel(
        setting,
        grid,
        {name: np.array(values) for name, values in theory.items()},
        points,
        np.array([measured[value].value[0] for value in points]),
        np.array([measured[value].standard_error[0] for value in points]),
    )
