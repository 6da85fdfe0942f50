"""The statistical physics of stochastic gradient descent: derived, lowered, predicted.

>>> import sgdtheory as sgd
>>> langevin = sgd.modified_equation(sgd.heavy_ball())
>>> langevin.friction, langevin.inverse_temperature
(1 - beta, S*(1 - beta)*(beta + 1))
"""

from importlib.metadata import version as _version

from sgdtheory import symbols
from sgdtheory.derivation import Derivation, Step
from sgdtheory.diffusion import OrnsteinUhlenbeck, ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.langevin import Langevin
from sgdtheory.linear_recursion import LinearRecursion
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.predictor import Predictor
from sgdtheory.probability_flow import ProbabilityFlow, fokker_planck
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import (
    UpdateRule,
    dampened,
    heavy_ball,
    nesterov,
    plain_sgd,
    quasi_hyperbolic,
)

__version__ = _version("sgdtheory")

__all__ = [
    "Derivation",
    "Hyperparameters",
    "Langevin",
    "LinearRecursion",
    "LoweredFunction",
    "OrnsteinUhlenbeck",
    "Predictor",
    "ProbabilityFlow",
    "Spectrum",
    "Step",
    "UnstableError",
    "UpdateRule",
    "dampened",
    "fokker_planck",
    "heavy_ball",
    "lower",
    "modified_equation",
    "nesterov",
    "ornstein_uhlenbeck",
    "plain_sgd",
    "quasi_hyperbolic",
    "recursion",
    "symbols",
]
