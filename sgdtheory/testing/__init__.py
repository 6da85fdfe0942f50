"""Test a theory of SGD dynamics by its laws.

`check(theory)` runs them all on examples that Hypothesis draws and makes small; strategies for
runs, spectra, covariances and rules are there for tests of one's own. Needs `sgdtheory[testing]`.
"""

from importlib.util import find_spec as _find_spec

if _find_spec("hypothesis") is None:
    raise ModuleNotFoundError(
        "examples are drawn by Hypothesis, which is not installed. Run pip install "
        "'sgdtheory[testing]'."
    )

from sgdtheory.testing.checks import LAWS, Finding, Report, check, check_flow
from sgdtheory.testing.law import BrokenLawError, Law
from sgdtheory.testing.laws_of_flows import LAWS_OF_FLOWS, LinearProcess
from sgdtheory.testing.run import Run
from sgdtheory.testing.simulation import Simulated, check_against_simulation
from sgdtheory.testing.stable_limit import heavy_ball_limit, limit_of
from sgdtheory.testing.strategies import (
    covariances,
    datasets,
    hyperparameters,
    landscapes,
    learning_rates,
    linear_processes,
    momenta,
    runs,
    spectra,
    step_counts,
    update_rules,
)

__all__ = [
    "LAWS",
    "LAWS_OF_FLOWS",
    "BrokenLawError",
    "Finding",
    "Law",
    "LinearProcess",
    "Report",
    "Run",
    "Simulated",
    "check",
    "check_against_simulation",
    "check_flow",
    "covariances",
    "datasets",
    "heavy_ball_limit",
    "hyperparameters",
    "landscapes",
    "learning_rates",
    "limit_of",
    "linear_processes",
    "momenta",
    "runs",
    "spectra",
    "step_counts",
    "update_rules",
]
