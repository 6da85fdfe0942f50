"""Predictions made before beside what was then recorded: one row a setting and a quantity.

Where noise is white, bias and error are those of the same estimators on records that the theory
made itself. Elsewhere errors within a record allow for its autocorrelation, and those of curves, of
which a record has one, are from seed to seed. A quantity deviates where |z| passes the bound that
all rows together pass with a probability of 1 % if every prediction is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from validation.data import Array
from validation.durable_files import read_sealed
from validation.estimators import Estimate
from validation.past_convergence.measurements import Found, measure
from validation.past_convergence.predictions import slope, window
from validation.past_convergence.sealed_prediction import NAME
from validation.past_convergence.staged_runs import LINEARIZED
from validation.past_convergence.theory_records import NAME as THEORY
from validation.past_convergence.theory_records import read_theory_records
from validation.preparation import Start, recorded_cell
from validation.staged_experiments import Gates, StagedExperiment

__all__ = ["FALSE_ALARM", "Record", "Row", "bound", "compare", "judged", "label", "records_of"]

FALSE_ALARM = 0.01
# A record is so many relaxation times of a direction, or the direction's moments do not count.
_RELAXATIONS = 20
# Of the theory's own records, for their scatter to be known to a fifth.
_FEWEST = 16
# Predictions that are less than the whole theory, and what it says of the same number.
_PARTIAL = {
    "local_displacement_additive": "local_displacement",
    "exponent_of_diffusion": "exponent",
    "exponent_with_induced_force": "exponent",
}


@dataclass(frozen=True)
class Record:
    """One run: what was predicted, what was measured, and what the theory's own records show."""

    seed: int
    folder: Path
    predicted: Mapping[str, Any]
    errors: Mapping[str, Any]
    eigenvalues: Array
    measured: Found
    displacement: Array
    trials: Sequence[Found]
    updates: int
    sampler: str
    label_noise: float
    linearized: tuple[Array, Array] | None

    @property
    def white(self) -> bool:
        """Whether the noise of one batch knows nothing of another's."""
        return self.sampler == "with_replacement"

    @property
    def chance(self) -> str:
        """Where its noise comes from."""
        source = "fresh label errors" if self.label_noise else "the examples"
        return f"{self.sampler}, noise of {source}"

    def trial(self, number: int) -> Record:
        """One of the theory's own records in the place of this: its prediction is all true."""
        whole = {name: self.predicted[of] for name, of in _PARTIAL.items()}
        return replace(self, measured=self.trials[number], predicted={**self.predicted, **whole})

    @property
    def settled(self) -> Array:
        """Which directions relax soon enough for their moments to be stationary."""
        return np.asarray(self.predicted["relaxation"]) * _RELAXATIONS < self.updates


@dataclass(frozen=True)
class Row:
    """One quantity of one setting, over all seeds.

    Args:
        setting: its label.
        chance: sampler and source of the noise.
        quantity: what is compared.
        predicted: mean over seeds.
        measured: likewise.
        deviation: measured/predicted − 1, or for slopes and exponents measured − predicted, less
            the bias.
        bias: the deviation that estimators find in records that the theory makes itself; 0 where
            it makes none.
        error: standard error of the deviation, the prediction's own included.
        prediction_error: of the prediction alone.
        z: deviation over error, in normal quantiles.
        by_seed: the deviation of every seed, its bias included.
        directions: averaged over, all seeds together; 0 where the quantity has none.
        stationary: whether the records passed their gates.
    """

    setting: str
    chance: str
    quantity: str
    predicted: float
    measured: float
    deviation: float
    bias: float
    error: float
    prediction_error: float
    z: float
    by_seed: tuple[float, ...]
    directions: int
    stationary: bool


def label(values: Mapping[str, Any]) -> str:
    """A setting by what is its own."""
    return ", ".join(f"{name.split('.')[-1]} = {value}" for name, value in values.items()) or "base"


def records_of(
    staged: StagedExperiment, starts: Mapping[int, Start], place: Path, values: Mapping[str, Any]
) -> tuple[Record, ...]:
    """All complete records of one setting, one a seed.

    Args:
        staged: what is declared.
        starts: of all seeds.
        place: folder of the experiment.
        values: of the setting.
    """
    found = []
    for seed, start in starts.items():
        cell = recorded_cell(staged, start, dict(values))
        folder = place / cell.folder
        if not (folder / "complete.json").exists():
            continue
        made = read_sealed(folder / NAME, "Delete the run's folder and run it again.")
        experiment = cell.experiment
        found.append(
            Record(
                seed,
                folder,
                made["values"],
                made["errors"],
                np.array(made["eigenvalues"]),
                *measure(folder, experiment.identity, experiment.optimizer.learning_rate),
                read_theory_records(folder / THEORY),
                experiment.record.updates,
                experiment.sampler.name,
                experiment.data.label_noise,
                _linearized(folder / LINEARIZED),
            )
        )
    return tuple(found)


def _linearized(path: Path) -> tuple[Array, Array] | None:
    """Updates and |Δ|² of the trainings, the first of which had the record's batches."""
    if not path.exists():
        return None
    with np.load(path) as found:
        return found["updates"], found["displacement"]


def compare(setting: str, records: Sequence[Record], gates: Gates) -> list[Row]:
    """All rows of one setting."""
    steady = all(_steady(record, gates) for record in records)
    make = _Rows(setting, records, steady)
    rows = _predicted(make)
    made: dict[tuple[str, int], list[Row]] = {}
    for one in range(min(len(record.trials) for record in records)):
        for row in _predicted(_Rows(setting, [record.trial(one) for record in records], steady)):
            made.setdefault((row.quantity, len(row.by_seed)), []).append(row)
    told = [judged(row, made.get((row.quantity, len(row.by_seed)), [])) for row in rows]
    return [*told, *make.linearized()]


def _predicted(make: _Rows) -> list[Row]:
    """What the theory predicts."""
    return [
        make.ratio("|δ|²", "local_displacement"),
        make.ratio("|δ|², noise that does not drive itself", "local_displacement_additive"),
        *make.directions(),
        make.exponent("exponent"),
        make.exponent("exponent_of_diffusion"),
        make.exponent("exponent_with_induced_force"),
    ]


def judged(row: Row, made: Sequence[Row]) -> Row:
    """A row by what the theory's own records give in its place; as it is, where there are few."""
    if len(made) < _FEWEST:
        return row
    found = np.array([one.by_seed for one in made])
    trials, seeds = found.shape
    scatter = float(np.sqrt(found.var(axis=0, ddof=1).sum() * (1 + 1 / trials)) / seeds)
    bias, error = float(found.mean()), float(np.hypot(scatter, row.prediction_error))
    away = float(np.mean(row.by_seed)) - bias
    z = _as_normal(away / error, seeds * (trials - 1)) if error else float("nan")
    return replace(row, deviation=away, bias=bias, error=error, z=z)


def _as_normal(t: float, degrees: int) -> float:
    """The normal deviation that is as improbable as this of Student's."""
    return float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), degrees)))


def _steady(record: Record, gates: Gates) -> bool:
    """No mean square has changed by more than is allowed, beyond three of its errors.

    The error is the scatter of the theory's own records, which are stationary; where it made none,
    it is that of the record's autocorrelation.
    """
    for name in ("change", "velocity_change"):
        found: Estimate = getattr(record.measured, name)
        made = np.array([float(getattr(one, name).value) for one in record.trials])
        bias, error = 0.0, float(found.standard_error)
        if len(made) >= _FEWEST:
            bias, error = float(made.mean()), float(made.std(ddof=1) * np.sqrt(1 + 1 / len(made)))
        if abs(float(found.value) - bias) >= max(gates.change, 3 * error):
            return False
    return True


@dataclass(frozen=True)
class _Rows:
    setting: str
    records: Sequence[Record]
    steady: bool

    def _row(
        self,
        quantity: str,
        columns: Sequence[tuple[float, float, float, float]],
        directions: int,
        own: float = 0.0,
    ) -> Row:
        """From predicted, measured, deviation and its error of every seed."""
        predicted, measured, deviation, error = np.array(columns).T
        if self.records[0].sampler == "fixed_order":
            # One order decides about all of a record: its scatter is from seed to seed.
            return self._between_seeds(quantity, predicted, measured, own, deviation, directions)
        whole = float(np.hypot(_of_mean(error), own))
        z = float(deviation.mean()) / whole if whole else float("nan")
        return self._of(quantity, predicted, measured, deviation, whole, z, directions, own)

    def _of(
        self,
        quantity: str,
        predicted: Array,
        measured: Array,
        deviation: Array,
        error: float,
        z: float,
        directions: int = 0,
        own: float = 0.0,
    ) -> Row:
        """Means over seeds, with the error and z of their mean deviation."""
        return Row(
            self.setting,
            self.records[0].chance,
            quantity,
            float(predicted.mean()),
            float(measured.mean()),
            float(deviation.mean()),
            0.0,
            error,
            own,
            z,
            tuple(deviation.tolist()),
            directions,
            self.steady,
        )

    def ratio(self, quantity: str, name: str) -> Row:
        columns, own = [], []
        for record in self.records:
            value = float(record.predicted[name])
            found = record.measured.local_displacement
            measured, error = float(found.value), float(found.standard_error)
            own.append(float(record.errors.get(name, 0.0)) / value)
            columns.append((value, measured, measured / value - 1, error / value))
        return self._row(quantity, columns, 0, _of_mean(own))

    def directions(self) -> list[Row]:
        """Moments along eigenvectors, their slopes against ρ, and rotation."""

        def moment(name: str) -> Callable[[Record], tuple[Array, Estimate]]:
            return lambda r: (np.array(r.predicted[name]), getattr(r.measured, name))

        means = [
            ("Var θ", "position_variance"),
            ("Var v", "velocity_variance"),
            ("circulation", "circulation"),
        ]
        if self.records[0].white:
            means += [("γ", "friction"), ("ω²", "natural_frequency_squared")]
        rows = [self._mean(quantity, moment(name)) for quantity, name in means]
        if self.records[0].white:
            rows.append(self._mean("frequency of rotation", _rotation))
        for quantity, name in (
            ("log Var θ against log ρ, slope", "position_variance"),
            ("log Var v against log ρ, slope", "velocity_variance"),
        ):
            rows.append(self._slope(quantity, moment(name)))
        return [row for row in rows if row is not None]

    def _mean(self, quantity: str, of: Callable[[Record], tuple[Array, Estimate]]) -> Row | None:
        """Mean over directions of measured/predicted − 1, each direction alike."""
        columns, total = [], 0
        for record in self.records:
            predicted, found = of(record)
            kept = record.settled & np.isfinite(found.value) & (predicted != 0)
            kept &= np.isfinite(found.standard_error) & np.isfinite(predicted)
            if not kept.any():
                continue
            p, m, e = predicted[kept], found.value[kept], found.standard_error[kept]
            error = float(np.sqrt(((e / p) ** 2).sum()) / len(p))
            columns.append((float(p.mean()), float(m.mean()), float((m / p).mean()) - 1, error))
            total += len(p)
        return self._row(quantity, columns, total) if columns else None

    def _slope(self, quantity: str, of: Callable[[Record], tuple[Array, Estimate]]) -> Row | None:
        """Of measured/predicted against log ρ, beside the predicted slope.

        Ratios, since logarithms of what few independent pieces measure are low on the average; and
        weights that know no measured value, since low values would state small errors.
        """
        columns, total = [], 0
        for record in self.records:
            predicted, found = of(record)
            kept = record.settled
            if kept.sum() < 3:
                continue
            x = np.log(record.eigenvalues[kept])
            inverse = 1 / np.array(record.predicted["relaxation"])[kept]
            weights = (x - np.average(x, weights=inverse)) * inverse
            weights /= weights @ x
            ratio = found.value[kept] / predicted[kept]
            expected = float(weights @ np.log(predicted[kept]))
            away = float(weights @ ratio)
            spread = float(
                np.sqrt((weights**2) @ (found.standard_error[kept] / predicted[kept]) ** 2)
            )
            columns.append((expected, expected + away, away, spread))
            total += int(kept.sum())
        return self._row(quantity, columns, total) if columns else None

    def exponent(self, name: str) -> Row:
        """Of |Δ|² over the last factor of eight."""
        predicted = [record.predicted[name] for record in self.records]
        measured = [record.measured.exponent for record in self.records]
        own = _of_mean([float(record.errors.get(name, 0.0)) for record in self.records])
        return self._between_seeds(name.replace("_", " "), predicted, measured, own)

    def linearized(self) -> list[Row]:
        """The network beside itself with its Hessian held fixed, where that was trained.

        The same batches move both: what differs is due to the Hessian's change alone.
        """
        held = [record.linearized for record in self.records if record.linearized is not None]
        if len(held) < len(self.records):
            return []
        late = [
            np.array([slope(updates[chosen], curve[chosen]) for curve in curves])
            for updates, curves in held
            for chosen in (np.isin(updates, window(int(updates[-1]))),)
        ]
        measured = self.records
        return [
            self._between_seeds(
                "exponent, beside a Hessian held fixed",
                [float(each[0]) for each in late],
                [record.measured.exponent for record in measured],
            ),
            self._between_seeds(
                "log |Δ|² at the end, beside a Hessian held fixed",
                [float(np.log(curves[0, -1])) for _, curves in held],
                [float(np.log(record.displacement[-1])) for record in measured],
            ),
            *self._ensembles(late),
        ]

    def _ensembles(self, exponents: Sequence[Array]) -> list[Row]:
        """Trainings with the Hessian held fixed beside the theory's own records, mean by mean."""
        made = [np.array([one.exponent for one in record.trials]) for record in self.records]
        if min(len(each) for each in (*exponents, *made)) < 2:
            return []
        columns = [
            (
                theory.mean(),
                held.mean(),
                held.mean() - theory.mean(),
                float(np.hypot(stats.sem(held), stats.sem(theory))),
            )
            for held, theory in zip(exponents, made, strict=True)
        ]
        return [self._row("exponent of a Hessian held fixed, on the average", columns, 0)]

    def _between_seeds(
        self,
        quantity: str,
        expected: Sequence[float] | Array,
        found: Sequence[float] | Array,
        own: float = 0.0,
        deviation: Array | None = None,
        directions: int = 0,
    ) -> Row:
        """Of what a record has but one: its error is from seed to seed."""
        predicted, measured = np.array(expected), np.array(found)
        away = measured - predicted if deviation is None else deviation
        count = len(away)
        error = float(stats.sem(away)) if count > 1 else float("nan")
        # Few seeds: Student's deviation, told as a normal one.
        t = float(away.mean()) / error if error else float("nan")
        z = _as_normal(t, count - 1) if count > 1 else t
        return self._of(quantity, predicted, measured, away, error, z, directions, own)


def _of_mean(errors: Sequence[float] | Array) -> float:
    """The standard error of a mean from those of its terms."""
    return float(np.sqrt(np.square(errors).sum()) / len(errors))


def _rotation(record: Record) -> tuple[Array, Estimate]:
    """Of directions that turn well within their damping: near critical it is no smooth number."""
    expected = np.array(record.predicted["frequency"])
    well = expected > 2 * np.array(record.predicted["friction"])
    return np.where(well, expected, np.nan), record.measured.frequency


def bound(rows: Sequence[Row]) -> float:
    """|z| that a row or a mean of rows passes by chance with the probability `FALSE_ALARM`."""
    means = {(row.chance, row.quantity) for row in rows}
    return float(stats.norm.isf(FALSE_ALARM / (2 * max(len(rows) + len(means), 1))))


def all_rows(
    staged: StagedExperiment, starts: Mapping[int, Start], place: Path
) -> dict[str, tuple[tuple[Record, ...], list[Row]]]:
    """Records and rows of every setting that has any record, by its label."""
    found = {}
    for values in staged.settings:
        records = records_of(staged, starts, place, values)
        if records:
            name = label(values)
            found[name] = records, compare(name, records, staged.gates)
    return found
