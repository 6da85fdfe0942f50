"""Lowering: three back ends that agree, gradients, and refusals by name."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch
from sympy import (
    Abs,
    Derivative,
    E,
    Float,
    Function,
    Heaviside,
    I,
    Integer,
    Integral,
    Matrix,
    Max,
    Min,
    Piecewise,
    Rational,
    Sum,
    Symbol,
    atan,
    cos,
    cosh,
    exp,
    eye,
    floor,
    log,
    oo,
    pi,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

import sgdtheory as sgd
from sgdtheory.special_functions import CONTINUOUS, DISCRETE

s = sgd.symbols
BACKENDS = ("numpy", "numba", "torch")
MOMENTS = ("propagator", "covariance", "autocovariance", "displacement")
ARGUMENTS = (s.h, s.Sigma, s.eta, s.beta, s.S)


@cache
def process_of(theory):
    rule = sgd.heavy_ball()
    if theory == "discrete":
        return sgd.recursion(rule, noise=s.Sigma, curvature=s.h)
    return sgd.ornstein_uhlenbeck(sgd.modified_equation(rule), noise=s.Sigma, curvature=s.h)


@cache
def lowered(theory, moment, backend):
    time = s.k if theory == "discrete" else s.t
    return sgd.lower(getattr(process_of(theory), moment)(time), (time, *ARGUMENTS), backend)


def call(function, *arrays):
    """The value as NumPy, whatever the back end wants to be given."""
    if function.backend == "torch":
        arrays = [torch.as_tensor(np.asarray(x, dtype=float)) for x in arrays]
    return np.asarray(function(*arrays))


def agree(values, reference):
    """To the accuracy that test_accuracy asks of well-conditioned points, of the largest value."""
    return np.abs(values - reference).max() <= 1e-12 * np.abs(reference).max()


# -- the back ends agree ------------------------------------------------------------------------


EVERY_FUNCTION = [*CONTINUOUS.classes, *DISCRETE.classes, *DISCRETE.sum_classes]


@pytest.mark.parametrize("function", EVERY_FUNCTION, ids=str)
def test_the_functions_of_a_mode_on_every_back_end(function):
    rng = np.random.default_rng(5)
    time = rng.integers(0, 12, 200).astype(float)
    a, b = rng.uniform(0, 2, (2, 200)) + rng.integers(0, 2, 200)
    expression = function(s.k, s.h, s.y)
    numpy, numba, torch_ = (
        call(sgd.lower(expression, (s.k, s.h, s.y), backend), time, a, b) for backend in BACKENDS
    )
    assert np.isfinite(numpy).all()
    assert agree(numba, numpy)
    assert agree(torch_, numpy)


def test_a_mode_may_be_taken_at_functions_of_another_mode():
    """An epoch is one long update: its trace and determinant are functions of a mode."""
    inner = DISCRETE.functions(s.k, s.h, s.y)
    outer = DISCRETE.functions(s.n, inner.step_response, inner.impulse_response**2)
    expression = outer.impulse_response + DISCRETE.sums(s.n, inner.step_response, s.y).twice
    values = {s.k: 7, s.n: 5, s.h: Rational(1, 3), s.y: Rational(1, 5)}
    exact = expression.subs(values)
    for backend in BACKENDS:
        value = call(sgd.lower(expression, tuple(values), backend), *map(float, values.values()))
        assert math.isclose(float(value), exact, rel_tol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_extremes_and_whole_parts(backend):
    x, y = np.linspace(-2.5, 2.5, 11), np.linspace(2, -3, 11)
    f = sgd.lower(Matrix([[Min(s.theta, s.v, 1), Max(s.theta, s.v)]]), (s.theta, s.v), backend)
    value = call(f, x, y)[:, 0]
    assert np.array_equal(value, np.stack([np.minimum(np.minimum(x, y), 1), np.maximum(x, y)], 1))
    whole = call(sgd.lower(floor(s.theta / 2), (s.theta,), backend), x)
    assert np.array_equal(whole, np.floor(x / 2))


@pytest.mark.parametrize("theory", ["continuous", "discrete"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_whole_moments_on_every_back_end(theory, moment):
    rng = np.random.default_rng(6)
    time = rng.integers(0, 200, 300).astype(float)
    h, noise, eta, beta = (rng.uniform(*r, 300) for r in ((0.1, 5), (0, 2), (0.01, 0.3), (0, 0.95)))
    time = time * eta if theory == "continuous" else time
    numpy, numba, torch_ = (
        call(lowered(theory, moment, backend), time, h, noise, eta, beta, 8.0)
        for backend in BACKENDS
    )
    assert np.isfinite(numpy).all()
    assert agree(numba, numpy)
    assert agree(torch_, numpy)


@pytest.mark.parametrize("backend", BACKENDS)
def test_elementary_functions(backend):
    x = np.linspace(0.1, 1.2, 7)
    for function, expected in (
        (exp, np.exp),
        (log, np.log),
        (sin, np.sin),
        (cos, np.cos),
        (tan, np.tan),
        (sinh, np.sinh),
        (cosh, np.cosh),
        (tanh, np.tanh),
        (atan, np.arctan),
        (sqrt, np.sqrt),
    ):
        value = call(sgd.lower(function(s.theta), (s.theta,), backend), x)
        # Two correctly built libraries differ by a few units in the last place.
        assert np.allclose(value, expected(x), rtol=8 * np.finfo(float).eps)


@pytest.mark.parametrize("backend", BACKENDS)
def test_powers(backend):
    x = np.linspace(0.1, 2, 7)
    expression = s.theta ** Rational(1, 3) + s.theta**-2 + s.theta ** Rational(-1, 2) + s.theta**5
    value = call(sgd.lower(expression, (s.theta,), backend), x)
    assert np.allclose(value, x ** (1 / 3) + x**-2.0 + x**-0.5 + x**5, rtol=1e-15, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lowered_value_is_the_expressions_value(backend):
    point = {s.h: 1.25, s.Sigma: 3.5, s.eta: 0.1, s.beta: 0.6, s.S: 4.0}
    expected = float(process_of("continuous").displacement(0.7).subs(point).evalf())
    value = call(lowered("continuous", "displacement", backend), [0.7], *point.values())
    assert math.isclose(value[0], expected, rel_tol=1e-14)


# -- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_scalars_broadcast(backend):
    f = sgd.lower(s.theta + s.v, (s.theta, s.v), backend)
    rows, columns = np.arange(4.0)[:, None], np.arange(3.0)
    assert np.array_equal(call(f, rows, columns), rows + columns)


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_give_a_number(backend):
    value = call(sgd.lower(s.theta + s.v, (s.theta, s.v), backend), 1.0, 2.0)
    assert value.shape == ()
    assert value == 3.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_matrix_adds_rows_and_columns_at_the_end(backend):
    f = sgd.lower(Matrix([[s.theta, s.v, 1], [s.v, s.theta * s.v, 0]]), (s.theta, s.v), backend)
    theta, v = np.arange(4.0)[:, None], np.arange(3.0)
    value = call(f, theta, v)
    assert value.shape == (4, 3, 2, 3)
    for i, j in np.ndindex(4, 3):
        expected = [[theta[i, 0], v[j], 1], [v[j], theta[i, 0] * v[j], 0]]
        assert np.array_equal(value[i, j], expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("expression", [Integer(3), sqrt(5), pi, Rational(1, 3), eye(2)], ids=str)
def test_a_constant_takes_the_shape_of_its_arguments(backend, expression):
    f = sgd.lower(expression, (s.theta, s.v), backend)
    value = call(f, np.zeros((4, 1)), np.zeros(3))
    tail = expression.shape if hasattr(expression, "shape") else ()
    assert value.shape == (4, 3, *tail)
    assert np.allclose(value[0, 0], np.array(expression, dtype=float), rtol=1e-15, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_points_are_no_values(backend):
    assert call(
        lowered("continuous", "covariance", backend), np.zeros(0), 1, 1, 0.1, 0.5, 1
    ).shape == (
        0,
        2,
        2,
    )


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        (sqrt(2), math.sqrt(2)),
        (pi, math.pi),
        (E, math.e),
        (1 / sqrt(3), 1 / math.sqrt(3)),
        (sqrt(2) ** Rational(1, 3), 2 ** (1 / 6)),
        (Float("0.1", 30), 0.1),
    ],
    ids=str,
)
def test_a_constant_is_the_nearest_double(constant, value):
    found = sgd.lower(constant * s.theta, (s.theta,))(1.0)
    # The last of Python's own operations may round as well.
    assert abs(found - value) <= (0 if constant in (sqrt(2), pi, E) else np.spacing(value))


def test_torch_keeps_the_floating_type():
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(3, dtype=dtype)
        value = lowered("discrete", "displacement", "torch")(x, x, x, x / 10, x / 2, x)
        assert value.dtype is dtype


def test_numpy_comes_out_as_numpy():
    for backend in ("numpy", "numba"):
        value = lowered("discrete", "displacement", backend)([1, 2], 1, 1, 0.1, 0.5, 1)
        assert isinstance(value, np.ndarray)
        assert value.dtype == np.float64


# -- the record ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_record_keeps_what_it_came_from(backend):
    expression = process_of("continuous").displacement(s.t)
    f = sgd.lower(expression, (s.t, *ARGUMENTS), backend)
    assert f.expression == expression
    assert f.arguments == (s.t, *ARGUMENTS)
    assert f.backend == backend
    assert "eta" in f.__doc__


def test_the_source_is_the_function():
    f = sgd.lower(s.eta**2 / s.S, (s.eta, s.S))
    scope = {}
    exec(f.source, scope)
    assert scope["lowered"](0.3, 4.0) == (0.3**2 / 4.0,)


@pytest.mark.parametrize("theory", ["continuous", "discrete"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_source_branches_on_a_regime(theory, moment):
    source = lowered(theory, moment, "numpy").source
    assert not [word for word in ("where", "Piecewise", "if ", "select") if word in source]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lowered_function_survives_pickling(backend):
    f = lowered("discrete", "covariance", backend)
    copy = pickle.loads(pickle.dumps(f))
    point = (7.0, 1.2, 0.7, 0.1, 0.5, 4.0)
    assert copy.source == f.source
    assert np.array_equal(call(copy, *point), call(f, *point))


@pytest.mark.parametrize("backend", BACKENDS)
def test_names_that_are_no_identifiers(backend):
    a, b = Symbol("lambda"), Symbol("x_{1}")
    assert call(sgd.lower(a - b, (a, b), backend), [5.0], 3.0) == [2.0]


@pytest.mark.parametrize("name", ["exp", "sqrt", "continuous_mode", "_x0", "_m0_relaxation"])
def test_an_argument_may_have_the_name_of_something_in_the_source(name):
    x = Symbol(name)
    relaxation = CONTINUOUS.classes[0](1, 1, x)
    expression = exp(x) * (1 + exp(x)) + sqrt(x) * (1 + sqrt(x)) + relaxation
    plain = sgd.lower(expression.subs(x, s.theta), (s.theta,))
    assert np.isclose(sgd.lower(expression, (x,))(0.3), plain(0.3), rtol=1e-14)


@pytest.mark.parametrize("theory", ["continuous", "discrete"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_time_may_be_a_number_in_the_expression(theory, backend):
    f = sgd.lower(process_of(theory).displacement(100), ARGUMENTS, backend)
    point = ([0.3, 2.0], 1.0, 0.1, 0.5, 4.0)
    assert agree(call(f, *point), call(lowered(theory, "displacement", "numpy"), 100.0, *point))


def test_letters_with_indices_keep_apart():
    later, earlier = s.term("theta", 1), s.term("theta", -1)
    assert sgd.lower(later - earlier, (later, earlier))(5.0, 3.0) == 2.0


def run_fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("lines", "loaded"),
    [
        ("import sgdtheory.lowering", set()),
        ("lower(s.eta, (s.eta,))([1.0])", set()),
        ("lower(s.eta, (s.eta,), 'torch')", {"torch"}),
    ],
)
def test_a_back_end_is_loaded_when_it_is_asked_for(lines, loaded):
    code = f"import sys; from sgdtheory import lower, symbols as s; {lines}; "
    code += "print(sorted({'torch', 'numba'} & set(sys.modules)))"
    assert run_fresh(code) == str(sorted(loaded))


# -- what is refused ----------------------------------------------------------------------------

x = Symbol("x")
UNLISTED = [
    Abs(x),
    Heaviside(x),
    Piecewise((x, x > 0), (0, True)),
    Integral(exp(-(x**2)), (x, 0, x)),
    Sum(x**s.k, (s.k, 0, 3)),
    Function("f")(x),
    Derivative(Function("f")(x), x),
    x > 0,
    I * x,
    oo * Symbol("p", positive=True),
]


@pytest.mark.parametrize("expression", UNLISTED, ids=str)
def test_what_has_no_meaning_on_every_back_end_is_refused(expression):
    with pytest.raises(ValueError, match="expression contains"):
        sgd.lower(expression, (x,))


def test_a_derivative_of_a_mode_function_by_its_damping_is_refused():
    t, a, b = s.t, Symbol("a"), Symbol("b")
    slope = CONTINUOUS.classes[0](t, a, b).diff(a)
    with pytest.raises(ValueError, match="expression contains"):
        sgd.lower(slope, (t, a, b))


def test_a_missing_symbol_is_named():
    with pytest.raises(ValueError, match="contains S, which is no argument"):
        sgd.lower(s.eta / s.S, (s.eta,))


def test_a_symbol_of_the_same_name_is_another_symbol():
    with pytest.raises(ValueError, match=r"contains eta.*other assumptions"):
        sgd.lower(Symbol("eta") * s.S, (s.eta, s.S))


def test_two_arguments_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        sgd.lower(s.eta, (s.eta, Symbol("eta")))


def test_an_unknown_back_end_is_named():
    with pytest.raises(ValueError, match=r"backend = 'fortran'.*numpy, numba, torch"):
        sgd.lower(s.eta, (s.eta,), backend="fortran")


def test_an_argument_that_is_no_symbol_is_refused():
    with pytest.raises((TypeError, ValueError), match="'eta' is not a SymPy symbol"):
        sgd.lower(s.eta, ("eta",))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_number_of_arrays_is_refused(backend):
    f = sgd.lower(s.eta / s.S, (s.eta, s.S), backend)
    with pytest.raises(ValueError, match=r"1 arrays given for 2 arguments.*eta, S"):
        f(1.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [-1.0, 1.5])
def test_update_counts_are_whole_numbers(backend, steps):
    with pytest.raises(ValueError, match=r"k.*whole numbers"):
        call(lowered("discrete", "displacement", backend), steps, 1, 1, 0.1, 0.5, 1)


# -- gradients ----------------------------------------------------------------------------------

# η = ½ and β = ¼: critical at ηh = (1 ∓ ½)² in the recursion, at h = (1−β)²/(2η(1+β)) in time.
CRITICAL = {"discrete": 0.5, "continuous": 0.45}
CURVATURES = {
    "overdamped": lambda critical: critical / 3,
    "flat": lambda critical: critical * 1e-6,
    "critical": lambda critical: critical,
    "underdamped": lambda critical: critical * 3,
}


def inputs(theory, regime):
    h = CURVATURES[regime](CRITICAL[theory])
    return [
        torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for value in (h, 1.3, 0.5, 0.25, 2.0)
    ]


@pytest.mark.parametrize("regime", CURVATURES)
@pytest.mark.parametrize("theory", ["continuous", "discrete"])
@pytest.mark.parametrize("moment", ["displacement", "covariance", "propagator"])
def test_gradients_agree_with_difference_quotients(moment, theory, regime):
    f = lowered(theory, moment, "torch")
    time = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64)
    # A perturbation of 1e-6 must stay small beside a flat curvature, so the flat case varies h·1e6.
    scale = 1e-6 if regime == "flat" else 1.0

    def value(h, *rest):
        return f(time, h * scale, *rest)

    h, *rest = inputs(theory, regime)
    start = (h / scale).detach().requires_grad_()
    assert torch.autograd.gradcheck(value, (start, *rest))


@pytest.mark.parametrize("regime", CURVATURES)
def test_the_time_has_a_gradient_in_the_continuous_theory(regime):
    time = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    f = lowered("continuous", "displacement", "torch")
    rest = [x.detach() for x in inputs("continuous", regime)]
    assert torch.autograd.gradcheck(lambda at: f(at, *rest), (time,))


@pytest.mark.parametrize("theory", ["continuous", "discrete"])
def test_the_gradient_at_exactly_critical_damping_has_all_its_digits(theory):
    """∂/∂β is 0/0 in the textbook form; the reference is a 60-digit difference quotient."""
    values = inputs(theory, "critical")
    lowered(theory, "displacement", "torch")(9.0, *values).backward()
    with mp.workdps(100):
        h, noise, eta, beta, batch = (mp.mpf(x.item()) for x in values)

        def displacement(momentum):
            if theory == "discrete":
                moments = oracles.recursion_moments(
                    oracles.heavy_ball, 9, h, noise, batch, eta=eta, beta=momentum
                )
            else:
                published = oracles.PUBLISHED["heavy_ball"]
                moments = oracles.diffusion_moments(
                    published, 9, h, noise, batch, eta, beta=momentum
                )
            return moments["displacement"]

        step = mp.mpf(10) ** -30
        slope = (displacement(beta + step) - displacement(beta - step)) / (2 * step)
        assert abs(values[3].grad.item() / slope - 1) < 1e-12


def test_gradients_reach_every_argument_even_where_a_result_has_decayed():
    values = inputs("continuous", "overdamped")
    lowered("continuous", "displacement", "torch")(1e6, *values).backward()
    assert all(math.isfinite(x.grad.item()) for x in values)
