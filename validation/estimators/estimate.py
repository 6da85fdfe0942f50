r"""A measured number with its standard error, and how far it lies from a predicted one.

Standard errors are measured, too: one that rests on few independent pieces is wrong by √(1/2ν) or
so, and deviations in its units follow Student's t with ν degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from validation.data import Array

__all__ = ["Estimate", "z_scores"]


@dataclass(frozen=True)
class Estimate:
    """Measured values, their standard errors, and what these rest on.

    Args:
        value: what was measured, less its bias.
        standard_error: of the value, of the same shape.
        replicas: how many independent chains.
        degrees_of_freedom: of the standard error; by default one less than replicas.
        bias: what was taken off the plain value; None where nothing is known to take off.
        short: where the record is too short for its memory, and the error is not to be trusted.
    """

    value: Array
    standard_error: Array
    replicas: int
    degrees_of_freedom: Array | None = None
    bias: Array | None = None
    short: Array | None = None

    @property
    def degrees(self) -> Array:
        """Degrees of freedom of the standard error."""
        given = self.degrees_of_freedom
        return np.asarray(self.replicas - 1.0 if given is None else given)

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Ends of the interval that holds the truth with a probability of `level`."""
        reach = stats.t.isf((1 - level) / 2, df=self.degrees) * self.standard_error
        return self.value - reach, self.value + reach


def z_scores(estimate: Estimate, predicted: Array) -> Array:
    """Deviations as normal quantiles: Student's t, mapped by probability."""
    t = (estimate.value - predicted) / estimate.standard_error
    tail = stats.t.logsf(np.abs(t), df=estimate.degrees)
    # Beyond |z| ≈ 37 the normal tail underflows: the bound stands for anything larger.
    return np.sign(t) * stats.norm.isf(np.exp(np.maximum(tail, -700.0)))
