"""Functions that an experiment names: from a table, or the user's own "package.module:function"."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["call_with_options", "named_function"]


def named_function(
    entry: str, name: str, table: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    """The function of a name.

    Args:
        entry: of the experiment, for messages, such as "model.name".
        name: a key of the table, or "package.module:function".
        table: what there is.

    Raises:
        ValueError: if there is no such function, listing those that there are.
    """
    if name in table:
        return table[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(
            f"{entry} = {name!r}: there are {', '.join(table)}. For a function of your own give "
            '"package.module:function".'
        )
    try:
        found = getattr(importlib.import_module(module), function)
        inspect.signature(found)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{entry} = {name!r} cannot be used: {error}. The module must lie in the working "
            "folder or in a folder of PYTHONPATH, and hold a function of that name."
        ) from error
    return found


def call_with_options(
    entry: str, function: Callable[..., Any], options: Mapping[str, Any], *arguments: Any
) -> Any:
    """Call a function with what an experiment declares as its options.

    Args:
        entry: of the experiment, for messages, such as "model.options".
        function: any.
        options: its keyword arguments.
        arguments: its first arguments, which are no options.

    Raises:
        ValueError: if it does not take these options, listing those that it takes.
    """
    signature = inspect.signature(function)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        parameters = list(signature.parameters.values())[len(arguments) :]
        taken = [str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters]
        raise ValueError(
            f"{entry} = {dict(options)!r}: {error}. The options are: {', '.join(taken) or 'none'}."
        ) from None
    return function(*arguments, **options)
