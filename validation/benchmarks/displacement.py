"""The displacement of many modes at many times: ours, a C++ kernel, lambdify, torch, a plain loop.

Heavy ball from a stationary start, noise proportional to the Hessian, one learning rate. The C++
kernel is `displacement.cpp`; it gets times that are each twice another, from a twentieth of an
update on, which suit it best. All others are timed per mode and time: those that take their time
get fewer times, spread over the whole grid, or fewer modes.
"""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.lowering.totals import LoweredTotal, lower_total
from validation.benchmarks import textbook
from validation.benchmarks.table import Row, Target
from validation.benchmarks.timing import Contender, Timing, compiled, processors, race

__all__ = ["GRIDS", "Work", "kernel", "makers", "measure", "modes_of", "ours"]

Array: TypeAlias = NDArray[Any]

RATE, MOMENTUM, BATCH = 0.05, 0.9, 8.0
SETTINGS = (RATE, MOMENTUM, BATCH)
HYPER = sgd.Hyperparameters(*SETTINGS)
THEORIES = ("continuous", "discrete")
STARTS, OCTAVES = range(16, 28), 17
# The kernel's series wants short times: the first is 1/20 of an update, or 2⁹ times less than 16.
UPDATE, LATE = 320, 9
GRIDS: dict[str, tuple[int, ...]] = {
    "doubling": tuple(m << j for m in STARTS for j in range(OCTAVES)),
    "rounded": tuple(map(int, np.unique(np.geomspace(1, 1e6, 232).round()))),
    "random": tuple(map(int, np.unique(np.random.default_rng(1).integers(1, 10**7, 200)))),
}
# Times of the doubling grid for the slow: one start and octave after another.
SOME = slice(None, None, 16)
FEW = 100

PART, UNIT = "displacement", "ns per mode and time"
KERNEL = "C++ kernel"
KERNEL_LATE = "C++ kernel, from 16 updates on"
LAMBDIFY = ("SymPy lambdify, complex square root", "SymPy lambdify, Piecewise")
LOOP = "Python loop with scipy.linalg.expm"


def ours(theory: str, grid: str, threads: int = 1) -> str:
    """Name of the contender that is ours, compiled by Numba."""
    shared = f", {threads} threads" if threads > 1 else ""
    return f"ours, numba, {theory}, {grid} times{shared}"


NEAR, ANY_TIMES = Target(2.0), Target(12.0)
FASTER, SHARED = Target(60.0, at_most=False), Target(1.8, at_most=False)
_TARGETS = {
    ours(theory, grid): NEAR if grid == "doubling" else ANY_TIMES
    for theory in THEORIES
    for grid in GRIDS
}


@dataclass(frozen=True)
class Work:
    """Sums over the modes at some times.

    Args:
        sums: computes them.
        theory: "continuous" or "discrete".
        times: in updates.
        modes: how many of the modes it sums.
        threads: how many it may use.
    """

    sums: Callable[[], Any]
    theory: str
    times: Array
    modes: int
    threads: int = 1

    def named(self, name: str) -> Contender:
        """With billionths of the units, so that seconds are nanoseconds."""
        units = self.modes * len(self.times) / 1e9
        return Contender(name, units, self.sums, self.threads)


def modes_of(count: int) -> Array:
    """Curvatures over nine decades, ηh up to 1/2."""
    return np.asarray(10 ** np.random.default_rng(0).uniform(-8, 1, count))


@contextmanager
def kernel(rho: Array) -> Iterator[Callable[[int], Array]]:
    """The C++ kernel for modes, as a function of octaves that it passes through unasked."""
    weights = np.full_like(rho, RATE / (BATCH * (1 - MOMENTUM)))
    with compiled(Path(__file__).with_name("displacement.cpp")) as library:

        def run(skipped: int) -> Array:
            first = np.array(STARTS) / (UPDATE if skipped == 0 else 2.0**skipped)
            totals = np.empty(len(GRIDS["doubling"]))
            address = [array.ctypes.data_as(ctypes.c_void_p) for array in (rho, weights)]
            library.displacement(
                ctypes.c_size_t(len(rho)),
                *address,
                ctypes.c_double(RATE),
                ctypes.c_double(MOMENTUM),
                ctypes.c_size_t(len(first)),
                first.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_size_t(skipped),
                ctypes.c_size_t(OCTAVES),
                totals.ctypes.data_as(ctypes.c_void_p),
            )
            return totals

        yield run


def _total(theory: str, backend: str) -> LoweredTotal:
    """Of (counts, ρ, η, β, S), and in continuous time the unit of the counts."""
    if theory == "discrete":
        exact = sgd.recursion(sgd.heavy_ball(), noise=s.rho, curvature=s.rho)
        return lower_total(exact.displacement(s.k), s.k, textbook.ARGUMENTS[1:], backend)
    motion = textbook.process().displacement(s.k * s.t)
    return lower_total(motion, s.k, (*textbook.ARGUMENTS[1:], s.t), backend)


def _ours(theory: str, backend: str, grid: str, rho: Array, threads: int = 1) -> Work:
    total, counts = _total(theory, backend), np.array(GRIDS[grid])
    # In continuous time the doubling grid is the kernel's; others count updates there, too.
    update = UPDATE if (theory, grid) == ("continuous", "doubling") else 1
    unit = (RATE / update,) if theory == "continuous" else ()
    modes = import_module("torch").tensor(rho) if backend == "torch" else rho

    def sums() -> Array:
        return np.asarray(total(counts, modes, *SETTINGS, *unit))

    return Work(sums, theory, counts / update, len(rho), threads)


def _predictor(theory: str, grid: str, rho: Array) -> Work:
    model = sgd.Predictor(HYPER, sgd.Spectrum(rho), theory=theory)
    counts = np.array(GRIDS[grid])
    return Work(lambda: model.displacement(counts), theory, counts, len(rho))


def _one_time_after_another(make: Callable[[], Any], rho: Array) -> Work:
    """A function of (t, ρ, η, β, S) as its user would call it: all modes, and a time at a time."""
    function, times = make(), np.array(GRIDS["doubling"])[SOME] / UPDATE

    def sums() -> Array:
        return np.array([float(function(t * RATE, rho, *SETTINGS).sum()) for t in times])

    return Work(sums, "continuous", times, len(rho))


def _torch(make: Callable[[], Any], rho: Array, compile_it: bool) -> Work:
    torch = import_module("torch")
    function, modes = make(), torch.tensor(rho)
    if compile_it and shutil.which("g++") is None:
        raise FileNotFoundError("g++ is not installed: torch.compile needs it")

    def summed(time: Any, rho: Any) -> Any:
        return function(time, rho, *SETTINGS).sum()

    run = torch.compile(summed) if compile_it else summed
    return _one_time_after_another(
        lambda: lambda t, *_: run(torch.tensor(t, dtype=torch.float64), modes), rho
    )


def _matrix_loop(rho: Array) -> Work:
    times, few = np.array(GRIDS["doubling"])[SOME] / UPDATE, rho[:FEW]
    sums = partial(textbook.matrix_loop, times * RATE, few, *SETTINGS)
    return Work(sums, "continuous", times, len(few))


def _mode_by_mode(backend: str) -> Any:
    return sgd.lower(textbook.process().displacement(s.t), textbook.ARGUMENTS, backend)


def makers(rho: Array) -> dict[str, Callable[[], Work]]:
    """What makes each contender but the kernel, by name.

    Args:
        rho: curvatures of the modes.
    """
    found: dict[str, Callable[[], Work]] = {}
    for theory in THEORIES:
        for grid in GRIDS:
            found[ours(theory, grid)] = partial(_ours, theory, "numba", grid, rho)
        if len(processors()) > 1:
            work = partial(_ours, theory, "numba", "doubling", rho, 2)
            found[ours(theory, "doubling", 2)] = work
    for theory in THEORIES:
        for grid in GRIDS:
            found[f"Predictor, {theory}, {grid} times"] = partial(_predictor, theory, grid, rho)
    for backend in ("numpy", "torch"):
        name = f"ours, {backend}, continuous, doubling times"
        found[name] = partial(_ours, "continuous", backend, "doubling", rho)
    for name, make in zip(LAMBDIFY, (textbook.complex_root, textbook.three_branches), strict=True):
        found[name] = partial(_one_time_after_another, make, rho)
    for compile_it, how in ((False, "eager"), (True, "compiled")):
        name = f"torch.where on three branches, {how}"
        found[name] = partial(_torch, textbook.torch_branches, rho, compile_it)
        lowered = partial(_mode_by_mode, "torch")
        found[f"ours, torch, mode by mode, {how}"] = partial(_torch, lowered, rho, compile_it)
    found["ours, numba, mode by mode"] = partial(
        _one_time_after_another, partial(_mode_by_mode, "numba"), rho
    )
    found[LOOP] = partial(_matrix_loop, rho)
    return found


def _timings(rho: Array, turns: int) -> tuple[dict[str, Timing], list[Row]]:
    """Of all that can run, and a row with the reason for each that cannot."""
    contenders, reference, missing = [], None, []
    with ExitStack() as stack:
        try:
            run = stack.enter_context(kernel(rho))
            units = len(rho) * len(GRIDS["doubling"]) / 1e9
            reference = Contender(KERNEL, units, partial(run, 0))
            contenders = [reference, Contender(KERNEL_LATE, units, partial(run, LATE))]
        except FileNotFoundError as error:
            missing.append(Row(PART, KERNEL, note=str(error)))
        for name, make in makers(rho).items():
            try:
                contenders.append(make().named(name))
            except (ImportError, FileNotFoundError) as error:
                missing.append(Row(PART, name, note=str(error)))
        return race(contenders, reference, turns), missing


def measure(modes: int, turns: int) -> list[Row]:
    """Rows of the table.

    Args:
        modes: how many.
        turns: how often each contender is timed.
    """
    timings, missing = _timings(modes_of(modes), turns)
    rows = [Row.of(PART, timing, UNIT, _TARGETS.get(name)) for name, timing in timings.items()]
    mine = ours("continuous", "doubling")
    comparisons = [(name, mine, FASTER) for name in LAMBDIFY]
    comparisons += [
        (ours(theory, "doubling"), ours(theory, "doubling", 2), SHARED) for theory in THEORIES
    ]
    rows += [
        Row(PART, f"{name} / {other}", ratio=timings[name].over(timings[other]), target=target)
        for name, other, target in comparisons
        if {name, other} <= timings.keys()
    ]
    return [*rows, *missing]
