r"""What θ_k and v_k are in torch.optim.SGD; here and nowhere else.

θ_k is the parameter after k steps and v_k minus the momentum buffer after k steps, v_0 = 0 for a
fresh optimizer. With a gradient g_k that contains the weight decay λθ_k:

    heavy ball   v_{k+1} = βv_k − g_k            θ_{k+1} = θ_k + η v_{k+1}
    dampened     v_{k+1} = βv_k − (1 − τ) g_k    θ_{k+1} = θ_k + η v_{k+1}
    Nesterov     v_{k+1} = βv_k − g_k            θ_{k+1} = θ_k + η (β v_{k+1} − g_k)

The first dampened step is v_1 = −g_0: torch sets the buffer there and ignores τ. Without momentum
there is no buffer, and v_k is the motion of the last step in its time, (θ_k − θ_{k−1})/η.
"""

from __future__ import annotations

import torch

__all__ = ["learning_rate", "velocity"]


def learning_rate(optimizer: torch.optim.SGD, parameter: torch.Tensor) -> float:
    """The η of a parameter.

    Raises:
        ValueError: if the optimizer does not hold it.
    """
    for group in optimizer.param_groups:
        if any(held is parameter for held in group["params"]):
            return float(group["lr"])
    raise ValueError(
        f"parameter of shape {tuple(parameter.shape)} is not one of the optimizer's: give the "
        "optimizer all parameters that are to be recorded."
    )


def velocity(
    optimizer: torch.optim.SGD,
    parameter: torch.Tensor,
    before: torch.Tensor,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """v_k of a parameter, of its shape.

    Args:
        optimizer: after k steps.
        parameter: θ_k.
        before: θ_{k−1}; θ_0 before the first step. Only rules without momentum need it.
        out: where to, of the parameter's shape; new memory costs more than the numbers.
    """
    buffer = optimizer.state.get(parameter, {}).get("momentum_buffer")
    if buffer is not None:
        return torch.neg(buffer, out=out)
    moved = torch.sub(parameter.detach(), before, out=out)
    return moved.div_(learning_rate(optimizer, parameter))
