"""Laws of theories that take arrays of more than one library: the numbers must be the same."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.law import (
    Law,
    Theory,
    asked,
    close,
    close_moments,
    entered,
    moments,
    refused,
    stationary_units,
    tolerance,
)
from sgdtheory.testing.run import Run

__all__ = ["LAWS_OF_BACK_ENDS"]


def _takes_none(theory: Theory) -> str:
    if find_spec("torch") is None:
        return "torch is not installed"
    spectrum, start = Spectrum(_tensor([1.0])), _tensor([1.0])
    return refused("tensors", lambda: _told(theory(Hyperparameters(0.5), spectrum).mean(1, start)))


LAWS_OF_BACK_ENDS: list[Law] = []
_law = partial(entered, LAWS_OF_BACK_ENDS, untried=_takes_none)


def _tensor(values: Any) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.float64)


def _told(value: Any) -> Any:
    """A tensor's numbers; what is no tensor breaks the law by raising."""
    return value.detach().cpu().numpy()


@_law("back ends agree", "mean", "covariance", "stationary_covariance")
def _agree(theory: Theory, run: Run) -> None:
    """Tensors in, tensors out, and the numbers are those of NumPy arrays."""
    k = run.steps[0]
    arrays = asked(theory, run)
    noise = _tensor(list(run.noise))
    spectrum = Spectrum(_tensor(list(run.eigenvalues)), noise_variances=noise)
    tensors = theory(run.hyperparameters, spectrum)
    x, v = (_tensor(part.tolist()) for part in run.start)
    allowed = tolerance(run, k)
    own = _told(tensors.mean(k, x, v)), _told(tensors.covariance(k))
    close_moments(" of tensors", run, own, moments(arrays, run), run.units, allowed)
    held = np.asarray(arrays.stationary_covariance())
    found, scale = _told(tensors.stationary_covariance()), stationary_units(run, held)
    close("stationary_covariance() of tensors", found, held, scale, allowed)
