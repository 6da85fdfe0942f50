r"""Entropy production of the stationary state, with the parity of every coordinate stated.

.. math::

    \dot\Sigma = \operatorname{tr}\left(E^T D^{+} E\, C\right), \qquad
    E = \tfrac12(A + \epsilon A \epsilon) - D\,C^{-1}

ε is −1 for coordinates that are odd under time reversal, C the stationary covariance and D its
noise. Only the part of the current that time reversal does not turn around counts.
"""

from __future__ import annotations

from typing import cast

from sympy import Expr, Float, Matrix, oo, zeros
from sympy.matrices import MatrixBase

from sgdtheory.normal_form import factored
from sgdtheory.ornstein_uhlenbeck_process import OrnsteinUhlenbeck

__all__ = ["entropy_production_rate"]


def entropy_production_rate(process: OrnsteinUhlenbeck, odd: tuple[int, ...] = ()) -> Expr:
    r"""Mean entropy produced per unit of time in the stationary state, in units of k_B.

    Args:
        process: any linear process with a stationary state.
        odd: indices of the coordinates that change sign under time reversal. The number depends
            on this choice; for a process of SGD it is `process.velocities`.

    Returns:
        A number or expression ≥ 0; ∞ where a flow that time reversal does not turn around has no
        noise of its own. For SGD with odd velocities it is 0 exactly when the noise commutes with
        the curvature.

    Raises:
        ValueError: for an index that is not a coordinate.

    Source:
        Spinney and Ford, Phys. Rev. E 85, 051113 (2012).

    >>> from sympy import Matrix, diag
    >>> entropy_production_rate(OrnsteinUhlenbeck(Matrix([[5, -3], [-3, 5]]) / 2, diag(4, 1)))
    81/80
    """
    size, A, D = process.dimension, process.drift, process.diffusion
    if any(index not in range(size) for index in odd):
        raise ValueError(f"odd = {odd}: indices of coordinates run from 0 to {size - 1}.")
    if A.has(Float) or D.has(Float):
        # Whether a flow has no noise of its own is a question for exact numbers.
        return cast(Expr, entropy_production_rate(process.exact, odd).evalf())
    parity = Matrix.diag(*(-1 if i in odd else 1 for i in range(size)))
    if parity * D * parity != D:
        return cast(Expr, oo)
    irreversible = (A + parity * A * parity) / 2
    inverse = _pseudo_inverse(process)
    # D D⁺ D = D, so of E only this part can have components without noise.
    if process.factored(irreversible - D * inverse * irreversible) != zeros(size):
        return cast(Expr, oo)
    # Multiplied out, C⁻¹ is left in tr(D C⁻¹) alone, and that is tr A: multiply the stationary
    # balance A C + C Aᵀ = 2D by C⁻¹. The mixed terms are −2 tr A, for ε leaves the trace.
    covariance = process.stationary_covariance()
    lost = (inverse * irreversible * covariance * irreversible.T).trace()
    return factored(lost - A.trace())


def _pseudo_inverse(process: OrnsteinUhlenbeck) -> MatrixBase:
    """D⁺, by inverting D where it has entries."""
    D = process.diffusion
    support = [i for i in range(process.dimension) if any(D.row(i))]
    whole = zeros(process.dimension)
    if not support:
        return whole
    block = D.extract(support, support)
    singular = process.determinant_of(block).is_zero
    values = block.pinv() if singular else process.inverse(block)
    for a, i in enumerate(support):
        for b, j in enumerate(support):
            whole[i, j] = values[a, b]
    return whole
