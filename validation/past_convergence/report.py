"""Rows, pictures and curvatures of an experiment in stages, as files and one page."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from validation.durable_files import read_sealed
from validation.pages import drawn, filled
from validation.past_convergence.comparison import FALSE_ALARM, Row
from validation.past_convergence.findings import Findings
from validation.past_convergence.pictures import PICTURES, picture
from validation.past_convergence.staged_runs import AFTER
from validation.past_convergence.verdict import Verdict, verdicts

__all__ = ["lines", "write"]


def lines(found: Findings) -> list[str]:
    """The rows as text."""
    told = [
        f"{'setting':<28}{'quantity':<50}{'predicted':>12}{'measured':>12}{'deviation':>11}"
        f"{'± error':>9}{'z':>7}"
    ]
    for row in found.rows:
        mark = "" if abs(row.z) <= found.bound else " *"
        told.append(
            f"{row.setting:<28.28}{row.quantity:<50}{row.predicted:>12.4g}{row.measured:>12.4g}"
            f"{row.deviation:>+11.3f}{row.error:>9.3f}{row.z:>+7.1f}{mark}"
            f"{'' if row.stationary else ' not stationary'}"
        )
    told.append(f"* |z| > {found.bound:.2f}, one false alarm in 100 such tables.")
    return told


def write(found: Findings, output: Path) -> Path:
    """index.html, tables and pictures, in a folder that is made if need be."""
    output.mkdir(parents=True, exist_ok=True)
    told = verdicts(found.rows, found.bound)
    _write_table(Row, found.rows, output / "rows.csv")
    _write_table(Verdict, told, output / "verdicts.csv")
    moved = list(_curvature(found))
    with (output / "curvature.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(moved)
    path = output / "index.html"
    page = filled(
        Path(__file__).parent,
        name=found.staged.name,
        rows=found.rows,
        verdicts=told,
        bound=found.bound,
        false_alarm=FALSE_ALARM,
        curvature=moved,
        images=drawn(PICTURES, lambda name: picture(name, found), output),
        captions=PICTURES,
    )
    path.write_text(page, encoding="utf-8")
    return path


def _write_table(kind: type, records: Sequence[Any], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(kind)], lineterminator="\n")
        writer.writeheader()
        for record in records:
            writer.writerow({name: _told(value) for name, value in asdict(record).items()})


def _told(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(_told, value))
    return f"{value:.4g}" if isinstance(value, float) else value


def _curvature(found: Findings) -> Iterable[list[str]]:
    """How far the curvature has moved from the beginning of the first record to its end."""
    yield [
        "seed",
        "trace before",
        "trace after",
        "change of the largest eigenvalue",
        "root mean square change of all known",
        "median overlap of eigenvectors",
        "largest angle between their spaces",
        "cosine between the forces that noise induces",
    ]
    for record in found.base:
        path = record.folder / AFTER
        if not path.exists():
            continue
        told = read_sealed(path, "Delete it: the next run measures it again.")
        changes = np.array(told["relative_change"])
        yield [
            str(record.seed),
            f"{told['trace_before']:.5g}",
            f"{told['trace']:.5g}",
            f"{changes[0]:+.3%}",
            f"{np.sqrt((changes**2).mean()):.3%}",
            f"{np.median(told['overlaps']):.4f}",
            f"{told['largest_angle']:.3f}",
            "" if told["overlap_of_forces"] is None else f"{told['overlap_of_forces']:.2f}",
        ]
