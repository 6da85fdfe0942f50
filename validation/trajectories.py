"""Train with torch.optim.SGD, and keep positions and velocities along given directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from validation.convention import velocity
from validation.data import Array, Regression
from validation.losses import half_squared_error
from validation.models import LinearReplicas

__all__ = ["Directions", "Segment", "Settings", "Training"]


@dataclass(frozen=True)
class Settings:
    """Of torch.optim.SGD and the sampler.

    Args:
        learning_rate: η.
        momentum: β.
        batch_size: S, drawn with replacement.
        weight_decay: λ.
    """

    learning_rate: float
    momentum: float
    batch_size: int
    weight_decay: float

    def varied(self, name: str, value: float) -> Settings:
        """The same settings but one."""
        exact = round(value) if name == "batch_size" else value
        return replace(self, **{name: exact})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions (d×d, columns) and the origin (d×m) from which positions count."""

    vectors: Array
    origin: Array


@dataclass(frozen=True)
class Segment:
    """Consecutive states of every copy: (replicas, directions, updates, outputs)."""

    positions: torch.Tensor
    velocities: torch.Tensor


class Training:
    """One optimiser, `replicas` independent copies of a linear model, one stream of batches.

    Args:
        problem: features and targets.
        settings: of the optimiser.
        replicas: number of copies.
        seed: of the batches.
        device: any torch device.
        progress: called with the number of updates done since the last call.
    """

    def __init__(
        self,
        problem: Regression,
        settings: Settings,
        *,
        replicas: int,
        seed: int,
        device: str = "cpu",
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        def tensor(values: Array) -> torch.Tensor:
            return torch.as_tensor(values, dtype=torch.float64, device=device)

        self._features, self._targets = tensor(problem.features), tensor(problem.targets)
        shape = (replicas, problem.features.shape[1], problem.targets.shape[1])
        self._model = LinearReplicas(torch.zeros(shape, dtype=torch.float64, device=device))
        self._settings = settings
        self._optimizer = torch.optim.SGD(
            self._model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self._generator = torch.Generator(device).manual_seed(seed)
        self._progress = progress
        self._before = self._model.weights.detach().clone()

    def _update(self) -> None:
        weights, settings = self._model.weights, self._settings
        batch = torch.randint(
            len(self._features),
            (len(weights), settings.batch_size),
            generator=self._generator,
            device=weights.device,
        )
        self._optimizer.zero_grad()
        half_squared_error(self._model(self._features[batch]), self._targets[batch]).backward()
        self._before.copy_(weights.detach())
        self._optimizer.step()
        self._progress(1)

    def velocity(self) -> torch.Tensor:
        """v_k of every copy."""
        return velocity(self._optimizer, self._model.weights, self._before)

    def run(self, updates: int) -> None:
        """Train without recording."""
        for _ in range(updates):
            self._update()

    def record(self, updates: int, directions: Directions) -> Segment:
        """Train and keep the states before, between and after `updates` updates."""
        weights = self._model.weights
        kept = torch.empty(
            (2, updates + 1, *weights.shape), dtype=weights.dtype, device=weights.device
        )
        kept[0, 0], kept[1, 0] = weights.detach(), self.velocity()
        for step in range(1, updates + 1):
            self._update()
            kept[0, step], kept[1, step] = weights.detach(), self.velocity()
        vectors = torch.as_tensor(directions.vectors).to(weights)
        kept[0] -= torch.as_tensor(directions.origin).to(weights)
        positions, velocities = torch.einsum("atrdm,di->aritm", kept, vectors).contiguous().cpu()
        return Segment(positions, velocities)

    def segments(self, count: int, updates: int, directions: Directions) -> Iterator[Segment]:
        """`count` records of `updates` updates, one after the other."""
        for _ in range(count):
            yield self.record(updates, directions)
