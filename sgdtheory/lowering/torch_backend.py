"""PyTorch: the generated source, run on tensors of any device, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch

from sgdtheory.lowering.numpy_backend import doublings
from sgdtheory.lowering.printer import ELEMENTARY, Source, define
from sgdtheory.lowering.propagation import (
    compose_flows,
    compose_moments,
    mirror,
    mirror_flow,
    mirror_moments,
    short_flow,
    short_moments,
    unit_flow,
    unit_moments,
)

__all__ = ["compile_source"]


Tensors = tuple[torch.Tensor, ...]


def continuous_flow(time: torch.Tensor, trace: torch.Tensor, determinant: torch.Tensor) -> Tensors:
    return continuous_mode(time, trace, determinant, gather=False)[:4]


def continuous_mode(
    time: torch.Tensor, trace: torch.Tensor, determinant: torch.Tensor, *, gather: bool = True
) -> Tensors:
    time, trace, determinant = _as_tensors((time, trace, determinant))
    plain = [x.detach().double().cpu().numpy() for x in (time, trace, determinant)]
    count = torch.as_tensor(doublings(*plain), device=time.device)
    short = time / 2.0**count
    flow: Any = short_flow(short, trace, determinant)
    moments: Any = short_moments(short, trace, determinant, flow) if gather else ()
    for done in range(int(count.max()) if count.numel() else 0):
        more = done < count
        if gather:
            longer = compose_moments(moments, flow, moments, determinant)
            moments = tuple(torch.where(more, *pair) for pair in zip(longer, moments, strict=True))
        doubled = compose_flows(flow, flow, determinant, torch.where)
        flow = tuple(torch.where(more, *pair) for pair in zip(doubled, flow, strict=True))
    return (*flow, *moments)


def discrete_flow(steps: torch.Tensor, trace: torch.Tensor, determinant: torch.Tensor) -> Tensors:
    return discrete_mode(steps, trace, determinant, gather=False)[:4]


def discrete_mode(
    steps: torch.Tensor, trace: torch.Tensor, determinant: torch.Tensor, *, gather: bool = True
) -> Tensors:
    steps, trace, determinant = _as_tensors((steps, trace, determinant))
    if bool((steps < 0).any()) or bool((steps != steps.floor()).any()):
        raise ValueError(f"k = {steps}: update counts are whole numbers ≥ 0. Round them.")
    alternating, sign = trace > 2, 1.0 - 2.0 * (steps % 2)
    own_trace = trace
    trace, determinant = (
        torch.where(alternating, *pair)
        for pair in zip(mirror(trace, determinant), (trace, determinant), strict=True)
    )
    remaining = steps.detach().to(torch.int64)
    power, power_moments = unit_flow(trace, determinant), unit_moments(trace, determinant)
    zero = torch.zeros_like(remaining + power[0])
    flow: Any = (zero + 1.0, zero, zero, zero + 1.0)
    moments: Any = (zero, zero, zero)
    while bool(remaining.any()):
        odd = (remaining & 1).bool()
        if gather:
            more = compose_moments(moments, power, power_moments, determinant)
            moments = tuple(torch.where(odd, *pair) for pair in zip(more, moments, strict=True))
        further = compose_flows(flow, power, determinant, torch.where)
        flow = tuple(torch.where(odd, *pair) for pair in zip(further, flow, strict=True))
        remaining = remaining >> 1
        if gather:
            power_moments = compose_moments(power_moments, power, power_moments, determinant)
        power = compose_flows(power, power, determinant, torch.where)
    mirrored = (*mirror_flow(flow, own_trace, sign), *mirror_moments(moments))
    pairs = zip(mirrored, (*flow, *moments), strict=True)
    return tuple(torch.where(alternating, *pair) for pair in pairs)


NAMESPACE: dict[str, Any] = {
    **{name: getattr(torch, name) for name in ELEMENTARY.values()},
    "sqrt": torch.sqrt,
    "continuous_flow": continuous_flow,
    "continuous_mode": continuous_mode,
    "discrete_flow": discrete_flow,
    "discrete_mode": discrete_mode,
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
