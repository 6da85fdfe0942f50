r"""The network with its Hessian held fixed: linear in its parameters, trained by the same rule.

With f(θ) = f(θ_0) + J(θ − θ_0), SGD never leaves the rows of J: θ_k − θ_0 = Jᵀa_k, and outputs move
by the Gram matrix K = JJᵀ alone. So a step costs what a batch's rows of K do, whatever the network.
What the network does and this does not is due to its Hessian's change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import get_blas_funcs

from validation.data import Array
from validation.experiments import Experiment
from validation.samplers import generator, sampler
from validation.single_examples import output_slopes
from validation.torch_training import Training, stream_seed

__all__ = [
    "OutputProducts",
    "linearized_displacement",
    "output_products",
    "output_residuals",
    "replica_seeds",
]


@torch.no_grad()
def output_residuals(training: Training) -> Array:
    """f(θ_0) − y, (N, outputs)."""
    inputs, targets = training.examples
    outputs = torch.cat([training.model(part) for part in inputs.split(256)])
    return np.asarray((outputs - targets).double().cpu().numpy())


@dataclass(frozen=True)
class OutputProducts:
    """All that is needed of J, (N·outputs, parameters), example by example.

    Args:
        gram: K = JJᵀ.
        along: Ju of known directions, (N·outputs, k).
    """

    gram: Array
    along: Array


@torch.no_grad()
def output_products(training: Training, directions: Array) -> OutputProducts:
    """Of a training at θ_0, its model in evaluation. Memory: J, in the model's precision.

    Args:
        training: whose examples are taken.
        directions: u, (parameters, k).
    """
    inputs, _ = training.examples
    slopes = output_slopes(training.model, inputs)
    jacobian = torch.cat([part.flatten(0, 1).cpu() for part in slopes])
    # Half of a symmetric product is half its cost.
    product = get_blas_funcs("syrk", (jacobian[:1].numpy(),))
    lower = np.zeros((len(jacobian), len(jacobian)))
    for columns in jacobian.split(2**16, dim=1):
        lower += product(1.0, columns.numpy().T, trans=1, lower=1)
    along = jacobian @ torch.as_tensor(directions).to(jacobian)
    return OutputProducts(np.tril(lower) + np.tril(lower, -1).T, along.double().numpy())


def linearized_displacement(
    gram: Array, residual: Array, experiment: Experiment, seeds: Sequence[int], updates: Array
) -> Array:
    """|θ_k − θ_0|² of independent trainings, (seeds, updates), by half squared errors.

    Args:
        gram: K.
        residual: f(θ_0) − y, (N, outputs).
        experiment: whose sampler, rule and label noise hold; heavy ball without weight decay.
        seeds: of batches and label noise; those of a network's training draw the same.
        updates: update numbers, ascending.

    Raises:
        ValueError: for another rule or loss.
    """
    rule = experiment.optimizer
    if rule.weight_decay or rule.dampening or rule.nesterov:
        raise ValueError(
            "linearized_displacement: weight decay, dampening and Nesterov's gradient are not "
            "followed in outputs. Declare heavy ball without weight decay."
        )
    if experiment.loss.name != "half_squared_error":
        raise ValueError(
            f"linearized_displacement: loss.name = {experiment.loss.name!r}: outputs are linear, "
            'and so is their gradient, for "half_squared_error" alone.'
        )
    single = gram.astype(np.float32)
    return np.stack([_one(single, residual, experiment, seed, updates) for seed in seeds])


def _one(gram: Array, residual: Array, experiment: Experiment, seed: int, updates: Array) -> Array:
    rule, noise = experiment.optimizer, experiment.data.label_noise
    size, (count, outputs) = experiment.sampler.batch_size, residual.shape
    drawn = sampler(experiment.sampler.name, count, size, seed)
    place, speed = np.zeros((2, residual.size), dtype=np.float32)
    residual = residual.ravel()
    found, wanted = [], set(updates.tolist())
    dtype = getattr(torch, experiment.model.dtype)
    for step in range(int(updates[-1])):
        batch = drawn.batch(step).numpy()
        rows = (batch[:, None] * outputs + np.arange(outputs)).ravel()
        error = gram[rows] @ place + residual[rows]
        if noise:
            source = generator(seed, "label noise", step)
            fresh = torch.randn((size, outputs), dtype=dtype, generator=source)
            error = error - noise * fresh.numpy().ravel()
        speed *= rule.momentum
        # An example that is drawn twice counts twice.
        np.subtract.at(speed, rows, (error / size).astype(np.float32))
        place += rule.learning_rate * speed
        if step + 1 in wanted:
            found.append(float(place.astype(float) @ (gram @ place)))
    return np.array(found)


def replica_seeds(seed: int, count: int) -> list[int]:
    """The seed of a run, and others that have nothing in common with it."""
    return [seed, *(stream_seed(seed, "linearized", r) for r in range(1, count))]
