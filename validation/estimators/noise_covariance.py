r"""How the noise of single examples relates to the Hessian, with jackknife errors.

Products of a measured covariance with itself pair each example with itself, too, and those pairs
add what single gradients make, not their covariance: |Σ|² and |HΣ − ΣH|² come out too large, the
latter above 0 even where the two commute. Sums over pairs of DIFFERENT examples have no such part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from validation.data import Array
from validation.estimators.estimate import Estimate

__all__ = ["NoiseAlignment", "noise_alignment"]


@dataclass(frozen=True)
class NoiseAlignment:
    """Of the covariance Σ of one example's gradient with the Hessian H.

    Args:
        scale: σ² = tr Σ/tr H.
        cosine: ⟨Σ, H⟩/(|Σ||H|), 1 where Σ ∝ H.
        commutator_squared: |HΣ − ΣH|²/(|H|²|Σ|²), 0 where the two share their eigenvectors; less
            by chance. `bias` of each is what the plain formula has too much.
    """

    scale: Estimate
    cosine: Estimate
    commutator_squared: Estimate


@dataclass(frozen=True)
class _Sums:
    """Over examples: their count, Σ ggᵀ, Σ |g|⁴ and Σ |[H, ggᵀ]|²; blocks lie on the first axis."""

    count: Array
    outer: Array
    fourth: Array
    twisted: Array


def noise_alignment(gradients: Array, hessian: Array, blocks: int = 40) -> NoiseAlignment:
    """Scale, alignment and commutator of the noise, one entry each.

    Bias: pairs of an example with itself are left out, and the jackknife takes off what ratios and
    roots add at order 1/N. Errors are those of deleting a block of examples. Where Σ and H commute,
    the commutator fluctuates as a square does: skewed, and its errors are of order 1/N.

    Args:
        gradients: of single examples at one θ, (N, d), in any order that says nothing.
        hessian: H, (d, d), symmetric.
        blocks: into which the examples are cut.

    Raises:
        ValueError: naming the shape, if these do not fit, or there are too few examples.
    """
    gradients, hessian = np.asarray(gradients, float), np.asarray(hessian, float)
    if gradients.ndim != 2 or hessian.shape != (gradients.shape[1],) * 2:
        raise ValueError(
            f"gradients have shape {gradients.shape}, hessian {hessian.shape}. Give one gradient a "
            "row, (N, d), and the Hessian of the same d parameters, (d, d)."
        )
    if len(gradients) < 2 * blocks or blocks < 3:
        raise ValueError(
            f"{len(gradients)} examples cannot fill {blocks} blocks: give 2 examples a block or "
            "more, and 3 blocks or more."
        )
    sums = _block_sums(gradients - gradients.mean(axis=0), hessian, blocks)
    # The measured mean has taken one example's share of Σ.
    freedom = len(gradients) / (len(gradients) - 1)
    total = _Sums(*(np.sum(part, axis=0)[None] for part in vars(sums).values()))
    rest = _Sums(*(t - s for t, s in zip(vars(total).values(), vars(sums).values(), strict=True)))
    plain = replace(total, fourth=np.zeros(1), twisted=np.zeros(1))
    return NoiseAlignment(
        *map(
            _jackknifed,
            _statistics(total, total.count * (total.count - 1), hessian, freedom),
            _statistics(rest, rest.count * (rest.count - 1), hessian, freedom),
            _statistics(plain, total.count**2, hessian, freedom),
        )
    )


def _block_sums(gradients: Array, hessian: Array, blocks: int) -> _Sums:
    count, outer, fourth, twisted = [], [], [], []
    for g in np.array_split(gradients, blocks):
        turned = g @ hessian
        length = (g**2).sum(axis=1)
        count.append(float(len(g)))
        outer.append(g.T @ g)
        fourth.append((length**2).sum())
        square = (turned**2).sum(axis=1) * length - (turned * g).sum(axis=1) ** 2
        twisted.append(2 * square.sum())
    return _Sums(*map(np.asarray, (count, outer, fourth, twisted)))


def _statistics(
    sums: _Sums, pairs: Array, hessian: Array, freedom: float
) -> tuple[Array, Array, Array]:
    """Scale, cosine and squared commutator of every set of sums, over so many pairs."""
    covariance = freedom * sums.outer / sums.count[:, None, None]
    alike = freedom**2 * ((sums.outer**2).sum(axis=(1, 2)) - sums.fourth) / pairs
    bracket = hessian @ sums.outer - sums.outer @ hessian
    apart = freedom**2 * ((bracket**2).sum(axis=(1, 2)) - sums.twisted) / pairs
    size = np.sqrt((hessian**2).sum())
    scale = np.trace(covariance, axis1=1, axis2=2) / np.trace(hessian)
    cosine = np.einsum("bij,ij->b", covariance, hessian) / (np.sqrt(alike) * size)
    return scale, cosine, apart / (alike * size**2)


def _jackknifed(whole: Array, without: Array, plain: Array) -> Estimate:
    blocks, middle = len(without), without.mean()
    error = np.sqrt((blocks - 1) / blocks * ((without - middle) ** 2).sum())
    value = blocks * whole - (blocks - 1) * middle
    return Estimate(value, np.atleast_1d(error), blocks, None, plain - value)
