"""Data sets that ship with scikit-learn, as linear regression problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_digits

__all__ = ["PROBLEMS", "Regression"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Regression:
    """Features X, N×d, and targets Y, N×m, of L(θ) = (1/2N) Σ |x_iᵀθ − y_i|².

    Args:
        name: of the data set.
        features: X.
        targets: Y.
    """

    name: str
    features: Array
    targets: Array


def diabetes() -> Regression:
    """442 patients, 10 standardised measurements; the target is the standardised progression."""
    data = load_diabetes()
    features = data.data / data.data.std(axis=0)
    target = (data.target - data.target.mean()) / data.target.std()
    return Regression("diabetes", features, target[:, None])


def digits() -> Regression:
    """1797 images of 8×8 pixels in [0, 1], those that vary, and a constant; the label one-hot."""
    data = load_digits()
    pixels = data.data / 16.0
    varying = pixels[:, pixels.std(axis=0) > 0]
    features = np.hstack([varying, np.ones((len(varying), 1))])
    return Regression("digits", features, np.eye(10)[data.target])


PROBLEMS: dict[str, Callable[[], Regression]] = {"diabetes": diabetes, "digits": digits}
