"""Positions and velocities along directions, as a record takes them: directly, or from gradients.

Every update, projecting the gradient alone is cheaper: the update rule is linear, and moves what is
known along the directions as it moves the parameters. At every checkpoint both are taken directly,
and the two must agree; so no rounding error lasts, and a run that is taken up again is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from validation.convention import velocity
from validation.displacement_kernel import Displacement

__all__ = ["FollowedStates", "ProjectedStates", "Projections", "along"]

Array: TypeAlias = NDArray[np.float64]

# Bytes of vectors that wait for their projection.
_WAITING = 2**29
# Parameters whose product is summed in their own precision, before float64 takes over.
_SLICE = 2**16
# Of the largest position or velocity: float32 rounds 10⁷ parameters to less in thousands of steps.
_ROUNDING = 1e-3


class Projections(Protocol):
    """What a recorder asks of either."""

    def take(self) -> None:
        """After every update, before the displacement forgets θ_{k−1}."""

    def rows(self) -> tuple[Array, Array]:
        """Positions and velocities since the last time, (rows, R, k) each."""


def along(rows: torch.Tensor, directions: torch.Tensor) -> Array:
    """Dᵀ of every row, (…, P) → (…, k), in float64."""
    exact = torch.float32 if rows.device.type == "mps" else torch.float64
    flat = rows.reshape(-1, rows.shape[-1])
    total = torch.zeros((len(flat), directions.shape[1]), dtype=exact, device=rows.device)
    for first in range(0, flat.shape[1], _SLICE):
        part = slice(first, first + _SLICE)
        total += flat[:, part] @ directions[part]
    return total.double().cpu().numpy().reshape(*rows.shape[:-1], directions.shape[1])


class _Waiting:
    """Rows of vectors that wait for one product, and what was projected before.

    Args:
        shape: of a row, (…, P).
        like: of what kind its numbers are.
        directions: D, (P, k).
        most: rows between two calls of `projected`.
    """

    def __init__(
        self, shape: tuple[int, ...], like: torch.Tensor, directions: torch.Tensor, most: int
    ) -> None:
        size = like.element_size() * int(np.prod(shape))
        # Nothing that a restart changes decides how many are projected together.
        self._block = like.new_empty((min(most, max(1, _WAITING // size)), *shape))
        self._directions, self._count = directions, 0
        self._before = [np.empty((0, *shape[:-1], directions.shape[1]))]

    def next(self) -> torch.Tensor:
        """A row to be written before the next call of anything."""
        if self._count == len(self._block):
            self._project()
        self._count += 1
        return self._block[self._count - 1]

    def _project(self) -> None:
        self._before.append(along(self._block[: self._count], self._directions))
        self._count = 0

    def projected(self) -> Array:
        """All since the last time, (rows, …, k)."""
        if self._count:
            self._project()
        found = np.concatenate(self._before)
        self._before = self._before[:1]
        return found


class _States:
    """θ_k − θ_0 and v_k, along directions, as they are."""

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        optimizer: torch.optim.SGD,
        displacement: Displacement,
        directions: torch.Tensor,
    ) -> None:
        self._parameters, self._optimizer = parameters, optimizer
        self._displacement, self._directions = displacement, directions

    def _write(self, offsets: torch.Tensor, velocities: torch.Tensor) -> None:
        """Both, (R, P) each, before the displacement forgets θ_{k−1}, which v_k may need."""
        for parameter, row, place in zip(
            self._parameters, self._displacement.rows(), self._displacement.places, strict=True
        ):
            torch.sub(row, self._displacement.start[:, place], out=offsets[:, place])
            before = self._displacement.previous[:, place].view(parameter.shape)
            out = velocities[:, place].view(parameter.shape)
            velocity(self._optimizer, parameter, before, out)


class ProjectedStates(_States):
    """Both projected, every so many updates.

    Args:
        parameters: of the model.
        optimizer: that moves them.
        displacement: that knows θ_0 and θ_{k−1}.
        directions: D, (P, k).
        every: updates between two projections.
        most: updates between two calls of `rows`.
        update: updates recorded before.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        optimizer: torch.optim.SGD,
        displacement: Displacement,
        directions: torch.Tensor,
        every: int,
        most: int,
        update: int,
    ) -> None:
        super().__init__(parameters, optimizer, displacement, directions)
        self._every, self._update = every, update
        start = displacement.start
        self._states = _Waiting((2, *start.shape), start, directions, max(1, most // every))

    def take(self) -> None:
        """Every so often."""
        self._update += 1
        if self._update % self._every == 0:
            self._write(*self._states.next())

    def rows(self) -> tuple[Array, Array]:
        """Since the last time."""
        found = self._states.projected()
        return found[:, 0], found[:, 1]


class FollowedStates(_States):
    """Every update, from the gradient's projection and the update rule.

    Args:
        parameters: of the model.
        optimizer: torch.optim.SGD, of one group.
        displacement: that knows θ_0 and θ_{k−1}.
        directions: D, (P, k).
        most: updates between two calls of `rows`.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        optimizer: torch.optim.SGD,
        displacement: Displacement,
        directions: torch.Tensor,
        most: int,
    ) -> None:
        super().__init__(parameters, optimizer, displacement, directions)
        start = displacement.start
        self._gradients = _Waiting(tuple(start.shape), start, directions, most)
        self._origin = along(start, directions)
        self._began = self._moving
        self._positions, self._velocities = self._directly()

    def _directly(self) -> tuple[Array, Array]:
        start = self._displacement.start
        states = start.new_empty((2, *start.shape))
        self._write(*states)
        positions, velocities = along(states, self._directions)
        return positions, velocities if self._moving else np.zeros_like(velocities)

    @property
    def _moving(self) -> bool:
        """Whether there has been a step whose momentum is remembered."""
        held = self._optimizer.state.get(self._parameters[0], {})
        return held.get("momentum_buffer") is not None

    def take(self) -> None:
        """The gradient of the step that has just been made."""
        replicas = len(self._origin)
        parts = [
            (torch.zeros_like(p) if p.grad is None else p.grad).reshape(replicas, -1)
            for p in self._parameters
        ]
        torch.cat(parts, dim=1, out=self._gradients.next())

    def rows(self) -> tuple[Array, Array]:
        """Since the last time.

        Raises:
            ValueError: if the parameters have not moved as the rule and their gradients say.
        """
        gradients = self._gradients.projected()
        positions, velocities = np.empty((2, *gradients.shape))
        x, v = self._positions, self._velocities
        for k, gradient in enumerate(gradients):
            x, v = self._step(x, v, gradient, first=k == 0)
            positions[k], velocities[k] = x, v
        if len(gradients):
            self._anchor(x, v)
        return positions, velocities

    def _step(self, x: Array, v: Array, gradient: Array, *, first: bool) -> tuple[Array, Array]:
        rule = self._optimizer.param_groups[0]
        pull = gradient + rule["weight_decay"] * (self._origin + x)
        begins = first and not self._began
        undamped = begins or not rule["momentum"]
        kept = 1.0 if undamped else 1.0 - rule["dampening"]
        v = rule["momentum"] * v - kept * pull
        moved = rule["momentum"] * v - pull if rule["nesterov"] else v
        return x + rule["lr"] * moved, v

    def _anchor(self, x: Array, v: Array) -> None:
        """Go on from where the parameters are, if that is where they were followed to."""
        self._began = self._moving
        self._positions, self._velocities = self._directly()
        pairs = [(x, self._positions)]
        if self._moving:
            pairs.append((v, self._velocities))
        for followed, found in pairs:
            away, size = np.abs(followed - found).max(), np.abs(found).max()
            if not away <= _ROUNDING * size + np.finfo(np.float32).eps * np.abs(self._origin).max():
                raise ValueError(
                    f"Along the recorded directions the parameters are {away:.3g} away from where "
                    "their gradients and the update rule have moved them. Something else moves "
                    "them, changes gradients between backward and step, or steps are so small that "
                    'they are lost in rounding (model.dtype = "float64"). Record every second '
                    "update (record.projections_every = 2), which looks at the parameters alone."
                )
