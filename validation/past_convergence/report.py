"""Rows, pictures and the verdict of an experiment in stages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from validation.past_convergence.comparison import Record, Row, all_rows, bound
from validation.past_convergence.staged_runs import prepared
from validation.staged_experiments import StagedExperiment

__all__ = ["Findings", "findings", "lines", "write"]


@dataclass(frozen=True)
class Findings:
    """All that an experiment in stages has found.

    Args:
        staged: its declaration.
        records: of every setting, by its label.
        rows: of all settings.
    """

    staged: StagedExperiment
    records: dict[str, tuple[Record, ...]]
    rows: tuple[Row, ...]

    @property
    def bound(self) -> float:
        """The |z| beyond which a row deviates."""
        return bound(self.rows)


def findings(staged: StagedExperiment, root: Path) -> Findings:
    """Read all complete records and set them beside their predictions.

    Raises:
        ValueError: if seeds are not prepared, or nothing is recorded.
    """
    found = all_rows(staged, prepared(staged, root), root / staged.name)
    if not found:
        raise ValueError(f"{staged.name}: no record is complete. Run it first.")
    rows = tuple(row for _, rows in found.values() for row in rows)
    return Findings(staged, {name: records for name, (records, _) in found.items()}, rows)


def lines(found: Findings) -> list[str]:
    """The rows as text."""
    told = [
        f"{'setting':<28}{'quantity':<42}{'predicted':>12}{'measured':>12}{'deviation':>11}"
        f"{'± error':>9}{'z':>7}"
    ]
    for row in found.rows:
        mark = "" if abs(row.z) <= found.bound else " *"
        told.append(
            f"{row.setting:<28}{row.quantity:<42}{row.predicted:>12.4g}{row.measured:>12.4g}"
            f"{row.deviation:>+11.3f}{row.error:>9.3f}{row.z:>+7.1f}{mark}"
            f"{'' if row.stationary else ' not stationary'}"
        )
    told.append(f"* |z| > {found.bound:.2f}, one false alarm in 100 such tables.")
    return told


def write(found: Findings, output: Path) -> Path:
    """rows.csv in a folder, made if need be."""
    output.mkdir(parents=True, exist_ok=True)
    return _rows(found.rows, output / "rows.csv")


def _rows(rows: Sequence[Row], path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    name: f"{value:.6g}" if isinstance(value, float) else value
                    for name, value in asdict(row).items()
                }
            )
    return path
