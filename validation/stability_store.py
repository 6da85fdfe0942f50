"""The stability limit of one cell on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from validation.experiments import Experiment
from validation.linear_problem import linear_problem
from validation.run_folder import RunFolder
from validation.stability_search import Limit, stability_limit

__all__ = ["read_limit", "run_stability"]


def run_stability(
    experiment: Experiment,
    seed: int,
    folder: Path,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Path:
    """Look for the limit of one cell, unless it has been found. Always on the processor.

    Args:
        experiment: with engine = "stability"; the search begins at its learning rate.
        seed: of all batches.
        folder: of this cell.
        device: not used: populations are small.
        progress: called with the number of updates at the end.

    Raises:
        ValueError: naming a file that is damaged or of another run, or a sampler without a limit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = RunFolder(folder, experiment.identity, seed)
    with place.locked():
        place.claim(experiment)
        if not place.is_complete():
            found = stability_limit(experiment, linear_problem(experiment), seed)
            place.complete(
                {
                    "learning_rate": found.value,
                    "standard_error": found.standard_error,
                    "populations": found.populations,
                }
            )
        progress(experiment.record.burn_in + experiment.record.updates)
    return folder


def read_limit(experiment: Experiment, seed: int, folder: Path) -> Limit:
    """What `run_stability` has found.

    Raises:
        ValueError: naming the file that is missing, damaged or of another run.
    """
    place = RunFolder(folder, experiment.identity, seed)
    if not place.is_complete():
        raise ValueError(f"{folder} is not complete. Run the sweep again: it does what is missing.")
    found = place.completion()
    return Limit(
        float(found["learning_rate"]), float(found["standard_error"]), int(found["populations"])
    )
