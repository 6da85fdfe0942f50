r"""A response at many times, summed over many modes, without an array of both.

The sums are those of an expression that is linear in a mode's step response p and impulse
response s at one time, as the displacement from a stationary start is,

.. math:: \sum_i w_i\,\bigl(c_i\,p_t(a_i, b_i) + d_i\,s_t(a_i, b_i)\bigr),

with everything but t the mode's own. The propagator of t = k τ is the k-th power of that of τ, so
all times follow from the first by the products of an addition chain.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from sympy import Expr, ImmutableMatrix, Integer, Symbol, factor

from sgdtheory.lowering.addition_chains import AdditionChain, addition_chain
from sgdtheory.lowering.array_totals import totals
from sgdtheory.lowering.functions import LoweredFunction, lower
from sgdtheory.special_functions import DISCRETE, ModeFunction
from sgdtheory.symbols import coordinates

__all__ = ["LoweredTotal", "fastest_backend", "lower_total"]

# Elements of one pass: what a core's cache holds; Numba makes blocks of its own.
_ELEMENTS = {"numpy": 2**12, "numba": 2**20, "torch": 2**18}


@dataclass(frozen=True)
class LoweredTotal:
    """Sums over modes at many counts k; the last axis of the arrays is that of the modes.

    Args:
        coefficients: the row a τ, b τ², c b τ², d τ as a function of the arguments; for a recursion
            also c b', 2c − d, c, with b' the determinant of a mode's mirror image.
        discrete: whether counts are updates; else they are multiples of a time τ.
        backend: "numpy", "numba" or "torch".
    """

    coefficients: LoweredFunction
    discrete: bool
    backend: str

    def __call__(self, counts: Any, *arrays: Any, weights: Any = 1.0) -> Any:
        """Sums at the counts, (settings..., counts).

        Args:
            counts: k ≥ 0, whole numbers, one-dimensional, in any order.
            arrays: the arguments, broadcasting to (settings..., modes).
            weights: of the modes, broadcasting likewise.
        """
        distinct, back = np.unique(np.asarray(counts, dtype=np.int64), return_inverse=True)
        inputs, library = _inputs((*arrays, weights), self.backend)
        shape = np.broadcast_shapes(*(tuple(array.shape) for array in inputs))
        # Nothing has moved at first, which is no power of anything.
        columns = [0.0 * library.broadcast_to(inputs[0], shape)[..., 0].reshape(-1, 1)]
        chain = _chain(tuple(int(k) for k in distinct if k > 0))
        if chain.exponents:
            passes = _passes(inputs, shape, _ELEMENTS[self.backend], library)
            sums = [sum(self._sums(chain, part, library) for part in parts) for parts in passes]
            columns.append(library.concatenate(sums))
        found = library.concatenate(columns, 1)[:, 1 - (distinct[:1] == 0).sum() :]
        return found[:, back].reshape((*shape[:-1], len(back)))

    def _sums(self, chain: AdditionChain, inputs: Sequence[Any], library: Any) -> Any:
        *arguments, weights = inputs
        row = self.coefficients(*arguments)[..., 0, :]
        if self.backend == "numba":
            kernel = import_module("sgdtheory.lowering.numba_totals")
            return kernel.totals(chain, row, weights, self.discrete)
        a, b, *products = (row[..., i] for i in range(row.shape[-1]))
        # What overflows comes out as no number, as elsewhere; who asked knows what that means.
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = (a, b, *(weights * product for product in products))
            return totals(chain, weighted, self.discrete, library)


_chain = lru_cache(maxsize=64)(addition_chain)


def _inputs(arrays: Sequence[Any], backend: str) -> tuple[list[Any], Any]:
    """The arrays, of one kind and at least one axis, and their library."""
    if backend == "torch":
        torch = import_module("torch")
        as_tensors = import_module("sgdtheory.lowering.torch_backend").as_tensors
        return [torch.atleast_1d(tensor) for tensor in as_tensors(tuple(arrays))], torch
    return [np.atleast_1d(np.asarray(array, dtype=np.float64)) for array in arrays], np


def _passes(
    inputs: Sequence[Any], shape: tuple[int, ...], elements: int, library: Any
) -> Iterator[Iterator[list[Any]]]:
    """The arrays in pieces (settings, modes): the modes of one or of several settings."""
    lead, modes = shape[:-1], shape[-1]
    wide = [library.broadcast_to(array, (*lead, array.shape[-1])) for array in inputs]
    rows = max(1, elements // modes)
    for first in range(0, prod(lead), rows):
        settings = (
            np.unravel_index(np.arange(first, min(first + rows, prod(lead))), lead)
            if lead
            else None
        )
        chosen = [array[None] if settings is None else array[settings] for array in wide]
        yield (
            [array if array.shape[-1] == 1 else array[:, i : i + elements] for array in chosen]
            for i in range(0, modes, elements)
        )


def fastest_backend(elements: int) -> str:
    """Numba where it is installed and saves more time than it takes to start, else NumPy.

    Args:
        elements: modes times counts times settings.
    """
    worth = elements > (2**18 if "numba" in sys.modules else 2**25)
    return "numba" if worth and find_spec("numba") else "numpy"


def lower_total(
    expression: Expr,
    time: Symbol,
    arguments: Sequence[Symbol],
    backend: str = "numpy",
    arrange: Callable[[Expr], Expr] = lambda coefficient: coefficient,
) -> LoweredTotal:
    """The sum over modes of a response, as a function of counts and arrays.

    Args:
        expression: linear in step and impulse responses at one time, a multiple of `time`, and
            otherwise free of it.
        time: the count's symbol.
        arguments: the other symbols, in the order of the call.
        backend: "numpy", "numba" (parallel) or "torch".
        arrange: writes a coefficient so that it keeps its digits.

    Raises:
        ValueError: for an expression of another form.

    >>> from sgdtheory import heavy_ball, recursion, symbols as s
    >>> motion = recursion(heavy_ball(), noise=s.rho, curvature=s.rho).displacement(s.k)
    >>> total = lower_total(motion, s.k, (s.rho, s.eta, s.beta, s.S))
    >>> total([0, 1, 2], [0.5, 0.1], 0.1, 0.9, 8.0).round(6)
    array([0.      , 0.003993, 0.015   ])
    """
    functions = sorted(expression.atoms(ModeFunction), key=str)
    points = {function.args for function in functions}
    kinds = {function.kind for function in functions}
    names = dict(zip(functions, coordinates(len(functions)), strict=True))
    if len(points) != 1 or not kinds <= {"step_response", "impulse_response"}:
        raise ValueError(
            f"expression = {expression}: it has the functions {kinds} at {len(points)} points; a "
            "total needs step and impulse responses at one."
        )
    when, a, b = points.pop()
    unit = when / time
    linear = expression.xreplace(names)
    slopes = {function.kind: linear.diff(name) for function, name in names.items()}
    rest = linear.subs(dict.fromkeys(names.values(), 0))
    c, d = slopes.get("step_response", Integer(0)), slopes.get("impulse_response", 0) * unit
    discrete = isinstance(functions[0], DISCRETE.classes)
    # What goes to 0 with b, or with b' beside the limit of stability, cancels here: once, exactly.
    products = [factor(c * b) * unit**2, d]
    if discrete:
        products += [factor(c * (4 - 2 * a + b)), factor(2 * c - d), c]
    coefficients = ImmutableMatrix([[a * unit, b * unit**2, *products]])
    if rest != 0 or coefficients.has(time, *names.values()):
        raise ValueError(
            f"expression = {expression}: it must be a step response and an impulse response, each "
            f"times a coefficient without {time}, at a multiple of {time}."
        )
    lowered = lower(coefficients.applyfunc(arrange), tuple(arguments), backend)
    return LoweredTotal(lowered, discrete, backend)
