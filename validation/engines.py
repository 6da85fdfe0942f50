"""Which engine performs a cell. A module of its own, so that any worker can import it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from validation import ensemble_store, stability_store, torch_runs
from validation.experiments import Cell

__all__ = ["perform"]

_ENGINES = {
    "torch": torch_runs.run,
    "ensemble": ensemble_store.run_ensemble,
    "stability": stability_store.run_stability,
}


def perform(
    cell: Cell,
    folder: Path,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Path:
    """Run a cell in its folder, or go on with it.

    Args:
        cell: an experiment and a seed.
        folder: of this cell alone.
        device: any torch device.
        progress: called with the number of updates done since the last call.
    """
    engine = _ENGINES[cell.experiment.engine]
    return engine(cell.experiment, cell.seed, folder, device, progress)
