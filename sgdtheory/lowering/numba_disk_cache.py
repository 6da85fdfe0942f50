"""Functions that Numba compiles, kept on disk for as long as all of their sources stay the same.

Numba's own cache looks at the file of a function and at none that the function takes others from:
change one of those, and the old code is run. It also refuses to define a function for which it
finds no folder to write to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

from numba.core.caching import FunctionCache

from sgdtheory.lowering.compilation_cache import content_key

__all__ = ["kept_on_disk"]


class _CacheOfSources(FunctionCache):
    """Numba's cache, with a digest of further sources in its key."""

    def __init__(self, function: Callable[..., Any], digest: str) -> None:
        super().__init__(function)
        self._digest = digest

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return (*super()._index_key(signature, codegen), self._digest)


def kept_on_disk(*modules: ModuleType) -> Callable[[Any], Any]:
    """A decorator for a compiled function, in the place of Numba's ``cache=True``.

    Where there is no folder to write to, or no source to read, a process compiles for itself.

    Args:
        modules: what the function takes compiled functions, records and constants from, at any
            depth, beside its own file.

    >>> import math, numba
    >>> half = kept_on_disk(math)(numba.njit(lambda x: x / 2))
    >>> half(3.0)
    1.5
    """

    def keep(compiled: Any) -> Any:
        with suppress(OSError, TypeError, RuntimeError):
            digest = content_key(map(inspect.getsource, modules))
            compiled._cache = _CacheOfSources(compiled.py_func, digest)
        return compiled

    return keep
