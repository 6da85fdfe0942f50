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
        error: of that mean: settings have batches and label errors of their own, and share what
            the predictions rest on.
        z: of that mean.
        largest: the deviation that is largest in size.
        largest_z: the largest |z| of one setting.
        holds: whether neither passes the bound of the whole table.
    """

    chance: str
    quantity: str
    settings: int
    deviation: float
    error: float
    z: float
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
        error = _error(group)
        z = float(away.mean()) / error if error else float("nan")
        largest_z = float(np.max(np.abs([row.z for row in group])))
        found.append(
            Verdict(
                chance,
                quantity,
                len(group),
                float(away.mean()),
                error,
                z,
                float(away[np.abs(away).argmax()]),
                largest_z,
                bool(max(largest_z, abs(z)) <= bound),
            )
        )
    return tuple(found)


def _error(group: Sequence[Row]) -> float:
    """Of the mean over settings: chance is each one's own, the prediction's error is one."""
    error, shared = np.array([(row.error, row.prediction_error) for row in group]).T
    return float(np.hypot(np.sqrt((error**2 - shared**2).sum()) / len(group), shared.mean()))
