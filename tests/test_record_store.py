"""A record on disk: what xarray reads is what was written, and what is damaged is refused."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr

from validation.experiments import Record
from validation.record_layout import Layout
from validation.record_store import RecordStore, check_record, open_record

RECORD = Record(
    updates=25,
    checkpoint_every=10,
    projections_every=3,
    snapshots_every=5,
    replicas=2,
)
LAYOUT = Layout.of(RECORD, parameters=12, directions=4, dtype="float32")
ABOUT = {"identity": "0123456789abcdef", "seed": 3, "name": "small"}
MEASURED = (
    "local_displacement",
    "global_displacement",
    "positions",
    "velocities",
    "start",
    "snapshots",
)


def values_of(layout=LAYOUT):
    source = np.random.default_rng(0)
    plans = layout.plans
    return {
        name: source.normal(size=plans[name].shape).astype(plans[name].dtype) for name in MEASURED
    }


def write(path, values, updates=(9, 18, 25)):
    """As a run does: what is new since the last checkpoint."""
    store = RecordStore.create(path, LAYOUT, ABOUT)
    store.write("snapshots", 0, values["snapshots"][:1])
    store.write("start", 0, values["start"])
    before = LAYOUT.rows_after(0)
    for update in updates:
        now = LAYOUT.rows_after(update)
        for name in MEASURED:
            if now[name] > before[name]:
                store.write(name, before[name], values[name][before[name] : now[name]])
        store.sync()
        before = now
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "record.zarr"
    write(path, values_of())
    return path


@pytest.fixture
def record(whole, tmp_path):
    path = tmp_path / "record.zarr"
    shutil.copytree(whole, path)
    return path


def chunk_files(path):
    return sorted(file for name in LAYOUT.plans for file in (path / name / "c").rglob("*"))


def test_xarray_opens_it_with_named_axes_and_units(whole):
    for found in (xr.open_zarr(whole, consolidated=False), open_record(whole)):
        for name, values in values_of().items():
            np.testing.assert_array_equal(found[name].values, values, strict=True)
            assert found[name].attrs.keys() == {"long_name", "units"}
        assert found["positions"].dims == ("projected_update", "replica", "direction")
        np.testing.assert_array_equal(found["update"], np.arange(1, 26))
        np.testing.assert_array_equal(found["projected_update"], np.arange(3, 26, 3))
        np.testing.assert_array_equal(found["snapshot_update"], np.arange(0, 26, 5))
        assert found.attrs["format"] == "sgdtheory record"
        assert {name: found.attrs[name] for name in ABOUT} == ABOUT


def test_a_chunk_is_written_once(tmp_path):
    path, values = tmp_path / "record.zarr", values_of()
    write(path, values, updates=(9,))
    files = [file for file in chunk_files(path) if file.is_file()]
    first = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}
    store = RecordStore(path, LAYOUT)
    before, now = LAYOUT.rows_after(9), LAYOUT.rows_after(18)
    for name in MEASURED:
        store.write(name, before[name], values[name][before[name] : now[name]])
    assert len([file for file in chunk_files(path) if file.is_file()]) > len(first)
    assert {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in first} == first


def test_chunks_of_zeros_are_written_too(tmp_path):
    path = tmp_path / "record.zarr"
    write(path, {name: np.zeros_like(values) for name, values in values_of().items()})
    assert not open_record(path)["positions"].values.any()


def test_a_record_that_has_not_ended_is_complete_up_to_its_checkpoint(tmp_path):
    path = tmp_path / "record.zarr"
    write(path, values_of(), updates=(9, 18))
    check_record(path, updates=18)
    with pytest.raises(ValueError, match=r"local_displacement/c/2/0 is missing.*it goes on"):
        open_record(path)


def test_digests_tell_equal_numbers_from_others(whole, tmp_path):
    write(tmp_path / "same.zarr", values_of())
    assert check_record(tmp_path / "same.zarr") == check_record(whole)
    other = values_of()
    other["positions"][7, 1, 3] = np.nextafter(other["positions"][7, 1, 3], 1)
    write(tmp_path / "other.zarr", other)
    found, expected = check_record(tmp_path / "other.zarr"), check_record(whole)
    assert {name for name in found if found[name] != expected[name]} == {"positions"}


def refused(record, file, identity=None):
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))} .*") as caught:
        open_record(record, identity)
    return str(caught.value)


@pytest.mark.parametrize("number", range(40))
def test_every_truncated_file_is_refused_by_name(record, number):
    source = np.random.default_rng(number)
    files = [file for file in record.rglob("*") if file.is_file()]
    file = sorted(files)[number % len(files)]
    content = file.read_bytes()
    file.write_bytes(content[: source.integers(len(content))])
    refused(record, file)


@pytest.mark.parametrize("number", range(40))
def test_every_changed_byte_of_a_chunk_is_refused_by_name(record, number):
    source = np.random.default_rng(number)
    files = [file for file in chunk_files(record) if file.is_file()]
    file = files[number % len(files)]
    content = bytearray(file.read_bytes())
    content[source.integers(len(content))] ^= 1 << source.integers(8)
    file.write_bytes(content)
    refused(record, file)


def test_every_missing_file_is_refused_by_name(whole, tmp_path):
    for i, file in enumerate(sorted(file for file in whole.rglob("*") if file.is_file())):
        copy = tmp_path / str(i)
        shutil.copytree(whole, copy)
        (copy / file.relative_to(whole)).unlink()
        refused(copy, copy / file.relative_to(whole))


def test_changed_metadata_are_refused_by_name(record):
    for file, name, value in (
        (record / "positions/zarr.json", "shape", [7, 2, 4]),
        (record / "zarr.json", "attributes", {}),
    ):
        original = file.read_text()
        file.write_text(json.dumps(json.loads(original) | {name: value}))
        with pytest.raises(ValueError, match=re.escape(str(file))):
            open_record(record)
        file.write_text(original)
    open_record(record)


def test_attributes_are_sealed(record):
    file = record / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["seed"] = 4
    file.write_text(json.dumps(content))
    assert "has been changed" in refused(record, file)


def test_another_experiment_is_refused_by_name(record):
    open_record(record, ABOUT["identity"])
    assert "0123456789abcdef, not of fedcba" in refused(record, record / "zarr.json", "fedcba")


def test_another_format_is_refused_by_name(record, tmp_path):
    xr.Dataset({"a": ("b", np.zeros(3))}).to_zarr(
        tmp_path / "foreign", zarr_format=3, consolidated=False
    )
    with pytest.raises(ValueError, match=r"foreign/zarr.json: format = None"):
        open_record(tmp_path / "foreign")
    file = record / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["version"] = 2
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"zarr.json: version 2 of the format.*reads 1"):
        open_record(record)


def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path):
    values = values_of()
    values["velocities"][5, 0, 1] = np.inf
    write(tmp_path / "record.zarr", values)
    with pytest.raises(ValueError, match=r"velocities/c/1/0/0 holds numbers that are not finite"):
        open_record(tmp_path / "record.zarr")


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path):
    refused(tmp_path / "none", tmp_path / "none" / "zarr.json")
