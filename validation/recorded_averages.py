"""Time averages of linear models that torch trained, from their records on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from validation.ensemble_averages import EnsembleAverages, Stretch, averages_of
from validation.experiments import HESSIAN, Experiment
from validation.linear_problem import LinearProblem, linear_problem
from validation.record_store import open_record
from validation.run_folder import RunFolder

__all__ = ["recorded_averages"]


def recorded_averages(experiment: Experiment, seed: int, folder: Path) -> EnsembleAverages:
    """Averages of every replica, about the minimum and along the Hessian's eigenvectors.

    Args:
        experiment: of a linear model, with engine = "torch".
        seed: of the run.
        folder: of the run, complete.

    Raises:
        ValueError: for a record that lacks what averages need, or naming a damaged file.
    """
    problem = linear_problem(experiment)
    states = _states_needed(experiment, len(problem.targets))
    place = RunFolder(folder, experiment.identity, seed)
    with open_record(place.record, place.identity) as record:
        return EnsembleAverages.joined(
            [
                averages_of(_stretch(record, replica, states, problem), experiment.record.lags)
                for replica in range(experiment.record.replicas)
            ]
        )


def _states_needed(experiment: Experiment, examples: int) -> int:
    """Of the record's: origins in whole epochs, and the longest lag."""
    record, name = experiment.record, experiment.name
    if record.directions != HESSIAN or record.projections_every != 1 or record.replicas < 2:
        raise ValueError(
            f"{name}: record.directions = {record.directions!r}, record.projections_every = "
            f"{record.projections_every}, record.replicas = {record.replicas}. The referee judges "
            f'trained models by independent replicas along the Hessian: give "{HESSIAN}", 1, and 2 '
            "at least, better 64."
        )
    epoch = max(examples // experiment.sampler.batch_size, 1)
    origins = (record.updates - max(record.lags)) // epoch * epoch
    if origins < 1:
        raise ValueError(
            f"{name}: record.updates = {record.updates} leave no epoch of {epoch} updates beside "
            f"the longest lag, {max(record.lags)}. Record more of them."
        )
    return origins + max(record.lags)


def _stretch(record: xr.Dataset, replica: int, states: int, problem: LinearProblem) -> Stretch:
    kept = slice(len(problem.curvatures))
    start = record.start.values[replica, kept] - problem.minimum
    positions, velocities = (
        np.asarray(record[name][:states, replica, kept].values)[None]
        for name in ("positions", "velocities")
    )
    return Stretch(positions + start, velocities)
