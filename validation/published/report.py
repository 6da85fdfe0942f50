r"""Tables and a picture of the published exponents and their predictions."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from validation.data import Array
from validation.published.fitting import Fit, fit, left_out, shares
from validation.published.hypotheses import HYPOTHESES
from validation.published.table import GRID, PUBLISHED, SCATTER, SCATTER_FREEDOM, Cell

__all__ = ["Findings", "findings", "lines", "write"]

# Predictions are those of the first hypothesis; the others show what depends on the choice.
_REJECTED_BELOW = 0.05


@dataclass(frozen=True)
class Findings:
    """Every hypothesis's fit, and each cell as a fit to the others predicts it.

    Args:
        fits: in the order of the hypotheses.
        left_out: c of each published cell, by hypothesis; only of those that are not rejected.
    """

    fits: tuple[Fit, ...]
    left_out: dict[str, Array]

    @property
    def main(self) -> Fit:
        """The one whose predictions are published."""
        return self.fits[0]

    @property
    def standing(self) -> tuple[Fit, ...]:
        """Fits that the published numbers do not reject."""
        return tuple(one for one in self.fits if one.p_value >= _REJECTED_BELOW)

    def left_out_rms(self, one: Fit) -> float | None:
        """Root mean square over the cells, each predicted from the others."""
        if one.hypothesis.name not in self.left_out:
            return None
        published = np.array([cell.exponent for cell in one.cells])
        return float(np.sqrt(np.mean((self.left_out[one.hypothesis.name] - published) ** 2)))


def findings() -> Findings:
    """Fits all hypotheses to all published cells."""
    fits = tuple(fit(hypothesis, PUBLISHED) for hypothesis in HYPOTHESES)
    standing = [one for one in fits if one.p_value >= _REJECTED_BELOW]
    return Findings(fits, {one.hypothesis.name: left_out(one) for one in standing})


def lines(found: Findings) -> list[str]:
    """One line a hypothesis."""
    return [f"scatter of a published exponent {SCATTER:.3f} ({SCATTER_FREEDOM} pairs)"] + [
        f"{one.hypothesis.name:40s} {len(one.coordinates)} constants, rms {one.rms:.3f}, "
        f"p = {one.p_value:.2g}"
        for one in found.fits
    ]


def write(found: Findings, folder: Path) -> None:
    """Writes hypotheses.csv, cells.csv, predictions.csv and exponents.png."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "hypotheses.csv", _hypothesis_rows(found))
    _write(folder / "cells.csv", _cell_rows(found.main))
    _write(folder / "predictions.csv", _prediction_rows(found))
    _picture(found).savefig(folder / "exponents.png")


def _write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, listed[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)


def _hypothesis_rows(found: Findings) -> Iterable[dict[str, str]]:
    for one in found.fits:
        aside = found.left_out_rms(one)
        values, errors = one.hypothesis.values(one.coordinates), one.standard_errors()
        yield {
            "hypothesis": one.hypothesis.name,
            "what it says": one.hypothesis.sentence,
            "constants": str(len(values)),
            "rms error of c": f"{one.rms:.3f}",
            "rms, each cell left out": "" if aside is None else f"{aside:.3f}",
            "p": f"{one.p_value:.2g}",
            "values": "; ".join(
                _constant(one, name, value, errors[name]) for name, value in values.items()
            ),
        }


def _constant(one: Fit, name: str, value: float, error: float) -> str:
    constant = next(c for c in one.hypothesis.constants if c.name == name)
    coordinates = [constant.coordinate(limit) for limit in constant.limits]
    at_limit = min(abs(constant.coordinate(value) - c) for c in coordinates) < 0.01
    if at_limit or error > 1:
        return f"{name} not determined"
    if constant.logarithmic:
        return f"{name} {value:.2g} ×/÷ {np.exp(error):.2f}"
    return f"{name} {value:.3f} ± {error:.3f}"


def _settings(cell: Cell) -> dict[str, str]:
    return {
        "learning rate": f"{cell.learning_rate:g}",
        "batch": str(cell.batch_size),
        "momentum": f"{cell.momentum:g}",
    }


def _cell_rows(main: Fit) -> Iterable[dict[str, str]]:
    for cell, predicted in zip(main.cells, main.predicted, strict=True):
        share = shares(main, cell)
        yield {
            **_settings(cell),
            "published": f"{cell.exponent:.3f}",
            "predicted": f"{predicted:.3f}",
            "predicted − published": f"{predicted - (cell.exponent or 0.0):+.3f}",
            "share of relaxation": f"{share.ballistic:.2f}",
            "exponent of relaxation": f"{share.ballistic_exponent:.2f}",
            "exponent of noise": f"{share.noise_exponent:.2f}",
        }


def _prediction_rows(found: Findings) -> Iterable[dict[str, str]]:
    main = found.main
    published = {(c.learning_rate, c.batch_size, c.momentum): c.exponent for c in main.cells}
    predicted, errors = main.predict(GRID)
    others = np.array([one.hypothesis.exponents(GRID, one.coordinates) for one in found.standing])
    quantile = float(stats.t.ppf(0.975, main.freedom))
    for i, cell in enumerate(GRID):
        known = published.get((cell.learning_rate, cell.batch_size, cell.momentum))
        yield {
            **_settings(cell),
            "predicted": f"{predicted[i]:.3f}",
            "95 % interval of a measurement": f"{predicted[i] - quantile * errors[i]:.2f} to "
            f"{predicted[i] + quantile * errors[i]:.2f}",
            "by all standing hypotheses": f"{others[:, i].min():.3f} to {others[:, i].max():.3f}",
            "published": "" if known is None else f"{known:.3f}",
        }


def _picture(found: Findings) -> Figure:
    main = found.main
    figure = Figure(figsize=(6.4, 4.0), layout="constrained", dpi=110)
    axis = figure.subplots()
    reach = np.geomspace(1e-7, 1e-3, 60)
    # At one batch size and momentum, the learning rate that has this reach.
    along = tuple(Cell(float(x) * 256 * 0.1, 256, 0.9) for x in reach)
    predicted, errors = main.predict(along)
    quantile = float(stats.t.ppf(0.975, main.freedom))
    axis.fill_between(
        reach,
        predicted - quantile * errors,
        predicted + quantile * errors,
        color="#0072b2",
        alpha=0.15,
        linewidth=0,
        label="95 % of measurements",
    )
    axis.semilogx(reach, predicted, color="#0072b2", label=f"predicted, {main.hypothesis.name}")
    epochs = next(one for one in found.fits if one.hypothesis.name == "hot start, epochs")
    axis.semilogx(
        reach,
        epochs.hypothesis.exponents(along, epochs.coordinates),
        color="#d55e00",
        linestyle="--",
        label="the same, batches without replacement",
    )
    runs = dict.fromkeys((cell.learning_rate, cell.batch_size) for cell in PUBLISHED)
    for marker, (rate, batch) in zip("os^D", runs, strict=True):
        cells = [c for c in PUBLISHED if (c.learning_rate, c.batch_size) == (rate, batch)]
        axis.errorbar(
            [cell.reach for cell in cells],
            np.array([cell.exponent for cell in cells]),
            SCATTER,
            color="#222222",
            marker=marker,
            linestyle="none",
            capsize=2,
            label=f"published, η = {rate:g}, S = {batch}",
        )
    axis.axhline(1.0, color="#999999", linewidth=0.8)
    axis.set(xlabel="η/(S(1 − β))", ylabel="exponent c over the second epoch")
    axis.legend(fontsize=7)
    return figure
