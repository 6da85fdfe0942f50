"""Covariances of a dense landscape, timed; beside SciPy's solvers on the whole 2d×2d system.

    python -m validation.benchmarks.landscape [dimension]

Every row of the comparison is one run of both on the same system, in turns; each time is the
median of three on one thread, with everything derived and lowered before. The times in a large
dimension are those of one call after the eigenbasis is known, which is timed by itself.
"""

from __future__ import annotations

import sys
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

import sgdtheory as sgd
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.landscape import Landscape
from validation.benchmarks.timing import Contender, Spread, Timing, race, timed

__all__ = ["compare", "report"]

Array: TypeAlias = NDArray[np.float64]

ETA, BETA, BATCH, UPDATES = 0.1, 0.9, 64, 1000
THEORIES = ("discrete", "continuous")


def _landscape(dimension: int) -> Landscape:
    rng = np.random.default_rng(dimension)
    factors = rng.normal(size=(2, dimension, 2 * dimension)) / np.sqrt(2 * dimension)
    return Landscape(factors[0] @ factors[0].T, factors[1] @ factors[1].T)


def _predictor(landscape: Landscape, theory: str) -> DensePredictor:
    hyper = sgd.Hyperparameters(ETA, BETA, BATCH)
    return DensePredictor(landscape, sgd.Predictor(hyper, landscape.spectrum, theory=theory))


def _scipy(landscape: Landscape, theory: str) -> Array:
    """Heavy ball as one 2d×2d system, positions first, solved as such."""
    H, Sigma, one = landscape.hessian, landscape.noise_covariance, np.eye(landscape.dimension)
    if theory == "discrete":
        M = np.block([[one - ETA * H, ETA * BETA * one], [-H, BETA * one]])
        noise = np.kron([[ETA**2, ETA], [ETA, 1.0]], Sigma / BATCH)
        return np.asarray(solve_discrete_lyapunov(M, noise, method="bilinear"))
    mass = ETA * (1 + BETA) / 2
    A = np.block([[0 * one, -one], [H / mass, (1 - BETA) / mass * one]])
    noise = np.kron([[0.0, 0.0], [0.0, 1.0]], ETA * Sigma / (BATCH * mass**2))
    return np.asarray(solve_continuous_lyapunov(A, noise))


def compare(dimension: int, theory: str) -> tuple[Timing, Timing, float]:
    """Times of this package and of SciPy, and their largest difference over the largest entry.

    Args:
        dimension: d.
        theory: "discrete" or "continuous".
    """
    landscape = _landscape(dimension)

    def ours() -> Array:
        # A fresh landscape, so that the eigenbasis is part of the time.
        fresh = Landscape(landscape.hessian, landscape.noise_covariance)
        return _predictor(fresh, theory).stationary_covariance()

    def theirs() -> Array:
        return _scipy(landscape, theory)

    value, reference = ours(), theirs()
    pair = (("here", ours), ("SciPy", theirs))
    timings = race([Contender(name, 1, work) for name, work in pair], None, 3)
    difference = float(np.abs(value - reference).max() / np.abs(reference).max())
    return timings["here"], timings["SciPy"], difference


def report(dimension: int) -> None:
    """Print the comparison in small dimensions and the times in a large one."""
    print("stationary covariance, whole: eigenbasis and all")
    print(f"{'theory':12}{'d':>6}{'here':>12}{'SciPy':>12}{'ratio':>8}{'difference':>13}")
    for theory in THEORIES:
        for small in (50, 100, 200, 400):
            here, there, difference = compare(small, theory)
            medians = (Spread.of(timing.seconds).median for timing in (here, there))
            times = "".join(f"{seconds:10.4f} s" for seconds in medians)
            times += f"{there.over(here).median:8.1f}{difference:13.1e}"
            print(f"{theory:12}{small:6}{times}")
    print(f"\nd = {dimension}")
    matrices = _landscape(dimension)
    landscape = Landscape(matrices.hessian, matrices.noise_covariance)
    seconds, _ = timed(lambda: landscape.spectrum)
    print(f"{'eigenbasis':40}{seconds:8.2f} s")
    for theory in THEORIES:
        model = _predictor(landscape, theory)
        for name, task in (
            ("stationary_covariance()", model.stationary_covariance),
            (f"covariance({UPDATES})", lambda model=model: model.covariance(UPDATES)),
            (f"autocovariance({UPDATES})", lambda model=model: model.autocovariance(UPDATES)),
        ):
            seconds, _ = timed(task)
            print(f"{f'{theory}: {name}':40}{seconds:8.2f} s")


if __name__ == "__main__":
    report(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
