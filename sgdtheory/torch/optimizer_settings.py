"""What a torch optimizer does to a model, in the theory's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from sympy import Symbol

from sgdtheory import symbols as s
from sgdtheory.update_rule import UpdateRule, dampened, heavy_ball, nesterov

__all__ = ["OptimizerSettings", "trained_parameters"]

_DECISIVE = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")


@dataclass(frozen=True)
class OptimizerSettings:
    """Of all parameters alike.

    Args:
        learning_rate: η, as it is now; a scheduler may change it later.
        momentum: β.
        weight_decay: λ.
        rule: the optimiser's.
        parameters: values of its further symbols.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    rule: UpdateRule
    parameters: Mapping[Symbol, float]

    @classmethod
    def read(cls, optimizer: torch.optim.Optimizer) -> OptimizerSettings:
        """Of a torch.optim.SGD.

        Raises:
            TypeError: for another optimizer.
            ValueError: for groups that differ, and for ascent.

        >>> weights = [torch.nn.Parameter(torch.zeros(1))]
        >>> found = OptimizerSettings.read(torch.optim.SGD(weights, 0.1, 0.9, nesterov=True))
        >>> found.learning_rate, found.rule.name
        (0.1, 'Nesterov')
        """
        if not isinstance(optimizer, torch.optim.SGD):
            raise TypeError(
                f"optimizer is a {type(optimizer).__name__}: the theory is that of linear update "
                "rules, torch.optim.SGD with momentum, dampening or Nesterov's look-ahead. An "
                "adaptive optimizer has another one."
            )
        settings = {name: _common(optimizer, name) for name in _DECISIVE}
        if settings["maximize"]:
            raise ValueError(
                "optimizer has maximize=True: it climbs, and no climb settles. Give the negative "
                "loss and maximize=False."
            )
        rule, own = heavy_ball(), {}
        if settings["momentum"] and settings["nesterov"]:
            rule = nesterov()
        elif settings["momentum"] and settings["dampening"]:
            rule, own = dampened(), {s.tau: settings["dampening"]}
        return cls(settings["lr"], settings["momentum"], settings["weight_decay"], rule, own)


def _common(optimizer: torch.optim.Optimizer, name: str) -> float:
    """A setting that all groups of parameters share."""
    values = sorted({float(group[name]) for group in optimizer.param_groups})
    if len(values) > 1:
        raise ValueError(
            f"optimizer has groups of parameters with {name} = {', '.join(map(str, values))}: the "
            "theory is for one setting of all. Make them equal, or leave the others' parameters "
            "out by requires_grad_(False)."
        )
    return values[0]


def trained_parameters(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.nn.Parameter]:
    """Parameters of the model that the optimizer moves, by name, in the model's order.

    Raises:
        ValueError: for parameters that only one of the two knows, or of several kinds.
    """
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    moved = {id(value) for group in optimizer.param_groups for value in group["params"]}
    if still := [name for name, value in trained.items() if id(value) not in moved]:
        raise ValueError(
            f"optimizer does not move {_listed(still)} of the model: give it model.parameters(), "
            "or say by requires_grad_(False) that they stay."
        )
    known = {id(value) for value in model.parameters()}
    if foreign := len(moved - known):
        raise ValueError(
            f"optimizer moves {foreign} parameters that the model does not have. Give the model "
            "that it trains."
        )
    if not trained:
        raise ValueError("model has no parameter with requires_grad=True: nothing moves.")
    kinds = {(value.dtype, value.device) for value in trained.values()}
    if len(kinds) > 1:
        raise ValueError(
            f"model has parameters of {len(kinds)} floating types or devices, "
            f"{_listed(sorted(f'{dtype} on {device}' for dtype, device in kinds))}: curvature is "
            "measured in one. Call model.to(...)."
        )
    return trained


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
