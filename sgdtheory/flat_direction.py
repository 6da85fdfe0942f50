r"""A direction without curvature: its steps, for how long they are remembered, and its diffusion.

It has no stationary position, but stationary steps. Every other direction is like it before it
relaxes.
"""

from __future__ import annotations

from functools import lru_cache

from sympy import Dummy, Expr, Matrix, factor, limit, powsimp, simplify, summation

from sgdtheory import symbols as s
from sgdtheory.discrete_time import recursion
from sgdtheory.normal_form import factored
from sgdtheory.update_rule import UpdateRule

__all__ = ["diffusion_rate", "flat_displacement", "velocity_memory"]


@lru_cache(maxsize=64)
def diffusion_rate(rule: UpdateRule) -> Expr:
    r"""E|Δ_k|²/k of a flat direction, late: its diffusion per update, in units of θ².

    A flat direction has one combination u·x of position and velocity that an update does not
    relax, u (1 − M) = 0; with u_θ = 1 the position follows it, and each batch kicks it by u·n ξ/√S.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> diffusion_rate(heavy_ball())
    Sigma*eta**2/(S*(1 - beta)**2)
    """
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    (kept,) = Matrix(process.generator.subs(s.h, 0)).T.nullspace()
    kept = kept / kept[0]
    return factored((kept.T * process.noise.subs(s.h, 0) * kept)[0, 0])


@lru_cache(maxsize=64)
def velocity_memory(rule: UpdateRule) -> Expr:
    r"""Updates for which a velocity is remembered: late diffusion over that of one update.

    .. math:: \lim_{k\to\infty} \frac{E|\Delta_k|^2}{k\,E|\Delta_1|^2}
        = 1 + 2\sum_{j\ge1} \mathrm{corr}(\delta_0, \delta_j)

    on a flat direction: the integrated autocorrelation time of its steps.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball, nesterov
    >>> velocity_memory(heavy_ball())
    (beta + 1)/(1 - beta)
    >>> velocity_memory(nesterov()).subs(s.beta, 0)
    1
    """
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    # Of one update the displacement is 2 (G B)_θθ: no function of time is left in it.
    first = 2 * (process.generator * process.stationary_covariance())[0, 0]
    return factored(diffusion_rate(rule) / limit(factor(first), s.h, 0))


@lru_cache(maxsize=64)
def flat_displacement(rule: UpdateRule) -> Expr:
    r"""D(k)/D(1) of a flat direction: the sum over the correlations of its steps, closed.

    .. math:: k + 2\sum_{j=1}^{k-1} (k - j)\, r_1 c^{j-1}

    with c the velocity's own root and r₁ the correlation of successive steps.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> factor(flat_displacement(heavy_ball()).subs(s.k, 2))
    2*(beta + 1)
    """
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    G, B = process.generator, process.stationary_covariance()
    one, two = (2 * (X * B)[0, 0] for X in (G, 2 * G - G * G))
    first = factor(limit(factor(two / one), s.h, 0) / 2 - 1)
    if first == 0:
        return s.k
    root = factor(1 - process.trace.subs(s.h, 0))
    c, j, k = Dummy("c"), Dummy("j", integer=True), Dummy("k", integer=True, positive=True)
    # The general branch of the sum; c = 1 would be a velocity that is never forgotten.
    general = simplify(summation((k - j) * c ** (j - 1), (j, 1, k - 1))).args[-1].expr
    total = powsimp(general.expand())
    return s.k + 2 * first * factor(total.subs({k: s.k, c: root}))
