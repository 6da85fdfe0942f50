"""Numba: the generated source compiled for scalars, in one loop over arrays of their own shapes.

The machine code is kept in the user's cache folder (see `compilation_cache`) under a hash of all
that it depends on. A later process loads it from there and imports no Numba at all.

Large outputs are shared among threads: as many as ``NUMBA_NUM_THREADS`` says, else one a processor.
They are Python's own, outside its lock: Numba's parallel loops need Numba, may not be entered from
two threads at once, and do not promise to hand an error on.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from math import prod
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.arrays import real
from sgdtheory.lowering import numpy_backend, propagation, scalar_modes
from sgdtheory.lowering.compilation_cache import content_key, remembered_on_disk
from sgdtheory.lowering.printer import Source, define

__all__ = ["compile_source", "thread_count"]

Array = NDArray[np.float64]

# Elements that a thread takes at a time, about a millisecond of work: what one element costs varies
# with its time, so an even split would leave threads idle.
BLOCK = 2**13

_ADDRESS, _NUMBER = ctypes.c_void_p, ctypes.c_int64
# Numba's own order: where the result goes, where an error goes, then the arguments of the loop.
_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    *(_ADDRESS, _ADDRESS),
    *(_ADDRESS, _ADDRESS, _ADDRESS, _NUMBER, _NUMBER, _NUMBER, _ADDRESS, _ADDRESS),
)


def _loop(source: Source) -> str:
    """Source of the loop over the elements from `begin` to `end`, in C order.

    It takes the arguments' addresses, their strides in elements (an argument a row; 0 where it is
    broadcast), and the lengths of the axes. `position` says where an error was met.
    """
    count = len(source.parameters)
    entries = 1 if source.shape is None else prod(source.shape)
    numbers = range(count)
    lines = ["def loop(pointers, strides, lengths, axes, begin, end, out, position):"]
    lines += [f"    p{n}, s{n} = pointers[{n}], strides[{n} * axes + axes - 1]" for n in numbers]
    lines += [
        "    inner = lengths[axes - 1]",
        "    while begin < end:",
        "        row = begin // inner",
        "        first = begin - row * inner",
        "        last = min(inner, first + end - begin)",
    ]
    lines += [f"        o{n} = first * s{n}" for n in numbers]
    lines += [
        "        for axis in range(axes - 2, -1, -1):",
        "            index = row % lengths[axis]",
        "            row //= lengths[axis]",
    ]
    lines += [f"            o{n} += index * strides[{n} * axes + axis]" for n in numbers]
    lines += [
        "        for _ in range(first, last):",
        "            position[0] = begin",
        f"            values = lowered({', '.join(f'p{n}[o{n}]' for n in numbers)})",
    ]
    lines += [f"            out[begin * {entries} + {e}] = values[{e}]" for e in range(entries)]
    lines += [f"            o{n} += s{n}" for n in numbers]
    lines += ["            begin += 1", "    return 0"]
    return "\n".join(lines) + "\n"


def _surroundings(numba: ModuleSpec) -> tuple[str, ...]:
    """What the machine code depends on beside the generated text and the processor."""
    here = Path(__file__).parent
    sources = [Path(module.__file__ or "") for module in (propagation, scalar_modes)]
    sources += [here / "numba_compiler.py", here / "machine_code.py"]
    # The version, without an import of Numba.
    sources.append(Path(numba.origin or "").with_name("_version.py"))
    return (*(path.read_text(encoding="utf-8") for path in sources), sys.version)


def _compiled(source: Source) -> Callable[..., int]:
    """The loop as a function of addresses, from the disk if it is there."""
    if (numba := find_spec("numba")) is None:
        raise ModuleNotFoundError("backend = 'numba' needs Numba: pip install 'sgdtheory[numba]'.")
    machine_code: Any = import_module("sgdtheory.lowering.machine_code")
    loop = _loop(source)

    def build() -> bytes:
        compiler: Any = import_module("sgdtheory.lowering.numba_compiler")
        return cast(bytes, compiler.machine_code(source.text, loop))

    key = content_key((source.text, loop, *_surroundings(numba), *machine_code.processor()))
    return cast(Callable[..., int], machine_code.load(remembered_on_disk(key, build), _PROTOTYPE))


def thread_count() -> int:
    """As many as NUMBA_NUM_THREADS says, else as there are processors for this process."""
    if given := os.environ.get("NUMBA_NUM_THREADS"):
        return max(1, int(given))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _merged(strides: list[list[int]], shape: tuple[int, ...]) -> tuple[list[list[int]], list[int]]:
    """The same elements in the same order over as few axes as can be, one at least.

    Two axes are one where every argument steps through them evenly.

    Args:
        strides: of every argument along every axis.
        shape: lengths of the axes.
    """
    steps: list[list[int]] = []
    lengths: list[int] = []
    for length, *axis in zip(shape, *strides, strict=True):
        if length == 1:
            continue
        if lengths and steps[-1] == [step * length for step in axis]:
            lengths[-1] *= length
            steps[-1] = axis
        else:
            lengths.append(length)
            steps.append(axis)
    if not lengths:
        return [[0] for _ in strides], [1]
    return [list(row) for row in zip(*steps, strict=True)], lengths


def _steps(array: Array, shape: tuple[int, ...]) -> list[int]:
    """Elements from one entry of a broadcast array to the next, along every axis."""
    return [stride // array.itemsize for stride in np.broadcast_to(array, shape).strides]


def _as_numbers(argument: ArrayLike) -> Array:
    """An array of floats, of which a whole number lie from one entry to the next."""
    array = np.require(real(argument), requirements="A")
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if whole else np.ascontiguousarray(array)


def _run(loop: Callable[..., int], arrays: list[Array], shape: tuple[int, ...], out: Array) -> int:
    """Fill `out` from arrays that broadcast to a shape; the first element that failed, or −1."""
    strides, lengths = _merged([_steps(array, shape) for array in arrays], shape)
    pointers = np.array([array.ctypes.data for array in arrays], dtype=np.uintp)
    tables = (pointers, np.array(strides, dtype=np.int64), np.array(lengths, dtype=np.int64))
    fixed = (*(table.ctypes.data for table in tables), len(lengths))
    blocks = deque(range(0, prod(shape), BLOCK))
    failed: list[int] = []

    def take_blocks() -> None:
        returned, error, position = (
            np.zeros(1, np.int64),
            np.zeros(1, np.uintp),
            np.zeros(1, np.int64),
        )
        results = returned.ctypes.data, error.ctypes.data
        where = out.ctypes.data, position.ctypes.data
        with suppress(IndexError):
            while True:
                begin = blocks.popleft()
                end = min(begin + BLOCK, prod(shape))
                if loop(*results, *fixed, begin, end, *where):
                    failed.append(int(position[0]))
                    blocks.clear()

    helpers = [Thread(target=take_blocks) for _ in range(min(thread_count(), len(blocks)) - 1)]
    for helper in helpers:
        helper.start()
    try:
        take_blocks()
    finally:
        blocks.clear()
        for helper in helpers:
            helper.join()
    return min(failed, default=-1)


def _refuse(source: Source, element: Sequence[float]) -> NoReturn:
    """The error at one element: NumPy's, which names the value."""
    define(source.text, "lowered", numpy_backend.NAMESPACE)(*element)
    raise ValueError(f"{source.parameters} = {element}: no value here. Pass finite numbers.")


def compile_source(source: Source) -> Callable[..., Array]:
    """The source as a compiled function of arrays that broadcast."""
    loop = _compiled(source)
    tail = () if source.shape is None else source.shape

    def call(*arguments: ArrayLike) -> Array:
        arrays = [_as_numbers(argument) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        out = np.empty((*shape, *tail))
        if (failed := _run(loop, arrays, shape, out)) >= 0:
            index = np.unravel_index(failed, shape)
            _refuse(source, [float(np.broadcast_to(array, shape)[index]) for array in arrays])
        return out

    return call
