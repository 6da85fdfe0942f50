"""What the chapters' tests share: the five named rules, with exact values to insert."""

from __future__ import annotations

import oracles
import pytest
from hypothesis import settings
from sympy import Rational

import sgdtheory as sgd

# The same examples on every machine: a failure here is a failure there.
settings.register_profile("reproducible", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("reproducible")

EXACT = {
    "eta": Rational(1, 10),
    "beta": Rational(3, 5),
    "tau": Rational(1, 3),
    "nu": Rational(7, 10),
}


@pytest.fixture(params=oracles.UPDATES)
def name(request):
    """Name of a rule, the same here and among the oracles."""
    return request.param


@pytest.fixture
def rule(name):
    return getattr(sgd, name)()


@pytest.fixture
def update(name):
    """One update of the rule, by hand."""
    return oracles.UPDATES[name]


@pytest.fixture
def hyper(name):
    """η, β and the rule's own parameter as exact numbers, by the names of the hand loops."""
    own = (oracles.OWN_PARAMETERS[name],) if name in oracles.OWN_PARAMETERS else ()
    values = {key: EXACT[key] for key in ("eta", "beta", *own)}
    return values | {"beta": Rational(0)} if name == "plain_sgd" else values


@pytest.fixture
def values(hyper):
    """The same for SymPy's `subs`, with a curvature, a noise, a batch size and a start."""
    s = sgd.symbols
    return {getattr(s, key): value for key, value in hyper.items()} | {
        s.h: Rational(5, 4),
        s.Sigma: Rational(7, 2),
        s.S: Rational(4),
        s.theta_0: Rational(2, 3),
        s.v_0: Rational(-5, 7),
    }
