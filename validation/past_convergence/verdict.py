"""What holds: every predicted quantity over all settings whose noise comes from the same chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from validation.past_convergence.comparison import Row

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True)
class Verdict:
    """One quantity.

    Args:
        chance: sampler and source of the noise.
        quantity: what was compared.
        settings: how many.
        deviation: mean over settings, of measured/predicted − 1 or measured − predicted.
        error: of that mean, taken to be that of one setting: all settings of a seed share their
            start, their batches and their label errors, and fluctuate together.
        largest: the deviation that is largest in size.
        largest_z: the largest |z|. Of exponents three seeds cannot pass a bound of 4: their errors
            rest on two degrees of freedom, and what "holds" is then not refuted, no more.
        holds: whether it does not pass the bound of the whole table.
    """

    chance: str
    quantity: str
    settings: int
    deviation: float
    error: float
    largest: float
    largest_z: float
    holds: bool


def verdicts(rows: Sequence[Row], bound: float) -> tuple[Verdict, ...]:
    """One for each quantity of each source of noise, of records that were stationary.

    Args:
        rows: of all settings.
        bound: the |z| that is allowed.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.stationary:
            groups.setdefault((row.chance, row.quantity), []).append(row)
    found = []
    for (chance, quantity), group in groups.items():
        away = np.array([row.deviation for row in group])
        error = float(np.mean([row.error for row in group]))
        z = max(abs(row.z) for row in group)
        found.append(
            Verdict(
                chance,
                quantity,
                len(group),
                float(away.mean()),
                error,
                float(away[np.abs(away).argmax()]),
                z,
                z <= bound,
            )
        )
    return tuple(found)
