r"""Few directions for sums over many, also where some of them do not settle.

What settles is compressed. Flat directions are one: at one curvature everything is linear in the
noise. Those that fall, or lie beyond the limit of stability, stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.compression import SettingsRange
from sgdtheory.spectrum import Spectrum

__all__ = ["CurvatureRange", "few_directions", "selected", "with_offsets"]

Array = NDArray[np.float64]

# Largest relative error of sums.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class CurvatureRange:
    """For which run directions are to stand for others.

    Args:
        weight_decay: λ.
        highest: no direction with a larger curvature settles.
        settings: largest momentum and step, and the rule.
    """

    weight_decay: float
    highest: float
    settings: SettingsRange


def selected(spectrum: Spectrum, which: NDArray[np.bool_]) -> Spectrum:
    """Some of the directions of a spectrum; itself, where that is all.

    Args:
        spectrum: of NumPy arrays.
        which: (modes,).

    >>> selected(Spectrum([1.0, 2.0], counts=[3, 4]), np.array([False, True])).size
    4.0
    """
    if np.all(which):
        return spectrum
    names = ("eigenvalues", "noise_variances", "counts")
    given = {name: getattr(spectrum, name) for name in names}
    return replace(
        spectrum, **{name: value[which] for name, value in given.items() if value is not None}
    )


@lru_cache(maxsize=4)
def few_directions(spectrum: Spectrum, reach: CurvatureRange) -> Spectrum:
    """Directions that stand for a spectrum in the sums of a run.

    They are of no meaning one by one. Where a range of settings asks for too many of them, or there
    is nothing to compress, they are all that move.

    Args:
        spectrum: of NumPy arrays, with counts > 0.
        reach: the run.

    >>> spectrum = Spectrum(np.linspace(0.0, 1.0, 100_000))
    >>> reach = CurvatureRange(0.0, np.inf, SettingsRange(momentum=0.5, stability=0.5))
    >>> few = few_directions(spectrum, reach)
    >>> len(few) < 300, round(float(few.trace / spectrum.trace), 5)
    (True, 1.0)
    """
    rho, noise = spectrum.eigenvalues, spectrum.variances
    counts = np.ones(len(rho)) if spectrum.counts is None else spectrum.counts
    h = rho + reach.weight_decay
    flat = h == 0
    settling = (h > 0) & (h <= reach.highest) & (rho >= 0)
    whole = Spectrum(rho, noise_variances=noise, counts=counts)
    own = reach.settings
    try:
        few = selected(whole, settling).compress(
            _TOLERANCE,
            momentum=own.momentum,
            stability=own.stability,
            rule=own.rule,
            parameters=dict(own.parameters),
            fixed_order=own.fixed_order,
        )
    except ValueError:
        return selected(whole, ~flat | (noise > 0))
    parts = [(few.eigenvalues, few.variances, few.counts)]
    if diffusing := float(counts[flat] @ noise[flat]):
        parts.append((np.array([-reach.weight_decay]), np.array([diffusing]), np.ones(1)))
    others = ~settling & ~flat
    parts.append((rho[others], noise[others], counts[others]))
    return _joined(few, parts)


def with_offsets(
    spectrum: Spectrum, offsets: Array, reach: CurvatureRange
) -> tuple[Spectrum, Array]:
    """Directions that stand for a spectrum whose mean starts elsewhere, and their offsets.

    Drift and noise are sums of their own: directions with noise at the minimum stand for the one,
    directions without at a distance of 1 for the other, as many as the squared offsets say.

    Args:
        spectrum: of NumPy arrays, with counts > 0.
        offsets: from the minimum, (modes,).
        reach: the run.
    """
    noisy = few_directions(spectrum, reach)
    off = offsets != 0
    counts = np.ones(len(offsets)) if spectrum.counts is None else spectrum.counts
    rho = spectrum.eigenvalues[off]
    if not len(rho):
        return noisy, np.zeros(len(noisy))
    weighted = Spectrum(rho, noise_variances=0 * rho, counts=(counts * offsets**2)[off])
    moved = few_directions(weighted, reach)
    parts = [(part.eigenvalues, part.variances, part.counts) for part in (noisy, moved)]
    return _joined(noisy, parts), np.repeat([0.0, 1.0], [len(noisy), len(moved)])


def _joined(few: Spectrum, parts: Sequence[tuple[Any, ...]]) -> Spectrum:
    rho, noise, counts = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return replace(few, eigenvalues=rho, noise_scale=None, noise_variances=noise, counts=counts)
