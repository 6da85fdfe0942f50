"""Command line: `python -m validation linear` and `python -m validation published`."""

from __future__ import annotations

from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from validation import report
from validation.linear import Effort, linear_subjects, planned_updates, run
from validation.published import report as published_report

EFFORT = Effort()


def linear(
    output: Path = Path("reports/linear"),
    effort: Effort = EFFORT,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Train linear regression on two real data sets and compare it with both theories.

    Args:
        output: folder for index.html, rows.json, rows.csv and the pictures.
        effort: how much is trained.
        seed: of all batches.
        device: where to train; any torch device.
    """
    # The updates are too small to share; waiting threads would only slow their neighbours down.
    torch.set_num_threads(1)
    subjects = linear_subjects()
    total = planned_updates(subjects, effort)
    with tqdm(total=total, unit="update", smoothing=0.05, mininterval=0.5) as bar:
        experiments = []
        for subject in subjects:
            bar.set_description(subject.problem.name)
            experiments.append(run(subject, effort, seed=seed, device=device, progress=bar.update))
    path = report.write(experiments, effort, seed, output)
    tqdm.write("\n".join(report.lines(experiments)))
    tqdm.write(f"report: {path.resolve()}")


def published(output: Path = Path("reports/published")) -> None:
    """Fit published exponents of a real network, and predict those of other settings.

    Args:
        output: folder for hypotheses.csv, cells.csv, predictions.csv and exponents.png.
    """
    found = published_report.findings()
    published_report.write(found, output)
    tqdm.write("\n".join(published_report.lines(found)))
    tqdm.write(f"tables and picture: {output.resolve()}")


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"linear": linear, "published": published}, prog="python -m validation"
    )
