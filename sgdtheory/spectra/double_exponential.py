r"""Singular densities made smooth: the double-exponential substitution.

.. math:: \rho = \frac{l + u}{2} + \frac{u - l}{2} \tanh\Bigl(\frac{\pi}{2} \sinh t\Bigr)

turns a singularity at either end of an interval, of any integrable kind, into a double-exponential
decay in t, where sums at equal steps converge faster than any power of the step.

Source: Takahasi, Mori, Publ. RIMS 9 (1974) 721.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAST", "NOTHING", "density_in_t", "rough_integral", "sampled", "substituted"]

Array: TypeAlias = NDArray[np.float64]
Density: TypeAlias = Callable[[Array], Array]

# Beyond ±6 the distance to an end underflows, for an interval of order 1.
LAST = 6.0
# What is smaller than this is nothing, in any unit; below it numbers lose digits.
NOTHING = 1e-280
# Points as near as this to an end, relative to it, are not told from it.
_ROUNDING = 4 * np.finfo(float).eps


def substituted(lower: float, upper: float, t: Array) -> tuple[Array, Array]:
    """ρ(t) and dρ/dt; near an end the distance from it keeps all its digits.

    Args:
        lower: end of the interval.
        upper: end of the interval.
        t: values between −LAST and LAST.

    >>> substituted(0.0, 2.0, np.zeros(1))[0]
    array([1.])
    """
    width = upper - lower
    # The share of the width on either side, of which the nearer one is exact.
    left, right = (1 / (1 + np.exp(sign * np.pi * np.sinh(t))) for sign in (-1, 1))
    points = np.where(t < 0, lower + width * left, upper - width * right)
    return points, width * np.pi * np.cosh(t) * left * right


def density_in_t(density: Density, lower: float, upper: float) -> Density:
    """The density of t: smooth and bounded, whatever the density of ρ is at the ends.

    Args:
        density: of ρ.
        lower: end of the interval.
        upper: end of the interval.
    """
    nearest_lower, nearest_upper = (_ROUNDING * end + NOTHING for end in (lower, upper))

    def in_t(t: Array) -> Array:
        points, slope = substituted(lower, upper, t)
        inside = (points - lower > nearest_lower) & (upper - points > nearest_upper)
        values = np.zeros_like(points)
        values[inside] = density(points[inside]) * slope[inside]
        return values

    return in_t


def rough_integral(density: Density, lower: float, upper: float) -> float:
    """The integral of a density, to a few digits where it is not smooth.

    Args:
        density: of ρ.
        lower: end of the interval.
        upper: end of the interval.

    >>> round(rough_integral(lambda rho: rho**-0.5, 0.0, 4.0), 9)
    4.0
    """
    t = np.linspace(-LAST, LAST, 200)
    return float(density_in_t(density, lower, upper)(t).sum() * (t[1] - t[0]))


def sampled(
    density: Density, lower: float, upper: float, count: int, rng: np.random.Generator
) -> Array:
    """Independent draws by inversion, from a distribution function good to 10⁻⁷.

    Args:
        density: of ρ.
        lower: end of the interval.
        upper: end of the interval.
        count: how many.
        rng: the source of randomness.
    """
    t = np.linspace(-LAST, LAST, 2**14 + 1)
    in_t = density_in_t(density, lower, upper)(t)
    below = np.concatenate([[0.0], np.cumsum(in_t[1:] + in_t[:-1])])
    drawn = np.interp(rng.uniform(size=count), below / below[-1], t)
    return substituted(lower, upper, drawn)[0]
