r"""An optimiser's update rule as data: two expressions, linear in θ, v and the gradient g.

    v_{k+1} = velocity(θ_k, v_k, g_k)        θ_{k+1} = position(θ_k, v_k, g_k, v_{k+1})

The named rules are instances; a rule of your own is one more. Everything downstream sees only the
four coefficients of θ' = θ + a v + b g, v' = c v + d g.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from sympy import (
    Eq,
    Expr,
    Poly,
    PolynomialError,
    Symbol,
    expand,
    latex,
    simplify,
)

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.user_input import strict_expression

__all__ = [
    "Coefficients",
    "UpdateRule",
    "dampened",
    "heavy_ball",
    "nesterov",
    "plain_sgd",
    "quasi_hyperbolic",
    "require_rule",
]


class Coefficients(NamedTuple):
    """θ' = θ + a v + b g and v' = c v + d g, with g taken at θ + e v."""

    a: Expr
    b: Expr
    c: Expr
    d: Expr
    e: Expr


@dataclass(frozen=True)
class UpdateRule:
    """A first-order method with one velocity, linear in (θ, v, g).

    Args:
        velocity: v_{k+1} as an expression in ``symbols.theta``, ``v`` and ``g``.
        position: θ_{k+1} as an expression in ``theta``, ``v``, ``g`` and ``v_next``.
        gradient_at: the point where the gradient is taken, in ``theta`` and ``v``.
        name: for prints and messages.

    Raises:
        ValueError: when a rule is not linear, or when θ enters the position with a coefficient
            other than 1 or the velocity with one other than 0: the error from the minimum would
            then not follow a linear recursion.

    >>> from sgdtheory import symbols as s
    >>> UpdateRule(velocity=s.beta*s.v - s.g, position=s.theta + s.eta*s.v_next).coefficients
    Coefficients(a=beta*eta, b=-eta, c=beta, d=-1, e=0)
    """

    velocity: Expr
    position: Expr
    gradient_at: Expr = field(default=s.theta)
    name: str = "custom"

    def __post_init__(self) -> None:
        for attribute in ("velocity", "position", "gradient_at"):
            object.__setattr__(self, attribute, _expression(attribute, getattr(self, attribute)))
        # Computing them is the check.
        _ = self.coefficients

    @property
    def coefficients(self) -> Coefficients:
        """The four numbers of the rule, and the look-ahead of its gradient."""
        return _coefficients(self.velocity, self.position, self.gradient_at)

    @property
    def parameters(self) -> frozenset[Expr]:
        """The symbols of the rule other than θ, v and g: η, β and any of its own."""
        used = (
            self.velocity.free_symbols | self.position.free_symbols | self.gradient_at.free_symbols
        )
        return frozenset(used - {s.theta, s.v, s.g, s.v_next})

    @property
    def moves_by_velocity(self) -> bool:
        """Whether θ_{k+1} − θ_k = η v_{k+1}, so that a step is a velocity."""
        a, b, c, d, _ = self.coefficients
        return simplify(a - s.eta * c) == 0 and simplify(b - s.eta * d) == 0

    @property
    def derivation(self) -> Derivation:
        """The rule itself, the first step of every derivation."""
        look_ahead = () if self.gradient_at == s.theta else (Eq(s.g, s.gradient(self.gradient_at)),)
        return Derivation().then(
            "Update rule",
            f"The {self.name} rule, as the optimiser applies it.",
            Eq(s.v_next, self.velocity, evaluate=False),
            Eq(s.theta_next, self.position, evaluate=False),
            *look_ahead,
        )

    def _repr_latex_(self) -> str:
        return (
            rf"$v_{{k+1}} = {latex(self.velocity)},\quad \theta_{{k+1}} = {latex(self.position)}$"
        )


def _expression(argument: str, value: Any) -> Expr:
    expression = strict_expression(argument, value)
    for symbol in expression.free_symbols:
        own = getattr(s, symbol.name, symbol)
        if isinstance(own, Symbol) and own != symbol:
            raise ValueError(
                f"{argument} = {value} holds a {symbol} that is not sgdtheory.symbols.{symbol}: "
                "symbols of one name and other assumptions are different. Take that one, or "
                "another name."
            )
    return expression


# A sweep makes its rule anew for every setting.
@lru_cache(maxsize=128)
def _coefficients(velocity: Expr, position: Expr, gradient_at: Expr) -> Coefficients:
    of_velocity = _linear("velocity", velocity, (s.theta, s.v, s.g))
    _require("velocity", velocity, of_velocity[s.theta], 0)
    full = expand(position.subs(s.v_next, velocity))
    of_position = _linear("position", full, (s.theta, s.v, s.g))
    look = _linear("gradient_at", gradient_at, (s.theta, s.v))
    _require("position", position, of_position[s.theta], 1)
    _require("gradient_at", gradient_at, look[s.theta], 1)
    return Coefficients(
        of_position[s.v], of_position[s.g], of_velocity[s.v], of_velocity[s.g], look[s.v]
    )


def _linear(argument: str, expression: Expr, variables: tuple[Expr, ...]) -> dict[Expr, Expr]:
    """Coefficients of a linear form without constant, or an error that shows what is not linear."""
    reason = f"{argument} = {expression} is not linear in {', '.join(map(str, variables))}"
    try:
        polynomial = Poly(expand(expression), *variables)
    except PolynomialError:
        raise ValueError(f"{reason}. Write it as a sum of coefficients times these.") from None
    # A decimal zero is not equal to an exact one, but it is one.
    if polynomial.total_degree() > 1 or not polynomial.coeff_monomial(1).is_zero:
        raise ValueError(f"{reason} without a constant term. Write it as a sum of coefficients.")
    coefficients = {x: polynomial.coeff_monomial(x) for x in variables}
    state = {s.theta, s.v, s.g, s.v_next}
    for coefficient in coefficients.values():
        if stray := coefficient.free_symbols & state:
            raise ValueError(
                f"{reason}: a coefficient contains {', '.join(map(str, stray))}, "
                f"which {argument} may not use."
            )
    return coefficients


def _require(argument: str, expression: Expr, coefficient: Expr, value: int) -> None:
    if simplify(coefficient - value) != 0:
        raise ValueError(
            f"{argument} = {expression}: theta has coefficient {coefficient}, it must be {value}, "
            "or the error from the minimum does not follow a linear recursion. Weight decay "
            "belongs into the gradient (lamda), not into the rule."
        )


def require_rule(rule: object) -> None:
    """Refuse what is no rule, a named rule without its brackets above all.

    Raises:
        TypeError: saying what was given.
    """
    if not isinstance(rule, UpdateRule):
        raise TypeError(f"rule = {rule!r}: give an UpdateRule, as heavy_ball() with brackets.")


def plain_sgd() -> UpdateRule:
    """SGD without momentum: θ' = θ − ηg."""
    return UpdateRule(-s.g, s.theta + s.eta * s.v_next, name="plain SGD")


def heavy_ball() -> UpdateRule:
    """Polyak's momentum as torch.optim.SGD has it: v' = βv − g, θ' = θ + ηv'."""
    return UpdateRule(s.beta * s.v - s.g, s.theta + s.eta * s.v_next, name="heavy ball")


def nesterov() -> UpdateRule:
    """Nesterov's momentum as torch.optim.SGD(nesterov=True) has it."""
    return UpdateRule(
        s.beta * s.v - s.g, s.theta + s.eta * (s.beta * s.v_next - s.g), name="Nesterov"
    )


def dampened() -> UpdateRule:
    """torch.optim.SGD's dampening τ: v' = βv − (1−τ)g; torch's first step ignores τ."""
    return UpdateRule(s.beta * s.v - (1 - s.tau) * s.g, s.theta + s.eta * s.v_next, name="dampened")


def quasi_hyperbolic() -> UpdateRule:
    """Quasi-hyperbolic momentum: a mix 0 ≤ ν ≤ 1 of the averaged and the present gradient."""
    return UpdateRule(
        s.beta * s.v - (1 - s.beta) * s.g,
        s.theta + s.eta * (s.nu * s.v_next - (1 - s.nu) * s.g),
        name="quasi-hyperbolic",
    )
