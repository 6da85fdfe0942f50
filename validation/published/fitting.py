r"""A hypothesis's constants from the published cells, and what it then says of all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy import stats
from scipy.optimize import least_squares

from validation.data import Array
from validation.published.hypotheses import Hypothesis
from validation.published.table import SCATTER, SCATTER_FREEDOM, Cell

__all__ = ["Fit", "Shares", "fit", "left_out", "shares"]


@dataclass(frozen=True)
class Fit:
    """Least squares over cells.

    Args:
        hypothesis: what is fitted.
        cells: to what.
        coordinates: of the constants at the minimum.
        jacobian: of the cells' exponents.
        predicted: c of the cells.
    """

    hypothesis: Hypothesis
    cells: tuple[Cell, ...]
    coordinates: Array
    jacobian: Array
    predicted: Array

    @property
    def residuals(self) -> Array:
        """Predicted less published."""
        return self.predicted - np.array([cell.exponent for cell in self.cells])

    @property
    def rms(self) -> float:
        """Of the residuals."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def freedom(self) -> int:
        """Cells less constants."""
        return len(self.cells) - len(self.coordinates)

    @property
    def residual_scatter(self) -> float:
        """Standard deviation that the residuals show."""
        return float(np.sqrt(np.sum(self.residuals**2) / self.freedom))

    @property
    def p_value(self) -> float:
        """Chance of residuals as large, were the hypothesis true: F against the model-free scatter.

        Both sides are Gaussian by assumption.
        """
        ratio = (self.residual_scatter / SCATTER) ** 2
        return float(stats.f.sf(ratio, self.freedom, SCATTER_FREEDOM))

    @cached_property
    def covariance(self) -> Array:
        """Of the coordinates, for the larger of the two scatters."""
        scale = max(self.residual_scatter, SCATTER)
        return np.asarray(scale**2 * np.linalg.pinv(self.jacobian.T @ self.jacobian))

    def standard_errors(self) -> dict[str, float]:
        """Of the constants; of a logarithmic one, of its logarithm."""
        errors = np.sqrt(np.diag(self.covariance))
        names = [constant.name for constant in self.hypothesis.constants]
        return dict(zip(names, map(float, errors), strict=True))

    def predict(self, cells: tuple[Cell, ...]) -> tuple[Array, Array]:
        """c of any cells, and the standard error of a measurement's difference from it."""
        gradient = _jacobian(self.hypothesis, cells, self.coordinates)
        of_the_fit = np.einsum("ij,jk,ik->i", gradient, self.covariance, gradient)
        scale = max(self.residual_scatter, SCATTER)
        return (
            self.hypothesis.exponents(cells, self.coordinates),
            np.sqrt(of_the_fit + scale**2),
        )


def _jacobian(hypothesis: Hypothesis, cells: tuple[Cell, ...], at: Array) -> Array:
    """By central differences: exponents are known to nine digits or more."""
    step = 1e-4
    columns = [
        (hypothesis.exponents(cells, at + shift) - hypothesis.exponents(cells, at - shift))
        / (2 * step)
        for shift in step * np.eye(len(at))
    ]
    return np.stack(columns, axis=1)


def fit(
    hypothesis: Hypothesis, cells: tuple[Cell, ...], first: Sequence[Array] | None = None
) -> Fit:
    """Constants with the least sum of squares over the cells.

    Args:
        hypothesis: whose constants.
        cells: published ones.
        first: coordinates from which to search; the hypothesis's own guesses by default.
    """
    constants = hypothesis.constants
    if first is None:
        guesses = product(*(c.first_guesses for c in constants))
        first = [
            np.array([c.coordinate(value) for c, value in zip(constants, guess, strict=True)])
            for guess in guesses
        ]
    found = [_search(hypothesis, cells, start) for start in first]
    return min(found, key=lambda one: one.rms)


def _search(hypothesis: Hypothesis, cells: tuple[Cell, ...], start: Array) -> Fit:
    published = np.array([cell.exponent for cell in cells])

    def residuals(at: Array) -> Array:
        return hypothesis.exponents(cells, at) - published

    def jacobian(at: Array) -> Array:
        return _jacobian(hypothesis, cells, at)

    lower, upper = (
        [constant.coordinate(constant.limits[side]) for constant in hypothesis.constants]
        for side in (0, 1)
    )
    found = least_squares(residuals, start, jac=jacobian, bounds=(lower, upper))
    return Fit(hypothesis, cells, found.x, jacobian(found.x), residuals(found.x) + published)


def left_out(whole: Fit) -> Array:
    """Each cell's c as predicted by a fit to the others."""
    hypothesis, cells = whole.hypothesis, whole.cells
    return np.array(
        [
            hypothesis.exponents(
                (cell,),
                fit(hypothesis, cells[:i] + cells[i + 1 :], [whole.coordinates]).coordinates,
            )[0]
            for i, cell in enumerate(cells)
        ]
    )


@dataclass(frozen=True)
class Shares:
    """Which part of the displacement makes a cell's exponent.

    c is the mean of the parts' own exponents, weighed by their shares; here in the window's middle.

    Args:
        ballistic: share of what the start determined.
        ballistic_exponent: the exponent of that part alone.
        noise_exponent: that of the noise alone.
    """

    ballistic: float
    ballistic_exponent: float
    noise_exponent: float


def shares(of: Fit, cell: Cell) -> Shares:
    """Of one cell under fitted constants."""
    run = of.hypothesis.run((cell,), of.coordinates)
    parts = run.model.displacement_parts(cell.window, **run.start)
    logarithm = np.log(cell.window)

    def slope(part: Array) -> float:
        return float(np.polyfit(logarithm, np.log(part[0]), 1)[0])

    middle = len(cell.window) // 2
    return Shares(
        float(parts.ballistic_share[0, middle]),
        slope(parts.drift + parts.relaxation),
        slope(parts.noise),
    )
