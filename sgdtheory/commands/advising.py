"""`sgdtheory advise`: what a run's settings and spectrum make of it, in words."""

from __future__ import annotations

from json import dumps
from pathlib import Path

import sgdtheory as sgd
from sgdtheory.commands.pictures import save_picture
from sgdtheory.commands.settings import Settings

__all__ = ["advise"]


def advise(
    settings: Settings, steps: int | None = None, plot: Path | None = None, json: bool = False
) -> None:
    """Say what a run's settings and spectrum make of it, and which assumption is weakest.

    Example: sgdtheory advise --learning-rate 0.1 --momentum 0.9 --batch-size 128 --dataset-size
    50000 --sampling epochs --steps 10000 --spectrum spectrum.npz --plot advice.png

    Args:
        settings: the run.
        steps: the run's length in updates; by default until 63 % of the final displacement, which
            steep directions may reach long before flat ones have moved.
        plot: picture to write, as advice.png.
        json: print numbers as JSON; null is what does not exist or is infinite.
    """
    advice = sgd.advise(
        settings.hyperparameters,
        settings.read_spectrum(),
        **settings.optimiser(),
        steps=steps,
        start=settings.start,
    )
    if plot is not None:
        save_picture(lambda: sgd.plot_advice(advice)[0].figure, plot)
    print(dumps(advice.as_dict(), indent=2, allow_nan=False) if json else advice)
