"""Sweeps on real executors: what is done, once, in spite of failures and killed workers."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pydantic")
pytest.importorskip("threadpoolctl")

import sweep_work
from tqdm import tqdm

from validation.durable_files import write_sealed
from validation.experiments import (
    Cell,
    Data,
    Experiment,
    Model,
    Optimizer,
    Record,
    Sampler,
)
from validation.sweeps import CellEnd, is_complete, read_log, schedule, spawned_pool, sweep

HERE = Path(__file__).parent
quiet = functools.partial(tqdm, disable=True)
EXPERIMENT = Experiment(
    name="quadratic",
    model=Model("linear"),
    data=Data("features"),
    sampler=Sampler("with_replacement", 4),
    optimizer=Optimizer(0.1, momentum=0.5),
    record=Record(updates=20, burn_in=5),
)


def cells_of(count, **record):
    varied = replace(EXPERIMENT, record=Record(updates=20, burn_in=5, **record))
    return [Cell(varied, seed) for seed in range(count)]


def serially(cells, root):
    """Results of a plain loop."""
    for cell in cells:
        sweep_work.train(cell, root / cell.folder, "cpu")
    return results(cells, root)


def results(cells, root):
    return [(root / cell.folder / "result.json").read_bytes() for cell in cells]


def calls(cells, root):
    return [len(sweep_work.calls_of(root / cell.folder)) for cell in cells]


def folders(cells):
    return {cell.folder for cell in cells}


def alive(process):
    """Whether it runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


@pytest.fixture
def any_executor(request):
    with request.param() as executor:
        yield executor


@pytest.mark.parametrize(
    "any_executor",
    [
        lambda: ThreadPoolExecutor(2),
        lambda: ProcessPoolExecutor(2, get_context("spawn")),
        lambda: spawned_pool(2),
    ],
    ids=["threads", "processes", "spawned pool"],
    indirect=True,
)
def test_results_are_those_of_a_plain_loop(any_executor, tmp_path):
    cells = cells_of(7)
    outcome = sweep(cells, sweep_work.train, tmp_path / "a", executor=any_executor, progress=quiet)
    assert set(outcome.done) == folders(cells)
    assert outcome.skipped == outcome.failed == ()
    assert results(cells, tmp_path / "a") == serially(cells, tmp_path / "b")
    assert calls(cells, tmp_path / "a") == [1] * 7


def test_the_default_is_a_process_a_core(tmp_path):
    cells = cells_of(4)
    assert len(sweep(cells, sweep_work.train, tmp_path, progress=quiet).done) == 4
    used = {pid for cell in cells for pid in sweep_work.calls_of(tmp_path / cell.folder)}
    assert 1 <= len(used) <= spawned_pool().workers
    assert os.getpid() not in used
    assert not any(alive(pid) for pid in used)


def test_a_sweep_started_again_performs_only_what_is_missing(threads, tmp_path):
    cells = cells_of(6)
    sweep(cells[:4], sweep_work.train, tmp_path, executor=threads, progress=quiet)
    (tmp_path / cells[0].folder / "complete.json").write_text('{"arrays": ')
    (tmp_path / cells[1].folder / "complete.json").unlink()
    outcome = sweep(cells, sweep_work.train, tmp_path, executor=threads, progress=quiet)
    assert set(outcome.skipped) == folders(cells[2:4])
    assert set(outcome.done) == folders(cells[:2] + cells[4:])
    assert calls(cells, tmp_path) == [2, 2, 1, 1, 1, 1]
    aside = tmp_path / cells[0].folder / "complete.json.damaged"
    assert aside.read_text() == '{"arrays": '


def test_a_mark_that_is_not_whole_marks_nothing(tmp_path):
    path = tmp_path / "complete.json"
    assert not is_complete(tmp_path)
    write_sealed(path, {"seed": 12})
    whole = path.read_bytes()
    assert is_complete(tmp_path)
    damaged = [whole[:length] for length in range(len(whole))]
    for mark in [*damaged, whole.replace(b"12", b"13"), b"null", b"[1]", b"\xff\xfe{}"]:
        path.write_bytes(mark)
        assert not is_complete(tmp_path), mark


def test_a_cell_named_twice_is_performed_once(threads, tmp_path):
    cells = cells_of(2)
    outcome = sweep(cells * 3, sweep_work.train, tmp_path, executor=threads, progress=quiet)
    assert len(outcome.done) == 2
    assert calls(cells, tmp_path) == [1, 1]


def test_a_cell_that_fails_is_tried_again(threads, tmp_path):
    cells = cells_of(3)
    outcome = sweep(cells, sweep_work.fail_twice, tmp_path, executor=threads, progress=quiet)
    assert set(outcome.done) == folders(cells)
    assert calls(cells, tmp_path) == [3, 3, 3]
    assert [end.attempts for end in read_log(tmp_path)] == [3, 3, 3]


def test_a_cell_that_fails_too_often_is_reported_and_a_later_success_clears_it(threads, tmp_path):
    cells = cells_of(2)
    options = {"executor": threads, "progress": quiet}
    outcome = sweep(cells, sweep_work.fail_twice, tmp_path, retries=1, **options)
    assert outcome.done == ()
    assert {failure.cell for failure in outcome.failed} == folders(cells)
    report = tmp_path / "failures" / f"{cells[1].folder}.json"
    told = json.loads(report.read_text())
    assert (told["failures"], told["losses"], len(told["tracebacks"])) == (2, 0, 2)
    assert "ValueError: the loss of seed 1 is infinite" in told["tracebacks"][-1]
    assert 'sweep_work.py", line' in told["tracebacks"][-1]
    assert [end.status for end in read_log(tmp_path)] == ["failed", "failed"]
    again = sweep(cells, sweep_work.fail_twice, tmp_path, retries=0, **options)
    assert set(again.done) == folders(cells)
    assert not report.exists()


def test_failures_stop_no_other_cell_even_when_they_cannot_be_pickled(tmp_path):
    cells = cells_of(5)
    with spawned_pool(2) as pool:
        outcome = sweep(
            cells, sweep_work.odd_seeds_fail, tmp_path, executor=pool, retries=1, progress=quiet
        )
    assert set(outcome.done) == folders(cells[::2])
    assert {failure.cell for failure in outcome.failed} == folders(cells[1::2])
    assert all("raised by seed" in failure.tracebacks[-1] for failure in outcome.failed)
    assert calls(cells, tmp_path) == [1, 2, 1, 2, 1]


def test_a_run_without_its_mark_is_a_failure(threads, tmp_path):
    (failure,) = sweep(
        cells_of(1), sweep_work.forget_the_mark, tmp_path, executor=threads, progress=quiet
    ).failed
    assert "must write this file last" in failure.tracebacks[-1]


def test_a_killed_worker_loses_its_own_cell_alone(tmp_path):
    cells = cells_of(6)
    with spawned_pool(2) as pool:
        outcome = sweep(
            cells,
            sweep_work.seed_one_kills_its_worker_once,
            tmp_path / "a",
            executor=pool,
            retries=0,
            progress=quiet,
        )
    assert set(outcome.done) == folders(cells)
    assert results(cells, tmp_path / "a") == serially(cells, tmp_path / "b")
    attempts = {end.cell: end.attempts for end in read_log(tmp_path / "a")}
    assert attempts == {cell.folder: 1 + (cell.seed == 1) for cell in cells}


def test_a_cell_that_always_kills_its_worker_is_reported_and_the_others_are_done(tmp_path):
    cells = cells_of(4)
    with spawned_pool(2) as pool:
        outcome = sweep(
            cells,
            sweep_work.seed_one_always_kills_its_worker,
            tmp_path,
            executor=pool,
            losses=1,
            progress=quiet,
        )
    assert set(outcome.done) == folders([cells[0], *cells[2:]])
    (failure,) = outcome.failed
    assert (failure.cell, failure.failures, failure.losses) == (cells[1].folder, 0, 2)
    assert "BrokenProcessPool" in failure.tracebacks[-1]
    assert calls(cells, tmp_path) == [1, 2, 1, 1]
    assert [end.status for end in read_log(tmp_path)].count("lost") == 1


def test_a_sweep_whose_workers_all_die_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "BARREN", 2)
    with (
        spawned_pool(2) as pool,
        pytest.raises(RuntimeError, match=r"last 2 cells .* lost their workers 1 times"),
    ):
        sweep(
            cells_of(9),
            sweep_work.every_seed_kills_its_worker,
            tmp_path,
            executor=pool,
            losses=0,
            progress=quiet,
        )


def test_a_plain_pool_that_broke_is_told_from_the_one_that_is_replaced(tmp_path):
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as plain,
        pytest.raises(RuntimeError, match=r"broken for good .* use spawned_pool\(\)"),
    ):
        sweep(
            cells_of(3),
            sweep_work.seed_one_always_kills_its_worker,
            tmp_path,
            executor=plain,
            progress=quiet,
        )


class Forgetful(ThreadPoolExecutor):
    """Cancels the first calls, as a cluster whose scheduler restarts; counts those at work."""

    def __init__(self, lost):
        super().__init__(2)
        self.lost, self.most, self.at_work = lost, 0, set()

    def submit(self, call, *args):
        if self.lost:
            self.lost -= 1
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        future = super().submit(call, *args)
        self.at_work = {other for other in self.at_work if not other.done()} | {future}
        self.most = max(self.most, len(self.at_work))
        return future


def test_calls_that_an_executor_forgets_are_made_again_and_are_no_failures(tmp_path):
    cells = cells_of(5)
    with Forgetful(lost=7) as executor:
        outcome = sweep(
            cells, sweep_work.train, tmp_path, executor=executor, retries=0, progress=quiet
        )
    assert set(outcome.done) == folders(cells)
    assert sum(end.attempts for end in read_log(tmp_path)) == 5 + 7


class Disconnected(Executor):
    """As distributed's when its scheduler is gone: what it was given never ends."""

    _client = SimpleNamespace(status="closed")

    def submit(self, call, *args):
        return Future()


def test_a_sweep_does_not_wait_for_a_cluster_that_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "SECONDS_BETWEEN_REFRESHES", 0.01)
    with pytest.raises(RuntimeError, match="Disconnected takes no more cells"):
        sweep(cells_of(2), sweep_work.train, tmp_path, executor=Disconnected(), progress=quiet)


def test_few_cells_are_handed_out_at_once(tmp_path):
    with Forgetful(lost=0) as executor:
        sweep(
            cells_of(40),
            sweep_work.train,
            tmp_path,
            executor=executor,
            in_flight=3,
            progress=quiet,
        )
    assert executor.most == 3


@pytest.mark.parametrize(
    "wrong",
    [{"retries": -1}, {"losses": -1}, {"in_flight": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_limits_that_mean_nothing_are_refused(wrong, threads, tmp_path):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        sweep(cells_of(1), sweep_work.train, tmp_path, executor=threads, **wrong)


def test_a_pool_has_a_process():
    with pytest.raises(ValueError, match="workers = 0: a pool needs at least one"):
        spawned_pool(0)


# ---- the log and the bar


def test_the_log_survives_a_torn_line(threads, tmp_path):
    cells = cells_of(3)
    sweep(cells[:2], sweep_work.train, tmp_path, executor=threads, progress=quiet)
    path = tmp_path / "sweep.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    first, *torn = read_log(tmp_path)
    assert not torn
    assert first.status == "done"
    sweep(cells, sweep_work.train, tmp_path, executor=threads, progress=quiet)
    assert [end.cell for end in read_log(tmp_path)] == [first.cell, cells[2].folder]


def test_a_log_line_says_who_and_how_long(threads, tmp_path):
    cells = cells_of(1)
    begun = time.perf_counter()
    sweep(cells, sweep_work.train, tmp_path, executor=threads, progress=quiet)
    (end,) = read_log(tmp_path)
    assert end == CellEnd(cells[0].folder, "done", 1, end.seconds, end.worker)
    assert end.worker.endswith(f":{os.getpid()}")
    assert 0 <= end.seconds <= time.perf_counter() - begun
    assert read_log(tmp_path / "elsewhere") == ()


def test_time_left_counts_updates_and_cells_are_told(threads, tmp_path, capsys):
    bars = []

    def make(**options):
        bars.append(tqdm(mininterval=0, **options))
        return bars[-1]

    cells = cells_of(3)
    sweep(cells[:1], sweep_work.train, tmp_path, executor=threads, progress=quiet)
    longer = Cell(replace(EXPERIMENT, record=Record(updates=1000, burn_in=50)), 1)
    sweep([*cells, longer], sweep_work.odd_seeds_fail, tmp_path, executor=threads, progress=make)
    (bar,) = bars
    # 25 updates were there, 25 were made; two odd cells of 25 and 1050 updates were given up.
    assert (bar.initial, bar.n, bar.total) == (25, 50, 50)
    assert "cells 2/4, 2 failed" in capsys.readouterr().err


# ---- processes


def threads_of_each(workers):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, cores // workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_cores(workers, tmp_path):
    (cell,) = cells_of(1)
    with spawned_pool(workers) as pool:
        sweep([cell], sweep_work.count_threads, tmp_path, executor=pool, progress=quiet)
    counted = json.loads((tmp_path / cell.folder / "result.json").read_text())
    assert set(counted) == {threads_of_each(workers)}


SCRIPT = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import functools, signal
from pathlib import Path
# A shell's background job is begun deaf to Ctrl-C, and so is all that it begins.
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1] == "count_threads":
    import numba, torch
import sweep_work
from test_sweep_runs import cells_of, quiet
from validation.sweeps import spawned_pool, sweep

def main():
    work = getattr(sweep_work, sys.argv[1])
    with spawned_pool(2) as pool:
        sweep(cells_of(3), work, Path(sys.argv[2]), executor=pool, progress=quiet)

if __name__ == "__main__":
    main()
"""


def script(path):
    path.write_text(SCRIPT)
    return path


def begun(tmp_path, work):
    return subprocess.Popen(
        [sys.executable, str(script(tmp_path / "main.py")), work, str(tmp_path / "runs")],
        cwd=HERE.parent,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_libraries_that_the_main_file_loads_share_the_cores_too(tmp_path):
    with begun(tmp_path, "count_threads") as process:
        assert process.wait(120) == 0, process.stderr.read()
    for cell in cells_of(3):
        result = tmp_path / "runs" / cell.folder / "result.json"
        assert set(json.loads(result.read_text())) == {threads_of_each(2)}


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=lambda blow: blow.name)
def test_an_interrupted_sweep_leaves_what_is_done_and_no_process(blow, tmp_path):
    cells = cells_of(3)
    root = tmp_path / "runs"
    with begun(tmp_path, "wait_for_ever") as process:
        wait_until(lambda: is_complete(root / cells[0].folder))
        wait_until(lambda: all(calls(cells, root)) or not alive(process.pid))
        process.send_signal(blow)
        try:
            said = process.communicate(timeout=30)[1]
        finally:
            process.kill()
    workers = {pid for cell in cells for pid in sweep_work.calls_of(root / cell.folder)}
    assert process.returncode == -blow, said
    assert ("KeyboardInterrupt" in said) == (blow == signal.SIGINT)
    wait_until(lambda: not any(map(alive, workers)), seconds=10)
    assert [is_complete(root / cell.folder) for cell in cells] == [True, False, False]


# ---- a cluster


@pytest.mark.parametrize("forgiven_by_the_scheduler", [0, 3])
def test_a_dask_cluster_completes_although_a_worker_is_killed(forgiven_by_the_scheduler, tmp_path):
    distributed = pytest.importorskip("distributed")
    import dask

    cells = cells_of(6)
    root = tmp_path / "a"
    killed = []

    def kill_the_first():
        wait_until(lambda: any(sweep_work.calls_of(root / cell.folder) for cell in cells))
        for cell in cells:
            for pid in sweep_work.calls_of(root / cell.folder):
                if not killed and pid:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(cell.folder)

    settings = {
        "distributed.scheduler.allowed-failures": forgiven_by_the_scheduler,
        "distributed.admin.log-format": "%(message)s",
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        killer = threading.Thread(target=kill_the_first)
        killer.start()
        outcome = sweep(
            cells,
            sweep_work.train_slowly,
            root,
            executor=client.get_executor(pure=False),
            retries=0,
            progress=quiet,
        )
        killer.join()
    assert set(outcome.done) == folders(cells)
    assert results(cells, root) == serially(cells, tmp_path / "b")
    attempts = {end.cell: end.attempts for end in read_log(root)}
    begun = {cell.folder: len(sweep_work.calls_of(root / cell.folder)) for cell in cells}
    # Begun, killed, begun again; a scheduler that forgives keeps that to itself.
    assert begun[killed[0]] == 3
    if not forgiven_by_the_scheduler:
        assert attempts[killed[0]] == 2
