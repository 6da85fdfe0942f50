r"""How strongly noise drives itself if it grows with the distance, as linear regression's does.

Noise sustains a spread, and the spread adds noise. Constant noise, which a `Predictor` takes for
granted, leaves the second half out; the gain of the loop says how much that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from sympy import Eq, ImmutableMatrix, Poly

from sgdtheory import symbols as s
from sgdtheory.advice.advised_run import AdvisedRun
from sgdtheory.gaussian_inputs import GaussianInputs
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.second_moments import SecondMomentMap, Setting

__all__ = ["SelfDrivenNoise", "self_driven_noise"]


@cache
def _added_noise() -> LoweredFunction:
    """What Σ along an eigenvector gains per unit of its own P, and of T = tr(HP): from ρ."""
    steps = GaussianInputs(np.ones(1), 0.0).derivation
    (variance,) = (
        formula.rhs
        for step in steps
        for formula in step.formulas
        if isinstance(formula, Eq) and formula.lhs == s.Sigma
    )
    polynomial = Poly(variance, s.spread, s.prediction_error)
    parts = [polynomial.coeff_monomial(x) for x in (s.spread, s.prediction_error)]
    return lower(ImmutableMatrix([parts]), (s.rho,))


@dataclass(frozen=True)
class SelfDrivenNoise:
    r"""The loop of noise and spread, for Gaussian inputs.

    .. math:: \Sigma_i = \Sigma_i^0 + a_i P_i + b_i \operatorname{tr}(HP),
        \qquad G = \sum_i n_i \frac{\rho_i R_i b_i}{1 - a_i R_i}

    with R the spread P that a unit of noise sustains where gradients are taken.

    Args:
        gain: G, the tr(HP) that a unit of tr(HP) adds; from 1 on second moments grow without bound.
            ∞ where means do, or one direction drives itself alone.
        amplification: stationary tr(HP) over what the constant part Σ⁰ sustains; ∞ from a gain of
            1 on.
    """

    gain: float
    amplification: float


def self_driven_noise(run: AdvisedRun) -> SelfDrivenNoise:
    """How strongly a run's noise would drive itself.

    Args:
        run: whose settings and noise Σ⁰; batches are taken as drawn with replacement.

    Source: the derivation of `GaussianInputs`.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> problem = GaussianInputs([1.0, 0.5], noise_scale=0.1)
    >>> limit = problem.stability_limit(Hyperparameters(0.1, batch_size=2))
    >>> run = AdvisedRun(Hyperparameters(limit, batch_size=2), Spectrum([1.0, 0.5]))
    >>> round(self_driven_noise(run).gain, 9)
    1.0
    """
    curved = run.directions.eigenvalues > 0
    if not np.all(run.settles[curved]):
        return SelfDrivenNoise(np.inf, np.inf)
    rho, counts = run.directions.eigenvalues[curved], run.counts[curved]
    setting = Setting(run.hyperparameters, run.rule, run.parameters)
    spread = SecondMomentMap(setting, rho).variances
    own, shared = np.moveaxis(np.asarray(_added_noise()(rho))[..., 0, :], -1, 0)
    if np.any(own * spread >= 1):
        return SelfDrivenNoise(np.inf, np.inf)
    error = counts * rho * spread
    alone = error / (1 - own * spread)
    gain = float(alone @ shared)
    if gain >= 1:
        return SelfDrivenNoise(gain, np.inf)
    noise = run.directions.variances[curved]
    constant = float(error @ noise)
    return SelfDrivenNoise(gain, float(alone @ noise) / constant / (1 - gain) if constant else 1.0)
