r"""Circulation in phase space, and the rates of a damped oscillation.

With momentum the position obeys θ_{k+1} = aθ_k + bθ_{k−1} + e_{k+1} with WHITE e, as each batch's
noise enters one step: least squares is consistent. For rules whose step contains the gradient twice
(Nesterov, quasi-hyperbolic) e remembers one update, and it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from validation.data import Array
from validation.estimators.chains import checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import expanded, function_of_means

__all__ = ["RotationRates", "circulation", "rotation_rates"]


@dataclass(frozen=True)
class RotationRates:
    """Of every direction, from the logarithms s₁, s₂ of the roots of z² = az + b over the time η.

    Args:
        coefficient: a; for heavy ball 1 + β − ηh.
        memory: b; for heavy ball −β.
        friction: γ = −(s₁ + s₂)/2.
        natural_frequency_squared: ω² = s₁s₂, smooth through critical damping.
        frequency: of the rotation, |Im s| = √(ω² − γ²); 0 where overdamped. Like ω² it is NaN where
            b ≥ 0, and where both roots are negative, for heavy ball ηh > (1 + √β)²: a position
            that changes its sign every update is no continuous motion seen at times.
    """

    coefficient: Estimate
    memory: Estimate
    friction: Estimate
    natural_frequency_squared: Estimate
    frequency: Estimate


def circulation(positions: Array, velocities: Array) -> Estimate:
    """½⟨θ_{k+1}v_k − v_{k+1}θ_k⟩ of every direction, less the means.

    Bias: of order 1/N, taken off.

    Args:
        positions: (chains, time, directions).
        velocities: at the same updates.
    """
    positions, velocities = checked_chains(positions, velocities)
    x, v = (one - one.mean(axis=(0, 1)) for one in (positions, velocities))
    ahead, after, here, speed = x[:, 1:], v[:, 1:], x[:, :-1], v[:, :-1]
    area = (ahead * speed - after * here) / 2
    return function_of_means(
        lambda area, ahead, speed, after, here: area - (ahead * speed - after * here) / 2,
        area,
        ahead,
        speed,
        after,
        here,
    )


def _regression(
    step: Array, here: Array, last: Array, pull: Array, push: Array, hh: Array, ll: Array, hl: Array
) -> tuple[Array, Array]:
    """a and b by least squares, from means, of θ_{k+1} − θ_k on 1, θ_k and θ_k − θ_{k−1}.

    The last step is all but independent of the position, where two positions are all but equal.
    """
    pull, push = pull - step * here, push - step * last
    hh, ll, hl = hh - here**2, ll - last**2, hl - here * last
    determinant = hh * ll - hl**2
    spring = (pull * ll - push * hl) / determinant
    momentum = (push * hh - pull * hl) / determinant
    return 1 + spring + momentum, -momentum


def _logarithms(a: Array, b: Array) -> tuple[Array, Array]:
    """Of the roots of z² = az + b; NaN where there is no motion in continuous time."""
    b = np.where((b < 0) & ((a > 0) | (a**2 / 4 + b < 0)), b, np.nan)
    root = np.sqrt(a**2 / 4 + b + 0j)
    return np.log(a / 2 + root + 0j), np.log(a / 2 - root + 0j)


def rotation_rates(positions: Array, learning_rate: float) -> RotationRates:
    """Damping and rotation of every direction, from positions alone.

    Bias: that of least squares, of order 1/N, is taken off. Errors of the frequency mean little
    within a few of them from critical damping, where it is not smooth; those of ω² do not mind.
    Without momentum b is 0, and there is neither friction nor rotation to find: NaN.

    Args:
        positions: (chains, time, directions), every update.
        learning_rate: η, the time of an update.
    """
    (positions,) = checked_chains(positions)
    x = positions - positions.mean(axis=(0, 1))
    still = np.flatnonzero(np.ptp(x, axis=(0, 1)) == 0)
    if still.size:
        raise ValueError(f"Directions {still.tolist()} stand still: leave them out.")
    here, steps = x[:, 1:-1], np.diff(x, axis=1)
    step, last = steps[:, 1:], steps[:, :-1]
    products = (step * here, step * last, here**2, last**2, here * last)

    def friction(a: Array, b: Array) -> Array:
        return -np.log(np.where(b < 0, -b, np.nan)) / (2 * learning_rate)

    def squared(a: Array, b: Array) -> Array:
        first, second = _logarithms(a, b)
        return np.asarray((first * second).real / learning_rate**2)

    def frequency(a: Array, b: Array) -> Array:
        first, _ = _logarithms(a, b)
        return np.asarray(np.abs(first.imag) / learning_rate)

    series = (step, here, last, *products)
    a, along_a = expanded(lambda *means: _regression(*means)[0], *series)
    b, along_b = expanded(lambda *means: _regression(*means)[1], *series)

    def estimated(function: Callable[[Array, Array], Array]) -> Estimate:
        """Of series whose means are a and b less their bias, and fluctuate as these do."""
        found = function_of_means(function, a.value + along_a, b.value + along_b)
        plain = function(a.value + a.bias, b.value + b.bias)
        return replace(found, bias=plain - found.value)

    return RotationRates(a, b, estimated(friction), estimated(squared), estimated(frequency))
