"""What a worker does: one attempt at one cell, whose folder says in the end that it is complete."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from validation.durable_files import read_sealed
from validation.experiments import Cell
from validation.sweeps.log import LOG

__all__ = ["Attempt", "Work", "is_complete", "perform_once"]

Work: TypeAlias = Callable[[Cell, Path, str], Path]
"""Performs a cell, called with it, its folder and the device."""

MARK = "complete.json"


def is_complete(folder: Path) -> bool:
    """Whether a run's folder is marked complete, by a mark that is whole."""
    try:
        read_sealed(folder / MARK, "Perform the cell again.")
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Attempt:
    """How one call of the work went.

    Args:
        worker: host and process.
        seconds: that it took.
        error: traceback of what it raised, if it did.
    """

    worker: str
    seconds: float
    error: str | None


def perform_once(work: Work, cell: Cell, name: str, root: Path, device: str) -> Attempt:
    """Perform a cell once; an exception travels as text, since not every one can be pickled."""
    begun, error = time.perf_counter(), None
    try:
        _require_root(root)
        _set_damaged_mark_aside(root / name)
        work(cell, root / name, device)
        _require_mark(root / name)
    except Exception:
        error = traceback.format_exc()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return Attempt(worker, time.perf_counter() - begun, error)


def _require_root(root: Path) -> None:
    if not (root / LOG).exists():
        raise FileNotFoundError(
            f"{root / LOG} is not there, as seen from {socket.gethostname()}, although the sweep "
            "wrote it. The folder of a sweep must lie on storage that every worker shares, under "
            "the same path: choose such a folder."
        )


def _set_damaged_mark_aside(folder: Path) -> None:
    """The run then looks at what it has, and marks it anew."""
    mark = folder / MARK
    if mark.exists() and not is_complete(folder):
        mark.replace(mark.with_name(f"{MARK}.damaged"))


def _require_mark(folder: Path) -> None:
    if not is_complete(folder):
        raise RuntimeError(
            f"The run ended, but {folder / MARK} does not say so: a later sweep would repeat it. "
            "A function that performs cells must write this file last, with "
            "validation.durable_files.write_sealed."
        )
