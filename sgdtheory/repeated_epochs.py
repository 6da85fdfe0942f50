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
from sgdtheory.stroboscopic import summed

__all__ = ["FixedOrderRecursion"]


class FixedOrderRecursion(EpochRecursion):
    r"""A recursion under one order of the examples, repeated, averaged over orders.

    The same kicks come every epoch, so the steady state is a limit cycle: (1 − A^M)⁻¹ w at the end
    of an epoch that kicks by w, and as far on as the epoch has gone. The noise a δ − b of the M
    batches is their mean error, of variance a/M − b, and what varies about it, (a/M)(M δ − 1). The
    mean acts as a constant force: it shifts the cycle, by up to 1/h along a flat direction, and has
    no velocity. What varies feels only how responses change, and is written in (n, G n).
    """

    @property
    def _mean_error(self) -> Expr:
        """Variance of an order's mean error per unit Σ: 0 where an epoch uses every example."""
        return self._surplus / s.M

    @property
    def _about_mean(self) -> Expr:
        return self.sampling.own / s.M

    @cached_property
    def _shift(self) -> Matrix:
        """Covariance of the static shift that the mean error causes, per unit of its variance."""
        # A force that does not change is balanced at rest, so G⁻¹ n has no velocity.
        rest = self.factored(self.inverse(self.generator) * self.kick)
        return Matrix(rest * rest.T)

    @cached_property
    def _varying(self) -> Matrix:
        """Covariance on the cycle of noise that adds up to nothing, in (n, G n)."""
        # Every update is some order's last, so the phase does not matter.
        cycle = self._stroboscopic.cycle
        return Matrix(cycle * self._stroboscopic.noise * cycle.T)

    @cached_property
    def _spread(self) -> Matrix:
        return Matrix(self._mean_error * self._shift + self._about_mean * self._back(self._varying))

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

    @remembered
    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x(t) x(0)ᵀ] in the steady state; a whole epoch later everything is as before."""
        time = clocked(time)
        rest = time - s.M * floor(time / s.M)
        since = self._with_begun(rest).T * self._stroboscopic.cycle.T
        seen = self._back(self._onward(rest) * self._varying + since)
        return self._scaled(self._mean_error * self._shift + self._about_mean * seen)

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
        pushed = summed(self, time) * self.kick
        repeated = self._onward(rest) * summed(self._stroboscopic, count)
        mixed = repeated * self._with_begun(rest)
        again = repeated * self._stroboscopic.noise * repeated.T + mixed + mixed.T
        varying = self._back(again) + self._begun(rest)
        return Matrix(self._mean_error * pushed * pushed.T + self._about_mean * varying)
