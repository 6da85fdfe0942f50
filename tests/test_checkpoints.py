"""A checkpoint holds all of a training's state, and is there whole, in two generations, or not."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from validation import checkpoints
from validation.checkpoints import (
    Checkpoint,
    optimizer_state,
    read_checkpoint,
    restore_optimizer,
    tensors_under,
    write_checkpoint,
)
from validation.durable_files import read_sealed, write_sealed, written_whole
from validation.generator_states import generator_states, own_generators, restore_generators

CPU = torch.device("cpu")


def checkpoint(step=7, seed=3, identity="0123456789abcdef"):
    source = torch.Generator().manual_seed(step)
    tensors = {
        "model/weights": torch.randn(3, 4, generator=source),
        "model/count": torch.tensor(step),
        "model/turned": torch.randn(3, 4, generator=source).T,
        "momentum/0": torch.randn(3, 4, generator=source, dtype=torch.float64),
        "generator/torch": torch.get_rng_state(),
        "record/empty": torch.empty(0, 2),
    }
    return Checkpoint(identity, seed, step, tensors, {"groups": [{"lr": 0.1 + 0.2, "a": None}]})


def equal(a, b):
    return (
        a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)
        and all(a.tensors[k].dtype == b.tensors[k].dtype for k in a.tensors)
        and (a.identity, a.seed, a.step, a.numbers) == (b.identity, b.seed, b.step, b.numbers)
    )


def read(folder, identity="0123456789abcdef", seed=3):
    return read_checkpoint(folder, identity, seed)


def refused(folder, name, *words, **which):
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder / name))} ") as caught:
        read(folder, **which)
    assert all(word in str(caught.value) for word in words)


def test_comes_back_bit_for_bit(tmp_path):
    assert read(tmp_path) is None
    write_checkpoint(tmp_path, checkpoint())
    assert equal(read(tmp_path), checkpoint())


def test_tied_tensors_come_back_under_both_names(tmp_path):
    weights = torch.randn(3)
    tied = Checkpoint("0123456789abcdef", 3, 1, {"a": weights, "b": weights}, {})
    write_checkpoint(tmp_path, tied)
    assert equal(read(tmp_path), tied)


def test_is_a_plain_safetensors_file_and_equal_states_are_equal_files(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_checkpoint(tmp_path / name, checkpoint())
    first, second = (tmp_path / name / "checkpoint.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    with safe_open(first, framework="np") as file:
        assert set(file.keys()) == set(checkpoint().tensors)


def test_the_one_before_is_kept_and_takes_over_where_a_kill_left_only_that(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, checkpoint(step))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
    ]
    assert equal(read(tmp_path), checkpoint(3))
    (tmp_path / "checkpoint.safetensors").unlink()
    assert equal(read(tmp_path), checkpoint(2))


def test_an_interrupted_writing_leaves_the_last_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, checkpoint(1))

    def torn(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_file", torn)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, checkpoint(2))
    assert equal(read(tmp_path), checkpoint(1))
    monkeypatch.undo()
    write_checkpoint(tmp_path, checkpoint(2))
    assert equal(read(tmp_path), checkpoint(2))


@pytest.mark.parametrize("number", range(30))
def test_truncated_is_refused_by_name_with_what_to_do(tmp_path, number):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint(step))
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: np.random.default_rng(number).integers(len(content))])
    refused(tmp_path, path.name, "Delete it: the run then goes on from checkpoint.previous")
    path.unlink()
    assert equal(read(tmp_path), checkpoint(1))


@pytest.mark.parametrize("number", range(60))
def test_a_changed_byte_is_refused_by_name(tmp_path, number):
    write_checkpoint(tmp_path, checkpoint())
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    source = np.random.default_rng(number)
    # Half of them in the header, which is short.
    place = source.integers(len(content) if number % 2 else 1200)
    content[place] ^= 1 << source.integers(8)
    path.write_bytes(content)
    refused(tmp_path, path.name, "Delete the folder of this run and run it again")


def test_another_experiment_or_seed_is_refused_by_name(tmp_path):
    write_checkpoint(tmp_path, checkpoint())
    refused(tmp_path, "checkpoint.safetensors", "not of fedcba, seed 3", identity="fedcba")
    refused(tmp_path, "checkpoint.safetensors", "not of 0123456789abcdef, seed 4", seed=4)


def test_another_format_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save_file({"weights": torch.zeros(2)}, path)
    refused(tmp_path, path.name, "cannot be read as a checkpoint")
    path.write_bytes(b"")
    refused(tmp_path, path.name, "cannot be read as a checkpoint")
    torch.save({"weights": torch.zeros(2)}, path)
    refused(tmp_path, path.name, "cannot be read as a checkpoint")
    monkeypatch.setattr(checkpoints, "VERSION", 2)
    write_checkpoint(tmp_path, checkpoint())
    monkeypatch.undo()
    refused(tmp_path, path.name, "version 2; this program reads 'sgdtheory checkpoint', version 1")


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True}])
def test_an_optimizer_goes_on_as_if_nothing_had_been(options):
    def start():
        parameter = torch.nn.Parameter(torch.ones(3))
        return parameter, torch.optim.SGD([parameter], lr=0.1, weight_decay=0.01, **options)

    def step(parameter, optimizer, k):
        parameter.grad = torch.randn(3, generator=torch.Generator().manual_seed(k))
        optimizer.step()

    parameter, optimizer = start()
    for k in range(4):
        step(parameter, optimizer, k)
    other, restored = start()
    with torch.no_grad():
        other.copy_(parameter)
    buffers, groups = optimizer_state(optimizer)
    assert len(buffers) == (1 if options else 0)
    restore_optimizer(restored, {k: v.clone() for k, v in buffers.items()}, groups)
    for k in range(4, 8):
        step(parameter, optimizer, k)
        step(other, restored, k)
    assert torch.equal(parameter, other)


def test_tensors_are_found_by_whose_they_are():
    tensors = {"model/a.b": torch.zeros(1), "models/c": torch.ones(1), "momentum/0": torch.ones(2)}
    assert tensors_under("model", tensors).keys() == {"a.b"}


def draws():
    """An odd number of normal deviates each: NumPy and Python keep the second of a pair."""
    return [
        *torch.randn(3).tolist(),
        *np.random.randn(3).tolist(),
        *(random.gauss(0, 1) for _ in range(3)),
    ]


def test_all_generators_go_on_where_they_were(tmp_path):
    with own_generators(5, CPU):
        draws()
        states = {f"generator/{name}": t for name, t in generator_states(CPU).items()}
        write_checkpoint(tmp_path, Checkpoint("0123456789abcdef", 3, 1, states, {}))
        expected = draws()
        draws()
        restore_generators(tensors_under("generator", read(tmp_path).tensors), CPU)
        assert draws() == expected


def test_a_run_has_generators_of_its_own_and_gives_the_callers_back():
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = draws()
    states = generator_states(CPU)
    with own_generators(2**64 - 1, CPU):
        inside = draws()
    assert draws() != before
    restore_generators(states, CPU)
    with own_generators(2**64 - 1, CPU):
        assert draws() == inside
    after = draws()
    restore_generators(states, CPU)
    assert draws() == after


@pytest.mark.parametrize("number", range(20))
def test_a_sealed_file_that_is_truncated_or_changed_is_refused_by_name(tmp_path, number):
    path, content = tmp_path / "sealed.json", {"a": [1, 2.5, None], "b": {"c": "η"}}
    write_sealed(path, content)
    assert read_sealed(path, "Do this.") == content
    source, text = np.random.default_rng(number), path.read_bytes()
    changed = bytearray(text)
    # A digit or a letter, not the spaces between.
    places = [i for i, byte in enumerate(text) if chr(byte).isalnum()]
    changed[source.choice(places)] ^= 1
    for damaged in (text[: source.integers(len(text))], bytes(changed), b"", b"[]", b'"a"'):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} .*Do this\.$"):
            read_sealed(path, "Do this.")


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
