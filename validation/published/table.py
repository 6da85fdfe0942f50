r"""The published exponents, and the runs that they come from. Facts only.

Source:
    Kunin et al., arXiv 2107.09133, Sec. 5 and its public notebooks: ResNet-18 on ImageNet, from
    pretrained weights, weight decay 1e-4, two epochs; c of |Δ|² ∝ k^c is fitted over the second.
    The weights are those of torchvision, whose recipe for this network is public, too: 90 epochs
    with momentum 0.9 and batches of 256, at a learning rate of 0.1 that falls tenfold after every
    30.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from validation.data import Array

__all__ = [
    "EXAMPLES",
    "GRID",
    "PRETRAINING",
    "PUBLISHED",
    "SCATTER",
    "SCATTER_FREEDOM",
    "Cell",
    "scatter",
]

EXAMPLES = 1_281_167
WEIGHT_DECAY = 1e-4
EPOCHS = 2
# A window of many thousand updates is fitted at this many, evenly spaced: every update has its
# weight, as in a fit of all of them.
_FITTED = 60


@dataclass(frozen=True)
class Cell:
    """One run: its settings, and the exponent that was published, if any."""

    learning_rate: float
    batch_size: int
    momentum: float
    exponent: float | None = None

    @property
    def updates(self) -> int:
        """Of the whole run."""
        return EPOCHS * EXAMPLES // self.batch_size

    @property
    def window(self) -> Array:
        """Update counts of the fit: the second half of the run."""
        last = self.updates
        return np.unique(np.linspace(last // 2, last, _FITTED).round())

    @property
    def reach(self) -> float:
        """η/(S(1 − β)): with a fixed number of examples both time and temperature go as it."""
        return self.learning_rate / (self.batch_size * (1 - self.momentum))


MOMENTA = (0.8, 0.9, 0.99)
PUBLISHED = tuple(
    Cell(rate, batch, momentum, exponent)
    for rate, batch, row in (
        (1e-5, 256, (1.453, 1.326, 1.000)),
        (1e-4, 256, (1.054, 0.987, 0.915)),
        (1e-4, 512, (1.177, 1.063, 0.958)),
        (1e-3, 256, (0.924, 0.895, 0.627)),
    )
    for momentum, exponent in zip(MOMENTA, row, strict=True)
)
GRID = tuple(
    Cell(rate, batch, momentum)
    for rate, batch, momentum in product((1e-5, 1e-4, 1e-3), (128, 256, 512), MOMENTA)
)
# (learning rate, updates) of the pretraining's stages.
PRETRAINING = tuple((rate, 30 * EXAMPLES // 256) for rate in (0.1, 0.01, 0.001))


def scatter(cells: tuple[Cell, ...]) -> tuple[float, int]:
    """Standard deviation of a published exponent, and its degrees of freedom, without a model.

    Cells of equal η/(S(1 − β)) measure the same number if only the displacement's two scales, time
    and temperature, matter: what they differ by is the scatter.
    """
    groups: dict[str, list[float]] = {}
    for cell in cells:
        if cell.exponent is not None:
            groups.setdefault(f"{cell.reach:.6e}", []).append(cell.exponent)
    squares = sum(float(np.var(group)) * len(group) for group in groups.values())
    freedom = sum(len(group) - 1 for group in groups.values())
    return float(np.sqrt(squares / freedom)), freedom


SCATTER, SCATTER_FREEDOM = scatter(PUBLISHED)
