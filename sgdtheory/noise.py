r"""What the gradient noise is, along one eigen-direction of the Hessian.

Σ is the covariance of ONE example's gradient; a batch of S examples drawn with replacement has
Σ/S. When Σ shares the Hessian's eigenvectors, a direction is a curvature and a variance.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

from sgdtheory import symbols as s
from sgdtheory.user_input import strict_expression

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
            default.curvature if curvature is None else strict_expression("curvature", curvature),
            default.noise_variance if noise is None else strict_expression("noise", noise),
        )

    def __post_init__(self) -> None:
        if self.noise_variance.is_negative:
            raise ValueError(f"noise = {self.noise_variance}: a variance must not be negative.")
