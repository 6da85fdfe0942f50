r"""Two averages of a stationary state whose ratio is known without knowing the noise.

For heavy ball, whatever the noise and the loss, ⟨θ·g⟩ = ½η(1+β)⟨v·v⟩ with g the gradient that the
update from θ_k uses (weight decay included), as long as the state is stationary: |θ|² and θ·v have
constant means. On a quadratic loss with fresh noise ⟨θg⟩ = h⟨θ²⟩ along each eigen-direction.
"""

from __future__ import annotations

import numpy as np

from validation.data import Array
from validation.estimators.chains import block_means, checked_chains
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import function_of_means

__all__ = ["dissipation_ratio", "stationary_ratio"]

# Blocks over all chains, whose ends are compared.
BLOCKS = 32


def stationary_ratio(
    positions: Array, velocities: Array, curvatures: Array, learning_rate: float, momentum: float
) -> Estimate:
    """h Var θ/(½η(1+β) Var v) of every direction: 1 in the stationary state.

    Bias: of order 1/N, taken off. A direction that the record is short for has too small a
    variance of θ, and a ratio below 1.

    Args:
        positions: (chains, time, directions).
        velocities: at the same updates.
        curvatures: h of every direction, weight decay included, (directions,).
        learning_rate: η.
        momentum: β.
    """
    positions, velocities = checked_chains(positions, velocities)
    x, v = (one - one.mean(axis=(0, 1)) for one in (positions, velocities))
    scale = np.asarray(curvatures) / (0.5 * learning_rate * (1 + momentum))
    return function_of_means(
        lambda xx, x, vv, v: scale * (xx - x**2) / (vv - v**2), x**2, x, v**2, v
    )


def dissipation_ratio(
    positions: Array, velocities: Array, gradients: Array, learning_rate: float, momentum: float
) -> Estimate:
    """⟨θ·g⟩/(½η(1+β)⟨v·v⟩), (1,), summed over directions: 1 in a stationary state.

    Along ANY path of heavy ball the two averages differ by what its ends differ in, over T: the
    ratio is far sharper than its parts, and its error is that of the ends. Blocks of L times show
    these, T/L times as strong as the whole does; they must be longer than the memory. What moves
    the ratio is a rule that is not the one declared, or a record that still drifts.

    Bias: of order 1/N².

    Args:
        positions: θ_k, (chains, time, directions).
        velocities: v_k.
        gradients: of the batch that moved θ_k, weight decay included.
        learning_rate: η.
        momentum: β.
    """
    x, v, g = checked_chains(positions, velocities, gradients)
    x = x - x.mean(axis=(0, 1))
    work, heat = ((a * b).reshape(*a.shape[:2], -1).sum(axis=2) for a, b in ((x, g), (v, v)))
    heat = 0.5 * learning_rate * (1 + momentum) * heat
    excess = block_means(work - heat, BLOCKS)
    per_chain = len(excess) // len(x)
    error = excess.std(ddof=1) / per_chain / np.sqrt(len(x)) / heat.mean()
    # Neighboring blocks share an end, with opposite signs: ρ = −½ costs a third of the freedom.
    degrees = len(excess) / 1.5
    return Estimate(
        np.array([work.mean() / heat.mean()]), np.array([error]), len(x), np.array([degrees])
    )
