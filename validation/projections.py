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


def _waiting_rows(most: int, vector: torch.Tensor) -> int:
    """Vectors that are projected in one product; nothing that a restart changes."""
    return int(min(most, max(1, _WAITING // (vector.numel() * vector.element_size()))))


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
        count = _waiting_rows(2 * max(1, most // every), start)
        self._block = start.new_empty((max(1, count // 2), 2, *start.shape))
        self._waiting, self._projected = 0, [np.empty((0, 2, len(start), directions.shape[1]))]

    def take(self) -> None:
        """Every so often."""
        self._update += 1
        if self._update % self._every:
            return
        self._write(*self._block[self._waiting])
        self._waiting += 1
        if self._waiting == len(self._block):
            self._project()

    def _project(self) -> None:
        self._projected.append(along(self._block[: self._waiting], self._directions))
        self._waiting = 0

    def rows(self) -> tuple[Array, Array]:
        """Since the last time."""
        if self._waiting:
            self._project()
        found = np.concatenate(self._projected)
        self._projected = self._projected[:1]
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
        self._block = start.new_empty((_waiting_rows(most, start), *start.shape))
        self._waiting = 0
        self._gradients = [np.empty((0, len(start), directions.shape[1]))]
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
        row = self._block[self._waiting]
        for parameter, place in zip(self._parameters, self._displacement.places, strict=True):
            if parameter.grad is None:
                row[:, place] = 0
            else:
                row[:, place] = parameter.grad.reshape(len(row), -1)
        self._waiting += 1
        if self._waiting == len(self._block):
            self._project()

    def _project(self) -> None:
        self._gradients.append(along(self._block[: self._waiting], self._directions))
        self._waiting = 0

    def rows(self) -> tuple[Array, Array]:
        """Since the last time.

        Raises:
            ValueError: if the parameters have not moved as the rule and their gradients say.
        """
        if self._waiting:
            self._project()
        gradients = np.concatenate(self._gradients)
        self._gradients = self._gradients[:1]
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
                    "them, or changes gradients between backward and step: record every second "
                    "update (record.projections_every = 2), which looks at the parameters alone."
                )
