"""What a theory's answers look like, asked once of one direction before any law is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["require_shapes"]

_ONE = np.array([1.0])
_STATES = "(modes, 2): of every direction its position, θ − μ, and velocity"
_COVARIANCES = "(modes, 2, 2): of every direction the covariances of position and velocity"
_ASKED: tuple[tuple[str, str, Callable[[Any], Any], tuple[int, ...], str], ...] = (
    ("mean", "steps, position, velocity", lambda it: it.mean(1, _ONE, _ONE), (1, 2), _STATES),
    ("covariance", "steps", lambda it: it.covariance(1), (1, 2, 2), _COVARIANCES),
    ("stationary_covariance", "", lambda it: it.stationary_covariance(), (1, 2, 2), _COVARIANCES),
    ("autocovariance", "steps", lambda it: it.autocovariance(1), (1, 2, 2), _COVARIANCES),
    ("displacement", "steps", lambda it: it.displacement(1), (), "a number: all directions' sum"),
)


def require_shapes(model: Any) -> None:
    """Refuse answers that no law could read; errors of the theory itself are for laws to tell.

    Args:
        model: the theory's object for one direction.

    Raises:
        TypeError: for a method that does not take what it is asked with.
        ValueError: for an answer of another shape, or a theory without any method that laws ask.
    """
    if not any(hasattr(model, name) for name, *_ in _ASKED):
        raise ValueError(
            f"theory: it returned {model!r}, which has none of the methods that laws ask: "
            f"{', '.join(name for name, *_ in _ASKED)}."
        )
    for name, arguments, ask, shape, meaning in _ASKED:
        if not hasattr(model, name):
            continue
        try:
            found = np.shape(ask(model))
        except TypeError as error:
            raise TypeError(
                f"theory: {name}({arguments}) raised TypeError: {error}. Laws call it so, with "
                "one time and arrays of one number a direction."
            ) from error
        except Exception:  # noqa: S112 - a law will find it again, and tell it with an example
            continue
        if found != shape:
            raise ValueError(
                f"theory: {name}({arguments}) of one direction has shape {found}, expected "
                f"{shape}. Return {meaning}."
            )
