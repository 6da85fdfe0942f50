r"""One direction's phase space in its stationary state: spread, turning, and how a mean relaxes.

.. math:: \frac{J}{p} = W x, \qquad W = \lim_{\tau\to 0} \frac{C(\tau) - C(-\tau)}{2\tau}\,B^{-1}

W is the mean of (x(t + τ) − x(t − τ))/2τ at a place x. In continuous time it is −QU, of the
Fokker-Planck equation; of updates, τ is one of them, which lasts η.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import ImmutableMatrix, latex

from sgdtheory import symbols as s
from sgdtheory.arrays import detached, shortened
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.ornstein_uhlenbeck_process import OrnsteinUhlenbeck
from sgdtheory.plotting.compared_models import direction_numbers
from sgdtheory.predictor import Predictor
from sgdtheory.probability_flow import fokker_planck
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule

__all__ = ["Plane", "plane_of"]

Array = NDArray[np.float64]

# Updates or times at which a relaxing mean is drawn, and how many of its slowest times.
_PLACES, _TIMES = 600, 6.0


@dataclass(frozen=True)
class Plane:
    """What a portrait draws.

    Args:
        covariance: B of the stationary state, (2, 2).
        turning: W, (2, 2); W B is antisymmetric, so that probability follows the level lines.
        relaxing: from a start, (2,), to the mean's path, (places, 2).
        names: of the two coordinates, for the axes.
        steps: whether the path is one of updates.
    """

    covariance: Array
    turning: Array
    relaxing: Callable[[Array], Array]
    names: tuple[str, str]
    steps: bool

    @property
    def root(self) -> Array:
        """The triangular R with R Rᵀ = B: it takes the unit circle to one standard deviation."""
        return np.asarray(np.linalg.cholesky(self.covariance))


def plane_of(process: Any, direction: Any) -> Plane:
    """The plane of one direction.

    Args:
        process: a Predictor, or an OrnsteinUhlenbeck of two coordinates and without symbols.
        direction: number of the predictor's eigenvalue.

    Raises:
        ValueError: naming what does not fit; for a direction without noise.
        UnstableError: for a direction without stationary state.
    """
    if isinstance(process, Predictor):
        return _of_predictor(process, direction)
    if isinstance(process, OrnsteinUhlenbeck):
        return _of_process(process)
    raise ValueError(
        f"process = {shortened(process)}: give a Predictor of a spectrum (of a landscape, its "
        ".modes), or an OrnsteinUhlenbeck of two coordinates."
    )


def _with_area(covariance: Array) -> Array:
    if not np.linalg.det(covariance) > 0:
        raise ValueError(
            f"covariance = {covariance.tolist()}: it leaves no area in phase space. Give the "
            "direction noise."
        )
    return covariance


def _of_predictor(model: Predictor, direction: Any) -> Plane:
    model.sweep.require_one_setting("a phase portrait")
    (number,) = direction_numbers("direction", direction, len(model.spectrum))
    rho, variance = (
        float(detached(values)[number])
        for values in (model.spectrum.eigenvalues, model.spectrum.variances)
    )
    # Alone, so that no other direction's instability matters.
    one = replace(model, spectrum=Spectrum([rho], noise_variances=[variance]))
    covariance = _with_area(detached(one.stationary_covariance())[0].astype(np.float64))
    turned = _updates_turning if model.theory == "discrete" else _currents_turning
    names = (
        rf"offset from the minimum $\theta - \mu$ along direction {number} (unit of $\theta$)",
        r"velocity $v$ (unit of $\theta$ per time)",
    )

    def relaxing(start: Array) -> Array:
        last = np.ceil(_TIMES * float(detached(one.relaxation_steps)[0]))
        steps = np.unique(np.linspace(0, last, int(min(last + 1, _PLACES))).round())
        return detached(one.mean(steps, start[0], start[1]))[:, 0]

    return Plane(covariance, turned(one, covariance), relaxing, names, model.theory == "discrete")


def _updates_turning(one: Predictor, covariance: Array) -> Array:
    shared = detached(one.autocovariance(1))[0]
    duration = float(detached(one.hyperparameters.learning_rate))
    turned = (shared - shared.T) / (2 * duration)
    return np.asarray(turned @ np.linalg.inv(covariance))


def _currents_turning(one: Predictor, covariance: Array) -> Array:
    hyper = one.hyperparameters
    own = [one.parameters[symbol] for symbol in sorted(one.parameters, key=str)]
    settings = (hyper.learning_rate, hyper.momentum, hyper.batch_size, *own)
    curvature, variance = (detached(x)[0] for x in (one.curvature, one.spectrum.variances))
    numbers = (float(detached(x)) for x in (curvature, variance, *settings))
    return np.asarray(_mean_velocity(one.rule)(*numbers))


@lru_cache(maxsize=64)
def _mean_velocity(rule: UpdateRule) -> LoweredFunction:
    process = ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    arguments = (s.h, s.Sigma, s.eta, s.beta, s.S, *own)
    return lower(_turning(process), arguments)


def _turning(process: OrnsteinUhlenbeck) -> ImmutableMatrix:
    """−QU: the mean velocity is linear in the place."""
    return ImmutableMatrix(fokker_planck(process).mean_velocity.jacobian(process.coordinates))


def _of_process(process: OrnsteinUhlenbeck) -> Plane:
    letters = process.drift.free_symbols | process.diffusion.free_symbols
    if process.dimension != 2 or letters:
        names = ", ".join(sorted(map(str, letters))) or "no symbols"
        raise ValueError(
            f"process has {process.dimension} coordinates and {names}: a plane needs 2, and "
            "numbers. Insert them, as process.at({symbols.eta: 0.1, …})."
        )
    covariance, turning = (
        np.array(matrix, dtype=np.float64)
        for matrix in (process.stationary_covariance(), _turning(process))
    )
    slowest = np.linalg.eigvals(np.array(process.drift, dtype=np.float64)).real.min()
    propagator = lower(process.propagator(s.t), (s.t,))

    def relaxing(start: Array) -> Array:
        return np.asarray(propagator(np.linspace(0, _TIMES / slowest, _PLACES)) @ start)

    right, up = (f"${latex(letter)}$" for letter in process.coordinates)
    return Plane(covariance, turning, relaxing, (right, up), False)
