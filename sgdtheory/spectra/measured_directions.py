r"""Measured directions: eigenvalues of either sign, or Ritz values and their weights."""

from __future__ import annotations

from typing import Any, Self

from sgdtheory.spectra.lanczos_quadrature import LanczosQuadrature
from sgdtheory.spectra.negative_tails import without_negative_tail
from sgdtheory.spectra.weighted_directions import WeightedDirections, checked_vector

__all__ = ["MeasuredDirections"]


class MeasuredDirections(WeightedDirections):
    """What makes a spectrum of a measurement; the arguments are those of `Spectrum`."""

    @classmethod
    def from_hessian_eigenvalues(
        cls,
        eigenvalues: Any,
        *,
        noise_scale: Any = None,
        noise_variances: Any = None,
        counts: Any = None,
        negative: str = "refuse",
        drift_noise_scale: float = 0.0,
    ) -> Self:
        """A spectrum of measured eigenvalues, some of which may be negative.

        Args:
            eigenvalues: ρ of any sign, as of `Spectrum`; likewise the following.
            noise_scale: σ².
            noise_variances: Σ_i, of negative directions, too.
            counts: multiplicities.
            negative: what becomes of eigenvalues < 0. "refuse" them; "drop" them; "clamp" them to
                0, which has the noise σ²·0 unless `noise_variances` says otherwise; or "drift":
                keep them, for transients, as they have no stationary state.
            drift_noise_scale: Σ/(−ρ) of drifting directions where `noise_variances` is absent. A
                noise proportional to the Hessian says nothing about them, so that the default
                gives them none: they move as their start makes them. Unit: loss.

        Returns:
            A spectrum whose `negative_tails` say what was done, as its representation does.

        Raises:
            ValueError: for negative eigenvalues that are to be refused.

        >>> from sgdtheory import Spectrum
        >>> Spectrum.from_hessian_eigenvalues([2.0, 1.0, -0.1], negative="drop")
        <Spectrum of 2 eigenvalues, 1 to 2; 1 negative directions dropped, of trace -0.1>
        """
        rho = checked_vector("eigenvalues", eigenvalues, eigenvalues)
        found = {
            name: value if value is None else checked_vector(name, value, rho, len(rho))
            for name, value in (("counts", counts), ("noise_variances", noise_variances))
        }
        arguments = without_negative_tail(
            rho,
            noise_scale=noise_scale,
            handling=negative,
            drift_noise_scale=drift_noise_scale,
            **found,
        )
        return cls(**arguments)

    @classmethod
    def from_lanczos(
        cls,
        ritz_values: Any,
        weights: Any,
        dimension: float,
        *,
        noise_scale: Any = None,
        negative: str = "refuse",
        drift_noise_scale: float = 0.0,
    ) -> Self:
        """The spectrum that stochastic Lanczos quadrature has seen, all probes together.

        Sums over it are averages over probes; one spectrum a probe, from its row, gives their
        scatter, as `LanczosQuadrature.estimate` does for a function of the eigenvalue.

        Args:
            ritz_values: (probes, steps), or (steps,) for one probe. Unit: loss/θ².
            weights: of the same shape, ≥ 0, with sum 1 for every probe.
            dimension: number of parameters.
            noise_scale: σ².
            negative: as of `from_hessian_eigenvalues`; likewise the following.
            drift_noise_scale: of drifting directions.

        Raises:
            ValueError: naming the argument, its value and the limit it broke.

        >>> from sgdtheory import Spectrum
        >>> seen = [[0.0, 2.0], [1.0, 3.0]], [[0.5, 0.5], [0.8, 0.2]]
        >>> print(Spectrum.from_lanczos(*seen, 10).trace)
        12.0
        """
        probes = LanczosQuadrature(ritz_values, weights, dimension)
        rho, counts = probes.eigenvalues_and_counts()
        return cls.from_hessian_eigenvalues(
            rho,
            noise_scale=noise_scale,
            counts=counts,
            negative=negative,
            drift_noise_scale=drift_noise_scale,
        )
