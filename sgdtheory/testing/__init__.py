"""Test a theory of SGD dynamics by its laws.

`check(theory)` runs them all on examples that Hypothesis draws and makes small; strategies for
runs, spectra, covariances and rules are there for tests of one's own. Needs `sgdtheory[testing]`.
"""

from sgdtheory.testing.check import Finding, Report, check
from sgdtheory.testing.laws import LAWS, BrokenLawError, Law
from sgdtheory.testing.run import Run
from sgdtheory.testing.simulation import Simulated, check_against_simulation
from sgdtheory.testing.strategies import (
    covariances,
    datasets,
    heavy_ball_limit,
    hyperparameters,
    landscapes,
    learning_rates,
    momenta,
    runs,
    spectra,
    step_counts,
    update_rules,
)

__all__ = [
    "LAWS",
    "BrokenLawError",
    "Finding",
    "Law",
    "Report",
    "Run",
    "Simulated",
    "check",
    "check_against_simulation",
    "covariances",
    "datasets",
    "heavy_ball_limit",
    "hyperparameters",
    "landscapes",
    "learning_rates",
    "momenta",
    "runs",
    "spectra",
    "step_counts",
    "update_rules",
]
