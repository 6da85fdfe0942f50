"""A run's record on disk: a zarr group that xarray opens, and that knows when it is damaged.

    xarray.open_zarr(path, consolidated=False)

Arrays have their full length from the start. A chunk spans what is recorded between two
checkpoints, so each is written once, whole, and carries a CRC-32C.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from validation.durable_files import seal_of, sync
from validation.record_layout import Layout

__all__ = ["FORMAT", "VERSION", "RecordStore", "check_record", "open_record"]

FORMAT, VERSION = "sgdtheory record", 1
_BEGIN_ANEW = "Delete the folder of this run and run it again: it ends the same."

Array: TypeAlias = NDArray[Any]


class RecordStore:
    """Writes a record, row by row and never a row twice.

    Args:
        path: of the group.
        layout: its sizes.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._plans = path, layout.plans
        self._group = zarr.open_group(str(path), mode="r+", zarr_format=3)
        self._written: set[Path] = set()

    @classmethod
    def create(cls, path: Path, layout: Layout, about: Mapping[str, Any]) -> RecordStore:
        """A record in which nothing is written yet, on disk when this returns.

        Args:
            path: of the group; it must not exist.
            layout: its sizes.
            about: attributes: identity of the experiment, seed, name.
        """
        group = zarr.create_group(str(path), zarr_format=3)
        for name, plan in layout.plans.items():
            group.create_array(
                name,
                shape=plan.shape,
                chunks=plan.chunks,
                dtype=plan.dtype,
                fill_value=0 if plan.dtype == "int64" else math.nan,
                compressors=[Crc32cCodec()],
                dimension_names=plan.axes,
                attributes=dict(plan.about),
            )
            sync(path / name / "zarr.json")
            sync(path / name)
        metadata = {name: _file_digest(path / name / "zarr.json") for name in layout.plans}
        attributes = {
            "format": FORMAT,
            "version": VERSION,
            **about,
            "layout": layout.text,
            "metadata": metadata,
        }
        group.attrs.update(attributes | {"sha256": seal_of(attributes)})
        store = cls(path, layout)
        for name, values in layout.coordinates.items():
            store.write(name, 0, values)
        store.sync()
        for place in (path / "zarr.json", path, path.parent):
            sync(place)
        return store

    def write(self, name: str, first: int, values: Array) -> None:
        """Rows of an array, beginning and ending where chunks do; on disk after `sync`."""
        array: Any = self._group[name]
        # A chunk of zeros or NaN is a chunk: without its file it would count as lost.
        with zarr.config.set({"array.write_empty_chunks": True}):
            array[first : first + len(values)] = values
        length = self._plans[name].chunks[0]
        last = first + len(values) - 1
        self._written |= {
            _chunk(self._path, name, i, values.ndim)
            for i in range(first // length, last // length + 1)
        }

    def sync(self) -> None:
        """Until all that was written is on disk, and the names of the files too."""
        folders = {folder for path in self._written for folder in path.parents}
        inside = {folder for folder in folders if self._path in folder.parents}
        for place in (*self._written, *inside):
            sync(place)
        self._written = set()


def check_record(
    path: Path, identity: str | None = None, updates: int | None = None
) -> dict[str, str]:
    """SHA-256 of the numbers of every array, each chunk of it seen to be whole and finite.

    Args:
        path: of the group, `record.zarr`.
        identity: of the experiment that it must be of; None for any.
        updates: how far the record must be; by default to its end.

    Raises:
        ValueError: naming the file that is missing, damaged or foreign, and what to do.
    """
    about = _attributes(path, identity)
    layout = Layout(**json.loads(about["layout"]))
    rows = layout.rows_after(layout.updates if updates is None else updates)
    return {
        name: _digest(path, name, count, about["metadata"][name]) for name, count in rows.items()
    }


def open_record(path: Path, identity: str | None = None) -> xr.Dataset:
    """A complete record, read once to see that it is whole; its arrays are then read when used.

    Args:
        path: of the group, `record.zarr`.
        identity: of the experiment that it must be of; None for any.

    Raises:
        ValueError: naming the file that is missing, damaged or foreign, and what to do.
    """
    path = Path(path)
    check_record(path, identity)
    return xr.open_zarr(str(path), consolidated=False, chunks=None)


def _attributes(path: Path, identity: str | None) -> dict[str, Any]:
    file = path / "zarr.json"
    try:
        about: dict[str, Any] = dict(zarr.open_group(str(path), mode="r", zarr_format=3).attrs)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}. {_BEGIN_ANEW}") from error
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{file}: format = {about.get('format')!r}, but a record has {FORMAT!r}. Give the "
            "record.zarr of a run."
        )
    if about.get("version") != VERSION:
        raise ValueError(
            f"{file}: version {about.get('version')!r} of the format, but this program reads "
            f"{VERSION}. Read it with the program that wrote it, or run it again."
        )
    seal = about.pop("sha256", None)
    if seal != seal_of(about):
        raise ValueError(
            f"{file} has been changed: its SHA-256 is not the one it states. {_BEGIN_ANEW}"
        )
    if identity is not None and about["identity"] != identity:
        raise ValueError(
            f"{file} is of the experiment {about['identity']}, not of {identity}. Give the folder "
            "of this experiment."
        )
    return about


def _digest(path: Path, name: str, rows: int, metadata: str) -> str:
    """SHA-256 of the chunks that hold the first rows of an array."""
    file = path / name / "zarr.json"
    if not file.is_file() or _file_digest(file) != metadata:
        raise ValueError(f"{file} is missing or has been changed. {_BEGIN_ANEW}")
    array: Any = zarr.open_array(str(path / name), mode="r", zarr_format=3)
    length, total = array.chunks[0], hashlib.sha256()
    for i in range(-(-rows // length)):
        file = _chunk(path, name, i, array.ndim)
        if not file.is_file():
            raise ValueError(
                f"{file} is missing. If the run has not ended, run it again: it goes on. If it "
                f"has, a file has been lost. {_BEGIN_ANEW}"
            )
        try:
            values = np.asarray(array[i * length : (i + 1) * length])
        except (ValueError, OSError, RuntimeError, TypeError, IndexError) as error:
            raise ValueError(f"{file} is damaged: {error!r}. {_BEGIN_ANEW}") from error
        if not np.isfinite(values).all():
            raise ValueError(f"{file} holds numbers that are not finite. {_BEGIN_ANEW}")
        total.update(values.tobytes())
    return total.hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _chunk(path: Path, name: str, index: int, axes: int) -> Path:
    return path.joinpath(name, "c", str(index), *("0",) * (axes - 1))
