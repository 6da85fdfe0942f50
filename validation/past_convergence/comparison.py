"""Predictions made before beside what was then recorded: one row a setting and a quantity.

Errors within a record allow for its autocorrelation; those of curves, of which a record has one,
are from seed to seed. A quantity deviates where |z| passes the bound that all rows together pass
with a probability of 1 % if every prediction is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from validation.data import Array
from validation.durable_files import read_sealed
from validation.estimators import Estimate
from validation.past_convergence.measurements import Measured, measure
from validation.past_convergence.predictions import LINEARIZED, NAME, slope, window
from validation.preparation import Start, recorded_cell
from validation.staged_experiments import Gates, StagedExperiment

__all__ = ["FALSE_ALARM", "Record", "Row", "bound", "compare", "label", "records_of"]

FALSE_ALARM = 0.01
# A record is so many relaxation times of a direction, or the direction's moments do not count.
_RELAXATIONS = 20


@dataclass(frozen=True)
class Record:
    """One run: what was predicted and what was measured."""

    seed: int
    folder: Path
    predicted: Mapping[str, Any]
    errors: Mapping[str, Any]
    eigenvalues: Array
    measured: Measured
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
        deviation: measured/predicted − 1, or for slopes and exponents measured − predicted.
        error: its standard error, the prediction's own included.
        z: deviation over error, in normal quantiles.
        by_seed: the deviation of every seed.
        directions: averaged over, all seeds together; 0 where the quantity has none.
        stationary: whether the records passed their gates.
    """

    setting: str
    chance: str
    quantity: str
    predicted: float
    measured: float
    deviation: float
    error: float
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
                measure(folder, experiment.identity, experiment.optimizer.learning_rate),
                experiment.record.updates,
                experiment.sampler.name,
                experiment.data.label_noise,
                _linearized(folder / LINEARIZED),
            )
        )
    return tuple(found)


def _linearized(path: Path) -> tuple[Array, Array] | None:
    """Updates and |Δ|² of the training with the record's batches."""
    if not path.exists():
        return None
    with np.load(path) as found:
        return found["updates"], found["displacement"][0]


def compare(setting: str, records: Sequence[Record], gates: Gates) -> list[Row]:
    """All rows of one setting."""
    steady = all(_steady(record, gates) for record in records)
    make = _Rows(setting, records, steady)
    return [
        make.ratio("|δ|²", "local_displacement"),
        make.ratio("|δ|², noise that does not drive itself", "local_displacement_additive"),
        *make.directions(),
        make.exponent("exponent"),
        make.exponent("exponent_of_diffusion"),
        make.exponent("exponent_with_induced_force"),
        *make.linearized(),
    ]


def _steady(record: Record, gates: Gates) -> bool:
    """No mean square has changed by more than is allowed, beyond three of its errors."""
    changes = record.measured.change, record.measured.velocity_change
    return all(
        abs(float(one.value)) < max(gates.change, 3 * float(one.standard_error)) for one in changes
    )


@dataclass(frozen=True)
class _Rows:
    setting: str
    records: Sequence[Record]
    steady: bool

    def _row(
        self, quantity: str, columns: Sequence[tuple[float, float, float, float]], directions: int
    ) -> Row:
        """From predicted, measured, deviation and its error of every seed."""
        predicted, measured, deviation, error = np.array(columns).T
        own = float(np.sqrt((error**2).sum()) / len(deviation))
        z = float(deviation.mean()) / own if own else float("nan")
        return self._of(quantity, predicted, measured, deviation, own, z, directions)

    def _of(
        self,
        quantity: str,
        predicted: Array,
        measured: Array,
        deviation: Array,
        error: float,
        z: float,
        directions: int = 0,
    ) -> Row:
        """Means over seeds, with the error and z of their mean deviation."""
        return Row(
            self.setting,
            self.records[0].chance,
            quantity,
            float(predicted.mean()),
            float(measured.mean()),
            float(deviation.mean()),
            error,
            z,
            tuple(deviation.tolist()),
            directions,
            self.steady,
        )

    def ratio(self, quantity: str, name: str) -> Row:
        columns = []
        for record in self.records:
            value = float(record.predicted[name])
            found = record.measured.local_displacement
            own = float(record.errors.get(name, 0.0)) / value
            measured = float(found.value)
            spread = np.hypot(float(found.standard_error) / value, own)
            columns.append((value, measured, measured / value - 1, float(spread)))
        return self._row(quantity, columns, 0)

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
        return self._between_seeds(name.replace("_", " "), predicted, measured)

    def linearized(self) -> list[Row]:
        """The network beside itself with its Hessian held fixed, where that was trained.

        The same batches move both: what differs is due to the Hessian's change alone.
        """
        curves = [record.linearized for record in self.records]
        if any(curve is None for curve in curves):
            return []
        late = [
            slope(updates[chosen], curve[chosen])
            for updates, curve in filter(None, curves)
            for chosen in (np.isin(updates, window(int(updates[-1]))),)
        ]
        ends = [np.log(curve[-1]) for _, curve in filter(None, curves)]
        measured = [record.measured for record in self.records]
        return [
            self._between_seeds(
                "exponent, beside a Hessian held fixed", late, [one.exponent for one in measured]
            ),
            self._between_seeds(
                "log |Δ|² at the end, beside a Hessian held fixed",
                ends,
                [float(np.log(one.displacement[-1])) for one in measured],
            ),
        ]

    def _between_seeds(
        self, quantity: str, expected: Sequence[float], found: Sequence[float]
    ) -> Row:
        """Of what a record has but one: its error is from seed to seed."""
        predicted, measured = np.array(expected), np.array(found)
        away, count = measured - predicted, len(measured)
        error = float(stats.sem(away)) if count > 1 else float("nan")
        # Few seeds: Student's deviation, told as a normal one.
        t = away.mean() / error if error else float("nan")
        z = float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), count - 1))) if count > 1 else t
        return self._of(quantity, predicted, measured, away, error, float(z))


def _rotation(record: Record) -> tuple[Array, Estimate]:
    """Of directions that turn well within their damping: near critical it is no smooth number."""
    expected = np.array(record.predicted["frequency"])
    well = expected > 2 * np.array(record.predicted["friction"])
    return np.where(well, expected, np.nan), record.measured.frequency


def bound(rows: Sequence[Row]) -> float:
    """|z| that one of so many rows passes by chance with the probability `FALSE_ALARM`."""
    return float(stats.norm.isf(FALSE_ALARM / (2 * max(len(rows), 1))))


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
