r"""A spectrum that comes in chunks, gathered into a few points: none of the chunks is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.arrays import detached, like
from sgdtheory.chebyshev_blocks import ChebyshevBlocks
from sgdtheory.spectra.negative_tails import NegativeTail
from sgdtheory.spectra.weighted_directions import WeightedDirections

__all__ = ["GatheredChunks"]


class GatheredChunks:
    """Chunks of a spectrum, as the measures Σ n δ(ρ) and, for noise of its own, Σ nΣ δ(ρ).

    Args:
        blocks: what gathers the measures.
        largest: no eigenvalue is larger.
    """

    def __init__(self, blocks: ChebyshevBlocks, largest: float) -> None:
        self._blocks, self._largest = blocks, largest
        self._noise_scales: set[float | None] = set()
        self._highest = 0.0
        self._kind: Any = None
        self._negative_tails: list[NegativeTail] = []

    def add(self, number: int, chunk: WeightedDirections) -> None:
        """Take in the next chunk.

        Args:
            number: of the chunk, for messages.
            chunk: its directions.

        Raises:
            ValueError: where it does not fit to the others.
        """
        rho = detached(chunk.eigenvalues)
        if getattr(chunk.eigenvalues, "requires_grad", False):
            raise ValueError(
                "eigenvalues require a gradient, which a compression cannot pass on. Give "
                "eigenvalues.detach()."
            )
        if rho.min() < 0 or rho.max() > self._largest:
            raise ValueError(
                f"eigenvalues of chunk {number} reach from {rho.min():g} to {rho.max():g}: they "
                f"must lie between 0 and largest = {self._largest:g}. Leave others out, or keep "
                "them in a spectrum of their own."
            )
        self._kind = chunk.eigenvalues
        self._negative_tails += chunk.negative_tails
        own_noise = chunk.noise_variances is not None
        self._noise_scales.add(None if own_noise else float(detached(chunk.noise_scale)))
        if len(self._noise_scales) > 1:
            raise ValueError(
                f"chunk {number} has another noise_scale: {self._noise_scales}. Chunks need the "
                "same noise_scale, or noise_variances each."
            )
        weights = [np.ones(len(rho)) if chunk.counts is None else detached(chunk.counts)]
        if own_noise:
            variances = detached(chunk.noise_variances)
            self._highest = max(self._highest, float(variances.max()))
            weights.append(weights[0] * variances)
        self._blocks.add(np.asarray(rho, dtype=np.float64), np.array(weights))

    def directions(self) -> dict[str, Any]:
        """Eigenvalues, noise and counts.

        Sums are linear in the noise, so a direction with any is in part one without, and in part
        one with the highest there is.
        """
        if not self._noise_scales:
            raise ValueError("chunks: there are no chunks. Give at least one spectrum.")
        nodes, weights = self._blocks.nodes_and_weights()
        (scale,) = self._noise_scales
        if scale is not None:
            found = {"eigenvalues": nodes, "counts": weights[0]}
        else:
            noisy = weights[1] / (self._highest or 1.0)
            found = {
                "eigenvalues": np.concatenate([nodes, nodes]),
                "noise_variances": np.repeat([0.0, self._highest], len(nodes)),
                "counts": np.concatenate([weights[0] - noisy, noisy]),
            }
        arrays = {name: like(values, self._kind) for name, values in found.items()}
        return {**arrays, "noise_scale": scale, "negative_tails": tuple(self._negative_tails)}
