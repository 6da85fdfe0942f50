"""The Numba back end: one loop over arrays of their own shapes, threads, and a cache on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_int32
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sympy import ImmutableMatrix, Matrix, floor

import sgdtheory as sgd
from sgdtheory.lowering import compilation_cache, machine_code, numba_backend, numba_compiler
from sgdtheory.special_functions import CONTINUOUS, DISCRETE

s = sgd.symbols
THREADS = "NUMBA_NUM_THREADS"
FOLDER = compilation_cache.FOLDER_VARIABLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of one's own, which is not there yet."""
    path = tmp_path / "not" / "yet"
    monkeypatch.setenv(FOLDER, str(path))
    return path


@cache
def both(expression, arguments):
    return sgd.lower(expression, arguments), sgd.lower(expression, arguments, "numba")


def displacement(backend="numba"):
    """Of the exact recursion; its arguments are k, h, η, β, S and the noise."""
    process = sgd.recursion(sgd.heavy_ball(), noise=s.Sigma, curvature=s.h)
    arguments = (s.k, s.h, s.eta, s.beta, s.S, s.Sigma)
    return sgd.lower(process.displacement(s.k), arguments, backend)


def agree(value, reference):
    return np.abs(value - reference).max() <= 1e-12 * np.abs(reference).max()


# -- shapes --------------------------------------------------------------------------------------

POLYNOMIAL = s.theta * s.v**2 + s.h / (1 + s.theta**2)
LETTERS = (s.theta, s.v, s.h)


def numbers(*shape):
    return np.random.default_rng(3).uniform(1, 2, shape)


@pytest.mark.parametrize(
    "arrays",
    [
        (1.5, 2, np.float64(3)),
        (numbers(7), 2.0, 1.0),
        (numbers(0), 2.0, 1.0),
        (numbers(3, 0, 2), numbers(2), 1.0),
        (numbers(5, 1), numbers(7), 1.0),
        (numbers(7), numbers(5, 1), numbers(5, 7)),
        (numbers(4, 1, 3), numbers(5, 1), numbers(1)),
        (numbers(2, 1, 3, 1), numbers(4, 1, 5), numbers(2, 4, 1, 1)),
        (numbers(1, 1), numbers(1, 6, 1), 2.0),
        (numbers(3).astype(np.float32), [1, 2, 3], np.arange(3)),
        (numbers(3) > 1.5, numbers(3).astype(">f8"), 1),
        (numbers(6, 4)[::2, ::-1], numbers(4, 3).T, numbers(8)[::2]),
        (numbers(4, 6).T[::-1], np.asfortranarray(numbers(6, 4)), 1.0),
        (np.broadcast_to(numbers(5), (3, 5)), numbers(3, 1), 1.0),
    ],
    ids=lambda arrays: "×".join(str(np.shape(array)) for array in arrays),
)
def test_every_shape_and_type_as_numpy_has_it(arrays):
    value = both(POLYNOMIAL, LETTERS)[1](*arrays)
    theta, v, h = (np.asarray(array, dtype=float) for array in arrays)
    reference = theta * v**2 + h / (1 + theta**2)
    assert value.shape == reference.shape
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, reference, rtol=1e-15)


def test_strides_that_are_no_whole_number_of_elements():
    record = np.zeros(5, dtype=[("flag", "i1"), ("x", "f8")])
    record["x"] = numbers(5)
    value = both(POLYNOMIAL, LETTERS)[1](record["x"], 1.0, 1.0)
    assert np.array_equal(value, both(POLYNOMIAL, LETTERS)[1](numbers(5), 1.0, 1.0))
    packed = np.zeros(5, dtype=[("x", "f8"), ("y", "f4")])
    packed["x"] = numbers(5)
    assert np.array_equal(both(POLYNOMIAL, LETTERS)[1](packed["x"], 1.0, 1.0), value)


@pytest.mark.parametrize(
    "shapes", [((), ()), ((3,), ()), ((4, 1), (3,)), ((0,), ()), ((5, 1), (1,))]
)
def test_a_matrix_adds_two_axes(shapes):
    x, y = (numbers(*shape) for shape in shapes)
    matrix = ImmutableMatrix([[s.theta, s.v, 1], [s.theta * s.v, 2, s.theta - s.v]])
    value = both(matrix, LETTERS[:2])[1](x, y)
    x, y = np.broadcast_arrays(x, y)
    rows = [[x, y, np.ones_like(x)], [x * y, np.full_like(x, 2), x - y]]
    assert np.array_equal(value, np.moveaxis(np.array(rows), (0, 1), (-2, -1)))


def test_no_arguments_at_all():
    value = sgd.lower(Matrix([[1, 2]]), (), "numba")()
    assert value.tolist() == [[1.0, 2.0]]


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        both(POLYNOMIAL, LETTERS)[1](numbers(3), numbers(4), 1.0)


def test_the_arguments_stay_as_they_were_given():
    arrays = [numbers(5, 1), numbers(4), numbers(5, 4)]
    copies = [array.copy() for array in arrays]
    both(POLYNOMIAL, LETTERS)[1](*arrays)
    assert all(map(np.array_equal, arrays, copies))


def test_no_argument_is_copied_to_the_full_shape():
    """The result is one array of the full shape; three broadcast copies would be three more."""
    import tracemalloc

    f = both(POLYNOMIAL, LETTERS)[1]
    arrays = numbers(1000, 1), numbers(1000), 1.0
    tracemalloc.start()
    try:
        size = f(*arrays).nbytes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size <= peak < 1.1 * size


def test_blocks_that_end_inside_a_row(monkeypatch):
    arrays = numbers(3, 1, 7), numbers(5, 1), numbers(7)
    whole = both(POLYNOMIAL, LETTERS)[1](*arrays)
    for block in (1, 2, 5, 8, 104, 105, 106):
        monkeypatch.setattr(numba_backend, "BLOCK", block)
        assert np.array_equal(both(POLYNOMIAL, LETTERS)[1](*arrays), whole)


@pytest.mark.parametrize("clock", [CONTINUOUS, DISCRETE], ids=lambda clock: clock.name)
def test_modes_against_times_agree_with_numpy(clock):
    letters = (s.k, s.h, s.y)
    expression = ImmutableMatrix([[function(*letters) for function in clock.classes]])
    numpy, numba = both(expression, letters)
    rng = np.random.default_rng(8)
    arrays = rng.integers(0, 300, (40, 1)).astype(float), *rng.uniform(0.01, 1.9, (2, 1, 50))
    assert agree(numba(*arrays), numpy(*arrays))


# -- threads -------------------------------------------------------------------------------------


class Counted(threading.Thread):
    started = 0

    def start(self):
        Counted.started += 1
        super().start()


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(numba_backend, "Thread", Counted)
    monkeypatch.setattr(Counted, "started", 0)
    return Counted


STEPS = np.unique(np.round(np.geomspace(1, 1e6, 60)))[:, None]
CURVATURES = np.geomspace(1e-6, 10, 4000)


def test_no_number_of_threads_changes_a_bit(monkeypatch, counted):
    f = displacement()
    values = {}
    for threads in (1, 2, 3, 16):
        monkeypatch.setenv(THREADS, str(threads))
        before = counted.started
        values[threads] = f(STEPS, CURVATURES, 0.1, 0.9, 4.0, 1.0)
        assert counted.started - before == threads - 1
    assert np.isfinite(values[1]).all()
    assert all(np.array_equal(values[1], value) for value in values.values())


def test_small_outputs_start_no_thread(monkeypatch, counted):
    monkeypatch.setenv(THREADS, "8")
    displacement()(np.arange(50.0)[:, None], CURVATURES[:100], 0.1, 0.9, 4.0, 1.0)
    assert counted.started == 0


def test_calls_from_several_threads_at_once():
    f = displacement()
    once = f(STEPS, CURVATURES, 0.1, 0.9, 4.0, 1.0)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(f, STEPS, CURVATURES, 0.1, 0.9, 4.0, 1.0) for _ in range(8)]
        assert all(np.array_equal(call.result(), once) for call in calls)


def test_without_advice_every_processor_of_this_process_works(monkeypatch):
    monkeypatch.delenv(THREADS, raising=False)
    assert numba_backend.thread_count() >= 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert numba_backend.thread_count() == 3


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("bad", [2.5, -1.0, np.nan, np.inf, 2.0**54])
def test_a_bad_step_count_anywhere_is_refused_by_its_value(monkeypatch, bad, threads):
    monkeypatch.setenv(THREADS, threads)
    steps = np.repeat(STEPS, 2, axis=1).T.reshape(-1, 1)
    steps[len(steps) // 2] = bad
    f = displacement()
    with pytest.raises(ValueError, match=re.escape(f"k = {bad}: update counts are whole")):
        f(steps, CURVATURES, 0.1, 0.9, 4.0, 1.0)
    # And the next call is as if nothing had happened.
    assert np.isfinite(f(STEPS, CURVATURES, 0.1, 0.9, 4.0, 1.0)).all()


def test_an_infinite_rate_is_refused():
    f = both(CONTINUOUS.classes[0](s.t, s.h, s.y), (s.t, s.h, s.y))[1]
    with pytest.raises(ValueError, match="pass finite numbers"):
        f([1.0, np.inf], 1.0, 1.0)


def test_division_by_zero_is_no_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = both(s.theta / s.v, (s.theta, s.v))[1]([1.0, 0.0], 0.0)
    np.testing.assert_array_equal(value, [np.inf, np.nan])


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(numba_backend, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sgdtheory\[numba\]'"):
        sgd.lower(s.eta, (s.eta,), "numba")


def test_code_that_calls_what_is_not_there_is_refused_before_it_is_loaded():
    with pytest.raises(RuntimeError, match="calls no_such_function"):
        machine_code.load(b'["no_such_function"]\nno code', CFUNCTYPE(c_int32))


# -- the cache -----------------------------------------------------------------------------------

SMALL = s.eta**2 / s.S
EVERY_FUNCTION = """
import sys, warnings
warnings.simplefilter("error")
from sympy import Matrix, Max, Min, Rational, sinc, sqrt
import sgdtheory as sgd
from sgdtheory.lowering.printer import ELEMENTARY
from sgdtheory.special_functions import CONTINUOUS, DISCRETE
x, y = sgd.symbols.theta, sgd.symbols.v
entries = [function(x) for function in ELEMENTARY] + [sinc(x), sqrt(x), x**y, x**-3]
entries += [x**Rational(1, 3), Min(x, y), Max(x, y), CONTINUOUS.classes[0](x, y, 1)]
entries += [CONTINUOUS.classes[-1](x, y, 1), DISCRETE.classes[-1](5, x, y)]
entries += [DISCRETE.sum_classes[-1](5, x, y)]
value = sgd.lower(Matrix([entries]), (x, y), "numba")(0.7, 1.3)
print("numba" in sys.modules, value.tobytes().hex())
"""
ONE_LINE = """
import sys, sgdtheory as sgd
s = sgd.symbols
value = sgd.lower(s.eta**2 / s.S, (s.eta, s.S), "numba")([3.0, 1.0], 2.0)
print("numba" in sys.modules, value.tolist())
"""


def start(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def output(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert not error
    return out.split(maxsplit=1)


def test_a_second_process_compiles_nothing_and_imports_no_numba(folder):
    """Every function of the table must be found where Numba has not registered its own."""
    loaded, value = output(start(EVERY_FUNCTION))
    loaded_again, value_again = output(start(EVERY_FUNCTION))
    assert (loaded, loaded_again) == ("True", "False")
    assert value == value_again


def test_two_processes_at_once(folder):
    first, second = start(ONE_LINE), start(ONE_LINE)
    assert output(first)[1] == output(second)[1] == "[4.5, 0.5]\n"
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


@pytest.fixture
def builds(monkeypatch):
    """Texts that Numba was given to compile."""
    given = []
    compiled = numba_compiler.machine_code

    def machine_code(lowered, loop):
        given.append(lowered)
        return compiled(lowered, loop)

    monkeypatch.setattr(numba_compiler, "machine_code", machine_code)
    return given


def lowered_here():
    assert sgd.lower(SMALL, (s.eta, s.S), "numba")([3.0, 1.0], 2.0).tolist() == [4.5, 0.5]


def damaged(stored):
    changed = bytearray(stored)
    changed[len(stored) // 2] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "damage",
    [damaged, lambda b: b[:-100], lambda b: b[:10], lambda b: b"", lambda b: b + b"x"],
    ids=["one bit", "cut off", "cut in the digest", "empty", "longer"],
)
def test_a_damaged_file_is_built_anew(folder, builds, damage):
    lowered_here()
    lowered_here()
    assert len(builds) == 1
    (path,) = folder.iterdir()
    stored = path.read_bytes()
    path.write_bytes(damage(stored))
    lowered_here()
    assert len(builds) == 2
    lowered_here()
    assert len(builds) == 2
    assert list(folder.iterdir()) == [path]


def test_a_file_under_another_ones_name_is_not_run(folder, builds):
    lowered_here()
    (path,) = folder.iterdir()
    sgd.lower(s.eta + s.S, (s.eta, s.S), "numba")
    (other,) = set(folder.iterdir()) - {path}
    path.write_bytes(other.read_bytes())
    lowered_here()
    assert len(builds) == 3


@pytest.mark.parametrize("place", ["below a file", "a file in the way", "no folder"])
def test_where_nothing_can_be_written_all_works(tmp_path, monkeypatch, builds, place):
    (tmp_path / "file").write_text("")
    if place == "no folder":
        monkeypatch.setattr(compilation_cache, "cache_folder", lambda: None)
    else:
        name = "file/folder" if place == "below a file" else "file"
        monkeypatch.setenv(FOLDER, str(tmp_path / name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lowered_here()
        lowered_here()
    assert len(builds) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_leaves_nothing_behind(folder, monkeypatch, builds):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    lowered_here()
    assert list(folder.iterdir()) == []


def test_the_key_depends_on_all_that_the_code_depends_on(folder, monkeypatch, builds):
    lowered_here()
    processor = (*machine_code.processor()[:3], "another LLVM")
    for module, name, value in (
        (machine_code, "processor", lambda: processor),
        (numba_backend.sys, "version", "4.0"),
        (numba_backend, "_surroundings", lambda _: ("another text",)),
    ):
        before = len(builds)
        with monkeypatch.context() as changed:
            changed.setattr(module, name, value)
            lowered_here()
        assert len(builds) == before + 1
    parts = numba_backend._surroundings(numba_backend.find_spec("numba"))
    for text in ("def compose_flows(", "def checked_steps(", "def machine_code(", sys.version):
        assert any(text in part for part in parts)


def test_parts_of_a_key_do_not_run_together():
    keys = {compilation_cache.content_key(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"])}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({FOLDER: "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/sgdtheory"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/sgdtheory"),
        ({FOLDER: "", "HOME": "/c"}, "/c/.cache/sgdtheory"),
    ],
)
def test_where_the_cache_is(monkeypatch, given, expected):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in (FOLDER, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert compilation_cache.cache_folder() == Path(expected)


def test_where_the_cache_is_elsewhere(monkeypatch):
    for name in (FOLDER, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/c")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert compilation_cache.cache_folder() == Path("/c/Library/Caches/sgdtheory")
    monkeypatch.setattr(sys, "platform", "win32")
    assert compilation_cache.cache_folder() is None


def test_corners_of_the_elementary_functions_are_numpys():
    x = sgd.symbols.coordinates(1)[0]
    for expression, at in (
        (floor(x), [1e19, -1e300, 2.5]),
        (x**-3, [0.0, 2.0]),
        (x**-2, [0.0, -2.0]),
        (x + 2**70, [1.0]),
        (10**30 * x, [3.0]),
    ):
        results = [sgd.lower(expression, (x,), backend)(at) for backend in ("numpy", "numba")]
        assert np.array_equal(*results), expression
