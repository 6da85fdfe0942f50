r"""The Fokker-Planck equation of a linear process: modified loss, circulation and currents.

.. math::

    \partial_t p = -\nabla\cdot J, \qquad J = -A x\,p - \kappa^{-1} D\,\nabla p, \qquad
    p_{ss} \propto e^{-\kappa\Phi}, \qquad A = (D + Q)\,U

Φ = ½ xᵀUx is the modified loss: what the process descends. The antisymmetric Q turns the descent
sideways, and the stationary current −Q∇Φ p circulates along its level lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import cast

from sympy import (
    Add,
    Eq,
    Expr,
    Float,
    ImmutableMatrix,
    Matrix,
    Poly,
    Rational,
    exp,
    fraction,
    latex,
    pi,
    sqrt,
    together,
)
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.entropy_production import entropy_production_rate
from sgdtheory.gaussian_process import UnstableError, clocked
from sgdtheory.normal_form import factored
from sgdtheory.ornstein_uhlenbeck_process import OrnsteinUhlenbeck
from sgdtheory.remembered import remembered
from sgdtheory.user_input import strict_expression
from sgdtheory.van_loan import DIGITS, numeric_flow

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

    @cached_property
    def density(self) -> Expr:
        """Stationary density, normalised."""
        return self._gaussian(self.process.stationary_covariance(), Matrix(self.coordinates))

    @cached_property
    def mean_velocity(self) -> ImmutableMatrix:
        """−Q ∇Φ = −Q U x, the velocity J/p of probability in the stationary state."""
        gradient = self.precision * Matrix(self.coordinates)
        return self.process.factored(-self.circulation * gradient)

    @cached_property
    def current(self) -> ImmutableMatrix:
        """Stationary current J = −Q ∇Φ p."""
        return ImmutableMatrix(self.mean_velocity * self.density)

    @cached_property
    def divergence(self) -> Expr:
        """∇·J of the stationary current, simplified: 0 where the density does not change."""
        kappa, x = self.process.inverse_temperature, self.coordinates
        Q, U, indices = self.circulation, self.precision, range(self.process.dimension)
        # −∇·(QUx) − (QUx)·∇log p with ∇log p = −κUx. Written as single products, the terms of
        # an antisymmetric Q and a symmetric U cancel before anything has to be expanded.
        spreading = Add(*(-Q[i, j] * U[j, i] for i in indices for j in indices))

        def curvature(i: int, j: int) -> Expr:
            return Add(*(U[m, i] * Q[n, m] * U[n, j] for m in indices for n in indices))

        along = Add(
            *(
                factored(kappa * (curvature(i, j) + curvature(j, i))) * x[i] * x[j] / 2
                for i in indices
                for j in indices
            )
        )
        return cast(Expr, (factored(spreading) + along) * self.density)

    @cached_property
    def cycle_frequencies(self) -> tuple[Expr, ...]:
        r"""Angular frequencies ω ≥ 0 at which the mean flow ẋ = −Q U x cycles on level lines of Φ.

        Q U is similar to the antisymmetric U^{1/2} Q U^{1/2}, so its eigenvalues are pairs ±iω
        and, in an odd dimension, one 0 besides. Each pair counts once: ⌊d/2⌋ frequencies, from
        det(z κB − Q) = 0 with z² = −ω². Numbers come in ascending order.

        Raises:
            ValueError: when a factor of degree 3 or more in ω² has symbols.

        Source:
            Mura, Gradziuk, Broedersz, Phys. Rev. Lett. 121, 038002 (2018).
        """
        process = self.process
        if process.drift.has(Float) or process.diffusion.has(Float):
            exact = fokker_planck(process.exact).cycle_frequencies
            return tuple(frequency.evalf() for frequency in exact)
        covariance = process.stationary_covariance() * process.inverse_temperature
        pencil = process.determinant_of(s.shift * covariance - self.circulation)
        # Every other coefficient vanishes, and −z² changes the sign of every other one left.
        kept = Poly(fraction(together(pencil))[0], s.shift).all_coeffs()[::2]
        squares = _roots(Poly([c * (-1) ** n for n, c in enumerate(kept)], s.shift))
        frequencies = [sqrt(square) for square in squares]
        if all(frequency.is_number for frequency in frequencies):
            frequencies.sort(key=lambda frequency: frequency.evalf(DIGITS))
        return tuple(frequencies)

    @remembered
    def flux(self, plane: tuple[int, int] = (0, 1), start: Sequence[Expr | float] = (0, 0)) -> Expr:
        r"""Probability per unit time that crosses a half-line from `start` to infinity.

        .. math:: J_{ab} = \kappa^{-1} Q_{ab} \begin{pmatrix} \partial_b p \\ -\partial_a p
            \end{pmatrix}, \qquad \text{flux} = \kappa^{-1} Q_{ab}\; p(x_a, x_b)

        In a plane of two coordinates, all others integrated over, κ⁻¹Q_ab p is the current's
        stream function. So any path from `start` to infinity is crossed by the same flux, and the
        direction of the half-line does not matter. From the centre it is the number of turns per
        unit time; of a process with two coordinates ±ω/2π.

        Args:
            plane: indices (a, b) of the two coordinates.
            start: where the half-line begins, in these coordinates; offsets from the minimum.

        Returns:
            Positive for a crossing that is counter-clockwise as seen from `start` with a to the
            right and b upwards. Unit: 1/time.

        Raises:
            ValueError: when the plane or the start are not two coordinates.
        """
        size = self.process.dimension
        if len(plane) != 2 or plane[0] == plane[1] or any(i not in range(size) for i in plane):
            raise ValueError(
                f"plane = {plane}: give two different indices of coordinates, from 0 to {size - 1}."
            )
        if len(start) != 2:
            raise ValueError(f"start = {start}: give the two coordinates of a point in the plane.")
        point = Matrix([strict_expression("start", x) for x in start])
        marginal = self.process.stationary_covariance().extract(plane, plane)
        stream = self.circulation[plane] / self.process.inverse_temperature
        return cast(Expr, stream * self._gaussian(marginal, point))

    # -- before the stationary state ----------------------------------------------------------

    @remembered
    def density_at(self, time: Expr | float) -> Expr:
        """Density at `time` > 0 of a process that starts at the fixed point `process.start`.

        Raises:
            ValueError: at time 0, or with symbols beside `process.start` in three or more
                coordinates, where the result is numeric: 30 digits, less those of the
                covariance's condition number.
        """
        offset, covariance = self._moments(time)
        return self._gaussian(covariance, offset)

    @remembered
    def current_at(self, time: Expr | float) -> ImmutableMatrix:
        """Current J = −A x p − (D/κ) ∇p at `time` > 0, from the fixed point `process.start`."""
        x = Matrix(self.coordinates)
        offset, covariance = self._moments(time)
        towards = self.process.inverse(covariance) * offset
        field_lines = -self.process.drift * x + self.process.diffusion * towards
        return ImmutableMatrix(field_lines * self._gaussian(covariance, offset))

    @remembered
    def divergence_at(self, time: Expr | float) -> Expr:
        """∇·J at `time` > 0: minus the rate at which the density changes."""
        outflow = zip(self.current_at(time), self.coordinates, strict=True)
        return cast(Expr, Add(*(current.diff(x) for current, x in outflow)))

    def _moments(self, time: Expr | float) -> tuple[MatrixBase, MatrixBase]:
        """Offset from the mean, and covariance; numbers where an inverse would fill pages."""
        time = clocked(time)
        if time.is_zero:
            raise ValueError(
                f"time = {time}: the process is at a point there, which has no density. Give a "
                "time > 0."
            )
        process, x = self.process, Matrix(self.coordinates)
        if process.dimension <= 2:
            return x - process.mean(time), process.covariance(time)
        letters = process.drift.free_symbols | process.noise.free_symbols | time.free_symbols
        if letters:
            names = ", ".join(sorted(map(str, letters)))
            raise ValueError(
                f"time = {time}: before the stationary state the density of three or more "
                f"coordinates needs numbers, but {names} is a symbol. Insert numbers, or take "
                "single directions, whose densities multiply where their noise is independent."
            )
        flow, covariance = numeric_flow(process.drift, process.noise, time)
        return x - flow * Matrix(process.start), covariance

    @remembered
    def entropy_production(self, odd: tuple[int, ...] = ()) -> Expr:
        """Rate of entropy production of the stationary state.

        Args:
            odd: indices of the coordinates that change sign under time reversal; velocities do,
                so for a process of SGD give `process.velocities`: the last half, d … 2d − 1.
                The number depends on this choice: one mode of SGD has 0 with `odd=(1,)` and ∞ with
                `odd=()`, where its noiseless position would have to be reversible.

        Source:
            Spinney and Ford, Phys. Rev. E 85, 051113 (2012).
        """
        return entropy_production_rate(self.process, odd)

    def _gaussian(self, covariance: MatrixBase, offset: MatrixBase) -> Expr:
        exponent = -Rational(1, 2) * (offset.T * self.process.inverse(covariance) * offset)[0]
        volume = sqrt((2 * pi) ** covariance.rows * self.process.determinant_of(covariance))
        return cast(Expr, exp(exponent) / volume)

    def _repr_latex_(self) -> str:
        return rf"$\Phi = {latex(self.modified_loss)}$"


def _roots(polynomial: Poly) -> list[Expr]:
    """All roots of a polynomial that has real ones only, with their multiplicities."""
    if polynomial.domain.is_EX:
        return list(polynomial.nroots(n=DIGITS))
    return [
        root
        for factor, multiplicity in polynomial.factor_list()[1]
        for root in _roots_of_factor(factor)
        for _ in range(multiplicity)
    ]


def _roots_of_factor(factor: Poly) -> list[Expr]:
    coefficients = factor.all_coeffs()
    if factor.degree() == 1:
        a, b = coefficients
        return [factored(-b / a)]
    if factor.degree() == 2:
        a, b, c = coefficients
        half = sqrt(factored(b**2 - 4 * a * c)) / (2 * a)
        middle = factored(-b / (2 * a))
        return [middle - half, middle + half]
    if factor.free_symbols_in_domain:
        raise ValueError(
            f"the squared cycle frequencies solve an equation of degree {factor.degree()} with "
            "symbols in it, which has no closed form. Insert numbers for the symbols of the "
            "process."
        )
    return list(factor.real_roots())


def _refuse_endless(process: OrnsteinUhlenbeck) -> None:
    letters = process.drift.free_symbols | process.diffusion.free_symbols
    decimals = process.drift.has(Float) or process.diffusion.has(Float)
    coupled = not (process.diffusion.is_diagonal() and max(map(len, process.blocks)) <= 2)
    if letters and coupled and process.dimension > (2 if decimals else 4):
        names = ", ".join(sorted(map(str, letters)))
        raise ValueError(
            f"process has {process.dimension} coupled coordinates"
            + (" with decimal numbers" if decimals else "")
            + f" and the symbols {names}: algebra with both does not end. Insert numbers first, as "
            "process.at(hyperparameters.values)."
        )


@lru_cache(maxsize=256)
def fokker_planck(process: OrnsteinUhlenbeck) -> ProbabilityFlow:
    r"""Modified loss Φ, precision U and circulation Q of a linear process.

    Args:
        process: any Ornstein-Uhlenbeck process with a stationary state.

    Raises:
        UnstableError: without stationary state, or when the noise leaves a direction without
            spread, so that the stationary covariance has no inverse.
        ValueError: for symbols in more than four coordinates that the noise or the drift couples,
            or beside decimal numbers in more than two: such algebra does not end.

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
    _refuse_endless(process)
    kappa = process.inverse_temperature
    scaled = process.factored(process.stationary_covariance() * kappa)
    if process.determinant_of(scaled).is_zero:
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
            "Fokker-Planck equation",
            "Probability drifts with −A x and diffuses with D/κ: it is conserved, ∂p/∂t = −∇·J, "
            "with the current J.",
            Eq(
                s.matrix("J", size, 1),
                -s.density * s.matrix("A", size) * s.matrix("x", size, 1)
                - s.matrix("D", size) * s.matrix("∇p", size, 1) / s.inverse_temperature,
                evaluate=False,
            ),
        )
        .then(
            "Stationary density",
            "A linear process ends in a Gaussian, p ∝ exp(−κΦ) with Φ = ½ xᵀ U x, whose precision "
            "κU inverts its covariance B.",
            Eq(s.matrix("U", size), precision, evaluate=False),
        )
        .then(
            "Circulation",
            "With ∇p = −κ U x p the current is −(A − D U) x p. In the balance A B + B Aᵀ = 2D/κ "
            "the two terms are transposes: what κ A B leaves beside D is antisymmetric, "
            "Q = κ A B − D, and A = (D + Q) U.",
            Eq(s.matrix("Q", size), circulation, evaluate=False),
        )
    )
    flow = ProbabilityFlow(process, precision, circulation, steps)
    final = steps.then(
        "Modified loss",
        "Φ is what the process descends, while J = −(A − D U) x p = −Q ∇Φ p circulates on its "
        "level lines.",
        Eq(s.modified_loss, flow.modified_loss, evaluate=False),
    )
    return replace(flow, derivation=final)
