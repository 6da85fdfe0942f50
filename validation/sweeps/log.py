"""The log of a sweep: a line a cell that ended, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["LOG", "CellEnd", "begin_log", "log_end", "read_log"]

LOG = "sweep.jsonl"


@dataclass(frozen=True)
class CellEnd:
    """One line of the log: how a cell ended.

    Args:
        cell: its folder.
        status: "done"; "failed", it raised too often; "lost", its workers died too often.
        attempts: how often it was begun, lost workers included.
        seconds: that the last attempt took.
        worker: host and process of the last attempt; empty where that died.
    """

    cell: str
    status: str
    attempts: int
    seconds: float
    worker: str


def read_log(root: Path) -> tuple[CellEnd, ...]:
    """How cells ended, in that order; a line that a kill has torn is left out."""
    path = root / LOG
    return tuple(_whole_lines(path.read_text(errors="replace"))) if path.exists() else ()


def _whole_lines(text: str) -> Iterator[CellEnd]:
    for line in text.splitlines():
        try:
            yield CellEnd(**json.loads(line))
        except (ValueError, TypeError):
            continue


def log_end(root: Path, end: CellEnd) -> None:
    """One more line."""
    _append(root / LOG, json.dumps(asdict(end)) + "\n")


def begin_log(root: Path) -> None:
    """A torn last line is ended, so that it does not swallow the next."""
    path = root / LOG
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    _append(path, "\n" if torn else "")


def _append(path: Path, text: str) -> None:
    """In one write, on the disk when this returns."""
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(opened, text.encode())
        os.fsync(opened)
    finally:
        os.close(opened)
