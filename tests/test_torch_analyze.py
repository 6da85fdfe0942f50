"""From a torch training to a predictor: NumPy, full Hessians, loops, trained replicas."""

from __future__ import annotations

import copy
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

import sgdtheory as sgd
from sgdtheory.spectra.lanczos_quadrature import LanczosQuadrature
from sgdtheory.torch import analyze, measure

N, D = 48, 4
DTYPES = (torch.float32, torch.float64)


def rounding(dtype):
    return 200 * torch.finfo(dtype).eps


def regression(dtype=torch.float64, seed=0):
    """Inputs of unequal scales, and targets that no weights fit."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((N, D)) * [2.0, 1.0, 0.5, 0.2]
    targets = inputs.sum(1, keepdims=True) + rng.standard_normal((N, 1))
    return (
        inputs,
        targets,
        TensorDataset(torch.tensor(inputs, dtype=dtype), torch.tensor(targets, dtype=dtype)),
    )


def classifier(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)
    data = TensorDataset(torch.randn(30, 3, dtype=dtype), torch.randint(3, (30,)))
    return model, data


def training(model, data, batch=8, **settings):
    """Its loader and its optimizer."""
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)
    return loader, torch.optim.SGD(model.parameters(), **{"lr": 0.1, **settings})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("directions", [1, D])
def test_linear_regression_is_exact(dtype, directions):
    inputs, targets, data = regression(dtype)
    model = nn.Linear(D, 1, bias=False, dtype=dtype)
    loader, optimizer = training(model, data, momentum=0.9, weight_decay=0.1)
    found = measure(
        model, functional.mse_loss, loader, optimizer, directions=directions, tolerance=1e-9
    )

    weights = model.weight.detach().double().numpy().ravel()
    gradients = 2 * (inputs @ weights - targets.ravel())[:, None] * inputs
    values, vectors = np.linalg.eigh(2 * inputs.T @ inputs / N)
    noise = vectors.T @ np.cov(gradients.T, ddof=0) @ vectors
    top = slice(None, -1 - directions, -1)
    close = {"rtol": rounding(dtype), "atol": rounding(dtype) * values[-1]}
    np.testing.assert_allclose(found.eigenvalues, values[top], **close)
    overlaps = vectors[:, top].T @ found.eigenvectors.double().numpy()
    np.testing.assert_allclose(np.abs(overlaps), np.eye(directions), atol=rounding(dtype))
    np.testing.assert_allclose(found.noise, np.diag(noise)[top], rtol=rounding(dtype))
    np.testing.assert_allclose(found.noise_total, np.trace(noise), rtol=rounding(dtype))
    np.testing.assert_allclose(
        found.gradient_norm, np.linalg.norm(gradients.mean(0) + 0.1 * weights), rtol=rounding(dtype)
    )
    assert (found.residuals < 10 * rounding(dtype) * values[-1]).all()
    assert found.eigenvectors.dtype == dtype
    assert not found.noise_error.any()
    assert not found.noise_total_error
    # Lanczos has seen every direction that was left, each by a weight of its own.
    if directions == 1:
        np.testing.assert_allclose(found.rest.ritz_values[0], values[:-1], **close)
        assert found.rest.dimension == D - 1
    else:
        assert found.rest is None
        assert found.trace == pytest.approx((np.sum(values), 0.0), rel=rounding(dtype))
    spectrum = found.spectrum
    assert spectrum.size == pytest.approx(D)
    assert spectrum.total(spectrum.variances) == pytest.approx(np.trace(noise), rel=rounding(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_network_against_its_full_hessian_and_a_loop_over_examples(dtype):
    model, data = classifier(dtype)
    model[0].bias.requires_grad_(False)
    loader, _ = training(model, data)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(named.values(), lr=0.1)
    found = measure(
        model, nn.CrossEntropyLoss(), loader, optimizer, directions=5, probes=10, tolerance=1e-8
    )

    start = torch.cat([p.detach().flatten() for p in named.values()])
    inputs, targets = data.tensors

    def loss(flat):
        parts = flat.split([p.numel() for p in named.values()])
        own = {n: part.view_as(p) for (n, p), part in zip(named.items(), parts, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, own, (inputs,)), targets)

    hessian = torch.func.hessian(loss)(start).double().numpy()
    values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    slack = 20 * rounding(dtype) * values[-1]
    np.testing.assert_allclose(found.eigenvalues, values[:-6:-1], atol=slack)
    own = found.eigenvectors.double().numpy()
    np.testing.assert_allclose(
        found.residuals, np.linalg.norm(hessian @ own - own * found.eigenvalues, axis=0), atol=slack
    )
    gradients = []
    for x, y in zip(inputs, targets, strict=True):
        model.zero_grad()
        functional.cross_entropy(model(x[None]), y[None]).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in named.values()]).double().numpy())
    errors = np.array(gradients) - np.mean(gradients, axis=0)
    np.testing.assert_allclose(found.noise, ((errors @ own) ** 2).mean(0), rtol=rounding(dtype))
    np.testing.assert_allclose(found.noise_total, (errors**2).sum(1).mean(), rtol=rounding(dtype))
    # Of 10 probes the mean is Student's: beyond 7 standard errors once in 10⁴.
    for power in (1, 2, 3):
        estimate = found.rest.estimate(lambda rho, power=power: rho**power)
        assert abs(estimate.value - (values[:-5] ** power).sum()) < 7 * estimate.standard_error
    assert found.trace.value == pytest.approx(values.sum(), abs=7 * found.trace.standard_error)


def test_lanczos_sees_what_is_left_of_a_matrix_and_each_probe_by_its_own_measure():
    rng = np.random.default_rng(3)
    matrix = np.diag([5.0, 3.0, 2.0, 2.0, 1.0, -1.0])
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    matrix = rotation @ matrix @ rotation.T
    beside = np.linalg.eigh(matrix)[1][:, -1:]
    from scipy.sparse.linalg import aslinearoperator

    found = LanczosQuadrature.of_operator(aslinearoperator(matrix), 6, 3, beside=beside)
    # A double eigenvalue is one node, and the Krylov space is exhausted after four.
    np.testing.assert_allclose(found.ritz_values[:, :4], [[-1, 1, 2, 3]] * 3, atol=1e-12)
    assert (found.weights[:, 4:] == 0).all()
    with pytest.raises(ValueError, match="beside has shape"):
        LanczosQuadrature.of_operator(aslinearoperator(matrix), 6, beside=np.eye(6))
    with pytest.raises(ValueError, match="steps = 0"):
        LanczosQuadrature.of_operator(aslinearoperator(matrix), 0)


# -- the prediction, confronted with trainings --------------------------------------------------


def minimum(inputs, targets, decay):
    hessian = 2 * inputs.T @ inputs / N
    return np.linalg.solve(hessian + decay * np.eye(D), 2 * inputs.T @ targets / N).T


def replicas(data, weights, settings, batch, steps, replacement, count=3000):
    """|θ_k − θ_0|² of so many trainings, each with batches of its own, (steps, replicas)."""
    generator = torch.Generator().manual_seed(1)
    inputs, targets = data.tensors
    theta = nn.Parameter(weights.expand(count, 1, D).clone())
    optimizer = torch.optim.SGD([theta], **settings)
    # Torch's very first step is not dampened; a training that goes on has a buffer.
    optimizer.state[theta]["momentum_buffer"] = torch.zeros_like(theta)
    moved = []
    for step in range(steps):
        place = step % (N // batch)
        if place == 0:
            order = torch.rand(count, N, generator=generator).argsort(1)
        chosen = order[:, place * batch : (place + 1) * batch]
        if replacement:
            chosen = torch.randint(N, (count, batch), generator=generator)
        optimizer.zero_grad()
        outputs = (inputs[chosen] * theta).sum(-1, keepdim=True)
        # Each training's loss is a mean; added, each has the gradient of its own.
        ((outputs - targets[chosen]) ** 2).mean((1, 2)).sum().backward()
        optimizer.step()
        moved.append((theta.detach() - weights).square().sum((1, 2)))
    return torch.stack(moved).numpy()


@pytest.mark.parametrize(
    ("settings", "replacement"),
    [
        ({"momentum": 0.7, "weight_decay": 0.2}, False),
        ({"momentum": 0.7, "nesterov": True}, True),
        ({"momentum": 0.5, "dampening": 0.3}, True),
        ({}, True),
    ],
)
def test_trainings_do_what_was_predicted(settings, replacement):
    inputs, targets, data = regression()
    model = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(
            torch.tensor(minimum(inputs, targets, settings.get("weight_decay", 0.0)))
        )
    settings = {"lr": 0.005, **settings}
    sampler = RandomSampler(data, replacement=True) if replacement else None
    loader = DataLoader(data, 8, shuffle=None if replacement else True, sampler=sampler)
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    model_of_it = analyze(model, functional.mse_loss, loader, optimizer)

    moved = replicas(data, model.weight.detach(), settings, 8, 24, replacement)
    steps = np.array([1, 4, 11, 24])
    predicted = model_of_it.displacement(steps, position=0.0)
    measured, error = moved[steps - 1].mean(1), moved[steps - 1].std(1) / np.sqrt(moved.shape[1])
    # Four numbers for each of four trainings: one false alarm in 10⁴.
    assert (np.abs(measured - predicted) < 4.5 * error).all()


# -- what is left as it was ---------------------------------------------------------------------


def everything(model, loader, optimizer):
    """Bits of all that a measurement could have touched."""
    return copy.deepcopy(
        (
            {name: value.clone() for name, value in model.state_dict().items()},
            [None if p.grad is None else p.grad.clone() for p in model.parameters()],
            [module.training for module in model.modules()],
            [p.requires_grad for p in model.parameters()],
            optimizer.state_dict(),
            loader.generator.get_state(),
            torch.get_rng_state(),
            np.random.get_state()[1],
            random.getstate(),
        )
    )


def same(one, other):
    if isinstance(one, torch.Tensor | np.ndarray):
        return bool((one == other).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def normalized(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)
    ).to(dtype)


def test_model_optimizer_loader_and_random_numbers_are_as_before_to_the_bit():
    model = normalized()
    data = TensorDataset(torch.randn(20, 3), torch.randint(2, (20,)))
    loader = DataLoader(
        data, 4, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(5)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for inputs, targets in loader:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    model[0].eval()
    before = everything(model, loader, optimizer)
    options = {"directions": 3, "steps": 5, "examples": 12, "negative": "drop"}
    found = measure(model, functional.cross_entropy, loader, optimizer, evaluation=True, **options)
    assert same(before, everything(model, loader, optimizer))
    # What was measured is what model.eval() measures.
    again = measure(model.eval(), functional.cross_entropy, loader, optimizer, **options)
    np.testing.assert_array_equal(found.eigenvalues, again.eigenvalues)
    # A refusal leaves no trace either.
    model.train()
    before = everything(model, loader, optimizer)
    with pytest.raises(ValueError, match="normalize by a batch's statistics"):
        measure(model, functional.cross_entropy, loader, optimizer)
    assert same(before, everything(model, loader, optimizer))


def test_examples_that_are_left_out_are_accounted_for():
    """Estimates are unbiased, and 60 of them scatter as their standard errors say."""
    _, _, data = regression()
    model = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    loader, optimizer = training(model, data)
    whole = measure(model, functional.mse_loss, loader, optimizer, directions=D)
    totals, errors = [], []
    for seed in range(60):
        part = measure(
            model, functional.mse_loss, loader, optimizer, directions=D, examples=32, seed=seed
        )
        totals.append(part.noise_total)
        errors.append(part.noise_total_error)
    assert part.examples == 32
    scatter = np.std(totals, ddof=1)
    assert abs(np.mean(totals) - whole.noise_total) < 4.5 * scatter / np.sqrt(60)
    assert 0.7 < scatter / np.sqrt(np.mean(np.square(errors))) < 1.4


class Watchful(nn.Linear):
    """As many models do, it looks at its input before it goes on; vmap cannot."""

    def forward(self, x):
        if not bool(torch.isfinite(x).all()):
            raise ValueError
        return super().forward(x)


def test_where_vmap_cannot_the_gradients_are_the_same_one_by_one():
    _, _, data = regression()
    model = Watchful(D, 1, bias=False, dtype=torch.float64)
    plain = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    plain.load_state_dict(model.state_dict())
    loader, optimizer = training(model, data)
    with pytest.warns(UserWarning, match=r"vmap cannot .* data-dependent control flow"):
        found = measure(model, functional.mse_loss, loader, optimizer)
    expected = measure(plain, functional.mse_loss, loader, training(plain, data)[1])
    np.testing.assert_allclose(found.noise, expected.noise, rtol=1e-12)
    assert "one after the other" in found.notes[0]
    assert "one after the other" in found._repr_html_()


# -- what is read, and what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "rule", "parameters"),
    [
        ({}, "heavy ball", {}),
        ({"momentum": 0.9}, "heavy ball", {}),
        ({"momentum": 0.9, "nesterov": True}, "Nesterov", {}),
        ({"momentum": 0.9, "dampening": 0.5}, "dampened", {sgd.symbols.tau: 0.5}),
        ({"dampening": 0.5}, "heavy ball", {}),
    ],
)
def test_the_rule_is_the_optimizers(settings, rule, parameters):
    _, _, data = regression()
    model = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    loader, optimizer = training(model, data, weight_decay=0.25, **settings)
    found = analyze(model, functional.mse_loss, loader, optimizer)
    assert found.rule.name == rule
    assert found.parameters == parameters
    assert found.hyperparameters.settings == {
        "learning_rate": 0.1,
        "momentum": settings.get("momentum", 0.0),
        "batch_size": 8,
        "weight_decay": 0.25,
        "dataset_size": N,
    }


def test_the_sampling_is_the_loaders():
    _, _, data = regression()
    model = nn.Linear(D, 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    weighted = WeightedRandomSampler(torch.ones(N), N)
    for sampling, loader in (
        ("epochs", DataLoader(data, 8, shuffle=True)),
        ("fixed_order", DataLoader(data, 8)),
        ("with_replacement", DataLoader(data, 8, sampler=RandomSampler(data, replacement=True))),
    ):
        assert analyze(model, functional.mse_loss, loader, optimizer).sampling == sampling
    loader = DataLoader(data, 8, sampler=weighted)
    with pytest.raises(ValueError, match="WeightedRandomSampler"):
        analyze(model, functional.mse_loss, loader, optimizer)
    told = analyze(model, functional.mse_loss, loader, optimizer, sampling="with_replacement")
    assert told.sampling == "with_replacement"
    with pytest.raises(ValueError, match="what an epoch remembers"):
        analyze(
            model,
            functional.mse_loss,
            DataLoader(data, 8, shuffle=True),
            optimizer,
            theory="continuous",
        )
    with pytest.warns(UserWarning, match="last batch of an epoch has 3 of 9 examples"):
        found = measure(model, functional.mse_loss, DataLoader(data, 9, shuffle=True), optimizer)
    assert found.hyperparameters.updates_per_epoch == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(
            model,
            functional.mse_loss,
            DataLoader(data, 9, shuffle=True, drop_last=True),
            optimizer,
        )


class Augmented(TensorDataset):
    def __getitem__(self, index):
        inputs, targets = super().__getitem__(index)
        return inputs + torch.rand(()), targets


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield torch.zeros(D), torch.zeros(1)


def refused_optimizers(model):
    first, second = nn.Linear(D, D, dtype=torch.float64), model
    groups = [{"params": first.parameters(), "lr": 0.2}, {"params": second.parameters()}]
    joined = nn.Sequential(first, second)
    return [
        (model, torch.optim.Adam(model.parameters()), "optimizer is a Adam"),
        (joined, torch.optim.SGD(groups, lr=0.1), r"lr = 0.1, 0.2"),
        (model, torch.optim.SGD(model.parameters(), lr=0.1, maximize=True), "maximize=True"),
        (joined, torch.optim.SGD(second.parameters(), lr=0.1), "does not move 0.weight, 0.bias"),
        (second, torch.optim.SGD(joined.parameters(), lr=0.1), "moves 2 parameters that the model"),
        (model, torch.optim.SGD(model.parameters(), lr=0.0), "learning_rate = 0.0"),
        (
            (mixed := nn.Sequential(nn.Linear(D, D), nn.Linear(D, 1).double())),
            torch.optim.SGD(mixed.parameters(), lr=0.1),
            "2 floating types",
        ),
    ]


@pytest.mark.parametrize("case", range(7))
def test_optimizers_that_are_refused(case):
    _, _, data = regression()
    model = nn.Linear(D, 1, dtype=torch.float64)
    given, optimizer, message = refused_optimizers(model)[case]
    with pytest.raises((ValueError, TypeError), match=message):
        analyze(given, functional.mse_loss, DataLoader(data, 8, shuffle=True), optimizer)


def test_loaders_losses_and_models_that_are_refused():
    inputs, targets = (torch.tensor(part) for part in regression()[:2])
    data = TensorDataset(inputs, targets)
    model = nn.Linear(D, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(data, 8, shuffle=True)
    mean = functional.mse_loss
    subset = RandomSampler(data, num_samples=10)
    summed = nn.MSELoss(reduction="sum")
    for loss, given, options, message in (
        (mean, [(inputs, targets)], {}, "give a torch.utils.data.DataLoader"),
        (mean, DataLoader(Stream(), 8), {}, "IterableDataset"),
        (mean, DataLoader(data, batch_size=None), {}, "batch_size = None"),
        (mean, DataLoader(data, 8, sampler=subset), {}, "draws 10 of 48"),
        (mean, DataLoader(Augmented(inputs, targets), 8), {}, "random augmentation"),
        (mean, DataLoader(TensorDataset(inputs), 8), {}, "pairs of tensors"),
        (summed, loader, {}, "a mean over examples"),
        (nn.MSELoss(reduction="none"), loader, {}, "shape"),
        (mean, loader, {"directions": 0}, "directions = 0"),
        (mean, loader, {"examples": 1}, "examples = 1"),
        (mean, loader, {"examples": N + 1}, "examples = 49"),
        (mean, loader, {"sampling": "epoch"}, "sampling = 'epoch'"),
        (mean, loader, {"negative": "ignore"}, "negative = 'ignore'"),
        (mean, loader, {"theory": "quantum"}, "theory = 'quantum'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            analyze(model, loss, given, optimizer, **options)
    with pytest.raises(TypeError, match=r"model = 3: give a torch\.nn\.Module"):
        analyze(3, mean, loader, optimizer)
    # Class weights make the mean one over weights: examples know of one another.
    network, labelled = classifier()
    weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    loader, optimizer = training(network, labelled)
    with pytest.raises(ValueError, match="class weights"):
        analyze(network, weighted, loader, optimizer)


def test_negative_curvature_is_the_callers_to_decide():
    model, data = classifier()
    loader, optimizer = training(model, data, weight_decay=1.0)
    found = measure(model, nn.CrossEntropyLoss(), loader, optimizer, directions=4)
    with pytest.raises(ValueError, match="negative='drop'"):
        found.predictor()
    assert 'predictor(negative="drift") keeps them' in str(found)
    kept = found.predictor(negative="drift").spectrum
    assert kept.trace == pytest.approx(found.trace.value)
    assert kept.total(kept.variances) == pytest.approx(found.noise_total)
    dropped = found.predictor(negative="drop").spectrum
    assert (dropped.eigenvalues >= 0).all()
    assert dropped.negative_tails[0].trace < 0
    assert found.hyperparameters is found.run.hyperparameters
    for shown in (str(found), found._repr_html_()):
        assert "tr Σ" in shown
        assert "Largest 4 of 4 measured directions" in shown


def test_flat_directions_are_zero_and_not_what_rounding_made_of_them():
    inputs = torch.randn(20, 3)
    inputs[:, 1] = 0
    model = nn.Linear(3, 1, bias=False)
    loader, optimizer = training(model, TensorDataset(inputs, torch.randn(20, 1)), batch=4)
    for directions in (1, 3):
        found = measure(model, functional.mse_loss, loader, optimizer, directions=directions)
        assert found.spectrum.eigenvalues.min() == 0.0
