"""Every cell of a sweep, performed on any executor: processes of this machine, or a cluster.

What is done is read from the cells' own folders, so that a sweep that is started again performs
only what is missing. A cell that raises and a cell whose worker died are both tried again, and
counted apart: the first is the cell's fault, the second may be the machine's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from validation.durable_files import read_sealed, written_whole
from validation.experiments import Cell

__all__ = [
    "CellEnd",
    "Failure",
    "SpawnedPool",
    "SweepOutcome",
    "Work",
    "is_complete",
    "read_log",
    "spawned_pool",
    "sweep",
]

Work: TypeAlias = Callable[[Cell, Path, str], Path]

LOG, MARK = "sweep.jsonl", "complete.json"
# Of an executor whose size is unknown: more than most clusters have workers.
IN_FLIGHT = 1000
# Cells given up in a row, each for its lost workers, after which no worker is believed to live.
BARREN = 8
SECONDS_BETWEEN_REFRESHES = 5.0
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


@dataclass(frozen=True)
class CellEnd:
    """One line of the log: how a cell ended.

    Args:
        cell: its folder.
        status: "done"; "failed", it raised too often; "lost", its workers died too often.
        attempts: how often it was begun, lost workers included.
        seconds: that the last attempt took.
        worker: host and process of the last attempt; empty where that died.
    """

    cell: str
    status: str
    attempts: int
    seconds: float
    worker: str


@dataclass(frozen=True)
class Failure:
    """A cell that was given up.

    Args:
        cell: its folder.
        failures: how often it raised.
        losses: how often its worker died or disappeared.
        tracebacks: one of every attempt, the last one last.
    """

    cell: str
    failures: int
    losses: int
    tracebacks: tuple[str, ...]


@dataclass(frozen=True)
class SweepOutcome:
    """What became of the cells, by their folders.

    Args:
        done: performed now.
        skipped: complete before.
        failed: given up.
    """

    done: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[Failure, ...]


def is_complete(folder: Path) -> bool:
    """Whether a run's folder is marked complete, by a mark that is whole."""
    try:
        read_sealed(folder / MARK, "Perform the cell again.")
    except ValueError:
        return False
    return True


def read_log(root: Path) -> tuple[CellEnd, ...]:
    """How cells ended, in that order; a line that a kill has torn is left out."""
    path = root / LOG
    return tuple(_whole_lines(path.read_text(errors="replace"))) if path.exists() else ()


def _whole_lines(text: str) -> Iterator[CellEnd]:
    for line in text.splitlines():
        try:
            yield CellEnd(**json.loads(line))
        except (ValueError, TypeError):
            continue


def _append(path: Path, text: str) -> None:
    """In one write, on the disk when this returns."""
    opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(opened, text.encode())
        os.fsync(opened)
    finally:
        os.close(opened)


def _begin_log(path: Path) -> None:
    """A torn last line is ended, so that it does not swallow the next."""
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    _append(path, "\n" if torn else "")


# ---- worker processes of this machine


def _cores() -> int:
    """Those that this process may use, which a batch system makes fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limit_threads(threads: int) -> None:
    """Of libraries to be loaded, by the environment, and of those that are loaded, by call."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.get_num_threads()))
    # Numba sets OpenMP's number to its own when it begins its threads.
    threadpool_limits(threads)


def _begin_worker(threads: int, lifeline: Connection) -> None:
    """Few threads, no reaction to Ctrl-C, and an end as soon as the parent's is reached."""

    def end_with_parent() -> None:
        lifeline.poll(None)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    _limit_threads(threads)


class _Worker:
    """One process, begun anew when it has died.

    The lifeline is a pipe on which nothing is sent. Its end is closed by `kill`, and by the
    system when this process dies in whatever way: no orphan goes on writing a cell's folder.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._futures: list[Future[Any]] = []
        self._begin()

    def _begin(self) -> None:
        spawning = get_context("spawn")
        self._far_end, self._lifeline = spawning.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            1, spawning, initializer=_begin_worker, initargs=(self._threads, self._far_end)
        )

    @property
    def load(self) -> int:
        """Calls not yet ended."""
        self._futures = [future for future in self._futures if not future.done()]
        return len(self._futures)

    def submit(self, call: Callable[..., Any], *args: Any, **named: Any) -> Future[Any]:
        try:
            future = self._pool.submit(call, *args, **named)
        except BrokenExecutor:
            self.kill()
            self._begin()
            future = self._pool.submit(call, *args, **named)
        self._futures.append(future)
        return future

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._lifeline.close()
            self._far_end.close()

    def kill(self) -> None:
        """At once, whatever it performs; it is gone when this returns."""
        self._lifeline.close()
        self.shutdown(wait=True, cancel_futures=True)


class SpawnedPool(Executor):
    """Processes of this machine, each of which dies alone and is replaced.

    In a plain ProcessPoolExecutor one killed process takes down all others. Here only the call
    that it performed is lost, so that it is known whose it was. Left by an exception, `with`
    kills the processes; otherwise it waits for them.

    Args:
        workers: number of processes.
        threads: of each.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self.workers = workers
        self.threads = threads
        self._members = [_Worker(threads) for _ in range(workers)]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A call of a function that the worker can import, to the least busy of them."""
        return min(self._members, key=lambda worker: worker.load).submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor."""
        for worker in self._members:
            worker.shutdown(wait, cancel_futures)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for worker in self._members if kind else ():
            worker.kill()
        self.shutdown()


def spawned_pool(workers: int | None = None) -> SpawnedPool:
    """Worker processes that share the cores of this machine evenly.

    Args:
        workers: number of processes; by default one a core. Each has cores // workers threads.

    Raises:
        ValueError: for a number of workers below one.
    """
    cores = _cores()
    workers = cores if workers is None else workers
    if workers < 1:
        raise ValueError(
            f"workers = {workers}: a pool needs at least one process. Leave it out for one a "
            f"core, which are {cores} here."
        )
    return SpawnedPool(workers, max(1, cores // workers))


# ---- what a worker does


@dataclass(frozen=True)
class _Attempt:
    worker: str
    seconds: float
    error: str | None


def _perform(work: Work, cell: Cell, name: str, root: Path, device: str) -> _Attempt:
    """One attempt; an exception travels as text, since not every exception can be pickled."""
    begun, error = time.perf_counter(), None
    try:
        _require_root(root)
        _set_damaged_mark_aside(root / name)
        work(cell, root / name, device)
        _require_mark(root / name)
    except Exception:
        error = traceback.format_exc()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return _Attempt(worker, time.perf_counter() - begun, error)


def _require_root(root: Path) -> None:
    if not (root / LOG).exists():
        raise FileNotFoundError(
            f"{root / LOG} is not there, as seen from {socket.gethostname()}, although the sweep "
            "wrote it. The folder of a sweep must lie on storage that every worker shares, under "
            "the same path: choose such a folder."
        )


def _set_damaged_mark_aside(folder: Path) -> None:
    """The run then looks at what it has, and marks it anew."""
    mark = folder / MARK
    if mark.exists() and not is_complete(folder):
        mark.replace(mark.with_name(f"{MARK}.damaged"))


def _require_mark(folder: Path) -> None:
    if not is_complete(folder):
        raise RuntimeError(
            f"The run ended, but {folder / MARK} does not say so: a later sweep would repeat it. "
            "A function that performs cells must write this file last, with "
            "validation.durable_files.write_sealed."
        )


# ---- the sweep


@dataclass
class _Task:
    cell: Cell
    name: str
    failures: int = 0
    losses: int = 0
    tracebacks: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        record = self.cell.experiment.record
        return record.burn_in + record.updates


@dataclass(frozen=True)
class _Limits:
    failures: int
    losses: int
    in_flight: int


class _Bar:
    """Cells by number, time left by updates: cells may differ much in length."""

    def __init__(self, make: Callable[..., Any], todo: list[_Task], skipped: list[_Task]) -> None:
        before = sum(task.steps for task in skipped)
        self._total = len(todo) + len(skipped)
        self._ended, self._failed = len(skipped), 0
        self._bar = make(
            total=before + sum(task.steps for task in todo),
            initial=before,
            unit="update",
            unit_scale=True,
            # Updates arrive a cell at a time: only their mean rate says anything.
            smoothing=0,
        )
        self.refresh()

    def done(self, task: _Task) -> None:
        self._ended += 1
        self._bar.update(task.steps)

    def failed(self, task: _Task) -> None:
        self._failed += 1
        self._bar.total -= task.steps

    def refresh(self) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_description_str(f"cells {self._ended}/{self._total}{failed}")

    def close(self) -> None:
        self.refresh()
        self._bar.close()


class _Sweep:
    def __init__(
        self,
        todo: list[_Task],
        begin: Callable[[_Task], Future[_Attempt]],
        require_alive: Callable[[], None],
        root: Path,
        limits: _Limits,
        bar: _Bar,
    ) -> None:
        self._waiting = deque(todo)
        self._running: dict[Future[_Attempt], _Task] = {}
        self._begin, self._root, self._limits, self._bar = begin, root, limits, bar
        self._require_alive = require_alive
        self._barren = 0
        self.done: list[str] = []
        self.failed: list[Failure] = []

    def run(self) -> None:
        try:
            while self._waiting or self._running:
                self._fill()
                ended, _ = wait(self._running, SECONDS_BETWEEN_REFRESHES, FIRST_COMPLETED)
                if not ended:
                    self._require_alive()
                for future in ended:
                    self._end(self._running.pop(future), future)
                self._bar.refresh()
        finally:
            for future in self._running:
                future.cancel()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._limits.in_flight:
            task = self._waiting.popleft()
            self._running[self._begin(task)] = task

    def _end(self, task: _Task, future: Future[_Attempt]) -> None:
        lost = CancelledError() if future.cancelled() else future.exception()
        if lost is not None:
            self._lose(task, lost)
            return
        self._barren = 0
        attempt = future.result()
        if attempt.error is None:
            self._finish(task, attempt)
        else:
            self._fail(task, attempt)

    def _finish(self, task: _Task, attempt: _Attempt) -> None:
        self.done.append(task.name)
        self._failure_file(task).unlink(missing_ok=True)
        self._log(task, "done", task.failures + task.losses + 1, attempt)
        self._bar.done(task)

    def _fail(self, task: _Task, attempt: _Attempt) -> None:
        task.failures += 1
        task.tracebacks.append(attempt.error or "")
        if task.failures > self._limits.failures:
            self._give_up(task, "failed", attempt)
        else:
            self._waiting.append(task)

    def _lose(self, task: _Task, error: BaseException) -> None:
        task.losses += 1
        task.tracebacks.append("".join(traceback.format_exception(error)))
        if task.losses <= self._limits.losses:
            self._waiting.append(task)
            return
        self._give_up(task, "lost", _Attempt("", 0.0, None))
        self._barren += 1
        if self._barren >= BARREN and (self._waiting or self._running):
            raise RuntimeError(
                f"The last {BARREN} cells that ended lost their workers {task.losses} times each, "
                f"and none was performed in between. The last error: {error!r}. Look into the "
                "workers' own logs: they may lack memory, or be unable to import validation or "
                "the function that performs cells. What is done is on disk; then start again."
            )

    def _give_up(self, task: _Task, status: str, attempt: _Attempt) -> None:
        failure = Failure(task.name, task.failures, task.losses, tuple(task.tracebacks))
        self.failed.append(failure)
        path = self._failure_file(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(asdict(failure), indent=1) + "\n")
        self._log(task, status, task.failures + task.losses, attempt)
        self._bar.failed(task)

    def _failure_file(self, task: _Task) -> Path:
        return self._root / "failures" / f"{task.name}.json"

    def _log(self, task: _Task, status: str, attempts: int, attempt: _Attempt) -> None:
        line = CellEnd(task.name, status, attempts, round(attempt.seconds, 3), attempt.worker)
        _append(self._root / LOG, json.dumps(asdict(line)) + "\n")


def sweep(
    cells: Iterable[Cell],
    work: Work,
    root: Path,
    *,
    executor: Executor | None = None,
    device: str = "cpu",
    retries: int = 2,
    losses: int = 5,
    in_flight: int | None = None,
    progress: Callable[..., Any] = tqdm,
) -> SweepOutcome:
    """Perform every cell that is not complete, each in its own folder under `root`.

    A cell ends in a line of `root/sweep.jsonl`; one that is given up leaves its tracebacks in
    `root/failures`. An interruption cancels what is pending, kills a pool of this module, and is
    raised again; complete folders stay.

    Args:
        cells: to be performed; of equals, one.
        work: performs one, called with it, its folder and the device. Workers import it, so it is
            a function of a module. It goes on with what it finds in the folder, and marks it
            complete with a sealed `complete.json`, as the engines do.
        root: folder of the sweep, on storage that all workers share under the same path.
        executor: any; by default `spawned_pool()`. One that is given is not shut down.
        device: any torch device, the same for all cells.
        retries: how often a cell that raised is tried again.
        losses: how often a cell is tried again whose worker died or disappeared.
        in_flight: cells handed to the executor at once; by default one a process of a
            `SpawnedPool`, and 1000 of any other.
        progress: makes the bar, called as tqdm.tqdm is.

    Raises:
        ValueError: for negative retries or losses, and nothing in flight.
        RuntimeError: if the executor takes no more cells, or none of its workers lives.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    _begin_log(root / LOG)
    tasks = {name: _Task(cell, name) for cell in cells for name in (cell.folder,)}
    skipped = [task for task in tasks.values() if is_complete(root / task.name)]
    left_out = {task.name for task in skipped}
    todo = [task for task in tasks.values() if task.name not in left_out]
    with spawned_pool() if executor is None else nullcontext(executor) as pool:
        limits = _limits(pool, retries, losses, in_flight)

        def begin(task: _Task) -> Future[_Attempt]:
            with _refusal_explained(pool):
                return pool.submit(_perform, work, task.cell, task.name, root, device)

        def require_alive() -> None:
            with _refusal_explained(pool):
                _require_connection(pool)

        bar = _Bar(progress, todo, skipped)
        performed = _Sweep(todo, begin, require_alive, root, limits, bar)
        try:
            performed.run()
        finally:
            bar.close()
    return SweepOutcome(
        tuple(performed.done), tuple(task.name for task in skipped), tuple(performed.failed)
    )


def _limits(pool: Executor, retries: int, losses: int, in_flight: int | None) -> _Limits:
    if in_flight is None:
        in_flight = pool.workers if isinstance(pool, SpawnedPool) else IN_FLIGHT
    if min(retries, losses) < 0 or in_flight < 1:
        raise ValueError(
            f"retries = {retries}, losses = {losses}, in_flight = {in_flight}: the first two count "
            "repetitions and may be 0, the last counts cells at work and is at least 1."
        )
    return _Limits(retries, losses, in_flight)


def _require_connection(pool: Executor) -> None:
    # Futures of a Dask client that has lost its scheduler never end, and the client has no
    # public place in its executor.
    client = getattr(pool, "_client", None)
    if getattr(client, "status", None) == "closed":
        raise ConnectionError("its client is closed")


@contextmanager
def _refusal_explained(pool: Executor) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RuntimeError(
            f"{type(pool).__name__} takes no more cells: {error!r}. What is complete is on disk, "
            "and the same sweep started again performs the rest. A plain ProcessPoolExecutor is "
            "broken for good when one of its processes dies: use spawned_pool(). A cluster's "
            "client is closed when its scheduler is gone."
        ) from error
