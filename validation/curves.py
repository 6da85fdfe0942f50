r"""What the pictures show: predictions on fine grids, measurements beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import sgdtheory as sgd
from sgdtheory import symbols as s
from validation.comparison import THEORIES, Case, prepare
from validation.data import Array
from validation.estimators import Estimate, ReplicaAverages, replica_mean
from validation.trajectories import Segment

__all__ = [
    "Curve",
    "Panel",
    "Portrait",
    "Relaxation",
    "displacement_curve",
    "panel",
    "portrait",
    "relaxation",
]


@dataclass(frozen=True)
class Panel:
    """Local displacement against one setting: theory on a fine grid, measurement at points."""

    setting: str
    grid: Array
    theory: dict[str, Array]
    points: Array
    measured: Array
    standard_error: Array


@dataclass(frozen=True)
class Relaxation:
    """One direction of the relaxation from the origin: measured mean and both predictions."""

    eigenvalue: float
    steps: Array
    measured: Array
    one_replica: Array
    theory: dict[str, Array]


@dataclass(frozen=True)
class Curve:
    """Displacement against steps."""

    steps: Array
    theory: dict[str, Array]
    exponent: dict[str, Array]
    measured_at: Array
    measured: Array
    standard_error: Array


@dataclass(frozen=True)
class Portrait:
    """Stationary states of one direction, and the modified loss and current it should have."""

    eigenvalue: float
    positions: Array
    velocities: Array
    grid: tuple[Array, Array]
    modified_loss: Array
    current: tuple[Array, Array]


def relaxation(case: Case, transient: Segment) -> Relaxation:
    """The oscillating direction whose start stands out most from the noise to come."""
    exact = case.models["discrete"]
    oscillating = np.array([regime == "underdamped" for regime in exact.regime])
    spread = np.sqrt(exact.stationary_covariance()[:, 0, 0])
    prominence = np.abs(case.start).max(axis=1) / spread
    pick = int(np.argmax(np.where(oscillating, prominence, 0.0)))
    output = int(np.abs(case.start[pick]).argmax())
    steps = np.arange(transient.positions.shape[2])
    parts = (transient.positions, transient.velocities)
    states = np.stack(
        [part[:, case.directions[pick], :, output].numpy() for part in parts], axis=-1
    )
    states = states / case.start[pick, output]
    return Relaxation(
        float(case.eigenvalues[pick]),
        steps,
        states.mean(axis=0),
        states[0],
        case.predict(lambda model: model.mean(steps, 1.0)[:, pick]),
    )


def displacement_curve(case: Case, measured: ReplicaAverages) -> Curve:
    """Displacement up to times beyond the longest lag, and exponents between the lags."""
    steps = np.unique(np.geomspace(1, 4 * max(measured.lags), 120).astype(int))
    lags = np.asarray(measured.lags)
    estimate = replica_mean(measured.displacement)

    def between_lags(displacement: Array) -> Array:
        return np.diff(np.log(displacement)) / np.diff(np.log(lags))

    return Curve(
        steps,
        case.predict(lambda model: model.displacement(steps)),
        {
            **case.predict(lambda model: between_lags(model.displacement(lags))),
            "measured": between_lags(estimate.value),
        },
        lags,
        estimate.value,
        estimate.standard_error,
    )


def portrait(case: Case, record: Segment) -> Portrait:
    """The modified loss and its current on a grid, for the noisiest direction."""
    pick = int(np.argmax(case.models["discrete"].spectrum.variances))
    direction, output = case.directions[pick], int(np.abs(case.start[pick]).argmax())
    langevin = sgd.modified_equation(sgd.heavy_ball())
    process = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h)
    flow = sgd.fokker_planck(process)
    values = {
        s.h: float(case.eigenvalues[pick]) + case.settings.weight_decay,
        s.Sigma: float(case.noise[output, direction, direction]),
        s.eta: case.settings.learning_rate,
        s.beta: case.settings.momentum,
        s.S: case.settings.batch_size,
    }
    variances = process.stationary_covariance().subs(values).diagonal()
    widths = np.sqrt(np.array(variances, dtype=np.float64)).ravel()
    grid = np.meshgrid(*(np.linspace(-3.2 * width, 3.2 * width, 61) for width in widths))
    current = sgd.lower(flow.current.subs(values).evalf(), flow.coordinates)(*grid)
    return Portrait(
        float(case.eigenvalues[pick]),
        record.positions[:, direction, :, output].numpy(),
        record.velocities[:, direction, :, output].numpy(),
        (grid[0], grid[1]),
        sgd.lower(flow.modified_loss.subs(values), flow.coordinates)(*grid),
        (current[..., 0, 0], current[..., 1, 0]),
    )


def panel(case: Case, setting: str, measured: dict[float, Estimate]) -> Panel:
    """Both theories' local displacement between the measured values of one setting."""
    points = np.array(sorted(measured))
    spaced = np.linspace if setting == "momentum" else np.geomspace
    grid = spaced(points[0], points[-1], 40)
    if setting == "batch_size":
        grid = np.unique(np.rint(grid))
    cases = [prepare(case.problem, case.settings.varied(setting, float(x))) for x in grid]
    return Panel(
        setting,
        grid,
        {
            theory: np.array([float(each.models[theory].local_displacement()) for each in cases])
            for theory in THEORIES
        },
        points,
        np.array([measured[value].value[0] for value in points]),
        np.array([measured[value].standard_error[0] for value in points]),
    )
