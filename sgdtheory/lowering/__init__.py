"""Expressions to functions of arrays: one table, one printer, one file a back end.

Knows no physics: it takes any SymPy expression whose functions stand in the table. A back end is
imported when it is first asked for, so NumPy users load neither numba nor torch.
"""

from __future__ import annotations

from sgdtheory.lowering.functions import LoweredFunction, lower

__all__ = ["LoweredFunction", "lower"]
