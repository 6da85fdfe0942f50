"""Rows of the benchmark's table: figures, ratios, goals; printed and written, nothing measured."""

from __future__ import annotations

import csv
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from validation.benchmarks.timing import Spread, Timing, processors

__all__ = ["Row", "Target", "lines", "machine", "write"]

HEADER = ("part", "what", "figure", "unit", "ratio", "lowest", "highest", "goal", "result")
_LIBRARIES = ("numpy", "scipy", "sympy", "numba", "torch")
_VECTORS = ("avx512f", "avx2", "avx", "sse2")


@dataclass(frozen=True)
class Target:
    """A goal: a limit, and its side."""

    limit: float
    at_most: bool = True

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}"

    def verdict(self, value: float) -> str:
        """Whether a value reaches it, and else by how much it does not."""
        excess = value / self.limit if self.at_most else self.limit / value
        # A value that is no number misses.
        return "met" if excess <= 1 else f"missed by a factor of {excess:.3g}"


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        part: of the benchmark.
        what: contender, or which two contenders a ratio is of.
        figure: measured, median over the turns.
        unit: of the figure.
        ratio: over the part's reference, or of the two; the goal is its, if there is one.
        target: the goal.
        note: why there is no figure.
    """

    part: str
    what: str
    figure: float | None = None
    unit: str = ""
    ratio: Spread | None = None
    target: Target | None = None
    note: str = ""

    @classmethod
    def of(cls, part: str, timing: Timing, unit: str, target: Target | None = None) -> Row:
        """A contender's time per unit, with a goal for its ratio, which falls with that."""
        figure, ratio = Spread.of(timing.seconds).median, timing.ratio
        return cls(part, timing.name, figure, unit, ratio, None if ratio is None else target)

    @property
    def result(self) -> str:
        """The verdict on the median, or the note."""
        value = self.figure if self.ratio is None else self.ratio.median
        if self.target is None or value is None:
            return self.note
        return self.target.verdict(value)

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, one for each title of the header."""
        ratio = self.ratio
        spread = () if ratio is None else (ratio.median, ratio.lowest, ratio.highest)
        return (
            self.part,
            self.what,
            "" if self.figure is None else _short(self.figure),
            self.unit,
            *(map(_short, spread) if spread else ("", "", "")),
            "" if self.target is None else str(self.target),
            self.result,
        )


def _short(value: float) -> str:
    """Three digits; large numbers as they are written."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def lines(rows: Sequence[Row]) -> list[str]:
    """The table as text."""
    table = [HEADER, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = (2, 4, 5, 6)
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]


def machine() -> str:
    """Processor, system, versions."""
    found, name = "", platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        fields = dict(
            line.split(":", 1) for line in information.read_text().splitlines() if ":" in line
        )
        known = {key.strip(): value.strip() for key, value in fields.items()}
        name = known.get("model name", name)
        flags = known.get("flags", "").split()
        found = next((flag.upper() for flag in _VECTORS if flag in flags), "")
    versions = [f"Python {platform.python_version()}"]
    for library in _LIBRARIES:
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            versions.append(f"no {library}")
    if compiler := shutil.which("g++"):
        asked = [compiler, "-dumpfullversion"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)  # noqa: S603
        versions.append(f"g++ {done.stdout.strip()}")
    processor = f"{name}, {len(processors())} processors{found and f', {found}'}"
    return f"{processor}; {platform.system()}; {', '.join(versions)}."


def write(rows: Sequence[Row], about: str, folder: Path) -> Path:
    """Writes table.csv, and what was measured where as machine.md; returns the table's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(row.cells for row in rows)
    (folder / "machine.md").write_text(f"{about}\n", encoding="utf-8")
    return path
