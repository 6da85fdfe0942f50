r"""Second moments close: one update is a linear map of them, whatever the noise depends on.

A batch drawn afresh errs with mean 0, so the covariance X_ij = Cov(x_i, x_j) between the
directions i and j takes in only the covariance Σ_ij of one example's gradient,

.. math:: X_{ij}' = M_i X_{ij} M_j^T + n n^T \Sigma_{ij}/S,

averaged over where the run is. Here are that map at given numbers, and what a Σ sustains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sympy import Eq, ImmutableMatrix, Symbol, nsimplify

from sgdtheory import symbols as s
from sgdtheory.correlated_directions import DirectionPair
from sgdtheory.derivation import Derivation
from sgdtheory.discrete_time import recursion
from sgdtheory.hyperparameters import Hyperparameters, require_hyperparameters
from sgdtheory.linear_recursion import LinearRecursion
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.stability import jury_conditions
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["HEAVY_BALL", "SecondMomentMap", "Setting", "closed", "linear_law"]

Array: TypeAlias = NDArray[np.float64]

# The default rule, one object: what is derived from it is kept.
HEAVY_BALL = heavy_ball()


def closed(steps: Derivation) -> Derivation:
    """Append the closed recursion to the steps from one example's gradient to its covariance."""
    state, left, right = (s.matrix(name, 2) for name in ("X_{ij}", "M_{i}", "M_{j}"))
    kick, noise = s.matrix("n", 2, 1), s.Sigma_ij
    return steps.then(
        "Second moments close",
        "A fresh batch errs independently of the state: an error has mean 0 whatever came before, "
        "so errors of different updates are uncorrelated, and only their covariance enters.",
        Eq(
            s.matrix("X_{ij}^{next}", 2),
            left * state * right.T + kick * kick.T * noise / s.S,
            evaluate=False,
        ),
        assumption="batches are drawn afresh, with replacement",
    )


# -- in symbols, once a rule ------------------------------------------------------------------


@lru_cache(maxsize=256)
def linear_law(rule: UpdateRule) -> LinearRecursion:
    """One direction of curvature ``symbols.h`` under noise of variance ``symbols.Sigma``.

    A rule's decimals become fractions, so that what cancels leaves nothing behind.
    """
    exact = {
        name: nsimplify(getattr(rule, name), rational=True)
        for name in ("velocity", "position", "gradient_at")
    }
    return recursion(UpdateRule(**exact, name=rule.name), noise=s.Sigma, curvature=s.h)


def _own_symbols(rule: UpdateRule) -> list[Symbol]:
    return sorted(rule.parameters - {s.eta, s.beta}, key=str)


def _settings(rule: UpdateRule) -> tuple[Symbol, ...]:
    return (s.eta, s.beta, s.S, *_own_symbols(rule))


@lru_cache(maxsize=256)
def _generator(rule: UpdateRule) -> LoweredFunction:
    return lower(linear_law(rule).generator, (s.h, *_settings(rule)))


@lru_cache(maxsize=256)
def _kick_and_look(rule: UpdateRule) -> tuple[LoweredFunction, LoweredFunction]:
    """n, and the row w with the gradient taken at w · (θ, v)."""
    look = ImmutableMatrix([rule.gradient_at]).jacobian([s.theta, s.v])
    return lower(linear_law(rule).kick, _settings(rule)), lower(look, _settings(rule))


@lru_cache(maxsize=256)
def _alone(rule: UpdateRule) -> LoweredFunction:
    """Stationary covariance of one direction at Σ = 1."""
    sustained = linear_law(rule).stationary_covariance().subs(s.Sigma, 1)
    return lower(sustained, (s.h, *_settings(rule)))


@lru_cache(maxsize=256)
def _paired(rule: UpdateRule) -> LoweredFunction:
    """Stationary covariance between two directions at Σ_ij = 1."""
    sustained = DirectionPair(linear_law(rule)).stationary_covariance().subs(s.Sigma_ij, 1)
    return lower(sustained, (s.h_i, s.h_j, *_settings(rule)))


# -- at numbers -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Setting:
    """What a run is set to.

    Args:
        hyperparameters: η, β, S, λ.
        rule: the optimiser.
        parameters: values of the rule's further symbols.

    Raises:
        TypeError: when `rule` is no rule.
        ValueError: for parameters that are not the rule's, or a momentum that it does not have.

    >>> from sgdtheory.symbols import tau
    >>> from sgdtheory import dampened
    >>> Setting(Hyperparameters(0.1, 0.5, 8), dampened(), {tau: 0.2}).values
    {eta: 0.1, beta: 0.5, S: 8.0, tau: 0.2}
    """

    hyperparameters: Hyperparameters
    rule: UpdateRule = HEAVY_BALL
    parameters: Mapping[Symbol, float] | None = None

    def __post_init__(self) -> None:
        require_rule(self.rule)
        require_hyperparameters(self.hyperparameters)
        self.hyperparameters.require_for(self.rule, self._own)
        self.hyperparameters.sweep_with(self._own).require_one_setting("a linear regression")

    @property
    def _own(self) -> dict[Symbol, float]:
        return dict(self.parameters or {})

    @property
    def values(self) -> dict[Symbol, float]:
        """η, β, S and the rule's own, by symbol; in the order of lowered functions."""
        hyper, own = self.hyperparameters, self._own
        numbers = (hyper.learning_rate, hyper.momentum, hyper.batch_size)
        values = dict(zip((s.eta, s.beta, s.S), map(float, numbers), strict=True))
        return values | {symbol: own[symbol] for symbol in _own_symbols(self.rule)}

    @property
    def weight_decay(self) -> float:
        """λ."""
        return float(self.hyperparameters.weight_decay)

    def at(self, learning_rate: float) -> Setting:
        """The same with another learning rate."""
        hyper = replace(self.hyperparameters, learning_rate=learning_rate)
        return replace(self, hyperparameters=hyper)


@dataclass(frozen=True, eq=False)
class SecondMomentMap:
    """x' = (1 − G) x + n ε along every direction, ε a batch's error where the gradient is taken.

    Args:
        setting: the run.
        eigenvalues: ρ of the Hessian, (d,), exactly 0 where inputs have no component: there is
            no noise, and nothing need decay.

    >>> update = SecondMomentMap(Setting(Hyperparameters(0.1, 0.5)), np.array([1.0, 0.0]))
    >>> update.generators[0]
    array([[ 0.1 , -0.05],
           [ 1.  ,  0.5 ]])
    >>> update.variances.round(4)
    array([0.1034, 0.    ])
    """

    setting: Setting
    eigenvalues: Array

    @property
    def _settings(self) -> tuple[float, ...]:
        return tuple(self.setting.values.values())

    @property
    def curvature(self) -> Array:
        """h = ρ + λ, (d,)."""
        return self.eigenvalues + self.setting.weight_decay

    @property
    def moving(self) -> NDArray[np.intp]:
        """Where noise is, indices."""
        return np.flatnonzero(self.eigenvalues > 0)

    @cached_property
    def generators(self) -> Array:
        """G, (d, 2, 2)."""
        return np.asarray(_generator(self.setting.rule)(self.curvature, *self._settings))

    @cached_property
    def _kick_and_look(self) -> tuple[Array, Array]:
        kick, look = (f(*self._settings) for f in _kick_and_look(self.setting.rule))
        return np.ravel(kick), np.ravel(look)

    @property
    def look(self) -> Array:
        """w, (2,): (1, e) for a gradient taken at θ + e v."""
        return self._kick_and_look[1]

    @cached_property
    def injected(self) -> Array:
        """n nᵀ/S, the covariance that one update adds for a unit of one example's variance."""
        kick = self._kick_and_look[0]
        return np.outer(kick, kick) / float(self.setting.hyperparameters.batch_size)

    def seen(self, covariance: Array) -> Array:
        """Covariance of the points where gradients are taken: wᵀ X w."""
        return np.asarray(covariance @ self.look @ self.look)

    @property
    def decays(self) -> bool:
        """Whether means decay along the directions that noise reaches."""
        (a, b), (c, d) = np.moveaxis(self.generators[self.moving], 0, -1)
        return all(bool(np.all(x > 0)) for x in jury_conditions(a + d, a * d - b * c))

    @cached_property
    def variances(self) -> Array:
        """Variance of the points where gradients are taken that Σ = 1 sustains, (d,)."""
        sustained = np.zeros_like(self.eigenvalues)
        h = self.curvature[self.moving]
        sustained[self.moving] = self.seen(_alone(self.setting.rule)(h, *self._settings))
        return sustained

    @cached_property
    def covariances(self) -> Array:
        """Covariance of these points that Σ_ij = 1 sustains between two directions, (d, d)."""
        sustained = np.zeros((len(self.eigenvalues), len(self.eigenvalues)))
        h = self.curvature[self.moving]
        blocks = _paired(self.setting.rule)(h[:, None], h[None, :], *self._settings)
        sustained[np.ix_(self.moving, self.moving)] = self.seen(blocks)
        return sustained
