r"""Regimes of one direction on a grid of learning rates and momenta, from an update's map.

Two real roots, a pair of complex ones, a negative one, or one outside the unit circle: trace and
determinant of 1 − M decide, and they come from `recursion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import ImmutableMatrix, Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import detached
from sgdtheory.discrete_time import recursion
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.stability import jury_conditions
from sgdtheory.time_scales import regimes
from sgdtheory.update_rule import UpdateRule

__all__ = ["RegimeGrid", "regime_grid", "require_steps_alone"]

Array = NDArray[np.float64]

_COLUMNS, _ROWS = 480, 320
# ηh at the left, and how far beyond the largest stable one the right end lies.
_LEAST, _BEYOND = 1e-3, 2.0


@dataclass(frozen=True)
class RegimeGrid:
    """Regimes on a grid.

    Args:
        rates: η, (columns,).
        momenta: β, (rows,).
        names: of the regimes, (rows, columns).
        discriminant: of the generator; 0 at critical damping.
        margin: the least of the Jury conditions; 0 at the limit of stability.
    """

    rates: Array
    momenta: Array
    names: Any
    discriminant: Array
    margin: Array


def require_steps_alone(rule: UpdateRule) -> None:
    """Refuse a rule whose damping is not a function of ηh: its directions lie on no one map.

    Raises:
        ValueError: saying what to draw instead.
    """
    law = _characteristic(rule).expression.subs(s.h, s.y / s.eta)
    if law.applyfunc(lambda entry: entry.expand().simplify()).has(s.eta):
        raise ValueError(
            f"rule = {rule.name}: how it damps depends on the learning rate beside ηh, so other "
            "curvatures have other maps. Leave the spectrum out, and draw one map a curvature."
        )


@lru_cache(maxsize=64)
def _characteristic(rule: UpdateRule) -> LoweredFunction:
    """Trace and determinant of 1 − M."""
    process = recursion(rule, curvature=s.h)
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    return lower(
        ImmutableMatrix([[process.trace, process.determinant]]), (s.eta, s.beta, s.h, *own)
    )


def regime_grid(
    rule: UpdateRule,
    curvature: float,
    parameters: Mapping[Symbol, float],
    marked: Array,
) -> RegimeGrid:
    """The regimes of a direction of one curvature under a rule.

    Args:
        rule: the optimiser.
        curvature: h. Unit: loss/θ².
        parameters: values of the rule's further symbols.
        marked: learning rates that must be on the grid.
    """
    own = [float(detached(parameters[symbol])) for symbol in sorted(parameters, key=str)]
    # Cells' middles: momentum 1 itself damps nothing.
    momenta = (np.arange(_ROWS) + 0.5) / _ROWS

    def law(rates: Array) -> tuple[Array, Array]:
        values = _characteristic(rule)(rates, momenta[:, None], curvature, *own)
        return values[..., 0, 0], values[..., 0, 1]

    rates = _rates(law, curvature, marked)
    trace, determinant = np.broadcast_arrays(*law(rates))
    names = regimes(trace, determinant, momenta[:, None], discrete=True)
    margin = np.min(jury_conditions(trace, determinant), axis=0)
    names = np.where(margin > 0, names, "unstable")
    return RegimeGrid(rates, momenta, names, trace**2 - 4 * determinant, margin)


def _rates(law: Any, curvature: float, marked: Array) -> Array:
    """Learning rates from a gentle one to beyond stability, the marked ones among them."""
    wide = np.geomspace(_LEAST, 1e3, _COLUMNS) / curvature
    stable = np.min(jury_conditions(*law(wide)), axis=0) > 0
    last = wide[np.flatnonzero(stable.any(axis=0))[-1]] if stable.any() else 1 / curvature
    shown = np.array([_LEAST / curvature, _BEYOND * last, *(0.5 * marked), *(1.5 * marked)])
    return np.geomspace(shown.min(), shown.max(), _COLUMNS)
