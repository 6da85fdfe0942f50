r"""How many Chebyshev points stand for any spectrum: asked of the theory, for a range of settings.

What is summed over a spectrum is a function of y = ηh that the hyperparameters stretch along the
axis: a block of eigenvalues sees every interval [y/8, y] below the largest y that is allowed. The
points that a block needs are those from which displacement and variances are interpolated on each
of them, at every number of updates, under every momentum of the range, with and without decay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sympy import Expr, Interval, Matrix, Symbol

from sgdtheory import symbols as s
from sgdtheory.chebyshev_blocks import RATIO, chebyshev_points, points_needed
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_number
from sgdtheory.time_scales import relaxation_updates
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["SettingsRange", "points_of_block"]

# The functions asked are held this far below the tolerance, for the settings between those asked.
_MARGIN = 64.0
_MOST_POINTS = 2**13


@dataclass(frozen=True)
class SettingsRange(ShownAsTable):
    """The settings for which a compressed spectrum is as good as the whole.

    Args:
        momentum: the largest β.
        stability: the largest ηh, as a fraction of the rule's limit.
        rule: the optimiser.
        parameters: values of the rule's further symbols, as pairs.
        fixed_order: whether it is to hold for one order of batches for ever, too.

    >>> SettingsRange(momentum=0.9, stability=0.5).largest_step(0.0)
    1.0
    """

    momentum: float = 0.9
    stability: float = 0.9
    rule: UpdateRule = field(default_factory=heavy_ball)
    parameters: tuple[tuple[Symbol, float], ...] = ()
    fixed_order: bool = False

    def __post_init__(self) -> None:
        check_number("momentum", self.momentum, at_least=0.0, below=1.0)
        check_number("stability", self.stability, above=0.0, below=1.0)
        if not isinstance(recursion(self.rule).stability, Interval):
            raise ValueError(  # noqa: TRY004
                f"rule = {self.rule.name}: its range of stable ηh is not one interval, so no range "
                "of settings can be declared. Keep the whole spectrum."
            )

    @property
    def margin(self) -> float:
        """How far below the tolerance an interpolant's error is held.

        One order for ever is remembered: modes resonate with it. Their singularities in y lie where
        those of a response after its decay do, but are stronger by the time that it takes.
        """
        return _MARGIN * (8 / (1 - self.momentum) if self.fixed_order else 1.0)

    def largest_step(self, momentum: float) -> float:
        """The largest y = ηh at a momentum."""
        stable = recursion(self.rule).stability
        assert isinstance(stable, Interval)
        values = {s.beta: momentum, **dict(self.parameters)}
        return self.stability * float(stable.end.subs(values))


@lru_cache(maxsize=64)
def _positive(rule: UpdateRule, discrete: bool) -> LoweredFunction:
    """Displacement and variances, late and at a time, per unit of noise variance."""
    process = (
        recursion(rule, noise=s.Sigma, curvature=s.h)
        if discrete
        else ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)
    )
    time = s.k if discrete else s.t
    late, early = process.stationary_covariance(), process.covariance(time)
    entries: list[Expr] = [process.displacement(time), late[0, 0], late[1, 1], early[0, 0]]
    per_unit = Matrix([entries]).subs({s.Sigma: 1, s.S: 1, s.eta: 1})
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    return lower(per_unit, (time, s.h, s.beta, *own))


@lru_cache(maxsize=64)
def _characteristic(rule: UpdateRule) -> LoweredFunction:
    process = recursion(rule, noise=s.Sigma, curvature=s.h)
    own = sorted(rule.parameters - {s.eta, s.beta}, key=str)
    row = Matrix([[process.trace, process.determinant]]).subs(s.eta, 1)
    return lower(row, (s.h, s.beta, *own))


def _intervals(settings: SettingsRange, block: int) -> Iterator[tuple[float, float, float]]:
    """(largest y of the eigenvalues, what decay adds to y, momentum)."""
    for momentum in {settings.momentum, 0.0}:
        top = settings.largest_step(momentum)
        for share in (1.0, 0.5, 0.25):
            y = top * share / RATIO**block
            yield from ((y, decay, momentum) for decay in {0.0, top - y})


def _counts(
    settings: SettingsRange, y: NDArray[np.float64], momentum: float
) -> NDArray[np.float64]:
    """Updates from the first to where nothing changes any more."""
    own = [value for _, value in settings.parameters]
    row = _characteristic(settings.rule)(y, momentum, *own)[:, 0]
    slowest = float(relaxation_updates(row[:, 0], row[:, 1]).max())
    last = min(max(40 * slowest, 2.0), 2.0**53)
    return np.unique(np.geomspace(1, last, 2 + int(np.log2(last) * 1.5)).round())


def _needed(
    settings: SettingsRange, tolerance: float, interval: tuple[float, float, float], discrete: bool
) -> int:
    y, decay, momentum = interval
    own = [value for _, value in settings.parameters]
    points = 64
    while points <= _MOST_POINTS:
        h = chebyshev_points(points, y) + decay
        counts = _counts(settings, h, momentum)[:, None]
        values = _positive(settings.rule, discrete)(counts, h, momentum, *own)[..., 0, :]
        functions = np.moveaxis(values, -1, 0).reshape(-1, points)
        functions = functions[(functions > 0).all(axis=1)]
        needed = points_needed(functions, tolerance / settings.margin)
        if needed is not None:
            return needed
        points *= 2
    raise ValueError(
        f"tolerance = {tolerance:g}, momentum = {momentum:g}: a block would need more than "
        f"{_MOST_POINTS // 2} points. Lower the largest momentum, or raise the tolerance."
    )


@lru_cache(maxsize=1024)
def points_of_block(settings: SettingsRange, tolerance: float, block: int) -> int:
    """Chebyshev points that a block of eigenvalues needs; block 0 holds the largest.

    Args:
        settings: the range.
        tolerance: relative, of every sum.
        block: its number; eigenvalues fall by a factor of 8 from one to the next.

    Raises:
        ValueError: when the range asks for too many.
    """
    step = settings.largest_step(settings.momentum) / RATIO**block
    if step * RATIO**3 < (1 - settings.momentum) ** 2:
        # No block from here on sees an oscillation, and all see the same.
        return points_of_block(settings, tolerance, block - 1)
    own = max(
        _needed(settings, tolerance, interval, discrete)
        for interval in _intervals(settings, block)
        for discrete in (True, False)
    )
    # Lower learning rates show a block what the next one sees at higher ones.
    smooth = step * RATIO**2 < (1 - settings.momentum) ** 2
    return own if smooth else max(own, points_of_block(settings, tolerance, block + 1))
