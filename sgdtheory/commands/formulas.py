"""A derived result, and the steps to it, as text, LaTeX or Markdown."""

from __future__ import annotations

from sympy import latex

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.commands.derived_results import Derived
from sgdtheory.commands.tables import aligned

__all__ = ["FORMATS", "written"]

FORMATS = ("text", "latex", "markdown")


def written(answer: Derived, form: str, *, steps: bool = False) -> str:
    r"""A result in one of `FORMATS`.

    Args:
        answer: value and derivation.
        form: of the writing.
        steps: whether the derivation is written, which ends with the value.

    >>> written(Derived(s.eta**2 / s.S, sgd.Derivation()), "latex")
    '\\frac{\\eta^{2}}{S}'
    """
    value, derivation = answer
    told = _told(derivation, form) if steps else ""
    if isinstance(value, sgd.ScalingTable):
        return f"{told}\n\n{_table(value, form)}" if steps else _table(value, form)
    if steps:
        return told
    if form == "text":
        return str(value)
    return latex(value) if form == "latex" else f"$$\n{latex(value)}\n$$"


def _told(derivation: sgd.Derivation, form: str) -> str:
    if form == "text":
        return str(derivation)
    return derivation.latex() if form == "latex" else derivation.markdown()


def _table(table: sgd.ScalingTable, form: str) -> str:
    if form == "markdown":
        return table.markdown()
    write = latex if form == "latex" else str
    settings = (s.eta, 1 - s.beta, s.S, s.h, s.lamda)
    rows = [
        [write(entry) for entry in (law.leading, *(law.exponents.get(x, 0) for x in settings))]
        for law in table.laws
    ]
    names = [law.name.replace("_", " ") for law in table.laws]
    head = ["observable", "leading order", *map(write, settings)]
    if form == "text":
        return aligned([head, *([name, *row] for name, row in zip(names, rows, strict=True))])
    first = " & ".join([*head[:2], *(f"${x}$" for x in head[2:])])
    lines = [
        " & ".join([name, *(f"${entry}$" for entry in row)])
        for name, row in zip(names, rows, strict=True)
    ]
    inner = " \\\\\n".join([first, *lines])
    return f"\\begin{{tabular}}{{l{'c' * len(rows[0])}}}\n{inner}\n\\end{{tabular}}"
