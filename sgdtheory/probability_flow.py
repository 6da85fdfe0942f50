r"""The Fokker-Planck equation of a linear process: modified loss, circulation and currents.

.. math::

    \partial_t p = -\nabla\cdot J, \qquad J = -A x\,p - \kappa^{-1} D\,\nabla p, \qquad
    p_{ss} \propto e^{-\kappa\Phi}, \qquad A = (D + Q)\,U

Φ = ½ xᵀUx is the modified loss: what the process descends. The antisymmetric Q turns the descent
sideways, and the stationary current −Q∇Φ p circulates along its level lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from sympy import (
    Add,
    Eq,
    Expr,
    Float,
    ImmutableMatrix,
    Matrix,
    Rational,
    exp,
    latex,
    oo,
    pi,
    sqrt,
    together,
)
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.diffusion import OrnsteinUhlenbeck
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.normal_form import factored

__all__ = ["ProbabilityFlow", "fokker_planck"]


@dataclass(frozen=True)
class ProbabilityFlow:
    """Stationary and transient density of a linear process, and the currents of probability.

    Args:
        process: the Ornstein-Uhlenbeck process.
        precision: U, with A = (D + Q) U.
        circulation: Q, antisymmetric.
        derivation: the steps.
    """

    process: OrnsteinUhlenbeck
    precision: ImmutableMatrix
    circulation: ImmutableMatrix
    derivation: Derivation = field(repr=False, compare=False)

    @property
    def coordinates(self) -> tuple[Expr, ...]:
        """The symbols in which densities and currents are written; offsets from the minimum."""
        return self.process.coordinates

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @property
    def modified_loss(self) -> Expr:
        """Φ = ½ xᵀ U x."""
        x, size = self.coordinates, self.process.dimension
        terms = (x[i] * x[j] * self.precision[i, j] / 2 for i in range(size) for j in range(size))
        return Add(*terms)

    @property
    def density(self) -> Expr:
        """Stationary density, normalised."""
        return self._gaussian(self.process.stationary_covariance())

    @property
    def current(self) -> ImmutableMatrix:
        """Stationary current J = −Q ∇Φ p."""
        gradient = self.precision * Matrix(self.coordinates)
        return ImmutableMatrix(self.process.factored(-self.circulation * gradient) * self.density)

    @property
    def divergence(self) -> Expr:
        """∇·J of the stationary current, simplified: 0 where the density does not change."""
        terms = (c.diff(x) for c, x in zip(self.current, self.coordinates, strict=True))
        return cast(Expr, together(sum(terms) / self.density).simplify() * self.density)

    def density_at(self, time: Expr | float) -> Expr:
        """Density at `time` > 0 of a process that starts at the fixed point `process.start`."""
        offset = self.process.mean(time)
        return self._gaussian(self.process.covariance(time), offset)

    def current_at(self, time: Expr | float) -> ImmutableMatrix:
        """Current J = −A x p − (D/κ) ∇p at `time` > 0, from the fixed point `process.start`."""
        x = Matrix(self.coordinates)
        inverse = self.process.inverse(self.process.covariance(time))
        towards = inverse * (x - self.process.mean(time))
        field_lines = -self.process.drift * x + self.process.diffusion * towards
        return ImmutableMatrix(field_lines * self.density_at(time))

    def entropy_production(self, odd: tuple[int, ...] = ()) -> Expr:
        """Rate of entropy production of the stationary state.

        Args:
            odd: indices of the coordinates that change sign under time reversal; velocities do.
                The number depends on this choice: one mode of SGD has 0 with `odd=(1,)` and ∞ with
                `odd=()`, where its noiseless position would have to be reversible.

        Source:
            Spinney and Ford, Phys. Rev. E 85, 051113 (2012).
        """
        size, A, D = self.process.dimension, self.process.drift, self.process.diffusion
        if any(index not in range(size) for index in odd):
            raise ValueError(f"odd = {odd}: indices of coordinates run from 0 to {size - 1}.")
        if A.has(Float) or D.has(Float):
            # Whether a flow has no noise of its own is a question for exact numbers.
            exact = OrnsteinUhlenbeck(_exactly(A), _exactly(D))
            return cast(Expr, fokker_planck(exact).entropy_production(odd).evalf())
        parity = Matrix.diag(*(-1 if i in odd else 1 for i in range(size)))
        if parity * D * parity != D:
            return cast(Expr, oo)
        irreversible = (A + parity * A * parity) / 2
        covariance = self.process.stationary_covariance()
        excess = self.process.factored(irreversible - D * self.process.inverse(covariance))
        inverse = D.pinv()
        outside = self.process.factored(excess - D * inverse * excess)
        if outside != excess * 0:
            return cast(Expr, oo)
        return cast(Expr, factored((excess.T * inverse * excess * covariance).trace()))

    def _gaussian(self, covariance: MatrixBase, mean: MatrixBase | None = None) -> Expr:
        x = Matrix(self.coordinates)
        offset = x if mean is None else x - mean
        exponent = -Rational(1, 2) * (offset.T * self.process.inverse(covariance) * offset)[0]
        volume = sqrt((2 * pi) ** len(self.coordinates) * covariance.det())
        return cast(Expr, exp(exponent) / volume)

    def _repr_latex_(self) -> str:
        return rf"$\Phi = {latex(self.modified_loss)}$"


def _exactly(matrix: MatrixBase) -> ImmutableMatrix:
    """The same numbers as fractions: every float is one."""
    floats = matrix.atoms(Float)
    return ImmutableMatrix(matrix.xreplace({x: Rational(x) for x in floats}))


def fokker_planck(process: OrnsteinUhlenbeck) -> ProbabilityFlow:
    r"""Modified loss Φ, precision U and circulation Q of a linear process.

    Args:
        process: any Ornstein-Uhlenbeck process with a stationary state.

    Raises:
        UnstableError: without stationary state, or when the noise leaves a direction without
            spread, so that the stationary covariance has no inverse.

    Source:
        Kwon, Ao, Thouless, PNAS 102 (2005); Kunin et al., arXiv 2107.09133, section 5.

    >>> from sgdtheory import heavy_ball, modified_equation, ornstein_uhlenbeck, symbols as s
    >>> flow = fokker_planck(ornstein_uhlenbeck(modified_equation(heavy_ball())))
    >>> flow.circulation
    Matrix([
    [         0, -rho*sigma2],
    [rho*sigma2,           0]])
    """
    if not isinstance(process, OrnsteinUhlenbeck):
        raise TypeError(
            f"process = {process!r}: give an OrnsteinUhlenbeck; the Fokker-Planck equation belongs "
            "to continuous time."
        )
    kappa = process.inverse_temperature
    scaled = process.factored(process.stationary_covariance() * kappa)
    if scaled.det().is_zero:
        raise UnstableError(
            f"diffusion = {process.diffusion}: it leaves a direction without spread, so the "
            "stationary density is not a function. Remove that direction."
        )
    circulation = process.factored(process.drift * scaled - process.diffusion * kappa)
    precision = process.inverse(scaled)
    size = process.dimension
    steps = (
        process.derivation_of("stationary_covariance")
        .then(
            "Stationary density",
            "A linear process ends in a Gaussian, p ∝ exp(−κΦ), whose precision inverts its "
            "covariance.",
            Eq(s.matrix("U", size), precision, evaluate=False),
        )
        .then(
            "Circulation",
            "What A B leaves beside the diffusion is antisymmetric: A = (D + Q) U.",
            Eq(s.matrix("Q", size), circulation, evaluate=False),
        )
    )
    flow = ProbabilityFlow(process, precision, circulation, steps)
    final = steps.then(
        "Modified loss",
        "Φ = ½ xᵀ U x: what the process descends, while J = −Q ∇Φ p circulates on its level lines.",
        Eq(s.modified_loss, flow.modified_loss, evaluate=False),
    )
    return replace(flow, derivation=final)
