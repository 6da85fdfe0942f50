"""Spectra from files: every format both ways, and what is damaged or foreign refused by name."""

from __future__ import annotations

import builtins
import json
import pickle
import random
import zipfile

import numpy as np
import pytest

import sgdtheory as sgd
from sgdtheory import array_files
from sgdtheory.calibration import calibrate
from sgdtheory.spectrum_files import read_spectrum

RHO = np.geomspace(1e-3, 1.0, 20)
COUNTS = np.arange(1.0, 21.0)
NOISE = np.linspace(0.1, 0.3, 20)


def write(path, **arrays):
    """The arrays in the format that the name says, by each format's own library."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        library = pytest.importorskip("safetensors.numpy")
        library.save_file({name: np.array(value) for name, value in arrays.items()}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({name: np.asarray(x).tolist() for name, x in arrays.items()}))
    else:
        columns = np.broadcast_arrays(*arrays.values())
        np.savetxt(path, np.transpose(columns), "%.17g", delimiter=",", header=",".join(arrays))
    return path


@pytest.fixture(params=[".npz", ".safetensors", ".json", ".csv"])
def path(request, tmp_path):
    return tmp_path / f"spectrum{request.param}"


def test_eigenvalues_counts_and_noise(path):
    write(path, eigenvalues=RHO, counts=COUNTS, noise_variances=NOISE)
    spectrum = read_spectrum(path)
    assert np.array_equal(spectrum.eigenvalues, RHO)
    assert np.array_equal(spectrum.counts, COUNTS)
    assert np.array_equal(spectrum.variances, NOISE)


def test_one_noise_scale(path):
    write(path, eigenvalues=RHO, noise_scale=2.5)
    assert np.array_equal(read_spectrum(path).variances, 2.5 * RHO)
    with pytest.raises(ValueError, match=r"noise_scale = 1 was given, and the file has its own"):
        read_spectrum(path, noise_scale=1.0)


def test_integers_and_single_precision_are_numbers_too(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, eigenvalues=np.array([1, 2]), counts=np.array([3, 4], dtype=np.float32))
    spectrum = read_spectrum(path)
    assert (spectrum.eigenvalues.dtype, spectrum.size) == (np.float64, 7.0)


@pytest.mark.parametrize(
    "text",
    [
        *("1.5\n0.5\n", "eigenvalues\n1.5\n0.5\n", "\ufeff1.5\n0.5"),
        # Lines are numbered without a name, as pandas does.
        ",eigenvalues\n0,1.5\n1,0.5\n",
    ],
)
def test_a_column_without_a_name_is_eigenvalues(tmp_path, text):
    path = tmp_path / "s.csv"
    path.write_text(text, encoding="utf-8")
    assert read_spectrum(path).eigenvalues.tolist() == [1.5, 0.5]


def test_numbers_in_the_place_of_names_are_told(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("1.0,2.0,3.0\n")
    with pytest.raises(ValueError, match="its first line holds 3 numbers and no names"):
        read_spectrum(path)


def test_no_other_column_without_a_name_is_left_out(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("eigenvalues,\n1.5,0\n0.5,1\n")
    with pytest.raises(ValueError, match="'' is none of the names"):
        read_spectrum(path)


def test_arrays_without_names_are_eigenvalues(tmp_path):
    np.save(tmp_path / "s.npy", RHO)
    (tmp_path / "s.json").write_text(json.dumps(RHO.tolist()))
    for name in ("s.npy", "s.json"):
        assert np.array_equal(read_spectrum(tmp_path / name).eigenvalues, RHO)


def test_lanczos_quadrature(path):
    values, weights = np.array([0.0, 2.0, 3.0]), np.array([0.5, 0.25, 0.25])
    write(path, ritz_values=values, weights=weights, dimension=8)
    spectrum = read_spectrum(path)
    assert spectrum.size == pytest.approx(8)
    assert spectrum.trace == pytest.approx(8 * weights @ values)


def test_several_probes(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, ritz_values=[[0.0, 2.0], [1.0, 3.0]], weights=[[0.5, 0.5]] * 2, dimension=10)
    assert read_spectrum(path).trace == pytest.approx(10 * (1.0 + 2.0) / 2)


def test_weights_are_counts_unless_they_are_shares(path):
    write(path, eigenvalues=RHO, weights=COUNTS)
    assert np.array_equal(read_spectrum(path).counts, COUNTS)
    write(path, eigenvalues=RHO, weights=COUNTS / COUNTS.sum())
    with pytest.raises(ValueError, match="weights add up to 1: shares of the directions need"):
        read_spectrum(path)


def test_what_becomes_of_negative_eigenvalues_is_said(path):
    write(path, eigenvalues=[1.0, -0.5, 0.1])
    with pytest.raises(ValueError, match=r"spectrum\.\w+: eigenvalues\[1\] = -0\.5.*negative='dr"):
        read_spectrum(path)
    assert read_spectrum(path, negative="drop").eigenvalues.tolist() == [1.0, 0.1]
    assert read_spectrum(path, negative="clamp").eigenvalues.tolist() == [1.0, 0.0, 0.1]
    drifting = read_spectrum(path, 2.0, negative="drift", drift_noise_scale=3.0)
    assert drifting.variances.tolist() == [2.0, 1.5, 0.2]


def test_a_calibrated_file(tmp_path):
    path, rng = tmp_path / "calibrated.npz", np.random.default_rng(0)
    x, v, positions = np.zeros(3), np.zeros(3), []
    for _ in range(2000):
        v = 0.5 * v - (np.array([2.0, 1.0, 0.5]) * x + rng.normal(size=3) / 4)
        x = x + 0.1 * v
        positions.append(x)
    found = calibrate(np.array(positions), sgd.Hyperparameters(0.1, 0.5, 16))
    found.save(path)
    spectrum = read_spectrum(path)
    assert np.array_equal(spectrum.eigenvalues, found.spectrum.eigenvalues)
    assert np.array_equal(spectrum.variances, found.noise_variance)


FOREIGN = {
    "unknown.npz": ({"eigenvalue": RHO}, "'eigenvalue' is none of the names"),
    "nothing.npz": ({"counts": COUNTS}, "exactly one of eigenvalues and ritz_values"),
    "both.npz": ({"eigenvalues": RHO, "ritz_values": RHO}, "exactly one of"),
    "weighed.npz": ({"eigenvalues": RHO, "counts": COUNTS, "weights": COUNTS}, "both counts and"),
    "lengths.npz": ({"eigenvalues": RHO, "counts": COUNTS[:3]}, "counts has 3 entries for 20"),
    "scales.csv": ({"eigenvalues": RHO, "noise_scale": RHO}, "20 different values"),
    "probes.npz": ({"ritz_values": RHO, "dimension": 5}, "missing: weights"),
    "text.npz": ({"eigenvalues": np.array(["1.0"])}, "no array of real numbers"),
    "complex.npz": ({"eigenvalues": RHO + 1j}, "no array of real numbers"),
    "flags.npz": ({"eigenvalues": RHO > 0.1}, "no array of real numbers"),
    "nan.npz": ({"eigenvalues": [1.0, np.nan]}, r"eigenvalues\[1\] = nan"),
    "square.npz": ({"eigenvalues": np.ones((2, 2))}, r"eigenvalues has shape \(2, 2\)"),
    "empty.npz": ({"eigenvalues": []}, r"eigenvalues has shape \(0,\)"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_arrays_that_are_no_spectrum(tmp_path, name):
    arrays, message = FOREIGN[name]
    with pytest.raises(ValueError, match=message) as caught:
        read_spectrum(write(tmp_path / name, **arrays))
    assert str(tmp_path / name) in str(caught.value)


TEXTS = {
    "half.json": '{"eigenvalues": [1, 2',
    "nan.json": '{"eigenvalues": [1, NaN]}',
    "deep.json": "[" * 100_000,
    "number.json": "3",
    "string.json": '{"eigenvalues": ["1", "2"]}',
    "ragged.json": '{"eigenvalues": [[1], [1, 2]]}',
    "code.json": '{"eigenvalues": "__import__(\'os\').getpid()"}',
    "long.json": f"[1{'0' * 5000}]",
    "empty.csv": "",
    "headless.csv": "1,2\n3,4\n",
    "onlyhead.csv": "eigenvalues\n",
    "ragged.csv": "eigenvalues,counts\n1,2\n3\n",
    "words.csv": "eigenvalues\none\n",
    "twice.csv": "eigenvalues,eigenvalues\n1,2\n",
    "wide.csv": "eigenvalues\n1,2\n",
    "binary.csv": "\x00\x01\x02",
    "text.npy": "1.0",
    "text.npz": "1.0",
    "text.safetensors": "1.0",
    "text.txt": "1.0",
    "nothing": "1.0",
}


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_and_foreign_text(tmp_path, name):
    path = tmp_path / name
    path.write_text(TEXTS[name])
    with pytest.raises(ValueError, match=r"damaged|no array|none of|are not read") as caught:
        read_spectrum(path)
    assert str(path) in str(caught.value)


class Explosive:
    def __reduce__(self):
        return builtins.exec, ("raise SystemExit('a pickle was run')",)


def test_pickles_are_never_run(tmp_path):
    plain, inside = tmp_path / "p.npy", tmp_path / "p.npz"
    plain.write_bytes(pickle.dumps(Explosive()))
    np.savez(inside, eigenvalues=np.array([Explosive()], dtype=object))
    for path in (plain, inside):
        with pytest.raises(ValueError, match="damaged"):
            read_spectrum(path)


def test_a_header_that_promises_too_much(tmp_path):
    path = tmp_path / "bomb.npz"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "eigenvalues.npy", b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n"
        )
    with pytest.raises(ValueError, match="damaged"):
        read_spectrum(path)


def test_a_file_that_is_too_large_packed_or_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, eigenvalues=np.ones(100_000))
    monkeypatch.setattr(array_files, "_LARGEST_FILE", 10_000)
    with pytest.raises(ValueError, match="unpacked it has 800"):
        read_spectrum(path)
    monkeypatch.setattr(array_files, "_LARGEST_FILE", 100)
    with pytest.raises(ValueError, match="the limit is 100"):
        read_spectrum(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors", ".json", ".csv"])
def test_whatever_bytes_are_changed_only_a_message_comes(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npy":
        np.save(whole, RHO)
    else:
        write(whole, eigenvalues=RHO, counts=COUNTS)
    original, chance = whole.read_bytes(), random.Random(0)
    messages = []
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(chance.choice([1, 2, 5])):
            where = chance.randrange(len(damaged))
            damaged[where] = chance.randrange(256)
            if chance.random() < 0.2:
                del damaged[where + 1 :]
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged)
        try:
            read_spectrum(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(str(path) in message for message in messages)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_spectrum(tmp_path / "none.csv")


def test_without_safetensors_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "s.safetensors", eigenvalues=RHO)
    kept = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"sgdtheory\[cli\]"):
        read_spectrum(path)
