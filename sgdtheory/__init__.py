"""The statistical physics of stochastic gradient descent: derived, lowered, predicted.

>>> import sgdtheory as sgd
>>> langevin = sgd.modified_equation(sgd.heavy_ball())
>>> langevin.friction, langevin.inverse_temperature
(1 - beta, S*(1 - beta)*(beta + 1))
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from sgdtheory import symbols

if _TYPE_CHECKING:
    __version__: str

    from sgdtheory.agreement import Agreement, discrete_over_continuous
    from sgdtheory.backward_error_analysis import (
        SlowManifold,
        implicit_regularization,
        slow_manifold,
    )
    from sgdtheory.compression import SettingsRange
    from sgdtheory.correlated_directions import DirectionPair
    from sgdtheory.dense_predictor import DensePredictor
    from sgdtheory.derivation import Derivation, Step
    from sgdtheory.diffusion import ornstein_uhlenbeck
    from sgdtheory.discrete_time import recursion
    from sgdtheory.ensembles.linear_regression import LinearRegressionEnsemble
    from sgdtheory.ensembles.quadratic import QuadraticEnsemble
    from sgdtheory.finite_dataset import FiniteDataset
    from sgdtheory.fluctuation_dissipation import (
        FluctuationDissipation,
        fluctuation_dissipation_relations,
    )
    from sgdtheory.gaussian_inputs import GaussianInputs
    from sgdtheory.gaussian_process import UnstableError
    from sgdtheory.hyperparameters import Hyperparameters
    from sgdtheory.landscape import Landscape
    from sgdtheory.langevin import Langevin
    from sgdtheory.linear_recursion import LinearRecursion
    from sgdtheory.lowering import LoweredFunction, lower
    from sgdtheory.modified_equations import modified_equation
    from sgdtheory.ornstein_uhlenbeck_process import OrnsteinUhlenbeck
    from sgdtheory.predictor import Predictor
    from sgdtheory.probability_flow import ProbabilityFlow, fokker_planck
    from sgdtheory.repeated_epochs import FixedOrderRecursion
    from sgdtheory.reshuffled_epochs import ReshuffledRecursion
    from sgdtheory.sampling import Sampling
    from sgdtheory.spectrum import CompressedSpectrum, Spectrum
    from sgdtheory.update_rule import (
        UpdateRule,
        dampened,
        heavy_ball,
        nesterov,
        plain_sgd,
        quasi_hyperbolic,
    )

# A chapter is loaded when one of its names is asked for: a notebook that derives needs no numbers,
# and some numbers need SciPy's solvers, which take longer to import than all the rest.
_CHAPTERS = {
    "agreement": (
        "Agreement",
        "discrete_over_continuous",
    ),
    "backward_error_analysis": (
        "SlowManifold",
        "implicit_regularization",
        "slow_manifold",
    ),
    "compression": ("SettingsRange",),
    "correlated_directions": ("DirectionPair",),
    "dense_predictor": ("DensePredictor",),
    "derivation": (
        "Derivation",
        "Step",
    ),
    "diffusion": ("ornstein_uhlenbeck",),
    "discrete_time": ("recursion",),
    "ensembles.linear_regression": ("LinearRegressionEnsemble",),
    "ensembles.quadratic": ("QuadraticEnsemble",),
    "finite_dataset": ("FiniteDataset",),
    "fluctuation_dissipation": (
        "FluctuationDissipation",
        "fluctuation_dissipation_relations",
    ),
    "gaussian_inputs": ("GaussianInputs",),
    "gaussian_process": ("UnstableError",),
    "hyperparameters": ("Hyperparameters",),
    "landscape": ("Landscape",),
    "langevin": ("Langevin",),
    "linear_recursion": ("LinearRecursion",),
    "lowering": (
        "LoweredFunction",
        "lower",
    ),
    "modified_equations": ("modified_equation",),
    "ornstein_uhlenbeck_process": ("OrnsteinUhlenbeck",),
    "predictor": ("Predictor",),
    "probability_flow": (
        "ProbabilityFlow",
        "fokker_planck",
    ),
    "repeated_epochs": ("FixedOrderRecursion",),
    "reshuffled_epochs": ("ReshuffledRecursion",),
    "sampling": ("Sampling",),
    "spectrum": (
        "CompressedSpectrum",
        "Spectrum",
    ),
    "update_rule": (
        "UpdateRule",
        "dampened",
        "heavy_ball",
        "nesterov",
        "plain_sgd",
        "quasi_hyperbolic",
    ),
}
_HOMES = {name: chapter for chapter, names in _CHAPTERS.items() for name in names}

__all__ = [
    "Agreement",
    "CompressedSpectrum",
    "DensePredictor",
    "Derivation",
    "DirectionPair",
    "FiniteDataset",
    "FixedOrderRecursion",
    "FluctuationDissipation",
    "GaussianInputs",
    "Hyperparameters",
    "Landscape",
    "Langevin",
    "LinearRecursion",
    "LinearRegressionEnsemble",
    "LoweredFunction",
    "OrnsteinUhlenbeck",
    "Predictor",
    "ProbabilityFlow",
    "QuadraticEnsemble",
    "ReshuffledRecursion",
    "Sampling",
    "SettingsRange",
    "SlowManifold",
    "Spectrum",
    "Step",
    "UnstableError",
    "UpdateRule",
    "dampened",
    "discrete_over_continuous",
    "fluctuation_dissipation_relations",
    "fokker_planck",
    "heavy_ball",
    "implicit_regularization",
    "lower",
    "modified_equation",
    "nesterov",
    "ornstein_uhlenbeck",
    "plain_sgd",
    "quasi_hyperbolic",
    "recursion",
    "slow_manifold",
    "symbols",
]


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        return _import_module("importlib.metadata").version("sgdtheory")
    if name not in _HOMES:
        raise AttributeError(f"module 'sgdtheory' has no attribute {name!r}")
    value = getattr(_import_module(f"sgdtheory.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
