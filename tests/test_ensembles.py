"""Ensembles: the batches by another generator, the updates by hand, the moments by the theory.

The oracle of the batches knows integers of any length only: rounds of Philox that NumPy's own
generator confirms at 64 bits, and a division where the compiled code multiplies and shifts. All
statistical comparisons of this file together raise a false alarm with probability 1e-4 (Šidák); the
seeds are fixed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import numba
import numpy as np
import oracles
import pytest
import torch
from scipy.stats import chi2, kstest
from scipy.stats import t as student

import sgdtheory as sgd
from sgdtheory.ensembles import (
    LinearRegressionEnsemble,
    QuadraticEnsemble,
    numba_batches,
    torch_batches,
    torch_ensemble,
)
from sgdtheory.ensembles.counter_based_generator import BATCHES, LABELS, ORDERS, STREAMS, philox
from sgdtheory.ensembles.plan import Draws
from sgdtheory.sampling import SAMPLINGS

s = sgd.symbols
EXAMPLES, DIMENSION, BATCH, REPLICAS, SEED = 11, 5, 3, 4, 2**40 + 17
OWN = {"dampened": {"tau": 0.3}, "quasi_hyperbolic": {"nu": 0.7}}
LOOKING_AHEAD = sgd.UpdateRule(
    s.beta * s.v - s.g,
    s.theta + s.eta * s.v_next,
    gradient_at=s.theta + s.eta * s.beta * s.v,
    name="looking ahead",
)


def looking_ahead(x, v, gradient, eta, beta):
    v = beta * v - gradient(x + eta * beta * v)
    return x + eta * v, v


UPDATES = oracles.UPDATES | {"looking_ahead": looking_ahead}


def rule_of(name):
    return LOOKING_AHEAD if name == "looking_ahead" else getattr(sgd, name)()


def hyper_of(name, batch=BATCH, rate=0.05, decay=0.1):
    return sgd.Hyperparameters(rate, 0.0 if name == "plain_sgd" else 0.8, batch, decay)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(EXAMPLES, DIMENSION)), rng.normal(size=EXAMPLES)


@pytest.fixture(params=UPDATES)
def name(request):
    return request.param


# -- the oracle of the batches ----------------------------------------------------------------

# Multipliers and key increments of the paper, by the width of a word.
WIDTHS = {
    32: ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)),
    64: ((0xD2E7470EE14C6C93, 0xCA5A826395121157), (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)),
}
KNOWN_ANSWERS = {
    ((0,) * 4, (0,) * 2): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
    ): (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
}


def rounds(counter, key, width=32):
    """Philox4 of any word width, ten rounds, in Python's integers."""
    multipliers, increments = WIDTHS[width]
    c, k = list(counter), list(key)
    for _ in range(10):
        (high_0, low_0), (high_1, low_1) = (
            divmod(m * word, 2**width) for m, word in zip(multipliers, c[::2], strict=True)
        )
        c = [high_1 ^ c[1] ^ k[0], low_1, high_0 ^ c[3] ^ k[1], low_0]
        k = [(word + step) % 2**width for word, step in zip(k, increments, strict=True)]
    return c


def word_of(draw, replica, stream, seed):
    high, low = divmod(draw // 4, 2**32)
    return rounds((low, high, replica, stream), (seed % 2**32, seed // 2**32))[draw % 4]


def integer_below(bound, draw, replica, stream, seed):
    """The word's place among `bound` intervals; what makes some of them longer is redrawn."""
    while True:
        high, low = divmod(word_of(draw, replica, stream, seed) * bound, 2**32)
        if low >= 2**32 % bound:
            return high
        stream += STREAMS


def shuffled(examples, replica, epoch, seed):
    order = list(range(examples))
    first = epoch * (examples + (-examples) % 4)
    for j in range(examples - 1):
        i = j + integer_below(examples - j, first + j, replica, ORDERS, seed)
        order[j], order[i] = order[i], order[j]
    return order


def batch_by_hand(examples, size, step, replica, sampling, seed=SEED):
    if sampling == "with_replacement":
        draws = range(step * size, (step + 1) * size)
        return [integer_below(examples, draw, replica, BATCHES, seed) for draw in draws]
    epoch, place = divmod(step, examples // size)
    order = shuffled(examples, replica, 0 if sampling == "fixed_order" else epoch, seed)
    return order[place * size : (place + 1) * size]


def label_error_by_hand(draw, replica, seed):
    """Box and Muller, of 53 bits each: a pair of draws has the four words of one counter."""
    high, low = divmod(draw // 2, 2**32)
    words = rounds((low, high, replica, LABELS), (seed % 2**32, seed // 2**32))
    u, turn = ((words[i] // 2**5 * 2**26 + words[i + 1] // 2**6 + 1) / 2**53 for i in (0, 2))
    shift = 0.25 if draw % 2 else 0.0
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * (turn - shift))


# -- the generator ----------------------------------------------------------------------------


def test_the_rounds_are_those_of_numpy_at_twice_the_width():
    counter, key = (3, 2**64 - 1, 12345, 7), (2**63 + 1, 99)
    as_numbers = [sum(word << 64 * i for i, word in enumerate(x)) for x in (counter, key)]
    generator = np.random.Philox(counter=as_numbers[0] - 1, key=as_numbers[1])
    assert generator.random_raw(4).tolist() == rounds(counter, key, 64)


@pytest.mark.parametrize(("given", "answer"), KNOWN_ANSWERS.items())
def test_known_answers(given, answer):
    """Of the paper's own collection."""
    counter, key = given
    tensors = [torch.tensor([word]) for word in (*counter, *key)]
    arrays = [np.array([word]) for word in (*counter, *key)]
    assert philox(*counter, *key) == answer == tuple(rounds(counter, key))
    assert tuple(int(word) for word in philox(*tensors)) == answer
    assert tuple(int(word[0]) for word in philox(*arrays)) == answer
    assert tuple(int(word) for word in numba_batches._philox(*counter, *key)) == answer


@pytest.mark.parametrize("bound", [1, 3 << 29, 2**31 - 1])
def test_integers_are_rejected_and_redrawn_alike(bound):
    """A quarter of the words is rejected at 3·2²⁹."""
    draws = Draws(EXAMPLES, BATCH, False, False, 5, 2**31, 9)
    by_hand = [integer_below(bound, i, 9, BATCHES, 5 + 2**63) for i in range(200)]
    assert numba_batches.integers_below(bound, 200, BATCHES, draws).tolist() == by_hand
    assert torch_batches.integers_below(bound, 200, BATCHES, draws).tolist() == by_hand


@pytest.mark.parametrize(
    ("sampling", "size"),
    [
        *((sampling, size) for sampling in SAMPLINGS for size in (1, 3, 11)),
        ("with_replacement", 30),
    ],
)
def test_batches_are_those_of_the_oracle(data, sampling, size):
    ensemble = LinearRegressionEnsemble(*data, replicas=2, seed=SEED, first_replica=6)
    tensors = LinearRegressionEnsemble(
        *map(torch.tensor, data), replicas=2, seed=SEED, first_replica=6
    )
    hyper = sgd.Hyperparameters(0.1, batch_size=size)
    by_hand = [
        [batch_by_hand(EXAMPLES, size, k, replica, sampling) for k in range(5, 19)]
        for replica in (6, 7)
    ]
    for kind in (ensemble, tensors):
        batches = kind.batches(hyper, 14, sampling=sampling, first_step=5)
        assert batches.tolist() == by_hand


# -- one update after the other ---------------------------------------------------------------


def followed(name, data, sampling, steps):
    """States by the hand loop, one replica at a time."""
    inputs, targets = data
    hyper, own = hyper_of(name), OWN.get(name, {})
    found = []
    for replica in range(REPLICAS):
        x, v = np.linspace(-1, 1, DIMENSION), np.linspace(0.5, 0, DIMENSION)
        rows = []
        for k in range(max(steps)):
            batch = batch_by_hand(EXAMPLES, BATCH, k, replica, sampling)

            def gradient(at, batch=batch):
                errors = [inputs[n] * (inputs[n] @ at - targets[n]) for n in batch]
                return sum(errors) / BATCH + hyper.weight_decay * at

            x, v = UPDATES[name](x, v, gradient, hyper.learning_rate, hyper.momentum, **own)
            if k + 1 in steps:
                rows.append(np.stack([x, v], axis=-1))
        found.append(rows)
    return np.array(found)


def simulated(name, data, sampling, steps, **options):
    x, v = np.linspace(-1, 1, DIMENSION), np.linspace(0.5, 0, DIMENSION)
    own = {getattr(s, key): value for key, value in OWN.get(name, {}).items()}
    options = {"position": x, "velocity": v, "replicas": REPLICAS, "label_noise": 0.0} | options
    ensemble = LinearRegressionEnsemble(
        *data,
        options.pop("label_noise"),
        replicas=options.pop("replicas"),
        seed=SEED,
        first_replica=options.pop("first_replica", 0),
    )
    start = options.pop("position"), options.pop("velocity")
    return ensemble.simulate(
        hyper_of(name), steps, *start, rule_of(name), own, sampling=sampling, **options
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_update_is_the_rule_by_hand(name, data, sampling):
    steps = [1, 2, 7, 20]
    by_hand = followed(name, data, sampling, steps)
    own = simulated(name, data, sampling, steps)
    on_tensors = simulated(name, tuple(map(torch.tensor, data)), sampling, steps)
    scale = np.abs(by_hand).max()
    assert np.abs(own.states - by_hand).max() < 1e-12 * scale
    assert np.abs(on_tensors.states.numpy() - by_hand).max() < 1e-12 * scale
    moved = ((by_hand[..., 0] - np.linspace(-1, 1, DIMENSION)) ** 2).sum(-1)
    assert np.allclose(own.displacements, moved, rtol=1e-12, atol=1e-12)
    assert np.allclose(on_tensors.displacements, moved, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_trajectory_is_that_of_torch_optim(data, nesterov):
    name = "nesterov" if nesterov else "heavy_ball"
    hyper = hyper_of(name)
    ensemble = LinearRegressionEnsemble(*data, replicas=1, seed=SEED)
    inputs, targets = map(torch.tensor, data)
    theta = torch.zeros(DIMENSION, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD(
        [theta], hyper.learning_rate, 0.8, weight_decay=0.1, nesterov=nesterov
    )
    for batch in ensemble.batches(hyper, 30, sampling="epochs")[0]:
        optimiser.zero_grad()
        (0.5 * (inputs[batch] @ theta - targets[batch]) ** 2).mean().backward()
        optimiser.step()
    run = ensemble.simulate(hyper, 30, rule=rule_of(name), sampling="epochs")
    assert np.allclose(run.position[0], theta.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_examples_that_share_a_hessian_are_updated_by_hand():
    curvatures, forces = np.array([2.0, 0.3]), np.array([[1.0, 0.5], [-2.0, 0.1], [0.4, -0.7]])
    ensemble = QuadraticEnsemble(curvatures, forces, replicas=1, seed=SEED)
    x, v = np.array([0.2, -0.1]), np.zeros(2)
    for k in range(6):
        batch = batch_by_hand(3, 2, k, 0, "epochs")
        error = forces[batch].mean(axis=0)
        x, v = oracles.nesterov(x, v, lambda at, b=error: (curvatures + 0.1) * at - b, 0.05, 0.8)
    hyper = hyper_of("nesterov", batch=2)
    run = ensemble.simulate(hyper, 6, [0.2, -0.1], rule=sgd.nesterov(), sampling="epochs")
    assert np.allclose(run.position[0], x, rtol=1e-13)
    assert np.allclose(run.velocity[0], v, rtol=1e-13)


def cases(count):
    """Problems at the edges: one example, one direction, whole batches, late updates, any seed."""
    rng = np.random.default_rng(31)
    corners = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 3), (7, 7, 2), (9, 4, 1)]
    for index in range(count):
        if index < len(corners):
            examples, size, dimension = corners[index]
        else:
            examples, dimension = (int(n) for n in rng.integers(1, (14, 10)))
            size = int(rng.integers(1, examples + 1))
        yield {
            "shape": (examples, size, dimension),
            "sampling": list(SAMPLINGS)[index % 3],
            "name": list(UPDATES)[index // 3 % len(UPDATES)],
            "label_noise": rng.choice([0.0, 0.7]),
            "first_step": int(rng.choice([0, 5, 2**31 - 40])),
            "seed": int(rng.choice(np.array([0, 2**32 - 1, 2**32, 2**64 - 1], np.uint64))),
            "first_replica": int(rng.choice([0, 2**31 - 3])),
        }


def followed_case(case, inputs, targets, start, updates):
    """The hand loop from any update on, with the label errors that are drawn."""
    (examples, size, _), name, rows = case["shape"], case["name"], []
    hyper, own = hyper_of(name, size, decay=0.3), OWN.get(name, {})
    for replica in (case["first_replica"], case["first_replica"] + 1):
        x, v = start
        for k in range(case["first_step"], case["first_step"] + updates):
            batch = batch_by_hand(examples, size, k, replica, case["sampling"], case["seed"])
            errors = [
                case["label_noise"] * label_error_by_hand(k * size + i, replica, case["seed"])
                for i in range(size)
            ]

            def gradient(at, batch=batch, errors=errors):
                each = [
                    inputs[n] * (inputs[n] @ at - targets[n] - error)
                    for n, error in zip(batch, errors, strict=True)
                ]
                return np.mean(each, axis=0) + hyper.weight_decay * at

            x, v = UPDATES[name](x, v, gradient, hyper.learning_rate, hyper.momentum, **own)
        rows.append(np.stack([x, v], axis=-1))
    return np.array(rows)


@pytest.mark.parametrize("case", [*cases(36)], ids=lambda case: str(case["shape"]))
def test_edges_are_followed_by_hand(case):
    """Beyond 2³² draws, at the first and the last seeds and replicas, within an epoch."""
    (examples, size, dimension), name = case["shape"], case["name"]
    rng = np.random.default_rng(sum(case["shape"]))
    data = rng.normal(size=(examples, dimension)), rng.normal(size=examples)
    start = rng.normal(size=(2, dimension))
    by_hand = followed_case(case, *data, start, 9)
    own = {getattr(s, key): value for key, value in OWN.get(name, {}).items()}
    numbering = {key: case[key] for key in ("seed", "first_replica")}
    for kind, tolerance in ((np.asarray, 1e-12), (torch.tensor, 1e-12), (in_single, 1e-4)):
        ensemble = LinearRegressionEnsemble(
            *map(kind, data), case["label_noise"], replicas=2, **numbering
        )
        run = ensemble.simulate(
            hyper_of(name, size, decay=0.3),
            case["first_step"] + 9,
            *start,
            rule_of(name),
            own,
            sampling=case["sampling"],
            first_step=case["first_step"],
        )
        assert np.abs(np.asarray(run.states[:, 0]) - by_hand).max() < tolerance


def in_single(values):
    return torch.tensor(values, dtype=torch.float32)


# -- the same whatever is done around it ------------------------------------------------------


@pytest.mark.parametrize("label_noise", [0.0, 0.5])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_threads_parts_and_interruptions_change_nothing(data, sampling, label_noise):
    options = {"label_noise": label_noise, "replicas": 13}
    whole = simulated("nesterov", data, sampling, [4, 10, 30], **options)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        alone = simulated("nesterov", data, sampling, [4, 10, 30], **options)
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(alone.states, whole.states)
    part = simulated(
        "nesterov", data, sampling, [4, 10, 30], **(options | {"replicas": 5}), first_replica=3
    )
    assert np.array_equal(part.states, whole.states[3:8])
    first = simulated("nesterov", data, sampling, 7, **options)
    rest = simulated(
        "nesterov",
        data,
        sampling,
        [10, 30],
        **options,
        first_step=7,
        position=first.position,
        velocity=first.velocity,
    )
    assert np.array_equal(rest.states, whole.states[:, 1:])


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_both_back_ends_draw_the_same_label_noise(data, sampling):
    own = simulated("nesterov", data, sampling, [3, 20], label_noise=0.5)
    other = simulated(
        "nesterov", tuple(map(torch.tensor, data)), sampling, [3, 20], label_noise=0.5
    )
    assert np.allclose(own.states, other.states.numpy(), rtol=1e-12, atol=1e-12)


def test_torch_shares_of_the_replicas_change_nothing(data, monkeypatch):
    tensors = tuple(map(torch.tensor, data))
    whole = simulated("heavy_ball", tensors, "epochs", [5, 12])
    monkeypatch.setitem(torch_ensemble._NUMBERS, "cpu", 1)
    monkeypatch.setattr(torch_batches, "_DRAWS", 1)
    parts = simulated("heavy_ball", tensors, "epochs", [5, 12])
    assert torch.allclose(parts.states, whole.states, rtol=1e-13, atol=1e-14)


def test_tensors_keep_their_floating_type(data):
    tensors = tuple(torch.tensor(x, dtype=torch.float32) for x in data)
    run = simulated("heavy_ball", tensors, "epochs", [5, 12])
    exact = simulated("heavy_ball", data, "epochs", [5, 12])
    assert run.states.dtype == torch.float32
    assert np.allclose(run.states, exact.states, rtol=1e-4, atol=1e-4)


def test_directions_project(data):
    directions = np.linalg.qr(np.random.default_rng(1).normal(size=(DIMENSION, 2)))[0]
    whole = simulated("heavy_ball", data, "epochs", [5, 12])
    seen = simulated("heavy_ball", data, "epochs", [5, 12], directions=directions)
    assert np.allclose(seen.states, np.einsum("rtds,dm->rtms", whole.states, directions))
    assert np.array_equal(seen.displacements, whole.displacements)
    assert np.array_equal(seen.position, whole.position)


CALLER = """
import callee, numba
from sgdtheory.lowering.numba_disk_cache import kept_on_disk

inner = numba.njit(callee.number)

@kept_on_disk(callee)
@numba.njit
def outer():
    return inner()

print(outer(), sum(outer.stats.cache_hits.values()))
"""


def test_compiled_code_is_kept_until_a_source_of_it_changes(tmp_path):
    """Value and hits: compiled, from the disk, compiled anew, and without a disk to write to."""

    # Files, so that no folder can be made: beside the source, nor where caches usually are.
    for name in ("__pycache__", "blocked"):
        (tmp_path / name).write_text("")
    nowhere = str(tmp_path / "blocked" / "cache")
    caches = dict.fromkeys(["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"], nowhere)

    def found(number, **own):
        (tmp_path / "callee.py").write_text(f"def number():\n    return {number}\n")
        (tmp_path / "caller.py").write_text(CALLER)
        command = [sys.executable, str(tmp_path / "caller.py")]
        options = {"capture_output": True, "text": True, "check": True}
        # Python's own compiled files know a source by its size and second.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | caches | own
        return tuple(map(int, subprocess.run(command, env=environment, **options).stdout.split()))

    kept = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert [found(n, **kept) for n in (1, 1, 2)] == [(1, 0), (1, 1), (2, 0)]
    assert found(3) == (3, 0)


# -- statistics -------------------------------------------------------------------------------

FALSE_ALARM = 1e-4
# Two of the generator's batches, one of its orders, five of its label noise, the tables below.
MOMENT_ENTRIES = 3 * (3 * 2 + 3 * 4 + 3 * 1)
QUADRATIC_ENTRIES = 3 * (4 * 2 * (2 + 4) + 4)
SINGLE = 1 - (1 - FALSE_ALARM) ** (1 / (8 + MOMENT_ENTRIES + QUADRATIC_ENTRIES))


def chi_squared(counts):
    """Probability of counts less even than these, if all are equally likely."""
    expected = counts.sum() / counts.size
    return chi2.sf(((counts - expected) ** 2).sum() / expected, counts.size - 1)


def drawn(sampling, replicas, updates, size):
    ensemble = QuadraticEnsemble([1.0], np.zeros((EXAMPLES, 1)), replicas=replicas, seed=1)
    return ensemble.batches(sgd.Hyperparameters(0.1, batch_size=size), updates, sampling=sampling)


def test_examples_are_drawn_evenly_and_in_pairs():
    batches = drawn("with_replacement", 100, 2000, 2).reshape(-1, 2)
    pairs = np.bincount(batches @ [EXAMPLES, 1], minlength=EXAMPLES**2)
    assert chi_squared(pairs) > SINGLE
    following = batches[:-1, 1] * EXAMPLES + batches[1:, 0]
    assert chi_squared(np.bincount(following, minlength=EXAMPLES**2)) > SINGLE


def test_orders_are_equally_likely():
    """All 5! of the first five places' ranks."""
    orders = drawn("epochs", 200, 200, EXAMPLES).reshape(-1, EXAMPLES)
    ranks = orders[:, :5].argsort(axis=1) @ 5 ** np.arange(5)
    _, counts = np.unique(ranks, return_counts=True)
    assert counts.size == 120
    assert chi_squared(counts) > SINGLE


def label_errors():
    """One example, x = 1, y = 0: a step of plain SGD of rate 1 goes to the mean of three errors."""
    ensemble = LinearRegressionEnsemble([[1.0]], [0.0], 0.5, replicas=20_000, seed=2)
    hyper = sgd.Hyperparameters(1.0, batch_size=3)
    run = ensemble.simulate(hyper, range(1, 9), rule=sgd.plain_sgd())
    return run.states[..., 0, 0] / (0.5 / np.sqrt(3))


def test_label_errors_are_gaussian():
    assert kstest(label_errors().ravel(), "norm").pvalue > SINGLE


def test_label_errors_have_nothing_in_common():
    """Not of updates, of which some share a radius, nor of replicas; nor have their squares."""
    errors = label_errors()
    for x in (errors, (errors**2 - 1) / np.sqrt(2)):
        updates, replicas = x.T @ x, (x[1:] * x[:-1]).sum()
        off_diagonal = updates[np.triu_indices(len(updates), 1)]
        assert chi2.sf((off_diagonal**2).sum() / len(x), off_diagonal.size) > SINGLE
        assert chi2.sf(replicas**2 / x[1:].size, 1) > SINGLE


def t_values(estimate, expected):
    value, error = estimate
    return ((value - expected) / error).ravel()


def critical(replicas):
    return student.ppf(1 - SINGLE / 2, replicas - 1)


@cache
def regression(rule):
    rng = np.random.default_rng(8)
    inputs, replicas, steps = rng.normal(size=(30, 2)), 20_000, [1, 6, 60]
    targets = inputs @ [1.0, -0.5] + rng.normal(size=30)
    problem = sgd.FiniteDataset(inputs, targets)
    hyper = hyper_of(rule, batch=2, rate=0.06)
    start = np.array([0.5, -0.5])
    ensemble = LinearRegressionEnsemble(inputs, targets, replicas=replicas, seed=4)
    origin = problem.minimum(hyper.weight_decay)
    run = ensemble.simulate(hyper, steps, origin + start, rule=rule_of(rule))
    law = problem.moments(hyper, steps, start, rule=rule_of(rule))
    return run, law, origin, critical(replicas)


@pytest.mark.parametrize("rule", ["plain_sgd", "heavy_ball", "nesterov"])
def test_moments_are_those_of_the_data_set(rule):
    """The whole law with replacement, multiplicative noise included."""
    run, law, origin, limit = regression(rule)
    mean = np.swapaxes(law.mean.reshape(3, 2, 2), 1, 2)
    about = mean + np.stack([origin, 0 * origin], axis=-1)
    blocks = np.einsum("tsiui->tisu", law.covariance.reshape(3, 2, 2, 2, 2))
    positions = run.mean().value[..., 0] - about[..., 0], run.mean().standard_error[..., 0]
    assert np.abs(t_values(positions, 0)).max() < limit
    moments = run.second_moments(about)
    own = [(0, 0), (1, 1)]
    seen = [t_values([part[..., i, j] for part in moments], blocks[..., i, j]) for i, j in own]
    assert np.abs(seen).max() < limit
    assert np.abs(t_values(run.displacement(), law.displacement)).max() < limit


CURVATURES, STEPS = np.array([4.0, 0.4]), [1, 5, 12, 40]


@cache
def shared_hessian(sampling):
    forces = np.random.default_rng(6).normal(size=(EXAMPLES, 2))
    forces -= forces.mean(axis=0)
    hyper = sgd.Hyperparameters(0.1, 0.7, BATCH, 0.05, EXAMPLES)
    ensemble = QuadraticEnsemble(CURVATURES, forces, replicas=20_000, seed=9)
    run = ensemble.simulate(hyper, STEPS, [0.3, -0.2], sampling=sampling)
    spectrum = sgd.Spectrum(CURVATURES, noise_variances=(forces**2).mean(axis=0))
    return run, sgd.Predictor(hyper, spectrum, sampling=sampling), critical(20_000)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_moments_are_those_of_the_predictor(sampling):
    """Additive noise, 11 examples in batches of 3: every epoch drops two."""
    run, model, limit = shared_hessian(sampling)
    mean, covariance = model.mean(STEPS, [0.3, -0.2]), model.covariance(STEPS)
    assert np.abs(t_values(run.mean(), mean)).max() < limit
    assert np.abs(t_values(run.second_moments(mean), covariance)).max() < limit
    moved = model.displacement(STEPS, position=np.array([0.3, -0.2]))
    assert np.abs(t_values(run.displacement(), moved)).max() < limit


def test_the_ensemble_can_tell_the_samplings_apart():
    run, _, limit = shared_hessian("epochs")
    for sampling in ("with_replacement", "fixed_order"):
        model = shared_hessian(sampling)[1]
        moments = run.second_moments(model.mean(STEPS, [0.3, -0.2]))
        assert np.abs(t_values(moments, model.covariance(STEPS))).max() > limit


# -- input ------------------------------------------------------------------------------------

HYPER = sgd.Hyperparameters(0.1, 0.5, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ({"seed": -1}, {}, r"seed = -1.*2⁶⁴"),
        ({"seed": 2**64}, {}, r"seed = .*2⁶⁴"),
        ({"seed": 1.0}, {}, r"seed = 1.0"),
        ({"seed": True}, {}, r"seed = True"),
        ({"replicas": 0}, {}, r"replicas = 0.*from 1"),
        ({"replicas": None}, {}, r"replicas = None.*from 1"),
        ({"replicas": 2.5}, {}, r"replicas = 2.5.*from 1"),
        ({"replicas": float("nan")}, {}, r"replicas = nan.*from 1"),
        ({"label_noise": np.inf}, {}, "label_noise = inf"),
        ({}, {"steps": np.array([3, 2], np.uint64)}, r"steps = .*ascending"),
        ({"inputs": [1.0]}, {}, r"inputs has shape \(1,\)"),
        ({"inputs": [[np.nan], [1.0], [1.0]]}, {}, "inputs holds numbers that are not finite"),
        ({"targets": [1.0]}, {}, "inputs, targets have shapes"),
        ({"label_noise": -1.0}, {}, "label_noise = -1"),
        ({}, {"steps": [3, 2]}, r"steps = \[3, 2\].*ascending"),
        ({}, {"steps": 1.5}, r"steps = 1.5"),
        ({}, {"first_step": 11}, "from first_step = 11"),
        ({}, {"sampling": "shuffled"}, "sampling = 'shuffled'.*epochs"),
        ({}, {"position": [1.0, 2.0]}, r"position has shape \(2,\)"),
        ({}, {"velocity": np.inf}, "velocity = inf.*finite"),
        ({}, {"directions": [[1.0], [1.0]]}, r"directions has shape \(2, 1\)"),
        ({}, {"hyperparameters": sgd.Hyperparameters(0.1, batch_size=2.5)}, "batch_size = 2.5"),
        (
            {},
            {"hyperparameters": sgd.Hyperparameters(0.1, batch_size=4), "sampling": "epochs"},
            "batch_size = 4.*from 1 to 3",
        ),
        (
            {},
            {"hyperparameters": sgd.Hyperparameters(0.1, dataset_size=5)},
            "dataset_size = 5: there are 3",
        ),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    arguments = {
        "inputs": [[1.0], [2.0], [3.0]],
        "targets": [1.0, 0.0, 1.0],
        "replicas": 2,
    } | arguments
    options = {"hyperparameters": HYPER, "steps": 10} | options
    with pytest.raises(ValueError, match=message):
        LinearRegressionEnsemble(**arguments).simulate(**options)


def test_whole_numbers_of_any_kind_are_taken():
    given = QuadraticEnsemble([1.0], [[1.0]], replicas=np.float64(3), seed=np.uint64(2**64 - 1))
    plain = QuadraticEnsemble([1.0], [[1.0]], replicas=3, seed=2**64 - 1)
    runs = [ensemble.simulate(HYPER, 5).states for ensemble in (given, plain)]
    assert np.array_equal(*runs)


def test_one_replica_has_no_standard_error():
    run = QuadraticEnsemble([1.0], [[1.0]], replicas=1).simulate(HYPER, 1)
    with pytest.raises(ValueError, match="replicas = 1"):
        run.mean()
