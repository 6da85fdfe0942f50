r"""How far the continuous theory is from the exact one: ratios of stationary averages.

On a quadratic loss both theories are solved, so their ratio is an expression; the noise cancels.
A ratio of 1 as η → 0 says that the Langevin equation may be asked for that average.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from sympy import Add, Eq, Expr, Poly, cancel, fraction, together

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.modified_equations import modified_equation
from sgdtheory.noise import EigenDirection
from sgdtheory.normal_form import factored
from sgdtheory.notebook_display import ShownAsEquations
from sgdtheory.remembered import remembered
from sgdtheory.update_rule import UpdateRule

__all__ = ["Agreement", "discrete_over_continuous"]

_NAMES = ("position_variance", "velocity_variance", "local_displacement")


@dataclass(frozen=True)
class Agreement(ShownAsEquations):
    r"""Exact discrete average divided by the continuous one, in the stationary state.

    Args:
        position_variance: Var θ_k over Var θ of the Langevin equation.
        velocity_variance: the variance of a step's mean velocity, (θ_{k+1} − θ_k)/η, over that of
            dθ/dt.
        local_displacement: E|θ_{k+1} − θ_k|² over η² Var(dθ/dt).
    """

    position_variance: Expr
    velocity_variance: Expr
    local_displacement: Expr
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @remembered
    def series(self, name: str, n: int) -> Expr:
        """A ratio as a series in the learning rate, through η^n.

        Args:
            name: "position_variance", "velocity_variance" or "local_displacement".
            n: highest power, at least 0.

        Raises:
            ValueError: for another name, or a negative power.

        >>> from sgdtheory import heavy_ball, symbols as s
        >>> discrete_over_continuous(heavy_ball(), curvature=s.h).series("position_variance", 1)
        eta*h/(2*(beta + 1)) + 1
        """
        if name not in _NAMES:
            raise ValueError(f"name = {name!r}: give one of {', '.join(_NAMES)}.")
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"n = {n!r}: a power of the learning rate is an integer ≥ 0.")
        return _taylor(getattr(self, name), n)


@lru_cache(maxsize=256)
def discrete_over_continuous(
    rule: UpdateRule,
    order: int = 1,
    noise: Expr | None = None,
    curvature: Expr | None = None,
) -> Agreement:
    r"""Exact ratios of the discrete theory's stationary averages to the continuous theory's.

    Each theory is asked for its own position. With a look-ahead gradient that is θ for the updates
    and the look-ahead position for the equation: they differ at first order in the learning rate.

    The velocity of an update is taken as the mean velocity of a step, (θ_{k+1} − θ_k)/η, which is
    the rule's v only where θ' = θ + η v'. Nesterov's and the quasi-hyperbolic v is an internal
    average of gradients that no trajectory shows; so compared, the velocity's ratio and the local
    displacement's are one number.

    Args:
        rule: the optimiser.
        order: of the continuous theory, see `modified_equation`. A higher order improves the mean,
            not the variances.
        noise: variance Σ of one example's gradient along the direction; default σ²ρ. It cancels.
        curvature: h; default ρ + λ.

    Raises:
        ValueError: for a noise of 0, which leaves no ratio.
        UnstableError: for a curvature that is not positive.

    Source:
        Liu, Ziyin, Ueda, arXiv 2012.03636 (the exact covariance); Kunin et al., arXiv 2107.09133
        (the continuous one).

    >>> from sgdtheory import heavy_ball, symbols as s
    >>> discrete_over_continuous(heavy_ball(), curvature=s.h).velocity_variance
    2*(beta + 1)/(2*beta - eta*h + 2)
    """
    direction = EigenDirection.of(noise, curvature)
    if direction.noise_variance.is_zero:
        raise ValueError(
            f"noise = {direction.noise_variance}: without noise both theories have variance 0 and "
            "no ratio. Leave it out, or give a positive variance."
        )
    if direction.curvature.is_nonpositive:
        raise UnstableError(
            f"curvature = {direction.curvature}: a stationary state needs one above 0. Give a "
            "direction that curves upwards."
        )
    exact = recursion(rule, noise=s.Sigma, curvature=s.h)
    process = ornstein_uhlenbeck(modified_equation(rule, order), noise=s.Sigma, curvature=s.h)
    discrete, continuous = exact.stationary_covariance(), process.stationary_covariance()
    step = exact.displacement(1)
    speed = discrete[1, 1] if rule.moves_by_velocity else step / s.eta**2

    def ratio(numerator: Expr, denominator: Expr) -> Expr:
        return factored(numerator / denominator).subs(s.h, direction.curvature)

    ratios = (
        ratio(discrete[0, 0], continuous[0, 0]),
        ratio(speed, continuous[1, 1]),
        ratio(step, s.eta**2 * continuous[1, 1]),
    )
    steps = exact.derivation.then(
        "Exact averages",
        "The stationary covariance of position and velocity, and the mean square of a step.",
        Eq(s.matrix("P", 2), discrete, evaluate=False),
        Eq(s.average(s.delta, s.delta), factored(step), evaluate=False),
        assumption="both theories are stable at this curvature",
    )
    # The rule itself, the first step of both, is told once.
    own = process.derivation_of("stationary_covariance").steps[1:]
    derivation = Derivation((*steps, *own)).then(
        "Ratios",
        "Exact over continuous, of the position, of the velocity and of a step's square. The exact "
        "velocity is a step's mean velocity, ⟨δ·δ⟩/η² in the second ratio, which is the rule's own "
        "v only where it moves by it. The noise and the batch size cancel.",
        *ratios,
    )
    return Agreement(*ratios, derivation=derivation)


def _taylor(expression: Expr, n: int) -> Expr:
    """Power series of a rational function in η, by long division from the lowest power."""
    numerator, denominator = (
        Poly(part, s.eta).all_coeffs()[::-1] for part in fraction(cancel(together(expression)))
    )
    terms: list[Expr] = []
    for power in range(n + 1):
        known = Add(
            *(
                denominator[j] * terms[power - j]
                for j in range(1, min(power, len(denominator) - 1) + 1)
            )
        )
        above = numerator[power] if power < len(numerator) else 0
        terms.append(factored((above - known) / denominator[0]))
    return Add(*(term * s.eta**power for power, term in enumerate(terms)))
