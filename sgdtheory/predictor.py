r"""Hyperparameters and a spectrum in, arrays out: the numeric face of both theories.

Each number is a lowered expression of the chapters above. A predictor adds no physics: it checks
its input once, evaluates, and weighs by the spectrum's counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sgdtheory.arrays import detached
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.landscape import Landscape
from sgdtheory.predicted_displacement import PredictedDisplacement
from sgdtheory.time_scales import regimes, relaxation_time, relaxation_updates

__all__ = ["Predictor"]


@dataclass(frozen=True, eq=False)
class Predictor(PredictedDisplacement):
    r"""Predictions for a run: hyperparameters, a spectrum, and one of two theories.

    Args:
        hyperparameters: η, β, S, λ.
        spectrum: eigenvalues and noise variances; or a `Landscape`, whose H and Σ need not commute:
            then this is a `DensePredictor`, with the same verbs in the landscape's coordinates.
        theory: "discrete" (exact for a quadratic loss) or "continuous" (Langevin equation).
        rule: the optimiser; heavy ball, as torch.optim.SGD, by default.
        sampling: "with_replacement", batches with independent errors; "epochs", reshuffled, or
            "fixed_order", one order for ever. The latter two need the discrete theory and the
            hyperparameters' dataset_size.
        parameters: values of the rule's further symbols, as ``{symbols.nu: 0.7}``; numbers or
            arrays.

    Steps are update counts everywhere, a number or an array; results have the shape of `steps`,
    then (modes,), then the state (θ − μ, v). Under epochs stationary results are averages over the
    phase, the place in an epoch; transient ones start at an epoch's first batch unless `phase`
    says how many of its batches were over.

    Hyperparameters and parameters may be arrays, which broadcast: every result has the sweep's
    axes in front. Where they, or the steps, are xarray.DataArrays, so are the results, with the
    axes "step", "mode", "state" and "state\_" after the sweep's, and the settings, the steps and
    the eigenvalues as coordinates.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.9, batch_size=10)
    >>> model = Predictor(hyper, Spectrum([1.0, 0.1]))
    >>> model.stationary_covariance()[:, 0, 0].round(5)
    array([0.05135, 0.05013])
    >>> model.regime
    ('underdamped', 'underdamped')
    >>> import numpy as np
    >>> sweep = Hyperparameters(learning_rate=np.array([0.1, 0.2, 0.4]), momentum=0.9)
    >>> Predictor(sweep, Spectrum([1.0, 0.1])).displacement([1, 10]).shape
    (3, 2)
    """

    def __new__(
        cls, hyperparameters: Any = None, spectrum: Any = None, *args: Any, **settings: Any
    ) -> Any:
        """A landscape's predictor works in its own coordinates."""
        if isinstance(spectrum, Landscape):
            modes = cls(hyperparameters, spectrum.spectrum, *args, **settings)
            return DensePredictor(spectrum, modes)
        return super().__new__(cls)

    # -- time scales --------------------------------------------------------------------------

    @property
    def regime(self) -> Any:
        """Per mode: "overdamped", "critical", "underdamped" or "alternating".

        A tuple; for a sweep an array of strings. Critical means that the two rates agree to
        rounding; alternating, in discrete time only, that a root is negative, so that a mean
        changes sign at every update. A regime says nothing about stability: beyond it
        `relaxation_steps` of the discrete theory is infinite.
        """
        momentum = detached(self._setting(self.hyperparameters.momentum, 1))
        discrete = self.theory == "discrete"
        names = regimes(*self._characteristic(), momentum, discrete=discrete)
        if self.sweep.shape or self.sweep.named:
            return self._output("regime", names, "mode")
        return tuple(map(str, names))

    @property
    def relaxation_steps(self) -> Any:
        """Per mode: updates for the slowest root's envelope to fall by 1/e; ∞ if it does not."""
        trace, determinant = self._characteristic()
        if self.theory == "discrete":
            values = relaxation_updates(trace, determinant)
        else:
            rate = detached(self._setting(self.hyperparameters.learning_rate, 1))
            values = relaxation_time(trace, determinant) / rate
        return self._output("relaxation_steps", values, "mode")
