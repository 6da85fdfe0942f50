r"""Negative eigenvalues of a measured Hessian: the caller says what becomes of them.

Noise proportional to the Hessian, Σ = σ²H, is a model of directions that curve upwards. Below zero
it says nothing, and a stationary state does not exist; what is done instead is a decision, and a
spectrum keeps a record of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import detached
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_number

__all__ = ["NegativeTail", "without_negative_tail"]

_PAST = {"drop": "dropped", "clamp": "clamped to 0", "drift": "kept as drift"}


@dataclass(frozen=True)
class NegativeTail(ShownAsTable):
    """What was done about negative eigenvalues.

    Args:
        handling: "drop", "clamp" or "drift".
        directions: how many it concerned, by their counts.
        trace: their sum, < 0, which the trace has lost unless they drift. Unit: loss/θ².
        lowest: the most negative one. Unit: loss/θ².

    >>> print(NegativeTail("drop", directions=3.0, trace=-0.5, lowest=-0.4))
    3 negative directions dropped, of trace -0.5
    """

    handling: str
    directions: float
    trace: float
    lowest: float

    def __str__(self) -> str:
        return (
            f"{self.directions:g} negative directions {_PAST[self.handling]}, "
            f"of trace {self.trace:g}"
        )


def without_negative_tail(
    eigenvalues: Any,
    *,
    counts: Any,
    noise_variances: Any,
    noise_scale: Any,
    handling: str,
    drift_noise_scale: float,
) -> dict[str, Any]:
    """Arguments of a `Spectrum` in which negative eigenvalues are what the caller made of them.

    Args:
        eigenvalues: ρ, (modes,), of any sign.
        counts: of each, or None.
        noise_variances: Σ, (modes,), of all directions, or None.
        noise_scale: σ² of directions with ρ ≥ 0, or None.
        handling: "refuse", "drop", "clamp" or "drift".
        drift_noise_scale: Σ/(−ρ) where ρ < 0, for "drift" without noise_variances.

    Raises:
        ValueError: for negative eigenvalues that are to be refused, or nothing left.
    """
    if not isinstance(handling, str) or handling not in ("refuse", *_PAST):
        raise ValueError(
            f"negative = {handling!r}: give one of 'refuse', 'drop', 'clamp', 'drift'."
        )
    check_number("drift_noise_scale", drift_noise_scale, at_least=0.0)
    given = {
        "eigenvalues": eigenvalues,
        "noise_scale": noise_scale,
        "noise_variances": noise_variances,
        "counts": counts,
    }
    rho = detached(eigenvalues)
    below = rho < 0
    if not np.any(below):
        return given
    if handling == "refuse":
        i = int(np.argmin(rho))
        raise ValueError(
            f"eigenvalues[{i}] = {rho[i]}: {below.sum()} of {len(rho)} are negative, and "
            "negative='refuse'; the limit is ≥ 0. Say what becomes of them: negative='drop', "
            "'clamp' (to 0) or 'drift' (kept, for transients)."
        )
    weights = np.ones(len(rho)) if counts is None else detached(counts)
    lost = weights[below]
    tail = NegativeTail(
        handling, float(lost.sum()), float(lost @ rho[below]), float(rho[below].min())
    )
    changed = {"drop": _dropped, "clamp": _clamped, "drift": _drifting}[handling]
    return {**changed(given, below, drift_noise_scale), "negative_tails": (tail,)}


def _dropped(given: dict[str, Any], below: Any, _: float) -> dict[str, Any]:
    kept = np.flatnonzero(~below)
    if not len(kept):
        raise ValueError(
            "eigenvalues: all are negative, and negative='drop' leaves none. Say 'clamp' or "
            "'drift', or check the sign of the Hessian."
        )
    arrays = ("eigenvalues", "noise_variances", "counts")
    return {
        name: value[kept] if name in arrays and value is not None else value
        for name, value in given.items()
    }


def _clamped(given: dict[str, Any], *_: Any) -> dict[str, Any]:
    return {**given, "eigenvalues": given["eigenvalues"].clip(min=0)}


def _drifting(given: dict[str, Any], _: Any, drift_noise_scale: float) -> dict[str, Any]:
    if given["noise_variances"] is not None:
        return given
    rho, scale = given["eigenvalues"], given["noise_scale"]
    upwards = (1.0 if scale is None else scale) * rho.clip(min=0)
    variances = upwards + drift_noise_scale * (-rho).clip(min=0)
    return {**given, "noise_scale": None, "noise_variances": variances}
