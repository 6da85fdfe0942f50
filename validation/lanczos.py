r"""The density of eigenvalues by stochastic Lanczos quadrature.

m steps of Lanczos from a random probe v of length 1 give a tridiagonal matrix; its eigenvalues θ_j
and the squares τ_j of its eigenvectors' first entries are the Gauss rule of the measure
Σ_i (v·u_i)² δ(ρ − ρ_i). The mean over probes, times the dimension, is the spectrum (Ubaru, Chen,
Saad, SIAM J. Matrix Anal. Appl. 38, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator

from validation.data import Array

__all__ = ["RitzValues", "deflated", "lanczos_quadrature", "vector_quadrature"]

# Relative to the largest entry so far: what is left of a Krylov space that is exhausted.
_EXHAUSTED = 1e-10


@dataclass(frozen=True)
class RitzValues:
    """Of every probe.

    Args:
        ritz_values: θ, (probes, steps).
        weights: τ of the same shape, with sum 1 for every probe; 0 where it stopped early.
        dimension: of the matrix.
    """

    ritz_values: Array
    weights: Array
    dimension: int


def lanczos_quadrature(
    operator: LinearOperator, steps: int, probes: int = 4, seed: int = 0
) -> RitzValues:
    """Ritz values and weights, every vector made orthogonal to all before it, twice.

    Args:
        operator: symmetric.
        steps: m of each probe; so many vectors are kept.
        probes: independent ones, whose scatter is the standard error.
        seed: of the probes.

    Raises:
        ValueError: for fewer than one step or probe.
    """
    size = operator.shape[0]
    if min(steps, probes) < 1:
        raise ValueError(f"steps = {steps}, probes = {probes}: give at least one of each.")
    values, weights = np.zeros((2, probes, min(steps, size)))
    for probe, child in enumerate(np.random.SeedSequence(seed).spawn(probes)):
        start = np.random.default_rng(child).standard_normal(size)
        diagonal, beside = _tridiagonal(operator, start, values.shape[1])
        found, vectors = eigh_tridiagonal(diagonal, beside)
        values[probe, : len(found)], weights[probe, : len(found)] = found, vectors[0] ** 2
    return RitzValues(values, weights, size)


def vector_quadrature(operator: LinearOperator, vector: Array, steps: int) -> tuple[Array, Array]:
    """Nodes θ and weights w with vᵀf(H)v ≈ Σ_j w_j f(θ_j), exact for polynomials below 2·steps.

    Args:
        operator: symmetric.
        vector: v; where it is zero there is one node, of weight zero.
        steps: of Lanczos.
    """
    square = float(vector @ vector)
    if not square:
        return np.zeros(1), np.zeros(1)
    nodes, vectors = eigh_tridiagonal(*_tridiagonal(operator, vector, min(steps, len(vector))))
    return nodes, square * vectors[0] ** 2


def deflated(operator: LinearOperator, vectors: Array) -> LinearOperator:
    """The same on what is orthogonal to orthonormal vectors, and 0 along them.

    Args:
        operator: symmetric, (P, P).
        vectors: (P, k).
    """

    def less(x: Array) -> Array:
        return np.asarray(x - vectors @ (vectors.T @ x))

    def product(x: Array) -> Array:
        return less(operator @ less(np.asarray(x, dtype=float)).astype(operator.dtype))

    return LinearOperator(operator.shape, matvec=product, matmat=product, dtype=operator.dtype)


def _tridiagonal(operator: LinearOperator, start: Array, steps: int) -> tuple[Array, Array]:
    basis = np.zeros((steps, len(start)))
    basis[0] = start / np.linalg.norm(start)
    diagonal: list[float] = []
    beside: list[float] = []
    for step in range(steps):
        product = np.asarray(operator @ basis[step].astype(operator.dtype), dtype=float)
        diagonal.append(float(basis[step] @ product))
        for _ in range(2):
            product -= basis[: step + 1].T @ (basis[: step + 1] @ product)
        length = float(np.linalg.norm(product))
        if step + 1 == steps or length <= _EXHAUSTED * max(map(abs, [*diagonal, *beside])):
            break
        beside.append(length)
        basis[step + 1] = product / length
    return np.array(diagonal), np.array(beside)
