r"""The noise of single examples, while what is left of the mean gradient settles.

Of a network whose Hessian is held fixed, outputs differ from targets by

.. math:: r(k) = \sum_j V_j\, m_j(k)\, V_j^T r_0

with V_j the modes of K = JJᵀ and m_j(k) the mean of a direction of curvature ρ_j = K_j/N that began
at 1. An example's gradient is J_nᵀr_n(k): noise that comes from the examples fades as they are
learned, and how much of it a record will feel is known before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sgdtheory as sgd
from validation.data import Array

__all__ = ["settling_noise"]

# Eigenvalues below this share of the largest are flat: rounding is larger.
_FLAT = 1e-9


def settling_noise(
    products: Path, residual: Array, settings: sgd.Hyperparameters, steps: Array
) -> tuple[Array, float]:
    """Of one example, along the known directions and in total, averaged over the steps.

    Args:
        products: npz file of K's modes and of the outputs' slopes along known directions.
        residual: f(θ_0) − y, (N, outputs).
        settings: of the training, by heavy ball.
        steps: k, update counts.
    """
    with np.load(products) as found:
        values, modes, gram, along = (found[name] for name in ("values", "modes", "gram", "along"))
    count, width = residual.shape
    rho = np.maximum(values / count, _FLAT * values[-1] / count)
    still = sgd.Spectrum(rho, noise_variances=np.zeros_like(rho))
    means = sgd.Predictor(settings, still).mean(steps, np.ones_like(rho))[..., 0]
    amplitudes = means * (modes.T @ residual.ravel())
    errors = (amplitudes @ modes.T).reshape(-1, count, width)
    slopes = along.reshape(count, width, -1)
    blocks = gram.reshape(count, width, count, width)[np.arange(count), :, np.arange(count)]
    gradients = np.einsum("tno,nok->tnk", errors, slopes)
    squares = np.einsum("tno,nop,tnp->t", errors, blocks, errors, optimize=True) / count
    mean_squares = amplitudes**2 @ values / count**2
    return gradients.var(axis=1).mean(axis=0), float((squares - mean_squares).mean())
