"""Ensembles: SGD itself, replica by replica, fast enough to test a theory of it.

Whatever the number of threads, the back end or the order of the work, a seed gives the same batches
and the same trajectories. The library that a problem's arrays ask for is loaded by the first run.
"""

from sgdtheory.ensembles.linear_regression import LinearRegressionEnsemble
from sgdtheory.ensembles.quadratic import QuadraticEnsemble
from sgdtheory.ensembles.run import Estimate, Run

__all__ = ["Estimate", "LinearRegressionEnsemble", "QuadraticEnsemble", "Run"]
