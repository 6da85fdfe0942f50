"""Worker processes of this machine, each of which dies alone and is replaced."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

__all__ = ["SpawnedPool", "spawned_pool"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


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
