"""What is measured where a record begins, against matrices and derivatives written down."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from test_network_curvature import LOSSES, of_flat, problem, written_down
from torch.func import hessian, jacrev

import sgdtheory as sgd
from validation import single_examples
from validation.data import Examples, examples
from validation.example_curvatures import (
    curvature_spread,
    gauss_newton_squares,
    total_curvature_spread,
)
from validation.example_gradients import gradient_noise
from validation.experiments import Data, Experiment, Loss, Model, Optimizer, Record, Sampler
from validation.forward_mode import begin_forward_mode
from validation.lanczos import deflated, vector_quadrature
from validation.linearized_training import (
    linearized_displacement,
    output_products,
    output_residuals,
)
from validation.losses import loss
from validation.measured_curvature import mean_square_output
from validation.models import model
from validation.network_curvature import loss_curvature, top_eigenpairs
from validation.noise_induced_force import direction_sum, full_gradient, trace_gradient
from validation.past_convergence.settling import settling_noise
from validation.recorded_noise import require_the_same
from validation.torch_training import Training

begin_forward_mode()


def hessians_one_by_one(loss_name):
    network, inputs, targets, _ = problem(loss_name)
    outputs, theta = of_flat(network, lambda f: f)
    return np.stack(
        [
            hessian(lambda t, x=x, y=y: loss(loss_name)(outputs(t, x[None]), y[None]))(
                theta
            ).numpy()
            for x, y in zip(inputs, targets, strict=True)
        ]
    )


@pytest.mark.parametrize("loss_name", LOSSES)
def test_spread_of_curvatures_is_that_of_hessians_one_by_one(loss_name):
    network, _, _, batches = problem(loss_name)
    each = hessians_one_by_one(loss_name)
    mean = each.mean(axis=0)
    spread = np.einsum("nij,njk->ik", each, each) / len(each) - mean @ mean
    directions = np.random.default_rng(0).normal(size=(len(mean), 3))
    found = curvature_spread(network, loss_name, batches, directions)
    np.testing.assert_allclose(found, np.einsum("ik,ij,jk->k", directions, spread, directions))
    whole = total_curvature_spread(network, loss_name, batches, probes=200, seed=1)
    assert abs(whole.value - np.trace(spread)) < 4 * whole.standard_error


@pytest.mark.parametrize("together", [1, 2**28])
def test_squares_of_gauss_newton_are_those_of_matrices_one_by_one(together, monkeypatch):
    monkeypatch.setattr(single_examples, "_TOGETHER", together)
    network, inputs, _, batches = problem("half_squared_error")
    outputs, theta = of_flat(network, lambda f: f)
    jacobians = jacrev(lambda t: outputs(t, inputs))(theta).numpy()
    each = np.einsum("nip,niq->npq", jacobians, jacobians)
    directions = np.random.default_rng(4).normal(size=(len(theta), 3))
    found = gauss_newton_squares(network, batches, directions)
    np.testing.assert_allclose(found.along, ((each @ directions) ** 2).sum(axis=1).mean(axis=0))
    assert found.trace == pytest.approx(each.trace(axis1=1, axis2=2).mean())
    assert found.total == pytest.approx((each**2).sum(axis=(1, 2)).mean())
    none = gauss_newton_squares(network, batches, directions[:, :0])
    assert none.along.shape == (0,)


def test_gradient_of_the_trace_is_the_derivative_of_the_trace():
    network, inputs, targets, batches = problem("half_squared_error")
    outputs, theta = of_flat(network, lambda f: f)

    def trace(t):
        return hessian(lambda u: loss("half_squared_error")(outputs(u, inputs), targets))(t).trace()

    exact = torch.func.grad(trace)(theta).numpy()
    before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(len(theta), len(theta))))[0]
    found = trace_gradient(network, "half_squared_error", batches, basis, 1e-3)
    after = torch.nn.utils.parameters_to_vector(network.parameters())
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    np.testing.assert_allclose(found, exact, atol=1e-4 * np.abs(exact).max())
    parts = [
        trace_gradient(network, "half_squared_error", batches, part, 1e-3)
        for part in np.split(basis, [7], axis=1)
    ]
    np.testing.assert_allclose(sum(parts), found, atol=1e-6)
    with pytest.raises(ValueError, match="in float64"):
        trace_gradient(network.float(), "half_squared_error", batches, basis, 1e-3)


def test_full_gradient_is_that_of_the_mean_over_unequal_batches():
    network, inputs, targets, batches = problem("cross_entropy")
    whole = loss("cross_entropy")(network(inputs), targets)
    expected = torch.cat([g.ravel() for g in torch.autograd.grad(whole, network.parameters())])
    torch.testing.assert_close(full_gradient(network, "cross_entropy", batches), expected)


def test_a_vectors_measure_integrates_functions_of_the_matrix():
    network, _, _, batches = problem("half_squared_error")
    operator = loss_curvature("gauss_newton", network, "half_squared_error", batches)
    matrix = written_down("gauss_newton", "half_squared_error")
    vector = np.random.default_rng(3).normal(size=len(matrix))
    nodes, weights = vector_quadrature(operator, vector, 43)
    values, basis = np.linalg.eigh(matrix)
    expected = (np.exp(-values) * (basis.T @ vector) ** 2).sum()
    assert np.exp(-nodes) @ weights == pytest.approx(expected, rel=1e-8)
    assert vector_quadrature(operator, 0 * vector, 5)[1].sum() == 0


def test_deflation_leaves_all_other_eigenvalues():
    network, _, _, batches = problem("half_squared_error")
    operator = loss_curvature("gauss_newton", network, "half_squared_error", batches)
    pairs = top_eigenpairs(operator, 6, tolerance=1e-12)
    left = deflated(operator, pairs.vectors) @ np.eye(operator.shape[0])
    expected = np.sort(np.linalg.eigvalsh(written_down("gauss_newton", "half_squared_error")))
    found = np.sort(np.linalg.eigvalsh(left))
    np.testing.assert_allclose(found[-10:], expected[-16:-6], atol=1e-9)


def test_directions_are_summed_in_units_of_their_lengths():
    np.testing.assert_allclose(direction_sum([3.0, 0.0], [0.0, 5.0]), [1.0, 1.0])
    np.testing.assert_allclose(direction_sum(np.array([0.0, 2.0]), np.zeros(2)), [0.0, 1.0])


def declared(name, **options):
    return Experiment(
        "small",
        Model(name, options, "float64"),
        Data("digits_images", {"size": 8, "examples": 40}, label_noise=0.3),
        Sampler("with_replacement", 8),
        Optimizer(0.01, 0.9),
        Record(updates=40),
        Loss("half_squared_error"),
    )


def path_of(training, updates):
    start = torch.nn.utils.parameters_to_vector(training.parameters).detach().clone()
    found = []
    for _ in range(updates):
        training.update()
        now = torch.nn.utils.parameters_to_vector(training.parameters).detach()
        found.append(float((now - start).square().sum()))
    return np.array(found)


def test_a_linear_network_is_its_own_linearization_step_by_step():
    experiment = declared("mlp", depth=0)
    training = Training(experiment, 5, torch.device("cpu"))
    training.model.eval()
    nothing = np.empty((sum(p.numel() for p in training.parameters), 0))
    gram, residual = output_products(training, nothing).gram, output_residuals(training)
    steps = np.arange(1, 41)
    found = linearized_displacement(gram, residual, experiment, [5], steps)[0]
    np.testing.assert_allclose(found, path_of(training, 40), rtol=2e-5)


def test_noise_of_the_examples_fades_as_a_linear_network_learns_them(tmp_path):
    """Trained by all examples at once it is the mean, and its noise is measured on the way."""
    declared_once = declared("mlp", depth=0)
    experiment = replace(
        declared_once,
        data=replace(declared_once.data, label_noise=0.0),
        sampler=Sampler("fixed_order", 40),
    )
    training = Training(experiment, 5, torch.device("cpu"))
    training.model.eval()
    size = sum(p.numel() for p in training.parameters)
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(size, 3)))[0]
    products, residual = output_products(training, directions), output_residuals(training)
    values, modes = np.linalg.eigh(products.gram)
    path = tmp_path / "outputs.npz"
    np.savez(path, gram=products.gram, along=products.along, values=values, modes=modes)
    settings = sgd.Hyperparameters(0.01, 0.9, 40)
    measured = []
    for step in range(201):
        if step in (0, 20, 200):
            noise = gradient_noise(
                training.model, "half_squared_error", [training.examples], directions
            )
            along, total = settling_noise(path, residual, settings, np.array([step]))
            np.testing.assert_allclose(along, noise.along, rtol=1e-7)
            assert total == pytest.approx(noise.total, rel=1e-7)
            measured.append(total)
        training.update()
    assert measured[2] < 0.5 * measured[0]
    along, total = settling_noise(path, residual, settings, np.array([0, 20, 200]))
    assert total == pytest.approx(np.mean(measured), rel=1e-7)


def test_products_are_those_of_the_outputs_gradients():
    training = Training(declared("mlp", depth=1, width=3), 0, torch.device("cpu"))
    outputs, theta = of_flat(training.model, lambda f: f)
    jacobian = jacrev(lambda t: outputs(t, training.examples[0]))(theta).flatten(0, 1).numpy()
    directions = np.random.default_rng(0).normal(size=(jacobian.shape[1], 3))
    found = output_products(training, directions)
    np.testing.assert_allclose(found.gram, jacobian @ jacobian.T, rtol=1e-10)
    np.testing.assert_allclose(found.along, jacobian @ directions, rtol=1e-10)


def test_targets_can_be_wrong_once_and_for_all():
    def targets(**options):
        data = Data("digits_images", {"size": 8, "examples": 100, **options})
        return examples(data, Path(), torch.float64).targets

    errors = targets(label_errors=0.5) - targets()
    torch.testing.assert_close(targets(label_errors=0.5), targets(label_errors=0.5))
    assert errors.std() == pytest.approx(0.5, rel=0.1)
    with pytest.raises(ValueError, match="has 1797 examples"):
        examples(Data("digits_images", {"examples": 2000}), Path(), torch.float32)


def test_vgg_takes_images_and_says_which():
    data = examples(Data("digits_images", {"size": 8, "examples": 4}), Path(), torch.float32)
    network = model(Model("vgg", {"width": 4}), data, 0, Path())
    assert network(data.inputs).shape == (4, 10)
    with pytest.raises(ValueError, match="no more blocks than the images can be halved"):
        model(Model("vgg", {"blocks": 4}), data, 0, Path())


def test_images_of_a_folder_and_what_is_no_such_folder(tmp_path):
    source = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            pixels = source.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    options = {"path": "images", "examples": 4, "size": 14}
    found = examples(Data("imagenet", options), tmp_path, torch.float32)
    assert found.inputs.shape == (4, 3, 14, 14)
    assert found.targets.sum(dim=0).tolist() == [2, 2]
    with pytest.raises(ValueError, match="has 6 images"):
        examples(Data("imagenet", {**options, "examples": 7}), tmp_path, torch.float32)
    with pytest.raises(ValueError, match="holds no classes of images"):
        examples(Data("imagenet", {**options, "path": "no"}), tmp_path, torch.float32)
    with pytest.raises(ValueError, match="does not hold CIFAR-10"):
        examples(Data("cifar10", {"path": "images"}), tmp_path, torch.float32)


def test_cifar10_is_standardised_by_channel(tmp_path, monkeypatch):
    class Downloaded:
        """What torchvision returns for a folder that holds it."""

        def __init__(self, root, train, download):
            assert (Path(root), train, download) == (tmp_path, True, False)
            self.data = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
            self.targets = [i % 10 for i in range(50)]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Downloaded)
    data = Data("cifar10", {"path": ".", "examples": 20, "size": 16})
    found = examples(data, tmp_path, torch.float32)
    assert found.inputs.shape == (20, 3, 16, 16)
    torch.testing.assert_close(found.inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.inputs.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-5, rtol=0)
    assert found.targets.argmax(dim=1).tolist() == [i % 10 for i in range(20)]


def test_weights_that_torchvision_saves_are_taken(tmp_path):
    saved = torchvision.models.resnet18(num_classes=7).state_dict()
    torch.save(saved, tmp_path / "pretrained.pth")
    images = Examples("seven", torch.zeros(2, 3, 32, 32), torch.zeros(2, 7))
    options = {"stem": "imagenet", "batch_norm": "evaluation"}
    spec = Model("resnet18", options, weights="pretrained.pth")
    found = model(spec, images, 0, tmp_path).state_dict()
    torch.testing.assert_close(found, saved)
    (tmp_path / "pretrained.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="cannot be read as safetensors, nor"):
        model(spec, images, 0, tmp_path)


def test_statistics_frozen_anew_make_another_network(tmp_path):
    first = declared("resnet18", width=1, batch_norm="frozen")
    training = Training(first, 0, torch.device("cpu"))
    training.update()
    training.model.eval()
    inputs = [training.examples]
    told = {"mean_square_output": mean_square_output(training, inputs)}
    (tmp_path / "curvature.json").write_text(json.dumps(told))
    save_file(training.model.state_dict(), tmp_path / "weights.safetensors")
    weights = {"model.weights": str(tmp_path / "weights.safetensors")}
    kept = first.varied({**weights, "model.options.batch_norm": "evaluation"})
    require_the_same(Training(kept, 0, torch.device("cpu")), inputs, tmp_path)
    with pytest.raises(ValueError, match='declare batch_norm = "evaluation"'):
        require_the_same(Training(first.varied(weights), 0, torch.device("cpu")), inputs, tmp_path)
