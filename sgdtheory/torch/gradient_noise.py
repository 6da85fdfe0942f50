r"""The covariance of single examples' gradients, along directions and in total.

.. math:: \Sigma = \frac1N \sum_n (g_n - \bar g)(g_n - \bar g)^T

of the N examples of a data set; from n of them drawn without replacement, by the unbiased estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sgdtheory.torch.loader_settings import Batches
from sgdtheory.torch.undisturbed_model import Loss

__all__ = ["GradientNoise", "gradient_noise", "mean_gradient"]

Array = NDArray[np.float64]
Parameters = Mapping[str, torch.Tensor]

# Bytes of gradients that are held at once.
_HELD = 2**27


class GradientNoise(NamedTuple):
    """Σ along every direction, (k,), and its trace, with standard errors; and what was done."""

    along: Array
    along_error: Array
    total: float
    total_error: float
    notes: tuple[str, ...]


def _loss_of(model: torch.nn.Module, loss: Loss) -> Callable[..., torch.Tensor]:
    rest = {
        **{name: value.detach() for name, value in model.named_parameters()},
        **dict(model.named_buffers()),
    }

    def value(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(torch.func.functional_call(model, {**rest, **parameters}, (x,)), y)

    return value


def mean_gradient(
    model: torch.nn.Module, loss: Loss, parameters: Parameters, batches: Batches
) -> torch.Tensor:
    """∇L of the mean loss over all batches, flat, (P,).

    Args:
        model: in the mode of the measurement.
        loss: a mean over examples.
        parameters: that span θ.
        batches: every example once.
    """
    gradient = torch.func.grad(_loss_of(model, loss))
    fixed = {name: value.detach() for name, value in parameters.items()}
    count = sum(len(inputs) for inputs, _ in batches)
    return sum(
        (_flat(gradient(fixed, x, y), 0) * (len(x) / count) for x, y in batches),
        torch.zeros((), dtype=next(iter(fixed.values())).dtype),
    )


def _flat(gradients: Parameters, kept: int) -> torch.Tensor:
    return torch.cat([g.flatten(kept) for g in gradients.values()], dim=kept)


def gradient_noise(
    model: torch.nn.Module,
    loss: Loss,
    parameters: Parameters,
    batches: Batches,
    directions: torch.Tensor,
    mean: torch.Tensor,
    population: int,
) -> GradientNoise:
    """Every example's own gradient, as many at once as memory allows.

    Args:
        model: in the mode of the measurement.
        loss: a mean over examples.
        parameters: that span θ.
        batches: every example once.
        directions: orthonormal columns, (P, k).
        mean: of the gradients, (P,).
        population: N, of which these are n.
    """
    fixed = {name: value.detach() for name, value in parameters.items()}
    value = _loss_of(model, loss)
    of_one = torch.func.grad(lambda inside, x, y: value(inside, x[None], y[None]))
    each, notes = _each_gradient(of_one, fixed, batches)
    together = max(1, _HELD // (mean.numel() * mean.element_size()))
    squares: list[Array] = []
    totals: list[Array] = []
    for inputs, targets in batches:
        for x, y in zip(inputs.split(together), targets.split(together), strict=True):
            errors = _flat(each(fixed, x, y), 1) - mean
            squares.append((errors @ directions).double().square().cpu().numpy())
            totals.append(errors.double().square().sum(1).cpu().numpy())
    along = _population_mean(np.concatenate(squares), population)
    total = _population_mean(np.concatenate(totals), population)
    return GradientNoise(along[0], along[1], float(total[0]), float(total[1]), notes)


def _each_gradient(
    of_one: Callable[..., Any], fixed: Parameters, batches: Batches
) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Gradients of a batch's examples at once; one after the other where torch cannot."""
    each = torch.func.vmap(of_one, in_dims=(None, 0, 0))
    inputs, targets = batches[0]
    try:
        each(fixed, inputs[:2], targets[:2])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]

        def singly(parameters: Parameters, xs: torch.Tensor, ys: torch.Tensor) -> Parameters:
            found = [of_one(parameters, x, y) for x, y in zip(xs, ys, strict=True)]
            return {name: torch.stack([one[name] for one in found]) for name in parameters}

        return singly, (
            "gradients of single examples were taken one after the other, which is slow, because "
            f"torch.func.vmap cannot take this model's at once: {reason}",
        )
    return each, ()


def _population_mean(squares: Array, population: int) -> tuple[Any, Any]:
    """Squares averaged as the population has them, and the error of that; none if it is all."""
    count = len(squares)
    unbiased = count / (count - 1) * (1 - 1 / population)
    missing = np.sqrt(1 - count / population)
    error = missing * squares.std(axis=0, ddof=1) / np.sqrt(count)
    return unbiased * squares.mean(axis=0), unbiased * error
