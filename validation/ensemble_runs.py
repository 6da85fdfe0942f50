r"""Linear models by the million of updates: an experiment with engine = "ensemble".

The simulator draws the batches, takes the gradient and applies the rule; nothing of the theory
enters. A cell takes seconds, so one that is killed begins anew, and ends the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

import sgdtheory as sgd
from validation.data import Array
from validation.ensemble_averages import EnsembleAverages, Stretch, mean_of_stretches
from validation.experiments import Experiment, Optimizer
from validation.linear_problem import LinearProblem, linear_problem

__all__ = ["hyperparameters", "measure", "rule_of", "simulator"]

# Numbers in memory at once, and how many consecutive origins a stretch has at least.
_NUMBERS = 8_000_000
_ORIGINS = 512
# Averages are kept of so many groups of replicas at most: enough for an error of the error of 5 %.
_GROUPS = 256
_FEWEST = 64


def hyperparameters(experiment: Experiment, examples: int) -> sgd.Hyperparameters:
    """η, β, S, λ and N."""
    optimizer = experiment.optimizer
    return sgd.Hyperparameters(
        optimizer.learning_rate,
        optimizer.momentum,
        experiment.sampler.batch_size,
        optimizer.weight_decay,
        examples,
    )


def rule_of(optimizer: Optimizer) -> tuple[sgd.UpdateRule, Mapping[Any, float]]:
    """The update rule that torch.optim.SGD follows with these options, and its parameters."""
    if optimizer.nesterov:
        return sgd.nesterov(), {}
    # Without momentum torch has no buffer, and nothing is dampened.
    if optimizer.dampening and optimizer.momentum:
        return sgd.dampened(), {sgd.symbols.tau: optimizer.dampening}
    return sgd.heavy_ball(), {}


def simulator(
    problem: LinearProblem, replicas: int, seed: int, first_replica: int = 0, device: str = "cpu"
) -> sgd.QuadraticEnsemble | sgd.LinearRegressionEnsemble:
    """Replicas of a problem: by Numba on the processor, by torch on any other device."""

    def there(values: Array) -> Any:
        return values if device == "cpu" else torch.as_tensor(values, device=device)

    several = {"replicas": replicas, "seed": seed, "first_replica": first_replica}
    if problem.additive:
        forces = problem.curvatures * problem.minimum - problem.gradient_errors
        return sgd.QuadraticEnsemble(there(problem.eigenvalues), there(forces), **several)
    return sgd.LinearRegressionEnsemble(there(problem.inputs), there(problem.targets), **several)


def measure(
    experiment: Experiment,
    seed: int,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> EnsembleAverages:
    """Averages over the recorded updates, of every replica or of groups of equally many.

    Raises:
        ValueError: where replicas grew without bounds.
    """
    problem = linear_problem(experiment)
    record = experiment.record
    states = _origins(experiment, len(problem.targets)) + max(record.lags)
    group = _group_size(experiment)
    chunk = max(1, _NUMBERS // (2 * states * len(problem.curvatures) * group)) * group
    parts = []
    for first in range(0, record.replicas, chunk):
        count = min(chunk, record.replicas - first)
        ensemble = simulator(problem, count, seed, first, device)
        found = mean_of_stretches(_stretches(experiment, problem, ensemble), record.lags)
        parts.append(found.grouped(group))
        progress(count * (record.burn_in + record.updates) // record.replicas)
    whole = EnsembleAverages.joined(parts)
    if not whole.finite:
        raise ValueError(_grown(experiment))
    return whole


def _grown(experiment: Experiment) -> str:
    return (
        f"{experiment.name}: replicas grew without bounds at optimizer.learning_rate = "
        f"{experiment.optimizer.learning_rate}. Lower it, or the momentum."
    )


def _group_size(experiment: Experiment) -> int:
    """The least divisor that leaves no more groups than are kept.

    Raises:
        ValueError: for a single replica, and a number that leaves but few groups.
    """
    replicas = experiment.record.replicas
    size = next(
        size
        for size in range(1, replicas + 1)
        if replicas % size == 0 and replicas // size <= _GROUPS
    )
    if replicas // size < min(replicas, _FEWEST) or replicas < 2:
        raise ValueError(
            f"{experiment.name}: record.replicas = {replicas} cannot be averaged in {_FEWEST} to "
            f"{_GROUPS} groups of equally many, whose scatter is the standard error. Give 2 to "
            f"{_GROUPS}, or a multiple of {_GROUPS}."
        )
    return size


def _origins(experiment: Experiment, examples: int) -> int:
    """Origins of a stretch: whole epochs."""
    epoch = max(examples // experiment.sampler.batch_size, 1)
    return -(-min(_ORIGINS, experiment.record.updates) // epoch) * epoch


def _stretches(experiment: Experiment, problem: LinearProblem, ensemble: Any) -> Iterator[Stretch]:
    record = experiment.record
    origins, longest = _origins(experiment, len(problem.targets)), max(record.lags)
    step, position, velocity = 0, problem.minimum, 0.0
    # From one stretch to the next are whole epochs, so that phases stay even.
    stride = -(-(origins + longest) // origins) * origins
    for at in range(record.burn_in, record.burn_in + record.updates, stride):
        kept = np.arange(at, at + origins + longest)
        run = ensemble.simulate(
            hyperparameters(experiment, len(problem.targets)),
            kept,
            position,
            velocity,
            *rule_of(experiment.optimizer),
            sampling=experiment.sampler.name,
            first_step=step,
        )
        step, position, velocity = int(kept[-1]), run.position, run.velocity
        if not bool(torch.isfinite(torch.as_tensor(position)).all()):
            raise ValueError(_grown(experiment))
        states = torch.as_tensor(run.states).cpu().numpy()
        yield Stretch(states[..., 0] - problem.minimum, states[..., 1])
