r"""One order of the examples in every epoch: noise that never decorrelates, and a limit cycle."""

from __future__ import annotations

from functools import cached_property
from typing import cast

from sympy import Expr, ImmutableMatrix, Matrix, Min, eye, floor

from sgdtheory import symbols as s
from sgdtheory.epoch_recursion import EpochRecursion
from sgdtheory.gaussian_process import clocked
from sgdtheory.remembered import remembered
from sgdtheory.special_functions import DISCRETE
from sgdtheory.stroboscopic import Stroboscopic, summed

__all__ = ["FixedOrderRecursion"]


class FixedOrderRecursion(EpochRecursion):
    r"""A recursion under one order of the examples, repeated, averaged over orders.

    The same kick w comes every epoch, so the steady state is a limit cycle: (1 − A^M)⁻¹ w at the
    epoch's end, and as far on as the epoch has gone.
    """

    @cached_property
    def _white_stroboscopic(self) -> Stroboscopic:
        """Of white noise, in (θ, v)."""
        return self._stroboscope(self.generator, self._white.covariance(s.M))

    @cached_property
    def _spread(self) -> Matrix:
        # Every update is some order's last, so the phase does not matter.
        white, varying = (
            slow.cycle * slow.noise * slow.cycle.T
            for slow in (self._white_stroboscopic, self._stroboscopic)
        )
        return Matrix(self._surplus * white + self.sampling.shared * self._back(varying))

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
        time = clocked(time)
        rest = time - s.M * floor(time / s.M)
        white = self._with_begun_white(rest).T * self._white_stroboscopic.cycle.T
        varying = self._back(self._with_begun(rest).T * self._stroboscopic.cycle.T)
        since = self._surplus * white + self.sampling.shared * varying
        return self._scaled(self.propagator(rest) * self._spread + since)

    @remembered
    def displacement(self, time: Expr | float) -> Expr:
        """E|θ(t) − θ(0)|² of the first coordinate in the steady state.

        x(t) − x(0) = w_n − S_n S_M⁻¹ w, from the n batches since and the epoch before. An error
        that all batches share shifts the cycle and moves nothing along it.
        """
        time = clocked(time)
        rest = time - s.M * floor(time / s.M)
        since = Min(rest, s.M - rest)
        impulse = self._functions(s.M).impulse_response
        once = DISCRETE.sums(s.M, self.trace, self.determinant).once
        adjugate = self.trace * eye(2) - self.generator
        size = impulse**2 + self.trace * impulse * once + self.determinant * once**2
        whole = (impulse + self.trace * once) * eye(2) - once * adjugate
        share = summed(self, since) * whole / size
        own = self._white.covariance(since)
        mixed = share * self.propagator(s.M - since) * own
        moved = own + share * self._white.covariance(s.M) * share.T - mixed - mixed.T
        return cast(Expr, self.sampling.own * self.example_variance * moved[0, 0])

    @remembered
    def displacement_growth(self, time: Expr | float, span: Expr | float) -> Expr:
        """Displacement at `time` + `span` less that at `time`, as a difference.

        The displacement repeats itself every epoch, so what is lost is log₁₀ M digits or so, at
        however late a time.
        """
        time, span = clocked(time), clocked(span)
        return cast(Expr, self.displacement(time + span) - self.displacement(time))

    def _gathered_from(self, time: Expr, phase: Expr) -> Matrix:
        # Averaged over orders, an epoch may be taken to begin at the start.
        count = floor(time / s.M)
        rest = time - count * s.M
        white, varying = (
            _kicked_again(onward * summed(slow, count), slow.noise, past)
            for onward, slow, past in (
                (self.propagator(rest), self._white_stroboscopic, self._with_begun_white(rest)),
                (self._onward(rest), self._stroboscopic, self._with_begun(rest)),
            )
        )
        white = self._surplus * (white + self._white.covariance(rest))
        return Matrix(white + self.sampling.shared * (self._back(varying) + self._begun(rest)))


def _kicked_again(repeated: Matrix, kick: ImmutableMatrix, with_begun: Matrix) -> Matrix:
    """What whole epochs add to the one that has begun: their own spread, and what they share."""
    mixed = repeated * with_begun
    return Matrix(repeated * kick * repeated.T + mixed + mixed.T)
