"""What lies in the folder of all runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from validation.durable_files import read_sealed

__all__ = ["listed"]


def listed(root: Path) -> list[str]:
    """One line a run: folder, seed, state, when it was last written to; damaged ones say so."""
    folders = sorted(path.parent for path in root.rglob("experiment.json"))
    if not folders:
        return [f"No run in {root.resolve()}."]
    names = [str(folder.relative_to(root)) for folder in folders]
    width = max(map(len, names))
    return [
        f"{name:<{width}}  {_state(folder):<12}  {_written(folder):%Y-%m-%d %H:%M:%S}"
        for name, folder in zip(names, folders, strict=True)
    ]


def _state(folder: Path) -> str:
    marks = [folder / name for name in ("experiment.json", "complete.json")]
    try:
        for mark in marks:
            if mark.exists():
                read_sealed(mark, "")
    except ValueError:
        return "damaged"
    return "complete" if marks[1].exists() else "begun"


def _written(folder: Path) -> datetime:
    newest = max(path.stat().st_mtime for path in folder.iterdir())
    return datetime.fromtimestamp(newest).astimezone()
