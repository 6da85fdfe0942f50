"""Which cell is begun when, and what becomes of one that failed.

A cell that raises and a cell whose worker died are both tried again, and counted apart: the first
is the cell's fault, the second may be the machine's.
"""

from __future__ import annotations

import json
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from validation.durable_files import written_whole
from validation.experiments import Cell
from validation.sweeps.attempt import Attempt, Work, is_complete, perform_once
from validation.sweeps.log import CellEnd, begin_log, log_end
from validation.sweeps.progress import SweepBar
from validation.sweeps.spawned_pool import SpawnedPool, spawned_pool

__all__ = ["Failure", "SweepOutcome", "sweep"]

# Of an executor whose size is unknown: more than most clusters have workers.
IN_FLIGHT = 1000
# Cells given up in a row, each for its lost workers, after which no worker is believed to live.
BARREN = 8
SECONDS_BETWEEN_REFRESHES = 5.0


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


@dataclass
class _Task:
    cell: Cell
    name: str
    failures: int = 0
    losses: int = 0
    tracebacks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Limits:
    failures: int
    losses: int
    in_flight: int


class _Sweep:
    def __init__(
        self,
        todo: list[_Task],
        begin: Callable[[_Task], Future[Attempt]],
        require_alive: Callable[[], None],
        root: Path,
        limits: _Limits,
        bar: SweepBar,
    ) -> None:
        self._waiting = deque(todo)
        self._running: dict[Future[Attempt], _Task] = {}
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

    def _end(self, task: _Task, future: Future[Attempt]) -> None:
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

    def _finish(self, task: _Task, attempt: Attempt) -> None:
        self.done.append(task.name)
        self._failure_file(task).unlink(missing_ok=True)
        self._log(task, "done", task.failures + task.losses + 1, attempt)
        self._bar.done(task.cell)

    def _fail(self, task: _Task, attempt: Attempt) -> None:
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
        self._give_up(task, "lost", Attempt("", 0.0, None))
        self._barren += 1
        if self._barren >= BARREN and (self._waiting or self._running):
            raise RuntimeError(
                f"The last {BARREN} cells that ended lost their workers {task.losses} times each, "
                f"and none was performed in between. The last error: {error!r}. Look into the "
                "workers' own logs: they may lack memory, or be unable to import validation or "
                "the function that performs cells. What is done is on disk; then start again."
            )

    def _give_up(self, task: _Task, status: str, attempt: Attempt) -> None:
        failure = Failure(task.name, task.failures, task.losses, tuple(task.tracebacks))
        self.failed.append(failure)
        path = self._failure_file(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(asdict(failure), indent=1) + "\n")
        self._log(task, status, task.failures + task.losses, attempt)
        self._bar.failed(task.cell)

    def _failure_file(self, task: _Task) -> Path:
        return self._root / "failures" / f"{task.name}.json"

    def _log(self, task: _Task, status: str, attempts: int, attempt: Attempt) -> None:
        end = CellEnd(task.name, status, attempts, round(attempt.seconds, 3), attempt.worker)
        log_end(self._root, end)


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
    begin_log(root)
    tasks = {name: _Task(cell, name) for cell in cells for name in (cell.folder,)}
    skipped = [task for task in tasks.values() if is_complete(root / task.name)]
    left_out = {task.name for task in skipped}
    todo = [task for task in tasks.values() if task.name not in left_out]
    with spawned_pool() if executor is None else nullcontext(executor) as pool:
        limits = _limits(pool, retries, losses, in_flight)

        def begin(task: _Task) -> Future[Attempt]:
            with _refusal_explained(pool):
                return pool.submit(perform_once, work, task.cell, task.name, root, device)

        def require_alive() -> None:
            with _refusal_explained(pool):
                _require_connection(pool)

        bar = SweepBar(progress, [task.cell for task in todo], [task.cell for task in skipped])
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
