"""Results that a record derives once: kept by the record, and gone with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

__all__ = ["remembered"]

_Record = TypeVar("_Record")
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def remembered(
    method: Callable[Concatenate[_Record, _Arguments], _Result],
) -> Callable[Concatenate[_Record, _Arguments], _Result]:
    """A method of a frozen record whose result for the same arguments is not derived again.

    >>> from sgdtheory import heavy_ball, recursion, symbols as s
    >>> process = recursion(heavy_ball())
    >>> process.covariance(s.k) is process.covariance(s.k)
    True
    """

    @wraps(method)
    def recall(self: _Record, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        known = self.__dict__.setdefault("_remembered", {})
        # 1, 1.0 and True are equal, and different arguments.
        key = (method.__name__, *((type(x), x) for x in args), *sorted(kwargs.items()))
        try:
            hash(key)
        except TypeError:
            return method(self, *args, **kwargs)
        if key not in known:
            known[key] = method(self, *args, **kwargs)
        result: _Result = known[key]
        return result

    return cast(Callable[Concatenate[_Record, _Arguments], _Result], recall)
