"""The theory of a rule as a whole: nothing of it is typed in, and all of it ends in time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sympy import Expr
from sympy.matrices import MatrixBase

import sgdtheory as sgd
from validation.benchmarks.derivations import RULES, everything

s = sgd.symbols

# One coefficient of heavy ball changed at a time; what may stay as it was, and why.
CHANGES = {
    "memory": (
        sgd.UpdateRule(s.beta * s.v / 2 - s.g, s.theta + s.eta * s.v_next),
        # Phase space turns as the noise pushes: Q holds Σ alone in units of κ.
        {"circulation"},
    ),
    "gradient in the velocity": (
        sgd.UpdateRule(s.beta * s.v - 2 * s.g, s.theta + s.eta * s.v_next),
        {"circulation"},
    ),
    "velocity in the position": (
        sgd.UpdateRule(s.beta * s.v - s.g, s.theta + 2 * s.eta * s.v_next),
        {"circulation"},
    ),
    "gradient in the position": (
        sgd.UpdateRule(s.beta * s.v - s.g, s.theta + s.eta * (s.v_next - s.g)),
        set(),
    ),
    "look-ahead": (
        sgd.UpdateRule(
            s.beta * s.v - s.g,
            s.theta + s.eta * s.v_next,
            gradient_at=s.theta + s.eta * s.beta * s.v,
        ),
        # The relations hold for the gradient that the optimiser sees, wherever it is taken.
        # It is a friction: the frequency of the turning, a matter of force and mass, stays.
        {"fluctuation-dissipation", "circulation", "cycle frequencies", "flux"},
    ),
}

POINT = {
    s.beta: 1 / 3,
    s.eta: 1 / 7,
    s.h: 0.6,
    s.rho: 0.6,
    s.lamda: 0.0,
    s.Sigma: 2 / 3,
    s.sigma2: 10 / 9,
    s.S: 4.0,
    s.N: 20.0,
    s.M: 5.0,
    s.k: 7.0,
    s.t: 1.1,
    s.theta: 0.5,
    s.v: -0.3,
    s.theta_0: 0.4,
    s.v_0: 0.25,
    s.shift: 0.7,
}


def at_a_point(value):
    """A result at one point of all its letters; what is no expression stays what it is."""
    if isinstance(value, tuple):
        return tuple(map(at_a_point, value))
    if not isinstance(value, (Expr, MatrixBase)):
        return value
    numbers = sgd.lower(value, tuple(POINT))(*POINT.values())
    return tuple(np.ravel(numbers).round(12))


HEAVY_BALL = {name: at_a_point(value) for name, value in everything(sgd.heavy_ball()).items()}


@pytest.mark.parametrize("change", CHANGES)
def test_every_result_follows_the_rules_coefficients(change):
    rule, allowed = CHANGES[change]
    changed = {name: at_a_point(value) for name, value in everything(rule).items()}
    assert changed.keys() == HEAVY_BALL.keys()
    same = {
        name
        for name, value in changed.items()
        if value == HEAVY_BALL[name] and name not in ("divergence", "entropy production")
    }
    assert same <= allowed


@pytest.mark.parametrize("name", RULES)
def test_the_whole_theory_of_a_rule_ends(name):
    """A limit that only a hang can reach: it takes seconds."""
    code = (
        "from validation.benchmarks.derivations import RULES, everything; "
        f"print(len(everything(RULES[{name!r}]())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) == len(HEAVY_BALL)
