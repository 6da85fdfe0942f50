"""Named rules: the same value at 50 digits, no worse in doubles, and counted operations."""

from __future__ import annotations

import ast
import math
from functools import cache

import mpmath as mp
import numpy as np
import pytest
import sympy
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sympy import Add, Float, Mul, Pow, Rational, cos, cosh, exp, log, pi, sin, sinh, sqrt, tanh
from sympy.codegen.cfunctions import expm1, log1p

import sgdtheory as sgd
from sgdtheory.lowering.operations import Operations, product
from sgdtheory.lowering.printer import generate
from sgdtheory.lowering.removable_quotients import (
    QUOTIENTS,
    expm1_quotient,
    sin_quotient,
    sinh_quotient,
    tanh_quotient,
)
from sgdtheory.lowering.rewriting import RULES, rewrite

s = sgd.symbols
x, y, z = s.coordinates(3)
BACKENDS = ("numpy", "numba", "torch")
UNIT = 2.0**-53

# -- oracle: an expression at many digits, with what rounding may do to it in doubles ------------

FUNCTIONS = {
    exp: mp.exp,
    log: mp.log,
    sin: mp.sin,
    cos: mp.cos,
    sinh: mp.sinh,
    cosh: mp.cosh,
    tanh: mp.tanh,
    sympy.sinc: mp.sinc,
    expm1: mp.expm1,
    log1p: mp.log1p,
}
NUMERATORS = {
    sin_quotient: mp.sin,
    sinh_quotient: mp.sinh,
    tanh_quotient: mp.tanh,
    expm1_quotient: mp.expm1,
}


def value_of(node, point):
    """Value by the definition of every function."""
    if node.is_Symbol:
        return point[node]
    if node.is_Float or node.is_Rational:
        return mp.mpf(node.p) / node.q if node.is_Rational else node._to_mpmath(mp.mp.prec)
    parts = [value_of(part, point) for part in node.args]
    if isinstance(node, Add):
        return mp.fsum(parts)
    if isinstance(node, Mul | product):
        return mp.fprod(parts)
    if isinstance(node, Pow):
        return parts[0] ** parts[1]
    if type(node) in NUMERATORS:
        first, second = parts
        return NUMERATORS[type(node)](first * second) / first if first else second
    return FUNCTIONS[node.func](*parts)


def rounded(node, point):
    """(value, first-order bound of its error in doubles), all inputs and operations rounded."""
    if not node.args:
        value = value_of(node, point)
        return value, UNIT * abs(value)
    values, errors = zip(*(rounded(part, point) for part in node.args), strict=True)
    value = value_of(node, point)
    # Doubles neither overflow nor underflow on the way, in whatever order three factors come.
    assume(isinstance(value, mp.mpf) and (value == 0 or 1e-100 < abs(value) < 1e100))
    if isinstance(node, Add):
        return value, mp.fsum(errors) + UNIT * len(values) * mp.fsum(map(abs, values))
    if isinstance(node, Mul):
        others = [mp.fprod(values[:i] + values[i + 1 :]) for i in range(len(values))]
        carried = mp.fsum(abs(o) * e for o, e in zip(others, errors, strict=True))
        return value, carried + UNIT * len(values) * abs(value)
    if isinstance(node, Pow):
        (base, exponent), (error, _) = values, errors
        return value, abs(exponent * base ** (exponent - 1)) * error + 4 * UNIT * abs(value)
    slope = mp.diff(FUNCTIONS[node.func], values[0])
    return value, abs(slope) * errors[0] + 4 * UNIT * abs(value)


def call(function, *arrays):
    if function.backend == "torch":
        arrays = [torch.as_tensor(np.asarray(a, dtype=float)) for a in arrays]
    return np.asarray(function(*arrays))


@cache
def lowered(expression, arguments, backend):
    return sgd.lower(expression, arguments, backend)


# -- what each rule makes -----------------------------------------------------------------------

E_SUM = (exp(x) + exp(y)) / 2
MADE = [
    ("constants", sqrt(2) * x, Float(sqrt(2).evalf(40), 40) * x),
    ("expm1", exp(x) - 1, expm1(x)),
    ("expm1", 1 - exp(-x), -expm1(-x)),
    ("expm1", z * exp(x * y) - z + 3, z * expm1(x * y) + 3),
    ("expm1", (x + y) * exp(z) - x - y, (x + y) * expm1(z)),
    ("expm1", exp(x) + 2 * exp(y) - 3, expm1(x) + 2 * expm1(y)),
    ("expm1", 1 / (exp(x) - 1), 1 / expm1(x)),
    ("log1p", log(1 + x), log1p(x)),
    ("log1p", log(1 - x * y + z), log1p(z - x * y)),
    ("half angles", 1 - cos(x), 2 * sin(x / 2) ** 2),
    ("half angles", y * cos(2 * x) - y, -2 * y * sin(x) ** 2),
    ("hyperbolic half angles", cosh(x) - 1, 2 * sinh(x / 2) ** 2),
    ("joined exponents", exp(-y) * cosh(x), (exp(x - y) / 2 + exp(-x - y) / 2)),
    ("joined exponents", exp(-y) * sinh(x), (exp(x - y) / 2 + exp(-x - y) / 2) * tanh(x)),
    (
        "joined exponents",
        exp(-y) * (cosh(x) + z * sinh(x)),
        (exp(x - y) / 2 + exp(-x - y) / 2) * (1 + z * tanh(x)),
    ),
    (
        "joined exponents",
        exp(-2 * y) * sinh(x) ** 2,
        (exp(x - y) / 2 + exp(-x - y) / 2) ** 2 * tanh(x) ** 2,
    ),
    ("removable quotients", sin(x) / x, sin_quotient(x, 1)),
    ("removable quotients", sympy.sinc(x), sin_quotient(x, 1)),
    ("removable quotients", sinh(2 * x) / x, sinh_quotient(x, 2)),
    ("removable quotients", tanh(x * y) / x, tanh_quotient(x, y)),
    ("removable quotients", expm1(-x * y) / x, expm1_quotient(x, -y)),
    ("removable quotients", sin(x * y) ** 2 / x**2, sin_quotient(x, y) ** 2),
    ("removable quotients", sin(sqrt(x) * y) / sqrt(x), sin_quotient(sqrt(x), y)),
    ("removable quotients", sin(x * y) / (x * y * z), sin_quotient(x * y, 1) / z),
    ("removable quotients", expm1(-x - y) / (x + y), expm1_quotient(x + y, -1)),
    ("removable quotients", sin(x**2) / x, sin_quotient(x, x)),
    ("removable quotients", sin(x) * sinh(x) / x**2, sin_quotient(x, 1) * sinh_quotient(x, 1)),
    ("Horner", 2 + x - x**2 + 3 * x**3, 2 + x * (1 + x * (3 * x - 1))),
    ("small powers", x**3 + y**4, product(x, x**2) + product(y**2, y**2)),
]
KEPT = [
    ("expm1", exp(x) - 2),
    ("expm1", exp(x) + exp(y) - 1),
    ("expm1", y * exp(x) - z),
    ("expm1", exp(x) - exp(y)),
    ("log1p", log(2 + 2 * x)),
    ("log1p", log(x + y)),
    ("half angles", 1 + cos(x)),
    ("joined exponents", exp(-x) * cosh(y) * cosh(z)),
    ("joined exponents", exp(-x) / cosh(y)),
    ("joined exponents", exp(x) * cosh(y)),
    ("removable quotients", sin(x) / y),
    ("removable quotients", sin(x + y) / x),
    ("removable quotients", cos(x) / x),
    ("removable quotients", x * sin(x) / 3),
    ("Horner", x**3 + x**3 * y + 1),
    ("Horner", 1 + x + x**2),
    ("Horner", 2 + x + 3 * x**3),
    ("small powers", x**5 + x**-3 + x**2),
]


def by_name(name):
    (rule,) = [rule for rule in RULES if rule.name == name]
    return rule


@pytest.mark.parametrize(("name", "given_", "made"), MADE, ids=str)
def test_what_a_rule_makes(name, given_, made):
    assert rewrite([given_], [by_name(name)])[0] == [made]


@pytest.mark.parametrize(("name", "expression"), KEPT, ids=str)
def test_what_a_rule_leaves_alone(name, expression):
    assert rewrite([expression], [by_name(name)])[0] == [expression]


def test_every_rule_has_an_example():
    assert {name for name, *_ in MADE} == {rule.name for rule in RULES}


PROCESSES = {
    "recursion": lambda: sgd.recursion(sgd.heavy_ball()),
    "epochs": lambda: sgd.recursion(
        sgd.heavy_ball(), noise=s.Sigma, curvature=s.h, sampling="epochs"
    ),
    "diffusion": lambda: sgd.ornstein_uhlenbeck(
        sgd.modified_equation(sgd.heavy_ball()), curvature=s.h
    ),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_the_arranged_sums_of_the_package_are_left_alone(process):
    moments = PROCESSES[process]()
    time = s.t if process == "diffusion" else s.k
    entries = [moments.displacement(time), *moments.covariance(time)]
    assert rewrite(entries)[0] == entries


# -- random expressions: value, rounding, counts -------------------------------------------------

numbers = st.sampled_from([Rational(1), Rational(-1), Rational(2), Rational(1, 3), Rational(-5, 2)])
leaves = st.sampled_from([x, y, z]) | numbers


def _extended(inner):
    """Sums, products and powers, and the patterns of the rules at any depth."""
    angle = st.builds(Mul, inner, st.sampled_from([x, y, z]))
    elementary = st.sampled_from([exp, sin, cos, sinh, cosh, tanh])
    differences = st.sampled_from([exp, cos, cosh])
    dampable = st.sampled_from([exp, cosh, sinh])
    quotients = st.sampled_from([sin, sinh, tanh, lambda u: exp(u) - 1, lambda u: 1 - cos(u)])
    return st.one_of(
        st.builds(Add, inner, inner),
        st.builds(Mul, inner, inner),
        st.builds(Pow, inner, st.integers(-2, 4)),
        st.builds(lambda f, u: f(u), elementary, angle),
        st.builds(lambda f, c, u, rest: c * f(u) - c + rest, differences, inner, angle, inner),
        st.builds(lambda f, u, v: f(u * v) / u, quotients, inner, inner),
        st.builds(lambda f, u, v, w: exp(-u) * (f(v) + w), dampable, angle, angle, inner),
        st.builds(lambda u: log(1 + u**2), inner),
        st.builds(lambda a, b, c, u: a + b * u + c * u**3, numbers, numbers, numbers, inner),
    )


expressions = st.recursive(leaves, _extended, max_leaves=6).filter(
    lambda e: not e.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I) and len(e.free_symbols) > 0
)
points = st.tuples(*[st.floats(-3, 3).filter(lambda v: v == 0 or abs(v) > 1e-6)] * 3)


def exactly(function, expression, point):
    """What an evaluation finds at 60 digits, if the expression has a real, moderate value there."""
    arguments = dict(zip((x, y, z), map(mp.mpf, point), strict=True))
    try:
        found = function(expression, arguments)
    except (ZeroDivisionError, ValueError, OverflowError):
        assume(False)
    value = found[0] if isinstance(found, tuple) else found
    assume(isinstance(value, mp.mpf) and mp.isfinite(value) and abs(value) < mp.mpf(10) ** 60)
    return found


@given(expressions, points)
def test_rules_keep_the_value_at_fifty_digits(expression, point):
    """Where an expression has no value, a rule may give it one; where it has, it stays."""
    with mp.workdps(120):
        before = exactly(value_of, expression, point)
        (after,), _ = rewrite([expression], RULES[1:])
        arguments = dict(zip((x, y, z), map(mp.mpf, point), strict=True))
        assert abs(value_of(after, arguments) - before) <= mp.mpf(10) ** -50 * (1 + abs(before))


@given(expressions, points)
def test_rules_are_no_worse_than_rounding(expression, point):
    """Against the error that every rounding of the expression as given may cause."""
    with mp.workdps(60):
        exact, bound = exactly(rounded, expression, point)
        assume(bound < abs(exact) + 1)
        value = float(sgd.lower(expression, (x, y, z))(*point))
        assert math.isfinite(value)
        # A rule may do a few roundings more: a sinh² for a cosh, a tanh times a sum.
        assert abs(value - exact) <= 4 * bound + 1e-300


wide = st.tuples(*[st.floats(-600, 600) | st.sampled_from([0.0, 1e-200, math.inf])] * 3)


@given(expressions, wide)
def test_what_is_finite_stays_finite(expression, point):
    """Where the expression as given, printed by SymPy, overflows on no way to its value."""
    with np.errstate(all="ignore"):
        plain = sympy.lambdify((x, y, z), expression, "numpy")(*map(np.float64, point))
    assume(np.isfinite(plain) and abs(plain) < 1e300)
    assert np.isfinite(sgd.lower(expression, (x, y, z))(*point))


def operations_of_source(text):
    """Operations of a generated source, read from its syntax tree."""
    found = dict.fromkeys(("additions", "multiplications", "divisions", "powers", "functions"), 0)
    kinds = {ast.Add: "additions", ast.Sub: "additions", ast.Mult: "multiplications"}

    def number(node):
        try:
            return float(eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}}))
        except NameError:
            return None

    def walk(node):
        if isinstance(node, ast.expr) and number_like(node):
            return
        if isinstance(node, ast.BinOp):
            exponent = number(node.right) if isinstance(node.op, ast.Pow) else None
            if exponent is not None and abs(exponent) == 2:
                found["multiplications"] += 1
                found["divisions"] += exponent < 0
            elif isinstance(node.op, ast.Pow):
                found["powers"] += 1
                found["divisions"] += exponent is not None and exponent < 0
            elif isinstance(node.op, ast.Div):
                found["divisions"] += 1
            else:
                found[kinds[type(node.op)]] += 1
        if isinstance(node, ast.Call):
            found["functions"] += 1
        for child in ast.iter_child_nodes(node):
            walk(child)

    def number_like(node):
        return not any(isinstance(part, ast.Name | ast.Tuple) for part in ast.walk(node))

    walk(ast.parse(text))
    return Operations(**found)


@given(expressions)
def test_the_last_count_is_that_of_the_source(expression):
    source = generate(expression, (x, y, z))
    assert source.rewriting.steps[-1].operations == operations_of_source(source.text)


def test_the_count_of_modes_is_that_of_the_source():
    for process in PROCESSES.values():
        expression = process().covariance(s.t if process is PROCESSES["diffusion"] else s.k)
        source = generate(expression, tuple(expression.free_symbols))
        assert source.rewriting.steps[-1].operations == operations_of_source(source.text)


def test_the_record_has_every_rule_in_order():
    record = generate(pi * x**3 + (exp(x) - 1) / x, (x,)).rewriting
    names = [step.rule for step in record.steps]
    assert names == ["as given", *(rule.name for rule in RULES), "common subexpressions"]
    assert [line.split("  ")[0] for line in str(record).splitlines()] == ["rule", *names]


def test_operations_by_hand():
    assert Operations.of([x * y - 3 / z + x**2]) == Operations(2, 2, 1)
    assert Operations.of([1 / (x * y), sqrt(x), x**5, x**y]) == Operations(0, 1, 1, 2, 1)
    assert Operations.of([sympy.Max(x, y, z), exp(-x)]) == Operations(functions=3)
    assert Operations(1, 2, 3, 4, 5).cost == 1 + 2 + 2 * 3 + 20 * (4 + 5)


# -- near the cancellation, on every back end ----------------------------------------------------

NEAR = np.concatenate([sign * np.logspace(-300, 0, 61) for sign in (1, -1)])
BELOW = [
    exp(x) - 1,
    y - y * exp(-x),
    log(1 + x / 2),
    1 - cos(x),
    y * cosh(x) - y,
    (1 - exp(-x * y)) / x,
    (1 - cos(x * y)) / x**2,
    (cosh(x * y) - 1) / x**2,
    exp(-y) * sinh(x) / x,
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("expression", BELOW, ids=str)
def test_nothing_cancels(expression, backend):
    """A value to a few roundings, where the expression as given has none of its digits."""
    argument = NEAR[np.abs(NEAR) > 1e-150] if expression.has(cos, cosh) else NEAR
    value = call(lowered(expression, (x, y), backend), argument, 0.75)
    with mp.workdps(650):
        at = [{x: mp.mpf(v), y: mp.mpf(0.75)} for v in argument]
        exact = np.array([float(value_of(expression, point)) for point in at])
    # Their condition numbers are at most 2 here; at most ten operations, each to 2 ulp or better.
    assert np.all(np.abs(value - exact) <= 20 * UNIT * 2 * np.abs(exact))
    if expression != BELOW[-1]:
        plain = sympy.lambdify((x, y), expression, "numpy")(argument, 0.75)
        assert np.max(np.abs(plain - exact) / np.abs(exact)) > 0.5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_a_quotient_has_its_limit(quotient, backend):
    f = lowered(quotient.divided(x * y) / x, (x, y), backend)
    with mp.workdps(400):
        first, second = np.meshgrid([1e-200, 1e-9, 0.3, -1.5, 3.0], [1e-200, 0.5, 1.1, 4.0])
        numerator = NUMERATORS[quotient]
        exact = np.vectorize(lambda a, b: float(numerator(mp.mpf(a) * b) / mp.mpf(a)))(
            first, second
        )
    conditions = 1 + np.abs(first * second)
    assert np.all(np.abs(call(f, first, second) - exact) <= 10 * UNIT * conditions * np.abs(exact))
    assert call(f, 0.0, 0.7) == 0.7
    assert call(f, 0.0, 0.0) == 0
    assert call(f, 2.0, 0.0) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_has_settled_stays_settled(backend):
    f = lowered((1 - exp(-x * y)) / x, (x, y), backend)
    assert np.array_equal(call(f, [0.5, 4.0], np.inf), [2, 0.25])
    assert call(f, 0.0, np.inf) == np.inf


@pytest.mark.parametrize("backend", BACKENDS)
def test_exponents_are_joined_before_they_overflow(backend):
    damped = exp(-x) * (cosh(y) + x * sinh(y) / y)
    rate, angle = 900.0, 899.5
    value = call(lowered(damped, (x, y), backend), rate, angle)
    with mp.workdps(400):
        exact = value_of(damped, {x: mp.mpf(rate), y: mp.mpf(angle)})
    # The inputs' own roundings count 900 times.
    assert abs(value - exact) <= 2 * UNIT * (rate + angle) * exact
    assert call(lowered(damped, (x, y), backend), 1.0, 0.0) == pytest.approx(2 * math.exp(-1))
    odd = call(lowered(exp(-x) * sinh(y), (x, y), backend), rate, [-angle, angle])
    assert odd[0] == -odd[1]
    assert odd[1] == pytest.approx(math.exp(-0.5) / 2, rel=1e-12)


# -- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_a_quotient_has_its_derivatives(quotient):
    f = sgd.lower(quotient.divided(x * y) / x, (x, y), "torch")
    values = [0.0, 1e-9, 0.2, -0.9, 1.3, 2.5]
    first = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    second = torch.tensor([[0.8], [-1.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, (first, second))
    assert torch.autograd.gradgradcheck(f, (first, second))
    (slope,) = torch.autograd.grad(f(first, 0.8).sum(), first, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), first)
    with mp.workdps(60):

        def exact(v):
            return NUMERATORS[quotient](0.8 * v) / v if v else mp.mpf(0.8)

        for order, found in ((1, slope), (2, bend)):
            for value, derivative in zip(values, found.tolist(), strict=True):
                expected = float(mp.diff(exact, mp.mpf(value), order))
                # A second difference quotient of sin(u)/u at |u| ≥ 1 loses a digit at most.
                assert math.isclose(derivative, expected, rel_tol=1e-13, abs_tol=1e-15)


def test_derivatives_are_not_poisoned_by_what_is_not_chosen():
    for quotient in QUOTIENTS:
        f = sgd.lower(quotient.divided(x * y) / x, (x, y), "torch")
        first = torch.tensor([0.0, 1e-300, 300.0], dtype=torch.float64, requires_grad=True)
        second = torch.tensor([500.0, 1e-9, -2.0], dtype=torch.float64, requires_grad=True)
        f(first, second).sum().backward()
        assert torch.isfinite(first.grad).all()
        assert torch.isfinite(second.grad).all()


def test_the_slope_of_expm1_keeps_its_digits():
    f = sgd.lower(1 - exp(-x), (x,), "torch")
    points = torch.tensor([1e-20, 0.5, 1.0, 40.0, 500.0], dtype=torch.float64, requires_grad=True)
    f(points).sum().backward()
    assert torch.allclose(points.grad, torch.exp(-points.detach()), rtol=4e-16, atol=0)


def test_rewritten_functions_map_over_a_batch():
    f = sgd.lower((1 - exp(-x * y)) / x, (x, y), "torch")
    first = torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
    second = torch.tensor([2.0, 1.0, 2.0], dtype=torch.float64)
    slopes = torch.func.vmap(torch.func.grad(f))(first, second)
    assert slopes[0] == -2
    assert torch.isfinite(slopes).all()
