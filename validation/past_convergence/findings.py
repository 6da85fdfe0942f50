"""All that an experiment in stages has found, read from its folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.past_convergence.comparison import Record, Row, all_rows, bound, label
from validation.past_convergence.staged_runs import prepared
from validation.staged_experiments import StagedExperiment

__all__ = ["Findings", "findings"]


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
    def base(self) -> tuple[Record, ...]:
        """Those of the first setting."""
        return next(iter(self.records.values()))

    def is_of(self, row: Row, values: Mapping[str, Any]) -> bool:
        """Whether a row is of a setting, which may be the recorded experiment's own."""
        recorded = self.staged.recorded
        own = recorded.varied(values).identity == recorded.identity
        return row.setting in (label(values), "base" if own else None)

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
