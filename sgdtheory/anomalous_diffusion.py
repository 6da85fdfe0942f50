r"""The exponent of the displacement that a density of slow directions adds up to.

From a stationary start, with noise Σ = σ²H and no weight decay. Beyond a velocity's memory every
direction relaxes with one rate, in proportion to its curvature, and all spread alike; what is left
is the Laplace transform of the density, and of that its behaviour at flat directions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sympy import (
    Dummy,
    Eq,
    Expr,
    Integral,
    S,
    exp,
    integrate,
    laplace_transform,
    limit,
    oo,
    powsimp,
    simplify,
)

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.discrete_time import recursion
from sgdtheory.normal_form import factored
from sgdtheory.notebook_display import ShownAsEquations
from sgdtheory.update_rule import UpdateRule

__all__ = ["Growth", "SlowDirection", "heavy_tail", "saturation", "slow_direction", "white"]

_SLOW = "every direction that counts is slower than a velocity's memory"


@dataclass(frozen=True)
class SlowDirection(ShownAsEquations):
    r"""A direction that relaxes over many updates: 2 Var θ (1 − e^{−hrk}).

    Args:
        rate: r, per update and curvature.
        temperature: T = h Var θ per unit of Σ/h, so that a direction spreads by TΣ/h.
    """

    rate: Expr
    temperature: Expr
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    @property
    def displacement(self) -> Expr:
        """E|Δ_k|² of one direction of curvature h with noise variance Σ."""
        spread = self.temperature * s.Sigma / s.h
        return 2 * spread * (1 - exp(-s.h * self.rate * s.k))

    @property
    def per_direction(self) -> Expr:
        """What each direction will have moved in the end, 2 Var θ with Σ = σ²h."""
        return 2 * self.temperature * s.sigma2


@lru_cache(maxsize=64)
def slow_direction(rule: UpdateRule) -> SlowDirection:
    r"""The slow root and the spread of a flat direction, to leading order in its curvature.

    The product of a mode's two rates is its determinant, their sum its trace; as h → 0 the fast one
    keeps all of the trace, so the slow one is their quotient.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> slow_direction(heavy_ball()).rate, slow_direction(heavy_ball()).temperature
    (eta/(1 - beta), eta/(2*S*(1 - beta)))
    """
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    rate = factored(limit(process.determinant / s.h, s.h, 0) / process.trace.subs(s.h, 0))
    spread = process.stationary_covariance()[0, 0]
    temperature = factored(limit(s.h * spread / s.Sigma, s.h, 0))
    derivation = process.derivation_of("stationary_covariance").then(
        "Slow directions",
        "As the curvature vanishes, the slow rate is the determinant over the trace, and the "
        "variance goes as Σ/h.",
        rate,
        temperature,
        assumption=_SLOW,
    )
    return SlowDirection(rate, temperature, derivation=derivation)


@dataclass(frozen=True)
class Growth(ShownAsEquations):
    """A displacement that grows, summed over a density of directions.

    Args:
        displacement: E|Δ_k|², an expression in `symbols.k`.
        limiting_exponent: what the local exponent tends to in the stated range.
        holds: where, in words.
    """

    displacement: Expr
    limiting_exponent: Expr
    holds: str
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    @cached_property
    def exponent(self) -> Expr:
        """c(k) = d log E|Δ_k|² / d log k."""
        k = Dummy("k", positive=True)
        level = self.displacement.subs(s.k, k)
        return simplify(k * level.diff(k) / level).subs(k, s.k)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions


def heavy_tail(rule: UpdateRule) -> Growth:
    r"""A density Aρ^{−1−a} with 0 < a < 1: the exponent is a.

    .. math:: E|\Delta_k|^2 = 2T\sigma^2 \int_0^\infty A\rho^{-1-a}(1 - e^{-\rho r k})\,d\rho

    Between the relaxation times of its ends. With a ≥ 1 the flattest directions take over, and each
    of them diffuses with exponent 1 until it saturates.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> growth = heavy_tail(heavy_ball())
    >>> growth.limiting_exponent, growth.exponent
    (a, a)
    """
    slow, rho = slow_direction(rule), Dummy("rho", positive=True)
    x = Dummy("x", positive=True)
    density = s.amplitude * rho ** (-1 - s.tail)
    # The speed of growth is a Laplace transform, which exists where a < 1.
    speed = laplace_transform(powsimp(rho * density), rho, x, noconds=True)
    time = slow.rate * s.k
    # ∫₀ˣ of a power; a > 0 makes its lower end 0.
    grown = integrate(speed, x)
    displacement = slow.per_direction * simplify(grown).subs(x, time)
    derivation = slow.derivation.then(
        "Speed of growth",
        "The derivative with respect to x = rk of the sum over the density is the Laplace "
        "transform of ρ times the density.",
        Eq(Integral(rho * density * exp(-rho * x), (rho, 0, oo)), speed, evaluate=False),
        assumption="0 < a < 1, noise proportional to the Hessian, no weight decay",
    ).then("Growth", "Integrated from 0 to rk.", displacement)
    return Growth(
        displacement,
        s.tail,
        "between the relaxation times of the steepest and the flattest direction",
        derivation=derivation,
    )


def saturation(rule: UpdateRule) -> Growth:
    r"""A density that goes as Aρ^{b−1} at flat directions, b > 0: what is left falls as k^{−b}.

    The displacement saturates, and its local exponent falls to 0 as what is left does. b = ½ is the
    edge of a Marchenko-Pastur density with as many examples as parameters, b = 1 a white spectrum.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> saturation(heavy_ball()).displacement.subs({s.eta: 1, s.beta: 0, s.S: 1, s.edge: 1})
    sigma2*(-A/k + d)
    """
    slow, rho = slow_direction(rule), Dummy("rho", positive=True)
    x = Dummy("x", positive=True)
    density = s.amplitude * rho ** (s.edge - 1)
    left = laplace_transform(density, rho, x, noconds=True)
    missing = simplify(left).subs(x, slow.rate * s.k)
    derivation = slow.derivation.then(
        "What is left",
        "Of d directions what is left to the plateau is the Laplace transform of their density, "
        "late that of its behaviour at flat directions.",
        Eq(Integral(density * exp(-rho * x), (rho, 0, oo)), left, evaluate=False),
        assumption="noise proportional to the Hessian, no weight decay",
    )
    return Growth(
        slow.per_direction * (s.dimension - missing),
        S.Zero,
        "once the steep directions have saturated",
        derivation=derivation,
    )


def white(rule: UpdateRule) -> Growth:
    r"""d directions spread evenly over the curvatures from 0 to A: from exponent 1 to 0.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> even = white(heavy_ball()).exponent.subs({s.eta: 1, s.beta: 0, s.amplitude: 1})
    >>> [round(float(even.subs(s.k, S(10) ** n).evalf(30)), 4) for n in (-9, 0, 3)]
    [1.0, 0.7183, 0.001]
    """
    slow, rho = slow_direction(rule), Dummy("rho", positive=True)
    top, x = s.amplitude, Dummy("x", positive=True)
    mean = integrate((1 - exp(-rho * x)) / top, (rho, 0, top))
    displacement = slow.per_direction * s.dimension * mean.subs(x, slow.rate * s.k)
    derivation = slow.derivation.then(
        "Even density",
        "Integrated over the curvatures from 0 to A.",
        Eq(Integral((1 - exp(-rho * x)) / top, (rho, 0, top)), mean, evaluate=False),
        assumption="noise proportional to the Hessian, no weight decay",
    )
    return Growth(displacement, S.Zero, "late", derivation=derivation)
