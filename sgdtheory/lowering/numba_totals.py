"""Numba: responses of many modes at many times, summed over the modes as they come.

A block of modes stays in a core's cache from the first power to the last. Blocks are of one size,
as are groups of them, and their sums are added in one order, so a result does not depend on the
number of threads.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sgdtheory.lowering import propagation, responses, scalar_modes
from sgdtheory.lowering.addition_chains import AdditionChain
from sgdtheory.lowering.numba_backend import thread_count
from sgdtheory.lowering.numba_disk_cache import kept_on_disk

__all__ = ["totals"]

Array = NDArray[np.float64]

# Only sums may be reordered, so that their loops run on whole vectors; the arithmetic of a mode is
# compiled as it is written. Where it is inlined, it is compiled as its caller is.
_as_written: Any = numba.njit(fastmath={"contract"}, error_model="numpy")
_reordered: Any = numba.njit(fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
_outside_the_lock: Any = numba.njit(error_model="numpy", nogil=True)
BLOCK, GROUP = 256, 8
# Below so many groups threads take longer to start than they save; above, each takes its share in
# parts, so that none waits long for another.
_FEW = 4
_SHARES = 16


def _inlined(function: Any, **scope: Any) -> Any:
    """Long arithmetic, of which the compiler would make a call; what it calls is given by name."""
    plain = FunctionType(function.__code__, {**function.__globals__, **scope})
    return numba.njit(inline="always")(plain)


_choose = _as_written(scalar_modes.choose)
_doublings = _inlined(scalar_modes.doublings, maximum=_inlined(scalar_modes.maximum))
_compose = _as_written(responses.compose_responses)
_square = _as_written(responses.square_response)
_count = _as_written(responses.counted)
_after_one_update = _inlined(responses.after_one_update, mirror=_inlined(propagation.mirror))
_after_short_time = _inlined(
    responses.after_short_time, short_flow=_inlined(propagation.short_flow)
)


@_reordered
def _weigh(u: Array, r: Array, on_step: Array, on_impulse: Array) -> float:
    total = 0.0
    for i in range(len(u)):
        total += on_step[i] * u[i] + on_impulse[i] * r[i]
    return total


@_as_written
def _multiply(out: Any, left: Any, right: Any, stiffness: Array) -> None:
    (u, r), (u1, r1), (u2, r2) = out, left, right
    for i in range(len(stiffness)):
        u[i], r[i] = _compose((u1[i], r1[i]), (u2[i], r2[i]), stiffness[i])


@_as_written
def _multiply_again(work: Any, left: Any, right: Any, stiffness: Array) -> None:
    """Two more factors in one pass over memory."""
    (u, r), (u1, r1), (u2, r2) = work, left, right
    for i in range(len(stiffness)):
        once = _compose((u[i], r[i]), (u1[i], r1[i]), stiffness[i])
        u[i], r[i] = _compose(once, (u2[i], r2[i]), stiffness[i])


@_as_written
def _entry(table: Any, index: int) -> Any:
    return table[0][index], table[1][index]


@_as_written
def _begin(work: Any, table: Any, factors: Array, stiffness: Array) -> None:
    """The product of some entries of the table, two at a time."""
    if len(factors) % 2:
        work[0][:], work[1][:] = _entry(table, factors[0])
    else:
        _multiply(work, _entry(table, factors[0]), _entry(table, factors[1]), stiffness)
    for j in range(2 - len(factors) % 2, len(factors), 2):
        left, right = _entry(table, factors[j]), _entry(table, factors[j + 1])
        _multiply_again(work, left, right, stiffness)


@_reordered
def _square_once(u: Array, r: Array, stiffness: Array, on_step: Array, on_impulse: Array) -> float:
    total = 0.0
    for i in range(len(u)):
        u0, r0 = _square((u[i], r[i]), stiffness[i])
        total += on_step[i] * u0 + on_impulse[i] * r0
        u[i], r[i] = u0, r0
    return total


@_reordered
def _square_four_times(
    u: Array, r: Array, stiffness: Array, on_step: Array, on_impulse: Array
) -> Any:
    """One load and one store for four squares: memory would be the bottleneck."""
    total1 = total2 = total3 = total4 = 0.0
    for i in range(len(u)):
        b, c, d = stiffness[i], on_step[i], on_impulse[i]
        u1, r1 = _square((u[i], r[i]), b)
        u2, r2 = _square((u1, r1), b)
        u3, r3 = _square((u2, r2), b)
        u4, r4 = _square((u3, r3), b)
        total1 += c * u1 + d * r1
        total2 += c * u2 + d * r2
        total3 += c * u3 + d * r3
        total4 += c * u4 + d * r4
        u[i], r[i] = u4, r4
    return total1, total2, total3, total4


@_as_written
def _follow(u: Array, r: Array, modes: Any, places: Array, out: Array) -> None:
    """The squares after a run's first power; `out` has one place more, for those not asked for."""
    stiffness, on_step, on_impulse = modes
    j = 0
    while len(places) - j >= 4:
        sums = _square_four_times(u, r, stiffness, on_step, on_impulse)
        out[places[j]], out[places[j + 1]] = sums[0], sums[1]
        out[places[j + 2]], out[places[j + 3]] = sums[2], sums[3]
        j += 4
    while j < len(places):
        out[places[j]] = _square_once(u, r, stiffness, on_step, on_impulse)
        j += 1


@_as_written
def _largest(values: Array) -> float:
    largest = 0.0
    for i in range(len(values)):
        largest = max(largest, abs(values[i]))
    return largest


@_as_written
def _after_one_unit(row: Array, weights: Array, discrete: bool, out: Array) -> None:
    """The entries of a mode, each a row of `out`; a few at a time, so that loops vectorise."""
    a, b, c, d = row[0], row[1], row[2], row[3]
    u, r, stiffness, on_step = out[0], out[1], out[2], out[3]
    on_impulse, sign, constant = out[4], out[5], out[6]
    if discrete:
        e, f, g = row[4], row[5], row[6]
        for i in range(len(a)):
            mode = _after_one_update(a[i], b[i], c[i], d[i], (e[i], f[i], g[i]), _choose)
            u[i], r[i], stiffness[i], sign[i] = mode[0], mode[1], mode[2], mode[5]
        for i in range(len(a)):
            mode = _after_one_update(a[i], b[i], c[i], d[i], (e[i], f[i], g[i]), _choose)
            on_step[i], on_impulse[i] = weights[i] * mode[3], weights[i] * mode[4]
            constant[i] = weights[i] * mode[6]
        return
    halvings = _doublings(1.0, _largest(a), _largest(b))
    time = 2.0**-halvings
    for i in range(len(a)):
        mode = _after_short_time(time, a[i], b[i], c[i], d[i])
        u[i], r[i], stiffness[i] = mode[0], mode[1], mode[2]
    for i in range(len(a)):
        mode = _after_short_time(time, a[i], b[i], c[i], d[i])
        on_step[i], on_impulse[i] = weights[i] * mode[3], weights[i] * mode[4]
        sign[i], constant[i] = mode[5], mode[6]
    for _ in range(halvings):
        _square_once(u, r, stiffness, on_step, on_impulse)


@_reordered
def _weigh_odd(u: Array, r: Array, modes: Array) -> float:
    on_step, on_impulse, sign, constant = modes[3], modes[4], modes[5], modes[6]
    total = 0.0
    for i in range(len(u)):
        total += _count(u[i], r[i], on_step[i], on_impulse[i], sign[i], constant[i])
    return total


@_as_written
def _block(modes: Array, products: Array, runs: Any, table: Any, out: Array) -> None:
    """All times for one block of modes."""
    stiffness, on_step, on_impulse = modes[2], modes[3], modes[4]
    table[0][0, :], table[1][0, :] = modes[0], modes[1]
    for entry in range(len(products)):
        left, right = _entry(table, products[entry, 0]), _entry(table, products[entry, 1])
        _multiply(_entry(table, entry + 1), left, right, stiffness)
    factors, factor_ends, places, place_ends, odd = runs
    work = u, r = np.empty(len(stiffness)), np.empty(len(stiffness))
    factor, place = 0, 0
    for run in range(len(odd)):
        _begin(work, table, factors[factor : factor_ends[run]], stiffness)
        if odd[run]:
            out[places[place]] = _weigh_odd(u, r, modes)
        else:
            out[places[place]] = _weigh(u, r, on_step, on_impulse)
        following = places[place + 1 : place_ends[run]]
        _follow(u, r, (stiffness, on_step, on_impulse), following, out)
        factor, place = factor_ends[run], place_ends[run]


@kept_on_disk(propagation, scalar_modes, responses)
@_outside_the_lock
def _groups(
    row: Array, weights: Array, discrete: bool, products: Array, runs: Any, jobs: Any, out: Array
) -> None:
    """The groups of blocks from the one to the other, counted through all settings."""
    size, count, times = row.shape[1], out.shape[1], out.shape[2]
    for job in range(jobs[0], jobs[1]):
        setting, group = job // count, job % count
        kept = weights[min(setting, weights.shape[0] - 1)]
        for i in range(group * GROUP * BLOCK, min(size, (group + 1) * GROUP * BLOCK), BLOCK):
            j = min(size, i + BLOCK)
            # In rows of their own, so that loops vectorise.
            own, own_weights = row[setting, i:j].T.copy(), np.empty(j - i)
            own_weights[:] = kept[i:j] if len(kept) > 1 else kept
            modes, sums = np.empty((7, j - i)), np.empty(times)
            _after_one_unit(own, own_weights, discrete, modes)
            table = np.empty((len(products) + 1, j - i)), np.empty((len(products) + 1, j - i))
            _block(modes, products, runs, table, sums)
            out[setting, group] += sums


def _arrays(chain: AdditionChain) -> tuple[Any, Any]:
    """The chain as arrays of numbers."""
    runs = chain.runs
    integers = (
        [i for run in runs for i in run.factors],
        np.cumsum([len(run.factors) for run in runs]),
        [place for run in runs for place in run.places],
        np.cumsum([len(run.places) for run in runs]),
        [run.odd for run in runs],
    )
    products = np.array(chain.products, dtype=np.int64).reshape(-1, 2)
    return products, tuple(np.asarray(part, dtype=np.int64) for part in integers)


def totals(chain: AdditionChain, row: Array, weights: Array, discrete: bool) -> Array:
    """Sums over the modes, (settings, exponents).

    Args:
        chain: the plan.
        row: what `LoweredTotal.coefficients` holds, (settings, modes, 7 or 4).
        weights: of the modes, broadcasting to them.
        discrete: whether the clock counts updates.
    """
    products, runs = _arrays(chain)
    settings, modes = row.shape[:2]
    groups = -(-modes // (GROUP * BLOCK))
    out = np.zeros((settings, groups, len(chain.exponents) + 1))
    jobs, workers = settings * groups, thread_count()
    share = max(1, -(-jobs // (_SHARES * workers)))
    weights = np.ascontiguousarray(np.atleast_2d(weights))

    def work(first: int) -> None:
        part = (first, min(first + share, jobs))
        _groups(row, weights, discrete, products, runs, part, out)

    if workers == 1 or jobs < _FEW:
        for first in range(0, jobs, share):
            work(first)
    else:
        with ThreadPoolExecutor(workers) as pool:
            deque(pool.map(work, range(0, jobs, share)), maxlen=0)
    return np.asarray(out[:, :, :-1].sum(axis=1))
