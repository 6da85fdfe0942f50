"""What an ensemble yields: every replica's record, and averages with their standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Estimate", "Run"]


class Estimate(NamedTuple):
    """A mean over replicas, and its standard error."""

    value: Any
    standard_error: Any


def estimated(values: Any) -> Estimate:
    """The mean over the first axis, with the standard error of independent replicas.

    >>> import numpy as np
    >>> estimated(np.array([[1.0], [2.0], [3.0]]))
    Estimate(value=array([2.]), standard_error=array([0.57735027]))
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"replicas = {count}: a standard error needs at least 2.")
    mean = values.mean(0)
    return Estimate(mean, (((values - mean) ** 2).sum(0) / (count - 1) / count) ** 0.5)


@dataclass(frozen=True, eq=False)
class Run:
    """Replicas of one run, of the array kind of the problem.

    Args:
        steps: update counts at which the state was kept, (T,).
        states: θ and v, projected on the directions that were asked for, (R, T, m, 2).
        displacements: ‖θ_k − θ‖² from where this run began, over all directions, (R, T).
        position: θ after the last of the steps, not projected, (R, d): where another run goes on.
        velocity: v, likewise.
    """

    steps: Any
    states: Any
    displacements: Any
    position: Any
    velocity: Any

    def mean(self) -> Estimate:
        """E (θ, v), (T, m, 2)."""
        return estimated(self.states)

    def second_moments(self, about: Any = 0.0) -> Estimate:
        """E x xᵀ of every direction's x = (θ, v) less `about`, (T, m, 2, 2).

        Args:
            about: known numbers that broadcast to (T, m, 2), so that replicas stay independent: a
                predicted mean, say.
        """
        x = self.states - about
        return estimated(x[..., :, None] * x[..., None, :])

    def displacement(self) -> Estimate:
        """E‖θ_k − θ‖² from where this run began, (T,)."""
        return estimated(self.displacements)
