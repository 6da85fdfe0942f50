"""An experiment in stages: what comes before the record, what the record is compared over.

One file declares the recorded experiment, the stages before it, each with what it changes and what
it must reach, how much of the curvature is measured, and the settings that are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field

from validation.experiments import (
    Experiment,
    checked_record,
    declared_experiment,
    read_tables,
)

__all__ = [
    "Comparison",
    "Effort",
    "Gates",
    "Stage",
    "StagedExperiment",
    "is_staged",
    "read_staged",
]

_STRICT = ConfigDict(extra="forbid", strict=True)
_Positive: TypeAlias = Annotated[int, Field(ge=1)]
_Limit: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Effort:
    """How much of the curvature is measured.

    Args:
        kind: of the whole Hessian, or of its Gauss-Newton part.
        eigenpairs: the largest ones.
        examples: of the data, from its beginning; 0 for all.
        batch: examples in memory at once.
        probes: of trace and density, at least 2.
        steps: of Lanczos, of every probe.
        force_displacement: along each eigenvector, to where the gradient is measured for the force
            that noise induces: about as far as positions will spread; 0 for no such force.
        linearized: trainings of the network with its Hessian held fixed beside each record, the
            first with the record's own batches; their memory is N·outputs × parameters.
    """

    __pydantic_config__ = _STRICT
    kind: Annotated[str, Field(pattern="^(hessian|gauss_newton)$")] = "hessian"
    eigenpairs: _Positive = 20
    examples: Annotated[int, Field(ge=0)] = 0
    batch: _Positive = 64
    probes: Annotated[int, Field(ge=2)] = 4
    steps: _Positive = 60
    force_displacement: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    linearized: Annotated[int, Field(ge=0)] = 0

    def is_exact(self, loss_name: str) -> bool:
        """Whether the gradients of single outputs are all of the curvature."""
        return (self.kind, loss_name) == ("gauss_newton", "half_squared_error")


@dataclass(frozen=True)
class Gate:
    """What a stage must reach, or the experiment ends there and says why.

    Args:
        unexplained: largest loss, as a share of the loss of the best constant.
        change: largest relative change of the mean |θ_k − θ_{k−1}|² from the third quarter of the
            stage to the last.
    """

    __pydantic_config__ = _STRICT
    unexplained: _Limit | None = None
    change: _Limit | None = None


@dataclass(frozen=True)
class Stage:
    """One training before the record.

    Args:
        name: for people, and of its folder.
        values: in what it differs from the recorded experiment, as in a sweep.
        gate: what it must reach.
    """

    name: str
    values: Mapping[str, Any]
    gate: Gate = Gate()


@dataclass(frozen=True)
class Gates:
    """What curvature and record must fulfil for the theory to be tested by them.

    Args:
        residual: largest |Hu − ρu|/ρ of an eigenpair.
        self_driven: largest share that the spread of positions, η/(2(1 − β)S) times that of the
            noise, may add to it by the spread of single curvatures, tr(⟨H_n²⟩ − H²)/tr H.
        change: largest relative change of mean squares, between thirds of the record.
    """

    __pydantic_config__ = _STRICT
    residual: _Limit = 0.02
    self_driven: _Limit = 0.05
    change: _Limit = 0.05


@dataclass(frozen=True)
class Comparison:
    """Settings that are set beside one another.

    Args:
        name: for people.
        settings: of each cell, in what it differs from the recorded experiment.
    """

    name: str
    settings: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class StagedExperiment:
    """All that one file declares.

    Args:
        recorded: the experiment at the end.
        stages: before it, in their order.
        effort: of the curvature.
        gates: of curvature and record.
        comparisons: the recorded settings.
    """

    recorded: Experiment
    stages: tuple[Stage, ...]
    effort: Effort
    gates: Gates
    comparisons: tuple[Comparison, ...]

    @property
    def name(self) -> str:
        """That of the recorded experiment."""
        return self.recorded.name

    @property
    def settings(self) -> tuple[Mapping[str, Any], ...]:
        """All that are compared, each once, the recorded experiment as declared first."""
        found: dict[str, Mapping[str, Any]] = {}
        for values in ({}, *(one for each in self.comparisons for one in each.settings)):
            found.setdefault(self.recorded.varied(values).identity, values)
        return tuple(found.values())


def is_staged(path: Path) -> bool:
    """Whether a file declares stages."""
    return "stages" in read_tables(path)


def read_staged(path: Path) -> StagedExperiment:
    """What a TOML file with a table [[stages]] declares.

    Raises:
        ValueError: naming the file, the entry, its value and what is allowed.
    """
    tables = read_tables(path)
    stages, comparisons = tables.pop("stages", []), tables.pop("comparisons", [])
    effort = checked_record(
        Effort, tables.pop("curvature", {}), f"{path}: curvature is not allowed"
    )
    gates = checked_record(Gates, tables.pop("gates", {}), f"{path}: gates are not allowed")
    recorded = declared_experiment(tables, path)
    if recorded.engine != "torch" or recorded.record.burn_in or recorded.record.directions:
        raise ValueError(
            f"{path}: a staged experiment is trained by torch, and records from where its last "
            "stage ended along the eigenvectors found there. Leave out engine, record.burn_in and "
            "record.directions."
        )
    staged = StagedExperiment(
        recorded,
        tuple(_stage(table, path) for table in _tables(stages, "stages", path)),
        effort,
        gates,
        tuple(_comparison(table, path) for table in _tables(comparisons, "comparisons", path)),
    )
    for stage in staged.stages:
        recorded.varied(stage.values)
    rules = [recorded.varied(values).optimizer for values in staged.settings]
    if any(rule.nesterov or rule.dampening for rule in rules):
        raise ValueError(
            f"{path}: predictions are those of heavy ball. Leave out optimizer.nesterov and "
            "optimizer.dampening."
        )
    return staged


def _tables(given: Any, name: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise ValueError(f"{path}: {name} = {given!r}: give tables, [[{name}]].")
    for table in given:
        if not isinstance(table.get("name"), str):
            raise ValueError(  # noqa: TRY004
                f"{path}: each of [[{name}]] needs a name; one is {table!r}."
            )
    return given


def _stage(table: Mapping[str, Any], path: Path) -> Stage:
    values = {key: value for key, value in table.items() if key not in ("name", "gate")}
    complaint = f"{path}: the gate of {table['name']} is not allowed"
    gate = checked_record(Gate, table.get("gate", {}), complaint)
    return Stage(table["name"], values, gate)


def _comparison(table: Mapping[str, Any], path: Path) -> Comparison:
    lists = {key: value for key, value in table.items() if key != "name"}
    for key, values in lists.items():
        if not isinstance(values, list) or not values:
            raise ValueError(
                f'{path}: "{key}" = {values!r} of {table["name"]}: give a list of values.'
            )
    combinations = itertools.product(*lists.values())
    return Comparison(
        table["name"], tuple(dict(zip(lists, each, strict=True)) for each in combinations)
    )
