"""What a user gives is never run, however deep the text is hidden."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from sympy import I, Matrix, Rational, eye, oo

import sgdtheory as sgd
from sgdtheory.user_input import strict_expression, strict_matrix

s = sgd.symbols
LANGEVIN = sgd.modified_equation(sgd.heavy_ball())
PROCESS = sgd.ornstein_uhlenbeck(LANGEVIN)
FLOW = sgd.fokker_planck(PROCESS)
EXACT = sgd.recursion(sgd.heavy_ball(), sampling="epochs")

HIDDEN = {
    "text": lambda text: text,
    "bytes": lambda text: text.encode(),
    "set": lambda text: {text},
    "tuple": lambda text: (text,),
    "key": lambda text: {text: 1},
    "value": lambda text: {s.eta: [[text]]},
    "list": lambda text: [text],
    "matrix": lambda text: [[text, 1], [1, 1]],
    "ragged": lambda text: [[1], [text, 2]],
    "array": lambda text: np.array([[text, 1], [1, 1]], dtype=object),
    "point": lambda text: np.array(text, dtype=object),
    "inside": lambda text: [[np.array(text, dtype=object)]],
    "nested": lambda text: [[{text}]],
    "generator": lambda text: [map(str, [text])],
}
DOORS = {
    "drift": lambda x: sgd.OrnsteinUhlenbeck(x, eye(2)),
    "diffusion": lambda x: sgd.OrnsteinUhlenbeck(eye(2), x),
    "temperature": lambda x: sgd.OrnsteinUhlenbeck(eye(2), eye(2), x),
    "map": lambda x: sgd.LinearRecursion(x, Matrix([1, 1]), 1),
    "kick": lambda x: sgd.LinearRecursion(eye(2), x, 1),
    "variance": lambda x: sgd.LinearRecursion(eye(2), Matrix([1, 1]), x),
    "noise": lambda x: sgd.ornstein_uhlenbeck(LANGEVIN, noise=x),
    "noise matrix": lambda x: sgd.ornstein_uhlenbeck(LANGEVIN, noise=x, curvature=[1, 2]),
    "curvature": lambda x: sgd.recursion(sgd.heavy_ball(), curvature=x),
    "velocity": lambda x: sgd.UpdateRule(x, s.theta),
    "mass": lambda x: sgd.Langevin(x, 1, 1),
    "time": lambda x: PROCESS.covariance(x),
    "count": lambda x: EXACT.displacement(x),
    "phase": lambda x: EXACT.covariance(3, x),
    "density": lambda x: FLOW.density_at(x),
    "start": lambda x: FLOW.flux((0, 1), (x, 1)),
    "inserted": lambda x: PROCESS.at({s.eta: x}),
    "lowered": lambda x: sgd.lower(x, (s.h,)),
    "factored": lambda x: PROCESS.factored(x),
    "name": lambda x: s.matrix(x, 2) if not isinstance(x, str) else s.matrix(1, 2),
    "hessian": lambda x: sgd.Landscape(x, np.eye(2)),
    "sampling": lambda x: sgd.recursion(sgd.heavy_ball(), sampling=x),
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_text_is_refused_and_not_run(door, hidden, tmp_path):
    mark = tmp_path / "run"
    with pytest.raises((ValueError, TypeError)):
        door(hidden(f"__import__('pathlib').Path({str(mark)!r}).touch()"))
    assert not mark.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), oo, I, 1j, None, True, s.eta > 0])
def test_what_is_no_finite_real_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^noise = "):
        strict_expression("noise", value)


def test_numbers_and_expressions_are_taken_as_they_are():
    assert strict_expression("x", Fraction(1, 3)) == Rational(1, 3)
    assert strict_expression("x", np.float64(0.5)) == 0.5
    assert strict_expression("x", s.eta / 2) == s.eta / 2
    assert strict_matrix("x", [1, 2]) == Matrix([1, 2])
    assert strict_matrix("x", np.eye(2)) == Matrix([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("variance", [-1, oo, float("nan"), "1"])
def test_a_recursions_noise_is_a_variance(variance):
    with pytest.raises(ValueError, match="noise_variance = "):
        sgd.LinearRecursion([[Rational(1, 2)]], [[1]], variance)


def test_a_time_that_is_negative_as_a_symbol_is_refused():
    with pytest.raises(ValueError, match="time = -eta"):
        PROCESS.covariance(-s.eta)
