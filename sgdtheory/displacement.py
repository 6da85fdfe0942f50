r"""How far the parameters have gone: E|Δ_k|², its parts, and the exponent of its growth."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like, logarithm
from sgdtheory.named_results import NamedResults
from sgdtheory.notebook_display import ShownAsTable

__all__ = ["DisplacementParts", "fitted_slope", "local_exponent", "quadratic_form"]

# Relative growth below which a logarithm is taken of the growth and not of the ratio.
_SLIGHT = 0.1


@dataclass(frozen=True, eq=False)
class DisplacementParts(ShownAsTable, NamedResults):
    r"""What makes up E|θ_k − θ_0|², each part of the shape of the steps.

    .. math:: E|\Delta_k|^2 = |E\,\Delta_k|^2 + \mathrm{tr}\,(F_k - 1)\,C_0\,(F_k - 1)^T + N_k

    Args:
        drift: of the mean: where the start lies off the minimum. ∝ k² at first.
        relaxation: of the start's spread C_0: each run of an ensemble drifts in its own direction.
            ∝ k² at first.
        noise: what the batches since the start have added. ∝ k once the velocity has forgotten.

    From a stationary start under epochs `noise` contains the correlation between the start and the
    batches that its epoch had left, which is negative.
    """

    drift: Any
    relaxation: Any
    noise: Any

    def _named_values(self) -> dict[str, Any]:
        further = {"total": self.total, "ballistic_share": self.ballistic_share}
        return {**super()._named_values(), **further}

    @property
    def total(self) -> Any:
        """E|θ_k − θ_0|²."""
        return self.drift + self.relaxation + self.noise

    @property
    def ballistic_share(self) -> Any:
        """What of the displacement is motion that the start determined, drift and relaxation.

        >>> DisplacementParts(1.0, 2.0, 3.0).ballistic_share
        0.5
        """
        return (self.drift + self.relaxation) / self.total


def quadratic_form(vector: Any, matrix: Any) -> Any:
    """m C mᵀ for pairs m and symmetric 2×2 matrices C, on the last axes.

    >>> float(quadratic_form(np.array([1.0, 2.0]), np.array([[1.0, 0.5], [0.5, 1.0]])))
    7.0
    """
    return bilinear_form(vector, matrix, vector)


def bilinear_form(left: Any, matrix: Any, right: Any) -> Any:
    """l C rᵀ of the same.

    >>> float(bilinear_form(np.array([1.0, 2.0]), np.eye(2), np.array([3.0, 1.0])))
    5.0
    """
    return (left * (matrix @ right[..., None])[..., 0]).sum(-1)


def local_exponent(before: Any, after: Any, relative: Any, steps: Any) -> Any:
    r"""d log E|Δ|² / d log k at `steps`, over [k − 1, k + 1], and over [1, 2] at k = 1.

    Args:
        before: E|Δ|² at the interval's lower end.
        after: at its upper end.
        relative: growth from k − 1 to k + 1, by an expression that is no difference, in units of
            what it began with.
        steps: NumPy array of update counts k ≥ 1.

    Raises:
        ValueError: naming the steps where nothing has moved.

    >>> before, after, steps = np.array([81.0]), np.array([121.0]), np.array([10.0])
    >>> local_exponent(before, after, after / before - 1, steps).round(3)
    array([2.])
    """
    _require_motion(np.minimum(detached(before), detached(after)), steps)
    # A ratio keeps its digits unless it is near 1, and at k = 1 the interval has another end.
    slight = like(steps, before) > 1
    slight = slight & (relative > -_SLIGHT) & (relative < _SLIGHT)
    library = _library(before)
    # Each branch stays finite where the other is taken: an infinite slope would spoil a gradient.
    grown = library.where(
        slight, library.log1p(relative.clip(-_SLIGHT, _SLIGHT)), logarithm(after / before)
    )
    lower = np.maximum(steps - 1, 1)
    return grown / like(np.log1p((steps + 1 - lower) / lower), after)


def fitted_slope(displacement: Any, steps: Any) -> Any:
    r"""Slope of the least-squares line through log E|Δ|² against log k, over the last axis.

    Args:
        displacement: E|Δ|² at the steps.
        steps: NumPy array of at least two different update counts k ≥ 1, one axis.

    Raises:
        ValueError: naming the steps where nothing has moved.

    >>> round(float(fitted_slope(3 * np.arange(1.0, 9.0) ** 2, np.arange(1.0, 9.0))), 12)
    2.0
    """
    _require_motion(detached(displacement), steps)
    centred = np.log(steps) - np.log(steps).mean()
    return (logarithm(displacement) * like(centred / (centred @ centred), displacement)).sum(-1)


def _require_motion(displacement: Any, steps: Any) -> None:
    still = ~(displacement > 0)
    if np.any(still):
        raise ValueError(
            f"steps = {np.unique(np.broadcast_to(steps, still.shape)[still])}: the displacement is "
            "0 there or one update beside, so its logarithm has no slope. Leave these steps out, "
            "or give the run noise."
        )


def _library(value: Any) -> Any:
    return sys.modules["torch"] if backend_of([value]) == "torch" else np
