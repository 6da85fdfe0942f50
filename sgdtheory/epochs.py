r"""Linear recursions whose noise is that of epochs: reshuffled ones, or one order for ever.

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
from typing import cast

from sympy import Eq, Expr, ImmutableMatrix, Integer, Matrix, Min, S, eye, floor, sympify
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.linear_recursion import LinearRecursion
from sgdtheory.remembered import remembered
from sgdtheory.sampling import Sampling
from sgdtheory.special_functions import DISCRETE, Clock

__all__ = ["EpochRecursion", "FixedOrderRecursion", "ReshuffledRecursion"]


@dataclass(frozen=True)
class _Stroboscopic(GaussianProcess):
    """A recursion seen once an epoch; its trace and determinant are known beforehand."""

    contraction: ImmutableMatrix
    gained: ImmutableMatrix
    own_trace: Expr
    own_determinant: Expr

    @property
    def clock(self) -> Clock:
        return DISCRETE

    @property
    def generator(self) -> ImmutableMatrix:
        return self.contraction

    @property
    def noise(self) -> ImmutableMatrix:
        return self.gained

    @property
    def trace(self) -> Expr:
        return self.own_trace

    @property
    def determinant(self) -> Expr:
        return self.own_determinant

    @property
    def cycle(self) -> Matrix:
        """(1 − A^M)⁻¹: the limit cycle that a kick repeated in every epoch causes."""
        return Matrix((self.trace * eye(2) - self.generator) / self.determinant)

    def factored(self, matrix: MatrixBase) -> ImmutableMatrix:
        """As it is: entries that contain functions of the epoch's length do not factor further."""
        return ImmutableMatrix(matrix)

    def _matrix_power(self, time: Expr) -> ImmutableMatrix:
        raise TypeError("a stroboscopic recursion has two coordinates.")

    def _gathered(self, time: Expr) -> ImmutableMatrix:
        raise TypeError("a stroboscopic recursion has two coordinates.")


def _summed(process: GaussianProcess, count: Expr) -> Matrix:
    """Σ_{j<count} (1 − G)^j = s + c adj G, with c the sum of the impulse response s."""
    point = (count, process.trace, process.determinant)
    adjugate = process.trace * eye(2) - process.generator
    impulse = DISCRETE.functions(*point).impulse_response
    return Matrix(impulse * eye(2) + DISCRETE.sums(*point).once * adjugate)


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
        if self.map.shape != (2, 2):
            raise ValueError(
                f"map has shape {self.map.shape}: noise of epochs is derived for the two "
                "coordinates of a rule. Iterate a larger recursion yourself."
            )
        super().__post_init__()

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
        return self.sampling.own - self.sampling.shared * s.M

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

    def _stroboscope(self, generator: MatrixBase) -> _Stroboscopic:
        """From one epoch's end to the next, in the coordinates of the generator given."""
        f = self._functions(s.M)
        p, impulse = f.step_response, f.impulse_response
        # 1 − A^M = p + s G, and det(p + s G) is G's characteristic polynomial at −p/s, times s².
        return _Stroboscopic(
            ImmutableMatrix(p * eye(2) + impulse * generator),
            ImmutableMatrix(self._variation(s.M)),
            2 * p + self.trace * impulse,
            p**2 + self.trace * p * impulse + self.determinant * impulse**2,
        )

    @cached_property
    def _stroboscopic(self) -> _Stroboscopic:
        return self._stroboscope(self._companion)

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
        return self._scaled(
            self._gathered_from(sympify(time, strict=True), sympify(phase, strict=True))
        )

    @property
    @abstractmethod
    def _spread(self) -> Matrix:
        """Stationary covariance per unit Σ."""

    @abstractmethod
    def _gathered_from(self, time: Expr, phase: Expr) -> Matrix:
        """Covariance from a fixed start per unit Σ."""

    def _end(self, result: str) -> str:
        return {
            "stationary_covariance": "Spread of the steady state, averaged over the phase.",
            "covariance": "What the epochs that are over have left, and this one so far.",
            "autocovariance": "The same noise, seen twice.",
            "displacement": "Twice what the position's autocovariance has lost.",
        }[result]

    def derivation_of(self, result: str) -> Derivation:
        """The steps to one of the process's results, after those that led to the process.

        Args:
            result: "stationary_covariance", "propagator", "mean", "covariance", "autocovariance"
                or "displacement".
        """
        if result in ("propagator", "mean"):
            return super().derivation_of(result)
        if result not in ("stationary_covariance", "covariance", "autocovariance", "displacement"):
            return super().derivation_of(result)
        value = (
            getattr(self, result)()
            if result == "stationary_covariance"
            else (getattr(self, result)(s.k))
        )
        white, varying = (s.matrix(name, 2) for name in ("W_n", "V_n"))
        own, shared = self.sampling.own, self.sampling.shared
        steps = self.derivation.then(
            "One epoch",
            "n batches of noise with covariance a δ − b, as white noise and noise without mean: "
            "W_n is the response's square summed over n updates, V_n how much it varies in them.",
            Eq(
                s.matrix("K_n", 2),
                (own - shared * s.M) * white + shared * ((s.M - s.n) * white + varying),
                evaluate=False,
            ),
            Eq(varying, ImmutableMatrix(self._back(self._variation(s.n))), evaluate=False),
        )
        assumption = (
            ""
            if result == "covariance"
            else "the generator's eigenvalues lie in the region of stability"
        )
        return steps.then(
            result.replace("_", " ").capitalize(), self._end(result), value, assumption=assumption
        )


class ReshuffledRecursion(EpochRecursion):
    r"""A recursion under epochs of a new order each.

    Its noise is white noise of variance a less a noise of variance b that an epoch's batches share,
    and so is every second moment. With T_n = Σ_{j<n} (n − j)(1 − A^j), which counts the pairs of
    batches j updates apart, the stationary covariance is (a − bM) W + (b/M)(T_M W + W T_Mᵀ): where
    an epoch uses every example, N = MS, the first term is absent, and with it the spread along flat
    directions.

    Source: Kühn and Rosenow, arXiv 2306.05300.
    """

    def _pairs(self, count: Expr) -> Matrix:
        """T_n W."""
        W, faded = self._white_fading
        sums = DISCRETE.sums(count + 1, self.trace, self.determinant)
        return Matrix(self.determinant * sums.thrice * W + sums.twice * faded)

    def _faded(self, count: Expr) -> Matrix:
        """(1 − A^n) W."""
        W, faded = self._white_fading
        f = self._functions(count)
        return Matrix(f.step_response * W + f.impulse_response * faded)

    @cached_property
    def _spread(self) -> Matrix:
        own, shared = self.sampling.own, self.sampling.shared
        W, _ = self._white_fading
        pairs = self._pairs(s.M)
        return Matrix((own - shared * s.M) * W + shared / s.M * (pairs + pairs.T))

    def _lost_within(self, count: Expr) -> Matrix:
        """Stationary covariance less autocovariance, per unit Σ, after at most an epoch.

        A lag of n updates moves the triangle of pairs, so its second difference is what counts.
        """
        own, shared = self.sampling.own, self.sampling.shared
        at_rest, behind = self._pairs(s.M), self._pairs(s.M - count)
        ahead, middle = self._pairs(s.M + count), self._pairs(count)
        moved = at_rest + at_rest.T - ahead + 2 * middle - behind.T
        return Matrix(own * self._faded(count) + shared / s.M * moved)

    def _position_lost_within(self, count: Expr) -> Expr:
        """Its position entry, which is even in time: then the second difference can be gathered.

        Σ_j (n − |j|)(1 − A^{M+j}), |j| < n, begins at A^{M−n}: no term counts more than n² pairs.
        """
        own, shared = self.sampling.own, self.sampling.shared
        middle = self._pairs(count)
        ahead = count**2 * self._faded(s.M - count) + self.propagator(s.M - count) * (
            self._pairs(2 * count) - 2 * middle
        )
        return (own * self._faded(count) + shared / s.M * (2 * middle - ahead))[0, 0]

    @remembered
    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x(t) x(0)ᵀ] in the steady state, averaged over the phase.

        Errors more than an epoch apart are independent: from there on the map alone acts.
        """
        time = sympify(time, strict=True)
        within = Min(time, s.M)
        early = self._spread - self._lost_within(within)
        return self._scaled(self.propagator(time - within) * early)

    @remembered
    def displacement(self, time: Expr | float) -> Expr:
        """E|θ(t) − θ(0)|² of the first coordinate in the steady state, averaged over the phase."""
        time = sympify(time, strict=True)
        within = Min(time, s.M)
        epoch_later = self._spread - self._lost_within(s.M)
        f = self._functions(time - within)
        later = f.step_response * epoch_later + f.impulse_response * self.generator * epoch_later
        lost = self._position_lost_within(within) + later[0, 0]
        return cast(Expr, 2 * self.example_variance * lost)

    def _gathered_from(self, time: Expr, phase: Expr) -> Matrix:
        # What is left of the epoch in which the start lies; a whole one counts among the others.
        first = S.Zero if phase == 0 else Min(time, s.M - phase)
        count = floor((time - first) / s.M)
        rest = time - first - count * s.M
        onward = self._onward(rest)
        epochs = onward * self._stroboscopic.covariance(count) * onward.T
        spread = self._back(epochs) + self._begun(rest)
        if first != 0:
            onward = self.propagator(time - first)
            spread += onward * self._begun(first) * onward.T
        white = self._surplus * self._white.covariance(time)
        return Matrix(white + self.sampling.shared * spread)


class FixedOrderRecursion(EpochRecursion):
    r"""A recursion under one order of the examples, repeated, averaged over orders.

    The same kick w comes every epoch, so the steady state is a limit cycle: (1 − A^M)⁻¹ w at the
    epoch's end, and as far on as the epoch has gone.
    """

    @cached_property
    def _own_stroboscopic(self) -> _Stroboscopic:
        """In (θ, v), for the white part."""
        return self._stroboscope(self.generator)

    @cached_property
    def _spread(self) -> Matrix:
        # Every update is some order's last, so the phase does not matter.
        own, cycle = self._own_stroboscopic.cycle, self._stroboscopic.cycle
        white = self._surplus * own * self._white.covariance(s.M) * own.T
        varying = self._back(cycle * self._stroboscopic.noise * cycle.T)
        return Matrix(white + self.sampling.shared * varying)

    def _with_begun(self, count: Expr) -> Matrix:
        """Covariance of a whole epoch's kick with its first `count` batches', without mean.

        M Σ u_{M−n+i} u_iᵀ − Σu Σuᵀ, with u = n + y: what comes of the first batches by the epoch's
        end is y_{M−n} + A^{M−n} y_i.
        """
        whole, _ = self._changes(s.M)
        total, squares = self._changes(count)
        skipped, _ = self._changes(s.M - count)
        later = self._change(s.M - count)
        steady = s.M * (whole - skipped) - count * whole
        pairs = s.M * (later * total.T + self._onward(s.M - count) * squares) - whole * total.T
        return Matrix(steady * Matrix([[1, 0]]) + pairs)

    def _with_begun_white(self, count: Expr) -> Matrix:
        """The same of white noise, in (θ, v)."""
        return Matrix(self.propagator(s.M - count) * self._white.covariance(count))

    @remembered
    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x(t) x(0)ᵀ] in the steady state; a whole epoch later everything is as before."""
        time = sympify(time, strict=True)
        rest = time - s.M * floor(time / s.M)
        white = self._with_begun_white(rest).T * self._own_stroboscopic.cycle.T
        varying = self._back(self._with_begun(rest).T * self._stroboscopic.cycle.T)
        since = self._surplus * white + self.sampling.shared * varying
        return self._scaled(self.propagator(rest) * self._spread + since)

    @remembered
    def displacement(self, time: Expr | float) -> Expr:
        """E|θ(t) − θ(0)|² of the first coordinate in the steady state.

        x(t) − x(0) = w_n − S_n S_M⁻¹ w, from the n batches since and the epoch before. An error
        that all batches share shifts the cycle and moves nothing along it.
        """
        time = sympify(time, strict=True)
        rest = time - s.M * floor(time / s.M)
        since = Min(rest, s.M - rest)
        impulse = self._functions(s.M).impulse_response
        once = DISCRETE.sums(s.M, self.trace, self.determinant).once
        adjugate = self.trace * eye(2) - self.generator
        size = impulse**2 + self.trace * impulse * once + self.determinant * once**2
        whole = (impulse + self.trace * once) * eye(2) - once * adjugate
        share = _summed(self, since) * whole / size
        own = self._white.covariance(since)
        mixed = share * self.propagator(s.M - since) * own
        moved = own + share * self._white.covariance(s.M) * share.T - mixed - mixed.T
        return cast(Expr, self.sampling.own * self.example_variance * moved[0, 0])

    def _gathered_from(self, time: Expr, phase: Expr) -> Matrix:
        # Averaged over orders, an epoch may be taken to begin at the start.
        count = floor(time / s.M)
        rest = time - count * s.M
        own = self.propagator(rest) * _summed(self._own_stroboscopic, count)
        mixed = own * self._with_begun_white(rest)
        white = own * self._white.covariance(s.M) * own.T + self._white.covariance(rest)
        white = self._surplus * (white + mixed + mixed.T)
        repeated = self._onward(rest) * _summed(self._stroboscopic, count)
        mixed = repeated * self._with_begun(rest)
        varying = repeated * self._stroboscopic.noise * repeated.T + mixed + mixed.T
        return Matrix(white + self.sampling.shared * (self._back(varying) + self._begun(rest)))
