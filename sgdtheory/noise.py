r"""What the gradient noise is, along one eigen-direction of the Hessian.

Σ is the covariance of ONE example's gradient; a batch of S examples drawn with replacement has
Σ/S. When Σ shares the Hessian's eigenvectors, a direction is a curvature and a variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sympy import Expr, SympifyError, nan, sympify

from sgdtheory import symbols as s

__all__ = ["EigenDirection"]


@dataclass(frozen=True)
class EigenDirection:
    """One eigen-direction: the curvature it feels and the variance of one example's gradient.

    Args:
        curvature: h. Default ρ + λ, the Hessian's eigenvalue and the weight decay.
        noise_variance: Σ. Default σ²ρ, noise proportional to the Hessian.

    >>> EigenDirection()
    EigenDirection(curvature=lamda + rho, noise_variance=rho*sigma2)
    """

    curvature: Expr = s.rho + s.lamda
    noise_variance: Expr = s.sigma2 * s.rho

    @classmethod
    def of(cls, noise: Expr | None, curvature: Expr | None) -> EigenDirection:
        """The default direction, with what the caller says otherwise."""
        default = cls()
        return cls(
            default.curvature if curvature is None else _coefficient("curvature", curvature),
            default.noise_variance if noise is None else _coefficient("noise", noise),
        )

    def __post_init__(self) -> None:
        if self.noise_variance.is_negative:
            raise ValueError(f"noise = {self.noise_variance}: a variance must not be negative.")


def _coefficient(name: str, value: Any) -> Expr:
    try:
        expression: Expr = sympify(value, strict=True)
    except SympifyError:
        raise ValueError(
            f"{name} = {value!r}: give a number or a SymPy expression; text is not read as code."
        ) from None
    if not isinstance(expression, Expr) or expression is nan or expression.is_finite is False:
        raise ValueError(f"{name} = {value!r}: it must be one finite number or expression.")
    return expression
