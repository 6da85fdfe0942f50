"""Contenders from textbooks: the closed form by SymPy's lambdify and torch, and a matrix loop.

One mode's displacement under heavy ball in continuous time, in functions of (t, ρ, η, β, S). The
form with three branches is made of the one with a frequency that may be imaginary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm
from sympy import Eq, Expr, I, Piecewise, Pow, S, expand_func, lambdify, limit, sqrt

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.ornstein_uhlenbeck_process import OrnsteinUhlenbeck

__all__ = [
    "ARGUMENTS",
    "branches",
    "complex_root",
    "matrix_loop",
    "process",
    "three_branches",
    "torch_branches",
]

Array: TypeAlias = NDArray[np.float64]
Function: TypeAlias = Callable[..., Any]
ARGUMENTS = (s.t, s.rho, s.eta, s.beta, s.S)
_TORCH = ("exp", "cos", "sin", "cosh", "sinh", "sqrt")


@cache
def process() -> OrnsteinUhlenbeck:
    """One mode, with noise proportional to its curvature."""
    return sgd.ornstein_uhlenbeck(
        sgd.modified_equation(sgd.heavy_ball()), noise=s.rho, curvature=s.rho
    )


@contextmanager
def _no_complaints() -> Iterator[None]:
    # Every branch is computed for every mode, also where it has no value.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def complex_root() -> Function:
    """The closed form as it stands, by lambdify, with ρ as complex numbers."""
    function = lambdify(ARGUMENTS, expand_func(process().displacement(s.t)), "numpy", cse=True)

    def call(time: float, rho: Array, *settings: float) -> Array:
        with _no_complaints():
            value: Array = function(time, rho.astype(complex), *settings).real
        return value

    return call


def branches() -> tuple[Expr, Expr, Expr, Expr]:
    """ω² − γ², and the forms where it is negative, 0 and positive."""
    form = expand_func(process().displacement(s.t))
    (square,) = {root.base for root in form.atoms(Pow) if abs(root.exp) == S.Half}
    (frequency,) = s.coordinates(1)
    oscillating = form.subs(sqrt(square), frequency)
    overdamped = oscillating.subs(frequency, I * frequency).subs(frequency, sqrt(-square))
    return square, overdamped, limit(oscillating, frequency, 0), form


def three_branches() -> Function:
    """A Piecewise by lambdify."""
    square, overdamped, critical, oscillating = branches()
    form = Piecewise((overdamped, square < 0), (critical, Eq(square, 0)), (oscillating, True))
    function = lambdify(ARGUMENTS, form, "numpy", cse=True)

    def call(time: float, rho: Array, *settings: float) -> Any:
        with _no_complaints():
            return function(time, rho, *settings)

    return call


def torch_branches() -> Function:
    """The same, chosen by torch.where; of tensors."""
    torch = import_module("torch")
    names = {name: getattr(torch, name) for name in _TORCH}
    square, *forms = (lambdify(ARGUMENTS, form, [names], cse=True) for form in branches())

    def call(*point: Any) -> Any:
        sign = square(*point)
        overdamped, critical, oscillating = (form(*point) for form in forms)
        chosen = torch.where(sign > 0, oscillating, critical)
        return torch.where(sign < 0, overdamped, chosen)

    return call


def matrix_loop(times: Array, rho: Array, *settings: float) -> Array:
    """The sums over modes, by one matrix exponential for every mode and time."""
    arguments = ARGUMENTS[1:]
    generator = lambdify(arguments, process().generator)
    stationary = lambdify(arguments, process().stationary_covariance())
    totals = np.zeros(len(times))
    for curvature in rho:
        A, C = (np.array(f(curvature, *settings)) for f in (generator, stationary))
        for k, time in enumerate(times):
            totals[k] += 2 * (C - expm(-A * time) @ C)[0, 0]
    return totals
