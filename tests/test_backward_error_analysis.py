"""The slow manifold's modified loss: published factors, exact roots, and real updates in 2-D."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import oracles
import pytest
from scipy.integrate import solve_ivp
from sympy import Poly, Rational, expand, factorial, lambdify, simplify

import sgdtheory as sgd
from sgdtheory.backward_error_analysis import SlowManifold, implicit_regularization, slow_manifold

s = sgd.symbols
eta, beta, h = s.eta, s.beta, s.h


def textbook_nesterov():
    return sgd.UpdateRule(
        beta * s.v - s.g, s.theta + eta * s.v_next, gradient_at=s.theta + eta * beta * s.v
    )


# -- published ----------------------------------------------------------------------------------


def test_heavy_ball_and_plain_sgd():
    found = implicit_regularization(sgd.heavy_ball())
    assert simplify(found - eta * (1 + beta) / (4 * (1 - beta) ** 2)) == 0
    assert implicit_regularization(sgd.plain_sgd()) == eta / 4
    assert found.subs(beta, 0) == eta / 4


def test_the_record_says_the_same_thing_three_ways():
    slow = slow_manifold(sgd.heavy_ball())
    loss = s.L(s.theta)
    assert slow.factor == implicit_regularization(sgd.heavy_ball())
    assert simplify(slow.modified_loss - loss - slow.factor * loss.diff(s.theta) ** 2) == 0
    position = s.trajectory(s.t)
    equation = slow.equation.replace(s.L, lambda x: h * x**2 / 2).doit()
    expected = -h * (1 + 2 * slow.factor * h) * position
    assert simplify(equation.rhs - expected) == 0
    assert equation.lhs == (1 - beta) * position.diff(s.t)


# -- the recursion's own slow root --------------------------------------------------------------


def test_the_factor_is_the_slow_roots_first_correction(rule, update, hyper):
    """s = −(h/Γ)(1 + 2ch) leaves det(e^{ηs} − M) at order η³."""
    slow = slow_manifold(rule)
    numbers = {key: value for key, value in hyper.items() if key != "eta"}
    inserted = {getattr(s, key): value for key, value in numbers.items()}
    curvature = Rational(5, 4)
    friction, factor = (x.subs(inserted) for x in (slow.friction, slow.factor))
    exponent = -eta * curvature / friction * (1 + 2 * factor * curvature)
    z = sum(expand(exponent**n) / factorial(n) for n in range(4))
    M, _ = oracles.linear_law(update, curvature, eta=eta, **numbers)
    missed = Poly(expand((z - M[0][0]) * (z - M[1][1]) - M[0][1] * M[1][0]), eta)
    assert min(power for (power,), _ in missed.terms()) == 3


# -- real updates on a loss that is neither quadratic nor separable ------------------------------


def gradient(x):
    """Of L = x²/2 + y² + x²y/2 + y⁴/4 + sin(x)y/3."""
    a, b = x
    return np.array([a + a * b + np.cos(a) * b / 3, 2 * b + a**2 / 2 + b**3 + np.sin(a) / 3])


def hessian(x):
    a, b = x
    mixed = a + np.cos(a) / 3
    return np.array([[1 + b - np.sin(a) * b / 3, mixed], [mixed, 2 + 3 * b**2]])


def look_ahead(x, v, force, eta, beta):
    v = beta * v - force(x + eta * beta * v)
    return x + eta * v, v


UPDATES = oracles.UPDATES | {"look_ahead": look_ahead}


def numbers_of(name):
    own = {"dampened": {"tau": 0.25}, "quasi_hyperbolic": {"nu": 0.7}}.get(name, {})
    return {"eta": 0.0, "beta": 0.0 if name == "plain_sgd" else 0.3} | own


def distance(name, step, factor):
    """Between the updates and the flow, after 50 updates or more, over a unit of time."""
    rule = textbook_nesterov() if name == "look_ahead" else getattr(sgd, name)()
    hyper = numbers_of(name) | {"eta": step}
    update = UPDATES[name]
    ahead = step * hyper["beta"] if name == "look_ahead" else 0.0
    letters = [getattr(s, key) for key in hyper]
    slow = slow_manifold(rule)
    friction, c = (
        lambdify(letters, x)(*hyper.values()) for x in (slow.friction, factor * slow.factor)
    )
    x, v = np.array([1.0, 0.8]), np.zeros(2)
    seen = []
    memory, whole = round(0.1 / step), round(1 / step)
    for k in range(memory + whole + 1):
        if k >= memory:
            seen.append(x + ahead * v)
        x, v = update(x, v, gradient, **hyper)

    def flow(_, x):
        return -(gradient(x) + 2 * c * hessian(x) @ gradient(x)) / friction

    times = step * np.arange(len(seen))
    path = solve_ivp(flow, (0, times[-1]), seen[0], t_eval=times, rtol=1e-11, atol=1e-13)
    return np.abs(path.y.T - np.array(seen)).max()


@pytest.mark.parametrize("name", UPDATES)
def test_updates_follow_the_modified_loss_in_two_dimensions(name):
    """Halving η quarters the distance; with c left out or doubled it only halves."""
    steps = (0.002, 0.001)
    right, without, twice = (
        [distance(name, step, factor) for step in steps] for factor in (1, 0, 2)
    )
    assert 3.6 < right[0] / right[1] < 4.4
    assert 1.8 < without[0] / without[1] < 2.2
    assert 1.8 < twice[0] / twice[1] < 2.2
    assert right[1] < without[1] / 20


# -- records and refusals -----------------------------------------------------------------------


def test_the_derivation_says_why_it_holds_in_any_dimension(rule):
    slow = slow_manifold(rule)
    assert isinstance(slow, SlowManifold)
    assert [step.title for step in slow.derivation][-3:] == [
        "Leading order",
        "First correction",
        "A gradient again",
    ]
    assert "symmetric" in slow.derivation[-1].action
    assert all(step.formulas for step in slow.derivation)
    assert all(step.action.endswith(".") for step in slow.derivation)
    assert any("memory" in assumption for assumption in slow.assumptions)


def test_what_has_no_slow_motion_is_refused():
    undamped = sgd.UpdateRule(s.v - s.g, s.theta + eta * s.v_next, name="undamped")
    with pytest.raises(ValueError, match=r"undamped.*never forgotten"):
        slow_manifold(undamped)
    coasting = sgd.UpdateRule(beta * s.v, s.theta + eta * s.v_next, name="coasting")
    with pytest.raises(ValueError, match=r"coasting.*no restoring force"):
        implicit_regularization(coasting)
    with pytest.raises(TypeError, match="brackets"):
        slow_manifold(sgd.heavy_ball)


def test_a_slow_manifold_is_frozen():
    found = sgd.slow_manifold(sgd.heavy_ball())
    with pytest.raises(FrozenInstanceError):
        found.factor = 0
