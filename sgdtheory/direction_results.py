r"""Results of one direction as functions of arrays: the symbolic chapters, lowered once each."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import TypeVar, cast

from sympy import Add, Basic, Expr, ImmutableMatrix, Integer, Poly, Symbol, degree, expand, factor
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.epoch_recursion import EpochRecursion
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.lowering.totals import LoweredTotal, lower_total
from sgdtheory.modified_equations import modified_equation
from sgdtheory.special_functions import ModeFunction
from sgdtheory.update_rule import UpdateRule

__all__ = ["damped", "lowered_displacement", "lowered_result"]

_Value = TypeVar("_Value", Expr, MatrixBase)

_EPOCH_SYMBOLS = (s.N, s.M, s.phase)
_TIMED = ("propagator", "departure", "covariance", "autocovariance", "displacement")
# What changes in two updates.
_SPANNING = ("departure_growth", "covariance_growth", "displacement_growth")


def _process(rule: UpdateRule, theory: str, sampling: str) -> GaussianProcess:
    """One eigen-direction of curvature h and noise variance Σ."""
    if theory == "discrete":
        return recursion(rule, noise=s.Sigma, curvature=s.h, sampling=sampling)
    return ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)


def _own_symbols(rule: UpdateRule) -> list[Symbol]:
    return sorted(rule.parameters - {s.eta, s.beta}, key=str)


def damped(expression: _Value) -> _Value:
    """Polynomials in β that vanish for flat directions at full momentum, written in 1 − β.

    Their terms cancel there, and 1 − β is exact where they do. Only the quasi-hyperbolic rule has
    any: those of the others have it as a factor.

    >>> damped(s.beta**2 * s.h - s.beta**2 + 1)
    h + (1 - beta)*((1 - beta)*(h - 1) - 2*(h - 1))
    """
    return cast(_Value, expression.replace(_vanishes, _in_lost_momentum))


def _vanishes(node: Basic) -> bool:
    return isinstance(node, Add) and _sum_vanishes(node)


@lru_cache(maxsize=4096)
def _sum_vanishes(node: Add) -> bool:
    return (
        s.beta in node.free_symbols
        and not node.has(ModeFunction)
        and node.is_polynomial(s.beta)
        and degree(node, s.beta) > 1
        and expand(node.subs({s.h: 0, s.beta: 1})) == 0
    )


def _in_lost_momentum(node: Expr) -> Expr:
    (lost,) = s.coordinates(1)
    by_power = Poly(expand(node.subs(s.beta, 1 - lost)), lost).all_coeffs()
    return cast(Expr, reduce(lambda sum_, c: sum_ * (1 - s.beta) + factor(c), by_power, Integer(0)))


@lru_cache(maxsize=1024)
def lowered_result(
    rule: UpdateRule, theory: str, sampling: str, result: str, backend: str
) -> LoweredFunction:
    """A result as a function of (time, h, Σ, η, β, S, N, M, φ, the rule's own symbols).

    Args:
        rule: the optimiser.
        theory: "discrete" or "continuous".
        sampling: "with_replacement", "epochs" or "fixed_order".
        result: the name of a process's method or property; with "_growth" at its end, the result
            and what it gains in two updates, side by side.
        backend: of the arrays.
    """
    process = _process(rule, theory, sampling)
    time = s.k if theory == "discrete" else s.t
    if result == "phased_covariance":
        # A start inside an epoch costs a propagation more, so it is a result of its own.
        expression = cast(EpochRecursion, process).covariance(s.k, s.phase)
    elif result in _SPANNING:
        span = Integer(2) if theory == "discrete" else 2 * s.eta
        level = getattr(process, result.removesuffix("_growth"))(time)
        growth = getattr(process, result)(time, span)
        # Side by side they share their coefficients, and these leave the quotient.
        parts = ([[x]] if isinstance(x, Expr) else x for x in (level, growth))
        expression = ImmutableMatrix.hstack(*map(ImmutableMatrix, parts))
    else:
        value = getattr(process, result)
        expression = value(time) if result in _TIMED else value() if callable(value) else value
    expression = damped(expression)
    settings = (s.eta, s.beta, s.S, *_EPOCH_SYMBOLS, *_own_symbols(rule))
    arguments = (time, s.h, s.Sigma, *settings)
    return lower(expression, arguments, backend)


@lru_cache(maxsize=256)
def lowered_displacement(rule: UpdateRule, theory: str, backend: str) -> LoweredTotal:
    """The stationary displacement's sum over modes, of (h, Σ, η, β, S, the rule's own symbols).

    For batches with replacement; counts are updates in both theories.

    Args:
        rule: the optimiser.
        theory: "discrete" or "continuous".
        backend: of the arrays.
    """
    process = _process(rule, theory, "with_replacement")
    time = s.k if theory == "discrete" else s.k * s.eta
    arguments = (s.h, s.Sigma, s.eta, s.beta, s.S, *_own_symbols(rule))
    return lower_total(process.displacement(time), s.k, arguments, backend, arrange=damped)
