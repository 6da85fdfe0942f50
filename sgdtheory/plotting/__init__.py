"""Pictures of what other chapters have computed: theory as lines, measurement as points.

Every function takes the Axes to draw in, or makes a figure, and returns the Axes. Nothing is shown,
and no setting of matplotlib's is changed.
"""

from __future__ import annotations

from sgdtheory.plotting.counted_eigenvalues import plot_spectrum
from sgdtheory.plotting.growth_curves import plot_displacement, plot_exponent
from sgdtheory.plotting.hyperparameter_panels import plot_hyperparameter_panels
from sgdtheory.plotting.loss_profile import plot_modified_loss
from sgdtheory.plotting.phase_portrait import plot_phase_portrait
from sgdtheory.plotting.regime_map import plot_regimes
from sgdtheory.plotting.run_at_a_glance import plot_advice

__all__ = [
    "plot_advice",
    "plot_displacement",
    "plot_exponent",
    "plot_hyperparameter_panels",
    "plot_modified_loss",
    "plot_phase_portrait",
    "plot_regimes",
    "plot_spectrum",
]
