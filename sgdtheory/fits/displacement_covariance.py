r"""How much a measured displacement scatters, and how its steps share their scatter.

D_k = |θ_k − θ_0|² of one run is no number but a random curve: its values at different steps come
from the same path. Along every direction Δ_k is Gaussian, so second moments of Δ say it all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import detached, real, shortened
from sgdtheory.predictor import Predictor
from sgdtheory.spectrum import CompressedSpectrum, Spectrum

__all__ = ["DirectionMoments", "DisplacementMoments", "direction_moments", "displacement_moments"]

Array = NDArray[np.float64]

# Pairs of steps × modes that are held at once on the way to a sum over the modes.
_HELD = 2**22


@dataclass(frozen=True, eq=False)
class DisplacementMoments:
    r"""Mean and covariance of D_k = |θ_k − θ_0|² over runs, summed over directions.

    Args:
        steps: k, (T,).
        mean: E D_k, (T,). Unit: θ².
        covariance: Cov(D_k, D_l), (T, T). Unit: θ⁴.
    """

    steps: Array
    mean: Array
    covariance: Array

    @property
    def effective_directions(self) -> Array:
        """Equal directions without drift that would scatter as much: 2 (E D)² / Var D, (T,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(2 * self.mean**2 / np.diag(self.covariance))

    def averaged(self, replicas: int) -> DisplacementMoments:
        """The same for the average of independent runs.

        Args:
            replicas: how many.
        """
        return replace(self, covariance=self.covariance / replicas)


@dataclass(frozen=True, eq=False)
class DirectionMoments:
    """Moments of Δ_k = θ_k − θ_0 along every direction.

    Args:
        mean: m_k = E Δ_k, (T, modes).
        covariance: c_kl = Cov(Δ_k, Δ_l), (T, T, modes).
    """

    mean: Array
    covariance: Array

    @property
    def square(self) -> Array:
        r"""E Δ_k², (T, modes)."""
        return np.asarray(self.mean**2 + np.einsum("kki->ki", self.covariance))

    @property
    def covariance_of_squares(self) -> Array:
        r"""Cov(Δ_k², Δ_l²) = 2 c_kl² + 4 m_k m_l c_kl of a Gaussian pair, (T, T, modes)."""
        c, m = self.covariance, self.mean
        return np.asarray(2 * c * (c + 2 * m[:, None] * m))


def displacement_moments(
    model: Predictor,
    steps: Any,
    position: Any = None,
    velocity: Any = 0.0,
    start_covariance: Any = None,
) -> DisplacementMoments:
    r"""Mean and covariance of a displacement curve, measured on one run of a linear process.

    .. math:: \mathrm{Cov}(D_k, D_l) = \sum_i n_i\,(2 c_{kl}^2 + 4 m_k m_l c_{kl})_i

    with m and c the mean and covariance of Δ along direction i, and n its count (Isserlis'
    theorem). From a stationary start increments are stationary, and polarisation gives
    c_kl = ½ (E_k + E_l − E_|k−l|) from one direction's displacement E.

    Args:
        model: one setting, not a sweep, with sampling="with_replacement".
        steps: update counts, (T,).
        position: a start, as of `Predictor.displacement`; None for the stationary state.
        velocity: with `position`.
        start_covariance: about `position`.

    Raises:
        ValueError: for other samplings, where Δ is a mixture over the phase of the start and not
            Gaussian; for a sweep; for a compressed spectrum, whose counts stand for sums that are
            linear in the noise.

    A direction too flat to be felt diffuses, and scatters as one squared Gaussian number:

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> moments = displacement_moments(
    ...     Predictor(Hyperparameters(0.1), Spectrum([1e-12])), [100, 400]
    ... )
    >>> moments.effective_directions.round(6)
    array([1., 1.])
    >>> float((moments.covariance[0, 1] / moments.covariance[1, 1]).round(6))  # (100/400)²
    0.0625
    """
    require_gaussian(model)
    mean = detached(model.displacement(steps, position, velocity, 0, start_covariance))
    counts = real(steps)
    if counts.ndim != 1 or not len(counts):
        raise ValueError(f"steps has shape {counts.shape}: give update counts on one axis.")
    covariance = np.zeros((len(counts), len(counts)))
    start = (position, velocity, start_covariance)
    for part, own_start in _few_modes_at_once(model, start, max(1, _HELD // len(counts) ** 2)):
        moments = direction_moments(part, counts, *own_start)
        covariance += detached(part.spectrum.total(moments.covariance_of_squares))
    return DisplacementMoments(counts, mean, covariance)


def direction_moments(
    model: Predictor,
    steps: Array,
    position: Any = None,
    velocity: Any = 0.0,
    start_covariance: Any = None,
) -> DirectionMoments:
    """Moments of Δ along every direction; arguments as of `displacement_moments`."""
    if position is None and start_covariance is None:
        return _stationary_moments(model, steps)
    return _transient_moments(model, steps, position, velocity, start_covariance)


def require_gaussian(model: Predictor) -> None:
    """Refuse models whose Δ is not Gaussian, or of which there are several.

    Args:
        model: to be checked.

    Raises:
        ValueError: naming what is in the way.
    """
    if not isinstance(model, Predictor):
        raise ValueError(  # noqa: TRY004
            f"model = {shortened(model)}: give a Predictor of a Spectrum; a Landscape has one, "
            "landscape.spectrum, where its noise commutes with its Hessian."
        )
    if model.sampling != "with_replacement":
        raise ValueError(
            f"sampling = {model.sampling!r}: how far a run has gone depends on the phase of its "
            "start, so displacements scatter as a mixture, of which only the average over phases "
            "is known. Fit without a model, or take sampling='with_replacement' for windows far "
            "below an epoch."
        )
    if model.sweep.shape:
        raise ValueError(
            f"model is a sweep of shape {model.sweep.shape}: a measured curve has one setting. "
            "Give numbers as hyperparameters."
        )
    if isinstance(model.spectrum, CompressedSpectrum):
        raise ValueError(  # noqa: TRY004
            "model's spectrum is compressed: its counts stand for sums that are linear in the "
            "noise, and a covariance of displacements is not. Give the spectrum that it came from, "
            "or fewer eigenvalues with positive counts."
        )


def _few_modes_at_once(
    model: Predictor, start: tuple[Any, Any, Any], size: int
) -> Iterator[tuple[Predictor, tuple[Any, Any, Any]]]:
    spectrum, modes = model.spectrum, len(model.spectrum)
    if modes <= size:
        yield model, start
        return
    for first in range(0, modes, size):
        row = slice(first, first + size)

        def part(value: Any, row: slice = row) -> Any:
            return value if value is None or np.ndim(value) == 0 else value[row]

        few = Spectrum(
            spectrum.eigenvalues[row],
            noise_variances=spectrum.variances[row],
            counts=part(spectrum.counts),
        )
        yield replace(model, spectrum=few), (part(start[0]), part(start[1]), part(start[2]))


def _stationary_moments(model: Predictor, steps: Array) -> DirectionMoments:
    lags, where = np.unique(abs(steps[:, None] - steps), return_inverse=True)
    between = detached(model._evaluate("displacement", lags))[where.reshape(-1)]
    between = between.reshape(len(steps), len(steps), -1)
    own = detached(model._evaluate("displacement", steps))
    return DirectionMoments(0.0 * own, (own[:, None] + own - between) / 2)


def _transient_moments(
    model: Predictor, steps: Array, position: Any, velocity: Any, start_covariance: Any
) -> DirectionMoments:
    moved = detached(model._evaluate("departure", steps))[..., 0, :]
    offset = detached(0.0 if position is None else position)
    mean = moved[..., 0] * offset + moved[..., 1] * detached(velocity)
    order = np.arange(len(steps))
    earlier = np.where(steps[:, None] <= steps, order[:, None], order)
    noise = detached(model.covariance(steps))[..., 0][earlier]
    # What the later of two steps keeps of the earlier: the propagator's first row.
    spans = abs(steps[:, None] - steps)
    kept = [detached(model.mean(spans, *start))[..., 0] for start in ((1.0, 0.0), (0.0, 1.0))]
    covariance = kept[0] * noise[..., 0] + kept[1] * noise[..., 1]
    if start_covariance is not None:
        spread = detached(model.covariance(0, start_covariance=start_covariance))
        covariance = covariance + np.einsum("kia,iab,lib->kli", moved, spread, moved)
    return DirectionMoments(mean, covariance)
