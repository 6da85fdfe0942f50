"""What a run of a given length is expected to do, in numbers and as a curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgdtheory.advice.advised_run import AdvisedRun, if_defined
from sgdtheory.displacement import DisplacementParts

__all__ = ["DisplacementCurve", "RunForecast", "displacement_curve", "forecast", "rounded"]

Array = NDArray[np.float64]
# A length in updates where none is given and nothing says when the run has saturated.
_SHORT_RUN = 1000.0
_LONGEST = 2.0**52
# Update counts of a fitted window, of equal weight and distance, as an experimenter's record has.
_RECORDED = 256
_PER_DECADE = 24
_ORIGINS = {
    "stationary": "its stationary state",
    "minimum": "rest at the minimum",
    "offset": "the start given",
}


def rounded(slope: float) -> str:
    """An exponent in words, to three decimals, and 0 without a sign.

    >>> rounded(-1e-6)
    '0.000'
    """
    return f"{round(slope, 3) + 0.0:.3f}"


@dataclass(frozen=True)
class RunForecast:
    """Expected numbers of a run; None is what does not exist, ∞ what is never reached.

    Args:
        steps: the run's length in updates.
        length_was_given: or taken to be the saturation, else the slowest relaxation.
        origin: the start, "stationary", "minimum" or "offset".
        variance: stationary position variance, summed over directions. Unit: θ².
        excess_loss: stationary loss above the minimum, ½ Σ h Var θ. Unit: loss.
        local_displacement: E|θ_{k+1} − θ_k|² in the stationary state. Unit: θ².
        displacement: E|θ_k − θ_0|² at the run's length. Unit: θ².
        exponent: of its growth, locally at the run's length.
        window: update counts between which a line is fitted: the run's second half.
        window_exponent: slope of the line, as an experimenter fits it.
        velocity_memory: updates after which the velocity is forgotten and ballistic steps end.
        epoch: updates per epoch, if batches are drawn without replacement.
        start_overtakes: update from which most of the displacement is what the start determined.
        saturation: update at which 1 − 1/e of the final displacement is reached.
    """

    steps: int
    length_was_given: bool
    origin: str
    variance: float | None
    excess_loss: float | None
    local_displacement: float | None
    displacement: float | None
    exponent: float | None
    window: tuple[int, int]
    window_exponent: float | None
    velocity_memory: float | None
    epoch: float | None
    start_overtakes: float | None
    saturation: float | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words."""
        told = []
        if not self.length_was_given:
            told.append(f"No length was given; {self.steps} updates are taken.")
        if self.variance is not None:
            told.append(
                f"Stationary: position variance {self.variance:.4g}, loss above the minimum "
                f"{self.excess_loss:.4g}."
            )
        if self.local_displacement is not None:
            told.append(
                "In the stationary state one update moves the parameters by E|δ|² = "
                f"{self.local_displacement:.4g}."
            )
        if self.displacement is None:
            told.append(
                f"There is no displacement after {self.steps} updates to be stated: the run has "
                "grown beyond all numbers, or nothing moves."
            )
        else:
            told.append(
                f"After {self.steps} updates from {_ORIGINS[self.origin]}: E|Δ|² = "
                f"{self.displacement:.4g}{self._growth}."
            )
        times = [
            f"{name} at {value:.4g}"
            for name, value in (
                ("velocity forgotten", self.velocity_memory),
                ("epoch", self.epoch),
                ("the start overtakes the noise", self.start_overtakes),
                ("63 % of its end reached", self.saturation),
            )
            if value is not None and np.isfinite(value)
        ]
        if times:
            told.append(f"Crossovers, in updates: {', '.join(times)}.")
        return tuple(told)

    @property
    def _growth(self) -> str:
        if self.exponent is None:
            return ""
        first, last = self.window
        fitted = self.window_exponent
        line = f"a line fitted from {first} to {last} has slope"
        if self.epoch is None:
            aside = "" if fitted is None else f" ({line} {rounded(fitted)})"
            return f", growing as k^{rounded(self.exponent)}{aside}"
        if fitted is None:
            return ""
        return f"; {line} {rounded(fitted)}, about which the local exponent swings in every epoch"

    @property
    def growth(self) -> float | None:
        """The exponent as a law of growth: that of a fitted line where every epoch has its own."""
        return self.exponent if self.epoch is None else self.window_exponent


def forecast(run: AdvisedRun, steps: int | None = None) -> RunForecast:
    """Expected numbers of a run.

    Args:
        run: whose.
        steps: its length in updates, if it is not the run's own.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> flat = AdvisedRun(Hyperparameters(0.1, 0.9), Spectrum([1e-6]), steps=1000)
    >>> found = forecast(flat)
    >>> round(found.exponent, 2), round(found.velocity_memory, 3)
    (1.01, 19.0)
    """
    model, start = run.total, run.started
    crossings = _crossovers(run)
    length = steps or run.steps or _usual_length(run, crossings["saturation"])
    window = (max(1, int(length) // 2), int(length))
    recorded = np.unique(np.linspace(*window, _RECORDED).round())
    return RunForecast(
        steps=int(length),
        length_was_given=run.steps is not None,
        origin=run.origin,
        variance=run.variance,
        excess_loss=run.excess_loss,
        local_displacement=if_defined(model.local_displacement),
        displacement=run.displacement(int(length)),
        exponent=if_defined(lambda: model.exponent(length, **start)),
        window=window,
        window_exponent=if_defined(lambda: model.window_exponent(recorded, **start)),
        **crossings,
    )


def _crossovers(run: AdvisedRun) -> dict[str, float | None]:
    names = ("velocity_memory", "epoch", "start_overtakes", "saturation")
    try:
        # With one order for ever there are shares of a displacement of 0.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = run.total.crossovers(**run.started)
    except ValueError:  # as an UnstableError is
        return dict.fromkeys(names)
    values = {name: getattr(found, name) for name in names}
    return {name: None if value is None else float(value) for name, value in values.items()}


def _usual_length(run: AdvisedRun, saturation: float | None) -> float:
    """Of a run that says none: until it has saturated, or else its slowest direction relaxed."""
    times = np.asarray(run.each.relaxation_steps)[run.settles]
    candidates = (saturation, *([times.max()] if len(times) else []), _SHORT_RUN)
    return next(float(np.ceil(x)) for x in candidates if x is not None and x < _LONGEST)


@dataclass(frozen=True, eq=False)
class DisplacementCurve:
    """A displacement against the update count.

    Args:
        steps: (T,).
        parts: drift, relaxation and noise, each (T,).
        exponent: local, (T,).
    """

    steps: Array
    parts: DisplacementParts
    exponent: Array


def displacement_curve(run: AdvisedRun, last: float) -> DisplacementCurve | None:
    """From the first update to some, in equal steps of the logarithm; None where it grows too far.

    Update counts at or beside which nothing has moved are left out.

    Args:
        run: whose.
        last: update count.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> curve = displacement_curve(AdvisedRun(Hyperparameters(0.1), Spectrum([1.0])), 1000)
    >>> curve.steps[[0, -1]], len(curve.exponent) == len(curve.steps)
    (array([   1., 1000.]), True)
    """
    last = max(last, 10.0)
    steps = np.unique(np.geomspace(1, last, int(_PER_DECADE * np.log10(last))).round())
    model, start = run.total, run.started
    try:
        # With one order for ever a run is back after an epoch, and a logarithm has no slope there.
        with np.errstate(over="ignore", invalid="ignore"):
            beside = model.displacement(np.stack([np.maximum(steps - 1, 1), steps + 1]), **start)
        steps = steps[np.all((beside > 0) & np.isfinite(beside), axis=0)]
        if len(steps):
            parts = model.displacement_parts(steps, **start)
            return DisplacementCurve(steps, parts, model.exponent(steps, **start))
    except ValueError:  # likewise
        pass
    return None
