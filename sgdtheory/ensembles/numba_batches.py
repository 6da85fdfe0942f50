"""Numba: which examples a replica draws, and the errors of their labels.

Numbers are drawn a chunk at a time, an epoch or some whole blocks of the generator, so that its
rounds fill vector registers. A chunk depends on its number alone: a run may begin anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sgdtheory.ensembles import counter_based_generator as generator
from sgdtheory.ensembles import plan
from sgdtheory.ensembles.plan import Draws
from sgdtheory.lowering.numba_disk_cache import kept_on_disk

__all__ = [
    "batches",
    "integers_below",
    "label_errors",
    "refill",
    "room",
    "updates_of_a_chunk",
]

# Compiled functions have no static type of their own.
jit: Any = numba.njit

BATCHES, ORDERS, LABELS = generator.BATCHES, generator.ORDERS, generator.LABELS
MASK, STREAMS, UNIT = generator.MASK, generator.STREAMS, generator.UNIT
# Draws of a chunk of batches: enough to fill vector registers, few enough for the first cache.
_CHUNK = 256

_philox = jit(generator.philox)
_long_words = jit(generator.long_words)


@jit
def _below(word: int, bound: int, draw: int, replica: int, stream: int, draws: Draws) -> int:
    """An integer 0 ≤ i < bound, each with the same probability: Lemire's multiply and shift.

    What would favour some of them is rejected, and drawn anew from the next attempt's counter.
    """
    product = word * bound
    if (product & MASK) < bound:
        surplus = (MASK + 1) % bound
        while (product & MASK) < surplus:
            stream += STREAMS
            block = draw >> 2
            words = _philox(
                block & MASK, block >> 32, replica, stream, draws.key_low, draws.key_high
            )
            product = words[draw & 3] * bound
    return product >> 32


@jit
def _fill(words: Any, first_block: int, replica: int, stream: int, draws: Draws) -> None:
    for i in range(len(words) // 4):
        block = first_block + i
        w0, w1, w2, w3 = _philox(
            block & MASK, block >> 32, replica, stream, draws.key_low, draws.key_high
        )
        words[4 * i] = w0
        words[4 * i + 1] = w1
        words[4 * i + 2] = w2
        words[4 * i + 3] = w3


@jit
def _drawn_afresh(order: Any, words: Any, chunk: int, replica: int, draws: Draws) -> None:
    first = chunk * len(order)
    _fill(words, first >> 2, replica, BATCHES, draws)
    for j in range(len(order)):
        order[j] = _below(words[j], draws.examples, first + j, replica, BATCHES, draws)


@jit
def _permuted(order: Any, words: Any, epoch: int, replica: int, draws: Draws) -> None:
    """Fisher and Yates, as far as batches are made of it."""
    first = epoch * len(words)
    _fill(words, first >> 2, replica, ORDERS, draws)
    for j in range(draws.examples):
        order[j] = j
    for j in range(draws.examples // draws.batch_size * draws.batch_size):
        i = j + _below(words[j], draws.examples - j, first + j, replica, ORDERS, draws)
        order[i], order[j] = order[j], order[i]


@jit
def updates_of_a_chunk(draws: Draws) -> int:
    """Updates whose examples are drawn together: an epoch, or whole blocks of four draws."""
    if draws.without_replacement:
        return draws.examples // draws.batch_size
    return 4 * max(1, _CHUNK // (4 * draws.batch_size))


@jit
def room(draws: Draws) -> tuple[Any, Any]:
    """Empty arrays for the examples of a chunk and for the words that they are made of."""
    if draws.without_replacement:
        size = draws.examples
    else:
        size = draws.batch_size * updates_of_a_chunk(draws)
    return np.empty(size, np.int64), np.empty((size + 3) // 4 * 4, np.int64)


@jit
def refill(order: Any, words: Any, chunk: int, replica: int, draws: Draws) -> None:
    """Write the examples of a chunk, batch after batch, into the first of its arrays."""
    if draws.without_replacement:
        _permuted(order, words, 0 if draws.repeats else chunk, replica, draws)
    else:
        _drawn_afresh(order, words, chunk, replica, draws)


@jit
def label_errors(errors: Any, step: int, replica: int, draws: Draws, scale: float) -> None:
    """Gaussian errors of one update's labels: Box and Muller; two draws share radius and angle."""
    cosine = sine = 0.0
    for i in range(len(errors)):
        draw = step * len(errors) + i
        if i == 0 or draw & 1 == 0:
            block = draw >> 1
            radius_word, angle_word = _long_words(
                *_philox(block & MASK, block >> 32, replica, LABELS, draws.key_low, draws.key_high)
            )
            radius = scale * math.sqrt(-2 * math.log(radius_word * UNIT))
            angle = 2 * math.pi * UNIT * angle_word
            cosine, sine = radius * math.cos(angle), radius * math.sin(angle)
        errors[i] = cosine if draw & 1 == 0 else sine


@kept_on_disk(generator, plan)
@jit
def _batches(out: Any, draws: Draws, first_step: int) -> None:
    order, words = room(draws)
    size, length = draws.batch_size, updates_of_a_chunk(draws)
    for r in range(out.shape[0]):
        for k in range(out.shape[1]):
            chunk, place = (first_step + k) // length, (first_step + k) % length
            if k == 0 or place == 0:
                refill(order, words, chunk, draws.first_replica + r, draws)
            out[r, k] = order[place * size : (place + 1) * size]


@kept_on_disk(generator, plan)
@jit
def _integers_below(out: Any, bound: int, stream: int, draws: Draws) -> None:
    words = np.empty((len(out) + 3) // 4 * 4, np.int64)
    _fill(words, 0, draws.first_replica, stream, draws)
    for i in range(len(out)):
        out[i] = _below(words[i], bound, i, draws.first_replica, stream, draws)


def batches(draws: Draws, replicas: int, first_step: int, updates: int) -> NDArray[np.int64]:
    """Numbers of the examples of every batch, (R, updates, S).

    Args:
        draws: how they are drawn.
        replicas: R.
        first_step: updates before the first of them.
        updates: how many.

    Five examples in batches of two: an epoch is two updates, and one example is left out.

    >>> two_epochs = batches(Draws(5, 2, True, False, 7, 0, 0), 1, 0, 4)[0]
    >>> [sorted(set(range(5)) - set(epoch.ravel())) for epoch in two_epochs.reshape(2, 4)]
    [[0], [2]]
    """
    out = np.empty((replicas, updates, draws.batch_size), np.int64)
    _batches(out, draws, first_step)
    return out


def integers_below(bound: int, count: int, stream: int, draws: Draws) -> NDArray[np.int64]:
    """The first draws of a stream, for the first replica.

    Args:
        bound: of the integers, 0 ≤ i < bound.
        count: how many.
        stream: what they are drawn for, as the generator numbers it.
        draws: seed and first replica.

    >>> integers_below(6, 8, BATCHES, Draws(6, 1, False, False, 7, 0, 0)).tolist()
    [5, 4, 0, 0, 2, 4, 1, 5]
    """
    out = np.empty(count, np.int64)
    _integers_below(out, bound, stream, draws)
    return out
