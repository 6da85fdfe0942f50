"""From runs on disk to rows and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from validation.ensemble_store import read_averages
from validation.estimators import Estimate, z_scores
from validation.experiments import Cell
from validation.recorded_averages import recorded_averages
from validation.referee.case import Case, case_of
from validation.referee.table import Row, Verdict, rows_of, verdicts
from validation.referee.theories import THEORIES
from validation.run_folder import RunFolder
from validation.stability_search import Limit
from validation.stability_store import read_limit

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True)
class Judgement:
    """Rows, verdicts and what could not be judged.

    Args:
        rows: all of them.
        verdicts: one a subject, sampler, observable and theory.
        missing: folders of cells that are not complete.
        unbounded: settings of which some replicas grow for ever, so that nothing is stationary.
    """

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    missing: tuple[str, ...]
    unbounded: tuple[str, ...] = ()

    def survivors(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """For every subject and sampler the theories that hold wherever they say something."""
        found: dict[tuple[str, str], dict[str, bool]] = {}
        for verdict in self.verdicts:
            standing = found.setdefault((verdict.subject, verdict.sampler), {})
            if verdict.rows:
                standing[verdict.theory] = standing.get(verdict.theory, True) and verdict.holds
        return {
            key: tuple(theory for theory, holds in standing.items() if holds)
            for key, standing in found.items()
        }


def judge(
    cells: Sequence[Cell], root: Path, progress: Callable[[int], object] = lambda _: None
) -> Judgement:
    """Every complete cell against every theory.

    Args:
        cells: of any experiments on linear models.
        root: folder of all runs.
        progress: called with 1 after every cell.

    Raises:
        ValueError: if there is nothing to judge, a file is damaged, or a record cannot be judged.
    """
    rows: list[Row] = []
    missing: list[str] = []
    unbounded: list[str] = []
    for cell in cells:
        folder = root / cell.folder
        if not RunFolder(folder, cell.experiment.identity, cell.seed).is_complete():
            missing.append(cell.folder)
        elif found := _rows(cell, folder):
            rows += found
        else:
            case = case_of(cell.experiment)
            unbounded.append(f"{_subject(cell)}, {case.sampler}, {case.label}")
        progress(1)
    if not rows:
        raise ValueError(
            f"Of {len(cells)} cells in {root.resolve()}, {len(missing)} are not complete and "
            f"{len(unbounded)} have replicas that grow for ever. Perform them by "
            "`python -m validation sweep`, or lower the learning rate."
        )
    return Judgement(tuple(rows), verdicts(rows), tuple(missing), tuple(unbounded))


def _rows(cell: Cell, folder: Path) -> list[Row]:
    """None where there is no stationary state."""
    experiment = cell.experiment
    case = case_of(experiment)
    if experiment.engine == "stability":
        return [_limit_row(case, read_limit(experiment, cell.seed, folder), _subject(cell))]
    read = read_averages if experiment.engine == "ensemble" else recorded_averages
    averages = read(experiment, cell.seed, folder)
    return [] if averages.unbounded else rows_of(case, averages, _subject(cell))


def _subject(cell: Cell) -> str:
    experiment = cell.experiment
    kind = "one Hessian" if experiment.model.name == "quadratic" else "regression"
    trained = ", torch.optim.SGD" if experiment.engine == "torch" else ""
    return f"{experiment.data.name}, {kind}{trained}"


def _limit_row(case: Case, limit: Limit, subject: str) -> Row:
    measured = Estimate(
        np.array([limit.value]), np.array([limit.standard_error]), limit.populations
    )
    predicted = {theory.name: theory.stability_limit(case) for theory in THEORIES}
    hyper = case.hyper
    return Row(
        subject,
        case.sampler,
        f"β = {hyper.momentum:g}, S = {hyper.batch_size}, λ = {hyper.weight_decay:g}",
        "stability limit",
        "η",
        limit.value,
        limit.standard_error,
        predicted,
        {name: float(z_scores(measured, np.array([eta]))[0]) for name, eta in predicted.items()},
        "unit",
    )
