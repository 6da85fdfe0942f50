"""Columns of numbers and words, as text in line, CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

import numpy as np

__all__ = ["aligned", "as_csv", "as_json", "as_text"]

Columns = Mapping[str, Sequence[Any]]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words, each column as wide as its widest.

    >>> print(aligned([["step", "moved"], ["1", "0.25"]]))
    step  moved
       1   0.25
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(lines)


def as_text(columns: Columns) -> str:
    """Six digits of every number.

    Args:
        columns: by name, of one length.
    """
    rows = zip(*columns.values(), strict=True)
    return aligned([list(columns), *([_short(entry) for entry in row] for row in rows)])


def as_csv(columns: Columns) -> str:
    r"""Every digit; names in the first line.

    Args:
        columns: by name, of one length.

    >>> as_csv({"step": [1], "moved": [0.1]})
    'step,moved\n1,0.1\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [_plain(entry) for entry in row] for row in zip(*columns.values(), strict=True)
    )
    return text.getvalue()


def as_json(columns: Columns, **about: Any) -> str:
    r"""Every digit, a list a column; null for what is infinite or does not exist.

    Args:
        columns: by name, of one length.
        about: further entries, in front.

    >>> as_json({"steps": [float("inf")]}, rule="Nesterov").replace("\n", "")
    '{  "rule": "Nesterov",  "columns": {    "steps": [      null    ]  }}'
    """
    lists = {
        name: [_existing(_plain(entry)) for entry in column] for name, column in columns.items()
    }
    return dumps({**about, "columns": lists}, indent=2, allow_nan=False, ensure_ascii=False)


def _plain(entry: Any) -> Any:
    """A number or a word of Python's own; whole numbers as such."""
    if isinstance(entry, str):
        return str(entry)
    return int(entry) if float(entry).is_integer() and abs(entry) < 2**53 else float(entry)


def _existing(entry: Any) -> Any:
    return entry if isinstance(entry, str) or np.isfinite(entry) else None


def _short(entry: Any) -> str:
    plain = _plain(entry)
    return f"{plain:.6g}" if isinstance(plain, float) else str(plain)
