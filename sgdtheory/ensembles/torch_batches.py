"""PyTorch: which examples the replicas draw, and the errors of their labels, on any device.

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
from sgdtheory.ensembles.plan import Draws

__all__ = ["batches", "drawn", "integers_below", "label_errors"]

# Draws held at a time.
_DRAWS = 2**20


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


def drawn(replicas: Tensor, first_step: int, updates: int, draws: Draws) -> Iterator[Tensor]:
    """The batches of one update after the other, (R, S).

    >>> [batch.shape for batch in drawn(torch.arange(3), 0, 2, Draws(5, 2, True, False, 7, 0, 0))]
    [torch.Size([3, 2]), torch.Size([3, 2])]
    """
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


def label_errors(replicas: Tensor, step: int, draws: Draws, dtype: torch.dtype) -> Tensor:
    """Standard Gaussian errors of one update's labels, (R, S): Box and Muller.

    >>> two = Draws(5, 2, False, False, 7, 0, 0)
    >>> label_errors(torch.arange(3), 4, two, torch.float32).shape
    torch.Size([3, 2])
    """
    size = draws.batch_size
    first = step * size
    pairs = torch.arange(first >> 1, (first + size + 1) >> 1, device=replicas.device)
    words = _words(pairs, replicas[:, None], LABELS, draws).unbind(-1)
    radius_word, angle_word = (word.double() for word in long_words(*words))
    radius, angle = torch.sqrt(-2 * torch.log(radius_word * UNIT)), 2 * math.pi * UNIT * angle_word
    both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(1)
    return both[:, first % 2 : first % 2 + size].to(dtype)


def batches(
    draws: Draws, replicas: int, first_step: int, updates: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Numbers of the examples of every batch, (R, updates, S).

    Args:
        draws: how they are drawn.
        replicas: R.
        first_step: updates before the first of them.
        updates: how many.
        device: where they are drawn.

    >>> from sgdtheory.ensembles import numba_batches
    >>> draws = Draws(5, 2, True, False, 7, 0, 0)
    >>> bool((batches(draws, 3, 1, 4).numpy() == numba_batches.batches(draws, 3, 1, 4)).all())
    True
    """
    numbers = torch.arange(replicas, device=device) + draws.first_replica
    return torch.stack(list(drawn(numbers, first_step, updates, draws)), dim=1)


def integers_below(bound: int, count: int, stream: int, draws: Draws) -> Tensor:
    """The first draws of a stream, for the first replica.

    Args:
        bound: of the integers, 0 ≤ i < bound.
        count: how many.
        stream: what they are drawn for, as the generator numbers it.
        draws: seed and first replica.

    >>> integers_below(6, 8, BATCHES, Draws(6, 1, False, False, 7, 0, 0)).tolist()
    [5, 4, 0, 0, 2, 4, 1, 5]
    """
    replica = torch.tensor([draws.first_replica])
    return _below(torch.tensor(bound), replica, 0, count, stream, draws)[0]
