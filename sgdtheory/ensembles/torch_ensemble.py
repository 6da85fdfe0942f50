"""PyTorch: all replicas at once, one update after the other, on any device in any precision."""

from __future__ import annotations

import torch
from torch import Tensor

from sgdtheory.ensembles.plan import Plan
from sgdtheory.ensembles.torch_batches import drawn, label_errors

__all__ = ["follow"]

# Numbers held at a time: on a CPU what its caches take, on a GPU what its memory does.
_NUMBERS = {"cpu": 2**18}
_NUMBERS_ON_A_DEVICE = 2**27


def _gradients(plan: Plan, at: Tensor, batch: Tensor, errors: Tensor | float) -> Tensor:
    examples = plan.examples
    rows = examples.rows[batch]
    residuals = -(examples.targets[batch] + errors)
    if examples.senses:
        residuals = residuals + torch.bmm(rows, at[:, :, None])[:, :, 0]
    pulled = torch.bmm(residuals[:, None, :], rows)[:, 0] / plan.draws.batch_size
    return examples.curvature * at + pulled


def _follow_some(plan: Plan, replicas: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """Like `follow`, for replicas that fit into memory together."""
    examples, draws, step, origin = plan.examples, plan.draws, plan.step, x
    records = plan.records.tolist()
    kept = plan.directions.shape[1] or x.shape[1]
    states = x.new_empty(len(x), len(records), kept, 2)
    displacements = x.new_empty(len(x), len(records))
    batches_to_come = drawn(replicas, plan.first_step, records[-1] - plan.first_step, draws)
    done, errors = plan.first_step, torch.zeros((), dtype=x.dtype, device=x.device)
    for i, record in enumerate(records):
        while done < record:
            if examples.label_noise:
                errors = examples.label_noise * label_errors(replicas, done, draws, x.dtype)
            g = _gradients(plan, x + step.e * v, next(batches_to_come), errors)
            x, v = x + step.a * v + step.b * g, step.c * v + step.d * g
            done += 1
        for j, part in enumerate((x, v)):
            whole = plan.directions.shape[1] == 0
            states[:, i, :, j] = part if whole else part @ plan.directions
        displacements[:, i] = ((x - origin) ** 2).sum(-1)
    return states, displacements, x, v


def follow(plan: Plan, position: Tensor, velocity: Tensor) -> tuple[Tensor, ...]:
    """Run a plan; see the compiled ensemble's.

    Args:
        plan: the run; its arrays are tensors of one device.
        position: θ of every replica, (R, d); left as it is.
        velocity: v, likewise.

    >>> from sgdtheory.ensembles.plan import Draws, Examples, Step
    >>> zero, one = torch.zeros(1), torch.ones(1, 1)
    >>> loss = Examples(0 * one, zero, one[0], False, 0.0)
    >>> draws, none = Draws(1, 1, False, False, 0, 0, 0), torch.empty(1, 0)
    >>> to_do = Plan(loss, Step(0.0, -0.5, 0.0, -1.0, 0.0), draws, 0, torch.tensor([1, 2]), none)
    >>> follow(to_do, one, 0 * one)[0][0, :, 0].tolist()
    [[0.5, -1.0], [0.25, -0.5]]
    """
    draws = plan.draws
    replicas = torch.arange(len(position), device=position.device) + draws.first_replica
    held = _NUMBERS.get(position.device.type, _NUMBERS_ON_A_DEVICE)
    # What a replica needs: a batch's inputs, or the order of an epoch.
    order = draws.examples if draws.without_replacement else 1
    share = max(1, held // max(draws.batch_size * position.shape[1], order))
    parts = [
        _follow_some(plan, *some)
        for some in zip(
            replicas.split(share), position.split(share), velocity.split(share), strict=True
        )
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
