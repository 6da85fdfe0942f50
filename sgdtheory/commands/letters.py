"""The letters that a command's expressions may hold, in the order of a generated function."""

from __future__ import annotations

from collections.abc import Iterable

from sympy import Expr, Symbol

from sgdtheory import symbols as s

__all__ = ["CURVATURE_LETTERS", "MEANINGS", "RULE_LETTERS", "in_order"]

MEANINGS: dict[Symbol, str] = {
    s.k: "updates, a whole number",
    s.t: "time; one update lasts eta",
    s.theta: "position, as an offset from the minimum",
    s.v: "velocity: of updates the rule's own, of continuous time dtheta/dt",
    s.v_next: "velocity after the update, in --position alone",
    s.g: "the gradient that the optimiser sees",
    s.theta_0: "position at the start, as an offset from the minimum",
    s.v_0: "velocity at the start; 0 for a fresh optimiser",
    s.rho: "eigenvalue of the loss's Hessian",
    s.h: "curvature of an eigen-direction, rho + lamda",
    s.y: "learning rate times curvature",
    s.eta: "learning rate",
    s.beta: "momentum, from 0 to 1",
    s.S: "batch size",
    s.lamda: "weight decay",
    s.sigma2: "noise scale: the gradient noise of one example is sigma2 times the Hessian",
    s.Sigma: "variance of one example's gradient along the direction",
    s.N: "examples in the data set",
    s.M: "updates per epoch",
    s.tau: "dampening",
    s.nu: "mixing of quasi-hyperbolic momentum",
}
RULE_LETTERS = (s.theta, s.v, s.v_next, s.g, s.eta, s.beta, s.tau, s.nu)
CURVATURE_LETTERS = (s.rho, s.h, s.lamda, s.sigma2, s.Sigma)


def in_order(symbols: Iterable[Expr]) -> tuple[Expr, ...]:
    """Symbols as a generated function takes them: those of the table first, in its order.

    Args:
        symbols: any.

    >>> in_order({s.eta, s.k, s.rho})
    (k, rho, eta)
    """
    known = list(MEANINGS)

    def place(symbol: Expr) -> tuple[int, str]:
        return (known.index(symbol) if symbol in MEANINGS else len(known), str(symbol))

    return tuple(sorted(symbols, key=place))
