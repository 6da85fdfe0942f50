"""SGD on linear regression in replica-steps per second: ours, a C++ kernel, and torch.

    python -m validation.benchmarks.ensembles

Heavy ball, batches with replacement, weight decay; every contender makes the same updates on the
same data, in turns. The kernel is `ensemble.cpp`, compiled here for this processor. It draws from a
generator with a state, where ours can draw any number at any time. Times are of the wall clock; a
ratio is that of the two times of one turn, so that what slows down both cancels.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numba
import numpy as np
import torch
from numpy.typing import NDArray

import sgdtheory as sgd
from sgdtheory.ensembles import LinearRegressionEnsemble

__all__ = ["Row", "measure"]

Array: TypeAlias = NDArray[Any]
Contender: TypeAlias = Callable[[], None]

EXAMPLES, DIMENSION, BATCH = 1000, 100, 16
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-3
HYPER = sgd.Hyperparameters(RATE, MOMENTUM, BATCH, DECAY)
COMPILED = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
REFERENCE = "C++, float64, 1 thread"


@dataclass(frozen=True)
class Row:
    """One contender.

    Args:
        name: what ran.
        rate: replica-steps per second, median over the turns.
        ratio: time over that of the C++ kernel in float64, median over the turns.
        lowest: its smallest value.
        highest: its largest.
    """

    name: str
    rate: float
    ratio: float
    lowest: float
    highest: float


def _data() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(EXAMPLES, DIMENSION)) / np.sqrt(DIMENSION)
    return inputs, inputs @ rng.normal(size=DIMENSION) + rng.normal(size=EXAMPLES)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    # Its tensors are small here, so more threads wait for one another. Set each time: Numba's
    # number of threads becomes torch's where both use one OpenMP.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _compiled_kernel() -> Iterator[ctypes.CDLL]:
    compiler = shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("g++ is not installed: the reference kernel needs it.")
    source = Path(__file__).with_name("ensemble.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "ensemble.so"
        command = [compiler, *COMPILED, "-o", str(library), str(source)]
        subprocess.run(command, check=True)  # noqa: S603
        yield ctypes.CDLL(str(library))


def _kernel(library: ctypes.CDLL, kind: Any, replicas: int, updates: int) -> Contender:
    double = kind is np.float64
    run = library.run_double if double else library.run_float
    real = ctypes.c_double if double else ctypes.c_float
    inputs, targets = (np.asarray(array, kind) for array in _data())

    def pointer(array: Array) -> ctypes.c_void_p:
        return array.ctypes.data_as(ctypes.c_void_p)

    def contender() -> None:
        theta: Array = np.zeros((replicas, DIMENSION), kind)
        sizes = map(ctypes.c_int64, (EXAMPLES, DIMENSION, BATCH, replicas, updates))
        settings = map(real, (RATE, MOMENTUM, DECAY))
        seed = ctypes.c_uint64(1)
        run(pointer(inputs), pointer(targets), *sizes, *settings, seed, pointer(theta))

    return contender


def _numba(threads: int, replicas: int, updates: int, sampling: str) -> Contender:
    ensemble = LinearRegressionEnsemble(*_data(), replicas=replicas)

    def contender() -> None:
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            ensemble.simulate(HYPER, updates, sampling=sampling)
        finally:
            numba.set_num_threads(before)

    return contender


def _batched(replicas: int, updates: int, device: str) -> Contender:
    inputs, targets = (torch.tensor(array, device=device) for array in _data())
    ensemble = LinearRegressionEnsemble(inputs, targets, replicas=replicas)

    @_one_torch_thread()
    def contender() -> None:
        # To the host, so that the device has finished.
        ensemble.simulate(HYPER, updates).position.cpu()

    return contender


def _optimiser(updates: int) -> Contender:
    inputs, targets = map(torch.tensor, _data())

    @_one_torch_thread()
    def contender() -> None:
        theta = torch.zeros(DIMENSION, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([theta], RATE, MOMENTUM, weight_decay=DECAY)
        for _ in range(updates):
            batch = torch.randint(EXAMPLES, (BATCH,))
            optimiser.zero_grad()
            loss = 0.5 * ((inputs[batch] @ theta - targets[batch]) ** 2).mean()
            loss.backward()
            optimiser.step()

    return contender


def _contenders(library: ctypes.CDLL) -> dict[str, tuple[int, Contender]]:
    """Replica-steps and the work, by name."""
    many, some, few = (64, 4000), (1024, 40), (1, 1000)
    found = {
        REFERENCE: (many, _kernel(library, np.float64, *many)),
        "C++, float32, 1 thread": (many, _kernel(library, np.float32, *many)),
        "Numba, 1 thread": (many, _numba(1, *many, "with_replacement")),
        "Numba, 1 thread, epochs": (many, _numba(1, *many, "epochs")),
        "torch, batched, CPU, 1 thread": (some, _batched(*some, "cpu")),
        "torch.optim.SGD, autograd": (few, _optimiser(few[1])),
    }
    if numba.get_num_threads() > 1:
        found["Numba, 2 threads"] = (many, _numba(2, *many, "with_replacement"))
    if torch.cuda.is_available():
        crowd = (2**17, 40)
        found["torch, batched, CUDA"] = (crowd, _batched(*crowd, "cuda"))
    return {name: (sizes[0] * sizes[1], work) for name, (sizes, work) in found.items()}


def measure(turns: int = 9) -> list[Row]:
    """Time all contenders in turns.

    Args:
        turns: how often each of them runs, after a first time that does not count.
    """
    with _compiled_kernel() as library:
        contenders = _contenders(library)
        times = {name: np.empty(turns) for name in contenders}
        for turn in range(-1, turns):
            for name, (_, work) in contenders.items():
                start = perf_counter()
                work()
                if turn >= 0:
                    times[name][turn] = perf_counter() - start
    each = {name: times[name] / count for name, (count, _) in contenders.items()}
    rows = []
    for name, seconds in each.items():
        ratios = seconds / each[REFERENCE]
        rate = float(1 / np.median(seconds))
        rows.append(Row(name, rate, float(np.median(ratios)), ratios.min(), ratios.max()))
    return sorted(rows, key=lambda row: row.ratio)


def _table() -> None:
    print(f"d = {DIMENSION}, N = {EXAMPLES}, S = {BATCH}; times are relative to the C++ kernel\n")
    print(f"{'':32}{'replica-steps/s':>16}{'time':>10}{'lowest':>10}{'highest':>10}")
    for row in measure():
        ratios = "".join(f"{x:10.2f}" for x in (row.ratio, row.lowest, row.highest))
        print(f"{row.name:32}{row.rate:16,.0f}{ratios}")


if __name__ == "__main__":
    _table()
