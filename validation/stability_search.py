r"""The learning rate beyond which an ensemble grows without bounds, found by trying.

E|x|² of x = (θ − μ, ηv) may grow by rare replicas that no sample of replicas holds. So populations
are grown instead: every epoch (or few updates) replicas are drawn anew in proportion to their |x|²,
and the growth is the product of the populations' means. What decides is its sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from validation.data import Array
from validation.ensemble_runs import hyperparameters, rule_of, simulator
from validation.experiments import Experiment
from validation.linear_problem import LinearProblem

__all__ = ["Limit", "Population", "stability_limit"]

# Far above all noise, so that a population tells growth from fluctuation.
_FAR = 1e9
_BRACKET = 1e-3
_STRIDE = 1
# The same where there is no noise, and nothing is drawn; no more than numbers can bear to grow.
_QUIET = 16
# Memories of the velocity, 1/(1 − β), in the updates of a population: an oscillation that the
# momentum damps slowly must not be taken for growth.
_MEMORIES = 20


@dataclass(frozen=True)
class Population:
    """How much is tried at one learning rate.

    Args:
        size: replicas that replace one another.
        copies: independent populations, whose scatter is the standard error.
        updates: of each, at least; more where the momentum's memory is long.
        forget: the part of the updates that the first state is given to be forgotten.
    """

    size: int = 512
    copies: int = 8
    updates: int = 384
    forget: float = 0.25


@dataclass(frozen=True)
class Limit:
    """A learning rate, its standard error, and of how many populations."""

    value: float
    standard_error: float
    populations: int


class _Point(NamedTuple):
    learning_rate: float
    growth: float
    standard_error: float


def stability_limit(
    experiment: Experiment, problem: LinearProblem, seed: int, population: Population = Population()
) -> Limit:
    """Bisection for the learning rate at which growth changes its sign.

    The standard error joins the populations' scatter, divided by the slope of the growth, and the
    width of the last bracket, taken for a rectangular distribution.

    Raises:
        ValueError: under one order for ever, unless noise is additive: every order has a limit of
            its own.
    """
    if experiment.sampler.name == "fixed_order" and not problem.additive:
        raise ValueError(
            "sampler.name = 'fixed_order': every order of the examples has a limit of its own. "
            "Give a quadratic model, or another sampler."
        )

    least = int(np.ceil(_MEMORIES / (1 - experiment.optimizer.momentum)))
    population = replace(population, updates=max(population.updates, least))
    if problem.additive:
        # Far from the minimum there is no noise, and all replicas do the same.
        population = replace(population, size=2, copies=2)

    def tried(learning_rate: float) -> _Point:
        varied = experiment.varied({"optimizer.learning_rate": learning_rate})
        each = _growth(varied, problem, seed, population)
        error = float(each.std(ddof=1) / np.sqrt(len(each)))
        return _Point(learning_rate, float(each.mean()), error)

    low, high = _bracket(tried, experiment.optimizer.learning_rate)
    slope = (high.growth - low.growth) / (high.learning_rate - low.learning_rate)
    scatter = float(np.hypot(low.standard_error, high.standard_error)) / slope / 2
    width = (high.learning_rate - low.learning_rate) / np.sqrt(12)
    return Limit(
        low.learning_rate - low.growth / slope,
        float(np.hypot(scatter, width)),
        population.copies,
    )


def _bracket(tried: Callable[[float], _Point], start: float) -> tuple[_Point, _Point]:
    """Two learning rates about the limit, as near as the bracket's width or the scatter lets."""
    low = tried(start)
    while low.growth > 0:
        low = tried(low.learning_rate / 2)
    high = tried(2 * low.learning_rate)
    while high.growth <= 0:
        low, high = high, tried(2 * high.learning_rate)
    while high.learning_rate / low.learning_rate - 1 > _BRACKET:
        middle = tried(float(np.sqrt(low.learning_rate * high.learning_rate)))
        if abs(middle.growth) < 3 * middle.standard_error:
            slope = (high.growth - low.growth) / (high.learning_rate - low.learning_rate)
            reach = 3 * middle.standard_error / slope
            return tried(middle.learning_rate - reach), tried(middle.learning_rate + reach)
        low, high = (low, middle) if middle.growth > 0 else (middle, high)
    return low, high


def _growth(
    experiment: Experiment, problem: LinearProblem, seed: int, population: Population
) -> Array:
    """log E|x|² gained an update after the first state is forgotten, of every population."""
    hyper = hyperparameters(experiment, len(problem.targets))
    rule, parameters = rule_of(experiment.optimizer)
    ensemble = simulator(problem, population.size * population.copies, seed)
    generator = np.random.default_rng(seed)
    stride = _QUIET if problem.additive else _stride(experiment, len(problem.targets))
    position = np.zeros((ensemble.replicas, len(problem.curvatures)))
    position[:, np.argmax(problem.curvatures)] = _FAR
    velocity = np.zeros_like(position)
    gained = []
    for step in range(0, population.updates, stride):
        run = ensemble.simulate(
            hyper,
            [step + stride],
            position + problem.minimum,
            velocity,
            rule,
            parameters,
            sampling=experiment.sampler.name,
            first_step=step,
        )
        position, velocity = run.position - problem.minimum, run.velocity
        squares = np.sum(position**2 + (hyper.learning_rate * velocity) ** 2, axis=1)
        of_population = squares.reshape(population.copies, population.size)
        gained.append(np.log(of_population.mean(axis=1) / _FAR**2) / stride)
        chosen = _drawn_anew(of_population, generator)
        shrink = _FAR / np.sqrt(squares[chosen])[:, None]
        position, velocity = position[chosen] * shrink, velocity[chosen] * shrink
    return np.mean(gained[int(population.forget * len(gained)) :], axis=0)


def _stride(experiment: Experiment, examples: int) -> int:
    """Updates between two draws: a replica may be replaced where its next batches are fresh."""
    if experiment.sampler.name == "with_replacement":
        return _STRIDE
    epoch = max(examples // experiment.sampler.batch_size, 1)
    return -(-_STRIDE // epoch) * epoch


def _drawn_anew(squares: Array, generator: np.random.Generator) -> Array:
    """Numbers of the replicas that go on, each in proportion to its |x|² in its population."""
    size = squares.shape[1]
    chosen = []
    for number, shares in enumerate(squares / squares.sum(axis=1, keepdims=True)):
        # One offset for all: each is drawn as often as its share says, within one.
        ladder = (np.arange(size) + generator.random()) / size
        chosen.append(number * size + np.cumsum(shares).searchsorted(ladder).clip(max=size - 1))
    return np.concatenate(chosen)
