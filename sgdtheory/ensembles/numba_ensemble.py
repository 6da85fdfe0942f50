"""Numba: every replica by itself, all of its updates in one loop; threads share the replicas."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sgdtheory.ensembles import counter_based_generator as generator
from sgdtheory.ensembles.plan import Draws, Plan

__all__ = ["batches", "follow", "integers_below"]

# Compiled functions have no static type of their own.
jit: Any = numba.njit

BATCHES, ORDERS, LABELS = generator.BATCHES, generator.ORDERS, generator.LABELS
MASK, STREAMS, UNIT = generator.MASK, generator.STREAMS, generator.UNIT
# Draws of a block of batches: enough to fill vector registers, few enough for the first cache.
_BLOCK = 256
# A sum may be taken in any order, but its order is then fixed; infinities stay what they are.
_REORDERED = {"reassoc", "contract", "nsz"}

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
def _updates_of_a_chunk(draws: Draws) -> int:
    """Updates whose examples are drawn together: an epoch, or whole blocks of four draws."""
    if draws.without_replacement:
        return draws.examples // draws.batch_size
    return 4 * max(1, _BLOCK // (4 * draws.batch_size))


@jit
def _room(draws: Draws) -> tuple[Any, Any]:
    if draws.without_replacement:
        size = draws.examples
    else:
        size = draws.batch_size * _updates_of_a_chunk(draws)
    return np.empty(size, np.int64), np.empty((size + 3) // 4 * 4, np.int64)


@jit
def _refill(order: Any, words: Any, chunk: int, replica: int, draws: Draws) -> None:
    if draws.without_replacement:
        _permuted(order, words, 0 if draws.repeats else chunk, replica, draws)
    else:
        _drawn_afresh(order, words, chunk, replica, draws)


@jit
def _label_errors(errors: Any, step: int, replica: int, draws: Draws, scale: float) -> None:
    """Box and Muller: two draws share a radius and an angle."""
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


@jit(fastmath=_REORDERED)
def _residuals(residuals: Any, at: Any, batch: Any, rows: Any) -> None:
    """Add x_nᵀθ of every example of the batch: four at a time, so that θ is loaded once."""
    size = len(batch)
    whole = size - size % 4
    for i in range(0, whole, 4):
        x0, x1, x2, x3 = rows[batch[i]], rows[batch[i + 1]], rows[batch[i + 2]], rows[batch[i + 3]]
        s0 = s1 = s2 = s3 = 0.0
        for j in range(len(at)):
            s0 += x0[j] * at[j]
            s1 += x1[j] * at[j]
            s2 += x2[j] * at[j]
            s3 += x3[j] * at[j]
        residuals[i] += s0
        residuals[i + 1] += s1
        residuals[i + 2] += s2
        residuals[i + 3] += s3
    for i in range(whole, size):
        x0 = rows[batch[i]]
        s0 = 0.0
        for j in range(len(at)):
            s0 += x0[j] * at[j]
        residuals[i] += s0


@jit(fastmath=_REORDERED)
def _pulled(gradient: Any, residuals: Any, batch: Any, rows: Any) -> None:
    """Add the mean of x_n r_n over the batch."""
    size = len(batch)
    whole = size - size % 4
    for i in range(0, whole, 4):
        x0, x1, x2, x3 = rows[batch[i]], rows[batch[i + 1]], rows[batch[i + 2]], rows[batch[i + 3]]
        r0, r1 = residuals[i] / size, residuals[i + 1] / size
        r2, r3 = residuals[i + 2] / size, residuals[i + 3] / size
        for j in range(len(gradient)):
            gradient[j] += r0 * x0[j] + r1 * x1[j] + r2 * x2[j] + r3 * x3[j]
    for i in range(whole, size):
        x0, r0 = rows[batch[i]], residuals[i] / size
        for j in range(len(gradient)):
            gradient[j] += r0 * x0[j]


@jit(fastmath=_REORDERED)
def _moved(position: Any, velocity: Any, gradient: Any, step: Any) -> None:
    for j in range(len(position)):
        v, g = velocity[j], gradient[j]
        position[j] += step.a * v + step.b * g
        velocity[j] = step.c * v + step.d * g


@jit
def _kept(out: Any, state: Any, directions: Any) -> None:
    if directions.shape[1] == 0:
        out[:] = state
        return
    for m in range(directions.shape[1]):
        total = 0.0
        for j in range(len(state)):
            total += state[j] * directions[j, m]
        out[m] = total


@jit
def _follow_one(plan: Plan, replica: int, x: Any, v: Any, states: Any, displacements: Any) -> None:
    """All updates of one replica, in place."""
    examples, draws = plan.examples, plan.draws
    order, words = _room(draws)
    size, length = draws.batch_size, _updates_of_a_chunk(draws)
    residuals, errors = np.empty(size), np.zeros(size)
    gradient, at, origin = np.empty_like(x), np.empty_like(x), x.copy()
    done, held = plan.first_step, -1
    for record in range(len(plan.records)):
        while done < plan.records[record]:
            chunk, place = done // length, done % length
            if chunk != held and not (draws.repeats and held >= 0):
                _refill(order, words, chunk, replica, draws)
            held = chunk
            batch = order[place * size : (place + 1) * size]
            if examples.label_noise > 0:
                _label_errors(errors, done, replica, draws, examples.label_noise)
            for j in range(len(x)):
                at[j] = x[j] + plan.step.e * v[j]
                gradient[j] = examples.curvature[j] * at[j]
            for i in range(size):
                residuals[i] = -examples.targets[batch[i]] - errors[i]
            if examples.senses:
                _residuals(residuals, at, batch, examples.rows)
            _pulled(gradient, residuals, batch, examples.rows)
            _moved(x, v, gradient, plan.step)
            done += 1
        _kept(states[record, :, 0], x, plan.directions)
        _kept(states[record, :, 1], v, plan.directions)
        displacements[record] = 0.0
        for j in range(len(x)):
            displacements[record] += (x[j] - origin[j]) ** 2


@jit(nogil=True, cache=True)
def _follow_some(plan: Plan, first: int, last: int, *kept: Any) -> None:
    x, v, states, displacements = kept
    for r in range(first, last):
        replica = plan.draws.first_replica + r
        _follow_one(plan, replica, x[r], v[r], states[r], displacements[r])


@jit(cache=True)
def _batches(out: Any, draws: Draws, first_step: int) -> None:
    order, words = _room(draws)
    size, length = draws.batch_size, _updates_of_a_chunk(draws)
    for r in range(out.shape[0]):
        for k in range(out.shape[1]):
            chunk, place = (first_step + k) // length, (first_step + k) % length
            if k == 0 or place == 0:
                _refill(order, words, chunk, draws.first_replica + r, draws)
            out[r, k] = order[place * size : (place + 1) * size]


@jit(cache=True)
def _integers_below(out: Any, bound: int, stream: int, draws: Draws) -> None:
    words = np.empty((len(out) + 3) // 4 * 4, np.int64)
    _fill(words, 0, draws.first_replica, stream, draws)
    for i in range(len(out)):
        out[i] = _below(words[i], bound, i, draws.first_replica, stream, draws)


def follow(
    plan: Plan, position: NDArray[np.float64], velocity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Run a plan.

    Args:
        plan: the run.
        position: θ of every replica, (R, d); left as it is.
        velocity: v, likewise.

    Returns:
        States kept, (R, T, m, 2), squared displacements, (R, T), and the last position and
        velocity, (R, d).
    """
    x, v = position.copy(), velocity.copy()
    replicas, times = len(x), len(plan.records)
    kept = plan.directions.shape[1] or x.shape[1]
    states = np.empty((replicas, times, kept, 2))
    displacements = np.empty((replicas, times))
    threads = numba.get_num_threads()
    # More shares than threads, so that none waits long for the last.
    bounds = np.linspace(0, replicas, min(replicas, 4 * threads) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        running = [
            pool.submit(_follow_some, plan, first, last, x, v, states, displacements)
            for first, last in pairwise(bounds)
        ]
    for share in running:
        share.result()
    return states, displacements, x, v


def batches(draws: Draws, replicas: int, first_step: int, updates: int) -> NDArray[np.int64]:
    """Numbers of the examples of every batch, (R, updates, S)."""
    out = np.empty((replicas, updates, draws.batch_size), np.int64)
    _batches(out, draws, first_step)
    return out


def integers_below(bound: int, count: int, stream: int, draws: Draws) -> NDArray[np.int64]:
    """The first draws of a stream, for the first replica."""
    out = np.empty(count, np.int64)
    _integers_below(out, bound, stream, draws)
    return out
