"""The record of a training run, against a loop that is written out."""

import numpy as np
import pytest
import torch

from validation.data import Regression
from validation.trajectories import Directions, Settings, Training

SETTINGS = Settings(learning_rate=0.07, momentum=0.8, batch_size=5, weight_decay=0.02)


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    return Regression("small", generator.normal(size=(30, 3)), generator.normal(size=(30, 2)))


def plain(dimension, outputs):
    return Directions(np.eye(dimension), np.zeros((dimension, outputs)))


def by_hand(problem, settings, replicas, seed, updates):
    """The heavy-ball rule v' = βv − g, θ' = θ + ηv', from rest, on the same batches."""
    generator = torch.Generator().manual_seed(seed)
    theta = np.zeros((replicas, 3, 2))
    v = np.zeros_like(theta)
    states = [(theta, v)]
    for _ in range(updates):
        batch = torch.randint(30, (replicas, settings.batch_size), generator=generator).numpy()
        x, y = problem.features[batch], problem.targets[batch]
        gradient = x.transpose(0, 2, 1) @ (x @ theta - y) / settings.batch_size
        v = settings.momentum * v - gradient - settings.weight_decay * theta
        theta = theta + settings.learning_rate * v
        states.append((theta, v))
    return np.array(states)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_records_positions_and_velocities_of_the_rule(problem, momentum):
    settings = Settings(0.07, momentum, 5, 0.02)
    segment = Training(problem, settings, replicas=4, seed=11).record(40, plain(3, 2))
    expected = by_hand(problem, settings, 4, 11, 40)
    for found, states in (
        (segment.positions, expected[:, 0]),
        (segment.velocities, expected[:, 1]),
    ):
        np.testing.assert_allclose(found.numpy(), states.transpose(1, 2, 0, 3), atol=1e-13)


def test_segments_follow_one_another(problem):
    first, second = Training(problem, SETTINGS, replicas=2, seed=3).segments(2, 10, plain(3, 2))
    whole = Training(problem, SETTINGS, replicas=2, seed=3).record(20, plain(3, 2))
    joined = torch.cat([first.positions, second.positions[:, :, 1:]], dim=2)
    assert torch.equal(joined, whole.positions)


def test_projects_on_directions_from_their_origin(problem):
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    origin = np.random.default_rng(2).normal(size=(3, 2))
    whole = Training(problem, SETTINGS, replicas=2, seed=3).record(5, plain(3, 2))
    turned = Training(problem, SETTINGS, replicas=2, seed=3).record(5, Directions(rotation, origin))
    expected = np.einsum("rdtm,di->ritm", whole.positions.numpy() - origin[:, None], rotation)
    np.testing.assert_allclose(turned.positions.numpy(), expected, atol=1e-14)


def test_reports_every_update(problem):
    done = []
    training = Training(problem, SETTINGS, replicas=2, seed=3, progress=done.append)
    training.run(7)
    training.record(5, plain(3, 2))
    assert sum(done) == 12
