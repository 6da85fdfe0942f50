r"""From the Langevin equation to an Ornstein-Uhlenbeck process in phase space.

.. math:: dx = -A x\,dt + \sqrt{2D/\kappa}\,dW, \qquad x = (\theta - \mu, v)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sympy import Eq, Expr, ImmutableMatrix, Matrix, S, expand, latex, sympify

from sgdtheory import symbols as s
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.langevin import Langevin
from sgdtheory.noise import EigenDirection
from sgdtheory.normal_form import factored_matrix
from sgdtheory.special_functions import CONTINUOUS, Clock

__all__ = ["OrnsteinUhlenbeck", "ornstein_uhlenbeck"]


@dataclass(frozen=True)
class OrnsteinUhlenbeck(GaussianProcess):
    r"""dx = −A x dt + √(2D/κ) dW, of any dimension.

    Args:
        drift: A, d×d.
        diffusion: D/κ, d×d, symmetric; 2D/κ is the covariance gained per unit of time.
        inverse_temperature: κ; 1 for a textbook process without an SGD behind it.

    Raises:
        ValueError: when the matrices are not square, of one size, or D is not symmetric.

    >>> from sympy import Matrix, diag
    >>> OrnsteinUhlenbeck(Matrix([[2]]), Matrix([[3]])).stationary_covariance()
    Matrix([[3/2]])
    """

    drift: ImmutableMatrix
    diffusion: ImmutableMatrix
    inverse_temperature: Expr = S.One

    def __post_init__(self) -> None:
        for name in ("drift", "diffusion"):
            object.__setattr__(self, name, ImmutableMatrix(getattr(self, name)))
        rows, columns = self.drift.shape
        if rows != columns or self.diffusion.shape != (rows, rows) or rows == 0:
            raise ValueError(
                f"drift has shape {self.drift.shape} and diffusion {self.diffusion.shape}: both "
                "must be d×d with one d ≥ 1. Pass the full matrices."
            )
        if any(self.diffusion[i, i].is_negative for i in range(rows)):
            raise ValueError(
                f"diffusion = {self.diffusion}: a variance per time must not be negative. "
                "Check its sign."
            )
        if (self.diffusion - self.diffusion.T).applyfunc(expand) != self.diffusion * 0:
            raise ValueError(
                f"diffusion = {self.diffusion}: a covariance per time must be symmetric. "
                "Pass (D + Dᵀ)/2 if that is what you mean."
            )
        kappa = sympify(self.inverse_temperature, strict=True)
        object.__setattr__(self, "inverse_temperature", kappa)
        super().__post_init__()

    @property
    def clock(self) -> Clock:
        """Continuous time."""
        return CONTINUOUS

    @property
    def generator(self) -> ImmutableMatrix:
        """A."""
        return self.drift

    @cached_property
    def noise(self) -> ImmutableMatrix:
        """2D/κ."""
        return ImmutableMatrix(2 * self.diffusion)

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        return ImmutableMatrix((-self.drift * time).exp())

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        """∫ e^{−As} N e^{−Aᵀs} ds, from one exponential of twice the size; needs no stability.

        Source: Van Loan, IEEE Trans. Autom. Control 23, 395 (1978).
        """
        size = self.dimension
        block = Matrix.vstack(
            Matrix.hstack(-self.drift, self.noise),
            Matrix.hstack(Matrix.zeros(size), self.drift.T),
        )
        flow = (block * time).exp()
        return ImmutableMatrix((flow[:size, size:] * flow[:size, :size].T).applyfunc(expand))

    def _repr_latex_(self) -> str:
        return rf"$dx = -{latex(self.drift)}\,x\,dt + \sqrt{{{latex(self.noise)}}}\,dW$"


def ornstein_uhlenbeck(
    langevin: Langevin, noise: Expr | None = None, curvature: Expr | None = None
) -> OrnsteinUhlenbeck:
    r"""Phase-space process of one eigen-direction of a quadratic loss.

    Args:
        langevin: the equation of motion.
        noise: variance Σ of one example's gradient along the direction; default σ²ρ.
        curvature: h; default ρ + λ.

    Source:
        Kunin et al., arXiv 2107.09133, section 4.

    >>> from sgdtheory import heavy_ball, modified_equation, symbols as s
    >>> langevin = modified_equation(heavy_ball())
    >>> ornstein_uhlenbeck(langevin, curvature=s.h).stationary_covariance()[0, 0]
    eta*rho*sigma2/(2*S*h*(1 - beta))
    """
    if not isinstance(langevin, Langevin):
        raise TypeError(f"langevin = {langevin!r}: give a Langevin, as modified_equation(rule).")
    if langevin.mass.is_zero:
        raise ValueError(
            f"langevin.mass = {langevin.mass}: without mass there is no velocity. "
            "Build the one-dimensional OrnsteinUhlenbeck(drift, diffusion) directly."
        )
    direction = EigenDirection.of(noise, curvature)
    mass = langevin.mass
    intensity = langevin.noise_intensity.subs(s.Sigma, direction.noise_variance)
    drift = factored_matrix(Matrix([[0, -1], [s.h / mass, langevin.friction / mass]]))
    drift = ImmutableMatrix(drift.subs(s.h, direction.curvature))
    diffusion = factored_matrix(Matrix([[0, 0], [0, intensity / mass**2 / 2]]))
    steps = langevin.derivation.then(
        "First-order system",
        "Write the equation for θ and v = dθ/dt near the minimum, where the force is linear.",
        Eq(s.matrix("A", 2), drift, evaluate=False),
        Eq(s.matrix("D", 2) / s.inverse_temperature, diffusion, evaluate=False),
        assumption="the loss is quadratic, and the noise does not depend on the position",
    )
    return OrnsteinUhlenbeck(
        drift,
        diffusion,
        langevin.inverse_temperature,
        derivation=steps,
        coordinates=(s.theta, s.v),
        start=(s.theta_0, s.v_0),
        curvature=direction.curvature,
    )
