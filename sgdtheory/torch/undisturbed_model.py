"""A model as it was: modes, buffers and random numbers are given back, whatever happens between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sgdtheory.torch.loader_settings import Batches

__all__ = ["Loss", "require_mean_of_examples", "undisturbed"]

Loss = Callable[[Any, torch.Tensor], torch.Tensor]

_BATCH_NORM = torch.nn.modules.batchnorm._BatchNorm
_DROPOUT = torch.nn.modules.dropout._DropoutNd
# Examples whose losses are compared with that of their batch.
_COMPARED = 8


@contextmanager
def undisturbed(model: torch.nn.Module, *, evaluation: bool) -> Iterator[None]:
    """Measure in evaluation mode if so declared, and leave no trace.

    Args:
        model: whose training flags and buffers are restored; parameters and gradients are never
            written.
        evaluation: whether to switch to evaluation.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            if evaluation:
                model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
        random.setstate(python)
        np.random.set_state(numpy)


@torch.no_grad()
def require_mean_of_examples(model: torch.nn.Module, loss: Loss, batches: Batches) -> None:
    """Refuse a loss that is no mean over examples, each of which counts by itself.

    Args:
        model: in the mode of the measurement.
        loss: of outputs and targets.
        batches: of which the first examples are tried.

    Raises:
        ValueError: naming the layers that couple examples or draw at random, or the two losses.
    """
    coupled = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, _BATCH_NORM) and (module.training or module.running_mean is None)
    ]
    drawing = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, _DROPOUT) and module.training and module.p > 0
    ]
    for names, verb in ((coupled, "normalize by a batch's statistics"), (drawing, "drop outputs")):
        if names:
            raise ValueError(
                f"model: {', '.join(names)} {verb}, so that there is no loss of one example. Say "
                "evaluation=True to measure the model as model.eval() has it; a training with "
                "these layers follows the theory as far as they act as they do there."
            )
    inputs, targets = (part[:_COMPARED] for part in batches[0])
    together = loss(model(inputs), targets)
    if together.ndim:
        raise ValueError(
            f"loss gives a tensor of shape {tuple(together.shape)}: give one with reduction='mean'."
        )
    if not together.isfinite():
        raise ValueError(
            f"loss is {float(together):g} on the loader's first examples: there is no curvature to "
            "measure. Give a model whose training has not diverged."
        )
    singly = torch.stack(
        [loss(model(x[None]), y[None]) for x, y in zip(inputs, targets, strict=True)]
    ).mean()
    # Kernels of other shapes add in another order.
    rounding = 1e4 * torch.finfo(together.dtype).eps
    if not torch.isclose(together, singly, rtol=rounding, atol=rounding):
        raise ValueError(
            f"loss of {len(inputs)} examples is {together.item():.6g}, and the mean of their own "
            f"losses {singly.item():.6g}: the theory needs a mean over examples that do not know "
            "of one another. Use reduction='mean' without class weights, and layers that neither "
            "couple examples nor draw at random (evaluation=True)."
        )
