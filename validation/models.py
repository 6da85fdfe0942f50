"""What is trained: copies of a linear model, networks with smooth or rectified units, or one's own.

Initial weights are a pure function of the seed; a file of weights takes their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from validation.data import Examples
from validation.experiments import Model
from validation.named_functions import call_with_options, named_function
from validation.residual_network import freeze_statistics, resnet18
from validation.samplers import generator

__all__ = ["MODELS", "LinearReplicas", "mlp", "model", "vgg"]

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class LinearReplicas(torch.nn.Module):
    """Copies of θ ↦ xᵀθ. SGD acts element by element, so a copy trains as if it were alone.

    Args:
        start: weights of each copy, (replicas, features, outputs).
    """

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(start.clone(memory_format=torch.contiguous_format))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs of each copy for its own batch: (replicas, batch, features) → (…, outputs)."""
        return features @ self.weights


def linear(examples: Examples) -> LinearReplicas:
    """One copy of a linear model, at zero."""
    if examples.inputs.ndim != 2:
        raise ValueError(
            f'model.name = "linear": inputs of {examples.name} have the shape '
            f"{tuple(examples.inputs.shape)}, a linear model takes (examples, features). Give a "
            "linear problem, or a network."
        )
    return LinearReplicas(torch.zeros(1, examples.inputs.shape[1], examples.targets.shape[1]))


_UNITS: dict[str, Callable[[], torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def mlp(
    examples: Examples, width: int = 64, depth: int = 2, units: str = "tanh"
) -> torch.nn.Module:
    """`depth` hidden layers of `width` units, and an affine one; inputs are flattened."""
    if width < 1 or depth < 0 or units not in _UNITS:
        raise ValueError(
            f"model.options: width = {width}, depth = {depth}, units = {units!r}. width must be at "
            f"least 1, depth at least 0, and units {' or '.join(_UNITS)}."
        )
    widths = [examples.inputs[0].numel(), *[width] * depth]
    layers: list[torch.nn.Module] = [torch.nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [torch.nn.Linear(before, after), _UNITS[units]()]
    layers.append(torch.nn.Linear(widths[-1], examples.targets.shape[1]))
    return torch.nn.Sequential(*layers)


def vgg(examples: Examples, width: int = 16, blocks: int = 3) -> torch.nn.Module:
    """Plain convolutions in the manner of VGG: no skips, no normalization, nothing random.

    Args:
        examples: images, (N, channels, height, width).
        width: channels of the first block; every block doubles them.
        blocks: two 3×3 convolutions each, then a pooling that halves the image.
    """
    shape = examples.inputs.shape
    if len(shape) != 4 or min(shape[2:]) < 2**blocks or min(width, blocks) < 1:
        raise ValueError(
            f"model.options: width = {width}, blocks = {blocks}, for inputs of {examples.name} of "
            f"the shape {tuple(shape)}. vgg takes images, (examples, channels, height, width), and "
            "halves them in every block: give at least one channel and one block, and no more "
            "blocks than the images can be halved."
        )
    layers: list[torch.nn.Module] = []
    channels = shape[1]
    for block in range(blocks):
        for _ in range(2):
            convolution = torch.nn.Conv2d(channels, width * 2**block, 3, padding=1)
            torch.nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            torch.nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, torch.nn.ReLU()]
            channels = width * 2**block
        layers.append(torch.nn.MaxPool2d(2))
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(channels, examples.targets.shape[1]))


MODELS: dict[str, Callable[..., torch.nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "vgg": vgg,
    "resnet18": resnet18,
}


def model(
    spec: Model, examples: Examples, seed: int, folder: Path, replicas: int = 1
) -> torch.nn.Module:
    """The model of an experiment, on the device of its examples.

    Args:
        spec: its declaration; a function of one's own takes the examples and the options and
            returns a module.
        examples: what it is trained on; they decide the sizes of inputs and outputs.
        seed: of the run.
        folder: where the path of a file of weights begins.
        replicas: copies, of a linear model, which all start from the same weights.

    Returns:
        The module, which takes a batch of inputs, (batch, …); for the linear one a batch for each
        copy, (replicas, batch, features).

    Raises:
        ValueError: for a name or an option that there is not, weights that do not fit by name or
            shape, or copies of a network.
    """
    entry = f"model.options of {spec.name}"
    function = named_function("model.name", spec.name, MODELS)
    # Not torch.manual_seed, which would also move the generators of all devices.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(generator(seed, "initial weights").initial_seed())
        module = call_with_options(entry, function, spec.options, examples)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"model.name = {spec.name!r} returned {type(module).__name__}. It must return a "
            "torch.nn.Module."
        )
    module = module.to(examples.inputs.device, _DTYPES[spec.dtype])
    if spec.weights is not None:
        _load(module, folder / spec.weights)
    freeze_statistics(module, examples.inputs)
    return _copies(module, spec, replicas)


def _load(module: torch.nn.Module, path: Path) -> None:
    """Take all parameters and buffers from a file, which must hold them and no others."""
    try:
        if path.suffix in (".pt", ".pth"):
            found = torch.load(path, map_location="cpu", weights_only=True)
        else:
            found = load_file(path)
    except (OSError, SafetensorError, UnpicklingError) as error:
        raise ValueError(
            f"model.weights: {path} cannot be read as safetensors, nor, where its name ends in "
            f".pt or .pth, as a state_dict of torch.save: {error}. Write the model's state_dict "
            "with safetensors.torch.save_file."
        ) from error
    wanted = module.state_dict()
    wrong = [
        f"{name} is missing, {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name not in found
    ]
    for name, tensor in found.items():
        if name not in wanted:
            wrong.append(f"{name} is not of the model")
        elif tensor.shape != wanted[name].shape:
            wrong.append(f"{name} is {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}")
        elif not tensor.isfinite().all():
            wrong.append(f"{name} is not finite")
    if wrong:
        raise ValueError(
            f"model.weights: {path} does not fit the model: {'; '.join(wrong)}. Give the "
            "state_dict of a model with these options, trained on data of these shapes."
        )
    module.load_state_dict(found)


def _copies(module: torch.nn.Module, spec: Model, replicas: int) -> torch.nn.Module:
    if isinstance(module, LinearReplicas):
        one = module.weights.detach()
        return LinearReplicas(one.expand(replicas, *one.shape[1:])) if replicas > 1 else module
    if replicas > 1:
        raise ValueError(
            f"record.replicas = {replicas} with model.name = {spec.name!r}: only the linear model "
            "trains copies at once. Give record.replicas = 1, and a seed for each run."
        )
    return module
