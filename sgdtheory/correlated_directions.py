r"""Two eigen-directions under correlated noise: what a Σ that does not commute with H adds.

In H's eigenbasis every direction i has its own generator G_i, and only the noise ties directions
together. So the covariance falls into 2×2 blocks X_ij = E[x_i x_jᵀ], each with its own balance

.. math:: G_i X + X G_j^T - c\,G_i X G_j^T = n_i n_j^T \Sigma_{ij},

c = 0 in continuous time and 1 for updates: four linear equations a pair, solved once for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

from sympy import (
    Add,
    Dummy,
    Eq,
    Expr,
    ImmutableMatrix,
    Matrix,
    Mul,
    Poly,
    Pow,
    S,
    expand,
    factor,
    latex,
    linsolve,
    sqrt,
)
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import GaussianProcess, UnstableError, clocked
from sgdtheory.normal_form import factored, factored_matrix

__all__ = ["DirectionPair"]

# The algebra is done in these two. A result is written by powers of the difference: the first
# term is one direction's own, and nothing cancels where two curvatures are nearly equal.
_SUM = Dummy("h_i + h_j", real=True)
_DIFFERENCE = Dummy("h_i - h_j", real=True)
_WRITTEN_OUT = {_SUM: s.h_i + s.h_j, _DIFFERENCE: s.h_i - s.h_j}


@dataclass(frozen=True)
class DirectionPair:
    r"""Directions i and j of one process, with curvatures h_i, h_j and noise covariance Σ_ij.

    Args:
        process: one eigen-direction in ``symbols.h`` and ``symbols.Sigma``, as
            ``recursion(rule, noise=s.Sigma, curvature=s.h)`` or the same of `ornstein_uhlenbeck`.

    Raises:
        TypeError: when `process` is no process.
        ValueError: when it is not two-dimensional, is written in other letters, or has noise from
            more than one source, for which one covariance Σ_ij says too little.

    Results are expressions in ``symbols.h_i``, ``h_j``, ``Sigma_ij`` and the rule's own; the state
    of a direction is (θ − μ, v). With h_i = h_j and Σ_ij = Σ they are those of the process.

    Source:
        Elementwise solution of the Lyapunov and Stein equations in an eigenbasis: Bartels and
        Stewart, Commun. ACM 15, 820 (1972); stationary SGD, Liu, Ziyin, Ueda, arXiv 2012.03636.

    >>> from sgdtheory import heavy_ball, modified_equation, ornstein_uhlenbeck
    >>> langevin = modified_equation(heavy_ball())
    >>> pair = DirectionPair(ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h))
    >>> pair.stationary_covariance()[0, 1] / pair.stationary_covariance()[0, 0]
    (h_i - h_j)/(2*(1 - beta))
    """

    process: GaussianProcess

    def __post_init__(self) -> None:
        process = self.process
        if not isinstance(process, GaussianProcess):
            raise TypeError(
                f"process = {process!r}: give one eigen-direction, as "
                "recursion(rule, noise=s.Sigma, curvature=s.h)."
            )
        if process.dimension != 2:
            raise ValueError(
                f"process has dimension {process.dimension}: a pair is built from one direction's "
                "position and velocity, dimension 2."
            )
        if process.curvature != s.h:
            raise ValueError(
                f"process.curvature = {process.curvature}: it must be the letter {s.h}, so that "
                "two directions can differ in it. Build the process with curvature=symbols.h."
            )
        per_variance = process.noise.applyfunc(lambda entry: expand(entry).coeff(s.Sigma))
        if (process.noise - s.Sigma * per_variance).applyfunc(expand) != Matrix.zeros(2):
            raise ValueError(
                f"process.noise = {process.noise}: it must be proportional to {s.Sigma}. Build "
                "the process with noise=symbols.Sigma."
            )
        # Computing it is the check that the noise has one source.
        _ = self.kick

    @cached_property
    def kick(self) -> ImmutableMatrix:
        """n, 2×1, in ``symbols.h``: N = n nᵀ Σ is the process's noise, n_i n_jᵀ Σ_ij a pair's."""
        noise = factored_matrix(self.process.noise.subs(s.Sigma, 1))
        pivot = 0 if noise[0, 0] != 0 else 1
        kick = noise.col(pivot) / _square_root(noise[pivot, pivot])
        if (kick * kick.T - noise).applyfunc(factor) != Matrix.zeros(2):
            raise ValueError(
                f"process.noise = {self.process.noise}: it is not n nᵀ Σ with one vector n, so "
                "more than one covariance ties two directions. Give a process with one source."
            )
        return factored_matrix(kick)

    @cached_property
    def noise(self) -> ImmutableMatrix:
        """n_i n_jᵀ Σ_ij, the covariance between the directions gained per unit of the clock."""
        i, j = self._of(self.kick)
        return factored_matrix(i * j.T * s.Sigma_ij)

    def _of(self, matrix: MatrixBase) -> tuple[MatrixBase, MatrixBase]:
        """A matrix of one direction, for the first and for the second."""
        return matrix.subs(s.h, s.h_i), matrix.subs(s.h, s.h_j)

    @cached_property
    def _stationary_covariance(self) -> ImmutableMatrix:
        halves = {s.h_i: (_SUM + _DIFFERENCE) / 2, s.h_j: (_SUM - _DIFFERENCE) / 2}
        (G_i, G_j), N = self._of(self.process.generator), self.noise
        unknown = s.matrix("X", 2)
        X = Matrix(unknown)
        balance = G_i * X + X * G_j.T - self.process.clock.second_order * G_i * X * G_j.T - N
        solutions = list(linsolve(list(balance.subs(halves)), list(X)))
        if not solutions or any(value.has(unknown) for value in solutions[0]):
            raise UnstableError(
                f"generator = {self.process.generator}: the balance of noise and decay has no "
                "unique solution, so the pair has no stationary state. Check the rule's signs."
            )
        return ImmutableMatrix(2, 2, [_by_difference(value) for value in solutions[0]])

    def stationary_covariance(self) -> ImmutableMatrix:
        r"""X_ij = E[x_i x_jᵀ] in the stationary state, 2×2; row i's state, column j's.

        Valid where both directions are stable. For heavy ball in discrete time

        .. math:: E[\theta_i\theta_j] = \frac{4\eta\,(1-\beta^2)\,\Sigma_{ij}/S}
            {\eta(1+\beta)^2 (h_i-h_j)^2 + (1-\beta)^2 (h_i+h_j)(4(1+\beta) - \eta(h_i+h_j))}

        Raises:
            UnstableError: when the four equations have no unique solution.
        """
        return self._stationary_covariance

    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x_i(t) x_j(0)ᵀ] in the stationary state, 2×2: the first direction is the later one.

        Args:
            time: time t, or update count k, of the process.
        """
        flow, _ = self._of(self.process.propagator(time))
        return ImmutableMatrix(flow * self.stationary_covariance())

    def covariance(self, time: Expr | float) -> ImmutableMatrix:
        """Covariance between the directions at `time` from a fixed start, X − F_i X F_jᵀ, 2×2.

        What the stationary state has and the start has not yet gathered. As a formula it is exact;
        as floating-point numbers it cancels early and along flat directions, where a sum over the
        noise of every earlier moment does not (as `DensePredictor` has it).

        Args:
            time: time t, or update count k, of the process.
        """
        i, j = self._of(self.process.propagator(clocked(time)))
        X = self.stationary_covariance()
        return ImmutableMatrix(X - i * X * j.T)

    @cached_property
    def derivation(self) -> Derivation:
        """The steps that led to the process, and from there to the pair's moments."""
        X, (G_i, G_j) = s.matrix("X", 2), self._of(self.process.generator)
        F_i, F_j = s.matrix("F_i", 2), s.matrix("F_j", 2)
        left = G_i * X + X * G_j.T - self.process.clock.second_order * G_i * X * G_j.T
        return (
            self.process.derivation.then(
                "Two eigen-directions",
                "In the Hessian's eigenbasis each direction has its own linear law, and the two "
                "share a source of noise with covariance Σ_ij; noise gained and covariance lost "
                "balance.",
                Eq(left, self.noise, evaluate=False),
                assumption="the noise reaches every direction through one kick per moment",
            )
            .then(
                "Stationary covariance of the pair",
                "Four linear equations in the entries of X, solved in the sum and the difference "
                "of the curvatures.",
                Eq(X, self.stationary_covariance(), evaluate=False),
                assumption="both directions lie in the region of stability",
            )
            .then(
                "In time",
                "The later direction's propagator carries an autocovariance; a fixed start lacks "
                "what both propagators still carry of the stationary state.",
                F_i * X,
                X - F_i * X * F_j.T,
            )
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    def _repr_latex_(self) -> str:
        return rf"$X = {latex(self.stationary_covariance())}$"


def _square_root(square: Expr) -> Expr:
    """A root that is rational in the curvature; which sign is no matter, the same for all h."""
    rational, rest = S.One, S.One
    for part in Mul.make_args(square):
        base, exponent = part.as_base_exp()
        rational *= Pow(base, exponent // 2)
        rest *= Pow(base, exponent % 2)
    if rest.has(s.h):
        raise ValueError(
            f"process.noise has the entry {square}: its root is not rational in {s.h}, so the "
            "noise that two directions share is unknown. Give a process with one kick per moment."
        )
    return cast(Expr, rational * sqrt(rest))


def _by_difference(value: Expr) -> Expr:
    """Factored; a factor that is no product is written by powers of h_i − h_j."""
    parts = (part.as_base_exp() for part in Mul.make_args(factored(value)))
    collected = Mul(*(Pow(_collected(base), exponent) for base, exponent in parts))
    return cast(Expr, collected.xreplace(_WRITTEN_OUT))


def _collected(base: Expr) -> Expr:
    if not base.has(_DIFFERENCE) or not isinstance(base, Add):
        return base
    terms = Poly(base, _DIFFERENCE).terms()
    return Add(*(factored(value) * _DIFFERENCE**power for (power,), value in terms))
