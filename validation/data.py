"""What is trained on: the data sets that an experiment can name, as linear problems or as images.

Options of a data set are the arguments of its function here; `path` begins at the folder of the
experiment's file. The data are a function of their options alone: all runs of an experiment share
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_digits

from validation.experiments import Data
from validation.feature_files import read_features
from validation.named_functions import call_with_options, named_function

__all__ = ["IMAGES", "PROBLEMS", "Examples", "Regression", "examples", "regression"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Regression:
    """Features X, N×d, and targets Y, N×m, of L(θ) = (1/2N) Σ |x_iᵀθ − y_i|².

    Args:
        name: of the data set.
        features: X.
        targets: Y.
    """

    name: str
    features: Array
    targets: Array


@dataclass(frozen=True)
class Examples:
    """What a network is trained on.

    Args:
        name: of the data set.
        inputs: of the model, one example a row, (N, …).
        targets: of the loss, (N, outputs), floating; classes are one-hot.

    Raises:
        ValueError: if they do not fit each other or are not finite.
    """

    name: str
    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        inputs, targets = self.inputs, self.targets
        if targets.ndim != 2 or not targets.is_floating_point():
            raise ValueError(
                f"{self.name}: targets have the shape {tuple(targets.shape)} and the type "
                f"{targets.dtype}; they must be (examples, outputs), floating. Make classes "
                "one-hot."
            )
        if inputs.ndim < 2 or len(inputs) != len(targets) or not len(inputs):
            raise ValueError(
                f"{self.name}: inputs have the shape {tuple(inputs.shape)} and targets "
                f"{tuple(targets.shape)}; both must have a row for each example, at least one."
            )
        for what, values in (("inputs", inputs), ("targets", targets)):
            if not values.isfinite().all():
                raise ValueError(f"{self.name}: {what} are not finite. Leave such examples out.")


def diabetes() -> Regression:
    """442 patients, 10 standardised measurements; the target is the standardised progression."""
    data = load_diabetes()
    features = data.data / data.data.std(axis=0)
    target = (data.target - data.target.mean()) / data.target.std()
    return Regression("diabetes", features, target[:, None])


def digits() -> Regression:
    """1797 images of 8×8 pixels in [0, 1], those that vary, and a constant; the label one-hot."""
    data = load_digits()
    pixels = data.data / 16.0
    varying = pixels[:, pixels.std(axis=0) > 0]
    features = np.hstack([varying, np.ones((len(varying), 1))])
    return Regression("digits", features, np.eye(10)[data.target])


def power_law(
    examples: int,
    features: int,
    exponent: float,
    noise: float = 1.0,
    rotated: bool = False,
    seed: int = 0,
) -> Regression:
    """A teacher Y = Xθ* + noise·ξ whose Hessian XᵀX/N has the eigenvalues i^(−exponent).

    Args:
        examples: N, at least `features`.
        features: d.
        exponent: of the decay of the eigenvalues, i = 1, …, d.
        noise: standard deviation of the targets' error; θ* and ξ are standard Gaussian.
        rotated: whether the eigenvectors are random; by default they are the axes, in order.
        seed: of X, θ* and ξ.

    Raises:
        ValueError: if N < d, for which the Hessian would be singular.
    """
    if not 1 <= features <= examples:
        raise ValueError(
            f"power_law: features = {features} and examples = {examples}. As many eigenvalues as "
            "there are features take at least as many examples, and one feature."
        )
    source = np.random.default_rng(seed)
    basis = _orthonormal(source, examples, features)
    scales = np.arange(1, features + 1) ** (-exponent / 2)
    teacher, error = source.normal(size=(features, 1)), source.normal(size=(examples, 1))
    inputs = np.sqrt(examples) * basis * scales
    if rotated:
        inputs = inputs @ _orthonormal(source, features, features).T
    return Regression("power_law", inputs, inputs @ teacher + noise * error)


def features(path: Path, standardize: bool = True) -> Regression:
    """Features on disk: each that varies standardised, and a constant; or all as they are."""
    found, targets = read_features(Path(path))
    if not standardize:
        return Regression("features", found, targets)
    varying = found[:, np.ptp(found, axis=0) > 0]
    scaled = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    return Regression("features", np.hstack([scaled, np.ones((len(scaled), 1))]), targets)


def digits_images(size: int = 32, examples: int = 0, label_errors: float = 0.0) -> Examples:
    """Images of digits in [0, 1], enlarged to (3, size, size); the label one-hot.

    Args:
        size: of an edge.
        examples: from the beginning of the 1797; 0 for all.
        label_errors: standard deviation of an error that every target has once and for all, unlike
            `data.label_noise`.
    """
    data = load_digits()
    images = torch.as_tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    enlarged = torch.nn.functional.interpolate(
        images, size=(size, size), mode="bilinear", align_corners=False
    )
    inputs = enlarged.expand(-1, 3, -1, -1).contiguous()
    return _classified("digits_images", inputs, data.target, 10, examples, label_errors)


def cifar10(path: Path, size: int = 32, examples: int = 0, label_errors: float = 0.0) -> Examples:
    """Training images of CIFAR-10, standardised by channel, from a folder that torchvision reads.

    Args:
        path: folder that holds cifar-10-batches-py.
        size: of an edge; other than 32 they are resized.
        examples: as of `digits_images`; likewise the following.
        label_errors: of the targets.
    """
    from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]

    try:
        found = CIFAR10(str(path), train=True, download=False)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"data.options.path: {path} does not hold CIFAR-10: {error} Give the folder that holds "
            "cifar-10-batches-py, as torchvision.datasets.CIFAR10 makes it."
        ) from error
    count = examples or len(found.data)
    pixels = torch.as_tensor(found.data[:count]).permute(0, 3, 1, 2) / 255.0
    if size != pixels.shape[-1]:
        pixels = torch.nn.functional.interpolate(
            pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True
        )
    mean, spread = (f(pixels, dim=(0, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
    inputs = (pixels - mean) / spread
    return _classified("cifar10", inputs, found.targets[:count], 10, count, label_errors)


def imagenet(path: Path, examples: int, size: int = 224, label_errors: float = 0.0) -> Examples:
    """Images of a folder with one folder a class, cropped and standardised as is usual.

    Evenly many are taken from every class, and all are held in memory: 0.6 MB each at size 224.

    Args:
        path: folder of the classes' folders, ImageNet's train or any other.
        examples: how many.
        size: of an edge.
        label_errors: as of `digits_images`.
    """
    from torchvision import transforms  # type: ignore[import-untyped]
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.Resize(size * 8 // 7),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    try:
        found = ImageFolder(str(path), transforms.Compose(steps))
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"data.options.path: {path} holds no classes of images: {error}. Give a folder with a "
            "folder of images for every class."
        ) from error
    if not 1 <= examples <= len(found):
        raise ValueError(
            f"data.options.examples = {examples}: {path} has {len(found)} images, give a number of "
            "them."
        )
    chosen = np.linspace(0, len(found) - 1, examples).round().astype(int)
    images, labels = zip(*(found[int(i)] for i in chosen), strict=True)
    inputs = torch.stack(images)
    return _classified("imagenet", inputs, labels, len(found.classes), examples, label_errors)


def _classified(
    name: str,
    inputs: torch.Tensor,
    labels: Any,
    classes: int,
    examples: int,
    label_errors: float,
) -> Examples:
    """The first so many, all if 0, with labels one-hot and what is wrong with them."""
    if not 0 <= examples <= len(inputs) or not 0 <= label_errors < np.inf:
        raise ValueError(
            f"data.options: examples = {examples}, label_errors = {label_errors}. {name} has "
            f"{len(inputs)} examples: take so many of them, or 0 for all; errors are a standard "
            "deviation, 0 or more."
        )
    count = examples or len(inputs)
    chosen = torch.as_tensor(np.asarray(labels[:count]), dtype=torch.int64)
    targets = torch.nn.functional.one_hot(chosen, classes).to(torch.float32)
    if label_errors:
        errors = np.random.default_rng(0).standard_normal(targets.shape)
        targets = targets + label_errors * torch.as_tensor(errors, dtype=torch.float32)
    return Examples(name, inputs[:count], targets)


PROBLEMS: dict[str, Callable[..., Regression]] = {
    "diabetes": diabetes,
    "digits": digits,
    "power_law": power_law,
    "features": features,
}
IMAGES: dict[str, Callable[..., Examples]] = {
    "digits_images": digits_images,
    "cifar10": cifar10,
    "imagenet": imagenet,
}


def examples(data: Data, folder: Path, dtype: torch.dtype) -> Examples:
    """What an experiment trains on, linear problems included.

    Args:
        data: its declaration; a function of one's own returns `Examples` or a `Regression`.
        folder: where a relative `path` among the options begins.
        dtype: of targets and of inputs that are not integers.

    Raises:
        ValueError: for a name or an option that there is not, listing those that there are.
    """
    found = _made(data, folder, {**PROBLEMS, **IMAGES})
    if isinstance(found, Regression):
        features, targets = torch.as_tensor(found.features), torch.as_tensor(found.targets)
        found = Examples(found.name, features, targets)
    if not isinstance(found, Examples):
        raise TypeError(_wrong_kind(data, found, "Examples or a Regression"))
    inputs = found.inputs.to(dtype) if found.inputs.is_floating_point() else found.inputs
    return Examples(found.name, inputs, found.targets.to(dtype))


def regression(data: Data, folder: Path) -> Regression:
    """The linear problem that an experiment trains on.

    Args:
        data: its declaration; a function of one's own returns a `Regression`.
        folder: where a relative `path` among the options begins.

    Raises:
        ValueError: for a name or an option that there is not, listing those that there are.
    """
    found = _made(data, folder, PROBLEMS)
    if not isinstance(found, Regression):
        raise TypeError(_wrong_kind(data, found, "a Regression"))
    return found


def _made(data: Data, folder: Path, table: Mapping[str, Callable[..., Any]]) -> Any:
    options: dict[str, Any] = dict(data.options)
    if "path" in options:
        options["path"] = folder / str(options["path"])
    function = named_function("data.name", data.name, table)
    return call_with_options(f"data.options of {data.name}", function, options)


def _wrong_kind(data: Data, found: object, wanted: str) -> str:
    return (
        f"data.name = {data.name!r} returned {type(found).__name__}. It must return {wanted}, of "
        "validation.data."
    )


def _orthonormal(source: np.random.Generator, rows: int, columns: int) -> Array:
    """Orthonormal columns, uniformly distributed: the signs of R make them so."""
    basis, triangle = np.linalg.qr(source.normal(size=(rows, columns)))
    signed: Array = basis * np.where(np.diag(triangle) < 0, -1.0, 1.0)
    return signed
