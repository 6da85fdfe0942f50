r"""What was measured of a network, and the theory's input that it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.notebook_display import ShownAsTable, Table, described
from sgdtheory.predictor import Predictor
from sgdtheory.spectra.lanczos_quadrature import LanczosEstimate, LanczosQuadrature
from sgdtheory.spectrum import Spectrum
from sgdtheory.torch.run_settings import RunSettings

__all__ = ["Measurement"]

Array = NDArray[np.float64]

# Roundings of the largest eigenvalue below which one cannot be told from 0.
_FLAT = 16.0
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Measurement(ShownAsTable):
    r"""Curvature and gradient noise at a network's present parameters, and its run's settings.

    Args:
        eigenvalues: ρ, the largest of the Hessian, descending, (k,). Unit: loss/θ².
        residuals: ‖Hu − ρu‖ of each, (k,): so near is an eigenvalue of the Hessian.
        eigenvectors: u, one a column, (P, k), a tensor of the model's kind. The trained parameters
            in their order, flattened, are θ.
        noise: uᵀΣu of one example's gradient along each, (k,). Unit: (loss/θ)².
        noise_error: its standard error, (k,): of the choice of examples, so 0 where all were used.
        noise_total: tr Σ.
        noise_total_error: its standard error.
        rest: what random probes have seen of the other directions; None where there are none.
        dimension: P, the number of trained parameters.
        examples: how many were used.
        gradient_norm: ‖∇L + λθ‖, which is 0 at a minimum. Unit: loss/θ.
        run: the settings of optimizer and loader.
        negative: what becomes of negative eigenvalues, as of `Spectrum.from_hessian_eigenvalues`.
        notes: what was done otherwise than asked, in words.
    """

    eigenvalues: Array
    residuals: Array
    eigenvectors: torch.Tensor
    noise: Array
    noise_error: Array
    noise_total: float
    noise_total_error: float
    rest: LanczosQuadrature | None
    dimension: int
    examples: int
    gradient_norm: float
    run: RunSettings
    negative: str = "refuse"
    notes: tuple[str, ...] = ()

    @property
    def hyperparameters(self) -> Hyperparameters:
        """η, β, S, λ and N, as optimizer and loader have them."""
        return self.run.hyperparameters

    @property
    def trace(self) -> LanczosEstimate:
        """tr H, with its standard error between probes, 0 where no direction was left to them."""
        known = float(self.eigenvalues.sum())
        if self.rest is None:
            return LanczosEstimate(known, 0.0)
        left = self.rest.estimate(lambda rho: rho)
        return LanczosEstimate(known + left.value, left.standard_error)

    @property
    def negative_directions(self) -> float:
        """How many eigenvalues are negative, as far as probes have seen them."""
        rho, counts = self._eigenvalues_and_counts
        return float(counts[rho < 0].sum())

    @cached_property
    def _eigenvalues_and_counts(self) -> tuple[Array, Array]:
        """The largest, then as probes have seen the others; 0 where rounding could have made it."""
        rho, counts = self.eigenvalues, np.ones(len(self.eigenvalues))
        if self.rest is not None:
            others, many = self.rest.eigenvalues_and_counts()
            rho, counts = np.concatenate([rho, others]), np.concatenate([counts, many])
        precision = torch.finfo(self.eigenvectors.dtype).eps
        flat = np.abs(rho) <= _FLAT * precision * np.abs(rho).max()
        return np.where(flat, 0.0, rho), counts

    @cached_property
    def spectrum(self) -> Spectrum:
        """All directions: the largest with their own noise, the others as probes have seen them.

        What the trace of Σ has beyond the largest directions is given to the others in proportion
        to the size of their eigenvalues. Eigenvalues that rounding could have made are 0.

        Raises:
            ValueError: for negative eigenvalues, where they are to be refused.
        """
        noise = self.noise
        if self.rest is not None:
            others, many = self.rest.eigenvalues_and_counts()
            weight = float(many @ np.abs(others))
            left = max(self.noise_total - float(self.noise.sum()), 0.0)
            scale = left / weight if weight else 0.0
            noise = np.concatenate([noise, scale * np.abs(others)])
        rho, counts = self._eigenvalues_and_counts
        return Spectrum.from_hessian_eigenvalues(
            rho,
            noise_variances=noise,
            counts=counts,
            negative=self.negative,
        )

    def predictor(self, theory: str = "discrete", negative: str | None = None) -> Predictor:
        """Predictions for the run that these settings make from here.

        Args:
            theory: "discrete" or "continuous"; the latter knows batches with replacement only.
            negative: what becomes of negative eigenvalues, if otherwise than `negative` says.

        Raises:
            ValueError: for negative eigenvalues that are refused, and what a Predictor refuses.
        """
        measured = self if negative is None else replace(self, negative=negative)
        return self.run.predictor(measured.spectrum, theory)

    def tables(self) -> tuple[Table, ...]:
        """Settings and sums, and the largest directions."""
        return (self._summary, self._directions)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    __repr__ = __str__

    @property
    def _summary(self) -> Table:
        run, settings = self.run, self.hyperparameters.settings
        rows = [
            *((name.replace("_", " "), described(value)) for name, value in settings.items()),
            *((str(symbol), described(value)) for symbol, value in run.parameters.items()),
            ("sampling", run.sampling.replace("_", " ")),
            ("parameters", str(self.dimension)),
            ("examples used", str(self.examples)),
            ("tr H", _with_error(*self.trace)),
            ("tr Σ", _with_error(self.noise_total, self.noise_total_error)),
            ("‖∇L + λθ‖", f"{self.gradient_norm:.4g}"),
            *self._negative,
            *(("note", note) for note in self.notes),
        ]
        return Table(f"Measured, for {run.rule.name}", tuple(rows))

    @property
    def _negative(self) -> list[tuple[str, str]]:
        count = self.negative_directions
        if count < 0.5:
            return []
        told = f'about {count:.0f}; predictor(negative="drift") keeps them, "drop" does not'
        return [("negative eigenvalues", told)]

    @property
    def _directions(self) -> Table:
        columns: tuple[Any, ...] = (self.eigenvalues, self.residuals, self.noise, self.noise_error)
        rows = tuple(
            (str(i), f"{rho:.5g}", f"{residual:.1e}", _with_error(noise, error))
            for i, (rho, residual, noise, error) in enumerate(
                zip(*(column[:_SHOWN] for column in columns), strict=True)
            )
        )
        caption = f"Largest {len(rows)} of {len(self.eigenvalues)} measured directions"
        return Table(caption, rows, ("", "ρ", "‖Hu − ρu‖", "Σ of one example"))


def _with_error(value: float, error: float) -> str:
    return f"{value:.5g} ± {error:.1g}" if error else f"{value:.5g}"
