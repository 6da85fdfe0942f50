"""Curvature and gradient noise of networks, against matrices that are written down."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator
from torch.func import functional_call, hessian, jacrev

import sgdtheory as sgd
from sgdtheory.spectrum_files import read_spectrum
from validation.__main__ import main
from validation.data import Examples
from validation.example_gradients import gradient_noise
from validation.experiments import Cell, read_experiment
from validation.lanczos import lanczos_quadrature
from validation.losses import loss
from validation.network_curvature import KINDS, change, loss_curvature, top_eigenpairs, trace
from validation.residual_network import resnet18

LOSSES = ("half_squared_error", "cross_entropy")


def problem(loss_name):
    """A network of 43 parameters, 17 examples in four batches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)
        ).double()
        inputs = torch.randn(17, 4, dtype=torch.float64)
        targets = torch.randn(17, 3, dtype=torch.float64)
    if loss_name == "cross_entropy":
        targets = torch.nn.functional.one_hot(targets.argmax(dim=1), 3).double()
    return model, inputs, targets, list(zip(inputs.split(5), targets.split(5), strict=True))


def of_flat(model, function):
    """A function of the flattened parameters, and where they are."""

    def outputs(theta, inputs):
        named, first = {}, 0
        for name, value in model.named_parameters():
            named[name] = theta[first : first + value.numel()].view(value.shape)
            first += value.numel()
        return function(functional_call(model, named, (inputs,)))

    return outputs, torch.cat([p.detach().ravel() for p in model.parameters()])


def written_down(kind, loss_name):
    model, inputs, targets, _ = problem(loss_name)
    outputs, theta = of_flat(model, lambda f: f)
    if kind == "hessian":
        return hessian(lambda t: loss(loss_name)(outputs(t, inputs), targets))(theta).numpy()
    total = np.zeros((len(theta), len(theta)))
    for x, y in zip(inputs, targets, strict=True):
        slopes = jacrev(lambda t, x=x: outputs(t, x[None])[0])(theta)
        curved = hessian(lambda f, y=y: loss(loss_name)(f[None], y[None]))(
            outputs(theta, x[None])[0]
        )
        total += (slopes.T @ curved @ slopes).numpy() / len(inputs)
    return total


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_matrix(kind, loss_name):
    model, _, _, batches = problem(loss_name)
    operator = loss_curvature(kind, model, loss_name, batches)
    found = operator @ np.eye(operator.shape[0])
    np.testing.assert_allclose(found, written_down(kind, loss_name), atol=1e-12)


def test_eigenpairs_are_the_largest_with_their_residuals():
    model, _, _, batches = problem("cross_entropy")
    operator = loss_curvature("hessian", model, "cross_entropy", batches)
    found = top_eigenpairs(operator, 6, seed=1)
    matrix = written_down("hessian", "cross_entropy")
    expected = np.linalg.eigvalsh(matrix)[::-1][:6]
    assert (np.abs(found.values - expected) <= found.residuals + 1e-10).all()
    left = np.linalg.norm(matrix @ found.vectors - found.vectors * found.values, axis=0)
    np.testing.assert_allclose(found.residuals, left, atol=1e-10)
    assert (found.residuals < 1e-3 * found.values).all()
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(6), atol=1e-10)
    with pytest.raises(ValueError, match="count = 43: give at least 1, and fewer than 43"):
        top_eigenpairs(operator, 43)


def test_the_error_of_a_trace_is_its_scatter():
    """2000 probes of a known matrix; then 300 traces of 16 probes, t-distributed."""
    source = np.random.default_rng(3)
    matrix = source.normal(size=(30, 30))
    matrix = matrix @ matrix.T
    operator = aslinearoperator(matrix)
    found = trace(operator, probes=2000, seed=2)
    assert abs(found.value - np.trace(matrix)) < 4 * found.standard_error
    several = [trace(operator, probes=16, seed=seed) for seed in range(300)]
    held = sum(low <= np.trace(matrix) <= high for low, high in (one.interval() for one in several))
    # 95 %, within four standard errors of a count of 300.
    assert abs(held - 285) < 4 * np.sqrt(300 * 0.95 * 0.05)


def test_quadrature_has_the_moments_of_the_matrix():
    """Exact up to degree 2m − 1 for each probe, and a Krylov space may end early."""
    source = np.random.default_rng(4)
    basis = np.linalg.qr(source.normal(size=(40, 40)))[0]
    eigenvalues = np.repeat([5.0, 1.0, 0.25, 0.01], 10)
    matrix = basis * eigenvalues @ basis.T
    found = lanczos_quadrature(aslinearoperator(matrix), steps=12, probes=3, seed=0)
    assert found.ritz_values.shape == found.weights.shape == (3, 12)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    for weights, ritz in zip(found.weights, found.ritz_values, strict=True):
        near = np.abs(ritz[weights > 1e-12, None] - [5.0, 1.0, 0.25, 0.01]).min(axis=1)
        assert near.max() < 1e-10
    probe = np.random.default_rng(np.random.SeedSequence(0).spawn(3)[0]).standard_normal(40)
    probe /= np.linalg.norm(probe)
    for power in range(1, 6):
        moment = (found.weights[0] * found.ritz_values[0] ** power).sum()
        expected = probe @ np.linalg.matrix_power(matrix, power) @ probe
        assert moment == pytest.approx(expected, rel=1e-10)
    spectrum = sgd.Spectrum.from_lanczos(
        found.ritz_values, found.weights, found.dimension, noise_scale=1.0, negative="drop"
    )
    assert spectrum is not None


@pytest.mark.parametrize("loss_name", LOSSES)
def test_noise_is_the_covariance_of_gradients_one_by_one(loss_name):
    model, inputs, targets, batches = problem(loss_name)
    directions = np.linalg.qr(np.random.default_rng(5).normal(size=(43, 4)))[0]
    rows = []
    for x, y in zip(inputs, targets, strict=True):
        model.zero_grad()
        loss(loss_name)(model(x[None]), y[None]).backward()
        rows.append(torch.cat([p.grad.ravel() for p in model.parameters()]).numpy())
    covariance = np.cov(np.array(rows).T, ddof=0)
    found = gradient_noise(model, loss_name, batches, directions)
    along = np.einsum("pk,pq,qk->k", directions, covariance, directions)
    np.testing.assert_allclose(found.along, along, rtol=1e-10)
    assert found.total == pytest.approx(np.trace(covariance), rel=1e-10)
    assert found.mean_square == pytest.approx(np.sum(np.mean(rows, axis=0) ** 2), rel=1e-8)
    assert found.examples == 17


def test_batches_that_couple_examples_are_refused_by_name():
    images = Examples("images", torch.randn(6, 3, 8, 8), torch.eye(3).repeat(2, 1))
    model = resnet18(images, width=2, batch_norm="training")
    batches = [(images.inputs, images.targets)]
    with pytest.raises(ValueError, match=r"bn1, .* normalize by the statistics of a batch"):
        loss_curvature("hessian", model, "cross_entropy", batches)
    assert loss_curvature("hessian", model.eval(), "cross_entropy", batches).shape[0] > 0


def test_change_is_nothing_for_itself_and_a_right_angle_for_others():
    diagonal = np.diag([4.0, 3.0, 2.0, 1.0, 0.5, 0.25])
    before = top_eigenpairs(aslinearoperator(diagonal), 2)
    same = change(before, top_eigenpairs(aslinearoperator(2 * diagonal), 2, seed=9))
    np.testing.assert_allclose(same.relative, 1)
    np.testing.assert_allclose(same.overlaps, 1)
    assert same.angle < 1e-6
    turned = change(before, top_eigenpairs(aslinearoperator(diagonal[::-1, ::-1]), 2))
    assert turned.angle == pytest.approx(np.pi / 2)


TRAINED = """
name = "small"

[model]
name = "mlp"
options = { width = 4, depth = 1 }
dtype = "float64"

[data]
name = "diabetes"

[sampler]
name = "epochs"
batch_size = 34

[optimizer]
learning_rate = 0.05
momentum = 0.9

[record]
updates = 200
"""


def test_from_a_run_to_directions_weights_and_a_spectrum(tmp_path, capsys):
    path, runs = tmp_path / "small.toml", tmp_path / "runs"
    path.write_text(TRAINED)
    options = ["--root", str(runs), "--effort.eigenpairs", "5", "--effort.steps", "20"]
    with pytest.raises(SystemExit, match="is not a complete training"):
        main(["curvature", str(path), *options])
    main(["run", str(path), "--root", str(runs)])
    capsys.readouterr()
    main(["curvature", str(path), *options, "--output", str(tmp_path / "found")])
    shown = capsys.readouterr().out
    told = json.loads((tmp_path / "found" / "curvature.json").read_text())
    assert f"trace {told['trace']:.5g}" in shown
    assert told["examples"] == 442
    # What was found is what the next experiment takes.
    following = TRAINED.replace(
        "updates = 200", "updates = 50\ndirections = 'directions.safetensors'"
    )
    following = following.replace("dtype", "weights = 'weights.safetensors'\ndtype")
    (tmp_path / "found" / "next.toml").write_text(following)
    main(["run", str(tmp_path / "found" / "next.toml"), "--root", str(runs)])
    spectrum = read_spectrum(tmp_path / "found" / "spectrum.npz", negative="drop")
    assert spectrum.noise_scale == pytest.approx(told["noise_total"] / told["trace"])
    experiment = replace(read_experiment(path), seeds=(0,))
    assert (runs / Cell(experiment, 0).folder / "complete.json").exists()


def test_loading_curvlinops_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, _, _, batches = problem("half_squared_error")
        loss_curvature("gauss_newton", model, "half_squared_error", batches)
