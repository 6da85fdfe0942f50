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

    from sgdtheory.advice import Advice, advise
    from sgdtheory.agreement import Agreement, discrete_over_continuous
    from sgdtheory.anomalous_diffusion import (
        Growth,
        SlowDirection,
        heavy_tail,
        saturation,
        slow_direction,
        white,
    )
    from sgdtheory.backward_error_analysis import (
        SlowManifold,
        implicit_regularization,
        slow_manifold,
    )
    from sgdtheory.calibration import Calibration, calibrate
    from sgdtheory.compression import SettingsRange
    from sgdtheory.correlated_directions import DirectionPair
    from sgdtheory.crossovers import Crossovers
    from sgdtheory.dense_predictor import DensePredictor
    from sgdtheory.derivation import Derivation, Step
    from sgdtheory.diffusion import ornstein_uhlenbeck
    from sgdtheory.discrete_time import recursion
    from sgdtheory.displacement import DisplacementParts
    from sgdtheory.elasticities import Sensitivities, sensitivities
    from sgdtheory.ensembles.linear_regression import LinearRegressionEnsemble
    from sgdtheory.ensembles.quadratic import QuadraticEnsemble
    from sgdtheory.equivalent_settings import equivalent, exchange
    from sgdtheory.explorer import explorer_page, write_explorer
    from sgdtheory.finite_dataset import FiniteDataset
    from sgdtheory.fits.exponent_fits import (
        ExponentFit,
        WindowScan,
        fit_exponent,
        fit_exponent_of_positions,
        scan_windows,
    )
    from sgdtheory.fits.power_law_tail import PowerLawTail
    from sgdtheory.fits.tail_fits import TailFit, fit_spectrum_tail
    from sgdtheory.flat_direction import diffusion_rate, flat_displacement, velocity_memory
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
    from sgdtheory.plotting import (
        plot_advice,
        plot_displacement,
        plot_exponent,
        plot_hyperparameter_panels,
        plot_modified_loss,
        plot_phase_portrait,
        plot_regimes,
        plot_spectrum,
    )
    from sgdtheory.predictor import Predictor
    from sgdtheory.probability_flow import ProbabilityFlow, fokker_planck
    from sgdtheory.repeated_epochs import FixedOrderRecursion
    from sgdtheory.reshuffled_epochs import ReshuffledRecursion
    from sgdtheory.sampling import Sampling
    from sgdtheory.scaling import (
        ScalingLaw,
        ScalingTable,
        observables,
        scaling_exponents,
        scaling_laws,
    )
    from sgdtheory.spectra.lanczos_quadrature import LanczosEstimate, LanczosQuadrature
    from sgdtheory.spectra.named_densities import log_normal, marchenko_pastur, power_law
    from sgdtheory.spectra.negative_tails import NegativeTail
    from sgdtheory.spectra.spectral_density import SpectralDensity
    from sgdtheory.spectrum import CompressedSpectrum, Spectrum
    from sgdtheory.spectrum_files import read_spectrum
    from sgdtheory.successive_increments import doubling_identity, exponent_bound
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
    "advice": (
        "Advice",
        "advise",
    ),
    "agreement": (
        "Agreement",
        "discrete_over_continuous",
    ),
    "anomalous_diffusion": (
        "Growth",
        "SlowDirection",
        "heavy_tail",
        "saturation",
        "slow_direction",
        "white",
    ),
    "backward_error_analysis": (
        "SlowManifold",
        "implicit_regularization",
        "slow_manifold",
    ),
    "calibration": (
        "Calibration",
        "calibrate",
    ),
    "compression": ("SettingsRange",),
    "correlated_directions": ("DirectionPair",),
    "crossovers": ("Crossovers",),
    "dense_predictor": ("DensePredictor",),
    "derivation": (
        "Derivation",
        "Step",
    ),
    "diffusion": ("ornstein_uhlenbeck",),
    "discrete_time": ("recursion",),
    "displacement": ("DisplacementParts",),
    "elasticities": (
        "Sensitivities",
        "sensitivities",
    ),
    "ensembles.linear_regression": ("LinearRegressionEnsemble",),
    "ensembles.quadratic": ("QuadraticEnsemble",),
    "equivalent_settings": (
        "equivalent",
        "exchange",
    ),
    "explorer": (
        "explorer_page",
        "write_explorer",
    ),
    "finite_dataset": ("FiniteDataset",),
    "fits.exponent_fits": (
        "ExponentFit",
        "WindowScan",
        "fit_exponent",
        "fit_exponent_of_positions",
        "scan_windows",
    ),
    "fits.power_law_tail": ("PowerLawTail",),
    "fits.tail_fits": (
        "TailFit",
        "fit_spectrum_tail",
    ),
    "flat_direction": (
        "diffusion_rate",
        "flat_displacement",
        "velocity_memory",
    ),
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
    "plotting": (
        "plot_advice",
        "plot_displacement",
        "plot_exponent",
        "plot_hyperparameter_panels",
        "plot_modified_loss",
        "plot_phase_portrait",
        "plot_regimes",
        "plot_spectrum",
    ),
    "predictor": ("Predictor",),
    "probability_flow": (
        "ProbabilityFlow",
        "fokker_planck",
    ),
    "repeated_epochs": ("FixedOrderRecursion",),
    "reshuffled_epochs": ("ReshuffledRecursion",),
    "sampling": ("Sampling",),
    "scaling": (
        "ScalingLaw",
        "ScalingTable",
        "observables",
        "scaling_exponents",
        "scaling_laws",
    ),
    "spectra.lanczos_quadrature": (
        "LanczosEstimate",
        "LanczosQuadrature",
    ),
    "spectra.named_densities": (
        "log_normal",
        "marchenko_pastur",
        "power_law",
    ),
    "spectra.negative_tails": ("NegativeTail",),
    "spectra.spectral_density": ("SpectralDensity",),
    "spectrum": (
        "CompressedSpectrum",
        "Spectrum",
    ),
    "spectrum_files": ("read_spectrum",),
    "successive_increments": (
        "doubling_identity",
        "exponent_bound",
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
    "Advice",
    "Agreement",
    "Calibration",
    "CompressedSpectrum",
    "Crossovers",
    "DensePredictor",
    "Derivation",
    "DirectionPair",
    "DisplacementParts",
    "ExponentFit",
    "FiniteDataset",
    "FixedOrderRecursion",
    "FluctuationDissipation",
    "GaussianInputs",
    "Growth",
    "Hyperparameters",
    "LanczosEstimate",
    "LanczosQuadrature",
    "Landscape",
    "Langevin",
    "LinearRecursion",
    "LinearRegressionEnsemble",
    "LoweredFunction",
    "NegativeTail",
    "OrnsteinUhlenbeck",
    "PowerLawTail",
    "Predictor",
    "ProbabilityFlow",
    "QuadraticEnsemble",
    "ReshuffledRecursion",
    "Sampling",
    "ScalingLaw",
    "ScalingTable",
    "Sensitivities",
    "SettingsRange",
    "SlowDirection",
    "SlowManifold",
    "SpectralDensity",
    "Spectrum",
    "Step",
    "TailFit",
    "UnstableError",
    "UpdateRule",
    "WindowScan",
    "advise",
    "calibrate",
    "dampened",
    "diffusion_rate",
    "discrete_over_continuous",
    "doubling_identity",
    "equivalent",
    "exchange",
    "explorer_page",
    "exponent_bound",
    "fit_exponent",
    "fit_exponent_of_positions",
    "fit_spectrum_tail",
    "flat_displacement",
    "fluctuation_dissipation_relations",
    "fokker_planck",
    "heavy_ball",
    "heavy_tail",
    "implicit_regularization",
    "log_normal",
    "lower",
    "marchenko_pastur",
    "modified_equation",
    "nesterov",
    "observables",
    "ornstein_uhlenbeck",
    "plain_sgd",
    "plot_advice",
    "plot_displacement",
    "plot_exponent",
    "plot_hyperparameter_panels",
    "plot_modified_loss",
    "plot_phase_portrait",
    "plot_regimes",
    "plot_spectrum",
    "power_law",
    "quasi_hyperbolic",
    "read_spectrum",
    "recursion",
    "saturation",
    "scaling_exponents",
    "scaling_laws",
    "scan_windows",
    "sensitivities",
    "slow_direction",
    "slow_manifold",
    "symbols",
    "velocity_memory",
    "white",
    "write_explorer",
]


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        return _import_module("importlib.metadata").version("sgdtheory")
    if name in ("testing", "torch"):
        return _import_module(f"sgdtheory.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'sgdtheory' has no attribute {name!r}")
    value = getattr(_import_module(f"sgdtheory.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
