"""A declared training with torch.optim.SGD, step by step, whose whole state can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from validation.checkpoints import optimizer_state, restore_optimizer, tensors_under
from validation.data import examples
from validation.experiments import Experiment, Optimizer
from validation.generator_states import generator_states, restore_generators
from validation.losses import loss
from validation.models import LinearReplicas, model
from validation.samplers import generator, sampler

__all__ = ["Training", "stream_seed"]


def stream_seed(seed: int, stream: str, counter: int = 0) -> int:
    """A seed for a generator of its own, below 2⁶⁴."""
    return int(generator(seed, stream, counter).initial_seed()) % 2**64


class Training:
    """The steps of an experiment, from its beginning or from a state.

    Batches and label noise are functions of the seed and the step.

    Args:
        experiment: what is trained, on what and how.
        seed: of the run.
        device: where.
    """

    def __init__(self, experiment: Experiment, seed: int, device: torch.device) -> None:
        self._seed, self._device = seed, device
        self._label_noise = experiment.data.label_noise
        dtype = getattr(torch, experiment.model.dtype)
        data = examples(experiment.data, experiment.folder, dtype)
        replicas = experiment.record.replicas
        built = model(experiment.model, data, seed, experiment.folder, replicas=replicas)
        self.model = built.to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = _optimizer(experiment.optimizer, self.parameters)
        self.step = 0
        self.examples = data.inputs.to(device), data.targets.to(device)
        self.loss_name = experiment.loss.name
        self._loss = loss(self.loss_name)
        # The first replica draws as a run of one does; the others have seeds of their own.
        seeds = [seed, *(stream_seed(seed, "replica", r) for r in range(1, replicas))]
        how, size = experiment.sampler.name, experiment.sampler.batch_size
        self._samplers = [sampler(how, len(data.inputs), size, each) for each in seeds]

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of the next step, with an axis for replicas if the model has one."""
        drawn = torch.stack([each.batch(self.step) for each in self._samplers])
        if not isinstance(self.model, LinearReplicas):
            drawn = drawn[0]
        drawn = drawn.to(self._device)
        inputs, targets = (part[drawn] for part in self.examples)
        if self._label_noise:
            source = generator(self._seed, "label noise", self.step)
            noise = torch.randn(targets.shape, dtype=targets.dtype, generator=source)
            targets = targets + self._label_noise * noise.to(self._device)
        return inputs, targets

    def update(self) -> None:
        """One step."""
        inputs, targets = self.batch()
        self.optimizer.zero_grad()
        self._loss(self.model(inputs), targets).backward()
        self.optimizer.step()
        self.step += 1

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and plain types that `restore` needs; the tensors are the training's own."""
        buffers, groups = optimizer_state(self.optimizer)
        parts = {
            "model": self.model.state_dict(),
            "momentum": buffers,
            "generator": generator_states(self._device),
        }
        tensors = {
            f"{part}/{name}": tensor
            for part, held in parts.items()
            for name, tensor in held.items()
        }
        return tensors, {"groups": groups}

    def restore(
        self, step: int, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]
    ) -> None:
        """Go on from what `state` returned after so many steps."""
        self.model.load_state_dict(tensors_under("model", tensors))
        buffers = tensors_under("momentum", tensors)
        restore_optimizer(self.optimizer, buffers, list(numbers["groups"]))
        restore_generators(tensors_under("generator", tensors), self._device)
        self.step = step


def _optimizer(rule: Optimizer, parameters: list[torch.nn.Parameter]) -> torch.optim.SGD:
    return torch.optim.SGD(
        parameters,
        lr=rule.learning_rate,
        momentum=rule.momentum,
        weight_decay=rule.weight_decay,
        dampening=rule.dampening,
        nesterov=rule.nesterov,
    )
