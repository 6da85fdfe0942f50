"""PyTorch: the generated source, run on tensors of any device, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch

from sgdtheory.lowering.batches import continuous_batch, discrete_batch, discrete_sums_batch
from sgdtheory.lowering.numpy_backend import doublings
from sgdtheory.lowering.printer import ELEMENTARY, Source, define

__all__ = ["compile_source"]


def _continuous(time: Any, trace: Any, determinant: Any, *, gather: bool) -> tuple[Any, ...]:
    t, a, b = _as_tensors((time, trace, determinant))
    plain = (tensor.detach().double().cpu().numpy() for tensor in (t, a, b))
    halvings = torch.as_tensor(doublings(*plain), device=t.device)
    return continuous_batch(t, a, b, halvings, torch.where, gather=gather)


def _whole(steps: torch.Tensor) -> torch.Tensor:
    if bool(((steps < 0) | (steps > 2.0**53) | (steps != steps.floor())).any()):
        raise ValueError(f"k = {steps}: update counts are whole numbers from 0 to 2⁵³.")
    return steps.detach().to(torch.int64)


def _discrete(steps: Any, trace: Any, determinant: Any, *, gather: bool) -> tuple[Any, ...]:
    k, a, b = _as_tensors((steps, trace, determinant))
    return discrete_batch(_whole(k), a, b, torch.where, gather=gather)


def _discrete_sums(steps: Any, trace: Any, determinant: Any) -> Any:
    k, a, b = _as_tensors((steps, trace, determinant))
    return discrete_sums_batch(_whole(k), a, b, torch.where)


def _minimum(first: Any, second: Any) -> torch.Tensor:
    return torch.minimum(*_as_tensors((first, second)))


def _maximum(first: Any, second: Any) -> torch.Tensor:
    return torch.maximum(*_as_tensors((first, second)))


NAMESPACE: dict[str, Any] = {
    **{name: getattr(torch, name) for name in ELEMENTARY.values()},
    "sqrt": torch.sqrt,
    "continuous_flow": partial(_continuous, gather=False),
    "continuous_mode": partial(_continuous, gather=True),
    "discrete_flow": partial(_discrete, gather=False),
    "discrete_mode": partial(_discrete, gather=True),
    "discrete_sums": _discrete_sums,
    "minimum": _minimum,
    "maximum": _maximum,
}


def _as_tensors(arguments: tuple[Any, ...]) -> list[torch.Tensor]:
    """Tensors of one device and one floating type: those of the tensors given, else float64."""
    given = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
    floating = [tensor.dtype for tensor in given if tensor.is_floating_point()]
    dtype = reduce(torch.promote_types, floating) if floating else torch.float64
    device = next((tensor.device for tensor in given if tensor.dim()), None)
    device = device or (given[0].device if given else torch.device("cpu"))
    return [torch.as_tensor(argument, dtype=dtype, device=device) for argument in arguments]


def compile_source(source: Source) -> Callable[..., torch.Tensor]:
    """The source as a function of tensors that broadcast."""
    entries = define(source.text, "lowered", NAMESPACE)

    def call(*arguments: Any) -> torch.Tensor:
        tensors = _as_tensors(arguments)
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
        values = [
            torch.as_tensor(value, dtype=tensors[0].dtype, device=tensors[0].device)
            if tensors
            else torch.as_tensor(value, dtype=torch.float64)
            for value in entries(*tensors)
        ]
        if source.shape is None:
            return values[0].expand(shape).clone()
        return torch.stack([v.expand(shape) for v in values], dim=-1).reshape(*shape, *source.shape)

    return call
