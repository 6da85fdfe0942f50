r"""What the gradient noise is, along one eigen-direction of the Hessian.

Σ is the covariance of ONE example's gradient; a batch of S examples drawn with replacement has
Σ/S. When Σ shares the Hessian's eigenvectors, a direction is a curvature and a variance.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr, sympify

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
            default.curvature if curvature is None else sympify(curvature, strict=True),
            default.noise_variance if noise is None else sympify(noise, strict=True),
        )
