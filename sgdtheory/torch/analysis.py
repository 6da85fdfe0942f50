r"""From a model, its loss, loader and optimizer to a predictor of the run that they make."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from sgdtheory.arrays import shortened
from sgdtheory.number_checks import check_number
from sgdtheory.predictor import Predictor
from sgdtheory.spectra.lanczos_quadrature import LanczosQuadrature
from sgdtheory.spectrum import Spectrum
from sgdtheory.torch.gradient_noise import gradient_noise, mean_gradient
from sgdtheory.torch.loader_settings import examples_of
from sgdtheory.torch.loss_hessian import largest_eigenpairs, loss_hessian
from sgdtheory.torch.measurement import Measurement
from sgdtheory.torch.optimizer_settings import trained_parameters
from sgdtheory.torch.run_settings import RunSettings
from sgdtheory.torch.undisturbed_model import Loss, require_mean_of_examples, undisturbed

__all__ = ["analyze", "measure"]


def measure(
    model: torch.nn.Module,
    loss: Loss,
    loader: Any,
    optimizer: torch.optim.Optimizer,
    *,
    directions: int = 20,
    probes: int = 4,
    steps: int = 40,
    examples: int | None = None,
    sampling: str | None = None,
    evaluation: bool = False,
    negative: str = "refuse",
    tolerance: float = 1e-4,
    seed: int = 0,
) -> Measurement:
    r"""Curvature and gradient noise of a network as it is, for the run that it is in.

    Of the training loss without weight decay: the largest eigenvalues of its Hessian with their
    eigenvectors, the density of the others by stochastic Lanczos quadrature, and the variance of
    single examples' gradients, along each eigenvector and in total. Everything is computed on the
    model's device and in its floating type. Model, gradients, optimizer, loader and the generators
    of random numbers are as before.

    Args:
        model: that is trained; its parameters with requires_grad=True are θ.
        loss: of outputs and targets, a mean over the batch, as torch.nn.functional.cross_entropy
            or a module.
        loader: the training's DataLoader, of (inputs, targets); read are its batch size, data set
            and way of drawing. All examples that are used are held on the model's device.
        optimizer: the training's torch.optim.SGD; its rule and its settings as they are now.
        directions: k, the largest eigenvalues that are taken one by one; all if there are no more.
        probes: random starts for the others.
        steps: of Lanczos from each; so many vectors are held.
        examples: use so many, drawn at random, instead of all.
        sampling: how batches are drawn, where the sampler is one of your own: "with_replacement",
            "epochs" or "fixed_order".
        evaluation: measure the model as model.eval() has it, whatever mode it is in: needed where
            a training mode normalizes by batches or drops outputs at random.
        negative: what becomes of negative eigenvalues: "refuse", "drop", "clamp" or "drift", as of
            `Spectrum.from_hessian_eigenvalues`.
        tolerance: of an eigenpair's residual, relative to its eigenvalue.
        seed: of probes, starts and the choice of examples.

    Raises:
        TypeError: for an optimizer that is not SGD, and what is no model or loader.
        ValueError: naming what the theory does not cover, and what to change.
        ImportError: where curvlinops is not installed.

    A warning says where the loader makes incomplete batches, which the theory leaves out, and where
    gradients of single examples can only be taken one by one.

    >>> inputs = torch.linspace(-1, 1, 12, dtype=torch.double)[:, None]
    >>> data = torch.utils.data.TensorDataset(inputs, inputs**2)
    >>> model = torch.nn.Linear(1, 1, bias=False, dtype=torch.double)
    >>> loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> found = measure(model, torch.nn.functional.mse_loss, loader, optimizer)
    >>> bool(abs(found.eigenvalues[0] - 2 * (inputs**2).mean()) < 1e-12), found.run.sampling
    (True, 'epochs')
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model = {shortened(model)}: give a torch.nn.Module.")
    for name, value in (("directions", directions), ("probes", probes), ("steps", steps)):
        check_number(name, value, at_least=1)
    check_number("tolerance", tolerance, at_least=0.0, below=1.0)
    # Before a long measurement, not after.
    Spectrum.from_hessian_eigenvalues([1.0], negative=negative)
    run = RunSettings.read(optimizer, loader, sampling)
    parameters = trained_parameters(model, optimizer)
    size = sum(value.numel() for value in parameters.values())
    with undisturbed(model, evaluation=evaluation):
        device = next(iter(parameters.values())).device
        batches = examples_of(loader, examples, seed, device)
        require_mean_of_examples(model, loss, batches)
        hessian = loss_hessian(model, loss, list(parameters.values()), batches)
        pairs = largest_eigenpairs(hessian, int(directions), seed, tolerance)
        rest = None
        if directions < size:
            rest = LanczosQuadrature.of_operator(hessian, steps, probes, seed, pairs.vectors)
        vectors = torch.as_tensor(pairs.vectors).to(next(iter(parameters.values())))
        mean = mean_gradient(model, loss, parameters, batches)
        noise = gradient_noise(
            model, loss, parameters, batches, vectors, mean, int(run.hyperparameters.dataset_size)
        )
    flat = torch.cat([value.detach().flatten() for value in parameters.values()])
    notes = (*run.notes, *noise.notes)
    for note in notes:
        warnings.warn(f"sgdtheory.torch: {note}.", stacklevel=2)
    return Measurement(
        pairs.values,
        pairs.residuals,
        vectors,
        noise.along,
        noise.along_error,
        noise.total,
        noise.total_error,
        rest,
        size,
        sum(len(inputs) for inputs, _ in batches),
        float((mean + run.hyperparameters.weight_decay * flat).norm()),
        run,
        negative,
        notes,
    )


def analyze(
    model: torch.nn.Module,
    loss: Loss,
    loader: Any,
    optimizer: torch.optim.Optimizer,
    *,
    theory: str = "discrete",
    **options: Any,
) -> Predictor:
    """A predictor of the run that model, loss, loader and optimizer make from here.

    `measure` with the same arguments keeps what was measured: eigenvectors, residuals, standard
    errors. This is its `predictor`.

    Args:
        model: as of `measure`; likewise the following.
        loss: of outputs and targets, a mean over the batch.
        loader: the training's DataLoader.
        optimizer: the training's torch.optim.SGD.
        theory: "discrete" or "continuous".
        options: further arguments of `measure`.

    >>> inputs = torch.linspace(-1, 1, 12)[:, None]
    >>> data = torch.utils.data.TensorDataset(inputs, inputs**2)
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    >>> predictor = analyze(model, torch.nn.functional.mse_loss, loader, optimizer)
    >>> predictor.rule.name, predictor.sampling, predictor.regime
    ('Nesterov', 'epochs', ('underdamped',))
    """
    # A theory that does not know the run is refused before it is measured.
    RunSettings.read(optimizer, loader, options.get("sampling")).predictor(Spectrum([1.0]), theory)
    return measure(model, loss, loader, optimizer, **options).predictor(theory)
