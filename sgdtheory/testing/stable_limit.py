"""The largest stable ηh of a rule, as its recursion has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from sympy import Interval

from sgdtheory import symbols as s
from sgdtheory.discrete_time import recursion
from sgdtheory.lowering import lower
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Limit", "heavy_ball_limit", "limit_of"]

Limit = Callable[[float], float]
"""The largest stable ηh of a momentum."""


@cache
def limit_of(rule: UpdateRule) -> Limit:
    """Where an update's map begins to run away, as a function of the momentum.

    Args:
        rule: of η and β alone.

    Raises:
        ValueError: for a rule that is not stable from ηh = 0 up to a limit, whatever the momentum.

    >>> import sgdtheory as sgd
    >>> from sgdtheory.testing import limit_of
    >>> round(limit_of(sgd.nesterov())(0.5), 9)
    1.5
    """
    stable = recursion(rule).stability
    if not isinstance(stable, Interval) or stable.inf != 0 or stable.sup.free_symbols - {s.beta}:
        raise ValueError(
            f"rule = {rule.name}: stable where ηh is in {stable}, which is no interval from 0 to a "
            "limit of the momentum alone. Give the limit: limit=lambda momentum: …"
        )
    highest = lower(stable.sup, (s.beta,))
    return lambda momentum: float(highest(momentum))


def heavy_ball_limit(momentum: float) -> float:
    """Beyond it a direction of heavy ball runs away.

    >>> from sgdtheory.testing import heavy_ball_limit
    >>> heavy_ball_limit(0.5)
    3.0
    """
    return limit_of(heavy_ball())(momentum)
