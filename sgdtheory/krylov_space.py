r"""Linear maps that are only applied, never written out: growth and fixed point, in Krylov spaces.

A map of covariances in d directions has d⁴ entries, and costs O(N d²) to apply.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigs, gmres

__all__ = ["fixed_point", "spectral_radius"]

Array: TypeAlias = NDArray[np.float64]
# Below this size a dense eigenvalue problem is solved: Krylov spaces need room.
_SMALL = 36


def spectral_radius(operator: LinearOperator, start: Array) -> float:
    """Largest modulus of an eigenvalue.

    Args:
        operator: (n, n).
        start: near the leading eigenvector, (n,).

    >>> matrix = LinearOperator((2, 2), matvec=lambda x: np.array([[0, 2], [2, 0]]) @ x)
    >>> round(spectral_radius(matrix, np.ones(2)), 12)
    2.0
    """
    if len(start) <= _SMALL:
        return float(np.abs(np.linalg.eigvals(operator @ np.eye(len(start)))).max())
    values = eigs(operator, k=1, which="LM", v0=start, return_eigenvectors=False)
    return float(np.abs(values).max())


def fixed_point(operator: LinearOperator, constant: Array) -> Array:
    """Solution of x = constant + operator x, refined until the residual no longer shrinks.

    Args:
        operator: (n, n), of spectral radius below 1.
        constant: (n,).

    >>> half = LinearOperator((1, 1), matvec=lambda x: x / 2)
    >>> fixed_point(half, np.ones(1))
    array([2.])
    """
    whole = LinearOperator(operator.shape, matvec=lambda x: x - operator @ x, dtype=np.float64)
    solution, residual = np.zeros_like(constant), constant
    while np.linalg.norm(residual) > 0:
        correction, _ = gmres(whole, residual, restart=min(len(constant), 100), atol=0.0)
        refined = solution + correction
        left = constant - whole @ refined
        if np.linalg.norm(left) >= np.linalg.norm(residual):
            break
        solution, residual = refined, left
    return solution
