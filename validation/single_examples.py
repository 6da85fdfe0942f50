"""One example's outputs and loss as functions of the parameters, for torch.func."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch

from validation.losses import loss

__all__ = ["Parameters", "loss_of_one", "named_parameters", "output_slopes"]

Parameters: TypeAlias = dict[str, torch.Tensor]

# Bytes of gradients that are held at once.
_TOGETHER = 2**28


def named_parameters(model: torch.nn.Module) -> Parameters:
    """Those of a model, in its order, without a graph."""
    return {name: value.detach() for name, value in model.named_parameters()}


def _outputs_of_one(model: torch.nn.Module) -> Callable[[Parameters, torch.Tensor], torch.Tensor]:
    buffers = dict(model.named_buffers())

    def outputs(parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, {**parameters, **buffers}, (x[None],))

    return outputs


def loss_of_one(
    model: torch.nn.Module, loss_name: str
) -> Callable[[Parameters, torch.Tensor, torch.Tensor], torch.Tensor]:
    """The loss of an input x with its target y, a function of (parameters, x, y).

    Args:
        model: in evaluation.
        loss_name: as in an experiment.
    """
    outputs = _outputs_of_one(model)
    return lambda parameters, x, y: loss(loss_name)(outputs(parameters, x), y[None])


@torch.no_grad()
def output_slopes(model: torch.nn.Module, inputs: torch.Tensor) -> Iterator[torch.Tensor]:
    """J_n of every example, (examples, outputs, parameters), as many at once as memory allows.

    Args:
        model: in evaluation; its parameters in their order, flattened, are θ.
        inputs: of all examples.
    """
    named, outputs = named_parameters(model), _outputs_of_one(model)
    each = torch.func.vmap(
        torch.func.jacrev(lambda parameters, x: outputs(parameters, x)[0]), in_dims=(None, 0)
    )
    bytes_of_one = sum(value.numel() * value.element_size() for value in named.values())
    width = model(inputs[:1]).shape[1]
    for part in inputs.split(max(1, _TOGETHER // (width * bytes_of_one))):
        yield torch.cat([one.flatten(2) for one in each(named, part).values()], dim=2)
