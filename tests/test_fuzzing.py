"""Malformed input meets documented errors, and what would be a finding is found."""

import time

import numpy as np
import pytest

import sgdtheory as sgd
from validation import fuzzing
from validation.fuzzing import Entry, entries, fuzz, main, malformed


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_right_arguments_work(entry):
    result = entry.call(**entry.right)
    if entry.shape is not None:
        assert np.shape(result) == entry.shape(entry.right)


def test_every_function_of_the_package_is_tried():
    """But those without arguments, and what writes wherever it is told to.

    Records that functions return are not for people to make.
    """
    tried = {entry.name.partition(".")[0].split(" ")[0] for entry in entries()}
    functions = {name for name in sgd.__all__ if name.islower() and callable(getattr(sgd, name))}
    rules = {"plain_sgd", "heavy_ball", "nesterov", "dampened", "quasi_hyperbolic"}
    spared = {"doubling_identity", "explorer_page", "write_explorer"}
    assert functions - tried == rules | spared


def test_malformed_input_meets_documented_errors():
    assert [str(one) for one in fuzz(2500, seed=11)] == []


def _nan(x):
    return np.full(2, np.nan)


def _attribute(x):
    return x.nothing


def _mute(x):
    raise ValueError


def _slow(x):
    time.sleep(5)


def _warned(x):
    return np.float64(1.0) / np.zeros(1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (_nan, "NaN"),
        (_attribute, "AttributeError"),
        (_mute, "ValueError without a message"),
        (_slow, "no answer in 0.05 seconds"),
        (_warned, "RuntimeWarning"),
        (lambda x: np.zeros(3), r"shape (3,): expected (2,)"),
    ],
)
def test_what_should_not_happen_is_found(call, told, monkeypatch):
    entry = Entry("wrong", call, {"x": 1.0}, shape=lambda _: (2,))
    monkeypatch.setattr(fuzzing, "entries", lambda: (entry,))
    monkeypatch.setattr(fuzzing, "malformed", lambda: ["text"])
    monkeypatch.setattr(fuzzing, "_SECONDS", 0.05)
    (found,) = fuzz(1)
    assert told in str(found)
    assert str(found).startswith("wrong(x='text'): ")


def test_a_documented_error_and_a_nan_that_was_given_are_no_findings(monkeypatch):
    entry = Entry("right", lambda x: x, {"x": 1.0})
    monkeypatch.setattr(fuzzing, "entries", lambda: (entry,))
    monkeypatch.setattr(fuzzing, "malformed", lambda: [float("nan")])
    assert fuzz(3) == []


def test_the_command_says_how_many_ran_clean(capsys):
    assert main(["--examples", "20"]) == 0
    assert "20 malformed calls" in capsys.readouterr().out
    assert len(malformed()) > 40
