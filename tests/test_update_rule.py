"""Update rules: their coefficients, what is refused, and that they are what PyTorch does."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from sympy import Matrix, Rational, Symbol, expand, simplify, sin

import sgdtheory as sgd

s = sgd.symbols
eta, beta, tau, nu = s.eta, s.beta, s.tau, s.nu


@pytest.mark.parametrize(
    ("make", "a", "b", "c", "d"),
    [
        (sgd.plain_sgd, 0, -eta, 0, -1),
        (sgd.heavy_ball, eta * beta, -eta, beta, -1),
        (sgd.nesterov, eta * beta**2, -eta * (1 + beta), beta, -1),
        (sgd.dampened, eta * beta, -eta * (1 - tau), beta, -(1 - tau)),
        (sgd.quasi_hyperbolic, eta * nu * beta, -eta * (1 - nu * beta), beta, -(1 - beta)),
    ],
)
def test_coefficients_of_the_named_rules(make, a, b, c, d):
    found = make().coefficients
    expected = (a, b, c, d, 0)
    assert [expand(x - y) for x, y in zip(found, expected, strict=True)] == [0] * 5


def test_four_coefficients_say_all_that_the_rule_does(rule):
    a, b, c, d, _ = rule.coefficients
    velocity = rule.velocity
    position = rule.position.subs(s.v_next, velocity)
    assert expand(position - (s.theta + a * s.v + b * s.g)) == 0
    assert expand(velocity - (c * s.v + d * s.g)) == 0


def test_hand_loop_and_rule_are_the_same_map(rule, update, hyper, values):
    x, v, g = Rational(2, 7), Rational(-3, 5), Rational(11, 13)
    here = values | {s.theta: x, s.v: v, s.g: g}
    expected = update(x, v, lambda _: g, **hyper)
    position = rule.position.subs(s.v_next, rule.velocity)
    assert (position.subs(here), rule.velocity.subs(here)) == expected


def test_parameters_are_the_symbols_of_the_rule():
    assert sgd.heavy_ball().parameters == {eta, beta}
    assert sgd.plain_sgd().parameters == {eta}
    assert sgd.quasi_hyperbolic().parameters == {eta, beta, nu}
    assert sgd.dampened().parameters == {eta, beta, tau}


@pytest.mark.parametrize(
    ("make", "moves"),
    [
        (sgd.plain_sgd, True),
        (sgd.heavy_ball, True),
        (sgd.dampened, True),
        (sgd.nesterov, False),
        (sgd.quasi_hyperbolic, False),
    ],
)
def test_which_rules_move_by_their_velocity(make, moves):
    assert make().moves_by_velocity is moves


# -- look-ahead ---------------------------------------------------------------------------------


def textbook_nesterov():
    return sgd.UpdateRule(
        beta * s.v - s.g,
        s.theta + eta * s.v_next,
        gradient_at=s.theta + eta * beta * s.v,
        name="Nesterov's own",
    )


def test_look_ahead_is_the_fifth_coefficient():
    assert textbook_nesterov().coefficients == (eta * beta, -eta, beta, -1, eta * beta)


def test_a_look_ahead_gradient_is_a_plain_rule_for_the_look_ahead_position():
    x, v, e = 0.7, -0.3, 0.1 * 0.6
    look = x + e * v
    torch_look, torch_v = look, v
    for _ in range(20):
        g = 1.3 * (x + e * v)
        v = 0.6 * v - g
        x += 0.1 * v
        torch_look, torch_v = oracles.nesterov(torch_look, torch_v, lambda at: 1.3 * at, 0.1, 0.6)
        assert np.isclose(x + e * v, torch_look, rtol=1e-13)
        assert np.isclose(v, torch_v, rtol=1e-13)


def test_a_look_ahead_rule_has_the_roots_of_its_plain_twin():
    h = s.h
    own = sgd.recursion(textbook_nesterov(), curvature=h).characteristic_polynomial()
    twin = sgd.recursion(sgd.nesterov(), curvature=h).characteristic_polynomial()
    assert expand(own - twin) == 0


def test_a_look_ahead_rule_has_the_langevin_equation_of_its_plain_twin():
    own, twin = map(sgd.modified_equation, (textbook_nesterov(), sgd.nesterov()))
    assert simplify(own.mass - twin.mass) == 0
    assert simplify(own.friction - twin.friction) == 0


def test_the_map_of_a_look_ahead_rule_takes_the_gradient_there():
    M = sgd.recursion(textbook_nesterov(), curvature=s.h).map
    by_hand = Matrix(
        [
            [1 - eta * s.h, eta * beta * (1 - eta * s.h)],
            [-s.h, beta * (1 - eta * s.h)],
        ]
    )
    assert (M - by_hand).applyfunc(expand) == Matrix.zeros(2)


# -- what is refused ----------------------------------------------------------------------------

GOOD = {"velocity": beta * s.v - s.g, "position": s.theta + eta * s.v_next}


@pytest.mark.parametrize(
    ("argument", "expression", "because"),
    [
        ("velocity", beta * s.v - s.g**2, "not linear"),
        ("velocity", beta * s.v - sin(s.g), "not linear"),
        ("velocity", beta * s.v * s.g, "not linear"),
        ("velocity", beta * s.v - s.g + 1, "constant"),
        ("velocity", beta * s.v_next - s.g, "v_next"),
        ("position", s.theta + eta * s.v * s.g, "not linear"),
        ("position", s.theta + eta * s.v_next + eta, "constant"),
        ("position", 2 * s.theta + eta * s.v_next, "coefficient 2"),
        ("position", (1 - s.lamda) * s.theta + eta * s.v_next, "coefficient 1 - lamda"),
        ("gradient_at", s.theta**2, "not linear"),
        ("gradient_at", s.theta + 1, "constant"),
        ("gradient_at", 2 * s.theta, "coefficient 2"),
        ("gradient_at", s.theta + s.g, "g"),
        ("gradient_at", s.theta + s.v_next, "v_next"),
    ],
)
def test_a_rule_that_is_no_linear_recursion_is_refused_by_name(argument, expression, because):
    with pytest.raises(ValueError, match=rf"(?s)^{argument} = .*{because}"):
        sgd.UpdateRule(**{**GOOD, argument: expression})


def test_a_position_in_the_velocity_is_blamed_on_the_velocity():
    with pytest.raises(ValueError, match=r"^velocity = .*theta has coefficient -1"):
        sgd.UpdateRule(**{**GOOD, "velocity": beta * s.v - s.g - s.theta})


def test_text_is_refused_by_name():
    with pytest.raises((ValueError, TypeError), match="velocity"):
        sgd.UpdateRule(**{**GOOD, "velocity": "beta*v - g"})


# -- torch --------------------------------------------------------------------------------------


def run(rule, gradient, position, velocity, hyper, steps):
    """Trajectory of a rule on many coordinates, with nothing but its coefficients."""
    numbers = {getattr(s, key): value for key, value in hyper.items()}
    a, b, c, d, _ = (float(x.subs(numbers)) for x in rule.coefficients)
    path = []
    for _ in range(steps):
        g = gradient(position)
        position, velocity = position + a * velocity + b * g, c * velocity + d * g
        path.append(position)
    return np.array(path)


def random_quadratic(seed, size=6):
    rng = np.random.default_rng(seed)
    square = rng.normal(size=(size, size))
    return square @ square.T / size, rng.normal(size=size), rng.normal(size=size)


def run_torch(H, b, start, steps, **options):
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.SGD([parameter], **options)
    hessian, slope = torch.tensor(H), torch.tensor(b)
    path = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = 0.5 * parameter @ hessian @ parameter - slope @ parameter
        loss.backward()
        optimiser.step()
        path.append(parameter.detach().numpy().copy())
    return np.array(path)


ETA, BETA, TAU, DECAY = 0.07, 0.9, 0.3, 0.02


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (sgd.plain_sgd, {}),
        (sgd.heavy_ball, {"momentum": BETA}),
        (sgd.nesterov, {"momentum": BETA, "nesterov": True}),
        (sgd.dampened, {"momentum": BETA, "dampening": TAU}),
    ],
    ids=["plain", "momentum", "nesterov", "dampening"],
)
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_a_rule_is_what_torch_does(make, options, decay):
    """The recursions are stable, so 50 steps add 50 roundings of numbers of order 1: ≲ 1e-14."""
    H, b, start = random_quadratic(seed=3)

    def gradient(x):
        return H @ x - b + decay * x

    # torch's first dampened step ignores τ, which is a start with v_0 = −τ g_0 / β.
    velocity = -TAU * gradient(start) / BETA if "dampening" in options else np.zeros_like(start)
    ours = run(make(), gradient, start, velocity, {"eta": ETA, "beta": BETA, "tau": TAU}, steps=50)
    theirs = run_torch(H, b, start, 50, lr=ETA, weight_decay=decay, **options)
    assert np.abs(ours - theirs).max() <= 1e-12


def test_without_the_special_start_torchs_dampening_differs():
    H, b, start = random_quadratic(seed=3)
    hyper = {"eta": ETA, "beta": BETA, "tau": TAU}
    ours = run(sgd.dampened(), lambda x: H @ x - b, start, 0 * start, hyper, steps=50)
    theirs = run_torch(H, b, start, 50, lr=ETA, momentum=BETA, dampening=TAU)
    assert np.abs(ours - theirs).max() > 1e-3


def test_quasi_hyperbolic_is_the_published_loop():
    """Ma and Yarats, arXiv 1810.06801: g' = βg' + (1−β)∇, θ ← θ − η((1−ν)∇ + νg')."""
    H, b, start = random_quadratic(seed=4)
    position, average, path = start.copy(), np.zeros_like(start), []
    for _ in range(50):
        g = H @ position - b
        average = BETA * average + (1 - BETA) * g
        position = position - ETA * ((1 - 0.7) * g + 0.7 * average)
        path.append(position)
    hyper = {"eta": ETA, "beta": BETA, "nu": 0.7}
    ours = run(sgd.quasi_hyperbolic(), lambda x: H @ x - b, start, 0 * start, hyper, steps=50)
    assert np.abs(ours - np.array(path)).max() <= 1e-12


def test_decimal_coefficients_are_coefficients():
    rule = sgd.UpdateRule(0.5 * s.v - 1.0 * s.g + 0.0 * s.theta, s.theta + 0.1 * s.v_next)
    assert float(rule.coefficients.c) == 0.5
    assert float(rule.coefficients.a) == 0.05


def test_a_symbol_that_only_looks_like_the_packages_is_refused():
    foreign = Symbol("beta")
    with pytest.raises(ValueError, match=r"beta.*not sgdtheory\.symbols\.beta"):
        sgd.UpdateRule(foreign * s.v - s.g, s.theta + eta * s.v_next)
