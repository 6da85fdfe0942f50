"""Rows to JSON, CSV and one HTML page without network; draws and writes, computes nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from latex2mathml.converter import convert
from markupsafe import Markup
from sympy import latex

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.derivation import Formula
from validation.comparison import FALSE_ALARM_RATE, Row, Verdict, verdicts
from validation.linear import Effort, Experiment
from validation.pages import filled, kept
from validation.pictures import PICTURES, picture

__all__ = ["lines", "write"]

_ORDER = ("discrete", "continuous")
_CAPTIONS = {
    "relaxation": "From the origin of the weights: the mean of the replicas spirals into the "
    "minimum as the discrete theory says; the continuous one turns too slowly. One replica shows "
    "the noise.",
    "portrait": "The modified loss and the stationary probability current derived from the "
    "Fokker-Planck equation, and where the replicas are. Their cloud leans to the right: positions "
    "and velocities of a finite step are correlated, which the continuous theory cannot know.",
    "variances": "Stationary variance along every eigen-direction. With noise proportional to the "
    "Hessian and no weight decay the position's would be the same everywhere.",
    "displacement": "How far the weights move, and the exponent of that growth from each power of "
    "2 to the next.",
    "panels": "The displacement of one update while one setting varies.",
}


def lines(experiments: Sequence[Experiment]) -> list[str]:
    """One line of text per comparison, and one per noise."""
    rows = [row for experiment in experiments for row in experiment.rows]
    return [_noise_line(experiment) for experiment in experiments] + [
        f"{verdict.subject:9s} {verdict.observable:25s} {verdict.rows:3d} rows   "
        + "   ".join(
            f"{theory} {_word(verdict, theory)}, max|z| {verdict.worst_z[theory]:4.1f}"
            for theory in _ORDER
        )
        for verdict in verdicts(rows)
    ]


def _word(verdict: Verdict, theory: str) -> str:
    if verdict.holds(theory):
        return "holds"
    return f"parts by {100 * verdict.deviation[theory]:+.2g} %"


def _noise_line(experiment: Experiment) -> str:
    shape = experiment.noise_shape
    return (
        f"{experiment.subject.problem.name:9s} gradient noise: σ² = {shape.scale:.4g}, "
        f"distance from proportional to H {100 * shape.distance:.3g} %, "
        f"commutator with H {100 * shape.commutator:.3g} %, "
        f"position adds up to {100 * experiment.multiplicative_share:.3g} %"
    )


def write(experiments: Sequence[Experiment], effort: Effort, seed: int, folder: Path) -> Path:
    """Writes rows.json, rows.csv, the pictures and index.html; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for experiment in experiments for row in experiment.rows]
    _write_rows(rows, experiments, effort, seed, folder)
    _write_verdicts(verdicts(rows), folder)
    page = _page(experiments, rows, effort, seed, _draw(experiments, folder))
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _write_rows(
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    effort: Effort,
    seed: int,
    folder: Path,
) -> None:
    setup = {
        "version": sgd.__version__,
        "seed": seed,
        "effort": asdict(effort),
        "settings": {e.subject.problem.name: asdict(e.subject.settings) for e in experiments},
        "noise": {
            e.subject.problem.name: {
                **asdict(e.noise_shape),
                "multiplicative_share": e.multiplicative_share,
            }
            for e in experiments
        },
        "rows": [asdict(row) for row in rows],
    }
    (folder / "rows.json").write_text(json.dumps(setup, indent=1), encoding="utf-8")
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def _write_verdicts(found: Sequence[Verdict], folder: Path) -> None:
    with (folder / "verdicts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = ["data", "observable", "rows"]
        for theory in _ORDER:
            header += [f"{theory} theory", "max |z|"]
        writer.writerow(header)
        for verdict in found:
            cells: list[object] = [verdict.subject, verdict.observable, verdict.rows]
            for theory in _ORDER:
                cells += [_word(verdict, theory), f"{verdict.worst_z[theory]:.1f}"]
            writer.writerow(cells)


def _draw(experiments: Sequence[Experiment], folder: Path) -> dict[tuple[str, str], str]:
    """PNG files beside the page, and the same as data for the page itself."""
    drawn = {}
    for experiment in experiments:
        subject = experiment.subject.problem.name
        for name in PICTURES:
            figure = picture(name, experiment)
            if figure is not None:
                drawn[subject, name] = kept(figure, folder / f"{subject}-{name}.png")
    return drawn


def _derivations() -> list[tuple[str, list[tuple[sgd.Step, list[Markup]]]]]:
    """The two derivations behind the numbers, executed now, typeset as MathML."""
    rule = sgd.heavy_ball()
    process = sgd.ornstein_uhlenbeck(sgd.modified_equation(rule), noise=s.Sigma, curvature=s.h)
    exact = sgd.recursion(rule, noise=s.Sigma, curvature=s.h)
    flow = sgd.fokker_planck(process).derivation
    displacement = process.derivation_of("displacement")[-1]
    chapters = (
        ("Continuous time", sgd.Derivation((*flow, displacement))),
        ("Discrete time, exactly", exact.derivation_of("displacement")),
    )
    return [
        (title, [(step, [_mathml(formula) for formula in step.formulas]) for step in derivation])
        for title, derivation in chapters
    ]


def _mathml(formula: Formula) -> Markup:
    # The text comes from SymPy's printer, not from a user.
    return Markup(convert(latex(formula), display="block"))  # noqa: S704


def _by_observable(rows: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.observable, []).append(row)
    return groups


def _page(
    experiments: Sequence[Experiment],
    rows: Sequence[Row],
    effort: Effort,
    seed: int,
    images: dict[tuple[str, str], str],
) -> str:
    return filled(
        Path(__file__).parent,
        version=sgd.__version__,
        seed=seed,
        effort=effort,
        experiments=experiments,
        rows=rows,
        grouped={e.subject.problem.name: _by_observable(e.rows) for e in experiments},
        verdicts=verdicts(rows),
        false_alarm_rate=FALSE_ALARM_RATE,
        derivations=_derivations(),
        captions=_CAPTIONS,
        word=_word,
        images=images,
    )
