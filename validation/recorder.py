"""Watch a model while torch.optim.SGD trains it, and lose nothing that the theory speaks about.

After every step the squared displacement of that step and of the way since the record began; every
so often positions and velocities along given directions, and all parameters. Positions count from
the record's start: they are Dᵀ(θ_k − θ_0) with θ_0 the parameters after the burn-in; Dᵀθ_0 is kept
beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from validation.displacement_kernel import Displacement
from validation.experiments import Record
from validation.projections import FollowedStates, ProjectedStates, Projections, along

__all__ = ["Keep", "Recorder", "checkpoint_interval"]

Keep: TypeAlias = Callable[[str, int, NDArray[Any]], None]
"""Takes rows of an array: its name, the index of the first row, the rows."""


def checkpoint_interval(record: Record) -> int:
    """Updates between two checkpoints: as many as declared, rounded down to whole projections.

    So a checkpoint ends a chunk of every array, and no chunk is ever written twice. Projections
    that are rarer than checkpoints have a chunk each, and nothing is rounded.
    """
    every, declared = record.projections_every, record.checkpoint_every
    return declared if every >= declared else declared // every * every


class Recorder:
    """Call `observe` after each `optimizer.step()`, and `flush` every `checkpoint_interval`.

    Args:
        parameters: of the model, in its order; flattened one after the other they are θ. With
            several replicas the first axis of each is theirs.
        optimizer: that moves them.
        record: what is kept, and how often.
        directions: D, (P, k), P the parameters of one replica; k may be 0.
        keep: takes the rows.
        start: θ_0, (R, P), of a record that goes on; by default where the parameters are now.
        update: updates recorded before.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        optimizer: torch.optim.SGD,
        record: Record,
        directions: torch.Tensor,
        keep: Keep,
        *,
        start: torch.Tensor | None = None,
        update: int = 0,
    ) -> None:
        self._parameters, self._optimizer = parameters, optimizer
        self._record, self._keep = record, keep
        _check(parameters, record.replicas)
        self._displacement = Displacement(parameters, record.replicas, start)
        self._update = self._flushed = update
        like = self._displacement.start
        self._directions = directions.to(like)
        exact = torch.float32 if like.device.type == "mps" else torch.float64
        self._lengths = torch.empty(
            (checkpoint_interval(record), 2, record.replicas), dtype=exact, device=like.device
        )
        self._projections = self._projecting() if self._directions.shape[1] else None
        if start is None:
            self._keep_start()

    def _projecting(self) -> Projections:
        every, most = self._record.projections_every, checkpoint_interval(self._record)
        watched = self._parameters, self._optimizer, self._displacement, self._directions
        if every == 1:
            return FollowedStates(*watched, most)
        return ProjectedStates(*watched, every, most, self._update)

    def _keep_start(self) -> None:
        start = self._displacement.start
        if self._record.snapshots_every:
            self._keep("snapshots", 0, start.cpu().numpy()[None])
        if self._directions.shape[1]:
            self._keep("start", 0, along(start, self._directions))

    @property
    def start(self) -> torch.Tensor:
        """θ_0, (R, P): what a checkpoint must hold; where the parameters are, the model knows."""
        return self._displacement.start

    @property
    def update(self) -> int:
        """Updates recorded."""
        return self._update

    def observe(self) -> None:
        """Record the state after one more update."""
        row = self._update - self._flushed
        self._update += 1
        if self._projections is not None:
            self._projections.take()
        self._displacement.measure(self._lengths[row])
        every = self._record.snapshots_every
        if every and self._update % every == 0:
            snapshot = self._displacement.previous.cpu().numpy()[None]
            self._keep("snapshots", self._update // every, snapshot)

    def flush(self) -> None:
        """Hand over all that was recorded since the last time.

        Raises:
            ValueError: naming the first update after which the parameters are no longer finite.
        """
        first, count = self._flushed, self._update - self._flushed
        lengths = self._lengths[:count].double().cpu().numpy()
        finite = np.isfinite(lengths).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(
                f"update {first + int(finite.argmin()) + 1} of the record: the parameters are no "
                "longer finite, the training has diverged. Lower the learning rate or the momentum."
            )
        if count:
            self._keep("local_displacement", first, lengths[:, 0])
            self._keep("global_displacement", first, lengths[:, 1])
        if self._projections is not None:
            positions, velocities = self._projections.rows()
            if len(positions):
                projected = first // self._record.projections_every
                self._keep("positions", projected, positions)
                self._keep("velocities", projected, velocities)
        self._flushed = self._update


def _check(parameters: Sequence[torch.Tensor], replicas: int) -> None:
    for parameter in parameters:
        if replicas > 1 and parameter.shape[:1] != (replicas,):
            raise ValueError(
                f"record.replicas = {replicas}, but a parameter has the shape "
                f"{tuple(parameter.shape)}: its first axis must be that of the replicas. Only a "
                "model of independent copies, as the linear one, can have several."
            )
