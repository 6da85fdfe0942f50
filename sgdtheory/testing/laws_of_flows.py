r"""What every solution of a linear Fokker-Planck equation must fulfil.

For dx = −Ax dt + √(2D) dW it has a density p, a current J, and A = (D + Q)U with a symmetric U, the
precision of p, and an antisymmetric Q. These laws take a function of (drift, diffusion), SymPy
matrices, whose result has `precision`, `circulation`, and `density` and `current` as expressions in
its `coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from sympy import Matrix, Rational, diff

from sgdtheory.lowering import lower
from sgdtheory.testing.law import BrokenLawError, Law, close, entered

__all__ = ["LAWS_OF_FLOWS", "Flow", "LinearProcess"]

Array = NDArray[np.float64]
Flow: TypeAlias = Callable[[Matrix, Matrix], Any]
"""(drift, diffusion) to an object with a precision, a circulation, a density and a current."""

LAWS_OF_FLOWS: list[Law] = []
_law = partial(entered, LAWS_OF_FLOWS)
# Derivatives are exact, and so are drift and diffusion: only their last evaluation rounds.
_ALLOWED = 1e-9
# Exact for a Gaussian times any polynomial of 15th order.
_NODES = 8


@dataclass(frozen=True)
class LinearProcess:
    """dx = −Ax dt + √(2D) dW, by whole numbers, so that nothing is rounded.

    Args:
        drift: A, row by row; all that noise moves falls back.
        diffusion: D, symmetric and positive semidefinite.
    """

    drift: tuple[tuple[int, ...], ...]
    diffusion: tuple[tuple[int, ...], ...]

    @property
    def matrices(self) -> tuple[Matrix, Matrix]:
        """For SymPy."""
        return Matrix(self.drift), Matrix(self.diffusion)

    @property
    def points(self) -> list[tuple[Rational, ...]]:
        """Where densities and currents are looked at: some on no axis, one far out."""
        n = len(self.drift)
        return [
            tuple(Rational((-1) ** i * (i + 1) * scale, 3) for i in range(n)) for scale in (1, 2)
        ] + [(Rational(1, 2),) * n]


def _numbers(matrix: Any) -> Array:
    return np.array(matrix.tolist() if hasattr(matrix, "tolist") else matrix, dtype=float)


def _close(what: str, found: Any, expected: Any) -> None:
    found, expected = _numbers(found), _numbers(expected)
    if found.shape != expected.shape:
        raise BrokenLawError(f"{what} has shape {found.shape}, expected {expected.shape}")
    close(what, found, expected, max(1.0, float(np.abs(expected).max())), _ALLOWED)


@_law("circulation is antisymmetric", "circulation")
def _antisymmetric(flow: Flow, process: LinearProcess) -> None:
    """Q = −Qᵀ: it turns the descent sideways, and neither climbs nor descends."""
    found = _numbers(flow(*process.matrices).circulation)
    _close("circulation, transposed and negative", -found.T, found)


@_law("drift is descent and circulation", "precision", "circulation")
def _decomposed(flow: Flow, process: LinearProcess) -> None:
    """A = (D + Q)U: the drift descends the modified loss, and circulates about it."""
    told, (drift, diffusion) = flow(*process.matrices), process.matrices
    product = (_numbers(diffusion) + _numbers(told.circulation)) @ _numbers(told.precision)
    _close("(D + Q)U", product, drift)


@_law("precision is positive", "precision")
def _positive(flow: Flow, process: LinearProcess) -> None:
    """U is symmetric and positive definite: the modified loss has one minimum."""
    found = _numbers(flow(*process.matrices).precision)
    _close("precision, transposed", found.T, found)
    smallest = float(np.linalg.eigvalsh(found).min())
    if not smallest > 0:
        raise BrokenLawError(f"precision has the eigenvalue {smallest:.3g}")


@_law("density is stationary", "density", "coordinates")
def _stationary(flow: Flow, process: LinearProcess) -> None:
    """∂p/∂t = ∇·(Ax p + D∇p) = 0: what the Fokker-Planck operator makes of p."""
    told, (drift, diffusion) = flow(*process.matrices), process.matrices
    x, p = Matrix(told.coordinates), told.density
    current = -drift * x * p - diffusion * _gradient(p, x)
    _vanishes("∂p/∂t, of p", -_divergence(current, x), p, x, process)


@_law("density is normalised", "density", "precision", "coordinates")
def _normalised(flow: Flow, process: LinearProcess) -> None:
    """∫p = 1: what is not here is elsewhere. Summed by Gauss and Hermite, as wide as U says."""
    told = flow(*process.matrices)
    nodes, weights = hermegauss(_NODES)
    n = len(process.drift)
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * n)])
    weight = np.prod([axis.ravel() for axis in np.meshgrid(*[weights] * n)], axis=0)
    wide = np.linalg.inv(np.linalg.cholesky(_numbers(told.precision))).T
    density = lower(told.density, tuple(told.coordinates))
    values = np.asarray(density(*(wide @ grid))) * np.exp((grid**2).sum(axis=0) / 2)
    total = np.linalg.det(wide) * (weight * values).sum()
    close("∫p", total, 1.0, 1.0, _ALLOWED)


@_law("current is that of the density", "density", "current", "coordinates")
def _of_density(flow: Flow, process: LinearProcess) -> None:
    """J = −Ax p − D∇p: probability drifts, and diffuses from where there is much."""
    told, (drift, diffusion) = flow(*process.matrices), process.matrices
    x, p = Matrix(told.coordinates), told.density
    left = Matrix(told.current) + drift * x * p + diffusion * _gradient(p, x)
    for i, part in enumerate(left):
        _vanishes(f"J + Ax p + D∇p along {i}, of p", part, p, x, process)


@_law("current has no sources", "current", "density", "coordinates")
def _divergence_free(flow: Flow, process: LinearProcess) -> None:
    """∇·J = 0 in the stationary state: probability circulates, and gathers nowhere."""
    told = flow(*process.matrices)
    x = Matrix(told.coordinates)
    _vanishes("∇·J, of p", _divergence(Matrix(told.current), x), told.density, x, process)


@_law("units of time", "precision", "circulation")
def _units_of_time(flow: Flow, process: LinearProcess) -> None:
    """Time in other units: A, D and Q are rates, and U is none."""
    drift, diffusion = process.matrices
    told, faster = flow(drift, diffusion), flow(3 * drift, 3 * diffusion)
    _close("precision with three times the rates", faster.precision, told.precision)
    expected = 3 * _numbers(told.circulation)
    _close("circulation with three times the rates", faster.circulation, expected)


@_law("units of coordinates", "precision", "circulation")
def _units_of_coordinates(flow: Flow, process: LinearProcess) -> None:
    """Coordinates y = Tx, stretched and turned: D and Q become TDTᵀ and TQTᵀ, U becomes T⁻ᵀUT⁻¹."""
    drift, diffusion = process.matrices
    n = len(process.drift)
    T = Matrix(n, n, lambda i, j: 1 if i < j else (2 if i == j else 0))
    told, other = flow(drift, diffusion), flow(T * drift * T.inv(), T * diffusion * T.T)
    forth, back = _numbers(T), _numbers(T.inv())
    expected = back.T @ _numbers(told.precision) @ back
    _close("precision in other coordinates", other.precision, expected)
    expected = forth @ _numbers(told.circulation) @ forth.T
    _close("circulation in other coordinates", other.circulation, expected)


def _gradient(function: Any, x: Matrix) -> Matrix:
    return Matrix([diff(function, each) for each in x])


def _divergence(field: Matrix, x: Matrix) -> Any:
    return sum(diff(part, each) for part, each in zip(field, x, strict=True))


def _vanishes(what: str, value: Any, density: Any, x: Matrix, process: LinearProcess) -> None:
    """At every point, as a share of the density."""
    for point in process.points:
        at = dict(zip(x, point, strict=True))
        share = float((value / density).subs(at).evalf(15))
        close(f"{what} at {tuple(map(float, point))}", share, 0.0, 1.0, 100 * _ALLOWED)
