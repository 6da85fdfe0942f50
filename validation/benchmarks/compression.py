"""A thousand settings over all directions of a ResNet-18: one pass, then a few hundred nodes.

The error is that of a few settings against the sum over the whole spectrum. The first pass of a
process also asks the theory how many nodes there must be; later ones remember.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import sgdtheory as sgd
from validation.benchmarks.displacement import GRIDS
from validation.benchmarks.table import Row, Target
from validation.benchmarks.timing import Contender, Spread, race, timed

__all__ = ["eigenvalues_of", "measure"]

Array: TypeAlias = NDArray[np.float64]

PART = "compression"
DIRECTIONS, SETTINGS = 11_700_000, 1000
TOLERANCE, MOMENTUM, BATCH, DECAY = 1e-8, 0.9, 8.0, 5e-4
RATES = np.geomspace(1e-3, 0.3, SETTINGS)
STEPS = np.array(GRIDS["rounded"])
IN_ALL, ACCURATE = Target(3.0), Target(TOLERANCE)


def eigenvalues_of(count: int) -> Array:
    """Nine decades of a bulk, a tenth of it flat, as many times over at one value."""
    rho = 10 ** np.random.default_rng(0).uniform(-8, 1, count)
    rho[: count // 10] = 0.0
    rho[count // 10 : count // 5] = 0.01
    rho[-1] = 10.0
    return np.asarray(rho)


def _displacement(rates: Array, spectrum: sgd.Spectrum) -> Array:
    hyper = sgd.Hyperparameters(rates, MOMENTUM, BATCH, DECAY)
    return np.asarray(sgd.Predictor(hyper, spectrum).displacement(STEPS))


def _error(whole: sgd.Spectrum, compressed: sgd.Spectrum) -> float:
    # The lowest, a middle and the highest rate.
    some = RATES[:: (SETTINGS - 1) // 2]
    pairs = (
        (_displacement(rate, compressed), _displacement(rate, whole)) for rate in some[:, None]
    )
    return max(float(np.abs(few / all_of_them - 1).max()) for few, all_of_them in pairs)


def measure(directions: int = DIRECTIONS, turns: int = 3) -> list[Row]:
    """Rows of the table.

    Args:
        directions: how many eigenvalues.
        turns: how often each of the two steps is timed, after a first time.
    """
    whole = sgd.Spectrum(eigenvalues_of(directions))
    if not hasattr(whole, "compress"):
        return [Row(PART, "all", note="this version has no Spectrum.compress")]

    def both() -> sgd.Spectrum:
        few = whole.compress(TOLERANCE, momentum=MOMENTUM)
        _displacement(RATES, few)
        return few

    first, compressed = timed(both)
    count = f"{directions:,} eigenvalues"
    sweep = f"{SETTINGS:,} settings × {len(STEPS)} times"
    pass_ = Contender(
        f"one pass over {count}", 1, lambda: whole.compress(TOLERANCE, momentum=MOMENTUM)
    )
    settings = Contender(sweep, 1, lambda: _displacement(RATES, compressed))
    timings = race((pass_, settings), None, turns)
    together = Spread.of(timings[pass_.name].seconds + timings[sweep].seconds)
    return [
        *(Row.of(PART, timing, "s") for timing in timings.values()),
        Row(PART, "both", together.median, "s", target=IN_ALL),
        Row(PART, "both, the first time in a process", first, "s", target=IN_ALL),
        Row(PART, "nodes", len(compressed), ""),
        Row(PART, "error", _error(whole, compressed), "relative", target=ACCURATE),
    ]
