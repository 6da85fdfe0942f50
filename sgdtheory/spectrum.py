r"""The spectrum of a model: eigenvalues of its Hessian, and the gradient noise along each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like

__all__ = ["Spectrum"]


@dataclass(frozen=True, eq=False)
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
            _check_minimum("counts", counts, 0.0, strict=True)

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
