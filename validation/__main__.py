"""Command line: `python -m validation run|sweep|compare|report|list|curvature|linear|published`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

from validation import report as linear_report
from validation.engines import perform
from validation.experiments import Cell, cells, find_experiment, read_experiment
from validation.linear import Effort, linear_subjects, planned_updates
from validation.linear import run as run_linear
from validation.measured_curvature import measure_curvature
from validation.past_convergence import report as staged_report
from validation.past_convergence.findings import findings
from validation.past_convergence.staged_runs import run_staged
from validation.published import report as published_report
from validation.referee import report as referee_report
from validation.referee.judgement import Judgement, judge
from validation.run_list import listed
from validation.staged_experiments import Effort as CurvatureEffort
from validation.staged_experiments import StagedExperiment, is_staged, read_staged
from validation.sweeps import SweepOutcome, spawned_pool
from validation.sweeps import sweep as run_sweep

EFFORT, CURVATURE_EFFORT = Effort(), CurvatureEffort()
RUNS = Path("runs")


def run(
    file: tyro.conf.Positional[str],
    root: Path = RUNS,
    device: str = "cpu",
    workers: int | None = None,
    output: Path = Path("reports"),
) -> None:
    """Perform an experiment, once for each of its seeds, or go on where it was killed.

    Points and sweep of the file are left aside: see `sweep`. An experiment in stages is prepared,
    predicted, recorded and compared, and its report is written.

    Args:
        file: an experiment's TOML file, or the name of one in the folder experiments.
        root: folder of all runs.
        device: any torch device.
        workers: processes for an experiment in stages; one a core by default.
        output: folder of the reports of experiments in stages.
    """
    path = find_experiment(file)
    if is_staged(path):
        _run_staged(read_staged(path), root, device, workers, output)
        return
    experiment = read_experiment(path)
    one = experiment.record.burn_in + experiment.record.updates
    with tqdm(total=one * len(experiment.seeds), unit="update", smoothing=0.05) as bar:
        for seed in experiment.seeds:
            cell = Cell(experiment, seed)
            bar.set_description(cell.folder)
            perform(cell, root / cell.folder, device, bar.update)
    tqdm.write(
        "\n".join(
            str((root / Cell(experiment, seed).folder).resolve()) for seed in experiment.seeds
        )
    )


def _run_staged(
    staged: StagedExperiment, root: Path, device: str, workers: int | None, output: Path
) -> None:
    with spawned_pool(workers) as executor:
        outcome = run_staged(staged, root, executor, device)
    _end_of(outcome)
    _report_staged(staged, root, output)


def _report_staged(staged: StagedExperiment, root: Path, output: Path) -> None:
    found = findings(staged, root)
    path = staged_report.write(found, output / staged.name)
    tqdm.write("\n".join(staged_report.lines(found)))
    tqdm.write(f"report: {path.resolve()}")


def sweep(
    file: tyro.conf.Positional[str],
    root: Path = RUNS,
    device: str = "cpu",
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Perform every cell of a file that is not complete, on all cores or on a cluster.

    Args:
        file: an experiment's TOML file, or the name of one in the folder experiments.
        root: folder of all runs, which all workers share.
        device: any torch device.
        workers: processes on this machine; one a core by default.
        scheduler: address of a Dask scheduler, tcp://host:8786, instead.
    """
    with _executor(workers, scheduler) as executor:
        outcome = run_sweep(
            cells(find_experiment(file)), perform, root, executor=executor, device=device
        )
    _end_of(outcome)


def _end_of(outcome: SweepOutcome) -> None:
    tqdm.write(
        f"{len(outcome.done)} cells done, {len(outcome.skipped)} complete before, "
        f"{len(outcome.failed)} failed."
    )
    for failure in outcome.failed:
        tqdm.write(f"{failure.cell}: {failure.tracebacks[-1].strip().splitlines()[-1]}")
    if outcome.failed:
        sys.exit(1)


def _executor(workers: int | None, scheduler: str | None) -> AbstractContextManager[Executor]:
    if scheduler is None:
        return spawned_pool(workers)
    # Only a cluster's user waits for this import.
    from distributed import Client

    return nullcontext(Client(scheduler).get_executor(pure=False))


def _in_stages(files: tuple[str, ...]) -> tuple[list[StagedExperiment], tuple[str, ...]]:
    """Those of experiments in stages, and the other files."""
    paths = {file: find_experiment(file) for file in files}
    staged = {file for file, path in paths.items() if is_staged(path)}
    others = tuple(file for file in files if file not in staged)
    return [read_staged(paths[file]) for file in files if file in staged], others


def _judged(files: tuple[str, ...], root: Path) -> Judgement:
    declared = [cell for file in files for cell in cells(find_experiment(file))]
    with tqdm(total=len(declared), unit="cell") as bar:
        return judge(declared, root, bar.update)


def compare(files: tyro.conf.Positional[tuple[str, ...]], root: Path = RUNS) -> None:
    """Print which theories hold, for every sampler and observable of the cells that are complete.

    Of experiments in stages: every predicted number beside the measured one.

    Args:
        files: experiments' TOML files, or names of some in the folder experiments.
        root: folder of all runs.
    """
    staged, others = _in_stages(files)
    for one in staged:
        tqdm.write("\n".join(staged_report.lines(findings(one, root))))
    if others:
        tqdm.write("\n".join(referee_report.lines(_judged(others, root))))


def report(
    files: tyro.conf.Positional[tuple[str, ...]],
    root: Path = RUNS,
    output: Path = Path("reports/referee"),
) -> None:
    """Write the referee's table with pictures: index.html, verdicts.csv, rows.csv.

    Experiments in stages have a page of their own, in a folder of their name beside the output.

    Args:
        files: experiments' TOML files, or names of some in the folder experiments.
        root: folder of all runs.
        output: folder of the report.
    """
    staged, others = _in_stages(files)
    for one in staged:
        _report_staged(one, root, output.parent)
    if not others:
        return
    judgement = _judged(others, root)
    path = referee_report.write(judgement, output)
    tqdm.write("\n".join(referee_report.lines(judgement)))
    tqdm.write(f"report: {path.resolve()}")


def list_runs(root: Path = RUNS) -> None:
    """List all runs: whose they are, how far they are, when they were last written to.

    Args:
        root: folder of all runs.
    """
    tqdm.write("\n".join(listed(root)))


def curvature(
    file: tyro.conf.Positional[str],
    root: Path = RUNS,
    seed: int | None = None,
    output: Path | None = None,
    effort: CurvatureEffort = CURVATURE_EFFORT,
    device: str = "cpu",
) -> None:
    """Measure eigenpairs, trace, density and gradient noise where a complete run has ended.

    Args:
        file: an experiment's TOML file, or the name of one in the folder experiments.
        root: folder of all runs.
        seed: of the run; by default the experiment's first.
        output: folder of weights, directions and spectrum; by default the run's own.
        effort: how much is measured.
        device: any torch device.
    """
    experiment = read_experiment(find_experiment(file))
    cell = Cell(experiment, experiment.seeds[0] if seed is None else seed)
    folder = root / cell.folder
    target = folder / "curvature" if output is None else output
    found = measure_curvature(experiment, cell.seed, folder, target, effort=effort, device=device)
    pairs = zip(found["eigenvalues"], found["residuals"], found["noise_along"], strict=True)
    tqdm.write("eigenvalue  residual  noise along it, one example")
    tqdm.write(
        "\n".join(f"{value:10.4g}  {left:8.1e}  {noise:.4g}" for value, left, noise in pairs)
    )
    tqdm.write(f"trace {found['trace']:.5g} ± {found['trace_error']:.2g}")
    fresh = experiment.data.label_noise
    aside = f"; label noise adds {fresh:g}²H" if fresh else ""
    tqdm.write(f"noise of one example, all directions: {found['noise_total']:.5g}{aside}")
    tqdm.write(str(target.resolve()))


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
            experiments.append(
                run_linear(subject, effort, seed=seed, device=device, progress=bar.update)
            )
    path = linear_report.write(experiments, effort, seed, output)
    tqdm.write("\n".join(linear_report.lines(experiments)))
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


COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run,
    "sweep": sweep,
    "compare": compare,
    "report": report,
    "list": list_runs,
    "curvature": curvature,
    "linear": linear,
    "published": published,
}


def main(arguments: list[str] | None = None) -> None:
    """Of `python -m validation`: what a user can mend ends in one paragraph."""
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="python -m validation", args=arguments)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"python -m validation: {error}")


if __name__ == "__main__":
    main()
