r"""A power-law tail of a spectrum: eigenvalues of density ρ^{−(1+a)} between two cut-offs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre, softmax

from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_number
from sgdtheory.spectrum import Spectrum

__all__ = ["PowerLawTail", "tail_nodes"]

Array = NDArray[np.float64]

_NODES = 96
_UNIT_NODES, _UNIT_WEIGHTS = roots_legendre(_NODES)


@dataclass(frozen=True)
class PowerLawTail(ShownAsTable):
    r"""A density of eigenvalues n(ρ) ∝ ρ^{−(1+a)} between two cut-offs.

    Args:
        exponent: a, of either sign. For 0 < a < 1 displacements grow as k^a while the cut-offs'
            relaxation times enclose k.
        smallest: lower cut-off > 0. Unit: loss/θ².
        largest: upper cut-off. Unit: loss/θ².
        directions: how many there are, ∫ n(ρ) dρ; not necessarily a whole number.
        noise_scale: σ² with Σ = σ²H. Unit: loss.

    >>> spectrum = PowerLawTail(0.5, 1e-4, 1.0, directions=1000, noise_scale=1.0).spectrum()
    >>> mean = spectrum.total(spectrum.eigenvalues) / 1000
    >>> len(spectrum), round(float(mean), 9)  # √(smallest · largest) for a = 1/2
    (96, 0.01)
    """

    exponent: float
    smallest: float
    largest: float
    directions: float
    noise_scale: float

    def __post_init__(self) -> None:
        check_number("exponent", self.exponent)
        check_number("smallest", self.smallest, above=0.0)
        check_number("largest", self.largest, above=self.smallest)
        check_number("directions", self.directions, above=0.0)
        check_number("noise_scale", self.noise_scale, at_least=0.0)

    def spectrum(self) -> Spectrum:
        """Gauss-Legendre nodes in log ρ, with counts: sums of smooth functions are integrals."""
        nodes, shares = tail_nodes(self.exponent, np.log(self.smallest), np.log(self.largest))
        return Spectrum(
            np.exp(nodes), noise_scale=self.noise_scale, counts=self.directions * shares
        )


def tail_nodes(exponent: float, lower: float, upper: float) -> tuple[Array, Array]:
    """Nodes log ρ, and the share of the directions that each stands for; both of one axis.

    Args:
        exponent: a.
        lower: log of the lower cut-off.
        upper: log of the upper one.

    >>> nodes, shares = tail_nodes(0.0, 0.0, 2.0)
    >>> float((shares @ nodes).round(12)), float((shares @ nodes**2).round(12))
    (1.0, 1.333333333333)
    """
    nodes = (lower + upper) / 2 + (upper - lower) / 2 * _UNIT_NODES
    return nodes, softmax(np.log(_UNIT_WEIGHTS) - exponent * nodes)
