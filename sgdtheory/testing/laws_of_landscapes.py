"""Laws of theories that take a `Landscape`: any Hessian, and noise that need not commute."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.landscape import Landscape
from sgdtheory.testing.law import Law, Theory, asked, close, entered, refused, tolerance
from sgdtheory.testing.run import Run

__all__ = ["LAWS_OF_LANDSCAPES", "rotation"]

Array = NDArray[np.float64]


def _takes_none(theory: Theory) -> str:
    """Whether it refuses the plainest landscape; a theory of spectra alone is none the worse."""
    shapes: list[Any] = []

    def ask() -> None:
        model = theory(Hyperparameters(0.5), Landscape(np.eye(1), np.eye(1)))
        shapes.extend((np.shape(model.mean(1, [1.0])), np.shape(model.covariance(1))))

    told = refused("Landscape", ask)
    if told or shapes == [(2,), (2, 2)]:
        return told
    return f"its results for a Landscape have shapes {tuple(shapes)}"


LAWS_OF_LANDSCAPES: list[Law] = []
_law = partial(entered, LAWS_OF_LANDSCAPES, untried=_takes_none)


def rotation(dimension: int, seed: int) -> Array:
    """An orthogonal matrix that mixes all directions, always the same for a seed."""
    drawn = np.random.default_rng(seed).standard_normal((dimension, dimension))
    return np.asarray(np.linalg.qr(drawn)[0])


def _symmetric(matrix: Array) -> Array:
    return (matrix + matrix.T) / 2


def _rotated(turn: Array, matrix: Array) -> Array:
    return _symmetric(turn @ matrix @ turn.T)


@_law("a spectrum is a landscape", "mean", "covariance")
def _diagonal(theory: Theory, run: Run) -> None:
    """A Hessian and a noise that are diagonal are a spectrum: positions first, then velocities."""
    k, n = run.steps[0], len(run.eigenvalues)
    modes = asked(theory, run)
    dense = theory(run.hyperparameters, Landscape(np.diag(run.eigenvalues), np.diag(run.noise)))
    allowed, units = tolerance(run, k), run.units.T.ravel()
    mean = np.asarray(modes.mean(k, *run.start)).T.ravel()
    close(f"mean({k}) of a landscape", dense.mean(k, *run.start), mean, units, allowed)
    expected = np.zeros((2, n, 2, n))
    place = np.arange(n)
    expected[:, place, :, place] = np.asarray(modes.covariance(k))
    found = dense.covariance(k)
    scale = np.outer(units, units)
    close(f"covariance({k}) of a landscape", found, expected.reshape(2 * n, -1), scale, allowed)


@_law("no basis is preferred", "mean", "covariance")
def _rotation_invariance(theory: Theory, run: Run) -> None:
    """Coordinates turned by an orthogonal matrix turn all results, if noise commutes or not."""
    k, n = run.steps[0], len(run.eigenvalues)
    turn = rotation(n, n)
    hessian = np.diag(run.eigenvalues)
    noise = _rotated(turn.T, np.diag(run.noise))
    settings = run.hyperparameters
    here = theory(settings, Landscape(hessian, noise))
    there = theory(settings, Landscape(_rotated(turn, hessian), _rotated(turn, noise)))
    both = np.kron(np.eye(2), turn)
    x, v = run.start
    # Mixed directions share the largest unit; and noise of one moves the others.
    louder = run.varied(noise=(max(run.noise) * n,) * n)
    units = np.repeat(louder.units.max(axis=0), n)
    allowed = tolerance(run, k) * n**2
    mean = both @ np.asarray(here.mean(k, x, v))
    close(
        f"mean({k}) in turned coordinates", there.mean(k, turn @ x, turn @ v), mean, units, allowed
    )
    spread = both @ np.asarray(here.covariance(k)) @ both.T
    close(
        f"covariance({k}) in turned coordinates",
        there.covariance(k),
        spread,
        np.outer(units, units),
        allowed,
    )
