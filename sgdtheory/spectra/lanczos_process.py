r"""Lanczos: from a start, a tridiagonal matrix that sees the spectrum as the start does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

__all__ = ["random_probe_rules"]

Array = NDArray[np.float64]

# Roundings of the largest entry so far that are left of a Krylov space which is exhausted.
_EXHAUSTED = 64.0


def random_probe_rules(
    operator: LinearOperator, steps: int, probes: int, seed: int, beside: Any
) -> tuple[Array, Array]:
    r"""Ritz values and weights of random starts, on what is orthogonal to given vectors.

    Args:
        operator: symmetric, (P, P).
        steps: of each start.
        probes: independent starts.
        seed: of the starts.
        beside: orthonormal columns, (P, k), k < P, to stay away from.

    Returns:
        Both (probes, steps); 0 pads the weights of a start whose Krylov space is exhausted.

    Source: Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 38 (2017) 1075, algorithm 1.
    """
    size, taken = beside.shape
    steps = min(steps, size - taken)
    values, weights = np.zeros((2, probes, steps))
    for probe, child in enumerate(np.random.SeedSequence(seed).spawn(probes)):
        start = np.random.default_rng(child).standard_normal(size)
        diagonal, off_diagonal = _tridiagonal(operator, start, steps, beside)
        found, vectors = eigh_tridiagonal(diagonal, off_diagonal)
        values[probe, : len(found)], weights[probe, : len(found)] = found, vectors[0] ** 2
    return values, weights


def _tridiagonal(
    operator: LinearOperator, start: Array, steps: int, beside: Any
) -> tuple[Array, Array]:
    """Diagonal and what is beside it, with every vector orthogonal to all before it."""
    kept = beside.shape[1]
    basis = np.zeros((kept + steps, len(start)), dtype=operator.dtype)
    basis[:kept] = beside.T
    rounding = _EXHAUSTED * np.finfo(operator.dtype).eps
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    vector, _ = _orthogonal(start, basis[:kept])
    for step in range(steps):
        basis[kept + step] = vector
        product = np.asarray(operator @ basis[kept + step]).ravel()
        diagonal.append(float(np.dot(basis[kept + step], product)))
        if step + 1 == steps:
            break
        vector, length = _orthogonal(product, basis[: kept + step + 1])
        if length <= rounding * max(map(abs, [*diagonal, *off_diagonal])):
            break
        off_diagonal.append(length)
    return np.array(diagonal), np.array(off_diagonal)


def _orthogonal(vector: Any, basis: Any) -> tuple[Any, float]:
    """What no row of an orthonormal basis has of a vector, of length 1, and its length before."""
    rest = np.array(vector, dtype=basis.dtype)
    # Once is not enough where little is left.
    for _ in range(2):
        rest -= basis.T @ (basis @ rest)
    length = float(np.linalg.norm(rest))
    return (rest / length if length else rest), length
