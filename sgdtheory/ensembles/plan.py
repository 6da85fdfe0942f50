"""What a back end is told: plain numbers and arrays, and nothing of how they were arrived at.

Both back ends follow the same plan, so that they can be compared trajectory by trajectory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Draws", "Examples", "Plan", "Step"]


class Examples(NamedTuple):
    """Gradient of example n at θ: curvature·θ + rows_n (senses·rows_nᵀθ − targets_n).

    Args:
        rows: (N, d).
        targets: (N,).
        curvature: (d,), of what all examples share, weight decay included.
        senses: whether an example's gradient depends on θ beyond that.
        label_noise: standard deviation of the Gaussian error that a target has each time it is
            drawn.
    """

    rows: Any
    targets: Any
    curvature: Any
    senses: bool
    label_noise: float


class Step(NamedTuple):
    """θ' = θ + a v + b g and v' = c v + d g, with g taken at θ + e v."""

    a: float
    b: float
    c: float
    d: float
    e: float


class Draws(NamedTuple):
    """How batches are drawn.

    Args:
        examples: N.
        batch_size: S.
        without_replacement: whether an epoch is a permutation of the examples.
        repeats: whether every epoch has the order of the first.
        key_low: the seed's low word.
        key_high: its high word.
        first_replica: number of the first replica.
    """

    examples: int
    batch_size: int
    without_replacement: bool
    repeats: bool
    key_low: int
    key_high: int
    first_replica: int

    @property
    def updates_per_epoch(self) -> int:
        """M: an incomplete batch is dropped."""
        return self.examples // self.batch_size


class Plan(NamedTuple):
    """One run.

    Args:
        examples: the problem.
        step: the optimiser.
        draws: the batches.
        first_step: number of updates made before.
        records: update counts after which the state is kept, ascending, (T,).
        directions: what a kept state is projected on, (d, m); (d, 0) keeps it whole.
    """

    examples: Examples
    step: Step
    draws: Draws
    first_step: int
    records: Any
    directions: Any
