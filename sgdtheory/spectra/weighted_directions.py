r"""Eigen-directions with multiplicities: what a spectrum holds, and sums over its directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdtheory.arrays import backend_of, detached, like
from sgdtheory.named_results import NamedResults, data_frame
from sgdtheory.notebook_display import ShownAsTable, Table, described
from sgdtheory.number_checks import check_number
from sgdtheory.spectra.negative_tails import NegativeTail

__all__ = ["WeightedDirections", "checked_vector"]


@dataclass(frozen=True, eq=False, repr=False)
class WeightedDirections(ShownAsTable, NamedResults):
    r"""Eigenvalues ρ_i, noise variances Σ_i and counts n_i; the arguments are those of `Spectrum`.

    Everything here is a sum :math:`\sum_i n_i f(\rho_i)`, which holds for counts of either sign.
    """

    eigenvalues: Any
    noise_scale: Any = None
    noise_variances: Any = None
    counts: Any = None
    negative_tails: tuple[NegativeTail, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        others = {
            name: getattr(self, name) for name in ("noise_scale", "noise_variances", "counts")
        }
        if backend_of([self.eigenvalues]) == "numpy" and backend_of(others.values()) == "torch":
            tensors = [name for name, value in others.items() if backend_of([value]) == "torch"]
            raise ValueError(
                f"eigenvalues is no tensor but {', '.join(tensors)} is: pass tensors throughout."
            )
        eigenvalues = checked_vector("eigenvalues", self.eigenvalues, self.eigenvalues)
        object.__setattr__(self, "eigenvalues", eigenvalues)
        if self.noise_scale is not None and self.noise_variances is not None:
            raise ValueError(
                f"noise_scale = {self.noise_scale} and noise_variances were both given: "
                "give the one or the other."
            )
        for name in ("noise_variances", "counts"):
            value = getattr(self, name)
            if value is not None:
                vector = checked_vector(name, value, eigenvalues, len(eigenvalues))
                object.__setattr__(self, name, vector)
        if self.noise_variances is None:
            self._check_proportional()
        else:
            _check_minimum("noise_variances", self.noise_variances, 0.0)
        if self.counts is not None:
            self._check_counts(self.counts)

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
                "negative variance there; the limit is ≥ 0. Give noise_variances=, or build it by "
                "Spectrum.from_hessian_eigenvalues(..., negative='drop', 'clamp' or 'drift')."
            )

    def _check_counts(self, counts: Any) -> None:
        _check_minimum("counts", counts, 0.0, strict=True)

    def __repr__(self) -> str:
        rho = detached(self.eigenvalues)
        notes = "".join(f"; {tail}" for tail in self.negative_tails)
        return (
            f"<{type(self).__name__} of {len(rho)} eigenvalues, {rho.min():g} to {rho.max():g}"
            f"{notes}>"
        )

    def __len__(self) -> int:
        return len(self.eigenvalues)

    def _named_values(self) -> dict[str, Any]:
        counts = np.ones(len(self)) if self.counts is None else self.counts
        names = ("eigenvalue", "noise_variance", "count")
        return dict(zip(names, (self.eigenvalues, self.variances, counts), strict=True))

    def to_xarray(self, **axes: Any) -> Any:
        """An xarray.Dataset of eigenvalue, noise_variance and count over "mode", with units.

        Args:
            axes: coordinates of the modes, by another name if you like.

        >>> from sgdtheory import Spectrum
        >>> Spectrum([2.0, 0.5], noise_scale=3.0).to_xarray().noise_variance.values
        array([6. , 1.5])
        """
        return super().to_xarray(**(axes or {"mode": np.arange(len(self))}))

    def to_pandas(self, **axes: Any) -> Any:
        """The same as a pandas.DataFrame, a row for each mode.

        Args:
            axes: as of `to_xarray`.
        """
        return data_frame(self.to_xarray(**axes))

    def tables(self) -> tuple[Table, ...]:
        """What a notebook shows; print one for plain text."""
        rho = detached(self.eigenvalues)
        noise = (
            ("noise scale σ²", described(self.noise_scale))
            if self.noise_variances is None
            else ("tr Σ", described(self.total(self.variances)))
        )
        rows = (
            ("directions", described(self.size)),
            ("eigenvalues kept", str(len(self))),
            ("largest", described(rho.max())),
            ("smallest", described(rho.min())),
            ("tr H", described(self.trace)),
            noise,
            *(("note", str(tail)) for tail in self.negative_tails),
        )
        return (Table(type(self).__name__, rows),)

    @property
    def variances(self) -> Any:
        """Σ_i, shape (modes,)."""
        if self.noise_variances is not None:
            return self.noise_variances
        return self.noise_scale * self.eigenvalues

    def total(self, per_mode: Any) -> Any:
        """Sum over the modes (the last axis), weighted by `counts`."""
        if self.counts is None:
            return per_mode.sum(-1)
        return (per_mode * like(self.counts, per_mode)).sum(-1)

    @property
    def size(self) -> float:
        """Directions that it stands for: the sum of the counts."""
        return float(len(self) if self.counts is None else detached(self.counts).sum())

    @property
    def trace(self) -> Any:
        """tr H. Unit: loss/θ²."""
        return self.total(self.eigenvalues)

    def moment(self, order: int) -> Any:
        r"""Mean over the directions of ρⁿ, :math:`\operatorname{tr} H^n / d`.

        Args:
            order: n, a whole number ≥ 0.

        Raises:
            ValueError: for another order.

        >>> from sgdtheory import Spectrum
        >>> float(Spectrum([2.0, 1.0], counts=[1, 3]).moment(2))
        1.75
        """
        check_number("order", order, at_least=0)
        if order != int(order):
            raise ValueError(f"order = {order!r}: give a whole number.")
        return self.total(self.eigenvalues ** int(order)) / self.size

    @property
    def participation_ratio(self) -> Any:
        r"""Number of directions that share the trace.

        .. math:: (\operatorname{tr} H)^2 / \operatorname{tr} H^2

        It is d for equal eigenvalues, and 1 where one direction has all there is.
        It knows no weight decay; see `ridge_degrees_of_freedom` for the number that does.

        >>> from sgdtheory import Spectrum
        >>> float(Spectrum([3.0, 3.0, 0.0]).participation_ratio)
        2.0
        """
        return self.trace**2 / self.total(self.eigenvalues**2)

    def ridge_degrees_of_freedom(self, weight_decay: float) -> Any:
        r"""Number of directions that the loss holds against a decay, the ridge's.

        .. math:: \sum_i \rho_i / (\rho_i + \lambda)

        Args:
            weight_decay: λ > 0. Unit: loss/θ².

        Raises:
            ValueError: for λ ≤ 0, or negative eigenvalues.

        Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, eq. 3.50.

        >>> from sgdtheory import Spectrum
        >>> float(Spectrum([3.0, 1.0, 0.0]).ridge_degrees_of_freedom(1.0))
        1.25
        """
        check_number("weight_decay", weight_decay, above=0.0)
        _check_minimum("eigenvalues", self.eigenvalues, 0.0)
        return self.total(self.eigenvalues / (self.eigenvalues + weight_decay))


def checked_vector(name: str, values: Any, reference: Any, length: int | None = None) -> Any:
    """Numbers of all directions, as an array of the reference's kind.

    Args:
        name: of the argument, for the message.
        values: what was given.
        reference: an array of the kind, or what is to become one.
        length: how many there must be.

    Raises:
        ValueError: for what is no array of finite numbers, (directions,).
    """
    try:
        vector = like(values, reference)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {values!r}: give an array of real numbers.") from None
    shape = tuple(vector.shape)
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"{name} has shape {shape}: it must be one-dimensional and not empty.")
    if length is not None and shape[0] != length:
        raise ValueError(f"{name} has {shape[0]} entries for {length} eigenvalues: give one each.")
    plain = detached(vector)
    if not np.all(np.isfinite(plain)):
        i = int(np.argmin(np.isfinite(plain)))
        raise ValueError(f"{name}[{i}] = {plain[i]}: it must be finite. Remove or repair it.")
    return vector


def _check_minimum(name: str, values: Any, minimum: float, strict: bool = False) -> None:
    plain = detached(values)
    bad = plain <= minimum if strict else plain < minimum
    if np.any(bad):
        i = int(np.argmax(bad))
        sign = ">" if strict else "≥"
        raise ValueError(f"{name}[{i}] = {plain[i]}: it must be {sign} {minimum:g}.")
