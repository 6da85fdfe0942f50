r"""What a power-law tail says of a displacement curve: its mean, its scatter, and their misfit.

A direction's moments do not depend on the tail, only how many there are of it does. So they are
tabulated once against log ρ, and a trial tail costs one quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_triangular

from sgdtheory import symbols as s
from sgdtheory.arrays import detached
from sgdtheory.discrete_time import recursion
from sgdtheory.fits.displacement_covariance import direction_moments, require_gaussian
from sgdtheory.fits.log_displacement import log_moments
from sgdtheory.fits.power_law_tail import PowerLawTail, tail_nodes
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.predictor import Predictor
from sgdtheory.spectrum import Spectrum

__all__ = ["TailCurve", "TailParameters", "visible_range"]

Array = NDArray[np.float64]
Start = float | Callable[[Array], Array] | None

# E-folds of eigenvalue between tabulated directions: a mode rings for (1+β)/(1−β) updates.
_SPACING = 0.03
# A direction whose relaxation takes this many windows only diffuses in one.
_FLAT = 1e3
# Beside the limit of stability a variance has a pole, which no table follows.
_STABLE = 0.9
# Scatter of each point's own, as a share of its variance: what is nearly the same at two steps is
# not asked to be so to the last digit of the theory.
_SLIGHT = 1e-6
# Of a parameter, for derivatives by central differences.
_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class TailParameters:
    """What is fitted, in the units in which it is nearly normal.

    Args:
        exponent: a.
        log_scale: log of the displacement by noise at the middle step.
        log_smallest: of the lower cut-off.
        log_largest: of the upper one.
        log_directions: of how many directions there are.
    """

    exponent: float
    log_scale: float
    log_smallest: float
    log_largest: float
    log_directions: float


@dataclass(frozen=True, eq=False)
class TailCurve:
    """Mean and scatter of a displacement curve under any power-law tail.

    Args:
        steps: (T,).
        drift: E Δ along a direction, squared, against log ρ: (T,).
        noise: Var Δ for noise_scale = 1, likewise: (T,).
        pairs: covariance of squares for noise_scale = 1, of each pair of steps, its parts that are
            quadratic and, where the start drifts, linear in noise_scale: (1 or 2, T (T + 1)/2).
        log_range: of log ρ in the tables.
    """

    steps: Array
    drift: CubicSpline
    noise: CubicSpline
    pairs: CubicSpline
    log_range: tuple[float, float]

    @classmethod
    def of(
        cls, model: Predictor, steps: Array, log_range: tuple[float, float], start: Start
    ) -> TailCurve:
        """Tabulate.

        Args:
            model: of any spectrum.
            steps: (T,).
            log_range: of log ρ.
            start: offset from the minimum, one number or a function of ρ; None if stationary.
        """
        require_gaussian(model)
        size = max(8, int(np.ceil((log_range[1] - log_range[0]) / _SPACING)))
        logs = np.linspace(*log_range, size)
        rho = np.exp(logs)
        position = start(rho) if callable(start) else start
        moments = direction_moments(replace(model, spectrum=Spectrum(rho)), steps, position)
        c, m = moments.covariance, moments.mean
        upper = np.triu_indices(len(steps))
        parts = [2 * c**2] + ([] if start is None else [4 * m[:, None] * m * c])
        return cls(
            steps,
            CubicSpline(logs, (m**2).T),
            CubicSpline(logs, np.einsum("kki->ik", c)),
            CubicSpline(logs, np.stack([part[upper].T for part in parts], axis=1)),
            log_range,
        )

    def _shares(self, p: TailParameters) -> tuple[Array, Array, float]:
        """Nodes, shares, and the noise of all directions together, n σ²."""
        nodes, shares = tail_nodes(p.exponent, p.log_smallest, p.log_largest)
        middle = shares @ self.noise(nodes)[:, len(self.steps) // 2]
        return nodes, shares, float(np.exp(p.log_scale) / middle)

    def moments(self, p: TailParameters) -> tuple[Array, Array]:
        """E D, (T,), and Cov(D_k, D_l), (T, T), of one run."""
        nodes, shares, strength = self._shares(p)
        directions = np.exp(p.log_directions)
        mean = directions * (shares @ self.drift(nodes)) + strength * (shares @ self.noise(nodes))
        parts = np.tensordot(shares, self.pairs(nodes), 1)
        upper = np.array([strength**2 / directions, strength])[: len(parts)] @ parts
        covariance = np.zeros((len(mean), len(mean)))
        covariance[np.triu_indices(len(mean))] = upper
        return mean, covariance + np.triu(covariance, 1).T

    def log_law(self, p: TailParameters, replicas: float) -> tuple[Array, Array]:
        """Mean of log D, (T,), and its covariance, (T, T), of the average of some runs."""
        mean, covariance = self.moments(p)
        excess, scatter = log_moments(mean, covariance / replicas)
        return np.log(mean) + excess, scatter + np.diag(_SLIGHT * np.diag(scatter))

    def misfit(
        self, p: TailParameters, logs: Array, replicas: float, share: float
    ) -> tuple[float, float]:
        """χ² of measured log D, and minus twice the logarithm of its Gaussian likelihood.

        Args:
            p: of the tail.
            logs: measured log D, (T,).
            replicas: runs that it is the average of.
            share: of the determinant's term. What is left of T after fitting, as in a restricted
                likelihood, where the size of the scatter is fitted too; else 1.
        """
        mean, covariance = self.log_law(p, replicas)
        root = np.linalg.cholesky(covariance)
        whitened = solve_triangular(root, logs - mean, lower=True)
        squares = float(whitened @ whitened)
        return squares, squares + 2 * share * float(np.log(np.diag(root)).sum())

    def information(
        self, p: TailParameters, names: Sequence[str], replicas: float, share: float
    ) -> Array:
        """Fisher's, of a Gaussian whose mean and covariance both depend on the parameters.

        Args:
            p: where.
            names: of the parameters that are not known.
            replicas: as of `misfit`; likewise the following.
            share: of the determinant's term.
        """
        _, covariance = self.log_law(p, replicas)
        inverse = np.linalg.inv(covariance)
        slopes = []
        for name in names:
            ahead, behind = (
                self.log_law(replace(p, **{name: getattr(p, name) + step}), replicas)
                for step in (_DIFFERENCE, -_DIFFERENCE)
            )
            slopes.append([(x - y) / (2 * _DIFFERENCE) for x, y in zip(ahead, behind, strict=True)])
        return np.array(
            [
                [
                    m @ inverse @ n + share * np.trace(inverse @ M @ inverse @ N) / 2
                    for n, N in slopes
                ]
                for m, M in slopes
            ]
        )

    def tail(self, p: TailParameters) -> PowerLawTail:
        """The tail that the parameters stand for."""
        *_, strength = self._shares(p)
        cuts = float(np.exp(p.log_smallest)), float(np.exp(p.log_largest))
        directions = float(np.exp(p.log_directions))
        return PowerLawTail(p.exponent, *cuts, directions, strength / directions)


def visible_range(
    hyperparameters: Hyperparameters, steps: Array, **settings: Any
) -> tuple[Predictor, tuple[float, float], tuple[float, float]]:
    """A predictor, the eigenvalues that a window can tell apart, and those that relax inside it.

    Args:
        hyperparameters: of the run.
        steps: of its curve, (T,).
        settings: theory and rule, as of `Predictor`.
    """
    probe = Predictor(hyperparameters, Spectrum([1.0]), **settings)
    require_gaussian(probe)
    rate, momentum = hyperparameters.learning_rate, hyperparameters.momentum
    limit = recursion(probe.rule).stability
    assert limit is not None
    here = {s.beta: momentum, **probe.parameters}
    largest = _STABLE * float(limit.subs(here).sup) / rate - hyperparameters.weight_decay
    rho = np.geomspace(1e-16 * largest, largest, 1000)
    model = replace(probe, spectrum=Spectrum(rho))
    relaxation = detached(model.relaxation_steps)
    told = rho[relaxation < _FLAT * steps[-1]]
    inside = rho[relaxation < steps[-1]]
    outside = rho[relaxation > steps[0]]
    if not len(inside) or not len(outside):
        raise ValueError(
            f"steps = {steps[0]:g} to {steps[-1]:g}: no stable direction relaxes inside this "
            "window, so it shows no tail. Give other steps, or check the hyperparameters."
        )
    return model, (float(told[0]), largest), (float(inside[0]), float(outside[-1]))
