"""Curvature and noise of a regression, against autograd and brute force."""

import numpy as np
import pytest
import torch

from validation.curvature import geometry
from validation.data import PROBLEMS, Regression

WEIGHT_DECAY = 0.03


def small_problem(outputs=2):
    generator = np.random.default_rng(3)
    return Regression("small", generator.normal(size=(40, 4)), generator.normal(size=(40, outputs)))


def per_example_gradients(problem, weights):
    """Gradient of ½|x_iᵀθ − y_i|² of every example, (N, d, m), by autograd."""
    gradients = []
    for x, y in zip(problem.features, problem.targets, strict=True):
        theta = torch.tensor(weights, requires_grad=True)
        (0.5 * (torch.tensor(x) @ theta - torch.tensor(y)).square().sum()).backward()
        gradients.append(theta.grad.numpy())
    return np.array(gradients)


def covariance_in_eigenbasis(gradients, vectors, output):
    projected = gradients[:, :, output] @ vectors
    return np.cov(projected.T, bias=True)


def test_eigenpairs_are_those_of_the_loss():
    problem = small_problem(outputs=1)
    found = geometry(problem, WEIGHT_DECAY)

    def loss(theta):
        errors = torch.tensor(problem.features) @ theta - torch.tensor(problem.targets[:, 0])
        return 0.5 * errors.square().mean()

    hessian = torch.autograd.functional.hessian(loss, torch.zeros(4, dtype=torch.float64)).numpy()
    rebuilt = found.vectors @ np.diag(found.eigenvalues) @ found.vectors.T
    np.testing.assert_allclose(rebuilt, hessian, atol=1e-13)


def test_minimum_has_no_regularised_gradient():
    problem = small_problem()
    found = geometry(problem, WEIGHT_DECAY)
    gradient = per_example_gradients(problem, found.minimum).mean(axis=0)
    np.testing.assert_allclose(gradient + WEIGHT_DECAY * found.minimum, 0.0, atol=1e-13)


@pytest.mark.parametrize("output", [0, 1])
def test_noise_is_the_covariance_of_autograd_gradients(output):
    problem = small_problem()
    found = geometry(problem, WEIGHT_DECAY)
    gradients = per_example_gradients(problem, found.minimum)
    expected = covariance_in_eigenbasis(gradients, found.vectors, output)
    np.testing.assert_allclose(found.noise[output], expected, atol=1e-13)


def test_noise_shape_vanishes_for_noise_proportional_to_the_hessian():
    found = geometry(small_problem(), WEIGHT_DECAY)
    proportional = np.broadcast_to(np.diag(found.eigenvalues), found.noise.shape)
    shape = type(found)(
        found.eigenvalues, found.vectors, found.minimum, 0.7 * proportional
    ).noise_shape()
    assert shape.scale == pytest.approx(1.4)
    assert shape.distance == pytest.approx(0.0, abs=1e-14)
    assert shape.commutator == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize(
    ("name", "shape"), [("diabetes", (442, 10, 1)), ("digits", (1797, 62, 10))]
)
def test_data_sets_have_the_shapes_the_documentation_says(name, shape):
    problem = PROBLEMS[name]()
    assert (*problem.features.shape, problem.targets.shape[1]) == shape
    assert problem.features.std(axis=0)[:-1].min() > 0
