r"""The exact theory: on a quadratic loss an update is a linear map, with noise along one direction.

x_{k+1} = M x_k + n ε_k,      x = (θ − μ, v),   ε_k the error of the batch's gradient
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sympy import Eq, Expr, ImmutableMatrix, Matrix, Set, eye

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.linear_recursion import LinearRecursion
from sgdtheory.noise import EigenDirection
from sgdtheory.normal_form import factored, factored_matrix
from sgdtheory.repeated_epochs import FixedOrderRecursion
from sgdtheory.reshuffled_epochs import ReshuffledRecursion
from sgdtheory.sampling import SAMPLINGS, Sampling
from sgdtheory.stability import stable_interval
from sgdtheory.update_rule import UpdateRule, require_rule

__all__ = ["recursion"]


def recursion(
    rule: UpdateRule,
    noise: Expr | None = None,
    curvature: Expr | None = None,
    sampling: Sampling | str = "with_replacement",
) -> LinearRecursion:
    r"""Exact discrete process of one eigen-direction of a quadratic loss under `rule`.

    Args:
        rule: the optimiser.
        noise: variance Σ of one example's gradient along the direction; default σ²ρ.
        curvature: h; default ρ + λ.
        sampling: how batches are drawn: "with_replacement", "epochs" or "fixed_order", or a
            `Sampling`. The latter two contain ``symbols.N`` examples and ``symbols.M`` updates an
            epoch.

    Source:
        Liu, Ziyin, Ueda, arXiv 2012.03636; Ziyin et al., arXiv 2102.05375; epochs: Kühn and
        Rosenow, arXiv 2306.05300.

    >>> from sgdtheory import heavy_ball, symbols as s
    >>> recursion(heavy_ball(), curvature=s.h).map
    Matrix([
    [-eta*h + 1, beta*eta],
    [        -h,     beta]])
    >>> recursion(heavy_ball()).stability
    Interval.open(0, 2*beta + 2)
    """
    require_rule(rule)
    return _recursion(rule, EigenDirection.of(noise, curvature), _sampling(sampling))


def _sampling(sampling: Sampling | str) -> Sampling:
    if isinstance(sampling, Sampling):
        return sampling
    if not isinstance(sampling, str) or sampling not in SAMPLINGS:
        raise ValueError(f"sampling = {sampling!r}: give one of {', '.join(SAMPLINGS)}.")
    return SAMPLINGS[sampling]()


@lru_cache(maxsize=256)
def _recursion(rule: UpdateRule, direction: EigenDirection, sampling: Sampling) -> LinearRecursion:
    general_map, kick = _linear_law(rule)
    one_map = ImmutableMatrix(general_map.subs(s.h, direction.curvature))
    law: dict[str, Any] = {
        "map": one_map,
        "kick": kick,
        "noise_variance": sampling.variance * direction.noise_variance,
        "stability": _stability(rule),
        "derivation": _narrated(rule, one_map, kick, sampling),
        "coordinates": (s.theta, s.v),
        "start": (s.theta_0, s.v_0),
        "curvature": direction.curvature,
    }
    if sampling.white:
        return LinearRecursion(**law)
    kind = FixedOrderRecursion if sampling.repeats else ReshuffledRecursion
    return kind(**law, sampling=sampling, example_variance=direction.noise_variance)


def _gradient(rule: UpdateRule) -> Expr:
    return s.h * rule.gradient_at + s.epsilon


@lru_cache(maxsize=256)
def _stability(rule: UpdateRule) -> Set:
    """The stable values of y = ηh."""
    general_map, _ = _linear_law(rule)
    generator = (eye(2) - general_map).subs(s.h, s.y / s.eta)
    return stable_interval(factored(generator.trace()), factored(generator.det()))


@lru_cache(maxsize=256)
def _linear_law(rule: UpdateRule) -> tuple[ImmutableMatrix, ImmutableMatrix]:
    """Map and kick of one update on a quadratic loss of curvature h."""
    gradient = _gradient(rule)
    velocity = rule.velocity.subs(s.g, gradient)
    position = rule.position.subs(s.v_next, rule.velocity).subs(s.g, gradient)
    update = Matrix([position, velocity])
    return (
        factored_matrix(update.jacobian([s.theta, s.v])),
        factored_matrix(update.jacobian([s.epsilon])),
    )


def _narrated(
    rule: UpdateRule, one_map: ImmutableMatrix, kick: ImmutableMatrix, sampling: Sampling
) -> Derivation:
    steps = rule.derivation.then(
        "Quadratic loss",
        "Along an eigen-direction of curvature h the gradient is linear; θ is the offset from the "
        "minimum, ε the batch's error.",
        Eq(s.g, _gradient(rule), evaluate=False),
        assumption="the loss is quadratic, and the noise does not depend on the position",
    ).then(
        "One update is a linear map",
        "Insert the gradient and collect θ, v and the batch's error.",
        Eq(
            s.matrix("x_{k+1}", 2, 1),
            one_map * s.matrix("x_k", 2, 1) + kick * s.epsilon,
            evaluate=False,
        ),
    )
    return Derivation((*steps, *sampling.derivation))
