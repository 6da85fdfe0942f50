r"""The spectrum of a model: eigenvalues of its Hessian, and the gradient noise along each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy import Symbol

from sgdtheory.arrays import backend_of, detached, like, shortened
from sgdtheory.chebyshev_blocks import ChebyshevBlocks
from sgdtheory.compression import SettingsRange, points_of_block
from sgdtheory.number_checks import check_number
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["CompressedSpectrum", "Spectrum"]

# Blocks of eigenvalues reach 900 octaves below the largest.
_SMALLEST_LARGEST = 1e-30


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    r"""Hessian eigenvalues ρ_i and one example's gradient variance Σ_i along each eigenvector.

    Args:
        eigenvalues: ρ, shape (modes,), NumPy or torch. Unit: loss/θ².
        noise_scale: σ² ≥ 0 with Σ = σ²H. Unit: loss. Default 1 when `noise_variances` is absent.
        noise_variances: Σ_i ≥ 0, shape (modes,), for noise that shares H's eigenvectors without
            being proportional to it. Unit: (loss/θ)².
        counts: multiplicities > 0, shape (modes,); they weigh sums and leave the modes axis alone.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    >>> Spectrum([2.0, 0.5], noise_scale=3.0).variances
    array([6. , 1.5])
    """

    eigenvalues: Any
    noise_scale: Any = None
    noise_variances: Any = None
    counts: Any = None

    def __post_init__(self) -> None:
        others = {
            name: getattr(self, name) for name in ("noise_scale", "noise_variances", "counts")
        }
        if backend_of([self.eigenvalues]) == "numpy" and backend_of(others.values()) == "torch":
            tensors = [name for name, value in others.items() if backend_of([value]) == "torch"]
            raise ValueError(
                f"eigenvalues is no tensor but {', '.join(tensors)} is: pass tensors throughout."
            )
        eigenvalues = _array("eigenvalues", self.eigenvalues, self.eigenvalues)
        object.__setattr__(self, "eigenvalues", eigenvalues)
        _check_vector("eigenvalues", eigenvalues)
        if self.noise_scale is not None and self.noise_variances is not None:
            raise ValueError(
                f"noise_scale = {self.noise_scale} and noise_variances were both given: "
                "give the one or the other."
            )
        if self.noise_variances is None:
            self._check_proportional()
        else:
            variances = _array("noise_variances", self.noise_variances, eigenvalues)
            object.__setattr__(self, "noise_variances", variances)
            _check_vector("noise_variances", variances, len(eigenvalues))
            _check_minimum("noise_variances", variances, 0.0)
        if self.counts is not None:
            counts = _array("counts", self.counts, eigenvalues)
            object.__setattr__(self, "counts", counts)
            _check_vector("counts", counts, len(eigenvalues))
            self._check_counts(counts)

    def _check_proportional(self) -> None:
        scale = 1.0 if self.noise_scale is None else self.noise_scale
        object.__setattr__(self, "noise_scale", scale)
        value = detached(scale)
        number = value.shape == () and value.dtype.kind in "fiu"
        if not (number and np.isfinite(value) and value >= 0):
            raise ValueError(f"noise_scale = {scale!r}: it must be one finite number ≥ 0.")
        rho = detached(self.eigenvalues)
        if np.any(rho < 0):
            i = int(np.argmin(rho))
            raise ValueError(
                f"eigenvalues[{i}] = {rho[i]}: noise proportional to the Hessian would have a "
                "negative variance there; the limit is ≥ 0. Give noise_variances=, or leave the "
                "direction out."
            )

    def __repr__(self) -> str:
        rho = detached(self.eigenvalues)
        return f"<{type(self).__name__} of {len(rho)} eigenvalues, {rho.min():g} to {rho.max():g}>"

    def _check_counts(self, counts: Any) -> None:
        _check_minimum("counts", counts, 0.0, strict=True)

    @property
    def variances(self) -> Any:
        """Σ_i, shape (modes,)."""
        if self.noise_variances is not None:
            return self.noise_variances
        return self.noise_scale * self.eigenvalues

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def total(self, per_mode: Any) -> Any:
        """Sum over the modes (the last axis), weighted by `counts`."""
        if self.counts is None:
            return per_mode.sum(-1)
        return (per_mode * like(self.counts, per_mode)).sum(-1)

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

        One pass over the eigenvalues; see `compressed`, which takes them as they come.

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
    """Directions that stand for a larger number of others, with counts of either sign.

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

    @property
    def size(self) -> float:
        """Directions that it stands for."""
        return float(detached(self.counts).sum())

    def compress(self, *args: Any, **settings: Any) -> CompressedSpectrum:
        """Refused: the bound on the error is for counts > 0.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this spectrum is compressed already, and its counts have both signs. Compress the "
            "spectrum that it came from."
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
        check_number("tolerance", tolerance, at_least=1e-12, below=1.0)
        check_number("largest", largest, above=_SMALLEST_LARGEST)
        own = tuple((parameters or {}).items())
        settings = SettingsRange(momentum, stability, rule or heavy_ball(), own, fixed_order)
        blocks = ChebyshevBlocks(largest, lambda block: points_of_block(settings, tolerance, block))
        gathered = _Gathered(blocks, largest)
        for number, chunk in enumerate(chunks):
            gathered.add(number, chunk)
        return cls(**gathered.directions(), tolerance=tolerance, settings=settings, largest=largest)


class _Gathered:
    """Chunks of a spectrum, as the measures Σ n δ(ρ) and, for noise of its own, Σ nΣ δ(ρ)."""

    def __init__(self, blocks: ChebyshevBlocks, largest: float) -> None:
        self._blocks, self._largest = blocks, largest
        self._noise_scales: set[float | None] = set()
        self._highest = 0.0
        self._kind: Any = None

    def add(self, number: int, chunk: Spectrum) -> None:
        if not isinstance(chunk, Spectrum):
            raise ValueError(  # noqa: TRY004
                f"chunk {number} = {shortened(chunk)}: give each as a Spectrum(eigenvalues)."
            )
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
        return {**arrays, "noise_scale": scale}


def _array(name: str, values: Any, reference: Any) -> Any:
    try:
        return like(values, reference)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {values!r}: give an array of real numbers.") from None


def _check_vector(name: str, values: Any, length: int | None = None) -> None:
    shape = tuple(values.shape)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"{name} has shape {shape}: it must be one-dimensional and not empty.")
    if length is not None and shape[0] != length:
        raise ValueError(f"{name} has {shape[0]} entries for {length} eigenvalues: give one each.")
    plain = detached(values)
    if not np.all(np.isfinite(plain)):
        i = int(np.argmin(np.isfinite(plain)))
        raise ValueError(f"{name}[{i}] = {plain[i]}: it must be finite. Remove or repair it.")


def _check_minimum(name: str, values: Any, minimum: float, strict: bool = False) -> None:
    plain = detached(values)
    bad = plain <= minimum if strict else plain < minimum
    if np.any(bad):
        i = int(np.argmax(bad))
        sign = ">" if strict else "≥"
        raise ValueError(f"{name}[{i}] = {plain[i]}: it must be {sign} {minimum:g}.")
