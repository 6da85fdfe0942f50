"""Which arrays a record has: shapes, chunks, axes and meaning, from what was declared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from validation.experiments import Record
from validation.recorder import checkpoint_interval

__all__ = ["Layout", "Plan"]

_UNITS = {"square": "squared unit of θ", "position": "unit of θ", "velocity": "unit of θ per time"}

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """One array: its chunks lie one after the other along the first axis."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: str
    about: dict[str, str]


@dataclass(frozen=True)
class Layout:
    """All sizes of a record.

    Args:
        updates: recorded.
        interval: updates between two checkpoints.
        replicas: R.
        parameters: P, of one replica.
        directions: k, on which states are projected.
        projections_every: updates between two projections.
        snapshots_every: updates between two copies of all parameters; 0 for none.
        dtype: of the parameters, and so of the snapshots.
    """

    updates: int
    interval: int
    replicas: int
    parameters: int
    directions: int
    projections_every: int
    snapshots_every: int
    dtype: str

    @classmethod
    def of(cls, record: Record, parameters: int, directions: int, dtype: str) -> Layout:
        """What a declared record needs for a model."""
        every = record.projections_every, record.snapshots_every
        interval = checkpoint_interval(record)
        return cls(record.updates, interval, record.replicas, parameters, directions, *every, dtype)

    @property
    def plans(self) -> dict[str, Plan]:
        """Every array by its name; the rows of a coordinate say after which update they are."""
        displacement = ("update", "replica")
        found = {
            "update": self._coordinate("update", self.updates),
            "local_displacement": self._rows(
                self.updates, self.interval, displacement, "|θ_k − θ_{k−1}|²", "square"
            ),
            "global_displacement": self._rows(
                self.updates,
                self.interval,
                displacement,
                "|θ_k − θ_0|², θ_0 at the start",
                "square",
            ),
        }
        projected = self.updates // self.projections_every
        if self.directions:
            shape = self.replicas, self.directions
            about = {"long_name": "Dᵀθ_0, of the start", "units": _UNITS["position"]}
            found["start"] = Plan(shape, shape, ("replica", "direction"), "float64", about)
        if self.directions and projected:
            axes = ("projected_update", "replica", "direction")
            chunk = max(1, self.interval // self.projections_every)
            found |= {
                axes[0]: self._coordinate(axes[0], projected),
                "positions": self._rows(
                    projected, chunk, axes, "Dᵀ(θ_k − θ_0), θ_0 at the start", "position"
                ),
                "velocities": self._rows(projected, chunk, axes, "Dᵀ v_k", "velocity"),
            }
        if self.snapshots_every:
            axes = ("snapshot_update", "replica", "parameter")
            copies = self.updates // self.snapshots_every + 1
            found |= {
                axes[0]: self._coordinate(axes[0], copies),
                "snapshots": self._rows(copies, 1, axes, "θ_k", "position", self.dtype),
            }
        return found

    @property
    def coordinates(self) -> dict[str, Array]:
        """Update numbers of rows: 1 is after the record's first update, 0 before."""
        numbers = {
            "update": np.arange(1, self.updates + 1),
            "projected_update": np.arange(1, self.updates // self.projections_every + 1)
            * self.projections_every,
            "snapshot_update": np.arange(self.updates // max(self.snapshots_every, 1) + 1)
            * self.snapshots_every,
        }
        return {name: values for name, values in numbers.items() if name in self.plans}

    @property
    def text(self) -> str:
        """All sizes, for an attribute."""
        return json.dumps(asdict(self))

    def rows_after(self, updates: int) -> dict[str, int]:
        """Rows that every array has after so many recorded updates; coordinates have all."""
        rows = {
            "local_displacement": updates,
            "global_displacement": updates,
            "positions": updates // self.projections_every,
            "velocities": updates // self.projections_every,
            "snapshots": updates // max(self.snapshots_every, 1) + 1,
        }
        return {name: rows.get(name, plan.shape[0]) for name, plan in self.plans.items()}

    @staticmethod
    def _coordinate(name: str, count: int) -> Plan:
        return Plan((count,), (count,), (name,), "int64", {"long_name": "updates since the start"})

    def _rows(
        self, rows: int, chunk: int, axes: tuple[str, ...], meaning: str, unit: str, dtype: str = ""
    ) -> Plan:
        sizes = {
            "replica": self.replicas,
            "direction": self.directions,
            "parameter": self.parameters,
        }
        rest = tuple(sizes[axis] for axis in axes[1:])
        about = {"long_name": meaning, "units": _UNITS[unit]}
        return Plan((rows, *rest), (min(chunk, rows), *rest), axes, dtype or "float64", about)
