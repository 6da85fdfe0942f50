r"""How far θ moves in l updates, D(l) = ⟨|θ_{k+l} − θ_k|²⟩, and the exponent c of D(l) ∝ l^c.

Displacements over different lags share their steps: errors of log D at neighboring lags are nearly
one error, and a plain least-squares slope would be far surer of itself than it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from validation.data import Array
from validation.estimators.chains import block_means, checked_chains
from validation.estimators.correlations import checked_lags, stacked
from validation.estimators.estimate import Estimate
from validation.estimators.gamma_method import function_of_means

__all__ = ["displacement", "exponents", "slope"]

# Blocks whose scatter is the covariance of a curve, for every lag that it has.
BLOCKS_PER_LAG = 16


def _squares(positions: Array, lags: Sequence[int]) -> list[Array]:
    """|θ_{k+l} − θ_k|² of every lag from the same origins, (chains, origins) each."""
    (positions,) = checked_chains(positions)
    positions = positions.reshape(*positions.shape[:2], -1)
    chosen = checked_lags(lags, positions.shape[1])
    origins = positions.shape[1] - max(chosen)
    start, found = positions[:, :origins], []
    for lag in chosen:
        moved = positions[:, lag : lag + origins] - start
        found.append(np.einsum("cti,cti->ct", moved, moved))
    return found


def displacement(positions: Array, lags: Sequence[int]) -> Estimate:
    """D(l), (lags,), summed over directions.

    Bias: none. Errors at different lags depend on one another.

    Args:
        positions: (chains, time, directions).
        lags: l, in updates.
    """
    return stacked([function_of_means(np.positive, one) for one in _squares(positions, lags)])


def exponents(positions: Array, lags: Sequence[int]) -> Estimate:
    """log(D(l')/D(l))/log(l'/l) between consecutive lags, (lags − 1,).

    Bias: of order 1/N, taken off.

    Args:
        positions: (chains, time, directions).
        lags: l > 0, in updates, ascending.
    """
    squares, logs = _squares(positions, lags), np.log(_ascending(lags, 2))
    return stacked(
        [
            function_of_means(lambda far, near, run=run: np.log(far / near) / run, far, near)
            for far, near, run in zip(squares[1:], squares, np.diff(logs), strict=False)
        ]
    )


def slope(
    positions: Array,
    lags: Sequence[int],
    weighting: Literal["generalized", "equal"] = "generalized",
) -> Estimate:
    """The exponent c of a straight line through log D against log l over a window of lags, (1,).

    Generalized least squares weighs by the measured covariance of log D. Its weights are chosen
    by the data that they weigh: with B blocks behind the covariance of k lags its error comes out
    too small by some k/B of itself, and B is 16k. Where log D bends, the two weightings are slopes
    of two different lines: report both, and the window.

    Bias: that of the logarithms, of order 1/N, is taken off.

    Args:
        positions: (chains, time, directions).
        lags: l > 0, in updates, ascending: the window.
        weighting: by the covariance of the curve, or all lags alike.
    """
    squares, logs = _squares(positions, lags), np.log(_ascending(lags, 3))
    design = np.stack([np.ones_like(logs), logs], axis=1)
    covariance = np.eye(len(logs)) if weighting == "equal" else _covariance_of_logs(squares)
    solved = np.linalg.solve(covariance, design)
    weights = np.linalg.solve(design.T @ solved, solved.T)[1]

    def line(*curve: Array) -> Array:
        return np.asarray(sum(w * np.log(d) for w, d in zip(weights, curve, strict=True)))

    return function_of_means(line, *(one[..., None] for one in squares))


def _ascending(lags: Sequence[int], least: int) -> Array:
    found = np.asarray(lags, dtype=float)
    if len(found) < least or found[0] <= 0 or (np.diff(found) <= 0).any():
        raise ValueError(
            f"lags = {list(lags)}: an exponent needs {least} lags or more, above 0 and ascending."
        )
    return found


def _covariance_of_logs(squares: Sequence[Array]) -> Array:
    """Covariance of log D between lags, up to a factor, from the scatter of block means."""
    curve = np.stack(squares, axis=-1)
    blocks = block_means(curve, BLOCKS_PER_LAG * len(squares))
    return np.asarray(np.cov(blocks / curve.mean(axis=(0, 1)), rowvar=False))
