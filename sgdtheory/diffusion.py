r"""From the Langevin equation to an Ornstein-Uhlenbeck process in phase space.

.. math:: dx = -A x\,dt + \sqrt{2D/\kappa}\,dW, \qquad x = (\theta - \mu, v)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from sympy import Eq, Expr, Float, ImmutableMatrix, expand, eye, zeros
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.langevin import Langevin
from sgdtheory.noise import EigenDirection
from sgdtheory.normal_form import factored, factored_matrix
from sgdtheory.ornstein_uhlenbeck_process import (
    OrnsteinUhlenbeck,
    require_covariance,
    require_symmetric,
)
from sgdtheory.rational_matrices import function_of
from sgdtheory.user_input import strict_matrix

__all__ = ["OrnsteinUhlenbeck", "ornstein_uhlenbeck"]

Coefficients: TypeAlias = Expr | float | Sequence[Any] | MatrixBase | NDArray[np.floating[Any]]


def ornstein_uhlenbeck(
    langevin: Langevin,
    noise: Coefficients | None = None,
    curvature: Coefficients | None = None,
) -> OrnsteinUhlenbeck:
    r"""Phase-space process of a quadratic loss, of one eigen-direction or of several directions.

    .. math::

        A = \begin{pmatrix} 0 & -1 \\ m(H)^{-1} H & m(H)^{-1}\,\Gamma(H) \end{pmatrix}, \qquad
        2D/\kappa = \begin{pmatrix} 0 & 0 \\ 0 & m(H)^{-1}\, I\, m(H)^{-1} \end{pmatrix}

    with mass m, friction Γ and noise intensity I of the Langevin equation.

    Args:
        langevin: the equation of motion. Its mass and friction may contain ``symbols.h``.
        noise: Σ, the covariance of one example's gradient. A variance along one direction (default
            σ²ρ), a d×d positive semidefinite matrix, or a list of d variances.
        curvature: H with the weight decay. A number h of one direction (default ρ + λ), a d×d
            symmetric matrix, or a list of d eigenvalues, with Σ in the basis of its eigenvectors.
            It need not commute with Σ.

    Returns:
        Positions first, (θ_1, …, θ_d, v_1, …, v_d), with `process.velocities` the indices
        d, …, 2d − 1. Every direction has closed forms in time when H is diagonal.

    Raises:
        ValueError: for a mass of 0, shapes that do not fit, an asymmetric matrix or a Σ with a
            negative eigenvalue, by name.

    Source:
        Kunin et al., arXiv 2107.09133, section 4.

    >>> from sgdtheory import heavy_ball, modified_equation, symbols as s
    >>> langevin = modified_equation(heavy_ball())
    >>> ornstein_uhlenbeck(langevin, curvature=s.h).stationary_covariance()[0, 0]
    eta*rho*sigma2/(2*S*h*(1 - beta))
    >>> two = ornstein_uhlenbeck(langevin, noise=[[2, 1], [1, 2]], curvature=[1, 3])
    >>> two.coordinates, two.velocities
    ((theta_1, theta_2, v_1, v_2), (2, 3))
    >>> two.stationary_covariance()[0, 1].subs({s.eta: 1, s.beta: 0, s.S: 1})
    1/5
    """
    if not isinstance(langevin, Langevin):
        raise TypeError(f"langevin = {langevin!r}: give a Langevin, as modified_equation(rule).")
    if langevin.mass.is_zero:
        raise ValueError(
            f"langevin.mass = {langevin.mass}: without mass there is no velocity. "
            "Build the one-dimensional OrnsteinUhlenbeck(drift, diffusion) directly."
        )
    if _is_matrix(noise) or _is_matrix(curvature):
        H, covariance = _matrices(langevin, noise, curvature)
        return _derived(langevin, ImmutableMatrix(H), ImmutableMatrix(covariance), single=False)
    direction = EigenDirection.of(cast(Expr, noise), cast(Expr, curvature))
    H = ImmutableMatrix([[direction.curvature]])
    return _derived(langevin, H, ImmutableMatrix([[direction.noise_variance]]), single=True)


@lru_cache(maxsize=256)
def _derived(
    langevin: Langevin, H: ImmutableMatrix, covariance: ImmutableMatrix, *, single: bool
) -> OrnsteinUhlenbeck:
    size = H.rows
    names = {
        "coordinates": (s.theta, s.v) if single else s.phase_space(size),
        "start": (s.theta_0, s.v_0) if single else s.phase_space(size, start=True),
    }
    where = "θ and v = dθ/dt" if single else "the positions and velocities of all directions"
    drift, diffusion = _phase_space(langevin, H, covariance)
    steps = langevin.derivation.then(
        "First-order system",
        f"Write the equation for {where} near the minimum, where the force is linear.",
        Eq(s.matrix("A", 2 * size), drift, evaluate=False),
        Eq(s.matrix("D", 2 * size) / s.inverse_temperature, diffusion, evaluate=False),
        assumption="the loss is quadratic, and the noise does not depend on the position",
    )
    return OrnsteinUhlenbeck(
        drift,
        diffusion,
        langevin.inverse_temperature,
        derivation=steps,
        velocities=tuple(range(size, 2 * size)),
        curvature=H[0] if single else _least_curvature(H),
        **names,
    )


def _phase_space(
    langevin: Langevin, H: MatrixBase, covariance: MatrixBase
) -> tuple[ImmutableMatrix, ImmutableMatrix]:
    """A and D/κ, with every coefficient of the equation a function of H."""

    def at(coefficient: Expr) -> ImmutableMatrix:
        return function_of(factored(coefficient), s.h, H)

    size, mass = H.rows, langevin.mass
    local = at(mass) if mass.has(s.h) else zeros(0)
    if any(local[i, i].is_nonpositive for i in range(local.rows)):
        raise ValueError(
            f"langevin.mass = {local} at curvature = {H}: it must be positive. Here the modified "
            "equation is used beyond its reach: lower its order or the learning rate."
        )
    drift = zeros(2 * size)
    drift[:size, size:] = -eye(size)
    drift[size:, :size] = at(s.h / mass)
    drift[size:, size:] = at(langevin.friction / mass)
    lightness = at(1 / mass)
    diffusion = zeros(2 * size)
    diffusion[size:, size:] = lightness * _intensity(langevin, H, covariance) * lightness / 2
    if H.is_diagonal():
        # Each entry is a product of factors already, with the curvature as it was composed.
        return ImmutableMatrix(drift), ImmutableMatrix(diffusion)
    return factored_matrix(drift), factored_matrix(diffusion)


def _intensity(langevin: Langevin, H: MatrixBase, covariance: MatrixBase) -> ImmutableMatrix:
    """The random force's covariance per time, where the equation has a multiple of Σ."""
    multiple = langevin.noise_intensity.diff(s.Sigma)
    remainder = langevin.noise_intensity.subs(s.Sigma, 0)
    if multiple.has(s.Sigma):
        raise ValueError(
            f"langevin.noise_intensity = {langevin.noise_intensity}: it must be linear in "
            "symbols.Sigma, a covariance. Write it as a multiple of Sigma."
        )
    if multiple.has(s.h) and (H * covariance - covariance * H).applyfunc(expand) != H * 0:
        raise ValueError(
            f"langevin.noise_intensity = {langevin.noise_intensity}: where it depends on the "
            "curvature it has a meaning only for a noise that commutes with the curvature. Give "
            "such a noise, or an equation of order 1."
        )
    scale, rest = (function_of(part, s.h, H) for part in (multiple, remainder))
    return ImmutableMatrix(scale * covariance + rest)


def _least_curvature(H: ImmutableMatrix) -> Expr:
    """The one that decides whether there is a stationary state, where it is a number without."""
    if H.free_symbols:
        return s.h
    lowest = np.linalg.eigvalsh(np.array(H, dtype=np.float64)).min()
    scale = np.finfo(np.float64).eps * len(H) * max(abs(float(x)) for x in H)
    return s.h if lowest > scale else Float(min(lowest, 0.0))


def _is_matrix(value: object) -> bool:
    return isinstance(value, MatrixBase | np.ndarray | list | tuple)


def _matrices(
    langevin: Langevin, noise: Coefficients | None, curvature: Coefficients | None
) -> tuple[ImmutableMatrix, ImmutableMatrix]:
    """H and Σ of several directions, checked."""
    if not (_is_matrix(noise) and _is_matrix(curvature)):
        raise ValueError(
            f"noise = {noise}, curvature = {curvature}: several directions need both as matrices "
            "or lists. Give Σ, d×d, and H + λI, d×d."
        )
    H, covariance = (_matrix(n, x) for n, x in (("curvature", curvature), ("noise", noise)))
    if H.shape != covariance.shape:
        raise ValueError(
            f"curvature has shape {H.shape} and noise {covariance.shape}: both must be d×d with "
            "one d. Write them in the same basis."
        )
    require_symmetric("curvature", H, "a Hessian")
    require_covariance("noise", covariance)
    if not langevin.noise_intensity.has(s.Sigma):
        raise ValueError(
            f"langevin.noise_intensity = {langevin.noise_intensity}: it does not contain "
            "symbols.Sigma, so a noise matrix has no place in it. Write it as a multiple of Sigma."
        )
    return H, covariance


def _matrix(name: str, value: Any) -> ImmutableMatrix:
    """A square matrix; a list of numbers is its diagonal."""
    matrix = strict_matrix(name, value)
    if not isinstance(value, MatrixBase) and matrix.cols == 1 and np.ndim(value) == 1:
        matrix = ImmutableMatrix.diag(*matrix)
    if matrix.rows != matrix.cols or matrix.rows == 0:
        raise ValueError(
            f"{name} has shape {matrix.shape}: it must be d×d. Give a square matrix, or a list of "
            "d numbers for a diagonal one."
        )
    return matrix
