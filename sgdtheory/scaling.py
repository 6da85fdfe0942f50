r"""How hyperparameters act: what an observable of a run is proportional to.

Each observable is a derived expression of one direction, of curvature h and noise variance Σ, in
the exact discrete theory. To leading order in the learning rate it is a power law in most of them:
the scaling laws that practitioners use, and where they stop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from sympy import Expr, Integer, Poly, Symbol, fraction, latex, simplify, together

from sgdtheory import symbols as s
from sgdtheory.anomalous_diffusion import slow_direction
from sgdtheory.discrete_time import recursion
from sgdtheory.flat_direction import diffusion_rate, velocity_memory
from sgdtheory.normal_form import factored
from sgdtheory.notebook_display import ShownAsEquations
from sgdtheory.update_rule import UpdateRule
from sgdtheory.user_input import strict_expression

__all__ = ["ScalingLaw", "ScalingTable", "observables", "scaling_exponents", "scaling_laws"]


@lru_cache(maxsize=64)
def _observables(rule: UpdateRule) -> tuple[tuple[str, Expr], ...]:
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    spread = process.stationary_covariance()
    slow = 1 / (slow_direction(rule).rate * s.h)
    return (
        ("stationary_variance", spread[0, 0]),
        ("velocity_variance", spread[1, 1]),
        ("local_displacement", 2 * (process.generator * spread)[0, 0]),
        ("effective_temperature", s.h * spread[0, 0]),
        ("diffusion_rate", diffusion_rate(rule)),
        ("velocity_memory", velocity_memory(rule)),
        ("relaxation_steps", slow),
        ("relaxation_examples", s.S * slow),
    )


def observables(rule: UpdateRule) -> dict[str, Expr]:
    """What a run shows of one direction, by name; in η, β, S, h, Σ and the rule's own symbols.

    `relaxation_steps` is that of a slow direction, `diffusion_rate` and `velocity_memory` those of
    a flat one; `relaxation_examples` counts the examples that the slow direction sees meanwhile.
    The others are exact.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> factored(observables(heavy_ball())["local_displacement"])
    2*Sigma*eta**2/(S*(1 - beta)*(2*beta - eta*h + 2))
    """
    return {name: factored(value) for name, value in _observables(rule)}


def leading(expression: Expr) -> Expr:
    """Leading order of a rational expression in the learning rate.

    Args:
        expression: rational in η.

    >>> leading(s.eta * s.h / (2 + s.eta * s.h))
    eta*h/2
    """
    parts = []
    for part in fraction(together(expression)):
        (power, *_), coefficient = min(Poly(part, s.eta).terms())
        parts.append(coefficient * s.eta**power)
    return factored(parts[0] / parts[1])


def scaling_exponents(expression: Expr, settings: tuple[Symbol, ...] = ()) -> dict[Expr, Expr]:
    r"""Elasticities d log X / d log x for each setting; for momentum x is 1 − β.

    Args:
        expression: X.
        settings: symbols; those of η, β, S, λ and h that X contains by default.

    Raises:
        ValueError: for what is no expression.

    >>> scaling_exponents(s.eta**2 / (s.S * (1 - s.beta**2)))
    {eta: 2, 1 - beta: -2*beta/(beta + 1), S: -1}
    """
    expression = strict_expression("expression", expression)
    usual = (s.eta, s.beta, s.S, s.lamda, s.h)
    chosen = settings or tuple(x for x in usual if x in expression.free_symbols)
    return {(1 - x if x == s.beta else x): _elasticity(expression, x) for x in chosen}


def _elasticity(expression: Expr, x: Symbol) -> Expr:
    scale = -(1 - x) if x == s.beta else x
    return factored(simplify(scale * expression.diff(x) / expression))


@dataclass(frozen=True)
class ScalingLaw(ShownAsEquations):
    """One observable.

    Args:
        name: of the observable.
        exact: its expression.
        leading: to leading order in the learning rate.
        exponents: elasticities of the leading order; that of the weight decay λ with h = ρ + λ, so
            it is the curvature's times λ/(ρ + λ): none where ρ ≫ λ, all of it where ρ ≪ λ.
    """

    name: str
    exact: Expr
    leading: Expr
    exponents: dict[Expr, Expr] = field(hash=False)


@dataclass(frozen=True)
class ScalingTable:
    """The laws of a rule; renders as a table in a notebook."""

    laws: tuple[ScalingLaw, ...]

    def __getitem__(self, name: str) -> ScalingLaw:
        found = {law.name: law for law in self.laws}
        if name not in found:
            raise KeyError(f"{name!r}: the observables are {', '.join(found)}.")
        return found[name]

    def markdown(self) -> str:
        """A Markdown table: observable, leading order, and elasticities."""
        columns = (s.eta, 1 - s.beta, s.S, s.h, s.lamda)
        head = ["observable", "leading order in η", *(f"${latex(x)}$" for x in columns)]
        rows = [head, ["---"] * len(head)]
        for law in self.laws:
            powers = [law.exponents.get(x, Integer(0)) for x in columns]
            name = law.name.replace("_", " ")
            rows.append([name, f"${latex(law.leading)}$", *(f"${latex(p)}$" for p in powers)])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def _repr_markdown_(self) -> str:
        return self.markdown()


@lru_cache(maxsize=64)
def scaling_laws(rule: UpdateRule) -> ScalingTable:
    """Every observable's leading order in the learning rate, and its powers.

    Args:
        rule: the optimiser.

    >>> from sgdtheory import heavy_ball
    >>> scaling_laws(heavy_ball())["stationary_variance"].leading
    Sigma*eta/(2*S*h*(1 - beta))
    >>> scaling_laws(heavy_ball())["relaxation_steps"].exponents
    {eta: -1, 1 - beta: 1, h: -1, lamda: -lamda/(lamda + rho)}
    """
    laws = []
    for name, exact in observables(rule).items():
        first = leading(exact)
        exponents = scaling_exponents(first)
        if s.h in exponents:
            decayed = first.subs(s.h, s.rho + s.lamda)
            exponents |= scaling_exponents(decayed, (s.lamda,))
        laws.append(ScalingLaw(name, exact, first, exponents))
    return ScalingTable(tuple(laws))
