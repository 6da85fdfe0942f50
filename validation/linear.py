r"""Linear regression on real data, trained past convergence and compared with both theories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from validation.comparison import (
    Case,
    Row,
    local_displacement_row,
    prepare,
    relaxation_rows,
    stationary_rows,
)
from validation.curvature import NoiseShape
from validation.curves import (
    Curve,
    Panel,
    Portrait,
    Relaxation,
    displacement_curve,
    panel,
    portrait,
    relaxation,
)
from validation.data import PROBLEMS, Array, Regression
from validation.estimators import ReplicaAverages, averages, replica_mean
from validation.trajectories import Directions, Segment, Settings, Training

__all__ = ["Effort", "Experiment", "Subject", "linear_subjects", "planned_updates", "run"]


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


def planned_updates(subjects: Sequence[Subject], effort: Effort) -> int:
    """Optimiser steps that `run` will take for these subjects, for a progress bar."""
    total = 0
    for subject in subjects:
        own = prepare(subject.problem, subject.settings)
        total += effort.updates // 4 + own.burn_in + effort.segments * effort.updates
        for _, _, settings in _variations(subject):
            total += prepare(subject.problem, settings).burn_in + effort.updates
    return total


def _variations(subject: Subject) -> Iterator[tuple[str, float, Settings]]:
    for name, values in subject.panels.items():
        for value in values:
            yield name, value, subject.settings.varied(name, value)


@dataclass(frozen=True)
class _Laboratory:
    """How every training of one run is set up; each has a stream of batches of its own."""

    effort: Effort
    seed: int
    device: str
    progress: Callable[[int], object]

    def training(self, case: Case, replicas: int, stream: int) -> Training:
        return Training(
            case.problem,
            case.settings,
            replicas=replicas,
            seed=1000 * self.seed + stream,
            device=self.device,
            progress=self.progress,
        )

    def transient(self, case: Case) -> Segment:
        """From the origin of the weights."""
        training = self.training(case, self.effort.transient_replicas, 1)
        return training.record(self.effort.updates // 4, _directions(case))

    def stationary(
        self, case: Case, stream: int, segments: int, lags: Sequence[int]
    ) -> tuple[ReplicaAverages, Segment]:
        """Averages over all segments after the start is forgotten, and the last segment itself."""
        training = self.training(case, self.effort.replicas, stream)
        training.run(case.burn_in)
        kept: list[Segment] = []

        def watched() -> Iterator[Segment]:
            for segment in training.segments(segments, self.effort.updates, _directions(case)):
                kept[:] = [segment]
                yield segment

        return averages(watched(), lags), kept[0]


def _directions(case: Case) -> Directions:
    return Directions(case.geometry.vectors, case.geometry.minimum)


def run(
    subject: Subject,
    effort: Effort,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Experiment:
    """Train a subject past convergence and compare it with both theories."""
    laboratory = _Laboratory(effort, seed, device, progress)
    case = prepare(subject.problem, subject.settings)
    transient = laboratory.transient(case)
    lags = tuple(2**power for power in range(int(np.log2(effort.updates))))
    measured, record = laboratory.stationary(case, 2, effort.segments, lags)
    panels, panel_rows = _panels(subject, laboratory, case, measured)
    return Experiment(
        subject,
        case.eigenvalues,
        case.models["discrete"].regime,
        case.geometry.noise_shape(),
        case.multiplicative_share,
        (*relaxation_rows(case, transient), *stationary_rows(case, measured), *panel_rows),
        {kind: _variances(case, measured, kind) for kind in ("position", "velocity")},
        relaxation(case, transient),
        displacement_curve(case, measured),
        portrait(case, record),
        panels,
    )


def _variances(case: Case, measured: ReplicaAverages, kind: str) -> dict[str, Array]:
    index = ("position", "velocity").index(kind)
    estimate = replica_mean(getattr(measured, f"{kind}_variance")[:, case.directions])
    return {
        **case.predict(lambda model: model.stationary_covariance()[:, index, index]),
        "measured": estimate.value,
        "standard_error": estimate.standard_error,
    }


def _panels(
    subject: Subject, laboratory: _Laboratory, own: Case, own_measured: ReplicaAverages
) -> tuple[tuple[Panel, ...], list[Row]]:
    """Local displacement against one setting at a time, the subject's own among the points."""
    rows: list[Row] = []
    here = replica_mean(own_measured.displacement[:, :1])
    estimates = {name: {float(getattr(subject.settings, name)): here} for name in subject.panels}
    for stream, (name, value, settings) in enumerate(_variations(subject), start=10):
        case = prepare(subject.problem, settings)
        measured, _ = laboratory.stationary(case, stream, 1, (1,))
        estimates[name][value] = replica_mean(measured.displacement)
        rows += local_displacement_row(case, f"{name} = {value:g}", measured)
    return tuple(panel(own, name, estimates[name]) for name in subject.panels), rows
