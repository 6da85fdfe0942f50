"""PyTorch: the generated source, run on tensors of any device, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch

from sgdtheory.lowering.printer import ELEMENTARY, Source, define
from sgdtheory.lowering.torch_modes import COUNTS, modes

__all__ = ["as_tensors", "compile_source"]


def _modes(kind: str, *point: Any) -> Any:
    return modes(kind, *as_tensors(point))


def _minimum(first: Any, second: Any) -> torch.Tensor:
    return torch.minimum(*as_tensors((first, second)))


def _maximum(first: Any, second: Any) -> torch.Tensor:
    return torch.maximum(*as_tensors((first, second)))


def _expm1(x: torch.Tensor) -> torch.Tensor:
    """expm1 with a slope that stays exact: torch takes it as 1 + expm1(x), which is 0 below −37."""
    far = x < -1
    return torch.where(far, torch.where(far, x, 0).exp() - 1, torch.where(far, 0, x).expm1())


def _sinhc(square: torch.Tensor) -> torch.Tensor:
    """sinh(√z)/√z, whose series converges to the last bit for |z| ≤ 1."""
    value = torch.ones_like(square)
    for term in reversed(range(1, 11)):
        value = 1 + square * value / (2 * term * (2 * term + 1))
    return value


# f(u)/u near u = 0, where the derivatives of the quotient cancel: all from one entire function.
_NEAR_ZERO: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sin": lambda u: _sinhc(-u * u),
    "sinh": lambda u: _sinhc(u * u),
    "tanh": lambda u: _sinhc(u * u) / u.cosh(),
    "expm1": lambda u: _sinhc(u * u / 4) * (u / 2).exp(),
}


def _quotient(name: str, first: Any, second: Any) -> torch.Tensor:
    """f(x y)/x, and its limit y at x = 0, with all derivatives."""
    x, y = as_tensors((first, second))
    product = x * y
    near = (product.abs() <= 1) | (x == 0)
    # What is not chosen is computed too, at points where neither it nor its slope is infinite.
    inside = y * _NEAR_ZERO[name](torch.where(near & product.isfinite(), product, 0))
    function = _expm1 if name == "expm1" else getattr(torch, name)
    return torch.where(
        near, inside, function(torch.where(near, 1, product)) / torch.where(near, 1, x)
    )


NAMESPACE: dict[str, Any] = {
    **{name: getattr(torch, name) for name in ELEMENTARY.values()},
    "expm1": _expm1,
    "sqrt": torch.sqrt,
    **{f"{name}_quotient": partial(_quotient, name) for name in _NEAR_ZERO},
    **{kind: partial(_modes, kind) for kind in COUNTS},
    "minimum": _minimum,
    "maximum": _maximum,
}


def as_tensors(arguments: tuple[Any, ...]) -> list[torch.Tensor]:
    """Tensors of one device and one floating type: those of the tensors given, else float64."""
    given = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
    floating = [tensor.dtype for tensor in given if tensor.is_floating_point()]
    dtype = reduce(torch.promote_types, floating) if floating else torch.float64
    # A tensor of no axes goes where the others are.
    devices = [tensor.device for tensor in given if tensor.dim()]
    devices = devices or [tensor.device for tensor in given]
    device = devices[0] if devices else torch.device("cpu")
    return [torch.as_tensor(argument, dtype=dtype, device=device) for argument in arguments]


def compile_source(source: Source) -> Callable[..., torch.Tensor]:
    """The source as a function of tensors that broadcast."""
    entries = define(source.text, "lowered", NAMESPACE)

    def call(*arguments: Any) -> torch.Tensor:
        tensors = as_tensors(arguments)
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
