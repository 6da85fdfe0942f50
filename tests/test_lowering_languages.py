"""C and JavaScript: compiled by gcc, run by node, and compared with NumPy and with 50 digits."""

from __future__ import annotations

import ctypes
import json
import math
import pickle
import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path
from shutil import which
from tempfile import mkdtemp

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import (
    Abs,
    Add,
    Float,
    Integer,
    Matrix,
    Max,
    Min,
    Mul,
    Pow,
    Rational,
    Symbol,
    asin,
    atan,
    cos,
    cosh,
    exp,
    eye,
    floor,
    log,
    pi,
    preorder_traversal,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

import sgdtheory as sgd
from sgdtheory.lowering import c_backend, javascript_backend
from sgdtheory.lowering.printer import ELEMENTARY, generate
from sgdtheory.special_functions import CONTINUOUS, DISCRETE

s = sgd.symbols
EPSILON = np.finfo(float).eps
C99 = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]
LANGUAGES = [
    pytest.param(
        backend,
        marks=pytest.mark.skipif(which(tool) is None, reason=f"{tool} is not installed"),
    )
    for backend, tool in (("c", "gcc"), ("javascript", "node"))
]
needs_gcc = pytest.mark.skipif(which("gcc") is None, reason="gcc is not installed")
needs_cpp = pytest.mark.skipif(which("g++") is None, reason="g++ is not installed")
needs_node = pytest.mark.skipif(which("node") is None, reason="node is not installed")
both_languages = pytest.mark.parametrize("backend", LANGUAGES)


def run(command, given=None):
    """Output of a program; its complaints are the failure's message."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def columns_of(arguments):
    """Broadcast arrays, one row an argument."""
    arrays = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in arguments))
    return np.ascontiguousarray([array.ravel() for array in arrays])


def run_c(f, arguments):
    source, _ = f.write(mkdtemp())
    library = source.with_suffix(".so")
    # The header stands in front, so that its declarations are compared with the definitions.
    header = source.with_suffix(".h")
    run([*C99, "-shared", "-fPIC", "-include", header, source, "-o", library, "-lm"])
    columns = columns_of(arguments)
    shape = getattr(f.expression, "shape", ())
    out = np.full((columns.shape[1], *shape), 0.1234)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*columns, out)]
    getattr(ctypes.CDLL(library), f"{f.name}_array")(ctypes.c_size_t(columns.shape[1]), *pointers)
    return out


DRIVER = """
import {{ {name} as call }} from "./{name}.mjs";
import {{ readFileSync }} from "node:fs";
const points = JSON.parse(readFileSync(0));
const shown = (value) => (Array.isArray(value) ? value.map(shown) : String(value));
const safe = (point) => {{
    try {{
        return shown(call(...point.map(Number)));
    }} catch (error) {{
        return `${{error.name}}: ${{error.message}}`;
    }}
}};
console.log(JSON.stringify(points.map(safe)));
"""


def run_node(f, arguments):
    """Values at the points, as text: Number's own text is exact, and JSON knows no NaN."""
    (source,) = f.write(mkdtemp())
    driver = source.with_name("driver.mjs")
    driver.write_text(DRIVER.format(name=f.name))
    spelled = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    points = [
        [spelled.get(repr(float(x)), repr(float(x))) for x in point]
        for point in columns_of(arguments).T
    ]
    return json.loads(run(["node", driver], json.dumps(points)))


def run_in(backend, f, *arguments):
    if backend == "c":
        return run_c(f, arguments)
    return np.array(run_node(f, arguments)).astype(float)


# -- against NumPy ------------------------------------------------------------------------------


@cache
def process_of(kind):
    rule = sgd.heavy_ball()
    if kind == "continuous":
        equation = sgd.modified_equation(rule)
        return sgd.ornstein_uhlenbeck(equation, noise=s.Sigma, curvature=s.h)
    sampling = {} if kind == "discrete" else {"sampling": kind}
    return sgd.recursion(rule, noise=s.Sigma, curvature=s.h, **sampling)


@cache
def moment(kind, name):
    return getattr(process_of(kind), name)(s.t if kind == "continuous" else s.k)


def settings_over_many_decades(size):
    """Stable settings with flat, critical, underdamped and alternating directions among them."""
    rng = np.random.default_rng(11)
    eta = 10 ** rng.uniform(-6, 1, size)
    beta = 1 - 10 ** rng.uniform(-5, 0, size)
    limit = 2 * (1 + beta) / eta
    h = limit * np.where(rng.random(size) < 0.5, rng.uniform(0, 1, size), 1e-9 ** rng.random(size))
    batch, batches = rng.integers(1, 100, size), rng.integers(2, 50, size)
    steps = np.floor(10 ** rng.uniform(0, 7, size))
    values = {s.k: steps, s.t: steps * eta, s.h: h, s.eta: eta, s.beta: beta}
    values |= {s.Sigma: rng.uniform(0, 2, size), s.S: batch, s.M: batches, s.N: batch * batches}
    return values


MOMENTS = [
    *(("continuous", m) for m in ("propagator", "covariance", "autocovariance", "displacement")),
    *(("discrete", m) for m in ("propagator", "covariance", "autocovariance", "displacement")),
    *(("epochs", m) for m in ("covariance", "displacement")),
    *(("fixed_order", m) for m in ("covariance", "displacement")),
]


def worst(values, reference):
    """Largest difference from the reference, relative to each entry's own size."""
    assert np.isfinite(reference).all()
    return float(np.max(np.abs(values - reference) / np.maximum(np.abs(reference), 1e-300)))


@both_languages
@pytest.mark.parametrize(("kind", "name"), MOMENTS)
def test_moments_over_many_decades(kind, name, backend):
    """The operations are those of NumPy, in its order, so even badly conditioned values agree."""
    expression = moment(kind, name)
    values = settings_over_many_decades(400)
    arguments = tuple(sorted(expression.free_symbols, key=str))
    points = [values[symbol] for symbol in arguments]
    reference = sgd.lower(expression, arguments)(*points)
    found = run_in(backend, sgd.lower(expression, arguments, backend), *points)
    assert worst(found, reference) <= 1e-13


EVERY_FUNCTION = [*CONTINUOUS.classes, *DISCRETE.classes, *DISCRETE.sum_classes]


@both_languages
def test_the_functions_of_a_mode(backend):
    """All at once: one file has every routine; traces above 2 are the alternating modes."""
    rng = np.random.default_rng(5)
    determinant = 4 * 1e-12 ** rng.random(600)
    trace = np.where(
        rng.random(600) < 0.9, determinant / 2 + rng.random(600) * 2, 2 * np.sqrt(determinant)
    )
    steps = np.floor(10 ** rng.uniform(-0.5, 7, 600))
    expression = Matrix([[function(s.k, s.h, s.y) for function in EVERY_FUNCTION]])
    arguments = (s.k, s.h, s.y)
    with np.errstate(all="ignore"):
        reference = sgd.lower(expression, arguments)(steps, trace, determinant)
    found = run_in(backend, sgd.lower(expression, arguments, backend), steps, trace, determinant)
    # Unstable modes overflow: both must then say so.
    finite = np.isfinite(reference)
    assert finite.mean() > 0.7
    assert np.array_equal(finite, np.isfinite(found))
    assert worst(found[finite], reference[finite]) <= 1e-13


@both_languages
@pytest.mark.parametrize("steps", [2.0**31 + 1, 2.0**32, 2.0**40 + 3, 2.0**53 - 1, 2.0**53])
def test_counts_beyond_32_bits(backend, steps):
    """At trace 2 and determinant 2 − x the map has trace 0: its powers tell odd from even."""
    expression = DISCRETE.functions(s.k, s.h, s.y).relaxation
    f = sgd.lower(expression, (s.k, s.h, s.y), backend)
    # M = ((1, 1), (−b, 1 − a)) with a = 3, b = 3 has M³ = 1: q depends on k modulo 3 alone.
    power = np.linalg.matrix_power(np.array([[1, 1], [-3, -2]]), int(steps) % 3)
    assert run_in(backend, f, steps, 3.0, 3.0)[0] == power[0, 0]


# -- elementary expressions against 50 digits ---------------------------------------------------

LETTERS = [Symbol(name, positive=True) for name in ("x", "y", "z")]
CONSTANTS = [Integer(-3), Integer(2), Rational(1, 3), Rational(-7, 2), pi, sqrt(2), Float("0.1")]
EXPONENTS = [-3, -2, -1, 2, 3, 5, *(Rational(n, 2) for n in (-3, -1, 1, 3)), Rational(2, 3)]
DERIVATIVES = {
    exp: mp.exp,
    log: lambda x: 1 / x,
    sin: mp.cos,
    cos: mp.sin,
    tan: lambda x: mp.sec(x) ** 2,
    sinh: mp.cosh,
    cosh: mp.sinh,
    tanh: lambda x: mp.sech(x) ** 2,
    atan: lambda x: 1 / (1 + x * x),
}


def grow(smaller):
    functions = st.sampled_from([exp, sin, cos, tan, sinh, cosh, tanh, atan, floor])
    above_one = smaller.map(lambda u: 1 + u**2)
    return st.one_of(
        st.builds(Add, smaller, smaller),
        st.builds(Mul, smaller, smaller),
        st.builds(Pow, st.one_of(st.sampled_from(LETTERS), above_one), st.sampled_from(EXPONENTS)),
        st.builds(lambda function, u: function(u), functions, smaller),
        st.builds(log, above_one),
        st.builds(Min, smaller, smaller),
        st.builds(Max, smaller, smaller),
    )


EXPRESSIONS = st.recursive(st.sampled_from(LETTERS + CONSTANTS), grow, max_leaves=8)
UNBOUNDED = (mp.mpf(0), mp.inf)


def value_and_error(node, point):
    """Value to 50 digits, and a bound of what rounding does to it, in units of ε.

    First-order running error analysis: each operation hands on the errors of its operands and adds
    its own, 1 for an arithmetic operation and 4 for a function of a mathematical library.
    """
    if not node.args or node.is_number:
        value = point[node] if node in point else mp.mpmathify(node.evalf(50))
        return value, abs(value)
    parts = [value_and_error(part, point) for part in node.args]
    if any(not mp.isfinite(bound) or not 1e-200 < abs(v) < 1e200 for v, bound in parts if v):
        return UNBOUNDED
    values, bounds = zip(*parts, strict=True)
    if node.is_Add:
        return mp.fsum(values), mp.fsum(bounds) + len(parts) * mp.fsum(map(abs, values))
    if node.is_Mul:
        value = mp.fprod(values)
        relative = mp.fsum(b / abs(v) for v, b in parts) if value else mp.inf
        return value, abs(value) * (relative + len(parts))
    if node.is_Pow:
        value = values[0] ** values[1]
        relative = abs(values[1]) * (bounds[0] / values[0] + abs(mp.log(values[0])))
        return value, abs(value) * (relative + 4)
    if node.func in (Min, Max):
        return (min if node.func is Min else max)(values), max(bounds)
    if node.func is floor:
        value = mp.floor(values[0])
        far = abs(values[0] - mp.nint(values[0])) > 4 * EPSILON * bounds[0]
        return (value, mp.mpf(0)) if far else UNBOUNDED
    value = getattr(mp, str(node.func))(values[0])
    return value, abs(DERIVATIVES[node.func](values[0])) * bounds[0] + 4 * abs(value)


@both_languages
@settings(max_examples=20)
@given(
    expressions=st.lists(EXPRESSIONS, min_size=8, max_size=8),
    point=st.tuples(*[st.floats(1 / 16, 4)] * 3),
)
def test_elementary_expressions(backend, expressions, point):
    expected = []
    kept = []
    with mp.workdps(50):
        exact = dict(zip(LETTERS, map(mp.mpf, point), strict=True))
        for expression in expressions:
            constants = [part for part in preorder_traversal(expression) if part.is_number]
            # SymPy must know that a constant is a real number: of tan(log(10)) it does not.
            if not all(part.is_real and part.is_finite for part in constants):
                continue
            value, bound = value_and_error(expression, exact)
            # Where the first order is no bound, or a double no place for it, nothing is promised.
            if bound * EPSILON < 1e-6 * abs(value) and 1e-200 < abs(value) < 1e200:
                kept.append(expression)
                expected.append((float(value), float(bound) * EPSILON))
    assume(kept)
    f = sgd.lower(Matrix([kept]), tuple(LETTERS), backend)
    found = run_in(backend, f, *point)[0].ravel()
    for expression, number, (value, error) in zip(kept, found, expected, strict=True):
        assert abs(number - value) <= error, (expression, point)


@both_languages
@pytest.mark.parametrize("function", ELEMENTARY, ids=str)
def test_every_function_of_the_table_has_a_meaning(backend, function):
    f = sgd.lower(function(s.theta), (s.theta,), backend)
    assert math.isclose(run_in(backend, f, 0.7)[0], function(Float("0.7", 30)), rel_tol=8 * EPSILON)


@both_languages
def test_what_a_language_lacks_is_named(backend):
    source = written("    return (polygamma(x),)\n", None)
    with pytest.raises(ValueError, match=r"contains polygamma, for which (C|JavaScript) has no"):
        TRANSLATE[backend](source, "f", [])


def written(body, shape):
    """A source by hand, which `generate` would not write."""
    source = generate(s.theta, (s.theta,))
    return replace(source, text=f"def lowered(x, y):\n{body}", parameters=("x", "y"), shape=shape)


# -- the restricted Python ----------------------------------------------------------------------

TRANSLATE = {"c": c_backend.translate, "javascript": javascript_backend.translate}
PROGRAMS = {
    "all values are those from before": "    x, y = y, x - y\n    return (x, y)\n",
    "the order of operations": (
        "    return (x - (y - x) - y, x / (y / x) * y, -(x - y) * -x, 2 - (x+y), -x**2, (-x)**2)\n"
    ),
    "integers divide to floats": (
        "    return (1/2, 7/2*x, x**(1/3), x**(-1/2), 3, -2, 10**2 / 3)\n"
    ),
    "numbers that no integer type holds": (
        f"    return (x * {10**40}, {-(2**63)} + y, {2**70}/3)\n"
    ),
    "powers": (
        "    return (x**2, x**3, x**4, (x + y)**2, x**-2, 2**x, y / x**2, x**2 * y, (x*y)**3)\n"
    ),
    "loops and branches": (
        "    total = 0.0\n    count = int(floor(y * 10))\n"
        "    for i in range(1, 8):\n        if i % 3 == 1 and not x > 10:\n"
        "            part = x / i\n            total += part\n"
        "        else:\n            total -= i // 2 * y\n"
        "    while count > 0 and total != x:\n        count = count // 2\n        total *= 1.5\n"
        "    return (total, 1.0 if x < y <= 3 or count == 5 else 0.0)\n"
    ),
    "a condition inside an operation": (
        "    return ((x if x < y else y) * 2 - (y if x > 1 else x),)\n"
    ),
}


def program(body):
    text = f"def lowered(x, y):\n{body}"
    scope = {"floor": math.floor}
    exec(text, scope)
    entries = scope["lowered"](1.3, 2.6)
    return written(body, (1, len(entries))), entries


class Written:
    """A translation, as the harness takes it."""

    write = sgd.LoweredFunction.write

    def __init__(self, backend, source):
        self.files, self.name = TRANSLATE[backend](source, "f", ["by hand"]).files, "f"
        self.expression = Matrix(*source.shape, lambda i, j: 0)


@both_languages
@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_means_what_it_means_in_python(backend, body):
    source, expected = program(body)
    found = run_in(backend, Written(backend, source), 1.3, 2.6).ravel()
    assert np.allclose(found, np.array(expected, dtype=float), rtol=2 * EPSILON, atol=0)


@both_languages
@pytest.mark.parametrize(
    "body",
    [
        "    return (x @ y,)\n",
        "    return (x[0:1],)\n",
        "    return (lambda: x,)\n",
        "    return (z,)\n",
        "    if x > 1:\n        z = x\n    return (z,)\n",
        "    with x:\n        pass\n    return (x,)\n",
        "    n = 1\n    n = n % 2\n    n = x % 2\n    return (x,)\n",
        "    return ('text',)\n",
        "    return (exp(x, base=y),)\n",
    ],
)
def test_other_python_is_refused(backend, body):
    source = written(body, (1, 1))
    with pytest.raises(ValueError, match="no translation of"):
        TRANSLATE[backend](source, "f", [])


@both_languages
def test_a_number_beyond_doubles_is_refused(backend):
    with pytest.raises(ValueError, match="beyond any double"):
        sgd.lower(s.theta * Integer(10) ** 400, (s.theta,), backend)


# -- shapes, names and text ---------------------------------------------------------------------


@both_languages
def test_a_matrix_has_rows_and_columns(backend):
    f = sgd.lower(Matrix([[s.theta, s.v, 1], [s.v, s.theta * s.v, 0]]), (s.theta, s.v), backend)
    expected = [[[2, 5, 1], [5, 10, 0]], [[3, 7, 1], [7, 21, 0]]]
    assert np.array_equal(run_in(backend, f, [2, 3], [5, 7]), expected)


@both_languages
@pytest.mark.parametrize("expression", [Integer(3), sqrt(5), pi, Rational(1, 3), eye(2)], ids=str)
def test_a_constant_needs_none_of_its_arguments(backend, expression):
    f = sgd.lower(expression, (s.theta, s.v), backend)
    expected = np.array(expression, dtype=float)
    assert np.array_equal(run_in(backend, f, [1, 2], 0), [expected, expected])


@needs_gcc
def test_a_function_of_nothing_in_c():
    source, _ = sgd.lower(pi, (), "c", name="circle").write(mkdtemp())
    main = source.with_name("main.c")
    main.write_text(
        '#include <stdio.h>\n#include "circle.h"\nint main(void)\n{ double all[2];\n'
        'circle_array(2, all); printf("%.17g %.17g", circle(), all[1]); return 0; }\n'
    )
    program = source.with_suffix("")
    run([*C99, source, main, "-o", program, "-lm"])
    assert (
        run([program]).split() == [repr(math.pi)[:17]] * 2
        or [float(number) for number in run([program]).split()] == [math.pi] * 2
    )


@needs_node
def test_a_function_of_nothing_in_javascript():
    assert run_node(sgd.lower(pi, (), "javascript"), [np.zeros(0)]) == []
    (source,) = sgd.lower(pi, (), "javascript", name="circle").write(mkdtemp())
    code = f'import {{ circle }} from "{source}"; console.log(circle())'
    assert float(run(["node", "--input-type=module", "-e", code])) == math.pi


AWKWARD = """
    double new function I size out element i NAN M_PI INFINITY linux Tuple4 Tuple7 int64_t class
    this discrete_mode compose_flows checked_steps lowered lowered_array exp pow fabs sqrt isnan
    short arguments eval await Math Number RangeError let static typeof yield _t1 _x0
    _m0_step_response lambda None γ ∂x x_{1} 2x x-y restrict signgam y1 gamma NULL EOF INT64_MAX
"""


@both_languages
def test_an_argument_may_have_any_name(backend):
    letters = [Symbol(name) for name in AWKWARD.split()]
    at = dict(zip(letters, np.linspace(0.5, 1.5, len(letters)), strict=True))
    total = Add(*(Integer(i + 1) * exp(letter / 7) for i, letter in enumerate(letters)))
    modes = DISCRETE.functions(s.k, letters[0], letters[1]).position_gramian
    expression = total + modes
    f = sgd.lower(expression, (s.k, *letters), backend)
    expected = float(sgd.lower(expression, (s.k, *letters))(5.0, *at.values()))
    assert math.isclose(run_in(backend, f, 5.0, *at.values())[0], expected, rel_tol=1e-13)


@both_languages
@pytest.mark.parametrize("name", ["a*/ #error b", "a/* b", "a\n#error", "a??/", "a\u202eb", "a\\"])
def test_a_name_cannot_leave_its_comment(backend, name):
    letter = Symbol(name)
    f = sgd.lower(letter + 1, (letter,), backend)
    assert run_in(backend, f, 2.0)[0] == 3.0


@both_languages
def test_the_text_says_what_it_computes(backend):
    f = sgd.lower(s.eta**2 / s.S, (s.eta, s.S), backend)
    for text in f.files.values():
        assert "(eta, S) ↦ eta**2/S" in text
    assert backend in f.__doc__
    assert "(eta, S) ↦ eta**2/S" in f.__doc__
    assert "discrete" not in f.source


@both_languages
def test_what_is_too_long_to_be_read_is_not_written_out(backend):
    """Of an expression of thousands of terms the text names the arguments and the shape."""
    expression = Matrix([[sum(s.eta**i / (s.S + j) for i in range(9) for j in range(9)), 1]])
    text = sgd.lower(expression, (s.eta, s.S), backend).source
    assert "(eta, S) ↦ a 1 × 2 matrix, by an expression that is too long to be read" in text


@both_languages
def test_a_file_contains_what_it_needs_and_no_more(backend):
    source = sgd.lower(moment("continuous", "displacement"), _arguments("t"), backend).source
    assert "short_flow(" in source
    assert not [name for name in ("moments", "sums", "discrete_flow") if f"{name}(" in source]


def _arguments(clock):
    return (getattr(s, clock), s.h, s.Sigma, s.eta, s.beta, s.S)


@both_languages
@pytest.mark.parametrize(
    "name", ["double", "2x", "a-b", "sin", "", "a b", "γ", "discrete_flow", "x;y", "_x", "this"]
)
def test_a_function_needs_a_free_name(backend, name):
    if (backend, name) in {("javascript", "double"), ("javascript", "sin")}:
        assert f"export function {name}(" in sgd.lower(s.eta, (s.eta,), backend, name).source
        return
    with pytest.raises(ValueError, match="name = "):
        sgd.lower(moment("discrete", "displacement"), _arguments("k"), backend, name)


# -- the record ---------------------------------------------------------------------------------


@both_languages
def test_the_record_keeps_what_it_came_from(backend):
    f = sgd.lower(s.eta / s.S, (s.eta, s.S), backend, name="step")
    assert (f.expression, f.arguments, f.backend, f.name) == (
        s.eta / s.S,
        (s.eta, s.S),
        backend,
        "step",
    )
    copy = pickle.loads(pickle.dumps(f))
    assert copy == f
    assert hash(copy) == hash(f)
    assert copy.files == f.files
    assert copy.name == "step"


@both_languages
def test_text_cannot_be_called(backend):
    f = sgd.lower(s.eta / s.S, (s.eta, s.S), backend, name="step")
    with pytest.raises(
        TypeError, match=r"yields text.*write\(folder\).*(cc -std=c99|import \{ step)"
    ):
        f(1.0, 2.0)


def test_files_are_written_into_a_new_folder(tmp_path):
    for backend, names in (("c", ["step.c", "step.h"]), ("javascript", ["step.mjs"])):
        f = sgd.lower(s.eta / s.S, (s.eta, s.S), backend, name="step")
        paths = f.write(tmp_path / "new" / backend)
        assert [path.name for path in paths] == names
        assert paths[0].read_text() == f.source
        if backend == "c":
            assert paths[1].read_text() == f.header


def test_what_has_no_files_says_so(tmp_path):
    f = sgd.lower(s.eta, (s.eta,))
    with pytest.raises(TypeError, match=r"'numpy' makes a function to call.*'c' or 'javascript'"):
        f.write(tmp_path)
    with pytest.raises(AttributeError, match="'numpy' has no header"):
        _ = f.header
    with pytest.raises(ValueError, match="name = 'step'"):
        sgd.lower(s.eta, (s.eta,), name="step")


@both_languages
def test_symbols_are_refused_by_name(backend):
    with pytest.raises(ValueError, match="contains S, which is no argument"):
        sgd.lower(s.eta / s.S, (s.eta,), backend)
    with pytest.raises(ValueError, match=r"contains eta.*other assumptions"):
        sgd.lower(Symbol("eta") * s.S, (s.eta, s.S), backend)
    with pytest.raises(ValueError, match="expression contains"):
        sgd.lower(Abs(asin(s.eta)), (s.eta,), backend)


# -- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize("function", EVERY_FUNCTION, ids=str)
@needs_gcc
def test_wrong_input_is_nan_in_c(function):
    """Through Max as well, where a comparison with NaN could lose it."""
    expression = Matrix([[function(s.k, s.h, s.y), Max(1, function(s.k, s.h, s.y)), s.h]])
    f = sgd.lower(expression, (s.k, s.h, s.y), "c")
    steps = ["continuous" not in str(function)] * 3
    wrong = [-1.0, 1.5, 2.0**54] if all(steps) else [math.inf] * 3
    for trace in (0.3, 2.5):
        found = run_c(f, ([*wrong, math.nan, 3.0], trace, 0.1))[:, 0]
        assert np.isnan(found[:4, :2]).all()
        assert np.isfinite(found[4]).all()
        assert (found[:, 2] == trace).all()


@pytest.mark.parametrize("function", EVERY_FUNCTION, ids=str)
@needs_node
def test_wrong_input_is_a_range_error_in_javascript(function):
    f = sgd.lower(function(s.k, s.h, s.y), (s.k, s.h, s.y), "javascript")
    discrete = "discrete" in str(function)
    wrong = [-1.0, 1.5, 2.0**54, math.nan] if discrete else [math.inf, math.nan]
    said = "RangeError: k: update counts" if discrete else "RangeError: .*infinite rate"
    for trace in (0.3, 2.5):
        *refused, right = run_node(f, ([*wrong, 3.0], trace, 0.1))
        assert all(re.match(said, answer) for answer in refused)
        assert math.isfinite(float(right))


# -- other people's programs --------------------------------------------------------------------


@needs_gcc
@needs_cpp
def test_two_files_serve_one_cpp_program():
    """The headers compile as C++, and what the files share does not clash."""
    folder = Path(mkdtemp())
    arguments = _arguments("k")
    first = sgd.lower(moment("discrete", "displacement"), arguments, "c", name="displacement")
    second = sgd.lower(moment("discrete", "covariance"), arguments, "c", name="covariance")
    sources = [f.write(folder)[0] for f in (first, second)]
    for source in sources:
        run([*C99, "-c", source, "-o", source.with_suffix(".o")])
    point = (7.0, 1.2, 0.7, 0.1, 0.5, 4.0)
    given = ", ".join(map(repr, point))
    (folder / "main.cpp").write_text(
        '#include <cstdio>\n#include "displacement.h"\n#include "covariance.h"\n'
        '#include "displacement.h"\nint main() { double out[4]; covariance('
        f'{given}, out); std::printf("%.17g %.17g", displacement({given}), out[3]); }}\n'
    )
    objects = [source.with_suffix(".o") for source in sources]
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    run(["g++", *strict, folder / "main.cpp", *objects, "-o", folder / "main", "-lm"])
    expected = [
        float(sgd.lower(moment("discrete", "displacement"), arguments)(*point)),
        float(sgd.lower(moment("discrete", "covariance"), arguments)(*point)[1, 1]),
    ]
    assert np.allclose(list(map(float, run([folder / "main"]).split())), expected, rtol=1e-14)


@needs_gcc
@pytest.mark.parametrize("standard", ["c11", "gnu99", "gnu17"])
def test_other_standards_take_the_file(standard):
    letters = [Symbol(name) for name in AWKWARD.split()]
    source, _ = sgd.lower(Add(*letters), letters, "c").write(mkdtemp())
    run(["gcc", f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-c", source, "-o", "/dev/null"])
