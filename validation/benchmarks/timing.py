"""Wall-clock times of several contenders, taken in turns, and ratios that share their noise.

Before each run of a contender the reference runs once. A ratio is that of two neighbours in time,
so that what slows down both cancels.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

__all__ = ["Contender", "Spread", "Timing", "compiled", "processors", "race", "threads", "timed"]

Array: TypeAlias = NDArray[np.float64]
T = TypeVar("T")
# Seconds after which it does not matter any more what ran before.
_SHORT = 0.5
# -ffast-math, but for what a shared library would do to its host: flush small numbers to 0.
COMPILED = (
    *("-O3", "-march=native", "-shared", "-fPIC"),
    *("-fno-math-errno", "-ffinite-math-only", "-fno-rounding-math", "-fno-signaling-nans"),
    *("-fassociative-math", "-freciprocal-math", "-fno-signed-zeros", "-fno-trapping-math"),
)


@dataclass(frozen=True)
class Contender:
    """Work to be timed.

    Args:
        name: what runs.
        units: how much of what is counted one run does.
        work: the run.
        threads: how many it may use.
    """

    name: str
    units: float
    work: Callable[[], Any]
    threads: int = 1


@dataclass(frozen=True)
class Spread:
    """A number that was measured several times."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Array) -> Spread:
        """Of one value a turn."""
        return cls(*(float(f(values)) for f in (np.median, np.min, np.max)))


@dataclass(frozen=True)
class Timing:
    """What a contender took.

    Args:
        name: the contender's.
        seconds: per unit, one a turn.
        reference: of the reference's run just before, likewise; None where there was none.
    """

    name: str
    seconds: Array
    reference: Array | None

    @property
    def ratio(self) -> Spread | None:
        """Time over that of the reference."""
        return None if self.reference is None else Spread.of(self.seconds / self.reference)

    def over(self, other: Timing) -> Spread:
        """Time over that of another contender, turn by turn, each beside its reference's."""
        ratio = self.seconds / other.seconds
        if self.reference is None or other.reference is None:
            return Spread.of(ratio)
        return Spread.of(ratio * other.reference / self.reference)


def timed(task: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one run, and its result."""
    start = perf_counter()
    result = task()
    return perf_counter() - start, result


def processors() -> set[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many threads for BLAS, for Numba and torch if they are loaded, and for Python's own.

    The last are as many as the process has processors, where the system can take some away.
    """
    allowed = processors()
    # Numba first: what it starts keeps the processors of the moment, and its number becomes torch's
    # where both use one OpenMP.
    libraries: list[Any] = [sys.modules[name] for name in ("numba", "torch") if name in sys.modules]
    before = [library.get_num_threads() for library in libraries]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        with threadpool_limits(count):
            for library, most in zip(libraries, before, strict=True):
                library.set_num_threads(min(count, most))
            yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, allowed)
        for library, most in zip(libraries, before, strict=True):
            library.set_num_threads(most)


def _seconds(contender: Contender) -> float:
    """Of a run after one that fills the caches, where that is short enough to matter."""
    with threads(contender.threads):
        first, _ = timed(contender.work)
        seconds = timed(contender.work)[0] if first < _SHORT else first
    return seconds / contender.units


def race(
    contenders: Sequence[Contender], reference: Contender | None, turns: int
) -> dict[str, Timing]:
    """Time all contenders in turns.

    Args:
        contenders: what to time.
        reference: what runs before each of them; None for nothing.
        turns: how often each of them runs, after a first time that does not count.
    """
    for contender in contenders:
        _seconds(contender)
    times = np.empty((len(contenders), turns))
    beside = np.empty((len(contenders), turns))
    for turn in range(turns):
        for i, contender in enumerate(contenders):
            if reference is not None:
                beside[i, turn] = _seconds(reference)
            times[i, turn] = _seconds(contender)
    return {
        contender.name: Timing(contender.name, times[i], None if reference is None else beside[i])
        for i, contender in enumerate(contenders)
    }


@contextmanager
def compiled(source: Path) -> Iterator[ctypes.CDLL]:
    """A C++ file as a library, compiled for this processor.

    Raises:
        FileNotFoundError: without a compiler.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("g++ is not installed: the reference kernel needs it")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / f"{source.stem}.so"
        command = [compiler, *COMPILED, "-o", str(library), str(source)]
        subprocess.run(command, check=True)  # noqa: S603
        yield ctypes.CDLL(str(library))
