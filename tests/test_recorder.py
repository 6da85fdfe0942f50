"""What is recorded of a training, against loops that are written out and sums that are exact."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from validation import projections as projections_module
from validation.benchmarks.recording import median_interval
from validation.convention import learning_rate, velocity
from validation.directions import random_directions, read_directions, write_directions
from validation.displacement_kernel import Displacement
from validation.experiments import Record
from validation.recorder import Recorder, checkpoint_interval

RULES = {
    "plain": {},
    "heavy ball": {"momentum": 0.8},
    "dampened": {"momentum": 0.8, "dampening": 0.3},
    "Nesterov": {"momentum": 0.8, "nesterov": True},
}
RATE = 0.07


def by_hand(rule, decay, start, gradients):
    """θ_k and v_k of a rule, from the gradients of the loss, with its look-ahead in torch's way."""
    beta, tau = rule.get("momentum", 0.0), rule.get("dampening", 0.0)
    theta, v = start, np.zeros_like(start)
    states = [(theta, v)]
    for k, of_loss in enumerate(gradients):
        g = of_loss + decay * theta
        v = beta * v - (g if k == 0 else (1 - tau) * g)
        theta = theta + RATE * (beta * v - g if rule.get("nesterov") else v)
        states.append((theta, v))
    return states


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("rule", RULES)
def test_velocity_is_that_of_the_written_out_rule(rule, decay):
    generator = np.random.default_rng(0)
    gradients = generator.normal(size=(9, 3, 2))
    start = generator.normal(size=(3, 2))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD([parameter], lr=RATE, weight_decay=decay, **RULES[rule])
    before = parameter.detach().clone()
    found = [(before.numpy(), velocity(optimizer, parameter, before).numpy())]
    for gradient in gradients:
        before = parameter.detach().clone()
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        v = velocity(optimizer, parameter, before)
        found.append((parameter.detach().clone().numpy(), v.numpy()))
    expected = by_hand(RULES[rule], decay, start, gradients)
    # Without momentum v is a difference over η: rounding of θ, 2⁻⁵³ · 4, divided by 0.07.
    np.testing.assert_allclose(np.array(found), np.array(expected), rtol=0, atol=1e-13)


def test_every_parameter_has_the_learning_rate_of_its_group():
    first, second, other = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    groups = [{"params": [first]}, {"params": [second], "lr": 0.5}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert (learning_rate(optimizer, first), learning_rate(optimizer, second)) == (0.1, 0.5)
    with pytest.raises(ValueError, match="not one of the optimizer's"):
        learning_rate(optimizer, other)


class Kept:
    """Rows in the order in which they were handed over."""

    def __init__(self):
        self.rows = {}

    def __call__(self, name, first, values):
        rows = self.rows.setdefault(name, [])
        assert first == sum(map(len, rows))
        rows.append(np.array(values))

    def __getitem__(self, name):
        return np.concatenate(self.rows[name])


def network(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torch.nn.Sequential(
            torch.nn.Linear(4, 6, dtype=dtype), torch.nn.Tanh(), torch.nn.Linear(6, 2, dtype=dtype)
        )


def trained(record, directions, rule="heavy ball", model=None, burn_in=4):
    """What a recorder keeps, and (θ_k, v_k) of all k, flattened by hand."""
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, **RULES[rule])
    source = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype

    def flat():
        return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])

    def step():
        inputs = torch.randn(5, 4, generator=source).to(dtype)
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    for _ in range(burn_in):
        step()
    kept = Kept()
    recorder = Recorder(list(model.parameters()), optimizer, record, directions, kept)
    states = [(flat(), None)]
    for k in range(1, record.updates + 1):
        step()
        buffers = [optimizer.state[p].get("momentum_buffer") for p in model.parameters()]
        if buffers[0] is None:
            v = (flat() - states[-1][0]) / RATE
        else:
            v = -np.concatenate([buffer.numpy().ravel() for buffer in buffers])
        states.append((flat(), v))
        recorder.observe()
        if k % checkpoint_interval(record) == 0 or k == record.updates:
            recorder.flush()
    return kept, states


@pytest.mark.parametrize("waiting", [1, 2**28])
@pytest.mark.parametrize("every", [1, 3, 20])
@pytest.mark.parametrize("rule", ["plain", "heavy ball", "Nesterov"])
def test_projects_positions_from_the_start_and_velocities(rule, every, waiting, monkeypatch):
    monkeypatch.setattr(projections_module, "_WAITING", waiting)
    record = Record(updates=40, checkpoint_every=10, projections_every=every)
    directions = torch.randn(44, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept, states = trained(record, directions, rule)
    chosen = range(every, 41, every)
    for name, expected in (
        ("positions", [directions.numpy().T @ (states[k][0] - states[0][0]) for k in chosen]),
        ("velocities", [directions.numpy().T @ states[k][1] for k in chosen]),
    ):
        np.testing.assert_allclose(kept[name][:, 0], expected, rtol=0, atol=1e-12)
    at_start = states[0][0] @ directions.numpy()
    np.testing.assert_allclose(kept["start"][0], at_start, rtol=0, atol=1e-12)


def test_keeps_all_parameters_at_the_start_and_every_so_often():
    record = Record(updates=23, checkpoint_every=10, snapshots_every=5)
    kept, states = trained(record, torch.empty(44, 0))
    expected = [states[k][0] for k in range(0, 24, 5)]
    np.testing.assert_array_equal(kept["snapshots"][:, 0], expected)


def exact_squares(now, then):
    """Σ (a − b)² with the rounding of one double."""
    return math.fsum((float(a) - float(b)) ** 2 for a, b in zip(now, then, strict=True))


def naive_squares(now, then):
    return float(((now - then) ** 2).sum(dtype=now.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_displacements_are_exact_sums(dtype):
    record = Record(updates=12, checkpoint_every=5)
    kept, states = trained(record, torch.empty(44, 0), model=network(dtype))
    positions = [state[0] for state in states]
    for name, thens in (
        ("local_displacement", positions[:-1]),
        ("global_displacement", positions[:1] * 12),
    ):
        exact = [exact_squares(a, b) for a, b in zip(positions[1:], thens, strict=True)]
        # 44 terms, each rounded once: far below 44 · 2⁻⁵³.
        np.testing.assert_allclose(kept[name][:, 0], exact, rtol=5e-15)


def wandering(sizes, dtype):
    """Parameters of order 1 that have moved by 10⁻⁴, and where they were."""
    source = torch.Generator().manual_seed(2)
    then = [torch.randn(*size, generator=source, dtype=torch.float64) for size in sizes]
    now = [t + 1e-4 * torch.randn(t.shape, generator=source, dtype=torch.float64) for t in then]
    return [t.to(dtype) for t in now], [t.to(dtype) for t in then]


@pytest.mark.parametrize("by_torch", [False, True])
def test_float64_sums_over_many_float32_parameters_where_float32_sums_fail(by_torch):
    sizes = ((70000,), (30, 1001), (7,))
    now, then = wandering(sizes, torch.float32)
    held = [t.clone() for t in then]
    displacement = Displacement(held)
    for tensor, values in zip(held, now, strict=True):
        tensor.copy_(values)
    out = torch.empty(2, 1, dtype=torch.float64)
    if by_torch:
        displacement._measure_by_torch(out)
    else:
        displacement.measure(out)
    a, b = (torch.cat([t.ravel() for t in each]).numpy() for each in (now, then))
    exact = exact_squares(a, b)
    # Blocks of 8192 and then 13 of them: at worst 8205 · 2⁻⁵³ = 9.1e-13.
    np.testing.assert_allclose(out[:, 0].numpy(), exact, rtol=9.1e-13)
    assert abs(naive_squares(a, b) / exact - 1) > 1e-9
    assert torch.equal(displacement.previous[0], torch.cat([t.ravel() for t in now]))
    displacement.measure(out)
    assert out[0].item() == 0
    np.testing.assert_allclose(out[1].item(), exact, rtol=9.1e-13)


def test_the_number_of_threads_does_not_change_a_bit():
    now, then = wandering([(2**18 + 12345,)], torch.float32)
    found = []
    before = numba.get_num_threads()
    for threads in range(1, before + 1):
        held = [t.clone() for t in then]
        displacement = Displacement(held)
        held[0].copy_(now[0])
        out = torch.empty(2, 1, dtype=torch.float64)
        numba.set_num_threads(threads)
        try:
            displacement.measure(out)
        finally:
            numba.set_num_threads(before)
        found.append(out)
    exact = exact_squares(now[0].numpy(), then[0].numpy())
    np.testing.assert_allclose(found[0][:, 0].numpy(), exact, rtol=1e-12)
    assert all(torch.equal(out, found[0]) for out in found)


def test_memory_in_another_order_is_read_in_the_order_of_the_indices():
    weights = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    channels_last = weights.to(memory_format=torch.channels_last)
    displacement = Displacement([channels_last])
    channels_last.add_(0.5)
    out = torch.empty(2, 1, dtype=torch.float64)
    displacement.measure(out)
    assert torch.equal(displacement.start[0], weights.ravel())
    moved = exact_squares(channels_last.ravel().numpy(), weights.ravel().numpy())
    np.testing.assert_allclose(out[:, 0].numpy(), moved, rtol=1e-13)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_each_replica_is_recorded_as_if_it_were_alone(momentum):
    source = torch.Generator().manual_seed(4)
    shapes = ((3, 4, 2), (3, 5))
    start = [torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes]
    gradients = [
        [torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes]
        for _ in range(20)
    ]
    directions = torch.randn(13, 2, generator=source, dtype=torch.float64)

    def kept_of(replicas):
        parameters = [torch.nn.Parameter(each[replicas].clone()) for each in start]
        record = Record(
            updates=20, checkpoint_every=8, snapshots_every=4, replicas=len(parameters[0])
        )
        optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=momentum)
        kept = Kept()
        recorder = Recorder(parameters, optimizer, record, directions, kept)
        for k, gradient in enumerate(gradients, 1):
            for parameter, each in zip(parameters, gradient, strict=True):
                parameter.grad = each[replicas].clone()
            optimizer.step()
            recorder.observe()
            if k % 8 == 0 or k == 20:
                recorder.flush()
        return kept

    together = kept_of(slice(0, 3))
    assert together["positions"].shape == (20, 3, 2)
    for r in range(3):
        alone = kept_of(slice(r, r + 1))
        for name in ("local_displacement", "global_displacement", "positions", "velocities"):
            np.testing.assert_allclose(together[name][:, r], alone[name][:, 0], rtol=1e-12)
        np.testing.assert_array_equal(together["snapshots"][:, r], alone["snapshots"][:, 0])


def test_a_recorder_that_goes_on_keeps_the_same_bits():
    record = Record(updates=30, checkpoint_every=10, projections_every=2, snapshots_every=3)
    directions = random_directions(5, 44, 2)

    def kept_by(restarts):
        model, kept = network(torch.float32), Kept()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
        parameters = list(model.parameters())
        recorder = Recorder(parameters, optimizer, record, directions, kept)
        source = torch.Generator().manual_seed(1)
        for k in range(1, 31):
            optimizer.zero_grad()
            model(torch.randn(5, 4, generator=source)).square().mean().backward()
            optimizer.step()
            recorder.observe()
            if k % 10 == 0:
                recorder.flush()
                if restarts:
                    start, update = recorder.start.clone(), recorder.update
                    recorder = Recorder(
                        parameters, optimizer, record, directions, kept, start=start, update=update
                    )
        return kept

    whole, parts = kept_by(False), kept_by(True)
    assert whole.rows.keys() == parts.rows.keys()
    for name in whole.rows:
        np.testing.assert_array_equal(whole[name], parts[name], strict=True)


@pytest.mark.parametrize(
    ("every", "declared", "expected"), [(1, 256, 256), (3, 10, 9), (10, 10, 10), (64, 10, 10)]
)
def test_a_checkpoint_ends_whole_projections(every, declared, expected):
    record = Record(updates=5, checkpoint_every=declared, projections_every=every)
    assert checkpoint_interval(record) == expected


def test_a_training_that_diverges_is_refused_at_its_first_update_without_a_number():
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    recorder = Recorder([parameter], optimizer, Record(updates=9), torch.empty(3, 0), Kept())
    for k in range(1, 6):
        parameter.grad = torch.full((3,), math.nan if k >= 4 else 1.0)
        optimizer.step()
        recorder.observe()
    with pytest.raises(ValueError, match=r"update 4 of the record.*Lower the learning rate"):
        recorder.flush()


def test_replicas_need_an_axis():
    parameter = torch.nn.Parameter(torch.zeros(3, 2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with pytest.raises(ValueError, match=r"record.replicas = 2, but a parameter has the shape"):
        Recorder([parameter], optimizer, Record(updates=9, replicas=2), torch.empty(3, 0), Kept())


def test_the_interval_of_a_median_is_the_tabulated_one():
    """Twenty values: the sixth and the fifteenth hold the median with 95.9 %."""
    found = median_interval(np.random.default_rng(0).permutation(np.arange(1.0, 21.0)))
    assert (found.median, found.lowest, found.highest) == (10.5, 6.0, 15.0)


def test_random_directions_are_unit_vectors_that_depend_on_seed_and_number_alone():
    directions = random_directions(7, 1000, 5)
    np.testing.assert_allclose(directions.square().sum(dim=0).numpy(), 1, rtol=1e-14)
    assert torch.equal(random_directions(7, 1000, 3), directions[:, :3])
    overlaps = torch.cat([directions, random_directions(8, 1000, 5)], dim=1)
    off_diagonal = (overlaps.T @ overlaps - torch.eye(10)).abs().max()
    # 45 overlaps of standard deviation 1000^{-1/2}: beyond 5.2 of it once in 10⁵ seeds.
    assert off_diagonal < 5.2 / math.sqrt(1000)


def test_directions_come_back_from_their_file(tmp_path):
    directions = random_directions(0, 12, 2)
    write_directions(tmp_path / "d.safetensors", directions)
    assert torch.equal(read_directions(tmp_path / "d.safetensors", 12), directions)


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({"other": torch.zeros(12, 2)}, "cannot be read as directions"),
        ({"directions": torch.zeros(11, 2)}, r"\(11, 2\), but the model has 12 parameters"),
        ({"directions": torch.zeros(12)}, r"\(12,\), but the model has 12 parameters"),
        ({"directions": torch.zeros(12, 2, dtype=torch.int64)}, "torch.int64"),
        ({"directions": torch.full((12, 1), math.nan)}, "infinity or NaN"),
    ],
)
def test_directions_that_do_not_fit_are_refused_by_name(tmp_path, tensors, complaint):
    path = tmp_path / "d.safetensors"
    save_file(tensors, path)
    with pytest.raises(ValueError, match=rf"{path}.*{complaint}"):
        read_directions(path, 12)


def test_a_file_that_is_no_directions_is_refused_by_name(tmp_path):
    path = tmp_path / "d.safetensors"
    for content in (None, b"", b"something else"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{path} cannot be read as directions"):
            read_directions(path, 12)
