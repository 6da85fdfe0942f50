"""Arrays by name from files, in formats that carry numbers and nothing that runs."""

from __future__ import annotations

import csv
import io
import json
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import shortened

__all__ = ["read_arrays"]

Array: TypeAlias = NDArray[np.float64]

_LARGEST_FILE = 2**30
# What damaged files make the libraries raise.
_DAMAGE = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    UserWarning,
    OSError,
    SyntaxError,
    tokenize.TokenError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(
    path: Path, names: Collection[str], nameless: str, others: Collection[str] = ()
) -> dict[str, Array]:
    """What a file holds, as arrays of double precision; its format is what its name ends in.

    Args:
        path: of the file; at most 1 GiB.
        names: that mean something; nothing else is read.
        nameless: of these, the one of an array that comes without a name.
        others: names that there may be, too. Any further one is refused: it may be misspelt.

    Raises:
        OSError: for a file that cannot be opened.
        ValueError: for another format, a damaged file, or what is no number; it names the file.
        ImportError: for ``.safetensors`` where that library is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "numbers.json"
    ...     _ = path.write_text("[1, 2.5]")
    ...     read_arrays(path, ["x", "y"], nameless="x")
    {'x': array([1. , 2.5])}
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: files that end in {path.suffix or 'nothing'!r} are not read. Give one of "
            f"{', '.join(_READERS)}."
        )
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
    if size > _LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes: the limit is {_LARGEST_FILE}. Give less.")
    try:
        found = reader(path, names, nameless)
    except _DAMAGE as error:
        raise ValueError(
            f"{path}: this is no {path.suffix} file of numbers, or it is damaged "
            f"({shortened(str(error))}). Write it again."
        ) from None
    return {
        name: _numbers(path, name, value, names)
        for name, value in found.items()
        if name not in others
    }


def _npy(path: Path, names: Collection[str], nameless: str) -> dict[str, Any]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise TypeError("it is an archive of several arrays, whose name ends in .npz")
    return {nameless: array}


def _npz(path: Path, names: Collection[str], nameless: str) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _LARGEST_FILE:
        raise ValueError(f"unpacked it has {unpacked} bytes, and the limit is {_LARGEST_FILE}")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] if name in names else None for name in arrays.files}


def _safetensors(path: Path, names: Collection[str], nameless: str) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ImportError(
            f"{path}: .safetensors files are read by safetensors, which is not installed. Run pip "
            "install 'sgdtheory[cli]'."
        ) from None
    try:
        # Of a model's weights, say, nothing but the names is ever read.
        with safe_open(path, framework="numpy") as tensors:
            there = tensors.keys()
            return {name: tensors.get_tensor(name) if name in names else None for name in there}
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _json(path: Path, names: Collection[str], nameless: str) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    if isinstance(found, list):
        return {nameless: found}
    if not isinstance(found, dict):
        raise TypeError(f"it holds {shortened(found)}, neither an object nor a list")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no finite number")


def _csv(path: Path, names: Collection[str], nameless: str) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = next(csv.reader(file), [])
    columns = [cell.strip().removeprefix("#").strip() for cell in head]
    headless = len(columns) == 1 and _is_number(columns[0])
    if headless:
        columns = [nameless]
    elif columns and all(map(_is_number, columns)):
        raise ValueError(
            f"its first line holds {len(columns)} numbers and no names: give one number a line, or "
            "names first"
        )
    if len(set(columns)) != len(columns):
        raise ValueError(f"its first line names {columns}, some of them twice")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that there is no data is a warning
        rows = np.loadtxt(
            path, delimiter=",", skiprows=0 if headless else 1, ndmin=2, encoding="utf-8-sig"
        )
    if rows.shape[1] != len(columns):
        raise ValueError(f"its first line names {len(columns)} columns, and it has {rows.shape[1]}")
    found = dict(zip(columns, rows.T, strict=True))
    if len(columns) > 1 and not columns[0]:
        # The numbers of lines, which pandas writes first and does not name.
        del found[""]
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, name: str, value: Any, names: Collection[str]) -> Array:
    if name not in names:
        raise ValueError(
            f"{path}: {shortened(name)} is none of the names that mean something here, "
            f"{', '.join(names)}. Rename it, or leave it out."
        )
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name} = {shortened(value)} is no array of real numbers.")
    return array.astype(np.float64)


_READERS: dict[str, Callable[[Path, Collection[str], str], dict[str, Any]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".json": _json,
    ".safetensors": _safetensors,
}
