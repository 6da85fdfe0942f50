r"""The spectrum of a model: eigenvalues of its Hessian, and the gradient noise along each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy import Symbol

from sgdtheory.arrays import backend_of, concatenated, detached, like, shortened
from sgdtheory.chebyshev_blocks import ChebyshevBlocks
from sgdtheory.compression import SettingsRange, points_of_block
from sgdtheory.number_checks import check_number
from sgdtheory.spectra.gathered_chunks import GatheredChunks
from sgdtheory.spectra.measured_directions import MeasuredDirections
from sgdtheory.spectra.spectral_density import SpectralDensity
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["CompressedSpectrum", "Spectrum"]

# Blocks of eigenvalues reach 900 octaves below the largest.
_SMALLEST_LARGEST = 1e-30
_FINEST = 1e-12


def _range(
    momentum: float,
    stability: float,
    rule: UpdateRule | None,
    parameters: Mapping[Symbol, float] | None,
    fixed_order: bool,
) -> SettingsRange:
    own = tuple((parameters or {}).items())
    return SettingsRange(momentum, stability, rule or heavy_ball(), own, fixed_order)


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(MeasuredDirections):
    r"""Hessian eigenvalues ρ_i and one example's gradient variance Σ_i along each eigenvector.

    Args:
        eigenvalues: ρ, shape (modes,), NumPy or torch. Unit: loss/θ².
        noise_scale: σ² ≥ 0 with Σ = σ²H. Unit: loss. Default 1 when `noise_variances` is absent.
        noise_variances: Σ_i ≥ 0, shape (modes,), for noise that shares H's eigenvectors without
            being proportional to it. Unit: (loss/θ)².
        counts: multiplicities > 0, shape (modes,); they weigh sums and leave the modes axis alone.
        negative_tails: what was done about negative eigenvalues; constructors write it.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    >>> Spectrum([2.0, 0.5], noise_scale=3.0).variances
    array([6. , 1.5])
    """

    @staticmethod
    def from_density(
        density: SpectralDensity,
        noise_scale: float = 1.0,
        tolerance: float = 1e-8,
        *,
        momentum: float = 0.9,
        stability: float = 0.9,
        rule: UpdateRule | None = None,
        parameters: Mapping[Symbol, float] | None = None,
        fixed_order: bool = False,
    ) -> CompressedSpectrum:
        """A few hundred directions with counts > 0 that stand for a density in every sum.

        On blocks of a factor of 8 the density's own Gauss rule, with as many nodes as the theory
        asks for in the range of settings: it is exact for what `compress` interpolates there. What
        is promised is what `compress` promises.

        Args:
            density: of eigenvalues, with the number of directions and outliers.
            noise_scale: σ². Unit: loss.
            tolerance: largest relative error, ≥ 1e-12, of displacements and of sums of variances.
            momentum: the largest β for which it is to hold.
            stability: the largest ηh for which it is to hold, as a fraction of the rule's limit.
            rule: the optimiser, heavy ball by default.
            parameters: values of the rule's further symbols.
            fixed_order: whether it is to hold for sampling="fixed_order", too.

        Raises:
            ValueError: for a density that is too singular, or a range that needs too many
                directions.

        >>> from sgdtheory.spectra.named_densities import marchenko_pastur
        >>> spectrum = Spectrum.from_density(marchenko_pastur(0.5, directions=1000))
        >>> len(spectrum) < 300, round(spectrum.size, 9), round(float(spectrum.moment(2)), 9)
        (True, 1000.0, 1.5)
        """
        if not isinstance(density, SpectralDensity):
            raise ValueError(  # noqa: TRY004
                f"density = {shortened(density)}: give a SpectralDensity, as power_law(...) is."
            )
        check_number("tolerance", tolerance, at_least=_FINEST, below=1.0)
        settings = _range(momentum, stability, rule, parameters, fixed_order)
        # n nodes of a Gauss rule integrate what 2n points interpolate.
        nodes, counts = density.nodes_and_counts(
            lambda block: points_of_block(settings, tolerance, block) // 2 + 1, tolerance
        )
        return CompressedSpectrum(
            nodes,
            noise_scale,
            counts=counts,
            tolerance=tolerance,
            settings=settings,
            largest=density.largest,
        )

    @classmethod
    def joined(cls, spectra: Sequence[Spectrum]) -> Spectrum:
        """The directions of several spectra, as one.

        Args:
            spectra: at least one, none of them compressed: join first, compress afterwards.

        Returns:
            A spectrum with their `noise_scale`, if that is the same, else with noise variances.

        Raises:
            ValueError: naming the one that does not fit.

        >>> whole = Spectrum.joined([Spectrum([1.0, 2.0]), Spectrum([0.1], counts=[50])])
        >>> whole.size, whole.noise_scale
        (52.0, 1.0)
        """
        for number, part in enumerate(spectra):
            _require_whole(f"spectra[{number}]", part)
        if not spectra:
            raise ValueError("spectra: there are none. Give at least one.")
        if len({backend_of([part.eigenvalues]) for part in spectra}) > 1:
            raise ValueError("spectra: some hold tensors and some do not. Pass tensors throughout.")
        scale, *others = (part.noise_scale for part in spectra)
        # Tensors of equal value have gradients of their own.
        alike = scale is not None and all(
            other is scale or (backend_of([other, scale]) == "numpy" and other == scale)
            for other in others
        )
        rho = concatenated([part.eigenvalues for part in spectra])
        counts = [
            like(np.ones(len(part)), part.eigenvalues) if part.counts is None else part.counts
            for part in spectra
        ]
        return cls(
            rho,
            scale if alike else None,
            None if alike else concatenated([part.variances for part in spectra]),
            concatenated(counts),
            negative_tails=tuple(tail for part in spectra for tail in part.negative_tails),
        )

    def sample(self, size: int, rng: np.random.Generator) -> Spectrum:
        """A random finite spectrum: independent draws, each direction as likely as any other.

        Args:
            size: how many directions.
            rng: the source of randomness.

        Raises:
            ValueError: where counts are negative, which are no probabilities.

        >>> few = Spectrum([2.0, 1.0], counts=[1, 1e6]).sample(10, np.random.default_rng(0))
        >>> few.size, few.eigenvalues
        (10.0, array([1.]))
        """
        check_number("size", size, at_least=1)
        weights = np.ones(len(self)) if self.counts is None else detached(self.counts)
        if weights.min() < 0:
            raise ValueError(
                "counts of both signs are no probabilities. Sample the spectrum that this one was "
                "compressed from."
            )
        drawn = rng.multinomial(int(size), np.asarray(weights / weights.sum(), dtype=np.float64))
        there = np.flatnonzero(drawn)
        own = self.noise_variances
        return Spectrum(
            self.eigenvalues[there],
            self.noise_scale,
            None if own is None else own[there],
            like(drawn[there], self.eigenvalues),
            negative_tails=self.negative_tails,
        )

    def require_for(
        self, hyperparameters: Any, rule: UpdateRule, parameters: Any, sampling: str
    ) -> None:
        """Refuse settings for which it does not stand; a whole spectrum stands for all.

        Args:
            hyperparameters: η, β, λ, numbers or arrays.
            rule: the optimiser.
            parameters: values of the rule's further symbols.
            sampling: how batches are drawn.
        """

    def compress(
        self,
        tolerance: float = 1e-8,
        *,
        momentum: float = 0.9,
        stability: float = 0.9,
        rule: UpdateRule | None = None,
        parameters: Mapping[Symbol, float] | None = None,
        fixed_order: bool = False,
    ) -> CompressedSpectrum:
        """A few hundred directions that stand for all of them in every sum over directions.

        One pass over the eigenvalues; `CompressedSpectrum.of` takes them as they come.

        Args:
            tolerance: largest relative error, ≥ 1e-12, of displacements and of sums of variances;
                under epochs a transient variance may err by the tolerance of the stationary one,
                because what an epoch gives it can take back to the last bit.
            momentum: the largest β for which it is to hold.
            stability: the largest ηh for which it is to hold, as a fraction of the rule's limit.
            rule: the optimiser, heavy ball by default.
            parameters: values of the rule's further symbols.
            fixed_order: whether it is to hold for sampling="fixed_order", too.

        Raises:
            ValueError: for negative eigenvalues, or a range that needs too many directions.

        >>> spectrum = Spectrum(np.geomspace(1e-6, 1.0, 100_000))
        >>> small = spectrum.compress(1e-8, momentum=0.9)
        >>> from sgdtheory import Hyperparameters, Predictor
        >>> run, steps = Hyperparameters(0.2, momentum=0.9), [1, 100, 10_000]
        >>> few, all_of_them = (Predictor(run, s).displacement(steps) for s in (small, spectrum))
        >>> len(small) < 600, bool(np.all(abs(few / all_of_them - 1) < 1e-8))
        (True, True)
        """
        largest = float(detached(self.eigenvalues).max())
        if largest <= _SMALLEST_LARGEST:
            raise ValueError(
                f"eigenvalues: the largest is {largest:g}, so there is nothing to compress. Give a "
                "spectrum with directions that are not flat."
            )
        return CompressedSpectrum.of(
            [self],
            largest,
            tolerance,
            momentum=momentum,
            stability=stability,
            rule=rule,
            parameters=parameters,
            fixed_order=fixed_order,
        )


@dataclass(frozen=True, eq=False, repr=False)
class CompressedSpectrum(Spectrum):
    """Directions that stand for a larger number of others, or for a density.

    Made by `compress` its counts have both signs, and are of no meaning one by one; made by
    `from_density` they are > 0.

    Args:
        tolerance: largest relative error of displacement and of sums of variances.
        settings: what it holds for.
        largest: no eigenvalue that it stands for is larger.
    """

    tolerance: float = field(kw_only=True)
    settings: SettingsRange = field(kw_only=True)
    largest: float = field(kw_only=True)

    def _check_counts(self, counts: Any) -> None:
        """An interpolant's weights have both signs; their sums are what counts."""

    def compress(self, *args: Any, **settings: Any) -> CompressedSpectrum:
        """Refused: the bound on the error is for a whole spectrum.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this spectrum is compressed already, for the settings that it declares. Compress the "
            "spectrum that it came from, or ask from_density for other settings."
        )

    def require_for(
        self, hyperparameters: Any, rule: UpdateRule, parameters: Any, sampling: str
    ) -> None:
        """Refuse settings for which it does not stand.

        Args:
            hyperparameters: η, β, λ, numbers or arrays.
            rule: the optimiser.
            parameters: values of the rule's further symbols.
            sampling: how batches are drawn.

        Raises:
            ValueError: naming what lies outside the range that it was made for.
        """
        own = self.settings
        values = {symbol: detached(value) for symbol, value in parameters.items()}
        same = rule == own.rule and values.keys() == dict(own.parameters).keys()
        if not same or any(np.any(values[symbol] != value) for symbol, value in own.parameters):
            raise ValueError(
                f"rule = {rule.name}, parameters = {dict(parameters)}: the spectrum was compressed "
                f"for {own.rule.name}, {dict(own.parameters)}. Compress it for this rule."
            )
        if sampling == "fixed_order" and not own.fixed_order:
            raise ValueError(
                "sampling = 'fixed_order': the spectrum was compressed without it. Compress it "
                "with fixed_order=True."
            )
        rate, decay, momentum = (
            detached(hyperparameters.sweep.aligned(value))
            for value in (
                hyperparameters.learning_rate,
                hyperparameters.weight_decay,
                hyperparameters.momentum,
            )
        )
        if momentum.max() > own.momentum:
            raise ValueError(
                f"momentum = {momentum.max():g}: the spectrum was compressed for at most "
                f"{own.momentum:g}. Compress it with momentum={momentum.max():g}."
            )
        different, where = np.unique(momentum, return_inverse=True)
        limits = np.array([own.largest_step(value) for value in different])[where]
        excess = rate * (self.largest + decay) / limits.reshape(momentum.shape)
        # The limit itself is allowed, however it was computed.
        if excess.max() > 1 + 1e-9:
            raise ValueError(
                f"learning_rate up to {rate.max():g}: ηh reaches {excess.max() * own.stability:.7g}"
                " times the limit of stability, and the spectrum was compressed for at most "
                f"{own.stability:g}. Lower the learning rate, or, below 1, compress it with a "
                "larger stability=."
            )

    @classmethod
    def of(
        cls,
        chunks: Iterable[Spectrum],
        largest: float,
        tolerance: float = 1e-8,
        *,
        momentum: float = 0.9,
        stability: float = 0.9,
        rule: UpdateRule | None = None,
        parameters: Mapping[Symbol, float] | None = None,
        fixed_order: bool = False,
    ) -> CompressedSpectrum:
        """A spectrum that comes in chunks, compressed as it comes: none of them is kept.

        Args:
            chunks: its parts, with one `noise_scale` or each with `noise_variances`.
            largest: no eigenvalue is larger.
            tolerance: largest relative error of displacement and sums of variances, ≥ 1e-12.
            momentum: the range for which it is to hold, as of `Spectrum.compress`; likewise the
                following.
            stability: largest ηh.
            rule: the optimiser.
            parameters: of the rule.
            fixed_order: whether for one order of batches for ever, too.

        Raises:
            ValueError: naming the chunk that does not fit.

        >>> parts = (Spectrum(np.linspace(1e-3, 1, 1000) / n, noise_scale=2.0) for n in (1, 2, 3))
        >>> small = CompressedSpectrum.of(parts, largest=1.0, momentum=0.5)
        >>> round(small.size, 6), len(small) < 200
        (3000.0, True)
        """
        check_number("tolerance", tolerance, at_least=_FINEST, below=1.0)
        check_number("largest", largest, above=_SMALLEST_LARGEST)
        settings = _range(momentum, stability, rule, parameters, fixed_order)
        blocks = ChebyshevBlocks(largest, lambda block: points_of_block(settings, tolerance, block))
        gathered = GatheredChunks(blocks, largest)
        for number, chunk in enumerate(chunks):
            _require_whole(f"chunk {number}", chunk)
            gathered.add(number, chunk)
        return cls(**gathered.directions(), tolerance=tolerance, settings=settings, largest=largest)


def _require_whole(name: str, part: Any) -> None:
    if not isinstance(part, Spectrum) or isinstance(part, CompressedSpectrum):
        raise ValueError(  # noqa: TRY004
            f"{name} = {shortened(part)}: give a Spectrum that is not compressed. Put spectra "
            "together first and compress them afterwards; outliers are added to a density by its "
            "with_outliers."
        )
