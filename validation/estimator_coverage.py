r"""How often the 95 % intervals of the estimators hold the truth: a simulation.

`python -m validation.estimator_coverage` writes one row an estimator and record. Heavy ball is
simulated update by update; the truth is its 2×2 Lyapunov equation, solved numerically. Every
direction of a record is a run of its own. Minutes on one core.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from scipy.linalg import solve_discrete_lyapunov

from validation import estimators as est
from validation.data import Array

__all__ = ["CELLS", "MEASURES", "Cell", "Counted", "Measure", "counted", "measured", "simulated"]

RATE = 0.1
LAG = 10
LAGS = (1, 2, 4, 8, 16, 32)
# Of pairs of parameters: their curvatures, and the angle by which the noise is turned in each.
CURVATURES = (3.0, 1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Cell:
    """A record: its regime, momentum β, curvature h, chains and times."""

    name: str
    momentum: float
    curvature: float
    chains: int
    time: int

    @property
    def map(self) -> Array:
        """M of x_{k+1} = M x_k + n ξ_k."""
        pull = RATE * self.curvature
        return np.array([[1 - pull, RATE * self.momentum], [-self.curvature, self.momentum]])

    def covariance(self, lag: int = 0) -> Array:
        """⟨x_{k+l} x_kᵀ⟩, 2×2."""
        enters = np.array([-RATE, -1.0])
        stationary = solve_discrete_lyapunov(self.map, np.outer(enters, enters))
        return np.asarray(np.linalg.matrix_power(self.map, lag) @ stationary)

    @property
    def logarithms(self) -> Array:
        """Of the roots of the position's recursion, over η."""
        return np.asarray(np.log(np.linalg.eigvals(self.map) + 0j) / RATE)

    def displacement(self, lags: tuple[int, ...]) -> Array:
        """⟨(θ_{k+l} − θ_k)²⟩."""
        variance = self.covariance()[0, 0]
        return np.array([2 * (variance - self.covariance(lag)[0, 0]) for lag in lags])


CELLS = (
    Cell("overdamped", 0.5, 0.1, 4, 4000),
    Cell("overdamped", 0.5, 0.1, 64, 400),
    Cell("underdamped", 0.9, 2.0, 4, 4000),
    Cell("underdamped", 0.9, 2.0, 64, 400),
    Cell("slow", 0.9, 0.01, 4, 4000),
    Cell("slow", 0.9, 0.01, 64, 400),
    Cell("one chain", 0.9, 2.0, 1, 1000),
)


@dataclass(frozen=True)
class States:
    """Of many runs, (chains, time, runs) each."""

    positions: Array
    velocities: Array
    gradients: Array


@dataclass(frozen=True)
class Measure:
    """An estimator: its name, what it finds, and what it should find."""

    name: str
    estimate: Callable[[Cell, States], est.Estimate]
    truth: Callable[[Cell], float]


@dataclass(frozen=True)
class Counted:
    """Of many intervals of one estimator.

    Args:
        runs: how many.
        held: how many held the truth.
        bias: mean deviation, in standard deviations of the estimator.
        error_ratio: root mean square of the standard errors over that standard deviation.
        short: share of the records that were marked as short.
    """

    runs: int
    held: int
    bias: float
    error_ratio: float
    short: float

    @property
    def coverage(self) -> float:
        """Share that held the truth."""
        return self.held / self.runs


def simulated(cell: Cell, runs: int, seed: int) -> States:
    """Runs that start in the stationary state, with Gaussian noise of variance 1."""
    rng, step = np.random.default_rng(seed), cell.map
    copies = cell.chains * runs
    spread = np.linalg.cholesky(cell.covariance())
    state = spread @ rng.standard_normal((2, copies))
    kept = np.empty((3, cell.time, copies))
    for k in range(cell.time):
        noise = rng.standard_normal(copies)
        kept[0, k], kept[1, k], kept[2, k] = *state, cell.curvature * state[0] + noise
        state = step @ state - np.array([[RATE], [1.0]]) * noise
    split = kept.reshape(3, cell.time, cell.chains, runs).swapaxes(1, 2)
    return States(*split)


def counted(found: est.Estimate, truth: float | Array) -> Counted:
    """How often the intervals held the truth, over all entries."""
    low, high = found.interval()
    away = found.value - truth
    spread = float(away.std(ddof=1))
    return Counted(
        away.size,
        int(((low <= truth) & (truth <= high)).sum()),
        float(away.mean()) / spread,
        float(np.sqrt((found.standard_error**2).mean())) / spread,
        0.0 if found.short is None else float(np.mean(found.short)),
    )


def measured(measure: Measure, cell: Cell, states: States) -> Counted:
    """Coverage of one estimator on one kind of record."""
    return counted(measure.estimate(cell, states), measure.truth(cell))


def _each(function: Callable[..., est.Estimate], *records: Array) -> est.Estimate:
    """An estimator that sums over directions, of every run."""
    found = [
        function(*(one[..., run : run + 1] for one in records))
        for run in range(records[0].shape[2])
    ]
    value, error, degrees = (
        np.array([getattr(one, name)[-1] for one in found])
        for name in ("value", "standard_error", "degrees")
    )
    short = np.array([False if one.short is None else one.short[-1] for one in found])
    return est.Estimate(value, error, found[0].replicas, degrees, short=short)


def _circulation(cell: Cell) -> float:
    lagged = cell.covariance(1)
    return float(lagged[0, 1] - lagged[1, 0]) / 2


def _correlation(cell: Cell, later: int) -> float:
    equal = np.sqrt(np.diag(cell.covariance()))
    return float(cell.covariance(LAG)[later, 0] / equal[later] / equal[0])


def _local_exponent(cell: Cell) -> float:
    near, far = cell.displacement(LAGS[-2:])
    return float(np.log(far / near) / np.log(LAGS[-1] / LAGS[-2]))


def _equal_slope(cell: Cell) -> float:
    return float(np.polyfit(np.log(LAGS), np.log(cell.displacement(LAGS)), 1)[0])


def _bootstrapped(cell: Cell, states: States) -> est.Estimate:
    def of_run(x: Array) -> est.Estimate:
        x = x - x.mean(axis=(0, 1))
        return est.bootstrap_of_means(lambda square, one: square - one**2, x**2, x, resamples=200)

    return _each(of_run, states.positions[..., :100])


def _stationarity(contrast: str) -> Measure:
    field = contrast.replace(" ", "_")

    def difference(cell: Cell, states: States) -> est.Estimate:
        contrasts = est.stationarity_tests(states.positions)
        return vars(contrasts)[field].difference

    return Measure(f"stationarity of θ, {contrast}", difference, lambda c: 0.0)


MEASURES = (
    Measure("mean of θ", lambda c, s: est.mean(s.positions), lambda c: 0.0),
    Measure(
        "variance of θ",
        lambda c, s: est.variance(s.positions),
        lambda c: float(c.covariance()[0, 0]),
    ),
    Measure("variance of θ, bootstrap", _bootstrapped, lambda c: float(c.covariance()[0, 0])),
    Measure(
        "variance of v",
        lambda c, s: est.variance(s.velocities),
        lambda c: float(c.covariance()[1, 1]),
    ),
    Measure("skewness of θ", lambda c, s: est.skewness(s.positions), lambda c: 0.0),
    Measure(
        "Cov(θ, v)",
        lambda c, s: est.covariance(s.positions, s.velocities),
        lambda c: float(c.covariance()[0, 1]),
    ),
    Measure(
        f"autocorrelation of θ, lag {LAG}",
        lambda c, s: est.autocorrelation(s.positions, [LAG]),
        lambda c: _correlation(c, 0),
    ),
    Measure(
        f"correlation of θ with v, lag {LAG}",
        lambda c, s: est.cross_correlation(s.positions, s.velocities, [LAG]),
        lambda c: _correlation(c, 1),
    ),
    Measure("circulation", lambda c, s: est.circulation(s.positions, s.velocities), _circulation),
    Measure(
        "friction γ",
        lambda c, s: est.rotation_rates(s.positions, RATE).friction,
        lambda c: float(-c.logarithms.real.mean()),
    ),
    Measure(
        "natural frequency ω²",
        lambda c, s: est.rotation_rates(s.positions, RATE).natural_frequency_squared,
        lambda c: float(np.prod(c.logarithms).real),
    ),
    Measure(
        f"displacement, lag {LAGS[-1]}",
        lambda c, s: _each(lambda x: est.displacement(x, LAGS[-1:]), s.positions),
        lambda c: float(c.displacement(LAGS[-1:])[0]),
    ),
    Measure(
        f"exponent, lags {LAGS[-2]} to {LAGS[-1]}",
        lambda c, s: _each(lambda x: est.exponents(x, LAGS[-2:]), s.positions),
        _local_exponent,
    ),
    Measure(
        f"slope, lags {LAGS[0]} to {LAGS[-1]}, equal weights",
        lambda c, s: _each(lambda x: est.slope(x, LAGS, "equal"), s.positions),
        _equal_slope,
    ),
    Measure(
        f"slope of a random walk, lags {LAGS[0]} to {LAGS[-1]}, generalized",
        lambda c, s: _each(
            lambda g: est.slope(np.cumsum(g, axis=1), LAGS),
            s.gradients - c.curvature * s.positions,
        ),
        lambda c: 1.0,
    ),
    Measure(
        "h Var θ/(½η(1+β) Var v)",
        lambda c, s: est.stationary_ratio(
            s.positions, s.velocities, np.array([c.curvature]), RATE, c.momentum
        ),
        lambda c: 1.0,
    ),
    Measure(
        "⟨θ·g⟩/(½η(1+β)⟨v·v⟩)",
        lambda c, s: _each(
            lambda x, v, g: est.dissipation_ratio(x, v, g, RATE, c.momentum),
            s.positions,
            s.velocities,
            s.gradients,
        ),
        lambda c: 1.0,
    ),
    *map(_stationarity, ("mean early late", "variance early late", "mean trend", "variance trend")),
)


def alignment_counts(turn: float, examples: int, runs: int, seed: int) -> dict[str, Counted]:
    """Coverage of the noise's alignment; `turn` is the angle from the Hessian's eigenvectors."""
    rng, hessian = np.random.default_rng(seed), np.diag(CURVATURES)
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.kron(np.eye(2), [[cos, -sin], [sin, cos]])
    noise = turned @ hessian @ turned.T
    bracket = hessian @ noise - noise @ hessian
    size = float(np.sum(hessian**2))
    truths = {
        "scale": 1.0,
        "cosine": float(np.sum(noise * hessian)) / size,
        "commutator_squared": float(np.sum(bracket**2)) / size**2,
    }
    root = turned * np.sqrt(CURVATURES)
    found = [
        est.noise_alignment(rng.standard_normal((examples, 4)) @ root.T, hessian)
        for _ in range(runs)
    ]

    def gathered(name: str) -> est.Estimate:
        parts = [getattr(one, name) for one in found]
        value, error = (np.array([getattr(p, kind)[0] for p in parts]) for kind in FIELDS)
        return est.Estimate(value, error, parts[0].replicas)

    return {name: counted(gathered(name), truth) for name, truth in truths.items()}


FIELDS = ("value", "standard_error")


def _row(name: str, record: str, found: Counted) -> dict[str, str]:
    return {
        "estimator": name,
        "record": record,
        "runs": str(found.runs),
        "covered": f"{found.coverage:.3f}",
        "bias / deviation": f"{found.bias:+.2f}",
        "error / deviation": f"{found.error_ratio:.2f}",
        "short": f"{found.short:.2f}",
    }


def rows(runs: int) -> Iterator[dict[str, str]]:
    """Of every estimator on every record; then of the noise's alignment."""
    for seed, cell in enumerate(CELLS):
        states = simulated(cell, runs, seed)
        record = f"{cell.name}, {cell.chains} × {cell.time}"
        for measure in MEASURES:
            yield _row(measure.name, record, measured(measure, cell, states))
    for turn, examples in ((0.0, 400), (0.3, 400), (0.3, 4000)):
        for name, found in alignment_counts(turn, examples, runs, seed=len(CELLS)).items():
            yield _row(f"noise {name}", f"{examples} examples, turned by {turn}", found)


def main(output: Path = Path("docs/experiments/estimators.csv"), runs: int = 400) -> None:
    """Measure coverage and write a table.

    Args:
        output: the table.
        runs: simulated a row; 400 make a standard error of 1.1 %.
    """
    table = sorted(rows(runs), key=lambda row: _order(row["estimator"]))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _order(name: str) -> int:
    names = [measure.name for measure in MEASURES]
    return names.index(name) if name in names else len(names)


if __name__ == "__main__":
    tyro.cli(main)
