r"""A density on an interval as panels, and the Gauss rule of a panel's measure.

A panel spans at most a factor of 8, like the blocks of `chebyshev_blocks`, so that what a spectrum
is summed over is a polynomial of known degree on it. The density need be no polynomial: many points
of `double_exponential` resolve it, and of these are made the few of the measure's own Gauss rule: n
nodes with positive weights, for polynomials times the density up to degree 2n − 1.

Source: Gautschi, Orthogonal Polynomials (2004), §2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgdtheory.chebyshev_blocks import RATIO
from sgdtheory.spectra.double_exponential import (
    LAST,
    NOTHING,
    density_in_t,
    rough_integral,
    substituted,
)

__all__ = ["Panel", "effective_end", "panels"]

Array: TypeAlias = NDArray[np.float64]
Density: TypeAlias = Callable[[Array], Array]

_MOST_POINTS = 2**17
# The finest that rounding leaves to be asked of moments.
_FINEST = 1e-12
# The share of an octave beyond which an infinite interval has ended.
_TAIL = 1e-17
# Blocks reach 870 octaves below the largest, and no further.
_MOST_BLOCKS = 290


@dataclass(frozen=True, eq=False)
class Panel:
    """Part of a measure: points inside (lower, upper) with weights that resolve it.

    Args:
        lower: its lower end.
        upper: its upper end.
        points: ascending.
        weights: density times quadrature weight, ≥ 0.
    """

    lower: float
    upper: float
    points: Array
    weights: Array

    @property
    def mass(self) -> float:
        """The integral of the density."""
        return float(self.weights.sum())

    def moments(self, count: int) -> Array:
        """Chebyshev moments of degrees 0 … count − 1, on the panel mapped to [−1, 1]."""
        return _moments(self._scaled(self.points), self.weights, count)

    def _scaled(self, points: Array) -> Array:
        return (2 * points - self.lower - self.upper) / (self.upper - self.lower)

    def gauss(self, count: int) -> tuple[Array, Array]:
        """Nodes, ascending, and positive weights of the measure's Gauss rule (Stieltjes)."""
        from scipy.linalg import eigh_tridiagonal

        z, total = self._scaled(self.points), self.mass
        # The polynomials times the root of the weight: they themselves overflow in a thin tail.
        before, now = np.zeros_like(z), np.sqrt(self.weights / total)
        diagonal, beside = np.zeros(count), np.zeros(count)
        for degree in range(count):
            diagonal[degree] = now @ (z * now)
            further = (z - diagonal[degree]) * now - beside[degree - 1] * before
            beside[degree] = np.sqrt(further @ further)
            if beside[degree] == 0:
                # As many points as nodes: they are their own rule.
                diagonal, beside = diagonal[: degree + 1], beside[: degree + 1]
                break
            before, now = now, further / beside[degree]
        nodes, vectors = eigh_tridiagonal(diagonal, beside[:-1])
        middle, half = (self.lower + self.upper) / 2, (self.upper - self.lower) / 2
        return np.clip(middle + half * nodes, self.lower, self.upper), total * vectors[0] ** 2


def _moments(scaled: Array, weights: Array, count: int) -> Array:
    before, now = scaled, np.ones_like(scaled)
    found = np.empty(count)
    for degree in range(count):
        found[degree] = weights @ now
        before, now = now, 2 * scaled * now - before
    return found


def resolved(
    density: Density,
    lower: float,
    upper: float,
    degree: int,
    resolution: float,
    beside: float = 0.0,
) -> Panel:
    """A panel that integrates polynomials times the density.

    Args:
        density: of ρ, ≥ 0.
        lower: end of the panel.
        upper: end of the panel.
        degree: of the polynomials, at most.
        resolution: error of the Chebyshev moments, relative to the panel's mass.
        beside: mass of other panels, that share the error that is allowed.

    Raises:
        ValueError: where the density is not smooth inside, or too singular at an end.
    """
    in_t = density_in_t(density, lower, upper)
    step, before = min(0.125, 2 / (degree + 1)), None
    while 2 * LAST / step <= _MOST_POINTS:
        t = np.arange(-LAST, LAST + step / 2, step)
        weights = step * in_t(t)
        there = weights > 0
        points = substituted(lower, upper, t[there])[0]
        panel = Panel(lower, upper, points, weights[there])
        moments = panel.moments(degree + 1)
        allowed = resolution * (moments[0] + beside) + NOTHING
        settled = before is not None and np.abs(moments - before).max() <= allowed
        if settled and _ends_in_nothing(panel, 10 * allowed):
            return panel
        step, before = step / 2, moments
    raise ValueError(
        f"density is not resolved between {lower:g} and {upper:g}. Where it has a jump, a kink or "
        "a narrow peak inside, give breaks=. Where it diverges at an end, floating point may not "
        "tell enough of it from that end: cut it off, or ask for a larger tolerance."
    )


def _ends_in_nothing(panel: Panel, allowed: float) -> bool:
    """Whether little lies where floating point cannot tell a point from an end."""
    return not panel.weights.size or max(panel.weights[0], panel.weights[-1]) <= allowed


def panels(
    density: Density,
    lower: float,
    upper: float,
    breaks: tuple[float, ...],
    largest: float,
    degree: Callable[[int], int],
    tolerance: float,
) -> Iterator[tuple[int, Panel]]:
    """The panels of a density from the largest eigenvalue down, with their blocks' numbers.

    Args:
        density: of ρ, ≥ 0.
        lower: end of its interval, ≥ 0.
        upper: end of its interval, finite.
        breaks: where it is not smooth.
        largest: block n reaches from largest/8ⁿ⁺¹ to largest/8ⁿ.
        degree: of the polynomials that a block's panel is to integrate, by its number.
        tolerance: of every sum; an interval that begins at 0 is divided until so much less than
            this is left that the rest is one panel.

    Raises:
        ValueError: where the density is not smooth or too singular.
    """
    resolution = max(1e-3 * tolerance, _FINEST)
    gathered, high = 0.0, upper
    block = max(int(np.log(largest / upper) / np.log(RATIO)), 0)
    while high > lower:
        kinks = [point for point in breaks if lower < point < high]
        last = (
            not kinks
            and lower == 0
            and (
                block >= _MOST_BLOCKS
                or rough_integral(density, 0.0, high) <= 1e-3 * tolerance * gathered
            )
        )
        low = lower if last else max(lower, largest * RATIO ** -(block + 1), *kinks)
        if low < high:
            beside = gathered if last else 0.0
            panel = resolved(density, low, high, degree(block), resolution, beside)
            gathered += panel.mass
            if panel.mass > NOTHING:
                yield block, panel
        high = low
        block += low <= largest * RATIO ** -(block + 1)


def effective_end(density: Density, lower: float, order: int) -> float:
    """Where a density on an infinite interval has ended, for moments up to an order.

    Args:
        density: of ρ, ≥ 0.
        lower: end of its interval.
        order: of the moments.

    Raises:
        ValueError: where the moment is not finite, or nothing is found.
    """
    distance = 2.0 ** np.arange(-900, 900, 1 / 32)
    per_octave = density(lower + distance) * distance
    there = np.flatnonzero(per_octave > 0)
    if not len(there):
        raise ValueError(
            f"density is 0 wherever it was looked for above {lower:g}. Give finite ends."
        )
    scale = distance[np.argmax(per_octave)]
    growth = order * np.maximum(np.log(distance[there]) - np.log(scale), 0.0)
    log_share = np.log(per_octave[there]) - np.log(per_octave.sum()) + growth
    felt = log_share > np.log(_TAIL)
    # Of a density without bounds the sum is infinite, and every share of it 0.
    if felt[-1] or not felt.any():
        raise ValueError(
            f"density falls too slowly for a finite moment of order {order}, or is too narrow to "
            "be found. Give a finite upper end: a Hessian has a largest eigenvalue."
        )
    return float(lower + distance[there[felt][-1] + 1])
