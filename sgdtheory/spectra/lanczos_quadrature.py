r"""Stochastic Lanczos quadrature: Ritz values and weights as a sample of a spectrum.

m steps of Lanczos from a random probe v of length 1 give Ritz values θ_j and weights τ_j, the Gauss
rule of the measure Σ_i (v·u_i)² δ(ρ − ρ_i), whose average over probes is the spectrum:

.. math:: \operatorname{tr} f(H) \approx d \, \frac1P \sum_p \sum_j \tau_{pj} f(\theta_{pj})

The rule of a probe is exact for polynomials up to degree 2m − 1, so that the error of a trace or of
a low moment is the scatter of the probes alone. For other functions there is the rule's own error
besides, of which the scatter knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from sgdtheory.arrays import detached, like
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_number
from sgdtheory.spectra.lanczos_process import random_probe_rules

__all__ = ["LanczosEstimate", "LanczosQuadrature"]

# Weights are squares of components that a single-precision eigensolver may have found.
_UNIT = 1e-4


class LanczosEstimate(NamedTuple):
    """A sum over directions, and its standard error between probes (NaN for one probe)."""

    value: float
    standard_error: float

    def _repr_latex_(self) -> str:
        error = rf" \pm {self.standard_error:.2g}" if np.isfinite(self.standard_error) else ""
        return f"${self.value:.6g}{error}$"


@dataclass(frozen=True, eq=False)
class LanczosQuadrature(ShownAsTable):
    r"""Ritz values and weights of several probes.

    Args:
        ritz_values: θ, shape (probes, steps), or (steps,) for one probe. Unit: loss/θ².
        weights: τ ≥ 0 of the same shape, with sum 1 for every probe; 0 pads a probe that stopped
            early.
        dimension: d, the number of parameters.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    Source: Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 38 (2017) 1075, algorithm 1.

    >>> probes = LanczosQuadrature([[0.0, 2.0], [1.0, 3.0]], [[0.5, 0.5], [1.0, 0.0]], dimension=10)
    >>> probes.estimate(lambda rho: rho)
    LanczosEstimate(value=10.0, standard_error=0.0)
    """

    ritz_values: Any
    weights: Any
    dimension: float

    def __post_init__(self) -> None:
        check_number("dimension", self.dimension, at_least=1)
        for name in ("ritz_values", "weights"):
            object.__setattr__(self, name, _rows(name, getattr(self, name), self.ritz_values))
        if self.weights.shape != self.ritz_values.shape:
            raise ValueError(
                f"weights has shape {tuple(self.weights.shape)} and ritz_values "
                f"{tuple(self.ritz_values.shape)}: give one weight for each Ritz value."
            )
        weights = detached(self.weights)
        if np.any(weights < 0):
            where = tuple(map(int, np.argwhere(weights < 0)[0]))
            raise ValueError(f"weights[{where}] = {weights[where]}: squares are ≥ 0.")
        if np.any(weights > 1 + _UNIT):
            where = tuple(map(int, np.argwhere(weights > 1 + _UNIT)[0]))
            raise ValueError(f"weights[{where}] = {weights[where]}: a probe's sum to 1.")
        sums = weights.sum(axis=1)
        probe = int(np.argmax(np.abs(sums - 1)))
        if abs(sums[probe] - 1) > _UNIT:
            raise ValueError(
                f"weights of probe {probe} sum to {sums[probe]:.6g}: they must sum to 1 within "
                f"{_UNIT:g}. Give squared first components of the tridiagonal's eigenvectors."
            )
        object.__setattr__(self, "weights", self.weights / self.weights.sum(-1)[:, None])

    @classmethod
    def of_operator(
        cls,
        operator: LinearOperator,
        steps: int,
        probes: int = 4,
        seed: int = 0,
        beside: Any = None,
    ) -> LanczosQuadrature:
        """What random probes see of a symmetric operator, which is only asked for products.

        Args:
            operator: of SciPy, (P, P), symmetric; the products' floating type is its own.
            steps: m of each probe, whose vectors are all kept.
            probes: independent ones, whose scatter is the standard error.
            seed: of the probes.
            beside: orthonormal columns, (P, k), as known eigenvectors: the estimate is of what is
                orthogonal to them, P − k directions.

        Raises:
            ValueError: naming the argument, its value and the limit it broke.

        >>> from scipy.sparse.linalg import aslinearoperator
        >>> matrix = aslinearoperator(np.diag([3.0, 2.0, 1.0, 0.0]))
        >>> found = LanczosQuadrature.of_operator(matrix, steps=3, beside=np.eye(4)[:, :1])
        >>> found.dimension, found.ritz_values[0].round(12)
        (3, array([0., 1., 2.]))
        """
        size = operator.shape[0]
        for name, value in (("steps", steps), ("probes", probes)):
            check_number(name, value, at_least=1)
        vectors = np.zeros((size, 0)) if beside is None else np.asarray(beside)
        if vectors.ndim != 2 or vectors.shape[0] != size or vectors.shape[1] >= size:
            raise ValueError(
                f"beside has shape {vectors.shape}: give fewer than {size} columns of {size} "
                "entries, or there is nothing left to see."
            )
        found = random_probe_rules(operator, int(steps), int(probes), seed, vectors)
        return cls(*found, dimension=size - vectors.shape[1])

    def estimate(self, function: Callable[[Any], Any]) -> LanczosEstimate:
        """tr f(H) with its standard error between probes.

        Args:
            function: f, of an array of eigenvalues, element by element.
        """
        of_probe = detached(self.dimension * (self.weights * function(self.ritz_values)).sum(-1))
        probes = len(of_probe)
        error = of_probe.std(ddof=1) / np.sqrt(probes) if probes > 1 else np.nan
        return LanczosEstimate(float(of_probe.mean()), float(error))

    def eigenvalues_and_counts(self) -> tuple[Any, Any]:
        """All probes as one spectrum: Ritz values (nodes,), and counts > 0 that sum to d."""
        used = np.flatnonzero(detached(self.weights).ravel() > 0)
        counts = self.weights.reshape(-1)[used] * (self.dimension / len(self.weights))
        return self.ritz_values.reshape(-1)[used], counts


def _rows(name: str, values: Any, reference: Any) -> Any:
    try:
        array = like(values, reference)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {values!r}: give an array of real numbers.") from None
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {tuple(array.shape)}: it must be (probes, steps).")
    if not np.all(np.isfinite(detached(array))):
        raise ValueError(f"{name} has entries that are not finite. Remove the probe.")
    return array
