"""Sums of responses at many times for arrays of modes, with NumPy or torch."""

from __future__ import annotations

from functools import reduce
from typing import Any

from sgdtheory.lowering.addition_chains import AdditionChain
from sgdtheory.lowering.responses import (
    Mode,
    after_one_update,
    after_short_time,
    compose_responses,
    counted,
    square_response,
)
from sgdtheory.lowering.scalar_modes import doublings

__all__ = ["totals"]


def _largest(values: Any) -> float:
    """Largest size, a plain number without a gradient."""
    plain = values.detach() if hasattr(values, "detach") else values
    return float(abs(plain).max())


def _after_one_unit(row: Any, discrete: bool, library: Any) -> Mode:
    a, b, c, d, *mirrored = row
    if discrete:
        return after_one_update(a, b, c, d, mirrored, library.where)
    halvings = doublings(1.0, _largest(a), _largest(b))
    u, r, stiffness, *coefficients = after_short_time(2.0**-halvings, a, b, c, d)
    for _ in range(halvings):
        u, r = square_response((u, r), stiffness)
    return (u, r, stiffness, *coefficients)


def totals(chain: AdditionChain, row: Any, discrete: bool, library: Any) -> Any:
    """Sums over the modes, (settings, exponents).

    Args:
        chain: the plan.
        row: what `LoweredTotal.coefficients` holds, each (settings, modes).
        discrete: whether the clock counts updates.
        library: numpy or torch.
    """
    u, r, stiffness, c, d, sign, constant = _after_one_unit(row, discrete, library)
    table = [(u, r)]
    for left, right in chain.products:
        table.append(compose_responses(table[left], table[right], stiffness))
    sums: dict[int, Any] = {}
    for run in chain.runs:
        factors = [table[entry] for entry in run.factors]
        u, r = reduce(lambda product, entry: compose_responses(product, entry, stiffness), factors)
        even = c * u + d * r
        value = counted(u, r, c, d, sign, constant) if run.odd else even
        sums[run.places[0]] = value.sum(-1)
        for place in run.places[1:]:
            u, r = square_response((u, r), stiffness)
            if place >= 0:
                sums[place] = (c * u + d * r).sum(-1)
    return library.stack([sums[place] for place in range(len(chain.exponents))], -1)
