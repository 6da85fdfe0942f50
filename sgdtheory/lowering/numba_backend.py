"""Numba: the generated source compiled for scalars, in a loop over the broadcast arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdtheory.lowering import propagation, scalar_modes
from sgdtheory.lowering.printer import ELEMENTARY, Source, define

__all__ = ["compile_source"]

# Compiled functions have no static type of their own.
jit: Any = numba.njit


def _compiled() -> dict[str, Any]:
    """The scalar arithmetic of modes, compiled: each function sees the compiled ones before it."""
    scope: dict[str, Any] = {"math": math, "LARGEST_SHORT_TIME": propagation.LARGEST_SHORT_TIME}
    scope |= {"_TERMS": propagation._TERMS, "range": range}
    scope["choose"] = jit(scalar_modes.choose, inline="always")
    names = [name for name in propagation.__all__ if name[0].islower()]
    names += ["minimum", "maximum", "doublings", "checked_steps"]
    names += [f"continuous_{kind}" for kind in ("flow", "mode")]
    names += [f"discrete_{kind}" for kind in ("flow", "mode", "sums")]
    for name in names:
        plain = getattr(propagation, name, None) or getattr(scalar_modes, name)
        scope[name] = jit(FunctionType(plain.__code__, scope))
    return {name: scope[name] for name in names}


NAMESPACE: dict[str, Any] = {
    **{name: getattr(math, name) for name in ELEMENTARY.values()},
    "sqrt": math.sqrt,
    **_compiled(),
}


def _loop(source: Source) -> str:
    """Source of the loop that fills one row of `out` per element."""
    elements = ", ".join(f"{name}[i]" for name in source.parameters)
    entries = 1 if source.shape is None else source.shape[0] * source.shape[1]
    assignments = "\n".join(f"        out[i, {j}] = values[{j}]" for j in range(entries))
    return (
        f"def loop({', '.join((*source.parameters, 'out'))}):\n"
        f"    for i in range(out.shape[0]):\n"
        f"        values = lowered({elements})\n"
        f"{assignments}\n"
    )


def compile_source(source: Source) -> Callable[..., NDArray[np.float64]]:
    """The source as a compiled function of arrays that broadcast."""
    scalar = jit(define(source.text, "lowered", NAMESPACE), error_model="numpy")
    loop = jit(define(_loop(source), "loop", {"lowered": scalar}), error_model="numpy")
    tail = () if source.shape is None else source.shape
    entries = 1 if source.shape is None else source.shape[0] * source.shape[1]

    def call(*arguments: ArrayLike) -> NDArray[np.float64]:
        arrays = [np.asarray(argument, dtype=np.float64) for argument in arguments]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        flat = [np.ascontiguousarray(np.broadcast_to(array, shape)).ravel() for array in arrays]
        out = np.empty((math.prod(shape), entries))
        loop(*flat, out)
        return out.reshape((*shape, *tail))

    return call
