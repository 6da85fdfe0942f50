r"""Linear Gaussian processes: everything about them follows from a generator and a noise.

A process with a constant linear law relaxes by its generator G and gains covariance N per unit of
its clock. In continuous time dx = −G x dt + √N dW; in discrete time x_{k+1} = (1 − G) x_k + noise.
Mean, covariance, autocovariance and displacement are written here once, for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from sympy import (
    Add,
    Dummy,
    Eq,
    Expr,
    ImmutableMatrix,
    Matrix,
    Rational,
    eye,
    linsolve,
)
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.normal_form import factored, factored_matrix
from sgdtheory.remembered import remembered
from sgdtheory.special_functions import Clock, ModeFunctions
from sgdtheory.user_input import strict_expression

_Value = TypeVar("_Value", Expr, MatrixBase)
_CURVATURE = Dummy("h", real=True)

__all__ = ["GaussianProcess", "UnstableError", "clocked"]


def clocked(time: Expr | float) -> Expr:
    """A time or number of updates as an expression: a symbol, or finite and not negative.

    Raises:
        ValueError: for any other number.
    """
    value = strict_expression("time", time)
    if value.is_negative:
        raise ValueError(f"time = {time}: it must be finite and ≥ 0, or a symbol.")
    return value


class UnstableError(ValueError):
    """A direction has no stationary state: its curvature is not positive, or beyond stability."""


@dataclass(frozen=True)
class GaussianProcess(ABC):
    """Base of `OrnsteinUhlenbeck` and `LinearRecursion`: SymPy in, SymPy out.

    Times are positive numbers or symbols: time t for the one, update count k for the other.
    A process of dimension 2 has closed forms without regime cases in the functions of
    `sgdtheory.special_functions`; apply SymPy's `expand_func` to see the textbook ones.
    """

    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)
    coordinates: tuple[Expr, ...] = field(default=(), kw_only=True, repr=False)
    start: tuple[Expr, ...] = field(default=(), kw_only=True, repr=False)
    curvature: Expr = field(default=s.h, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not self.coordinates:
            object.__setattr__(self, "coordinates", s.coordinates(self.dimension))
        if not self.start:
            object.__setattr__(self, "start", s.coordinates(self.dimension, start=True))

    @property
    @abstractmethod
    def generator(self) -> ImmutableMatrix:
        """G, the rate (or the fraction per update) at which the mean relaxes."""

    @property
    @abstractmethod
    def noise(self) -> ImmutableMatrix:
        """N, the covariance gained per unit of the clock."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """Continuous time or update counts."""

    @abstractmethod
    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        """The propagator of a process whose dimension is not 2."""

    @abstractmethod
    def _gathered(self, time: Expr) -> ImmutableMatrix:
        """The covariance from a fixed start of a process whose dimension is not 2."""

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return cast(int, self.generator.shape[0])

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @cached_property
    def trace(self) -> Expr:
        """Trace of G: the damping rate of a phase space."""
        return self._long(factored(self._short(self.generator).trace()))

    @cached_property
    def determinant(self) -> Expr:
        """Determinant of G: the product of a mode's two rates; 0 for a flat direction."""
        return self._long(factored(self._short(self.generator).det(method="berkowitz")))

    # The algebra is done in one letter, however the curvature is composed (ρ + λ).

    def _short(self, value: _Value) -> _Value:
        return value if self.curvature.is_number else value.subs(self.curvature, _CURVATURE)

    def _long(self, value: _Value) -> _Value:
        return value.subs(_CURVATURE, self.curvature)

    def factored(self, matrix: MatrixBase) -> ImmutableMatrix:
        """The entries factored, with the curvature kept as one term."""
        if not isinstance(matrix, MatrixBase):
            raise TypeError(f"matrix = {matrix!r}: give a SymPy matrix.")
        return self._factored(ImmutableMatrix(matrix))

    @remembered
    def _factored(self, matrix: ImmutableMatrix) -> ImmutableMatrix:
        return ImmutableMatrix(self._long(factored_matrix(self._short(matrix))))

    def inverse(self, matrix: MatrixBase) -> ImmutableMatrix:
        """The inverse, its entries factored."""
        return self.factored(self._short(matrix).inv(method="ADJ"))

    # -- stationary state ---------------------------------------------------------------------

    @cached_property
    def _stationary_covariance(self) -> ImmutableMatrix:
        self._refuse_growth()
        size, G, N = self.dimension, self._short(self.generator), self._short(self.noise)
        unknown = s.matrix("B", size)
        entries = [unknown[i, j] for i in range(size) for j in range(i, size)]
        B = Matrix(size, size, lambda i, j: unknown[min(i, j), max(i, j)])
        balance = G * B + B * G.T - self.clock.second_order * G * B * G.T - N
        equations = [balance[i, j] for i in range(size) for j in range(i, size)]
        solutions = list(linsolve(equations, entries))
        if not solutions or any(value.has(unknown) for value in solutions[0]):
            raise UnstableError(
                f"generator = {self.generator}: G B + B Gᵀ = N has no unique solution, so the "
                "process has no stationary state. Give a generator whose eigenvalues have positive "
                "real parts."
            )
        return self.factored(B.subs(dict(zip(entries, solutions[0], strict=True))))

    def _refuse_growth(self) -> None:
        """The equations have solutions beyond stability too, but those are no covariances."""
        if self.curvature.is_nonpositive:
            raise UnstableError(
                f"curvature = {self.curvature}: a stationary state needs one above 0. Means and "
                "covariances from a fixed start exist without it."
            )
        if self.generator.free_symbols:
            return
        rates = np.linalg.eigvals(np.array(self.generator, dtype=np.complex128))
        decays = np.abs(1 - rates) < 1 if self.clock.second_order else rates.real > 0
        if not decays.all():
            raise UnstableError(
                f"generator = {self.generator} has the eigenvalues {rates}: not all of them decay, "
                "so the process has no stationary state. Check the signs, or the learning rate."
            )

    def stationary_covariance(self) -> ImmutableMatrix:
        r"""Covariance B of the stationary state, from G B + B Gᵀ = N (− G B Gᵀ per update).

        Solved as linear equations in the entries of B.

        Raises:
            UnstableError: when the equations have no unique solution, or a numeric generator has
                an eigenvalue that does not decay.
        """
        return self._stationary_covariance

    # -- in time ------------------------------------------------------------------------------

    def _functions(self, time: Expr) -> ModeFunctions:
        return self.clock.functions(time, self.trace, self.determinant)

    @remembered
    def propagator(self, time: Expr | float) -> ImmutableMatrix:
        """Matrix that takes the mean from 0 to `time`: e^{−Gt}, or (1 − G)^k.

        In two dimensions it is q − s G = ṡ + s adj G (Cayley-Hamilton); the diagonal uses the one
        and the other, so that neither a late position nor a late velocity comes from cancellation.
        """
        time = clocked(time)
        if self.dimension != 2:
            return self._matrix_power(time)
        f, G = self._functions(time), self.generator
        lent = f.impulse_response * G[0, 0]
        return ImmutableMatrix(
            [
                [f.relaxation - lent, -f.impulse_response * G[0, 1]],
                [-f.impulse_response * G[1, 0], f.velocity_response + lent],
            ]
        )

    @remembered
    def mean(self, time: Expr | float) -> ImmutableMatrix:
        """Mean at `time` of a process that starts at the offsets `start` (symbols θ_0, v_0)."""
        return ImmutableMatrix(self.propagator(time) * Matrix(self.start))

    @remembered
    def departure(self, time: Expr | float) -> ImmutableMatrix:
        """Coefficients of the start in the mean change of the first coordinate, 1×d.

        The first row of e^{−Gt} − 1, from the step response where that is −(p + s G₁₁): a flat
        direction that has hardly moved is not lost beside where it is.
        """
        time = clocked(time)
        if self.dimension != 2:
            return ImmutableMatrix((self.propagator(time) - eye(self.dimension)).row(0))
        f, G = self._functions(time), self.generator
        kept = f.step_response + f.impulse_response * G[0, 0]
        return ImmutableMatrix([[-kept, -f.impulse_response * G[0, 1]]])

    @remembered
    def covariance(self, time: Expr | float) -> ImmutableMatrix:
        r"""Covariance at `time` of a process that starts at a fixed point.

        The sum over all earlier moments of the noise that is left, F N Fᵀ with F = ṡ + s adj G. Its
        three integrals are two Gramians and ∫ s ṡ, which telescopes: every term is a square's
        share, so nothing cancels at early times or along flat directions.
        """
        time = clocked(time)
        if self.dimension != 2:
            return self._gathered(time)
        f, N = self._functions(time), self.noise
        adjugate = self.trace * eye(2) - self.generator
        mixed = (adjugate * N + N * adjugate.T) * Rational(1, 2)
        parts = (
            (f.impulse_response**2, mixed),
            (f.velocity_gramian, N - self.clock.second_order * mixed),
            (f.position_gramian, adjugate * N * adjugate.T),
        )
        return self._combine(parts)

    @remembered
    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x(t) x(0)ᵀ] in the stationary state."""
        time = clocked(time)
        B = self.stationary_covariance()
        if self.dimension != 2:
            return ImmutableMatrix(self.propagator(time) * B)
        f, G = self._functions(time), self.generator
        adjugate = self.trace * eye(2) - G
        position_row = self._combine(((f.relaxation, B), (f.impulse_response, -G * B)))
        velocity_row = self._combine(((f.velocity_response, B), (f.impulse_response, adjugate * B)))
        return ImmutableMatrix([position_row.row(0), velocity_row.row(1)])

    @remembered
    def displacement(self, time: Expr | float) -> Expr:
        r"""E|θ(t) − θ(0)|² of the first coordinate, from a stationary start.

        2 (B − F B)_{11} with F = q − s G is 2 (p B + s G B)_{11}: a sum of positive terms.
        """
        time = clocked(time)
        B = self.stationary_covariance()
        if self.dimension != 2:
            return cast(Expr, 2 * (B - self.propagator(time) * B)[0, 0])
        f = self._functions(time)
        parts = ((f.step_response, 2 * B), (f.impulse_response, 2 * self.generator * B))
        return cast(Expr, self._combine(parts)[0, 0])

    # -- what a further span adds -----------------------------------------------------------------

    def _responses_growth(self, time: Expr, span: Expr) -> tuple[Expr, Expr]:
        """What the step and the impulse response gain between `time` and `time` + `span`.

        The first row of F_t (F_span − 1), in the mode's own coordinates: no value of a late curve
        is subtracted from another.
        """
        since, then = self._functions(time), self._functions(span)
        exchange = self.determinant * since.impulse_response * then.impulse_response
        lent = since.impulse_response * then.step_response
        return (
            since.relaxation * then.step_response + exchange,
            since.velocity_response * then.impulse_response - lent,
        )

    @remembered
    def displacement_growth(self, time: Expr | float, span: Expr | float) -> Expr:
        r"""Displacement at `time` + `span` less that at `time`, from a stationary start.

        2 (F_t (1 − F_span) B)_{11}: the displacement's own form, with what p and s gain in the
        span. It keeps its digits where the curve has levelled off and a difference has none.

        Args:
            time: from the start.
            span: after it, in the same unit.

        >>> from sgdtheory import heavy_ball, recursion, symbols as s
        >>> process = recursion(heavy_ball(), noise=s.Sigma, curvature=s.h)
        >>> here = {s.eta: 1, s.beta: Rational(1, 2), s.h: 1, s.Sigma: 1, s.S: 1}
        >>> process.displacement_growth(40, 2).xreplace(here).evalf(8)
        -2.5607333e-6
        """
        time, span = clocked(time), clocked(span)
        B = self.stationary_covariance()
        if self.dimension != 2:
            lost = (eye(self.dimension) - self.propagator(span)) * B
            return cast(Expr, 2 * (self.propagator(time) * lost)[0, 0])
        step, impulse = self._responses_growth(time, span)
        return cast(Expr, self._combine(((step, 2 * B), (impulse, 2 * self.generator * B)))[0, 0])

    @remembered
    def departure_growth(self, time: Expr | float, span: Expr | float) -> ImmutableMatrix:
        """`departure` at `time` + `span` less that at `time`, 1×d, without their difference."""
        time, span = clocked(time), clocked(span)
        if self.dimension != 2:
            change = self.propagator(span) - eye(self.dimension)
            return ImmutableMatrix((self.propagator(time) * change).row(0))
        (step, impulse), G = self._responses_growth(time, span), self.generator
        return ImmutableMatrix([[-step - impulse * G[0, 0], -impulse * G[0, 1]]])

    @remembered
    def covariance_growth(self, time: Expr | float, span: Expr | float) -> ImmutableMatrix:
        """`covariance` at `time` + `span` less that at `time`: F_t C_span F_tᵀ.

        The noise is the same at every moment, so what a span adds is the oldest noise's share.
        """
        flow = self.propagator(clocked(time))
        return ImmutableMatrix(flow * self.covariance(clocked(span)) * flow.T)

    def _combine(self, parts: Sequence[tuple[Expr, MatrixBase]]) -> ImmutableMatrix:
        """Σ function · coefficients, each coefficient factored by itself."""
        terms = [(function, self.factored(coefficients)) for function, coefficients in parts]
        rows, columns = parts[0][1].shape
        return ImmutableMatrix(
            rows, columns, lambda i, j: Add(*(function * c[i, j] for function, c in terms))
        )

    # -- the steps, for a reader --------------------------------------------------------------

    @property
    def _functions_named(self) -> str:
        if self.dimension != 2:
            return ""
        return (
            " q is the mode's relaxation, p = 1 − q its step response, s its impulse response, "
            "each at (time, trace, determinant) of the generator."
        )

    def derivation_of(self, result: str) -> Derivation:
        """The steps to one of the process's results, after those that led to the process.

        Args:
            result: "stationary_covariance", "propagator", "mean", "covariance", "autocovariance"
                or "displacement".
        """
        time = s.k if self.clock.second_order else s.t

        def balance() -> Derivation:
            discrete = self.clock.second_order
            G, B = (s.matrix(name, self.dimension) for name in ("G" if discrete else "A", "B"))
            kept = G * B + B * G.T - discrete * G * B * G.T
            return self.derivation.then(
                "Stationary covariance",
                "The covariance lost to relaxation, G = 1 − M an update, is the noise N gained in "
                "one."
                if discrete
                else "The covariance lost to relaxation is the noise gained, N = 2D/κ per time.",
                Eq(kept, s.matrix("N", self.dimension), evaluate=False),
            ).then(
                "Its solution",
                "Solved as linear equations in the entries.",
                Eq(s.matrix("B", self.dimension), self.stationary_covariance(), evaluate=False),
                assumption="the generator's eigenvalues lie in the region of stability",
            )

        def flow() -> Derivation:
            return self.derivation.then(
                "Propagator",
                "A 2×2 matrix satisfies its own characteristic equation, so every function of the "
                "generator is linear in it."
                if self.dimension == 2
                else "The exponential, or the power, of the generator.",
                self.propagator(time),
            )

        known = {
            "stationary_covariance": balance,
            "propagator": flow,
            "mean": lambda: flow().then("Mean", "Propagate the start.", self.mean(time)),
            "covariance": lambda: flow().then(
                "Covariance from a fixed start",
                "Add up what is left of the noise of every earlier moment." + self._functions_named,
                self.covariance(time),
            ),
            "autocovariance": lambda: balance().then(
                "Autocovariance", "Propagate the stationary covariance.", self.autocovariance(time)
            ),
            "displacement": lambda: balance().then(
                "Displacement",
                "Twice the stationary variance less twice the autocovariance."
                + self._functions_named,
                self.displacement(time),
            ),
        }
        if result not in known:
            raise ValueError(f"result = {result!r}: give one of {', '.join(known)}.")
        return known[result]()
