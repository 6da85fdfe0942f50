r"""Why a stationary start's late exponent never exceeds 1: how successive increments correlate.

From a stationary start increments are stationary, so with D(k) = E|Δ_k|²

.. math:: D(2k) = 2 D(k) + 2 E[\Delta_{0,k}\cdot\Delta_{k,2k}]

and the exponent from k to 2k exceeds 1 if and only if two successive increments of k updates are
positively correlated. All of them are sums over the Hessian's eigen-directions with weights ≥ 0,
whatever Σ is, so the ratio D(2k)/D(k) is at most the largest of one direction's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Eq, Interval, Matrix, Symbol, eye, factor

from sgdtheory import symbols as s
from sgdtheory.arrays import real
from sgdtheory.derivation import Derivation
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.number_checks import check_number
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["doubling_identity", "exponent_bound"]

Array = NDArray[np.float64]

# Curvatures at which the largest ratio is looked for: below the first of them all are flat.
_FLATTEST, _FLAT, _STEEP = 1e-200, 500, 1500


def doubling_identity() -> Derivation:
    r"""What D(2k) gains on 2D(k), for any two-dimensional law.

    With F the propagator of k updates and B the stationary covariance it is −2 [(1 − F)² B]_θθ, and
    a 2×2 matrix satisfies X² = X tr X − det X.

    >>> gained, reduced = doubling_identity()[-1].formulas[0].args
    >>> (gained - reduced).expand()
    0
    """
    F, B = (s.matrix(name, 2) for name in ("F", "B"))
    spread = Matrix(2, 2, lambda i, j: B[min(i, j), max(i, j)])
    left = eye(2) - Matrix(F)
    once, twice = (2 * ((eye(2) - Matrix(F) ** n) * spread)[0, 0] for n in (1, 2))
    gained = factor(twice - 2 * once)
    return (
        Derivation()
        .then(
            "Displacement",
            "From a stationary start, with F the propagator of k updates and B the covariance.",
            once,
        )
        .then(
            "Successive increments",
            "D(2k) less 2 D(k) is twice their covariance.",
            gained,
            assumption="stationary start; noise of different updates is independent",
        )
        .then(
            "Cayley-Hamilton",
            "The square of 1 − F is linear in it, so D(2k) is linear in D(k).",
            Eq(gained, 2 * left.det() * spread[0, 0] - left.trace() * once, evaluate=False),
        )
    )


def _process(rule: UpdateRule, theory: str) -> GaussianProcess:
    if theory == "discrete":
        return recursion(rule, noise=s.Sigma, curvature=s.h)
    return ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)


@lru_cache(maxsize=64)
def _displacement(rule: UpdateRule, theory: str) -> LoweredFunction:
    """Of k updates, per unit of Σ/S and with η = 1."""
    time = s.k if theory == "discrete" else s.t
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    expression = _process(rule, theory).displacement(time)
    return lower(expression.subs({s.eta: 1, s.Sigma: 1, s.S: 1}), (time, s.h, s.beta, *own))


def exponent_bound(
    steps: Any,
    momentum: float = 0.0,
    *,
    rule: UpdateRule | None = None,
    parameters: Mapping[Symbol, float] | None = None,
    theory: str = "discrete",
) -> Array:
    r"""No stationary quadratic run's exponent from k to 2k exceeds this, whatever H, Σ and η are.

    .. math:: \log_2 \frac{D(2k)}{D(k)} \le \log_2 \max_{0 < \eta h < y_{max}}
        \frac{D_h(2k)}{D_h(k)}

    The maximum is looked for on a grid of curvatures up to the limit of stability; beyond the first
    few updates it lies at h → 0.

    Args:
        steps: update counts k ≥ 1.
        momentum: β.
        rule: the optimiser, heavy ball by default.
        parameters: values of its further symbols.
        theory: "discrete" or "continuous".

    Raises:
        ValueError: for a momentum or steps out of range, or a rule whose stable ηh are no interval.

    >>> exponent_bound([1, 100, 10_000], momentum=0.9).round(4)
    array([1.926 , 1.0736, 1.0007])
    >>> exponent_bound([1, 100])  # without momentum no two increments correlate positively
    array([1., 1.])
    """
    rule = rule or heavy_ball()
    check_number("momentum", momentum, at_least=0.0, below=1.0)
    if theory not in ("discrete", "continuous"):
        raise ValueError(f"theory = {theory!r}: give 'discrete' or 'continuous'.")
    further = rule.parameters - {s.eta, s.beta}
    if further != set(parameters or {}):
        raise ValueError(
            f"parameters = {dict(parameters or {})}: the {rule.name} rule has the further symbols "
            f"{sorted(further, key=str)}; give exactly these, by symbol."
        )
    counts = real(steps)
    if np.any(counts < 1) or np.any(counts != np.floor(counts)) or not counts.size:
        raise ValueError(f"steps = {steps}: give update counts ≥ 1.")
    own = [float(value) for _, value in sorted((parameters or {}).items(), key=str)]
    stable = recursion(rule).stability
    if not isinstance(stable, Interval):
        raise ValueError(  # noqa: TRY004
            f"rule = {rule.name}: its stable ηh are {stable}, no interval, so there is no range to "
            "look through."
        )
    values = {s.beta: momentum, **(parameters or {})}
    y = _curvatures(float(stable.end.subs(values)))
    D = _displacement(rule, theory)
    once, twice = (D(n * counts[..., None], y, momentum, *own) for n in (1, 2))
    return np.asarray(np.log2(np.maximum((twice / once).max(-1), 2.0)))


def _curvatures(limit_of_stability: float) -> Array:
    top = limit_of_stability * (1 - 1e-9)
    flat = np.geomspace(1e-16, top, _FLAT)
    return np.unique(np.concatenate([[_FLATTEST], flat, np.linspace(0, top, _STEEP + 1)[1:]]))
