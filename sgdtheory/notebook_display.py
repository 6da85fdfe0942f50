"""How records show in a notebook: tables of HTML and equations, with what users wrote escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np
from sympy import Basic, latex
from sympy.matrices import MatrixBase

from sgdtheory.arrays import backend_of, detached, is_named

__all__ = ["ShownAsEquations", "ShownAsTable", "Table", "described", "display_equations"]

# Arrays of up to so many numbers are written out.
_FEW = 4


@dataclass(frozen=True)
class Table:
    """A caption, a head and rows; prints as text, renders as HTML.

    Args:
        caption: in a few words.
        rows: of cells; the first of each names the row.
        head: of the columns; empty for none.

    >>> table = Table("heights", (("Everest", "8849 m"), ("Rigi <Kulm>", "1798 m")))
    >>> print(table)
    heights
      Everest      8849 m
      Rigi <Kulm>  1798 m
    >>> "Rigi &lt;Kulm&gt;" in table.html()
    True
    """

    caption: str
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()

    def html(self) -> str:
        """One table element; nothing in a cell is markup."""
        # Sphinx styles tables of this class, as Jupyter does all.
        lines = ['<table class="dataframe">', f"<caption>{escape(self.caption)}</caption>"]
        if self.head:
            lines.append(f"<thead>{_row(self.head, 'th', len(self.head))}</thead>")
        lines += ["<tbody>", *(_row(row, "th", 1) for row in self.rows), "</tbody>", "</table>"]
        return "\n".join(lines)

    def __str__(self) -> str:
        rows = [row for row in (self.head, *self.rows) if row]
        columns = max(map(len, rows), default=0)
        widths = [
            max((len(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns)
        ]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)) for row in rows)
        return "\n".join([self.caption, *(f"  {line}".rstrip() for line in lines)])


def _row(cells: Iterable[str], first: str, headed: int) -> str:
    parts = []
    for number, cell in enumerate(cells):
        tag = first if number < headed else "td"
        parts.append(f"<{tag}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(parts)}</tr>"


class ShownAsTable:
    """Of records of numbers: in a notebook every field is a row, unless `tables` says otherwise."""

    def tables(self) -> tuple[Table, ...]:
        """What a notebook shows; print one for plain text."""
        return (Table(type(self).__name__, _fields(self)),)

    def _repr_html_(self) -> str:
        return "\n".join(table.html() for table in self.tables())


def _fields(record: Any) -> tuple[tuple[str, str], ...]:
    shown = (field.name for field in fields(record) if field.repr)
    return tuple((name.replace("_", " "), described(getattr(record, name))) for name in shown)


def described(value: Any) -> str:
    """A value in one cell.

    >>> described(0.1), described(np.arange(100.0)), described({"a": 1.0}), described(None)
    ('0.1', '100 numbers, 0 to 99', 'a = 1', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, str | bool | Basic | MatrixBase):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {described(entry)}" for key, entry in value.items()) or "–"
    if isinstance(value, tuple | list) and not all(isinstance(x, int | float) for x in value):
        return ", ".join(map(described, value))
    if is_dataclass(value) or callable(value):
        return getattr(value, "name", None) or repr(value)
    return _numbers(value)


def _numbers(value: Any) -> str:
    array = np.asarray(value if is_named(value) else detached(value))
    if array.dtype.kind not in "iufb":
        return f"{array.size} values" if array.ndim else str(value)
    if array.size <= _FEW and array.ndim < 2:
        return ", ".join(f"{x:.6g}" for x in np.ravel(array).tolist()) or "–"
    size = str(array.size) if array.ndim == 1 else " × ".join(map(str, array.shape))
    kind = "numbers" if backend_of([value]) == "numpy" else "numbers (torch)"
    return f"{size} {kind}, {array.min():.6g} to {array.max():.6g}"


class ShownAsEquations:
    """Of records of expressions: in a notebook every field that is one, beside its name."""

    def _repr_latex_(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}  # type: ignore[arg-type]
        return display_equations(
            {name: v for name, v in values.items() if isinstance(v, Basic | MatrixBase)}
        )


def display_equations(expressions: Mapping[str, Any]) -> str:
    r"""Expressions under one another, each behind its name.

    Args:
        expressions: by name; names are words of this package's, not a user's.

    >>> from sgdtheory import symbols as s
    >>> display_equations({"slow_rate": s.eta / s.S})
    '$$\n\\begin{aligned}\n\\text{slow rate} &= \\frac{\\eta}{S}\n\\end{aligned}\n$$'
    """
    lines = (rf"\text{{{n.replace('_', ' ')}}} &= {latex(x)}" for n, x in expressions.items())
    body = " \\\\\n".join(lines)
    return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"
