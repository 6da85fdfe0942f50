r"""Stability in mean square: the learning rate from which a run's own noise drives it away.

Noise that grows with the distance from the minimum sustains a spread, and the spread adds noise.
Means may decay long after second moments have begun to grow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from sympy import Rational, Symbol

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.normal_form import factored
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.second_moments import HEAVY_BALL, SecondMomentMap, Setting, linear_law
from sgdtheory.stability import stable_interval
from sgdtheory.update_rule import UpdateRule

__all__ = ["LinearRegression", "noiseless_limit"]

Array: TypeAlias = NDArray[np.float64]
# The learning rates between 0 and the noiseless limit among which a first crossing is looked for.
_TRIED = 16


class LinearRegression(ShownAsTable, ABC):
    """Linear regression, of which only is asked how strongly its noise drives itself."""

    @property
    @abstractmethod
    def derivation(self) -> Derivation:
        """From one example's gradient to the closed recursion of second moments."""

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @property
    @abstractmethod
    def _eigenvalues(self) -> Array:
        """ρ of the Hessian, exactly 0 where inputs have no component."""

    @abstractmethod
    def _gain(self, update: SecondMomentMap) -> float:
        """Spectral radius of: noise → the spread that it sustains → the noise that this adds.

        Asked only where means decay.
        """

    def stability_limit(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> float:
        r"""Learning rate from which on second moments grow without bound.

        Noise Σ sustains a spread RΣ, which adds the noise ΦRΣ. Both maps keep covariances
        positive, so second moments are bounded if and only if means decay and the spectral radius
        of ΦR is below 1. It is 0 at η = 0 and infinite where means stop decaying, so the limit
        lies between: never above the noiseless one, and equal to it for infinite batches.

        Args:
            hyperparameters: their momentum, batch size and weight decay; not the learning rate.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Returns:
            The first crossing among 16 equal parts of the noiseless limit, to rounding.

        Raises:
            ValueError: for a rule without a range of stable ηh.
        """
        return self._limit(Setting(hyperparameters, rule, parameters))

    def _limit(self, setting: Setting) -> float:
        noiseless = noiseless_limit(setting, self._eigenvalues.max())

        def margin(rate: float) -> float:
            if rate in (0.0, noiseless):
                return 0.5 if rate == 0 else -0.5
            return 1 / (1 + self._growth(self._update(setting.at(rate)))) - 0.5

        rates = noiseless * np.arange(1, _TRIED + 1) / _TRIED
        upper = next(rate for rate in map(float, rates) if margin(rate) <= 0)
        return float(brentq(margin, upper - noiseless / _TRIED, upper, xtol=1e-15 * upper))

    def _update(self, setting: Setting) -> SecondMomentMap:
        return SecondMomentMap(setting, self._eigenvalues)

    def _growth(self, update: SecondMomentMap) -> float:
        return self._gain(update) if update.decays else np.inf

    def _bounded_update(self, setting: Setting) -> SecondMomentMap:
        """The update, refused where second moments have no stationary value."""
        update = self._update(setting)
        if self._growth(update) < 1:
            return update
        limit, noiseless = self._limit(setting), noiseless_limit(setting, self._eigenvalues.max())
        raise UnstableError(
            f"learning_rate = {setting.values[s.eta]:g}: second moments are bounded below "
            f"{limit:g} only; from there on the noise that grows with the distance from the "
            f"minimum drives itself (means alone decay below {noiseless:g}). Lower the learning "
            "rate or raise the batch size, or use moments(), which needs no stationary state."
        )


def noiseless_limit(setting: Setting, steepest: float) -> float:
    """Learning rate from which on the mean along the steepest direction no longer decays.

    Args:
        setting: the run; its learning rate is not asked for.
        steepest: the largest eigenvalue ρ of the Hessian.

    Raises:
        ValueError: for a rule without a range 0 < ηh < y of stable steps, or without curvature.

    >>> noiseless_limit(Setting(Hyperparameters(0.1, momentum=0.5)), steepest=2.0)
    1.5
    """
    # Exact numbers, so that what cancels in a condition leaves nothing behind.
    exact = {x: Rational(value) for x, value in setting.values.items() if x != s.eta}
    generator = linear_law(setting.rule).generator.subs(exact)
    trace, determinant = (
        factored(x.subs(s.h, s.y / s.eta)) for x in (generator.trace(), generator.det())
    )
    curvature = float(steepest) + setting.weight_decay
    if curvature > 0 and not (trace.free_symbols | determinant.free_symbols) - {s.y}:
        interval = stable_interval(trace, determinant)
        if interval.is_Interval and interval.start == 0 and interval.end.is_finite:
            return float(interval.end) / curvature
    raise ValueError(
        f"rule = {setting.rule.name}, parameters = {dict(setting.parameters or {})}: its means are "
        "not stable for an interval 0 < ηh < y, so there is no largest learning rate to start "
        "from. Give a rule whose steps grow with η, and inputs that are not all 0."
    )
