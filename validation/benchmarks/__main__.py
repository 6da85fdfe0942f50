"""Command line: `python -m validation.benchmarks`; one run, one table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import tyro

from validation.benchmarks import table
from validation.benchmarks.table import Row

PARTS = ("displacement", "start", "ensembles", "compression", "recording")


def _rows(part: str, *sizes: int) -> list[Row]:
    try:
        measure: Callable[..., list[Row]] = import_module(f"validation.benchmarks.{part}").measure
    except ImportError as error:
        return [Row(part, "all", note=str(error))]
    return measure(*sizes)


def benchmark(
    modes: int = 10**6,
    eigenvalues: int = 11_700_000,
    repeats: int = 9,
    parts: tuple[str, ...] = PARTS,
    output: Path = Path("docs/benchmarks"),
) -> None:
    """Time this package beside others, print one table and write it for the documentation.

    Args:
        modes: whose displacement is summed.
        eigenvalues: that are compressed.
        repeats: how often everything is timed; ratios are medians, with the lowest and highest.
        parts: of the table, some of displacement, start, ensembles, compression, recording.
        output: folder for table.csv and machine.md.
    """
    if unknown := set(parts) - set(PARTS):
        raise ValueError(f"parts = {sorted(unknown)}: give some of {', '.join(PARTS)}.")
    sizes = {"displacement": (modes, repeats), "compression": (eigenvalues, repeats)}
    rows = [row for part in parts for row in _rows(part, *sizes.get(part, (repeats,)))]
    about = f"{datetime.now(UTC):%d %B %Y}; {modes:,} modes, {repeats} turns. {table.machine()}"
    print("\n".join(table.lines(rows)))
    print(f"\n{about}\nwritten to {table.write(rows, about, output)}")


if __name__ == "__main__":
    tyro.cli(benchmark, prog="python -m validation.benchmarks")
