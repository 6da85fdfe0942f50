"""The command line, as a shell runs it: real files, status codes, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import sgdtheory as sgd
from sgdtheory.__main__ import main
from sgdtheory.advice import advise

pytest.importorskip("tyro")
library = pytest.importorskip("safetensors.numpy")

RHO, COUNTS = np.array([8.0, 1.0, 0.01]), np.array([1.0, 10.0, 1000.0])
SETTINGS = ["--learning-rate", "0.1", "--momentum", "0.9", "--batch-size", "128"]
WRONG_INPUT = 2


def run(*arguments, command=("-m", "sgdtheory")):
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env={"PYTHONIOENCODING": "utf-8", "PYTHONPATH": ":".join(sys.path)},
    )


@pytest.fixture
def files(tmp_path):
    """One spectrum in every format that can hold it."""
    np.savez(tmp_path / "s.npz", eigenvalues=RHO, counts=COUNTS)
    library.save_file({"eigenvalues": RHO, "counts": COUNTS}, tmp_path / "s.safetensors")
    named = {"eigenvalues": RHO.tolist(), "counts": COUNTS.tolist()}
    (tmp_path / "s.json").write_text(json.dumps(named))
    rows = "".join(f"{rho},{count}\n" for rho, count in zip(RHO, COUNTS, strict=True))
    (tmp_path / "s.csv").write_text(f"eigenvalues,counts\n{rows}")
    np.save(tmp_path / "s.npy", np.repeat(RHO, COUNTS.astype(int)))
    return tmp_path


def expected(**settings):
    hyper = sgd.Hyperparameters(0.1, 0.9, 128.0)
    return advise(hyper, sgd.Spectrum(RHO, counts=COUNTS), **settings)


def test_the_words_of_the_advice(files):
    epochs = ("--sampling", "epochs", "--dataset-size", 1280)
    done = run("advise", *SETTINGS, "--spectrum", files / "s.npz", "--steps", 500, *epochs)
    hyper = sgd.Hyperparameters(0.1, 0.9, 128, dataset_size=1280)
    advice = advise(hyper, sgd.Spectrum(RHO, counts=COUNTS), steps=500, sampling="epochs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(advice)


@pytest.mark.parametrize("suffix", ["npy", "csv", "json", "safetensors"])
def test_the_numbers_from_every_format(files, suffix):
    done = run("advise", *SETTINGS, "--spectrum", files / f"s.{suffix}", "--steps", 500, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    ours, theirs = (dict(leaves(x)) for x in (expected(steps=500).as_dict(), found))
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert theirs[name] == (pytest.approx(value, rel=1e-12) if type(value) is float else value)


def leaves(value, name=""):
    """Every number and word of nested dictionaries and lists, by its path."""
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from leaves(entry, f"{name}.{key}")
    else:
        yield name, value


def test_every_setting_reaches_the_advice(files, tmp_path):
    picture = tmp_path / "advice.png"
    rho = tmp_path / "negative.csv"
    rho.write_text("eigenvalues\n1.0\n0.01\n-0.002\n")
    done = run(
        *("advise", "--learning-rate", 0.1, "--momentum", 0.8, "--batch-size", 50),
        *("--weight-decay", 1e-3, "--dataset-size", 1000, "--theory", "continuous"),
        *("--rule", "dampened", "--dampening", 0.3, "--steps", 100, "--start", 0.1),
        *("--noise-scale", 2.0, "--negative", "drift", "--drift-noise-scale", 0.5),
        *("--spectrum", rho, "--plot", picture),
    )
    advice = advise(
        sgd.Hyperparameters(0.1, 0.8, 50, 1e-3, 1000),
        sgd.Spectrum.from_hessian_eigenvalues(
            [1.0, 0.01, -0.002], noise_scale=2.0, negative="drift", drift_noise_scale=0.5
        ),
        theory="continuous",
        rule=sgd.dampened(),
        parameters={sgd.symbols.tau: 0.3},
        steps=100,
        start=0.1,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(advice)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_unstable_run_is_no_error(files):
    done = run("advise", "--learning-rate", 1, "--batch-size", 8, "--spectrum", files / "s.npz")
    assert done.returncode == 0
    assert "lower the learning rate below 0.25" in done.stdout


DAMAGED = {
    "half.npz": b"PK\x03\x04 and no more",
    "pickle.npy": b"\x80\x04]\x94(K\x01K\x02e.",
    "half.json": b'{"eigenvalues": [1,',
    "words.csv": b"eigenvalues\none\n",
    "zeros.safetensors": bytes(64),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    done = run("advise", *SETTINGS, "--spectrum", path)
    assert (done.returncode, done.stdout) == (WRONG_INPUT, "")
    assert done.stderr.startswith(f"sgdtheory: {path}: this is no {path.suffix} file of numbers")
    assert done.stderr.count("\n") == 1


WRONG = {
    "momentum = 1.5": ["--momentum", "1.5"],
    "--rule quasi_hyperbolic needs a value of --mixing": ["--rule", "quasi_hyperbolic"],
    "--dampening 0.1: the heavy ball rule has no dampening": ["--dampening", "0.1"],
    "Give --dataset-size": ["--sampling", "epochs"],
    "No such file": ["--spectrum", "nowhere.csv"],
    "no pictures that end in '.nothing'": ["--plot", "advice.nothing"],
    "could not convert": ["--learning-rate", "fast"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_one_paragraph_and_a_status(files, message, monkeypatch, capsys):
    given = ["advise", *SETTINGS, "--spectrum", str(files / "s.csv"), *WRONG[message]]
    monkeypatch.setattr(sys, "argv", ["sgdtheory", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == WRONG_INPUT
    assert message in told.err
    assert not told.out


def test_help_has_an_example():
    done = run("advise", "--help")
    assert done.returncode == 0
    assert "Example: sgdtheory advise --learning-rate" in done.stdout
    assert "--negative" in done.stdout


def test_without_tyro_the_message_says_what_to_install():
    code = "import sys; sys.modules['tyro'] = None; from sgdtheory.__main__ import main; main()"
    done = run(command=("-c", code))
    assert done.returncode == WRONG_INPUT
    assert "sgdtheory[cli]" in done.stderr
    assert "Traceback" not in done.stderr
