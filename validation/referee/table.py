r"""One table: observables against theories, a deviation and a ratio in every cell.

A deviation z is in normal quantiles: the difference over the standard error that independent
replicas give, by Student's t. Positive observables are compared by their logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from validation.comparison import family_limit
from validation.data import Array
from validation.ensemble_averages import EnsembleAverages
from validation.estimators import Estimate, z_scores
from validation.referee.case import Case
from validation.referee.observables import OBSERVABLES, Observable, Scale
from validation.referee.theories import THEORIES, Prediction

__all__ = ["Row", "Verdict", "rows_of", "verdicts"]

_ROUNDING = 1e-9
_FLAT = "position variance"


@dataclass(frozen=True)
class Row:
    """One number, measured once and predicted by every theory.

    Args:
        subject: data and model.
        sampler: how its batches were drawn.
        settings: of the optimizer.
        observable: what was measured.
        where: along which direction, at which lag.
        measured: value.
        standard_error: of it.
        predicted: by each theory; nan where it says nothing.
        z: deviation from each.
        scale: on which the two were compared, see `Observable`.
        relaxation_epochs: of the flattest direction, for its own variance: its relaxation time in
            epochs of the settings; nan for other rows.
    """

    subject: str
    sampler: str
    settings: str
    observable: str
    where: str
    measured: float
    standard_error: float
    predicted: dict[str, float]
    z: dict[str, float]
    scale: Scale = "logarithm"
    relaxation_epochs: float = np.nan


def jackknifed(
    observable: Observable, case: Case, samples: Sequence[Array], least: float = _ROUNDING
) -> tuple[Array, Array]:
    """Value without most of its bias, and standard error, on the scale of comparison.

    Args:
        observable: of the table.
        case: what was run.
        samples: the averages that it needs, replicas first.
        least: error, relative to what has a unit: one order for ever makes some numbers exact.
    """
    count = len(samples[0])
    sums = [sample.sum(axis=0) for sample in samples]

    def value(means: tuple[Array, ...]) -> Array:
        found = observable.measured(case, means)
        return np.log(found) if observable.scale == "logarithm" else found

    whole = value(tuple(total / count for total in sums))
    without = value(
        tuple((total - sample) / (count - 1) for total, sample in zip(sums, samples, strict=True))
    )
    centre = without.mean(axis=0)
    error = np.sqrt((count - 1) / count * ((without - centre) ** 2).sum(axis=0))
    unit = np.nanmax(np.abs(whole), initial=0.0) if observable.scale == "unit" else 1.0
    return count * whole - (count - 1) * centre, np.maximum(error, least * unit)


def _left_of_the_start(case: Case, averages: EnsembleAverages) -> float:
    """Relative: e^{−k/τ} after k updates of burn-in, and the square of that of a distant start.

    The simulator starts at the minimum, torch at the origin.
    """
    left = np.exp(-case.experiment.record.burn_in / case.relaxation_steps)
    distant = 0.0
    if case.experiment.engine == "torch":
        squares = case.problem.minimum**2 / averages.position_variance.mean(axis=0)
        distant = float((squares * left**2).max())
    return max(float(left.max()), distant, _ROUNDING)


def rows_of(case: Case, averages: EnsembleAverages, subject: str) -> list[Row]:
    """All observables of one case against all theories."""
    predictions = {theory.name: theory.predict(case) for theory in THEORIES}
    least = _left_of_the_start(case, averages)
    return [
        row
        for observable in OBSERVABLES
        for row in _rows(case, averages, subject, observable, predictions, least)
    ]


def _rows(
    case: Case,
    averages: EnsembleAverages,
    subject: str,
    observable: Observable,
    predictions: dict[str, Prediction],
    least: float,
) -> Iterable[Row]:
    samples = observable.samples(averages)
    value, error = jackknifed(observable, case, samples, least)
    estimate = Estimate(value, error, len(samples[0]))
    logarithm = observable.scale == "logarithm"
    predicted, z = {}, {}
    for name, prediction in predictions.items():
        with np.errstate(invalid="ignore"):
            found = observable.predicted(case, prediction)
        predicted[name] = np.full(value.shape, np.nan) if found is None else np.asarray(found)
        with np.errstate(divide="ignore", invalid="ignore"):
            there = np.log(predicted[name]) if logarithm else predicted[name]
        z[name] = z_scores(estimate, there)
    shown = np.exp(value) if logarithm else value
    shown_error = shown * error if logarithm else error
    for i, label in enumerate(observable.labels(case)):
        if np.isnan(shown[i]):
            continue
        yield Row(
            subject,
            case.sampler,
            case.label,
            observable.name,
            label,
            float(shown[i]),
            float(shown_error[i]),
            {name: float(values[i]) for name, values in predicted.items()},
            {name: float(values[i]) for name, values in z.items()},
            observable.scale,
            _epochs_of_flattest(case) if observable.name == _FLAT and i == 0 else np.nan,
        )


def _epochs_of_flattest(case: Case) -> float:
    hyper = case.hyper
    return float(case.relaxation_steps[0] * hyper.batch_size / len(case.problem.targets))


@dataclass(frozen=True)
class Verdict:
    """How one theory stands with one observable under one sampler.

    Args:
        subject: data and model.
        sampler: how batches were drawn.
        observable: what was measured.
        theory: who predicted.
        rows: how many numbers it predicted.
        limit: |z| that the largest of all rows exceeds by chance at the stated rate.
        worst_z: the largest |z|.
        root_mean_square_z: 1 where theory and errors are right.
        departure: the largest of the rows beyond the limit: measured/predicted, or measured less
            predicted of numbers that have no unit; nan if there is none.
        departure_error: its standard error.
        scale: of comparison.
    """

    subject: str
    sampler: str
    observable: str
    theory: str
    rows: int
    limit: float
    worst_z: float
    root_mean_square_z: float
    departure: float
    departure_error: float
    scale: Scale

    @property
    def holds(self) -> bool:
        """Whether chance explains its deviations."""
        return self.rows > 0 and self.worst_z <= self.limit

    @property
    def word(self) -> str:
        """For the table."""
        if self.rows == 0:
            return "silent"
        return "holds" if self.holds else "parts"


def verdicts(rows: Sequence[Row]) -> tuple[Verdict, ...]:
    """One a subject, sampler, observable and theory, in the order of the rows."""
    limit = family_limit(len(rows))
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.subject, row.sampler, row.observable), []).append(row)
    return tuple(
        _verdict(*key, theory.name, limit, group)
        for key, group in groups.items()
        for theory in THEORIES
    )


def _verdict(
    subject: str, sampler: str, observable: str, theory: str, limit: float, group: Sequence[Row]
) -> Verdict:
    said = [row for row in group if not np.isnan(row.predicted[theory])]
    scale = group[0].scale
    if not said:
        return Verdict(subject, sampler, observable, theory, 0, limit, *(np.nan,) * 4, scale)
    deviations = np.array([row.z[theory] for row in said])
    parting = [row for row in said if abs(row.z[theory]) > limit]
    return Verdict(
        subject,
        sampler,
        observable,
        theory,
        len(said),
        limit,
        float(np.abs(deviations).max()),
        float(np.sqrt(np.mean(deviations**2))),
        *_largest_departure(parting, theory),
        scale,
    )


def _largest_departure(rows: Sequence[Row], theory: str) -> tuple[float, float]:
    """With its error. Of numbers with a unit the difference decides, and the ratio is told."""
    if not rows:
        return np.nan, np.nan
    measured, error, predicted = (
        np.array(values)
        for values in zip(
            *((row.measured, row.standard_error, row.predicted[theory]) for row in rows),
            strict=True,
        )
    )
    scale = rows[0].scale
    with np.errstate(divide="ignore"):
        ratio, ratio_error = measured / predicted, error / np.abs(predicted)
        size = np.abs(np.log(ratio) if scale == "logarithm" else measured - predicted)
    worst = int(size.argmax())
    if scale == "number":
        return float(measured[worst] - predicted[worst]), float(error[worst])
    return float(ratio[worst]), float(ratio_error[worst])
