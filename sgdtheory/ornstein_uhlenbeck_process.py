r"""An Ornstein-Uhlenbeck process of any dimension, solved block by block.

.. math:: dx = -A x\,dt + \sqrt{2D/\kappa}\,dW

Coordinates that the drift A does not couple form blocks. The propagator of a block is its own, and
the covariance of two blocks is one small linear system, whatever correlates their noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np
from sympy import (
    Add,
    Expr,
    Float,
    ImmutableMatrix,
    Matrix,
    Poly,
    Rational,
    S,
    exp,
    expand,
    latex,
    linsolve,
    zeros,
)
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.gaussian_process import GaussianProcess, UnstableError
from sgdtheory.rational_matrices import determinant, inverse
from sgdtheory.special_functions import CONTINUOUS, Clock, ModeFunction
from sgdtheory.user_input import strict_expression, strict_matrix
from sgdtheory.van_loan import numeric_flow

__all__ = ["OrnsteinUhlenbeck", "require_covariance", "require_symmetric"]


@dataclass(frozen=True)
class OrnsteinUhlenbeck(GaussianProcess):
    r"""dx = −A x dt + √(2D/κ) dW, of any dimension.

    Coordinates that the drift does not couple are solved block by block: blocks of one or two have
    closed forms in time, whatever correlates their noise. So has a larger block whose rates are
    rational numbers; any other needs numbers for drift, diffusion and time, and gives 30 digits.
    Its stationary state is exact all the same.

    Args:
        drift: A, d×d.
        diffusion: D/κ, d×d, symmetric and positive semidefinite; 2D/κ is the covariance gained
            per unit of time.
        inverse_temperature: κ; 1 for a textbook process without an SGD behind it.
        velocities: indices of the coordinates that are velocities, odd under time reversal.

    Raises:
        ValueError: when the matrices are not square, of one size, or D is no covariance.

    >>> from sympy import Matrix, diag
    >>> OrnsteinUhlenbeck(Matrix([[2]]), Matrix([[3]])).stationary_covariance()
    Matrix([[3/2]])
    """

    drift: ImmutableMatrix
    diffusion: ImmutableMatrix
    inverse_temperature: Expr = S.One
    velocities: tuple[int, ...] = field(default=(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        for name in ("drift", "diffusion"):
            object.__setattr__(self, name, strict_matrix(name, getattr(self, name)))
        rows, columns = self.drift.shape
        if rows != columns or self.diffusion.shape != (rows, rows) or rows == 0:
            raise ValueError(
                f"drift has shape {self.drift.shape} and diffusion {self.diffusion.shape}: both "
                "must be d×d with one d ≥ 1. Pass the full matrices."
            )
        require_covariance("diffusion", self.diffusion)
        kappa = strict_expression("inverse_temperature", self.inverse_temperature)
        if kappa.is_nonpositive:
            raise ValueError(f"inverse_temperature = {kappa}: it must be above 0.")
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

    @property
    def exact(self) -> OrnsteinUhlenbeck:
        """The same process in fractions, for questions that rounding must not answer."""
        fractions = (_exactly(x) for x in (self.drift, self.diffusion))
        kappa = _exactly(Matrix([[self.inverse_temperature]]))[0]
        return replace(
            self,
            **dict(zip(("drift", "diffusion"), fractions, strict=True)),
            inverse_temperature=kappa,
        )

    def at(self, values: Mapping[Expr, Expr | float]) -> OrnsteinUhlenbeck:
        """The same process with numbers inserted, which any dimension can be asked everything.

        Args:
            values: of its symbols, as ``{symbols.eta: Rational(1, 10)}`` or
                `Hyperparameters.values`.

        >>> from sgdtheory import Hyperparameters, heavy_ball, modified_equation, ornstein_uhlenbeck
        >>> process = ornstein_uhlenbeck(modified_equation(heavy_ball()), [1.0, 1.0], [2.0, 1.0])
        >>> process.at(Hyperparameters(0.1, 0.9, 10).values).drift.free_symbols
        set()
        """
        numbers = {
            symbol: strict_expression(str(symbol), value) for symbol, value in values.items()
        }
        return replace(
            self,
            drift=self.drift.subs(numbers),
            diffusion=self.diffusion.subs(numbers),
            inverse_temperature=self.inverse_temperature.subs(numbers),
            curvature=self.curvature.subs(numbers),
        )

    def inverse(self, matrix: MatrixBase) -> ImmutableMatrix:
        """The inverse, its entries factored where they are rational."""
        if matrix.has(ModeFunction):
            # Functions of time have nothing in common to cancel, and `inv` would search for it.
            return ImmutableMatrix(matrix.adjugate() / matrix.det(method="berkowitz"))
        return self.factored(inverse(self._short(matrix)))

    def determinant_of(self, matrix: MatrixBase) -> Expr:
        """The determinant, factored where it is rational."""
        if matrix.has(ModeFunction):
            return cast(Expr, matrix.det(method="berkowitz"))
        return cast(Expr, self.factored(Matrix([[determinant(self._short(matrix))]]))[0])

    # -- block by block -----------------------------------------------------------------------

    @cached_property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Sets of coordinates between which the drift has no entry.

        >>> from sympy import Matrix, diag
        >>> OrnsteinUhlenbeck(Matrix([[1, 0, 2], [0, 3, 0], [4, 0, 5]]), diag(1, 1, 1)).blocks
        ((0, 2), (1,))
        """
        size, A = self.dimension, self.drift
        coupled = Matrix(size, size, lambda i, j: int(A[i, j] != 0 or A[j, i] != 0))
        return tuple(sorted(tuple(sorted(block)) for block in coupled.connected_components()))

    @cached_property
    def _parts(self) -> tuple[OrnsteinUhlenbeck, ...]:
        """The process of each block by itself."""
        return tuple(
            OrnsteinUhlenbeck(
                self.drift.extract(block, block),
                self.diffusion.extract(block, block),
                velocities=tuple(n for n, i in enumerate(block) if i in self.velocities),
                curvature=self.curvature,
            )
            for block in self.blocks
        )

    def _assembled(self, entry: Callable[[int, int], MatrixBase]) -> ImmutableMatrix:
        """A symmetric matrix from its blocks (m, n) with m ≤ n."""
        whole = zeros(self.dimension)
        for m, rows in enumerate(self.blocks):
            for n, columns in enumerate(self.blocks[m:], start=m):
                values = entry(m, n)
                for a, i in enumerate(rows):
                    for b, j in enumerate(columns):
                        whole[i, j] = whole[j, i] = values[a, b]
        return ImmutableMatrix(whole)

    def _shared(self, m: int, n: int) -> ImmutableMatrix | None:
        """E[x_m x_nᵀ] of two blocks, from A_m X + X A_nᵀ = N_mn; None without one solution."""
        rows, columns = self.blocks[m], self.blocks[n]
        A, B = (self._short(self._parts[i].drift) for i in (m, n))
        unknown = s.matrix("X", len(rows), len(columns))
        X = Matrix(unknown)
        balance = A * X + X * B.T - self._short(self.noise).extract(rows, columns)
        solutions = list(linsolve(list(balance), list(X)))
        if not solutions or any(value.has(unknown) for value in solutions[0]):
            return None
        return self.factored(Matrix(len(rows), len(columns), solutions[0]))

    @cached_property
    def _stationary_covariance(self) -> ImmutableMatrix:
        if len(self.blocks) == 1:
            return super()._stationary_covariance
        self._refuse_growth()

        def entry(m: int, n: int) -> MatrixBase:
            # A block that grows is refused by its own process.
            own = self._parts[m].stationary_covariance()
            shared = own if m == n else self._shared(m, n)
            if shared is None:
                raise UnstableError(
                    f"drift = {self.drift}: the coordinates {self.blocks[m]} and {self.blocks[n]} "
                    "have rates of opposite signs, so the process has no stationary state. Give a "
                    "drift whose eigenvalues have positive real parts."
                )
            return shared

        return self._assembled(entry)

    # -- in time ------------------------------------------------------------------------------

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        if len(self.blocks) > 1:
            return self._block_diagonal([part.propagator(time) for part in self._parts])
        if self.dimension == 1:
            return ImmutableMatrix([[exp(-self.drift[0] * time)]])
        if time.free_symbols and self._has_rational_rates:
            return ImmutableMatrix((-self.drift * time).exp())
        self._refuse_symbols(time)
        return numeric_flow(self.drift, self.noise, time)[0]

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        """∫ e^{−As} N e^{−Aᵀs} ds over [0, time].

        A block by itself needs no stability. Between two blocks it is X − F_m X F_nᵀ, with X the
        solution of their stationary balance, which lacks one only where their rates cancel.
        """
        if len(self.blocks) == 1:
            return self._gathered_alone(time)
        shared = {
            (m, n): self._shared(m, n)
            for m in range(len(self.blocks))
            for n in range(m + 1, len(self.blocks))
        }
        if any(X is None for X in shared.values()):
            self._refuse_symbols(time)
            return numeric_flow(self.drift, self.noise, time)[1]
        flows = [part.propagator(time) for part in self._parts]

        def entry(m: int, n: int) -> MatrixBase:
            if m == n:
                return self._parts[m].covariance(time)
            return shared[m, n] - flows[m] * shared[m, n] * flows[n].T

        return self._assembled(entry)

    def _gathered_alone(self, time: Expr) -> ImmutableMatrix:
        if self.dimension > 1:
            shared = self._shared(0, 0) if time.free_symbols and self._has_rational_rates else None
            if shared is not None:
                flow = self.propagator(time)
                return ImmutableMatrix(shared - flow * shared * flow.T)
            self._refuse_symbols(time)
            return numeric_flow(self.drift, self.noise, time)[1]
        rate, gain = self.drift[0], self.noise[0]
        if rate.is_zero:
            return ImmutableMatrix([[gain * time]])
        return ImmutableMatrix([[gain * (1 - exp(-2 * rate * time)) / (2 * rate)]])

    @cached_property
    def _has_rational_rates(self) -> bool:
        """Whether the exponential is a sum of e^{−rt} with rational r: SymPy finds that at once."""
        if not all(entry.is_Rational for entry in self.drift):
            return False
        factors = Poly(self.drift.charpoly().as_expr()).factor_list()[1]
        return all(factor.degree() == 1 for factor, _ in factors)

    def _block_diagonal(self, blocks: Sequence[MatrixBase]) -> ImmutableMatrix:
        whole = zeros(self.dimension)
        for indices, values in zip(self.blocks, blocks, strict=True):
            for a, i in enumerate(indices):
                for b, j in enumerate(indices):
                    whole[i, j] = values[a, b]
        return ImmutableMatrix(whole)

    def _refuse_symbols(self, time: Expr) -> None:
        symbols = self.drift.free_symbols | self.noise.free_symbols | time.free_symbols
        if symbols:
            names = ", ".join(sorted(map(str, symbols)))
            raise ValueError(
                f"time = {time}, drift = {self.drift}: in a drift that couples more than two "
                f"coordinates, a result in time needs numbers, but {names} is a symbol. Insert "
                "numbers, or use the coordinates in which the drift is diagonal (for SGD the "
                "eigenvectors of the curvature)."
            )

    def displacement(self, time: Expr | float) -> Expr:
        r"""E|θ(t) − θ(0)|² from a stationary start, summed over the positions.

        Without velocities, where no coordinate is known for a position, of the first coordinate.
        """
        if self.dimension == 2 or not self.velocities:
            return super().displacement(time)
        if len(self.blocks) > 1:
            return cast(Expr, Add(*(part.displacement(time) for part in self._parts)))
        B = self.stationary_covariance()
        lost = B - self.propagator(time) * B
        positions = (i for i in range(self.dimension) if i not in self.velocities)
        return cast(Expr, 2 * Add(*(lost[i, i] for i in positions)))

    def _repr_latex_(self) -> str:
        return rf"$dx = -{latex(self.drift)}\,x\,dt + \sqrt{{{latex(self.noise)}}}\,dW$"


def _exactly(matrix: MatrixBase) -> ImmutableMatrix:
    """The same numbers as fractions: every float is one."""
    floats = matrix.atoms(Float)
    return ImmutableMatrix(matrix.xreplace({x: Rational(x) for x in floats}))


def require_symmetric(name: str, matrix: MatrixBase, what: str) -> None:
    """Refuse a matrix that is not its own transpose, by name.

    Args:
        name: of the argument.
        matrix: its value.
        what: the kind of matrix that must be symmetric.

    Raises:
        ValueError: when an entry differs from its mirror image.
    """
    if (matrix - matrix.T).applyfunc(expand) != matrix * 0:
        raise ValueError(
            f"{name} = {matrix}: {what} must be symmetric. Pass ({name} + {name}ᵀ)/2 if that is "
            "what you mean."
        )


def require_covariance(name: str, matrix: MatrixBase) -> None:
    """Refuse what is not symmetric and positive semidefinite, as far as symbols let it be decided.

    Args:
        name: of the argument.
        matrix: its value, square.

    Raises:
        ValueError: for a negative variance, an asymmetric matrix, or a negative eigenvalue.
    """
    size = matrix.rows
    if any(matrix[i, i].is_negative for i in range(size)):
        raise ValueError(f"{name} = {matrix}: a variance must not be negative. Check its sign.")
    require_symmetric(name, matrix, "a covariance")
    if matrix.free_symbols:
        return
    lowest = np.linalg.eigvalsh(np.array(matrix, dtype=float)).min()
    scale = max(abs(float(x)) for x in matrix)
    # The eigenvalue of a singular matrix comes out as a few roundings on either side of 0.
    if lowest < -64 * size * np.finfo(float).eps * scale:
        raise ValueError(
            f"{name} = {matrix}: its eigenvalue {lowest:.6g} is negative, so it is no covariance. "
            "Give a positive semidefinite matrix."
        )
