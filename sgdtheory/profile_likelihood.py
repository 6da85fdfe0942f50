r"""Maxima of many small likelihoods at once, and their profile-likelihood intervals.

A likelihood has one or two parameters and its own value in every direction; all directions climb
together, each by Newton's method with its own step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Maximum", "maximum", "profile_intervals"]

Array = NDArray[np.float64]
Likelihood = Callable[[Array], Array]

_ITERATIONS, _HALVINGS, _STEP = 60, 30, 1e-4
# A gain far below what ends an interval, and above the rounding of a long record's likelihood.
_GAIN = 1e-7
# Intervals that have not ended after so many doublings of a standard error have no end.
_DOUBLINGS, _BISECTIONS = 12, 30


@dataclass(frozen=True)
class Maximum:
    """Where the likelihoods are largest.

    Args:
        at: parameters, (directions, parameters).
        value: of the likelihoods, (directions,).
        information: minus their second derivatives, (directions, parameters, parameters).
    """

    at: Array
    value: Array
    information: Array

    @property
    def standard_errors(self) -> Array:
        """From the observed information, (directions, parameters); ∞ where it has none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variances = np.diagonal(_inverse(self.information), axis1=1, axis2=2)
            return np.asarray(np.where(variances > 0, np.sqrt(np.abs(variances)), np.inf))


def maximum(likelihood: Likelihood, start: Array, free: NDArray[np.bool_] | None = None) -> Maximum:
    """The largest value near a start.

    Args:
        likelihood: log-likelihoods, (directions,), of parameters (directions, parameters); −∞ where
            there is none.
        start: parameters with finite likelihoods.
        free: which parameters move; all by default.

    >>> top = maximum(lambda u: -((u[:, 0] - 3) ** 2), np.zeros((1, 1)))
    >>> top.at.round(6), top.standard_errors.round(4)
    (array([[3.]]), array([[0.7071]]))
    """
    at, value = start.copy(), likelihood(start)
    moving: NDArray[np.bool_] = np.ones(start.shape[1], dtype=np.bool_) if free is None else free
    for _ in range(_ITERATIONS):
        gradient, information = _derivatives(likelihood, at, value)
        gradient = np.where(moving, gradient, 0.0)
        step = _uphill(gradient, information, moving)
        climbing = (gradient * step).sum(1) > _GAIN
        if not np.any(climbing):
            break
        at, value = _advanced(likelihood, at, value, np.where(climbing[:, None], step, 0.0))
    _, information = _derivatives(likelihood, at, value)
    return Maximum(at, value, information)


def _derivatives(likelihood: Likelihood, at: Array, value: Array) -> tuple[Array, Array]:
    shifts = _STEP * np.eye(at.shape[1])
    # Beside a limit, where a neighbour has no likelihood, differences are infinite or no numbers.
    with np.errstate(invalid="ignore"):
        up, down = (
            np.stack([likelihood(at + sign * shift) for shift in shifts], axis=1)
            for sign in (1, -1)
        )
        gradient = (up - down) / (2 * _STEP)
        second = (up - 2 * value[:, None] + down) / _STEP**2
        information = -second[:, :, None] * np.eye(at.shape[1])
        if at.shape[1] == 2:
            both = likelihood(at + shifts.sum(0)) + likelihood(at - shifts.sum(0))
            mixed = (both - (up + down).sum(1) + 2 * value) / (2 * _STEP**2)
            information = information - mixed[:, None, None] * (1 - np.eye(2))
    slope = np.where(np.isfinite(gradient), gradient, 0.0)
    return slope, np.where(np.isfinite(information), information, 0.0)


def _uphill(gradient: Array, information: Array, moving: NDArray[np.bool_]) -> Array:
    """Newton's step where the information is positive, along the gradient elsewhere."""
    masked = np.where(moving[:, None] & moving[None, :], information, 0.0)
    masked = masked + np.diag(np.where(moving, 0.0, 1.0))
    lowest = np.linalg.eigvalsh(masked)[:, 0]
    scale = np.maximum(np.abs(np.diagonal(masked, axis1=1, axis2=2)).max(1), 1e-9)
    lifted = masked + (np.maximum(1e-3 * scale - lowest, 0) * (lowest < 1e-6 * scale))[
        :, None, None
    ] * np.eye(len(moving))
    step = np.linalg.solve(lifted, gradient[..., None])[..., 0]
    # A likelihood far from its maximum is no parabola: at most a factor of e at a time.
    return np.asarray(np.clip(step, -1.0, 1.0))


def _advanced(likelihood: Likelihood, at: Array, value: Array, step: Array) -> tuple[Array, Array]:
    share = np.ones(len(at))
    for _ in range(_HALVINGS):
        trial = likelihood(at + share[:, None] * step)
        worse = ~(trial >= value)
        if not np.any(worse):
            break
        share = np.where(worse, share / 2, share)
    better = trial >= value
    moved = np.where(better, share, 0.0)[:, None] * step
    return at + moved, np.where(better, trial, value)


def _inverse(matrices: Array) -> Array:
    singular = np.abs(np.linalg.det(matrices)) == 0
    safe = np.where(singular[:, None, None], np.eye(matrices.shape[1]), matrices)
    return np.where(singular[:, None, None], -1.0, np.linalg.inv(safe))


def profile_intervals(
    likelihood: Likelihood, top: Maximum, parameter: int, level: float = 0.95
) -> Array:
    """Where the likelihood, maximal over the other parameter, has not fallen too far.

    Args:
        likelihood: as of `maximum`.
        top: its maximum.
        parameter: which one, 0 or 1.
        level: coverage, by the χ² law of twice the fall.

    Returns:
        Lower and upper ends, (directions, 2); infinite where the likelihood does not fall enough.

    >>> parabola = lambda u: -0.5 * (u[:, 0] - 3) ** 2
    >>> profile_intervals(parabola, maximum(parabola, np.zeros((1, 1))), 0).round(2)
    array([[1.04, 4.96]])
    """
    fall = stats.chi2.ppf(level, 1) / 2
    scale = np.minimum(top.standard_errors[:, parameter], 1.0)
    ends = [_end(likelihood, top, parameter, sign * scale, fall) for sign in (-1, 1)]
    return np.stack(ends, axis=1)


def _end(likelihood: Likelihood, top: Maximum, parameter: int, step: Array, fall: float) -> Array:
    others = np.ones(top.at.shape[1], dtype=bool)
    others[parameter] = False
    at = top.at.copy()

    def fallen(distance: Array) -> NDArray[np.bool_]:
        nonlocal at
        at = at.copy()
        at[:, parameter] = top.at[:, parameter] + distance
        values = likelihood(at)
        if others.any():
            found = maximum(likelihood, np.where(np.isfinite(values)[:, None], at, top.at), others)
            here = np.isclose(found.at[:, parameter], at[:, parameter], rtol=0, atol=1e-12)
            values = np.where(np.isfinite(values) & here, found.value, values)
            at = np.where(here[:, None], found.at, at)
        return np.asarray(~(values > top.value - fall))

    outer = step.copy()
    for _ in range(_DOUBLINGS):
        short = ~fallen(outer)
        if not np.any(short):
            break
        outer = np.where(short, 2 * outer, outer)
    endless = ~fallen(outer)
    inner = np.zeros_like(outer)
    for _ in range(_BISECTIONS):
        middle = (inner + outer) / 2
        beyond = fallen(middle)
        inner, outer = np.where(beyond, inner, middle), np.where(beyond, middle, outer)
    ends = top.at[:, parameter] + outer
    return np.asarray(np.where(endless, np.sign(step) * np.inf, ends))
