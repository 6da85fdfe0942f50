"""Features that a network has made of images, as a user has them on disk, with their labels.

They lie in one .npz file, or in a folder with one .npy file for each array:

    features    (N, d), numbers
    labels      (N,), integers that name classes
    targets     (N, m), numbers, in place of labels
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_features"]

Array: TypeAlias = NDArray[Any]

_FEATURES, _LABELS, _TARGETS = "features", "labels", "targets"


def read_features(path: Path) -> tuple[Array, Array]:
    """Features and targets, both of float64.

    Args:
        path: of an .npz file, or of a folder with .npy files.

    Returns:
        Features, (N, d), and targets, (N, m): one-hot over the labels that occur, in ascending
        order, if there are labels.

    Raises:
        ValueError: naming the path and the array, if one is missing, is not made of finite
            numbers, or does not fit the others.
    """
    arrays = _read_folder(path) if path.is_dir() else _loaded(path)
    features = _numbers(path, _FEATURES, _taken(path, arrays, _FEATURES))
    targets = _read_targets(path, arrays)
    if len(features) != len(targets):
        raise ValueError(
            f"{path} holds features of {len(features)} examples and targets of {len(targets)}. "
            "Give each example one row of both."
        )
    return features, targets


def _read_folder(path: Path) -> dict[str, Array]:
    files = [path / f"{name}.npy" for name in (_FEATURES, _LABELS, _TARGETS)]
    return {file.stem: _loaded(file)[file.stem] for file in files if file.exists()}


def _loaded(path: Path) -> dict[str, Array]:
    """The arrays of a file that count, by name; never a pickle."""
    try:
        with path.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {path.stem: found}
            wanted = {_FEATURES, _LABELS, _TARGETS}.intersection(found.files)
            return {name: found[name] for name in wanted}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as arrays of numbers: {error} Write it with numpy.save or "
            "numpy.savez from arrays of numbers; arrays of objects are not read."
        ) from error


def _taken(path: Path, arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise ValueError(
            f"{path} holds no array {name!r}, only: {', '.join(sorted(arrays)) or 'none'}. It must "
            "hold features, and labels or targets."
        )
    return arrays[name]


def _read_targets(path: Path, arrays: Mapping[str, Array]) -> Array:
    if _LABELS in arrays and _TARGETS in arrays:
        raise ValueError(f"{path} holds both labels and targets. Leave one of them out.")
    if _TARGETS in arrays:
        targets = arrays[_TARGETS]
        return _numbers(path, _TARGETS, targets[:, None] if targets.ndim == 1 else targets)
    labels = _taken(path, arrays, _LABELS)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: labels have the shape {labels.shape} and the type {labels.dtype}. They must "
            "be integers, (N,); other numbers are called targets."
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    one_hot: Array = np.eye(len(classes))[numbers]
    return one_hot


def _numbers(path: Path, name: str, array: Array) -> Array:
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{path}: {name} has the shape {array.shape} and the type {array.dtype}. It must be "
            "real numbers with a row for each example and a column for each quantity, at least "
            "one of both."
        )
    numbers = array.astype(np.float64)
    wrong = ~np.isfinite(numbers).all(axis=1)
    if wrong.any():
        raise ValueError(
            f"{path}: {name} is not finite in {wrong.sum()} rows, the first of them row "
            f"{wrong.argmax()}. Leave these examples out."
        )
    return numbers
