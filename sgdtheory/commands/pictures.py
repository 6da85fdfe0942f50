"""Pictures that a command writes to a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["save_picture"]


def save_picture(draw: Callable[[], Any], path: Path) -> None:
    """Write a figure in the format that the file's name ends in.

    Args:
        draw: makes the matplotlib Figure.
        path: of the file.

    Raises:
        OSError: for a file that cannot be written.
        ValueError: for a format that matplotlib does not write.
    """
    # A picture in a file needs no display.
    os.environ.setdefault("MPLBACKEND", "Agg")
    draw().savefig(path, dpi=150)
