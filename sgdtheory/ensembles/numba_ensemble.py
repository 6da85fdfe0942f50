"""Numba: every replica by itself, all of its updates in one loop; threads share the replicas."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sgdtheory.ensembles import counter_based_generator, numba_batches
from sgdtheory.ensembles import plan as records_of_a_plan
from sgdtheory.ensembles.numba_batches import label_errors, refill, room, updates_of_a_chunk
from sgdtheory.ensembles.plan import Plan
from sgdtheory.lowering.numba_disk_cache import kept_on_disk

__all__ = ["follow"]

# Compiled functions have no static type of their own.
jit: Any = numba.njit

# A sum may be taken in any order, but its order is then fixed; infinities stay what they are.
_REORDERED = {"reassoc", "contract", "nsz"}


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
    order, words = room(draws)
    size, length = draws.batch_size, updates_of_a_chunk(draws)
    residuals, errors = np.empty(size), np.zeros(size)
    gradient, at, origin = np.empty_like(x), np.empty_like(x), x.copy()
    done, held = plan.first_step, -1
    for record in range(len(plan.records)):
        while done < plan.records[record]:
            chunk, place = done // length, done % length
            if chunk != held and not (draws.repeats and held >= 0):
                refill(order, words, chunk, replica, draws)
            held = chunk
            batch = order[place * size : (place + 1) * size]
            if examples.label_noise > 0:
                label_errors(errors, done, replica, draws, examples.label_noise)
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


@kept_on_disk(counter_based_generator, records_of_a_plan, numba_batches)
@jit(nogil=True)
def _follow_some(plan: Plan, first: int, last: int, *kept: Any) -> None:
    x, v, states, displacements = kept
    for r in range(first, last):
        replica = plan.draws.first_replica + r
        _follow_one(plan, replica, x[r], v[r], states[r], displacements[r])


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

    Plain SGD on ½θ², one example without an error: θ loses a tenth of itself an update.

    >>> from sgdtheory.ensembles.plan import Draws, Examples, Step
    >>> loss = Examples(np.zeros((1, 1)), np.zeros(1), np.ones(1), False, 0.0)
    >>> one, none = Draws(1, 1, False, False, 0, 0, 0), np.empty((1, 0))
    >>> to_do = Plan(loss, Step(0.0, -0.1, 0.0, -1.0, 0.0), one, 0, np.array([1, 2]), none)
    >>> states, moved, x, v = follow(to_do, np.ones((1, 1)), np.zeros((1, 1)))
    >>> states[0, :, 0].round(12).tolist(), moved.round(12).tolist()
    ([[0.9, -1.0], [0.81, -0.9]], [[0.01, 0.0361]])
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
