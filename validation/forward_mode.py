"""Torch's derivatives in forward mode, begun without the warnings of their beginning."""

from __future__ import annotations

import warnings

import torch

__all__ = ["begin_forward_mode"]


def begin_forward_mode() -> None:
    """When first used it is compiled by a part of torch that is going away, which says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")
        torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
