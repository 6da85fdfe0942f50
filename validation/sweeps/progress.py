"""What is left of a sweep, on one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from validation.experiments import Cell

__all__ = ["SweepBar"]


def _updates(cell: Cell) -> int:
    record = cell.experiment.record
    return record.burn_in + record.updates


class SweepBar:
    """Cells by number, time left by updates: cells may differ much in length.

    Args:
        make: makes the bar, called as tqdm.tqdm is.
        todo: cells to be performed.
        skipped: cells that are complete.
    """

    def __init__(
        self, make: Callable[..., Any], todo: Sequence[Cell], skipped: Sequence[Cell]
    ) -> None:
        before = sum(map(_updates, skipped))
        self._total = len(todo) + len(skipped)
        self._ended, self._failed = len(skipped), 0
        self._bar = make(
            total=before + sum(map(_updates, todo)),
            initial=before,
            unit="update",
            unit_scale=True,
            # Updates arrive a cell at a time: only their mean rate says anything.
            smoothing=0,
        )
        self.refresh()

    def done(self, cell: Cell) -> None:
        """One more is."""
        self._ended += 1
        self._bar.update(_updates(cell))

    def failed(self, cell: Cell) -> None:
        """One was given up."""
        self._failed += 1
        self._bar.total -= _updates(cell)

    def refresh(self) -> None:
        """Of the count of cells."""
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_description_str(f"cells {self._ended}/{self._total}{failed}")

    def close(self) -> None:
        """With the last count."""
        self.refresh()
        self._bar.close()
