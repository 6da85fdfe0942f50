"""Advice on a run: what its settings and its spectrum make of it, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np
from sympy import Symbol

from sgdtheory.advice.advised_run import AdvisedRun
from sgdtheory.advice.batch_doubling import BatchDoubling, batch_doubling
from sgdtheory.advice.direction_ranges import DirectionRange, direction_ranges
from sgdtheory.advice.run_forecast import (
    DisplacementCurve,
    RunForecast,
    displacement_curve,
    forecast,
)
from sgdtheory.advice.stability_margin import StabilityMargin, stability_margin
from sgdtheory.advice.stationary_summary import (
    EffectiveTemperature,
    RelaxationTimes,
    effective_temperature,
    relaxation_times,
)
from sgdtheory.advice.strained_assumptions import (
    UNCHECKED,
    StrainedAssumption,
    strained_assumptions,
)
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Advice", "advise"]


@dataclass(frozen=True, eq=False, repr=False)
class Advice:
    """What there is to know about a run; prints as text, renders in a notebook.

    Args:
        run: what was asked about.
        stability: the distance to instability.
        ranges: regimes along the spectrum, from the steepest direction to the flattest.
        temperature: of the directions; None where none has noise and settles.
        relaxation: how long directions take; None where none settles.
        forecast: displacement, exponent and crossovers.
        doubled: what changes if the batch doubles; None where the data set has not so many.
        assumptions: those that can be tested, the weakest first.
    """

    run: AdvisedRun
    stability: StabilityMargin
    ranges: tuple[DirectionRange, ...]
    temperature: EffectiveTemperature | None
    relaxation: RelaxationTimes | None
    forecast: RunForecast
    doubled: BatchDoubling | None
    assumptions: tuple[StrainedAssumption, ...]

    @property
    def curve(self) -> DisplacementCurve | None:
        """The displacement up to the run's length, and on to its saturation."""
        saturation = self.forecast.saturation or 0.0
        beyond = 4 * saturation if saturation < 1e3 * self.forecast.steps else 0.0
        return displacement_curve(self.run, max(self.forecast.steps, beyond))

    # -- in words -----------------------------------------------------------------------------

    @property
    def sections(self) -> dict[str, tuple[str, ...]]:
        """Sentences under their headings."""
        sections = {
            "The run": self._settings,
            "Stability": self.stability.sentences,
            "Regimes": tuple(map(str, self.ranges)),
            "Temperature": self.temperature.sentences if self.temperature else (),
            "Relaxation": self.relaxation.sentences if self.relaxation else (),
            "Displacement": self.forecast.sentences,
            "If the batch doubles": self._doubled,
            "Assumptions, the weakest first": (
                *map(str, self.assumptions),
                f"Not tested: {'; '.join(UNCHECKED)}.",
            ),
        }
        return {heading: sentences for heading, sentences in sections.items() if sentences}

    @property
    def _settings(self) -> tuple[str, ...]:
        run = self.run
        named = {**run.hyperparameters.settings, **run.parameters}
        settings = ", ".join(f"{str(x).replace('_', ' ')} {value:g}" for x, value in named.items())
        told = [
            f"{run.rule.name}, {settings}; {run.theory} theory, sampling "
            f"{run.sampling.replace('_', ' ')}.",
            f"{run.counts.sum():.6g} directions, tr H = {run.directions.trace:.4g}.",
            *(f"{tail}." for tail in run.spectrum.negative_tails),
        ]
        if run.moved_to_the_minimum:
            told.append(
                "There is no stationary state to start in; the displacement is that from rest at "
                "the minimum."
            )
        return tuple(told)

    @property
    def _doubled(self) -> tuple[str, ...]:
        if self.doubled is None:
            return ("The data set has fewer examples than twice the batch size.",)
        return self.doubled.sentences

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join([heading, *(f"  {sentence}" for sentence in sentences)])
            for heading, sentences in self.sections.items()
        )

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return "\n\n".join(
            "\n".join([f"**{heading}**\n", *(f"- {escape(one, quote=False)}" for one in sentences)])
            for heading, sentences in self.sections.items()
        )

    # -- in numbers ---------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Numbers by name, for JSON: None for what does not exist or is infinite."""
        run = self.run
        settings = {
            **run.hyperparameters.settings,
            **{str(symbol): value for symbol, value in run.parameters.items()},
            "rule": run.rule.name,
            "theory": run.theory,
            "sampling": run.sampling,
            "directions": run.counts.sum(),
            "trace": run.directions.trace,
            "negative_tails": run.spectrum.negative_tails,
        }
        records = {x.name: getattr(self, x.name) for x in fields(self) if x.name != "run"}
        return _plain({"settings": settings, **records})


def _plain(value: Any) -> Any:
    """Records, arrays and numbers as JSON has them."""
    if is_dataclass(value):
        return {x.name: _plain(getattr(value, x.name)) for x in fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, str | bool | int | None):
        return value
    number = float(value)
    return number if np.isfinite(number) else None


def advise(
    hyperparameters: Hyperparameters,
    spectrum: Spectrum,
    *,
    theory: str = "discrete",
    rule: UpdateRule | None = None,
    sampling: str = "with_replacement",
    parameters: Mapping[Symbol, float] | None = None,
    steps: int | None = None,
    start: Any = "stationary",
) -> Advice:
    r"""Regimes, stability, temperature, times, displacement, and which assumption is weakest.

    An unstable run is no error: the advice says so, and what is known of it all the same.

    Args:
        hyperparameters: η, β, S, λ and, to know of epochs, N; one setting, no sweep.
        spectrum: of any size, not compressed.
        theory: "discrete" or "continuous".
        rule: the optimiser, heavy ball by default.
        sampling: "with_replacement", "epochs" or "fixed_order".
        parameters: values of the rule's further symbols.
        steps: the run's length in updates; by default until 63 % of the final displacement, which
            steep directions may reach long before flat ones have moved.
        start: "stationary"; "minimum", at rest there; or the offset from the minimum along every
            eigenvector, a number or (modes,). Where there is no stationary state the displacement
            is that from the minimum.

    Raises:
        ValueError: for input that no run can have, by name.

    >>> advice = advise(Hyperparameters(0.01, 0.9, 128), Spectrum([10.0, 1.0, 0.01]), steps=1000)
    >>> advice.stability.learning_rate_limit, advice.ranges[0].regime
    (0.38, 'underdamped')
    >>> print("\n".join(advice.sections["Temperature"]))
    Directions that settle have temperatures h Var θ from 3.906e-06 to 0.004012, half of them below
    0.0003917.
    Positions spread alike in all directions (isotropic): largest over smallest variance is 1.027.
    Inverse temperature κ = 24.32.
    """
    run = AdvisedRun(
        hyperparameters,
        spectrum,
        theory,
        rule or heavy_ball(),
        sampling,
        dict(parameters or {}),
        steps,
        start,
    )
    expected = forecast(run)
    return Advice(
        run,
        stability_margin(run),
        direction_ranges(run),
        effective_temperature(run),
        relaxation_times(run),
        expected,
        batch_doubling(run, expected),
        strained_assumptions(run, expected.steps),
    )
