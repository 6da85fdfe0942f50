"""A generated loop through Numba, to machine code as bytes.

Numba's own cache cannot keep code made by ``exec`` and cannot be read without importing Numba. So
Numba is asked for its optimised LLVM code, and the object file of that is what is kept.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types

from sgdtheory.lowering import propagation, scalar_modes
from sgdtheory.lowering.machine_code import code_of_module
from sgdtheory.lowering.printer import ELEMENTARY, define

__all__ = ["machine_code"]

# Compiled functions have no static type of their own.
jit: Any = numba.njit


def _compiled() -> dict[str, Any]:
    """The scalar arithmetic of modes, compiled: each function sees the compiled ones."""
    scope: dict[str, Any] = {**vars(propagation), **vars(scalar_modes)}
    functions = {name: value for name, value in scope.items() if isinstance(value, FunctionType)}
    for name, function in functions.items():
        # `choose` is handed to others, which Numba takes only of what it has inlined.
        inline = "always" if name == "choose" else "never"
        scope[name] = jit(FunctionType(function.__code__, scope), inline=inline)
    return {name: scope[name] for name in functions}


NAMESPACE: dict[str, Any] = {
    **{name: getattr(math, name) for name in ELEMENTARY.values()},
    "sqrt": math.sqrt,
    # Python's floor is an integer, which Numba lets overflow.
    "floor": np.floor,
    **_compiled(),
}

_NUMBERS = types.CPointer(types.float64)
_WHOLE_NUMBERS = types.CPointer(types.int64)
# pointers, strides, extents, axes, begin, end, out, position: see `numba_backend`.
_SIGNATURE = types.int64(
    types.CPointer(_NUMBERS),
    _WHOLE_NUMBERS,
    _WHOLE_NUMBERS,
    types.int64,
    types.int64,
    types.int64,
    _NUMBERS,
    _WHOLE_NUMBERS,
)


def machine_code(lowered: str, loop: str) -> bytes:
    """Machine code of a loop over a lowered function.

    The entry is Numba's native function, which returns a status where its C wrapper would print an
    error and go on.

    Args:
        lowered: source of the function `lowered` of scalars.
        loop: source of the function `loop` that calls it.
    """
    scalar = jit(define(lowered, "lowered", NAMESPACE), error_model="numpy")
    wrapper = numba.cfunc(_SIGNATURE, error_model="numpy")(
        define(loop, "loop", {"lowered": scalar})
    )
    module = llvm.parse_assembly(wrapper.inspect_llvm())
    return code_of_module(module, wrapper.native_name.removeprefix("cfunc."))
