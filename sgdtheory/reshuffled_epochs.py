r"""Epochs of a new order each, as `DataLoader(shuffle=True)` has them."""

from __future__ import annotations

from functools import cached_property
from typing import cast

from sympy import Expr, ImmutableMatrix, Matrix, Min, S, floor

from sgdtheory import symbols as s
from sgdtheory.epoch_recursion import EpochRecursion
from sgdtheory.gaussian_process import clocked
from sgdtheory.remembered import remembered
from sgdtheory.special_functions import DISCRETE

__all__ = ["ReshuffledRecursion"]


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
        W, _ = self._white_fading
        pairs = self._pairs(s.M)
        return Matrix(self._surplus * W + self.sampling.shared / s.M * (pairs + pairs.T))

    def _lost_within(self, count: Expr) -> Matrix:
        """Stationary covariance less autocovariance, per unit Σ, after at most an epoch.

        A lag of n updates moves the triangle of pairs, so its second difference is what counts.
        """
        at_rest, behind = self._pairs(s.M), self._pairs(s.M - count)
        ahead, middle = self._pairs(s.M + count), self._pairs(count)
        moved = at_rest + at_rest.T - ahead + 2 * middle - behind.T
        return self._weighed(self._faded(count), moved)

    def _weighed(self, faded: Matrix, moved: Matrix) -> Matrix:
        """a · faded + (b/M) · moved, with a split so that nothing is left where nothing moves."""
        own, shared = self._surplus, self.sampling.shared
        return Matrix(own * faded + shared * (s.M * faded + moved / s.M))

    def _position_lost_within(self, count: Expr) -> Expr:
        """Its position entry, which is even in time: then the second difference can be gathered.

        Σ_j (n − |j|)(1 − A^{M+j}), |j| < n, begins at A^{M−n}: no term counts more than n² pairs.
        """
        middle = self._pairs(count)
        ahead = count**2 * self._faded(s.M - count) + self.propagator(s.M - count) * (
            self._pairs(2 * count) - 2 * middle
        )
        return self._weighed(self._faded(count), 2 * middle - ahead)[0, 0]

    @remembered
    def autocovariance(self, time: Expr | float) -> ImmutableMatrix:
        """E[x(t) x(0)ᵀ] in the steady state, averaged over the phase.

        Errors more than an epoch apart are independent: from there on the map alone acts.
        """
        time = clocked(time)
        within = Min(time, s.M)
        early = self._spread - self._lost_within(within)
        return self._scaled(self.propagator(time - within) * early)

    @remembered
    def displacement(self, time: Expr | float) -> Expr:
        """E|θ(t) − θ(0)|² of the first coordinate in the steady state, averaged over the phase."""
        time = clocked(time)
        within = Min(time, s.M)
        f = self._functions(time - within)
        later = self._lost_later(f.step_response, f.impulse_response)
        lost = self._position_lost_within(within) + later
        return cast(Expr, 2 * self.example_variance * lost)

    @cached_property
    def _epoch_later(self) -> Matrix:
        """Autocovariance per unit Σ after an epoch; from there on the map alone acts."""
        return Matrix(self._spread - self._lost_within(s.M))

    def _lost_later(self, step: Expr, impulse: Expr) -> Expr:
        """Position entry of what the map takes from that, by its responses."""
        later = step * self._epoch_later + impulse * self.generator * self._epoch_later
        return cast(Expr, later[0, 0])

    @remembered
    def displacement_growth(self, time: Expr | float, span: Expr | float) -> Expr:
        """Displacement at `time` + `span` less that at `time`.

        Beyond an epoch the map acts alone, and nothing cancels. Inside one it is a difference, of
        numbers that differ by their M-th part at least: it loses log₁₀ M digits or so.
        """
        time, span = clocked(time), clocked(span)
        within, ahead = Min(time, s.M), Min(time + span, s.M)
        beyond = time - within
        # Beyond an epoch its difference is multiplied by 0: what it rounds to would hide the rest.
        early = Min(1, ahead - within) * (
            self._position_lost_within(ahead) - self._position_lost_within(within)
        )
        late = self._lost_later(*self._responses_growth(beyond, time + span - ahead - beyond))
        return cast(Expr, 2 * self.example_variance * (early + late))

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
