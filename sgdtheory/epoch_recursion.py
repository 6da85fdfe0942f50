r"""Linear recursions whose noise is that of epochs: what reshuffled ones and one order share.

Inside an epoch of M updates the noise has covariance a δ − b (`sgdtheory.sampling`). Written as
(a − bM) δ + b (M δ − 1) it is white noise, which vanishes where an epoch uses every example, and
noise that adds up to nothing in an epoch: after n of its batches it has spread by

.. math::

    M W_n - S_n n n^T S_n^T = (M - n)\,W_n + V_n, \qquad
    W_n = \sum_{j<n} u_j u_j^T, \quad S_n n = \sum_{j<n} u_j, \quad u_j = A^j n,

with A = 1 − G the map and n the kick of an update. V_n = n Σ u uᵀ − Σu Σuᵀ feels only how the
response u_j changes, which along a flat direction is hardly at all. It is therefore written in the
coordinates (n, G n), where by Cayley-Hamilton the generator is

.. math:: G \to \begin{pmatrix} 0 & -b \\ 1 & a \end{pmatrix}, \qquad
    u_j \to (1 - p_j,\ -s_j),

and what a flat direction keeps is a coordinate of its own. From one epoch's end to the next the
process is a recursion again, the stroboscopic one, with the map A^M and the noise V_M. Stationary
results are averages over the phase, the place of an update in its epoch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sympy import Eq, Expr, ImmutableMatrix, Integer, Matrix, eye
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import clocked
from sgdtheory.linear_recursion import LinearRecursion
from sgdtheory.normal_form import factored
from sgdtheory.remembered import remembered
from sgdtheory.sampling import Sampling
from sgdtheory.special_functions import DISCRETE
from sgdtheory.stroboscopic import Stroboscopic
from sgdtheory.user_input import strict_expression

__all__ = ["EpochRecursion"]


@lru_cache(maxsize=256)
def _unit_noise(
    one_map: ImmutableMatrix, kick: ImmutableMatrix, curvature: Expr
) -> LinearRecursion:
    """The recursion under white noise, whose responses reshuffled and repeated epochs share."""
    return LinearRecursion(one_map, kick, Integer(1), curvature=curvature)


@dataclass(frozen=True)
class EpochRecursion(LinearRecursion):
    """What reshuffled epochs and a fixed order share."""

    sampling: Sampling = field(kw_only=True)
    example_variance: Expr = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.map.shape != (2, 2):
            raise ValueError(
                f"map has shape {self.map.shape}: noise of epochs is derived for the two "
                "coordinates of a rule. Iterate a larger recursion yourself."
            )

    # -- responses to unit noise --------------------------------------------------------------

    @property
    def _white(self) -> LinearRecursion:
        return _unit_noise(self.map, self.kick, self.curvature)

    @cached_property
    def _white_fading(self) -> tuple[ImmutableMatrix, ImmutableMatrix]:
        """W and G W of the white stationary state, which fades by p W + s G W."""
        W = self._white.stationary_covariance()
        return W, self.factored(self.generator * W)

    @property
    def _surplus(self) -> Expr:
        """a − bM: 0 where an epoch uses every example."""
        # Over one denominator it is exactly 0 in floating point as well.
        return factored(self.sampling.own - self.sampling.shared * s.M)

    # -- in the coordinates (n, G n) ----------------------------------------------------------

    @cached_property
    def _basis(self) -> ImmutableMatrix:
        return self.factored(Matrix.hstack(self.kick, self.generator * self.kick))

    @cached_property
    def _companion(self) -> ImmutableMatrix:
        return ImmutableMatrix([[0, -self.determinant], [1, self.trace]])

    def _onward(self, count: Expr) -> Matrix:
        """A^n."""
        f, b = self._functions(count), self.determinant
        impulse = f.impulse_response
        return Matrix([[f.relaxation, b * impulse], [-impulse, f.velocity_response]])

    def _change(self, count: Expr) -> Matrix:
        """u_n − n = −(p_n, s_n)."""
        f = self._functions(count)
        return -Matrix([f.step_response, f.impulse_response])

    def _changes(self, count: Expr) -> tuple[Matrix, Matrix]:
        """Σ y and Σ y yᵀ over the first `count` changes y_j, by p = b c and c, the sum of s."""
        point, b = (count, self.trace, self.determinant), self.determinant
        sums, gramian = DISCRETE.sums(*point), DISCRETE.functions(*point).position_gramian
        # c² grows by 2 c s + s² an update.
        mixed = b * (sums.once**2 - gramian) / 2
        return (
            -Matrix([b * sums.twice, sums.once]),
            Matrix([[b**2 * sums.gramian, mixed], [mixed, gramian]]),
        )

    def _variation(self, count: Expr) -> Matrix:
        """V_n."""
        total, squares = self._changes(count)
        return Matrix(count * squares - total * total.T)

    def _stroboscope(self, generator: MatrixBase, gained: MatrixBase) -> Stroboscopic:
        """From one epoch's end to the next, in the coordinates of the matrices given."""
        f = self._functions(s.M)
        p, impulse = f.step_response, f.impulse_response
        # 1 − A^M = p + s G, and det(p + s G) is G's characteristic polynomial at −p/s, times s².
        return Stroboscopic(
            ImmutableMatrix(p * eye(2) + impulse * generator),
            ImmutableMatrix(gained),
            2 * p + self.trace * impulse,
            p**2 + self.trace * p * impulse + self.determinant * impulse**2,
        )

    @cached_property
    def _stroboscopic(self) -> Stroboscopic:
        """Of noise that adds up to nothing, in the coordinates (n, G n)."""
        return self._stroboscope(self._companion, self._variation(s.M))

    def _back(self, matrix: MatrixBase) -> Matrix:
        """A covariance in (θ, v)."""
        return Matrix(self._basis * matrix * self._basis.T)

    def _begun(self, count: Expr) -> Matrix:
        """Covariance that `count` ≤ M batches of noise without mean cause, in (θ, v)."""
        return Matrix((s.M - count) * self._white.covariance(count)) + self._back(
            self._variation(count)
        )

    def _scaled(self, matrix: MatrixBase) -> ImmutableMatrix:
        return ImmutableMatrix(self.example_variance * matrix)

    # -- the verbs ----------------------------------------------------------------------------

    @remembered
    def stationary_covariance(self) -> ImmutableMatrix:
        """Covariance of the steady state, averaged over the phase.

        Raises:
            UnstableError: when there is no steady state.
        """
        return self._scaled(self._spread)

    @remembered
    def covariance(self, time: Expr | float, phase: Expr | int = 0) -> ImmutableMatrix:
        """Covariance after `time` updates from a fixed start.

        Args:
            time: updates.
            phase: batches of its epoch that were over at the start, 0 ≤ phase < M.
        """
        over = strict_expression("phase", phase)
        if over.is_negative or over.is_integer is False:
            raise ValueError(f"phase = {phase}: the batches that were over are a whole number ≥ 0.")
        return self._scaled(self._gathered_from(clocked(time), over))

    @remembered
    def covariance_growth(self, time: Expr | float, span: Expr | float) -> ImmutableMatrix:
        """`covariance` at `time` + `span` less that at `time`, as a difference.

        What an update adds depends on its place in the epoch. The difference keeps the digits
        that the growth has in common with the variance: about 16 − log₁₀ k after k updates, and
        none where the variance stays as it is.
        """
        time, span = clocked(time), clocked(span)
        return ImmutableMatrix(self.covariance(time + span) - self.covariance(time))

    @property
    @abstractmethod
    def _spread(self) -> Matrix:
        """Stationary covariance per unit Σ."""

    @abstractmethod
    def _gathered_from(self, time: Expr, phase: Expr) -> Matrix:
        """Covariance from a fixed start per unit Σ."""

    def derivation_of(self, result: str) -> Derivation:
        """The steps to one of the process's results, after those that led to the process.

        Args:
            result: "stationary_covariance", "propagator", "mean", "covariance", "autocovariance"
                or "displacement".
        """
        if result not in _NARRATED:
            return super().derivation_of(result)
        stationary = result == "stationary_covariance"
        value = self.stationary_covariance() if stationary else getattr(self, result)(s.k)
        assumption = (
            ""
            if result == "covariance"
            else "the generator's eigenvalues lie in the region of stability"
        )
        return self._one_epoch().then(*_NARRATED[result], value, assumption=assumption)

    def _one_epoch(self) -> Derivation:
        white, varying = (s.matrix(name, 2) for name in ("W_n", "V_n"))
        own, shared = self.sampling.own, self.sampling.shared
        return self.derivation.then(
            "One epoch",
            "n batches of noise with covariance Σ(a δ − b), as white noise and noise that adds up "
            "to nothing. With u the responses to a kick in each update, W_n = Σ u uᵀ and "
            "V_n = n Σ u uᵀ − Σu Σuᵀ, which is 0 where they do not vary.",
            Eq(
                s.matrix("K_n", 2),
                self.example_variance
                * ((own - shared * s.M) * white + shared * ((s.M - s.n) * white + varying)),
                evaluate=False,
            ),
            Eq(varying, ImmutableMatrix(self._back(self._variation(s.n))), evaluate=False),
        )


_NARRATED = {
    "stationary_covariance": (
        "Stationary covariance",
        "Spread of the steady state, averaged over the phase.",
    ),
    "covariance": (
        "Covariance from a fixed start",
        "What the epochs that are over have left, and this one so far.",
    ),
    "autocovariance": ("Autocovariance", "The same noise, seen twice."),
    "displacement": ("Displacement", "Twice what the position's autocovariance has lost."),
}
