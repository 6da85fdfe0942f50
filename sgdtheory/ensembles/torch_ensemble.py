"""PyTorch: all replicas at once, one update after the other, on any device in any precision.

The integers are those of the compiled ensemble, drawn by the same counters on the device itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sgdtheory.ensembles.counter_based_generator import (
    BATCHES,
    LABELS,
    MASK,
    ORDERS,
    STREAMS,
    UNIT,
    long_words,
    philox,
)
from sgdtheory.ensembles.plan import Draws, Plan

__all__ = ["batches", "follow", "integers_below"]

# Draws and inputs held at a time: on a CPU what its caches take, on a GPU what its memory does.
_DRAWS = 2**20
_NUMBERS = {"cpu": 2**18}
_NUMBERS_ON_A_DEVICE = 2**27


def _words(blocks: Tensor, replicas: Tensor, stream: Tensor | int, draws: Draws) -> Tensor:
    """The four words of every block, along a last axis."""
    counter = (blocks & MASK, blocks >> 32, replicas, stream)
    return torch.stack(philox(*counter, draws.key_low, draws.key_high), dim=-1)


def _consecutive(replicas: Tensor, first: int, count: int, stream: int, draws: Draws) -> Tensor:
    """The words of draws first … first + count − 1, (R, count)."""
    blocks = torch.arange(first >> 2, (first + count + 3) >> 2, device=replicas.device)
    words = _words(blocks, replicas[:, None], stream, draws).flatten(1)
    return words[:, first % 4 : first % 4 + count]


def _below(
    bounds: Tensor, replicas: Tensor, first: int, count: int, stream: int, draws: Draws
) -> Tensor:
    """Integers 0 ≤ i < bound, (R, count): Lemire's multiply and shift, with his rejection."""
    products = _consecutive(replicas, first, count, stream, draws) * bounds
    surplus = (MASK + 1) % bounds
    number = torch.arange(first, first + count, device=replicas.device).expand_as(products)
    attempt = 0
    while bool((rejected := (products & MASK) < surplus).any()):
        attempt += 1
        row, column = rejected.nonzero(as_tuple=True)
        again = number[row, column]
        words = _words(again >> 2, replicas[row], stream + STREAMS * attempt, draws)
        chosen = words.gather(-1, (again & 3)[:, None])[:, 0]
        products[row, column] = chosen * bounds.expand_as(products)[row, column]
    return products >> 32


def _permutations(replicas: Tensor, epoch: int, draws: Draws) -> Tensor:
    """Fisher and Yates, as far as batches are made of it, (R, M S)."""
    examples, used = draws.examples, draws.updates_per_epoch * draws.batch_size
    device = replicas.device
    first = epoch * ((examples + 3) // 4 * 4)
    places = torch.arange(used, device=device)
    chosen = places + _below(examples - places, replicas, first, used, ORDERS, draws)
    order = torch.arange(examples, device=device).repeat(len(replicas), 1)
    for j in range(used):
        i = chosen[:, j : j + 1]
        here = order[:, j : j + 1].clone()
        order[:, j : j + 1] = order.gather(1, i)
        order.scatter_(1, i, here)
    return order[:, :used]


def _drawn(replicas: Tensor, first_step: int, updates: int, draws: Draws) -> Iterator[Tensor]:
    """The batches of one update after the other, (R, S)."""
    size, last = draws.batch_size, first_step + updates
    if draws.without_replacement:
        length = draws.updates_per_epoch
    else:
        length = max(1, _DRAWS // (len(replicas) * size))
    step, order = first_step, None
    while step < last:
        chunk, place = divmod(step, length)
        if not draws.without_replacement:
            bound = torch.tensor(draws.examples, device=replicas.device)
            count = min(length, last - step) * size
            order, place = _below(bound, replicas, step * size, count, BATCHES, draws), 0
        elif order is None or not draws.repeats:
            order = _permutations(replicas, 0 if draws.repeats else chunk, draws)
        until = min(order.shape[1] // size, place + last - step)
        yield from order.view(len(replicas), -1, size)[:, place:until].unbind(1)
        step += until - place


def _label_errors(replicas: Tensor, step: int, draws: Draws, dtype: torch.dtype) -> Tensor:
    """Standard Gaussian errors of one update's draws, (R, S): Box and Muller."""
    size = draws.batch_size
    first = step * size
    pairs = torch.arange(first >> 1, (first + size + 1) >> 1, device=replicas.device)
    words = _words(pairs, replicas[:, None], LABELS, draws).unbind(-1)
    radius_word, angle_word = (word.double() for word in long_words(*words))
    radius, angle = torch.sqrt(-2 * torch.log(radius_word * UNIT)), 2 * math.pi * UNIT * angle_word
    both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(1)
    return both[:, first % 2 : first % 2 + size].to(dtype)


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
    batches_to_come = _drawn(replicas, plan.first_step, records[-1] - plan.first_step, draws)
    done, errors = plan.first_step, torch.zeros((), dtype=x.dtype, device=x.device)
    for i, record in enumerate(records):
        while done < record:
            if examples.label_noise:
                errors = examples.label_noise * _label_errors(replicas, done, draws, x.dtype)
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
    """
    replicas = torch.arange(len(position), device=position.device) + plan.draws.first_replica
    held = _NUMBERS.get(position.device.type, _NUMBERS_ON_A_DEVICE)
    share = max(1, held // (plan.draws.batch_size * position.shape[1]))
    parts = [
        _follow_some(plan, *some)
        for some in zip(
            replicas.split(share), position.split(share), velocity.split(share), strict=True
        )
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def batches(
    draws: Draws, replicas: int, first_step: int, updates: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Numbers of the examples of every batch, (R, updates, S)."""
    numbers = torch.arange(replicas, device=device) + draws.first_replica
    return torch.stack(list(_drawn(numbers, first_step, updates, draws)), dim=1)


def integers_below(bound: int, count: int, stream: int, draws: Draws) -> Tensor:
    """The first draws of a stream, for the first replica."""
    replica = torch.tensor([draws.first_replica])
    return _below(torch.tensor(bound), replica, 0, count, stream, draws)[0]
