"""Records that the theory makes itself, for estimators to be judged by.

What an estimator finds in short records of the predicted process is what it may find in the
network's: its bias and its scatter are known before, and no record is its own judge.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

import sgdtheory as sgd
from validation.data import Array
from validation.estimators import Estimate
from validation.measured_curvature import write_arrays
from validation.past_convergence.measurements import (
    Found,
    along_directions,
    changes,
    settled_from,
)
from validation.past_convergence.predictions import Dynamics, slope, window

__all__ = ["NAME", "make_theory_records", "read_theory_records"]

NAME = "theory_records.npz"
_RECORDS = 32
# Of flat directions a node stands for thousands, whose squares hardly fluctuate together.
_COPIES = 24


def make_theory_records(dynamics: Dynamics, seed: int, path: Path) -> None:
    """Record the predicted process as a network is recorded, and keep what estimators find.

    Args:
        dynamics: of the record; its noise must be white.
        seed: of the noise.
        path: of an npz file.
    """
    experiment, known = dynamics.experiment, dynamics.start.known
    count = experiment.record.updates
    x, v, local, way = _simulated(dynamics, np.random.default_rng(seed))
    first = settled_from(count)
    x, v, local = x[first:], v[first:], local[first:]
    positions, velocities = (part.reshape(1, count - first, -1) for part in (x, v))
    found = along_directions(positions, velocities, experiment.optimizer.learning_rate)
    arrays = {name: one.value.reshape(known, _RECORDS).T for name, one in found.items()}
    steadiness = [changes(local[:, one], v[..., one]) for one in range(_RECORDS)]
    for name in steadiness[0]:
        arrays[name] = np.array([float(each[name].value) for each in steadiness])
    arrays["local_displacement"] = local.mean(axis=0)
    late = window(count)
    arrays["exponent"] = np.array([slope(late, curve) for curve in way.T])
    write_arrays(path, arrays)


def read_theory_records(path: Path) -> list[Found]:
    """What estimators found in each; none, where the theory made no records.

    Raises:
        ValueError: naming the file, if it lacks a quantity.
    """
    if not path.exists():
        return []
    with np.load(path) as found:
        arrays = dict(found)
    missing = {each.name for each in fields(Found)} - arrays.keys()
    if missing:
        raise ValueError(
            f"{path}: there is no {', '.join(sorted(missing))}; another version has made it. "
            "Delete the run's folder and run it again."
        )
    exponents = arrays.pop("exponent")
    return [
        Found(
            **{name: _exact(values[one]) for name, values in arrays.items()},
            exponent=float(exponent),
        )
        for one, exponent in enumerate(exponents)
    ]


def _exact(value: Array) -> Estimate:
    """Errors are left to the scatter from record to record."""
    return Estimate(np.asarray(value), np.zeros(np.shape(value)), 1)


def _simulated(
    dynamics: Dynamics, source: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Positions and velocities along the known directions, (updates, known, records), and squares.

    A node that stands for n directions is n of them, as far as that can be told. What is left of
    the gradient lies elsewhere among the eigenvalues: where its mean meets fluctuations, |Δ|² has a
    cross term of its own.
    """
    start, experiment = dynamics.start, dynamics.experiment
    copies = np.clip(np.round(start.counts), 1, _COPIES).astype(int)
    nodes, weights = start.force.gradient
    nodes = np.maximum(nodes, 0.0)
    rho = np.concatenate([np.repeat(start.eigenvalues, copies), nodes])
    noise = dynamics.white_noise
    per_curvature = (start.counts @ noise) / (start.counts @ start.eigenvalues)
    variances = np.concatenate([np.repeat(noise, copies), per_curvature * nodes])
    share = np.concatenate([np.repeat(start.counts / copies, copies), np.zeros(len(nodes))])
    late = window(experiment.record.updates)
    means = dynamics.responses(late, nodes) * np.sqrt(weights)
    # Single precision: of squares of thousands of directions no digit is lost that counts.
    step = _Step(dynamics, rho, variances)
    x, v = np.zeros((2, len(rho), _RECORDS), dtype=np.float32)
    shares = share.astype(np.float32)
    kept: list[tuple[Array, ...]] = []
    ways = []
    known = slice(start.known)
    for update in range(1, experiment.record.updates + 1):
        moved, v = step(x, v, source)
        local = shares @ np.square(moved - x)
        x = moved
        kept.append((x[known].copy(), v[known].copy(), local))
        if update in late:
            mean = means[np.searchsorted(late, update)]
            cross = 2 * mean @ x[-len(nodes) :]
            ways.append(shares @ np.square(x) + cross + mean @ mean)
    positions, velocities, locals_ = (
        np.array(part, dtype=float) for part in zip(*kept, strict=True)
    )
    return positions, velocities, locals_, np.array(ways, dtype=float)


class _Step:
    """One update of every direction of every record, by the rule's own recursion."""

    def __init__(self, dynamics: Dynamics, rho: Array, variances: Array) -> None:
        s, rule = sgd.symbols, dynamics.experiment.optimizer
        process = sgd.recursion(sgd.heavy_ball(), noise=s.Sigma, curvature=s.h)
        values = {
            s.eta: rule.learning_rate,
            s.beta: rule.momentum,
            s.S: dynamics.experiment.sampler.batch_size,
        }
        curvature = rho + rule.weight_decay
        self._map, self._kick = (
            [
                np.broadcast_to(sgd.lower(entry.subs(values), (s.h,))(curvature), rho.shape).astype(
                    np.float32
                )[:, None]
                for entry in part
            ]
            for part in (process.map, process.kick)
        )
        error = sgd.lower(process.noise_variance.subs(values), (s.Sigma,))(variances)
        self._error = np.sqrt(error).astype(np.float32)[:, None]

    def __call__(self, x: Array, v: Array, source: np.random.Generator) -> tuple[Array, Array]:
        a, b, c, d = self._map
        p, q = self._kick
        error = self._error * source.standard_normal(x.shape, dtype=np.float32)
        return a * x + b * v + p * error, c * x + d * v + q * error
