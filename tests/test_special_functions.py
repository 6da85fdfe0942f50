"""The six functions of a mode, against matrix exponentials and plain iteration."""

from __future__ import annotations

import pickle
from itertools import product

import mpmath as mp
import oracles
import pytest
from sympy import Derivative, Integer, N, Rational, Symbol, expand, expand_func, latex, sympify

from sgdtheory.special_functions import CONTINUOUS, DISCRETE, KINDS, SUMS

CONTINUOUS_OF = dict(zip(KINDS, CONTINUOUS.classes, strict=True))
DISCRETE_OF = dict(zip(KINDS, DISCRETE.classes, strict=True))
BOTH = [*CONTINUOUS.classes, *DISCRETE.classes]

# (trace, determinant): over-, critically and underdamped, undamped, flat, unstable.
POINTS = [
    (Rational(3), Rational(1)),
    (Rational(3), Rational(9, 4)),
    (Rational(3), Rational(9, 4) + Rational(1, 10**18)),
    (Rational(1, 2), Rational(7)),
    (Rational(0), Rational(2)),
    (Rational(3), Rational(0)),
    (Rational(3), Rational(1, 10**14)),
    (Rational(1), Rational(-2)),
]


def by_name(flow, gained):
    """The functions as entries of the companion's propagator and of the noise it gathers."""
    (q, impulse), (_, velocity) = flow
    return {
        "relaxation": q,
        "step_response": 1 - q,
        "impulse_response": impulse,
        "velocity_response": velocity,
        "position_gramian": gained[0][0],
        "velocity_gramian": gained[1][1],
    }


UNIT_NOISE = ((0, 0), (0, 1))


def continuous_reference(time, trace, determinant):
    a, b, t = (mp.mpf(x.p) / x.q for x in map(sympify, (trace, determinant, time)))
    return by_name(*oracles.flow(((0, -1), (b, a)), UNIT_NOISE, t))


def discrete_reference(steps, a, b):
    return by_name(*oracles.iterate(((1, 1), (-b, 1 - a)), UNIT_NOISE, steps))


# -- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_continuous_values(kind, point):
    with mp.workdps(110):
        for time in (Rational(1, 10**6), Rational(1), Rational(17)):
            expected = continuous_reference(time, *point)[kind]
            found = N(CONTINUOUS_OF[kind](time, *point), 50)
            assert abs(mp.mpf(found) - expected) <= mp.mpf(10) ** -48 * abs(expected)


@pytest.mark.parametrize("point", POINTS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_discrete_values_of_many_updates(kind, point):
    """Beyond 64 updates no polynomial is written out; the value is a matrix power."""
    a, b = point[0] / 4, point[1] / 4
    exact = discrete_reference(100, a, b)[kind]
    found = N(DISCRETE_OF[kind](100, a, b), 50)
    assert abs(found - exact) <= Rational(1, 10**48) * abs(exact)


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_discrete_polynomials(kind, steps):
    a, b = Symbol("a"), Symbol("b")
    expected = discrete_reference(steps, a, b)[kind]
    assert expand(DISCRETE_OF[kind](steps, a, b) - expected) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_discrete_values_are_exact_rationals_for_few_updates(kind):
    a, b = Rational(2, 5), Rational(3, 7)
    assert DISCRETE_OF[kind](12, a, b) == discrete_reference(12, a, b)[kind]


def test_a_count_inserted_later_is_a_polynomial_too():
    k = Symbol("k", integer=True, nonnegative=True)
    function = DISCRETE_OF["relaxation"](k, Rational(1, 2), Rational(1, 3))
    assert (
        function.subs(k, 7) == discrete_reference(7, Rational(1, 2), Rational(1, 3))["relaxation"]
    )


@pytest.mark.parametrize("function", BOTH, ids=str)
def test_nothing_has_happened_at_time_zero(function):
    at_zero = 1 if function.kind in ("relaxation", "velocity_response") else 0
    assert function(0, Symbol("a"), Symbol("b")) == at_zero


def test_step_response_and_relaxation_add_to_one():
    for classes in (CONTINUOUS_OF, DISCRETE_OF):
        q, p = (N(classes[k](90, Rational(1, 5), Rational(1, 7)), 40) for k in KINDS[:2])
        assert abs(p + q - 1) < Rational(1, 10**38)


def test_a_small_step_response_keeps_its_digits():
    """1 − q of a flat direction: determinant 1e-30 and a relative error of 1e-15."""
    found = CONTINUOUS_OF["step_response"](1, 1, Rational(1, 10**30)).evalf(15)
    with mp.workdps(80):
        expected = continuous_reference(1, 1, Rational(1, 10**30))["step_response"]
        assert abs(mp.mpf(found) / expected - 1) < mp.mpf(10) ** -14


# -- the textbook form --------------------------------------------------------------------------


@pytest.mark.parametrize("point", [(3, 1), (Rational(1, 2), 7), (1, -2)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_expanding_gives_the_textbook_form(kind, point):
    function = CONTINUOUS_OF[kind](Rational(5, 3), *point)
    expanded = expand_func(function)
    assert not expanded.atoms(*CONTINUOUS.classes)
    # The textbook form cancels; 60 digits leave 40.
    assert abs(N(expanded, 60) - N(function, 60)) <= Rational(1, 10**40)


# -- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("point", POINTS[:6], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_derivative_in_time(kind, point):
    """A central difference over 2·10⁻²⁰ errs by about 10⁻⁴⁰."""
    t = Symbol("t", positive=True)
    derivative = CONTINUOUS_OF[kind](t, *point).diff(t)
    found = N(derivative.subs(t, Rational(3, 4)), 40)
    with mp.workdps(110):
        step = Rational(1, 10**20)
        later, earlier = (
            continuous_reference(Rational(3, 4) + shift, *point)[kind] for shift in (step, -step)
        )
        slope = (later - earlier) / 2 * 10**20
        assert abs(mp.mpf(found) - slope) < mp.mpf(10) ** -30


def test_derivatives_stay_among_the_six():
    t, a, b = Symbol("t", positive=True), Symbol("a"), Symbol("b")
    for function in CONTINUOUS.classes:
        for order in (1, 2, 3):
            rest = function(t, a, b).diff(t, order)
            assert not rest.has(Derivative)


# -- as objects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", BOTH, ids=str)
def test_an_expression_survives_pickling(function):
    expression = 2 * function(*map(Symbol, "tab")) ** 2 + 1
    copy = pickle.loads(pickle.dumps(expression))
    assert copy == expression
    assert copy.subs({"t": 3, "a": Integer(1), "b": Rational(1, 3)}).evalf() == (
        expression.subs({"t": 3, "a": Integer(1), "b": Rational(1, 3)}).evalf()
    )


@pytest.mark.parametrize("function", BOTH, ids=str)
def test_functions_print_as_letters(function):
    single, squared = function(*map(Symbol, "tab")), function(*map(Symbol, "tab")) ** 2
    assert function.__name__ not in latex(single)
    assert "^{2}" in latex(squared)


def test_functions_of_the_two_clocks_are_different_functions():
    for kind, (one, other) in product(KINDS, [(CONTINUOUS_OF, DISCRETE_OF)]):
        assert one[kind](*map(Symbol, "tab")) != other[kind](*map(Symbol, "tab"))


@pytest.mark.parametrize("kind", KINDS)
def test_many_small_updates_are_continuous_time(kind):
    """n updates of rates a/n, b/n² over n steps tend to time 1; the error halves as n doubles."""
    a, b, target = (
        Rational(3, 2),
        Rational(5, 4),
        CONTINUOUS_OF[kind](1, Rational(3, 2), Rational(5, 4)),
    )
    scale = {"impulse_response": 1, "position_gramian": 3, "velocity_gramian": 1}.get(kind, 0)
    errors = [
        N(DISCRETE_OF[kind](n, a / n, b / n**2) / Integer(n) ** scale - target, 30)
        for n in (10**6, 2 * 10**6)
    ]
    assert abs(errors[0] / errors[1] - 2) < 1e-3


# -- repeated sums ------------------------------------------------------------------------------


def summed_by_hand(steps, a, b):
    """The impulse response, added up again and again, one update after the other."""
    position, velocity = a * 0, a * 0 + 1
    once = twice = thrice = squares = a * 0
    for _ in range(steps):
        squares, thrice, twice, once = (
            squares + once**2,
            thrice + twice,
            twice + once,
            once + position,
        )
        position, velocity = position + velocity, -b * position + (1 - a) * velocity
    return dict(zip(SUMS, (once, twice, thrice, squares), strict=True))


@pytest.mark.parametrize("point", POINTS, ids=str)
@pytest.mark.parametrize("kind", SUMS)
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9, 100])
def test_repeated_sums_are_sums(kind, point, steps):
    a, b = point[0] / 4, point[1] / 4
    exact = summed_by_hand(steps, a, b)[kind]
    found = N(dict(zip(SUMS, DISCRETE.sum_classes, strict=True))[kind](steps, a, b), 50)
    assert abs(found - exact) <= Rational(1, 10**48) * abs(exact)


@pytest.mark.parametrize("steps", [1, 7, 100, 12345])
@pytest.mark.parametrize("trace", [1e-5, 0.3, 1.0, 1.9, 2.5, 3.9])
@pytest.mark.parametrize("share", [0.0, 1e-14, 0.5, 1.0, 1.7])
def test_repeated_sums_in_floating_point(steps, trace, share):
    """From flat to alternating modes, to a relative 1e-12 of what the sum adds up."""
    import sgdtheory as sgd

    s = sgd.symbols
    determinant = share * trace**2 / 4 if trace < 2 else max(2 * trace - 4 + 1e-3, share)
    sums = DISCRETE.sums(s.k, s.h, s.y)
    point = (s.k, s.h, s.y)
    with mp.workdps(60):
        exact = summed_by_hand(steps, mp.mpf(trace), mp.mpf(determinant))
    for kind, expression in zip(
        SUMS, (sums.once, sums.twice, sums.thrice, sums.gramian), strict=True
    ):
        found = float(sgd.lower(expression, point)(steps, trace, determinant))
        assert abs(found - exact[kind]) <= 1e-12 * abs(exact[kind])
