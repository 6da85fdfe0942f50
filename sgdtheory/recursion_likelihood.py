r"""The likelihood of a recorded direction: the exact linear-Gaussian recursion, restricted.

The velocity's update v' = c v + d (h (θ − μ) + ε) shows every batch's error ε; the position's shows
nothing new. With a stationary start the first state has a likelihood too, which tells slow
directions much; a given one has none. The minimum μ is integrated out: for directions whose
relaxation is not short beside the record that removes most of the bias of autoregressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Interval, Matrix, Symbol

from sgdtheory import symbols as s
from sgdtheory.discrete_time import recursion
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.update_rule import UpdateRule

__all__ = ["Record", "RestrictedLikelihood"]

Array = NDArray[np.float64]


def _own(rule: UpdateRule) -> tuple[Symbol, ...]:
    return tuple(sorted(rule.parameters - {s.eta, s.beta}, key=str))


@lru_cache(maxsize=64)
def _coefficients(rule: UpdateRule) -> LoweredFunction:
    """The map's entries, row by row, and the kick's."""
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    row = [*process.map.row(0), *process.map.row(1), *process.kick]
    return lower(Matrix([row]), (s.eta, s.beta, s.h, *_own(rule)))


@lru_cache(maxsize=64)
def _stationary(rule: UpdateRule) -> LoweredFunction:
    """Covariance at unit noise, with the limit of stability beside it."""
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    B = process.stationary_covariance().subs({s.Sigma: 1, s.S: 1})
    stable = process.stability
    end = stable.end if isinstance(stable, Interval) else s.y * 0
    return lower(Matrix([[B[0, 0], B[0, 1], B[1, 1], end]]), (s.eta, s.beta, s.h, *_own(rule)))


@dataclass(frozen=True)
class Record:
    """What a recorded run says of its directions: sums, from which every likelihood follows.

    Args:
        products: Σ Z Zᵀ over updates and replicas with Z = (v', v, θ, 1), (directions, 4, 4).
        first: first states (θ, v), (replicas, directions, 2).
        updates: how many in all.
        origin: subtracted from the positions, (directions,).
    """

    products: Array
    first: Array
    updates: int
    origin: Array

    @classmethod
    def of(cls, positions: Array, velocities: Array) -> Record:
        """Sums of a record.

        Args:
            positions: (replicas, steps, directions).
            velocities: likewise, each that of its position's own update.
        """
        origin = positions.mean((0, 1))
        theta, v = positions - origin, velocities
        size = positions.shape[-1]
        products = np.zeros((size, 4, 4))
        Z = (v[:, 1:], v[:, :-1], theta[:, :-1], np.ones((1, 1, 1)))
        for i, j in combinations_with_replacement(range(4), 2):
            shapes = np.broadcast_shapes(Z[0].shape, Z[i].shape)
            products[:, i, j] = np.einsum("rtd,rtd->d", np.broadcast_to(Z[i], shapes), Z[j])
            products[:, j, i] = products[:, i, j]
        updates = theta.shape[0] * (theta.shape[1] - 1)
        return cls(products, np.stack([theta[:, 0], v[:, 0]], axis=-1), updates, origin)

    @property
    def replicas(self) -> int:
        """How many runs."""
        return len(self.first)


@dataclass(frozen=True)
class RestrictedLikelihood:
    """Log-likelihoods of (log h, log(1 − β)), or of log h alone, with Σ and μ eliminated.

    Args:
        record: the sums.
        rule: the optimiser.
        learning_rate: η.
        momentum: β where it is not a parameter.
        own: values of the rule's further symbols, in their order.
        stationary: whether the first states are drawn from the stationary law; given otherwise.
    """

    record: Record
    rule: UpdateRule
    learning_rate: float
    momentum: float
    own: tuple[float, ...] = ()
    stationary: bool = True

    def __call__(self, parameters: Array) -> Array:
        """(directions,) at (directions, 1 or 2) parameters; −∞ beyond the limit of stability."""
        # Far from the maximum numbers overflow: there is no likelihood there.
        with np.errstate(all="ignore"):
            parts = self._parts(*self.settings(parameters))
            value = -0.5 * (
                self.freedom * np.log(parts.sum_of_squares)
                + self.record.replicas * np.log(parts.determinant)
                + np.log(parts.measure)
            ) - self.record.updates * np.log(np.abs(parts.kick))
        return np.asarray(np.where(parts.stable & np.isfinite(value), value, -np.inf))

    def settings(self, parameters: Array) -> tuple[Array, Array]:
        """h and β of parameters."""
        h = np.exp(parameters[:, 0])
        if parameters.shape[1] == 1:
            return h, np.full_like(h, self.momentum)
        return h, -np.expm1(parameters[:, 1])

    def law(self, h: Array, beta: Array | float | None = None) -> Array:
        """The map's and the kick's entries (θθ, θv, vθ, vv, θ, v), (directions, 6)."""
        momentum = self.momentum if beta is None else beta
        return np.asarray(
            _coefficients(self.rule)(self.learning_rate, momentum, h, *self.own)[..., 0, :]
        )

    @property
    def limit(self) -> float:
        """The largest stable ηh at the set momentum."""
        row = _stationary(self.rule)(self.learning_rate, self.momentum, 1.0, *self.own)
        return float(row[0, 3])

    @property
    def freedom(self) -> int:
        """Numbers that have a law, less one for μ."""
        return 2 * self.record.replicas * self.stationary + self.record.updates - 1

    def eliminated(self, parameters: Array) -> tuple[Array, Array, Array]:
        """Σ/S, μ and the standard error of μ at the parameters, (directions,) each."""
        parts = self._parts(*self.settings(parameters))
        variance = parts.sum_of_squares / (self.freedom - parameters.shape[1])
        minimum = self.record.origin + parts.pull / parts.weight
        return variance, minimum, np.sqrt(variance / parts.weight)

    def _parts(self, h: Array, beta: Array) -> _Parts:
        rate, record = self.learning_rate, self.record
        law = self.law(h, beta)
        stationary = _stationary(self.rule)(rate, beta, h, *self.own)[..., 0, :]
        # v' = M_vθ (θ − μ) + M_vv v + n_v ε, in units of ε.
        pull, carried, kick = law[:, 2] / law[:, 5], law[:, 3] / law[:, 5], law[:, 5]
        weights = np.stack([1 / kick, -carried, -pull, 0 * kick], axis=-1)
        image = (record.products @ weights[..., None])[..., 0]
        squares = (weights * image).sum(-1)
        B = np.stack([stationary[:, [0, 1]], stationary[:, [1, 2]]], axis=-2)
        determinant = B[:, 0, 0] * B[:, 1, 1] - B[:, 0, 1] ** 2
        adjugate = np.stack([B[:, 1, 1], -B[:, 0, 1], -B[:, 0, 1], B[:, 0, 0]], -1)
        inverse = (adjugate / determinant[:, None]).reshape(-1, 2, 2)
        if not self.stationary:
            inverse, determinant = np.zeros_like(inverse), np.ones_like(determinant)
        squares = squares + np.einsum("rdi,dij,rdj->d", record.first, inverse, record.first)
        mean = -pull * image[:, 3] + np.einsum("di,rdi->d", inverse[:, 0], record.first)
        weight = pull**2 * record.updates + record.replicas * inverse[:, 0, 0]
        squares = squares - mean**2 / weight
        # With no stationary law flat directions have no minimum: the force at 0 is eliminated then.
        measure = weight if self.stationary else weight / pull**2
        limit = stationary[:, 3]
        stable = (h * rate < limit) & (determinant > 0) & (weight > 0)
        return _Parts(squares, mean, weight, measure, determinant, kick, stable)


@dataclass(frozen=True)
class _Parts:
    """A quadratic in μ, weight·μ² − 2 pull·μ + …, and what else the likelihood needs."""

    sum_of_squares: Array
    pull: Array
    weight: Array
    measure: Array
    determinant: Array
    kick: Array
    stable: Any
