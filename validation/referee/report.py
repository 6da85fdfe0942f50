"""The judgement as lines, tables, pictures and one page; computes nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from validation.comparison import FALSE_ALARM_RATE
from validation.pages import drawn, filled
from validation.referee.judgement import Judgement
from validation.referee.pictures import PICTURES, picture
from validation.referee.table import Verdict
from validation.referee.theories import THEORIES

__all__ = ["lines", "write"]

_NAMES = tuple(theory.name for theory in THEORIES)


def cell(verdict: Verdict) -> str:
    """One verdict in a table: the largest |z|, or by how much it is off."""
    if verdict.rows == 0:
        return "silent"
    if verdict.holds:
        return f"holds ({verdict.worst_z:.1f})"
    if not np.isfinite(verdict.departure):
        return "parts (from 0)"
    if verdict.scale != "number" and verdict.departure == 0:
        return "parts (from ∞)"
    if verdict.scale == "number":
        return f"parts (by {verdict.departure:+.2g} ± {verdict.departure_error:.1g})"
    return f"parts (×{verdict.departure:.3g} ± {verdict.departure_error:.1g})"


def _groups(judgement: Judgement) -> dict[tuple[str, str], dict[str, list[Verdict]]]:
    """Verdicts by subject and sampler, then by observable, in the theories' order."""
    groups: dict[tuple[str, str], dict[str, list[Verdict]]] = {}
    for verdict in judgement.verdicts:
        group = groups.setdefault((verdict.subject, verdict.sampler), {})
        group.setdefault(verdict.observable, []).append(verdict)
    return groups


def lines(judgement: Judgement) -> list[str]:
    """For a terminal: what holds, and which theories survive."""
    shown = []
    for (subject, sampler), group in _groups(judgement).items():
        shown.append(f"{subject}, {sampler}:")
        for observable, row in group.items():
            holding = [verdict.theory for verdict in row if verdict.holds]
            numbers = max(verdict.rows for verdict in row)
            shown.append(f"  {observable} ({numbers}): {', '.join(holding) or 'none'}")
        survivors = judgement.survivors()[subject, sampler]
        shown.append(f"  every observable: {', '.join(survivors) or 'none'}")
    if judgement.missing:
        shown.append(f"{len(judgement.missing)} cells are not complete and were left out.")
    shown += [f"replicas grow for ever: {settings}" for settings in judgement.unbounded]
    return shown


def write(judgement: Judgement, folder: Path) -> Path:
    """Tables, pictures and the page that holds them.

    Args:
        judgement: what is shown.
        folder: made if need be.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(judgement, folder / "rows.csv")
    _write_table(folder / "verdicts.csv", _verdict_table(judgement))
    _write_table(folder / "survivors.csv", _survivor_table(judgement))
    _write_table(folder / "limits.csv", _limit_table(judgement))
    _write_table(folder / "unbounded.csv", [["settings"], *([one] for one in judgement.unbounded)])
    images = drawn(PICTURES, lambda name: picture(name, judgement), folder)
    page = folder / "index.html"
    page.write_text(_page(judgement, images), encoding="utf-8")
    return page


def _write_table(path: Path, table: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)


def _write_rows(judgement: Judgement, path: Path) -> None:
    header = ["subject", "sampler", "settings", "observable", "where", "measured", "error"]
    header += [f"{name}: {what}" for name in _NAMES for what in ("predicted", "z")]
    _write_table(
        path,
        [
            header,
            *(
                [
                    row.subject,
                    row.sampler,
                    row.settings,
                    row.observable,
                    row.where,
                    f"{row.measured:.7g}",
                    f"{row.standard_error:.2g}",
                    *(
                        text
                        for name in _NAMES
                        for text in (f"{row.predicted[name]:.7g}", f"{row.z[name]:.2f}")
                    ),
                ]
                for row in judgement.rows
            ),
        ],
    )


def _verdict_table(judgement: Judgement) -> Iterable[Sequence[object]]:
    yield ["subject", "sampler", "observable", "rows", *_NAMES]
    for (subject, sampler), group in _groups(judgement).items():
        for observable, row in group.items():
            rows = max(verdict.rows for verdict in row)
            yield [subject, sampler, observable, rows, *map(cell, row)]


def _survivor_table(judgement: Judgement) -> Iterable[Sequence[object]]:
    yield ["subject", "sampler", "theories that hold for every observable"]
    for (subject, sampler), names in judgement.survivors().items():
        yield [subject, sampler, ", ".join(names) or "none"]


def _limit_table(judgement: Judgement) -> Iterable[Sequence[object]]:
    """Stability limits, measured and of every theory; most say nothing of the sampler."""
    yield ["subject", "sampler", "settings", "measured η", "error", *_NAMES]
    for row in judgement.rows:
        if row.observable == "stability limit":
            limits = (f"{limit:.4f}" for limit in row.predicted.values())
            error = f"{row.standard_error:.4f}"
            yield [row.subject, row.sampler, row.settings, f"{row.measured:.4f}", error, *limits]


def _page(judgement: Judgement, images: dict[str, str]) -> str:
    return filled(
        Path(__file__).parent,
        theories=THEORIES,
        groups=_groups(judgement),
        survivors=judgement.survivors(),
        limits=list(_limit_table(judgement)),
        rows=len(judgement.rows),
        missing=judgement.missing,
        unbounded=judgement.unbounded,
        limit=judgement.verdicts[0].limit,
        false_alarm_rate=FALSE_ALARM_RATE,
        cell=cell,
        captions=PICTURES,
        images=images,
    )
