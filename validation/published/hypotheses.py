r"""What may have moved the network: a spectrum, a start, a way of sampling; a few constants each.

The loss is quadratic with noise proportional to its Hessian. c does not depend on the noise's scale
nor on the number of directions, so neither is a constant: what remains is the spectrum's shape, a
density ρ^{−(1+a)} between two ends, and where the run starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import sgdtheory as sgd
from validation.data import Array
from validation.published.table import EXAMPLES, PRETRAINING, WEIGHT_DECAY, Cell

__all__ = ["HYPOTHESES", "Constant", "Hypothesis", "Run"]

# Gauss-Legendre nodes of the spectrum in log ρ: twice as many change no exponent by 1e-6.
_NODES = 40
# The last settings of the pretraining.
_LAST = {"learning_rate": PRETRAINING[-1][0], "momentum": 0.9, "batch_size": 256}


@dataclass(frozen=True)
class Constant:
    """A number that is fitted: where searches begin, and between which limits they stay."""

    name: str
    first_guesses: tuple[float, ...]
    limits: tuple[float, float]
    logarithmic: bool = True

    def value(self, coordinate: float) -> float:
        """From the coordinate in which it is fitted."""
        return float(np.exp(coordinate)) if self.logarithmic else coordinate

    def coordinate(self, value: float) -> float:
        """In which it is fitted."""
        return float(np.log(value)) if self.logarithmic else value


@dataclass(frozen=True)
class Run:
    """A predictor and the start that its displacement is asked from."""

    model: sgd.Predictor
    start: dict[str, Any]


@dataclass(frozen=True)
class Hypothesis:
    """A way of telling what moves the network.

    Args:
        name: in tables.
        sentence: what it says.
        constants: what is fitted.
        start: from spectrum and constants, the arguments of a displacement's start.
        sampling: how batches are drawn.
    """

    name: str
    sentence: str
    constants: tuple[Constant, ...]
    start: Callable[[sgd.Spectrum, dict[str, float]], dict[str, Any]]
    sampling: str = "with_replacement"

    def values(self, coordinates: Array) -> dict[str, float]:
        """The constants by name."""
        pairs = zip(self.constants, coordinates, strict=True)
        return {constant.name: constant.value(x) for constant, x in pairs}

    def run(self, cells: tuple[Cell, ...], coordinates: Array) -> Run:
        """Cells that share their batch size, as one sweep."""
        values = self.values(coordinates)
        spectrum = _power_law(values)
        hyper = _hyperparameters(
            learning_rate=np.array([cell.learning_rate for cell in cells]),
            momentum=np.array([cell.momentum for cell in cells]),
            batch_size=cells[0].batch_size,
        )
        model = sgd.Predictor(hyper, spectrum, sampling=self.sampling)
        return Run(model, self.start(spectrum, values))

    def exponents(self, cells: tuple[Cell, ...], coordinates: Array) -> Array:
        """c of every cell, as the publication fits it."""
        found = np.empty(len(cells))
        batches = np.array([cell.batch_size for cell in cells])
        for batch in np.unique(batches):
            (where,) = np.nonzero(batches == batch)
            run = self.run(tuple(cells[i] for i in where), coordinates)
            found[where] = run.model.window_exponent(cells[where[0]].window, **run.start)
        return found


def _hyperparameters(**settings: Any) -> sgd.Hyperparameters:
    return sgd.Hyperparameters(**settings, weight_decay=WEIGHT_DECAY, dataset_size=EXAMPLES)


def _power_law(values: dict[str, float]) -> sgd.Spectrum:
    ends = np.log([values.get("smallest", WEIGHT_DECAY), values["largest"]])
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    logarithm = ends.mean() + np.ptp(ends) / 2 * points
    # A density ρ^{−(1+a)} has ρ^{−a} directions per unit of log ρ.
    return sgd.Spectrum(
        np.exp(logarithm), counts=weights * np.exp(-values["a"] * (logarithm - ends[1]))
    )


def _hot(spectrum: sgd.Spectrum, values: dict[str, float]) -> dict[str, Any]:
    before = sgd.Predictor(_hyperparameters(**_LAST), spectrum)
    spread = before.stationary_covariance()[:, 0, 0]
    return {"start_covariance": values.get("temperature", 1.0) * spread}


def _scheduled(spectrum: sgd.Spectrum, values: dict[str, float]) -> dict[str, Any]:
    covariance = None
    for rate, updates in PRETRAINING:
        stage = sgd.Predictor(_hyperparameters(**_LAST | {"learning_rate": rate}), spectrum)
        covariance = stage.covariance(updates, start_covariance=covariance)
    assert covariance is not None
    return {"start_covariance": covariance[:, 0, 0]}


def _stationary(spectrum: sgd.Spectrum, values: dict[str, float]) -> dict[str, Any]:
    return {}


def _at_the_minimum(spectrum: sgd.Spectrum, values: dict[str, float]) -> dict[str, Any]:
    return {"position": 0.0}


def _off_the_minimum(spectrum: sgd.Spectrum, values: dict[str, float]) -> dict[str, Any]:
    return {"position": values["offset"]}


# The limits are wide: a density that ends at them says that nothing in the data holds it.
_TAIL = Constant("a", (0.8, 1.0, 1.2), (-1.0, 3.0), logarithmic=False)
_LARGEST = Constant("largest", (3.0,), (1e-2, 30.0))
_SPECTRUM = (_TAIL, Constant("smallest", (1e-4,), (1e-7, 5e-3)), _LARGEST)
_TEMPERATURE = Constant("temperature", (1.0,), (1e-3, 1e3))

HYPOTHESES = (
    Hypothesis(
        "hot start",
        "the pretraining's last stage left its stationary state; the run's own is another",
        _SPECTRUM,
        _hot,
    ),
    Hypothesis(
        "hot start, free temperature",
        "the same, with a temperature that is fitted, in units of the last stage's",
        (*_SPECTRUM, _TEMPERATURE),
        _hot,
    ),
    Hypothesis(
        "hot start, flat end at the weight decay",
        "the same as the first, with a density that ends where ρ is the weight decay",
        (_TAIL, _LARGEST),
        _hot,
    ),
    Hypothesis(
        "whole schedule",
        "all three stages of the pretraining, one after the other, from the minimum",
        _SPECTRUM,
        _scheduled,
    ),
    Hypothesis(
        "offset",
        "the start lies off the minimum, by the same in every direction",
        (*_SPECTRUM, Constant("offset", (0.01,), (1e-5, 10.0))),
        _off_the_minimum,
    ),
    Hypothesis(
        "stationary start", "noise only, in the run's own stationary state", _SPECTRUM, _stationary
    ),
    Hypothesis(
        "start at the minimum", "noise only, that begins with the run", _SPECTRUM, _at_the_minimum
    ),
    Hypothesis(
        "hot start, epochs",
        "the first, with batches drawn without replacement: white noise replaced",
        _SPECTRUM,
        _hot,
        sampling="epochs",
    ),
    Hypothesis(
        "hot start, free temperature, epochs",
        "the second, without replacement",
        (*_SPECTRUM, _TEMPERATURE),
        _hot,
        sampling="epochs",
    ),
)
