"""What was measured where the record begins, as the theory takes it: directions, noise, forces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from validation.data import Array

__all__ = ["Force", "MeasuredStart", "read_start"]


@dataclass(frozen=True)
class Force:
    """|a + bT|² over eigenvalues: a mean gradient, and T, that of the known curvatures' sum.

    Args:
        gradient: nodes and weights of a.
        trace: the same of T.
        both: of a/|a| + T/|T|.
        lengths: |a| and |T|.
    """

    gradient: tuple[Array, Array]
    trace: tuple[Array, Array]
    both: tuple[Array, Array]
    lengths: tuple[float, float]

    def square(self, function: Any, share: float) -> Array:
        """Σ over eigenvalues of f(ρ)²|a + share·T|²; the last axis of f's values is the nodes'."""
        own, other, joined = (
            (function(nodes) ** 2) @ weights
            for nodes, weights in (self.gradient, self.trace, self.both)
        )
        first, second = self.lengths
        found = own + share**2 * other
        if first and second:
            found = found + share * (
                joined * first * second - own * second / first - other * first / second
            )
        return np.asarray(found)


@dataclass(frozen=True)
class MeasuredStart:
    """Directions: the largest eigenpairs, then nodes that stand for all others.

    Args:
        eigenvalues: of all, (modes,).
        counts: of directions that each stands for.
        known: k, of the first, which are measured one by one.
        noise: of one example without fresh label noise, along every mode.
        spread: of example curvatures along every mode.
        force: on the mean.
    """

    eigenvalues: Array
    counts: Array
    known: int
    noise: Array
    spread: Array
    force: Force


def read_start(
    folder: Path,
    noise: Path,
    probe: int | None = None,
    settling: tuple[Array, float] | None = None,
) -> MeasuredStart:
    """From the files of a curvature measurement.

    Args:
        folder: of the curvature.
        noise: of the record's data.
        probe: of the density, alone; all together by default.
        settling: noise along the known directions and in total, instead of that of the beginning.
    """
    found = json.loads((folder / "curvature.json").read_text())
    values = np.array(found["eigenvalues"])
    known = len(values)
    rho, counts = _rest(folder, known, found["trace"] - values.sum(), probe)
    with np.load(noise) as own:
        along, total = settling or (own["along"], float(own["total"]))
        data = _along(along, total, rho, counts)
        force = _force(folder, own)
    spread = _along(
        np.array(found["curvature_spread_along"]), found["curvature_spread_total"], rho, counts
    )
    return MeasuredStart(
        np.concatenate([values, rho]),
        np.concatenate([np.ones(known), counts]),
        known,
        data,
        spread,
        force,
    )


def _rest(folder: Path, known: int, trace: float, probe: int | None) -> tuple[Array, Array]:
    """Nodes of positive curvature with counts, which sum to what is left of the trace."""
    with np.load(folder / "spectrum.npz") as found:
        chosen = slice(None) if probe is None else slice(probe, probe + 1)
        rho = found["ritz_values"][chosen, known:]
        counts = found["weights"][chosen, known:] * float(found["dimension"]) / len(rho)
    kept = rho > 1e-7 * rho.max()
    rho, counts = rho[kept], counts[kept]
    return rho, counts * max(trace, 0.0) / (rho @ counts)


def _along(known: Array, total: float, rho: Array, counts: Array) -> Array:
    """What is measured along the known, and the others' share of the total in proportion to ρ."""
    return np.concatenate([known, rho * max(total - known.sum(), 0.0) / (rho @ counts)])


def _force(folder: Path, own: Any) -> Force:
    with np.load(folder / "force.npz") as found:
        nodes, weights = found["nodes"], found["weights"]
    gradient = own["gradient_nodes"], own["gradient_weights"]
    lengths = float(np.sqrt(gradient[1].sum())), float(np.sqrt(weights.sum()))
    return Force(gradient, (nodes, weights), (own["both_nodes"], own["both_weights"]), lengths)
