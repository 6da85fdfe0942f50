"""Arrays in, arrays of the same kind out: NumPy or torch, decided by what the caller brings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "backend_of",
    "common_kind",
    "concatenated",
    "detached",
    "double",
    "is_named",
    "like",
    "logarithm",
    "real",
    "shortened",
    "side_by_side",
]


def _is_tensor(value: Any) -> bool:
    # Whoever holds a tensor has imported torch; looking must not import it for the others.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_named(value: Any) -> bool:
    """Whether a value is an xarray.DataArray, whose axes have names.

    >>> is_named(np.zeros(3))
    False
    """
    # Whoever holds one has imported xarray; looking must not import it for the others.
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(value, xarray.DataArray)


def backend_of(values: Iterable[Any]) -> str:
    """Name of the back end: "torch" if any of the values is a tensor, else "numpy"."""
    return "torch" if any(_is_tensor(value) for value in values) else "numpy"


def detached(value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """The numbers of an array or tensor as NumPy, for checks; gradients stay behind."""
    return np.asarray(value.detach().cpu().numpy() if _is_tensor(value) else value)


def real(value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The real numbers of an array, a tensor or nested lists, in double precision.

    Raises:
        TypeError: for complex numbers and None, of which NumPy would make something.

    >>> real([1, 2])
    array([1., 2.])
    """
    array = detached(value)
    nothing = array.dtype.kind == "O" and any(one is None for one in array.flat)
    if array.dtype.kind == "c" or nothing:
        raise TypeError(f"{shortened(value)}: give real numbers.")
    return array.astype(np.float64, copy=False)


def like(value: Any, reference: Any) -> Any:
    """`value` as an array of the reference's kind, floating type and device."""
    if _is_tensor(reference):
        torch = sys.modules["torch"]
        dtype = reference.dtype if reference.is_floating_point() else torch.float64
        given = value if _is_tensor(value) and not value.is_complex() else real(value)
        return torch.as_tensor(given, dtype=dtype, device=reference.device)
    return real(value)


def common_kind(values: Iterable[Any]) -> Any:
    """A number of the kind that an output of these inputs has.

    Tensors among them make it a tensor, on their device; its floating type is the widest of the
    inputs that are arrays, where an array that is no tensor counts as double precision.
    """
    inputs = [value for value in values if _is_tensor(value) or np.ndim(value)]
    tensors = [value for value in inputs if _is_tensor(value)]
    if not tensors:
        return np.float64(0.0)
    torch = sys.modules["torch"]
    arrays = [value for value in inputs if value.ndim] or tensors
    dtypes = [value.dtype if _is_tensor(value) else torch.float64 for value in arrays]
    floating = [dtype for dtype in dtypes if dtype.is_floating_point] or [torch.float64]
    widest = max(floating, key=lambda dtype: torch.finfo(dtype).bits)
    return torch.zeros((), dtype=widest, device=tensors[0].device)


def double(kind: Any) -> Any:
    """The same kind in double precision."""
    return kind.double() if _is_tensor(kind) else kind


def logarithm(value: Any) -> Any:
    """Natural logarithm, element by element."""
    return value.log() if _is_tensor(value) else np.log(value)


def concatenated(parts: Sequence[Any]) -> Any:
    """Arrays of one kind, joined along their first axis."""
    if backend_of(parts) == "torch":
        return sys.modules["torch"].cat(parts)
    return np.concatenate(parts)


def side_by_side(parts: Sequence[Any]) -> Any:
    """Arrays of one kind and shape, along a new last axis.

    >>> side_by_side([np.array([1.0, 2.0]), np.array([3.0, 4.0])]).shape
    (2, 2)
    """
    if backend_of(parts) == "torch":
        return sys.modules["torch"].stack(list(parts), dim=-1)
    return np.stack(parts, axis=-1)


def shortened(value: Any) -> str:
    """What was given, in one line of a message.

    >>> shortened(np.zeros(3)), len(shortened(list(range(1000))))
    ('array([0., 0., 0.])', 80)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
