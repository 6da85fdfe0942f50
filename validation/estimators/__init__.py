"""From chains to measured numbers, each with its standard error. Estimators know no theory."""

from validation.estimators.block_bootstrap import bootstrap_of_means
from validation.estimators.correlations import autocorrelation, cross_correlation
from validation.estimators.displacement_curves import displacement, exponents, slope
from validation.estimators.estimate import Estimate, z_scores
from validation.estimators.fluctuation_dissipation import dissipation_ratio, stationary_ratio
from validation.estimators.gamma_method import function_of_means
from validation.estimators.integrated_time import IntegratedTime, integrated_autocorrelation
from validation.estimators.moments import covariance, mean, skewness, variance
from validation.estimators.noise_covariance import NoiseAlignment, noise_alignment
from validation.estimators.replicas import ReplicaAverages, averages, jackknife, replica_mean
from validation.estimators.rotation import RotationRates, circulation, rotation_rates
from validation.estimators.stationarity import Contrast, Stationarity, stationarity_tests

__all__ = [
    "Contrast",
    "Estimate",
    "IntegratedTime",
    "NoiseAlignment",
    "ReplicaAverages",
    "RotationRates",
    "Stationarity",
    "autocorrelation",
    "averages",
    "bootstrap_of_means",
    "circulation",
    "covariance",
    "cross_correlation",
    "displacement",
    "dissipation_ratio",
    "exponents",
    "function_of_means",
    "integrated_autocorrelation",
    "jackknife",
    "mean",
    "noise_alignment",
    "replica_mean",
    "rotation_rates",
    "skewness",
    "slope",
    "stationarity_tests",
    "stationary_ratio",
    "variance",
    "z_scores",
]
