r"""Densities of eigenvalues that have a name, as expressions in ρ."""

from __future__ import annotations

from typing import Any

import numpy as np
from sympy import Dummy, Expr, Max, exp, integrate, log, pi, sqrt

from sgdtheory import symbols as s
from sgdtheory.number_checks import check_number
from sgdtheory.spectra.spectral_density import SpectralDensity
from sgdtheory.user_input import strict_expression

__all__ = [
    "log_normal",
    "log_normal_shape",
    "marchenko_pastur",
    "marchenko_pastur_ends",
    "marchenko_pastur_shape",
    "power_law",
    "power_law_shape",
]


def marchenko_pastur_ends(aspect_ratio: Expr, scale: Expr) -> tuple[Expr, Expr]:
    r"""s (1 ± √q)², the smaller first."""
    low, high = (scale * (1 + sign * sqrt(aspect_ratio)) ** 2 for sign in (-1, 1))
    return low, high


def marchenko_pastur_shape(aspect_ratio: Expr, scale: Expr) -> Expr:
    """The density of all d directions, those at 0 left out, as an expression in ρ."""
    low, high = marchenko_pastur_ends(aspect_ratio, scale)
    return sqrt((high - s.rho) * (s.rho - low)) / (2 * pi * aspect_ratio * scale * s.rho)


def power_law_shape(tail_exponent: Expr) -> Expr:
    """ρ^(−1−a), not normalised.

    >>> power_law_shape(s.tail)
    rho**(-a - 1)
    """
    return s.rho ** (-1 - tail_exponent)


def log_normal_shape(median: Expr, log_deviation: Expr) -> Expr:
    """The density on all ρ > 0, as an expression in ρ."""
    spread = log(s.rho / median) / log_deviation
    return exp(-(spread**2) / 2) / (s.rho * log_deviation * sqrt(2 * pi))


def marchenko_pastur(aspect_ratio: Any, scale: Any = 1, directions: float = 1.0) -> SpectralDensity:
    r"""Eigenvalues of XᵀX/N, of N independent examples x of d independent components.

    .. math:: p(\rho) = \frac{\sqrt{(\rho_+ - \rho)(\rho - \rho_-)}}{2\pi q s \rho},
        \qquad \rho_\pm = s (1 \pm \sqrt q)^2

    For q > 1 only d/q eigenvalues are positive; the other d(1 − 1/q) are an outlier at 0. For q = 1
    the density diverges as ρ^(−1/2) at 0.

    Args:
        aspect_ratio: q = d/N > 0.
        scale: s, the variance of a component. Unit: loss/θ².
        directions: d, zeros included.

    Source: Marchenko, Pastur, Math. USSR Sbornik 1 (1967) 457.

    >>> wide = marchenko_pastur(4, directions=100)
    >>> wide.outliers, wide.directions, wide.lower, wide.upper
    (((0.0, 75.0),), 25.0, 1.0, 9.0)
    """
    check_number("aspect_ratio", aspect_ratio, above=0.0)
    check_number("scale", scale, above=0.0)
    check_number("directions", directions, above=0.0)
    q, unit = (strict_expression(*x) for x in (("aspect_ratio", aspect_ratio), ("scale", scale)))
    low, high = marchenko_pastur_ends(q, unit)
    # The zeros are apart, so that the positive ones alone have the integral 1.
    share = Max(1, q)
    density = share * marchenko_pastur_shape(q, unit)
    positive = float(directions / share)
    zeros = {0.0: directions - positive} if q > 1 else {}
    return SpectralDensity(density, float(low), float(high), positive, zeros)


def power_law(
    tail_exponent: Any, smallest: Any, largest: Any, directions: float = 1.0
) -> SpectralDensity:
    r"""Eigenvalues with a density ∝ ρ^(−1−a) between two cut-offs.

    Args:
        tail_exponent: a, of either sign, below 100 in size; 0 for as many in every decade.
        smallest: the lower cut-off, > 0. Unit: loss/θ².
        largest: the upper cut-off. Unit: loss/θ².
        directions: their number.

    >>> decades = power_law(0, 1e-6, 1.0)
    >>> decades.expression.evalf(6)
    0.0723824/rho
    """
    check_number("smallest", smallest, above=0.0)
    check_number("largest", largest, above=0.0)
    if not largest > smallest:
        raise ValueError(
            f"largest = {largest}: it must be above the other cut-off, smallest = {smallest}."
        )
    # Beyond, ρ^(−1−a) leaves the doubles within a few decades.
    check_number("tail_exponent", tail_exponent, above=-100.0, below=100.0)
    a, low, high = (
        strict_expression(*x)
        for x in (("tail_exponent", tail_exponent), ("smallest", smallest), ("largest", largest))
    )
    octave = Dummy(real=True)
    total = integrate(exp(-a * octave), (octave, log(low), log(high)))
    density = power_law_shape(a) / total
    return SpectralDensity(density, float(low), float(high), directions)


def log_normal(
    median: Any,
    log_deviation: Any,
    directions: float = 1.0,
    *,
    smallest: Any = 0,
    largest: Any = np.inf,
) -> SpectralDensity:
    r"""Eigenvalues whose logarithms are normal, between two cut-offs.

    Without a largest one no learning rate is stable in discrete time, however rare the directions.

    Args:
        median: of the eigenvalues before they are cut off, > 0. Unit: loss/θ².
        log_deviation: standard deviation of log ρ, > 0.
        directions: their number.
        smallest: the lower cut-off, ≥ 0. Unit: loss/θ².
        largest: the upper cut-off. Unit: loss/θ².

    >>> round(log_normal(1, 1).moment(1), 9) == round(float(np.exp(0.5)), 9)
    True
    """
    check_number("median", median, above=0.0)
    check_number("log_deviation", log_deviation, above=0.0)
    middle, width = (
        strict_expression(*x) for x in (("median", median), ("log_deviation", log_deviation))
    )
    density = log_normal_shape(middle, width)
    if smallest == 0 and largest == np.inf:
        return SpectralDensity(density, 0.0, np.inf, directions)
    return SpectralDensity.normalised(density, smallest, largest, directions)
