"""SGD on linear regression in replica-steps per second: ours, a C++ kernel, and torch.

    python -m validation.benchmarks.ensembles

Heavy ball, batches with replacement, weight decay; every contender makes the same updates on the
same data, in turns. The kernel is `ensemble.cpp`, compiled here for this processor. It draws from a
generator with a state, where ours can draw any number at any time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

import sgdtheory as sgd
from sgdtheory.ensembles import LinearRegressionEnsemble
from validation.benchmarks.table import Row, Target, lines
from validation.benchmarks.timing import Contender, compiled, processors, race

__all__ = ["contenders", "measure"]

Array: TypeAlias = NDArray[Any]
Work: TypeAlias = Callable[[], None]

EXAMPLES, DIMENSION, BATCH = 1000, 100, 16
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-3
HYPER = sgd.Hyperparameters(RATE, MOMENTUM, BATCH, DECAY)
PART, UNIT = "ensembles", "ns per replica and step"
KERNEL, OURS, LOOP = "C++ kernel", "ours, numba", "torch.optim.SGD, autograd"
NEAR, FASTER = Target(2.5), Target(200.0, at_most=False)


def _data() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(EXAMPLES, DIMENSION)) / np.sqrt(DIMENSION)
    return inputs, inputs @ rng.normal(size=DIMENSION) + rng.normal(size=EXAMPLES)


def _kernel(library: ctypes.CDLL, kind: Any, replicas: int, updates: int) -> Work:
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


def _numba(replicas: int, updates: int, sampling: str) -> Work:
    ensemble = LinearRegressionEnsemble(*_data(), replicas=replicas)

    def contender() -> None:
        ensemble.simulate(HYPER, updates, sampling=sampling)

    return contender


def _batched(replicas: int, updates: int, device: str) -> Work:
    inputs, targets = (torch.tensor(array, device=device) for array in _data())
    ensemble = LinearRegressionEnsemble(inputs, targets, replicas=replicas)

    def contender() -> None:
        # To the host, so that the device has finished.
        ensemble.simulate(HYPER, updates).position.cpu()

    return contender


def _optimiser(updates: int) -> Work:
    inputs, targets = map(torch.tensor, _data())

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


def _sized(
    name: str, make: Callable[..., Work], size: tuple[int, int], *more: Any, threads: int = 1
) -> Contender:
    """With billionths of the replica-steps as units, so that seconds are nanoseconds."""
    return Contender(name, size[0] * size[1] / 1e9, make(*size, *more), threads)


def contenders(scale: int = 1) -> list[Contender]:
    """All but the C++ kernels.

    Args:
        scale: divides the number of updates.
    """
    many, some, few = (64, 4000 // scale), (1024, 40 // scale), (1, 1000 // scale)
    found = [
        _sized(OURS, _numba, many, "with_replacement"),
        _sized(f"{OURS}, epochs", _numba, many, "epochs"),
        _sized("ours, torch, CPU", _batched, some, "cpu"),
        _sized(LOOP, lambda _, updates: _optimiser(updates), few),
    ]
    if len(processors()) > 1:
        shared = _sized(f"{OURS}, 2 threads", _numba, many, "with_replacement", threads=2)
        found.append(shared)
    if torch.cuda.is_available():
        found.append(_sized("ours, torch, CUDA", _batched, (2**17, 40 // scale), "cuda"))
    return found


def measure(turns: int = 9, scale: int = 1) -> list[Row]:
    """Rows of the table.

    Args:
        turns: how often each contender is timed.
        scale: divides the number of updates.
    """
    reference, kernels, missing = None, [], []
    with ExitStack() as stack:
        try:
            library = stack.enter_context(compiled(Path(__file__).with_name("ensemble.cpp")))
            size = (64, 4000 // scale)
            reference, single = (
                _sized(name, partial(_kernel, library, kind), size)
                for name, kind in ((KERNEL, np.float64), (f"{KERNEL}, float32", np.float32))
            )
            kernels = [reference, single]
        except FileNotFoundError as error:
            missing.append(Row(PART, KERNEL, note=str(error)))
        timings = race([*kernels, *contenders(scale)], reference, turns)
    rows = [
        Row.of(PART, timing, UNIT, NEAR if name == OURS else None)
        for name, timing in timings.items()
    ]
    faster = timings[LOOP].over(timings[OURS])
    return [*rows, Row(PART, f"{LOOP} / {OURS}", ratio=faster, target=FASTER), *missing]


if __name__ == "__main__":
    print("\n".join(lines(measure())))
