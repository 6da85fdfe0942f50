"""The update rule applied by hand: with numbers, from its two expressions; of theories, nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray
from sympy import Matrix, lambdify

from sgdtheory import symbols as s
from sgdtheory.lowering import lower
from sgdtheory.testing.run import Run
from sgdtheory.update_rule import UpdateRule

__all__ = ["StationaryState", "followed", "one_update", "stationary_state"]

Array = NDArray[np.float64]
Update = Callable[[Array, Array, Run, Array], tuple[Array, Array]]
# Of a direction so flat that its variance is 10¹⁶ kicks, thirty are left.
_DIGITS = 50


def one_update(rule: UpdateRule) -> Update:
    """A function of positions, velocities (…, modes), a run and the noise of the gradient."""
    if rule.parameters - {s.eta, s.beta}:
        raise ValueError(
            f"rule = {rule.name}: it has parameters besides η and β, {rule.parameters}. Put "
            "numbers in their place."
        )
    letters = (s.theta, s.v, s.eta, s.beta)
    ahead = lower(rule.gradient_at, letters)
    velocity = lower(rule.velocity, (*letters, s.g))
    position = lower(rule.position, (*letters, s.g, s.v_next))

    def update(x: Array, v: Array, run: Run, noise: Array) -> tuple[Array, Array]:
        settings = run.learning_rate, run.momentum
        g = run.curvature * np.asarray(ahead(x, v, *settings)) + noise
        faster = np.asarray(velocity(x, v, *settings, g))
        return np.asarray(position(x, v, *settings, g, faster)), faster

    return update


def followed(update: Update, run: Run, k: int) -> tuple[Array, Array]:
    """Mean and covariance after k updates, (modes, 2) and (modes, 2, 2).

    Noise enters linearly: a push of one standard deviation in any one update, carried to the end,
    is a column of the covariance's root.
    """
    modes = len(run.eigenvalues)
    still = np.zeros(modes)
    push = np.sqrt(np.array(run.noise) / run.batch_size)
    x, v = run.start
    pushed = np.zeros((2, k, modes))
    fresh = np.stack(update(still, still, run, push))
    for step in range(k):
        x, v = update(x, v, run, still)
        pushed[:, :step] = update(pushed[0, :step], pushed[1, :step], run, still)
        pushed[:, step] = fresh
    return np.stack([x, v], axis=-1), np.einsum("ikm,jkm->mij", pushed, pushed)


@dataclass(frozen=True)
class StationaryState:
    """What one more update leaves as it is, to fifty digits.

    Args:
        maps: what an update makes of (position, velocity), one mpmath matrix a direction.
        covariances: likewise.
    """

    maps: tuple[Any, ...]
    covariances: tuple[Any, ...]

    @property
    def covariance(self) -> Array:
        """(modes, 2, 2)."""
        return _doubles(self.covariances)

    def autocovariance(self, k: int) -> Array:
        """After k updates, (modes, 2, 2)."""
        return _doubles(self._kept(k))

    def displacement(self, k: int) -> float:
        """Mean square, over all directions: what of the variance is not kept, twice."""
        with mpmath.workdps(_DIGITS):
            pairs = zip(self.covariances, self._kept(k), strict=True)
            return float(sum(2 * (held[0, 0] - kept[0, 0]) for held, kept in pairs))

    def _kept(self, k: int) -> tuple[Any, ...]:
        with mpmath.workdps(_DIGITS):
            pairs = zip(self.maps, self.covariances, strict=True)
            return tuple(map_**k * held for map_, held in pairs)


def stationary_state(rule: UpdateRule) -> Callable[[Run], StationaryState]:
    """A function of a run: twice an update's spread and once its kick, solved for the spread."""
    gradient = s.h * rule.gradient_at + s.g
    faster = rule.velocity.xreplace({s.g: gradient})
    update = Matrix([rule.position.xreplace({s.g: gradient, s.v_next: faster}), faster])
    letters = (s.eta, s.beta, s.h)
    of_state = lambdify(letters, update.jacobian([s.theta, s.v]), "mpmath")
    of_noise = lambdify(letters, update.diff(s.g), "mpmath")

    def found(run: Run) -> StationaryState:
        with mpmath.workdps(_DIGITS):
            maps, covariances = [], []
            for rho, noise in zip(run.eigenvalues, run.noise, strict=True):
                given = map(mpmath.mpf, (run.learning_rate, run.momentum))
                own = (*given, mpmath.mpf(rho) + mpmath.mpf(run.weight_decay))
                maps.append(of_state(*own))
                kick = of_noise(*own) * mpmath.sqrt(mpmath.mpf(noise) / run.batch_size)
                covariances.append(_unchanged(maps[-1], kick * kick.T))
            return StationaryState(tuple(maps), tuple(covariances))

    return found


def _unchanged(map_: Any, added: Any) -> Any:
    """B with B = M B Mᵀ + added, entry by entry: four linear equations."""
    places = [(i, j) for i in range(2) for j in range(2)]
    left = mpmath.matrix(
        [[(p == q) - map_[p[0], q[0]] * map_[p[1], q[1]] for q in places] for p in places]
    )
    solved = mpmath.lu_solve(left, mpmath.matrix([added[p] for p in places]))
    return mpmath.matrix([[solved[0], solved[1]], [solved[2], solved[3]]])


def _doubles(matrices: tuple[Any, ...]) -> Array:
    return np.array([[[float(one[i, j]) for j in range(2)] for i in range(2)] for one in matrices])
