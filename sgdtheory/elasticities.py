r"""How much a prediction changes with each hyperparameter: elasticities, by automatic derivatives.

Every setting of a sweep has its own prediction, so one derivative with all settings moved at once
gives each setting's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgdtheory.arrays import detached
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.named_results import NamedResults
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.predictor import Predictor

__all__ = ["Sensitivities", "sensitivities"]

_SETTINGS = ("learning_rate", "momentum", "batch_size", "weight_decay")


@dataclass(frozen=True, eq=False)
class Sensitivities(ShownAsTable, NamedResults):
    """Derivatives with respect to the logarithm of each setting, of the prediction's shape.

    A logarithm's are nan where the prediction is 0.

    Args:
        learning_rate: x = η.
        lost_momentum: x = 1 − β.
        batch_size: x = S; under epochs at a fixed number of updates in each, so no slope along a
            change of S, which changes that number too.
        weight_decay: x = λ; 0 where there is none.
        logarithmic: whether of the prediction's logarithm.
    """

    learning_rate: Any
    lost_momentum: Any
    batch_size: Any
    weight_decay: Any
    logarithmic: bool


def sensitivities(
    model: Predictor,
    prediction: str | Callable[[Predictor], Any],
    *arguments: Any,
    logarithmic: bool = True,
    **keywords: Any,
) -> Sensitivities:
    r"""d log X / d log x for a prediction X and the hyperparameters x.

    Args:
        model: a predictor, of numbers or a sweep.
        prediction: the name of one of its methods or properties, as "displacement"; or a function
            of a predictor, for a number made of several.
        arguments: of the method.
        logarithmic: False for dX / d log x, as for an exponent, which is a logarithm already.
        keywords: of the method.

    Raises:
        ImportError: without PyTorch.
        ValueError: for a name that a predictor does not have; for a landscape's predictor; for a
            prediction that is no array with derivatives.

    >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
    >>> model = Predictor(Hyperparameters(1e-6, momentum=0.5, batch_size=8), Spectrum([1.0]))
    >>> found = sensitivities(model, "local_displacement")
    >>> [round(float(x), 4) for x in (found.learning_rate, found.lost_momentum, found.batch_size)]
    [2.0, -0.6667, -1.0]
    """
    try:
        import torch
    except ImportError:
        raise ImportError(
            "sensitivities are automatic derivatives and need PyTorch: pip install "
            "'sgdtheory[torch]'. Without it, lower the expressions of scaling_exponents."
        ) from None
    if not isinstance(model, Predictor):
        raise ValueError(  # noqa: TRY004
            f"model is a {type(model).__name__}: derivatives need a Predictor of a Spectrum. Give "
            "the landscape's own, Predictor(hyperparameters, landscape.spectrum)."
        )
    if isinstance(prediction, str) and not hasattr(model, prediction):
        raise ValueError(
            f"prediction = {prediction!r}: a Predictor has no such method. Give a method's name, "
            "as 'displacement', or a function of a predictor."
        )
    shape, hyper = model.sweep.shape, model.hyperparameters
    settings = {
        name: torch.as_tensor(_whole(hyper.sweep.aligned(getattr(hyper, name)), shape))
        for name in _SETTINGS
    }

    for setting in settings.values():
        setting.requires_grad_()
    moved = _moved(model, settings)
    if callable(prediction):
        value = prediction(moved)
    else:
        asked = getattr(moved, prediction)
        value = asked(*arguments, **keywords) if callable(asked) else asked
    if not (isinstance(value, torch.Tensor) and value.requires_grad):
        raise ValueError(
            f"prediction = {prediction!r}: what it gives is no array with derivatives. Ask for one "
            "that is, as 'displacement', or give a function of a predictor that returns one."
        )
    # A derivative along a direction is the derivative of a reverse one by its own weights.
    weights = torch.ones_like(value, requires_grad=True)
    reverse = torch.autograd.grad(
        value, list(settings.values()), weights, create_graph=True, materialize_grads=True
    )
    found = {}
    for (name, setting), gradient in zip(settings.items(), reverse, strict=True):
        # What changes x by d log x = 1.
        tangent = (-(1 - setting) if name == "momentum" else setting).detach()
        (change,) = torch.autograd.grad(
            gradient, weights, tangent, retain_graph=True, materialize_grads=True
        )
        found[name] = detached(change / value.detach() if logarithmic else change)
    momentum = found.pop("momentum")
    return Sensitivities(**found, lost_momentum=momentum, logarithmic=logarithmic)


def _whole(value: Any, shape: tuple[int, ...]) -> Any:
    return np.array(np.broadcast_to(detached(value), shape), dtype=np.float64)


def _moved(model: Predictor, settings: dict[str, Any]) -> Predictor:
    """The same predictor with tensors for its settings; checks were made with the numbers."""
    import torch

    hyper = Hyperparameters(**settings, dataset_size=model.hyperparameters.dataset_size)
    spectrum = model.spectrum
    if not isinstance(spectrum.eigenvalues, torch.Tensor):
        tensors: dict[str, Any] = {
            name: torch.as_tensor(value)
            for name in ("eigenvalues", "noise_variances", "counts")
            if (value := getattr(spectrum, name)) is not None
        }
        # A compressed spectrum stays one, with its range of settings.
        spectrum = replace(spectrum, **tensors)
    return replace(model, hyperparameters=hyper, spectrum=spectrum)
