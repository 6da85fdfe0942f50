r"""Hyperparameters and a spectrum in, arrays out: the numeric face of both theories.

Each number is a lowered expression of the chapters above. A predictor adds no physics: it checks
its input once, evaluates, and weighs by the spectrum's counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgdtheory import symbols as s
from sgdtheory.arrays import backend_of, detached, like
from sgdtheory.crossovers import Crossovers, first_update
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.flat_direction import velocity_memory
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.landscape import Landscape
from sgdtheory.lowering import lower
from sgdtheory.notebook_display import Table, described
from sgdtheory.predicted_tables import PredictedTables
from sgdtheory.spectrum import Spectrum
from sgdtheory.time_scales import regimes, relaxation_time, relaxation_updates

__all__ = ["Predictor"]

# Directions in a notebook's table.
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Predictor(PredictedTables):
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
    then (modes,), then the state (θ − μ, v). The discrete theory's v is the rule's own velocity,
    the continuous theory's is dθ/dt: to leading order in η they are one and the same for rules that
    move the position by ηv_{k+1}. Under epochs stationary results are averages over the
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

    # -- in a notebook ------------------------------------------------------------------------

    def tables(self) -> tuple[Table, ...]:
        """The run and, of one setting, some of its directions; print one for plain text."""
        settings = {**self.hyperparameters.settings, **self.parameters}
        run = Table(
            f"{self.rule.name}, {self.theory} theory",
            (
                *((str(name).replace("_", " "), described(x)) for name, x in settings.items()),
                ("sampling", self.sampling.replace("_", " ")),
                ("spectrum", repr(self.spectrum)),
            ),
        )
        return (run,) if self.sweep.shape else (run, self._some_directions())

    def _some_directions(self) -> Table:
        """From the steepest to the flattest, evenly by rank."""
        descending = np.argsort(detached(self.spectrum.eigenvalues))[::-1]
        ranks = np.linspace(0, len(descending) - 1, min(_SHOWN, len(descending))).round()
        chosen = descending[ranks.astype(int)].copy()
        eigenvalues, noise = (
            detached(x)[chosen] for x in (self.spectrum.eigenvalues, self.spectrum.variances)
        )
        shown = replace(self, spectrum=Spectrum(eigenvalues, noise_variances=noise))
        settles = shown._first_unstable is None
        spread = (
            [f"{x:.4g}" for x in detached(shown.stationary_covariance())[:, 0, 0]]
            if settles
            else ["–"] * len(chosen)
        )
        steps = (f"{x:.4g}" for x in detached(shown.relaxation_steps))
        columns = (eigenvalues, noise)
        rows = zip(
            *([f"{x:.4g}" for x in column] for column in columns),
            shown.regime,
            steps,
            spread,
            strict=True,
        )
        head = ("ρ", "Σ", "regime", "relaxation, updates", "stationary Var θ")
        return Table(f"{len(chosen)} of {len(descending)} directions", tuple(rows), head)

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

    def crossovers(
        self,
        position: Any = None,
        velocity: Any = 0.0,
        phase: int = 0,
        start_covariance: Any = None,
    ) -> Crossovers:
        """Update counts at which the displacement's growth changes its law.

        Args:
            position: start, as of `displacement`; likewise the following.
            velocity: with `position`.
            phase: with `position`.
            start_covariance: about `position`.

        >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
        >>> model = Predictor(Hyperparameters(0.1, momentum=0.9), Spectrum([1e-4]))
        >>> found = model.crossovers()
        >>> round(float(found.velocity_memory), 6), float(found.saturation)
        (19.0, 10000.0)
        """
        start = {
            "position": position,
            "velocity": velocity,
            "phase": phase,
            "start_covariance": start_covariance,
        }
        if position is None and start_covariance is None:
            self._require_stationary()
        found = [part._crossings(start) for part in self._parts(1)]
        overtakes, saturation = (
            self._output(name, np.reshape([one[i] for one in found], self.sweep.shape))
            for i, name in enumerate(("start_overtakes", "saturation"))
        )
        white = self.sampling == "with_replacement"
        return Crossovers(
            self._velocity_memory(),
            self.relaxation_steps,
            None if white else self.hyperparameters.updates_per_epoch,
            overtakes,
            saturation,
        )

    def _velocity_memory(self) -> Any:
        own = sorted(self.parameters, key=str)
        expression = velocity_memory(self.rule)
        function = lower(expression, (s.eta, s.beta, s.S, *own), backend_of([self._double]))
        values = function(*(self._setting(x, 0) for x in self._rule_settings))
        return self._output("velocity_memory", values + like(np.zeros(self.sweep.shape), values))

    def _crossings(self, start: dict[str, Any]) -> tuple[float, float]:
        """Where one setting's start overtakes its noise, and where the displacement saturates."""

        def started(step: int) -> bool:
            try:
                # Under one order for ever nothing has moved at the end of an epoch.
                with np.errstate(divide="ignore", invalid="ignore"):
                    share = detached(self.displacement_parts([step], **start).ballistic_share)
            except UnstableError:
                # A direction has grown beyond all numbers, and no share is known any more.
                return False
            return bool(np.isfinite(share).all() and share.item() > 0.5)

        stationary = start["position"] is None and start["start_covariance"] is None
        overtakes = np.inf
        if not stationary:
            memory = detached(self._velocity_memory()).item()
            overtakes = first_update(started, int(np.ceil(memory)))
        slowest = float(detached(self.relaxation_steps).max())
        if not np.isfinite(slowest) or self.sampling == "fixed_order":
            # One order for ever ends in a cycle, which has no final displacement.
            return overtakes, float("inf")
        # Everything has relaxed by then, to the last bit.
        final = self.displacement([min(2**50, np.ceil(50 * slowest) + 1)], **start)
        goal = (1 - np.exp(-1)) * detached(final).item()
        if not goal > 0:
            return overtakes, float("inf")
        saturation = first_update(
            lambda step: detached(self.displacement([step], **start)).item() >= goal
        )
        return overtakes, saturation
