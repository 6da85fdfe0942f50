"""How often the intervals of fits contain the truth, and how often c = 1 is rejected though true.

Run as ``python -m validation.coverage``. Curves are drawn from the exact law of the linear process,
paths by its recursion; both are cheap, so that a thousand fits tell 95 % from 93 %.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sgdtheory import Hyperparameters, Predictor, Spectrum
from sgdtheory.fits.displacement_covariance import direction_moments
from sgdtheory.fits.exponent_fits import ExponentFit, fit_exponent, fit_exponent_of_positions
from sgdtheory.fits.tail_fits import fit_spectrum_tail

Array = NDArray[np.float64]
TABLE = Path(__file__).parent.parent / "docs" / "fits" / "coverage.csv"

HYPER = Hyperparameters(learning_rate=0.1, momentum=0.0, batch_size=128)
MOMENTUM = Hyperparameters(learning_rate=0.1, momentum=0.9, batch_size=128)
RESAMPLES = 399


@dataclass(frozen=True)
class Coverage:
    """One line of the table.

    Args:
        fit: how.
        process: of what.
        parameter: whose interval.
        truth: its value; of an exponent, that of the same fit to the mean curve.
        fits: how many.
        coverage: share of the 95 % intervals that contain the truth.
        standard_error: of the share, √(p (1 − p)/n).
        false_alarms: share of tests of c = 1 that reject at level 5 %, where c = 1 is true.
        half_width: median half width of the interval.
    """

    fit: str
    process: str
    parameter: str
    truth: float
    fits: int
    coverage: float
    standard_error: float
    false_alarms: float | None
    half_width: float


def power_law_eigenvalues(exponent: float, smallest: float, largest: float, count: int) -> Array:
    """Quantiles of the density ρ^{−(1+a)}, (count,)."""
    share = (np.arange(count) + 0.5) / count
    low, high = smallest**-exponent, largest**-exponent
    return np.asarray((low - share * (low - high)) ** (-1 / exponent))


def simulated_curves(
    model: Predictor, steps: Array, runs: int, seed: int, position: float | None = None
) -> Array:
    """|θ_k − θ_0|² of independent runs, (runs, T), from the Gaussian law of every direction."""
    rng, total = np.random.default_rng(seed), np.zeros((runs, len(steps)))
    moments = direction_moments(model, steps, position)
    for mean, covariance in zip(
        moments.mean.T, np.moveaxis(moments.covariance, -1, 0), strict=True
    ):
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        total += (mean + rng.standard_normal((runs, len(steps))) @ root.T) ** 2
    return total


def simulated_paths(model: Predictor, updates: int, runs: int, seed: int) -> Iterator[Array]:
    """θ after every update of plain SGD from a stationary start, (updates + 1, modes) a run."""
    rng, hyper = np.random.default_rng(seed), model.hyperparameters
    rho, variances = model.spectrum.eigenvalues, model.spectrum.variances
    kick = hyper.learning_rate * np.sqrt(variances / hyper.batch_size)
    spread = np.sqrt(model.stationary_covariance()[:, 0, 0])
    for _ in range(runs):
        noise = kick * rng.standard_normal((updates + 1, len(rho)))
        noise[0] = spread * rng.standard_normal(len(rho))
        for before, here in pairwise(noise):
            here += (1 - hyper.learning_rate * rho) * before
        yield noise


def counted(
    name: str, process: str, fits: Sequence[ExponentFit], truth: float, diffusive: bool
) -> Coverage:
    """A line of the table from exponents."""
    ends = np.array([fit.interval for fit in fits])
    inside = float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))
    return Coverage(
        name,
        process,
        "c",
        truth,
        len(fits),
        inside,
        float(np.sqrt(inside * (1 - inside) / len(fits))),
        float(np.mean([fit.p_value < 0.05 for fit in fits])) if diffusive else None,
        float(np.median(ends[:, 1] - ends[:, 0]) / 2),
    )


def straight_slope(model: Predictor, steps: Array) -> float:
    """Of the mean curve, every point weighed alike."""
    return float(np.polyfit(np.log(steps), np.log(model.displacement(steps)), 1)[0])


def exponent_rows() -> Iterator[Coverage]:
    """Each way to fit an exponent, of processes with and without a bend."""
    early, late = (np.unique(np.geomspace(k, 100 * k, 24).round()) for k in (10, 100))
    few, many = (Predictor(HYPER, Spectrum(np.full(n, 1e-10))) for n in (5, 50))
    tail = Predictor(MOMENTUM, Spectrum(power_law_eigenvalues(0.5, 1e-5, 1.0, 300)))
    processes = (
        ("free, 5 directions", few, early, True),
        ("free, 50 directions", many, early, True),
        ("power law, a = 0.5", tail, late, False),
        ("power law, from within the velocity's memory", tail, early, False),
    )
    for seed, (process, model, steps, diffusive) in enumerate(processes):
        curves = simulated_curves(model, steps, 6400, seed)
        by_theory = [fit_exponent(steps, curve, model=model) for curve in curves[:1000]]
        truth = by_theory[0].expected
        assert truth is not None
        yield counted("theory, one run", process, by_theory, truth, diffusive)
        alone = [fit_exponent(steps, c, resamples=RESAMPLES) for c in curves[:1000]]
        mean = model.displacement(steps)
        truth = 1.0 if diffusive else fit_exponent(steps, mean, resamples=RESAMPLES).exponent
        yield counted("one curve", process, alone, truth, diffusive)
        grouped = curves.reshape(400, 16, -1)
        fits = [fit_exponent(steps, group, resamples=RESAMPLES) for group in grouped]
        yield counted("16 runs", process, fits, straight_slope(model, steps), diffusive)
    drift = simulated_curves(tail, late, 1000, 4, position=0.1)
    fits = [fit_exponent(late, curve, model=tail, position=0.1) for curve in drift]
    assert fits[0].expected is not None
    yield counted("theory, one run", "power law, drifting", fits, fits[0].expected, False)


def position_rows() -> Iterator[Coverage]:
    """Fits of recorded paths, of 16 stretches."""
    lags = np.array([4.0, 8.0, 16.0, 32.0, 64.0])
    free = Predictor(HYPER, Spectrum(np.full(20, 1e-10)))
    tail = Predictor(HYPER, Spectrum(power_law_eigenvalues(0.5, 1e-3, 10.0, 100)))
    for seed, (process, model, diffusive) in enumerate(
        (("free, 20 directions", free, True), ("power law, a = 0.5", tail, False))
    ):
        paths = simulated_paths(model, 16 * 128, 400, 10 + seed)
        fits = [fit_exponent_of_positions(path, lags, resamples=RESAMPLES) for path in paths]
        truth = straight_slope(model, lags)
        yield counted("a recorded path", process, fits, truth, diffusive)


def tail_rows(
    name: str, fits: int, replicas: int, directions: float | None, largest: float | None
) -> Iterator[Coverage]:
    """The round trip of a spectrum's tail: a = ½ from 1e-4 to 1, of 500 directions."""
    truth = {"exponent": 0.5, "log_smallest": np.log(1e-4), "log_largest": 0.0}
    steps = np.unique(np.geomspace(1, 1e6, 24).round())
    model = Predictor(HYPER, Spectrum(power_law_eigenvalues(0.5, 1e-4, 1.0, 500)))
    curves = simulated_curves(model, steps, fits * replicas, 20 + replicas)
    curves = curves.reshape(fits, replicas, -1).mean(1)
    found = [
        fit_spectrum_tail(
            steps, c, HYPER, replicas=replicas, directions=directions, largest=largest
        )
        for c in curves
    ]
    truth["log_scale"] = float(np.log(model.displacement(steps)[len(steps) // 2]))
    truth["log_directions"] = np.log(500)
    process = f"power law, {'one run' if replicas == 1 else f'mean of {replicas} runs'}"
    for parameter in found[0].fitted:
        ends = np.array([fit.intervals[parameter] for fit in found])
        value = float(truth[parameter])
        inside = float(np.mean((ends[:, 0] <= value) & (value <= ends[:, 1])))
        error = float(np.sqrt(inside * (1 - inside) / fits))
        width = float(np.median(ends[:, 1] - ends[:, 0]) / 2)
        yield Coverage(name, process, parameter, value, fits, inside, error, None, width)


def rows() -> Iterator[Coverage]:
    """All lines of the table."""
    yield from exponent_rows()
    yield from position_rows()
    yield from tail_rows("tail", 1000, 1, 500.0, 1.0)
    yield from tail_rows("tail, directions fitted", 1000, 1, None, 1.0)
    yield from tail_rows("tail, both cut-offs fitted", 200, 8, 500.0, None)
    yield from tail_rows("tail, both cut-offs fitted", 200, 1, 500.0, None)


def main(write: Callable[[str], object] = sys.stdout.write) -> None:
    """Measure, print and keep the table."""
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Coverage)])
        table.writeheader()
        for row in rows():
            short = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
            table.writerow(short)
            write(f"{short}\n")


if __name__ == "__main__":
    main()
