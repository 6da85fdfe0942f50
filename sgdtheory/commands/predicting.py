"""`sgdtheory predict`: numbers of a run, as a table or a picture."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import tyro

import sgdtheory as sgd
from sgdtheory.commands.pictures import draw_columns, save_picture
from sgdtheory.commands.predicted_tables import TABLES, Asked
from sgdtheory.commands.settings import Settings
from sgdtheory.commands.step_counts import read_steps
from sgdtheory.commands.tables import as_csv, as_json, as_text

__all__ = ["predict"]


@tyro.conf.configure(tyro.conf.DisallowNone)
def predict(
    settings: Settings,
    of: Literal[
        "displacement", "exponent", "parts", "variances", "mean", "covariance", "autocovariance"
    ] = "displacement",
    steps: str = "1:100000:26",
    format: Literal["text", "csv", "json"] = "text",
    output: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Predict a run: a line an update count, or a line a direction of its spectrum.

    Example: sgdtheory predict --learning-rate 0.1 --momentum 0.9 --batch-size 128 --spectrum
    spectrum.npz --steps 1:100000:50 --plot displacement.png

    Example: sgdtheory predict --learning-rate 0.1 --batch-size 128 --spectrum spectrum.npz
    --of variances --format csv --output variances.csv

    Args:
        settings: the run.
        of: displacement with its local exponent; exponent of a line that is fitted to the steps in
            doubly logarithmic axes; parts: drift, relaxation and noise; stationary variances of
            every direction; mean, covariance from a fixed start, or stationary autocovariance of
            every direction and step.
        steps: update counts, as 1,10,100 or start:stop:count in geometric progression.
        format: text has six digits, the others all; null in JSON is what does not exist or is
            infinite.
        output: file to write.
        plot: picture to write, as displacement.png; of displacement, parts or variances.
    """
    try:
        columns = TABLES[of](Asked(settings, read_steps(steps)))
    except sgd.UnstableError as error:
        raise ValueError(
            f"{error} Here these are --of mean, --of covariance and --start minimum."
        ) from error
    _note_sampling(settings)
    if plot is not None:
        save_picture(lambda: draw_columns(of, columns), plot)
    if format == "json":
        text = f"{as_json(columns, of=of, settings=_told(settings))}\n"
    else:
        text = as_csv(columns) if format == "csv" else f"{as_text(columns)}\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def _note_sampling(settings: Settings) -> None:
    """Say on standard error what a size of the data set does not decide."""
    if settings.dataset_size is not None and settings.sampling == "with_replacement":
        print(
            "sgdtheory: batches are drawn with replacement. --sampling epochs is that of a "
            "shuffling data loader.",
            file=sys.stderr,
        )


def _told(settings: Settings) -> dict[str, Any]:
    """The options that were given, or have a value by default."""
    told = {name: value for name, value in asdict(settings).items() if value is not None}
    return {**told, "spectrum": str(settings.spectrum)}
