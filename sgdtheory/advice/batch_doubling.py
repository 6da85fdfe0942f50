"""What changes when the batch size doubles: everything predicted anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sgdtheory.advice.advised_run import AdvisedRun
from sgdtheory.advice.run_forecast import RunForecast, forecast, rounded
from sgdtheory.advice.stability_margin import StabilityMargin, stability_margin
from sgdtheory.equivalent_settings import equivalent

__all__ = ["BatchDoubling", "KeptVariance", "batch_doubling"]

_COMPARED = {
    "excess_loss": "temperature and loss above the minimum",
    "variance": "position variance",
    "local_displacement": "displacement of one update",
    "displacement": "displacement of as many updates",
}


@dataclass(frozen=True)
class KeptVariance:
    """A setting with twice the batch size that keeps the stationary variance of slow directions.

    Args:
        learning_rate: η.
        momentum: β.
        variance_ratio: position variance of all directions over that of the run as it is; None
            where it is unstable.
        fraction: of the learning rate's limit of stability; None for a rule without one.
    """

    learning_rate: float
    momentum: float
    variance_ratio: float | None
    fraction: float | None

    def __str__(self) -> str:
        setting = f"learning rate {self.learning_rate:.4g}, momentum {self.momentum:.4g}"
        if self.variance_ratio is None:
            return f"{setting}, unstable"
        told = f"{setting}, position variance × {self.variance_ratio:.4g} in all"
        if self.fraction is not None:
            told += f", {100 * self.fraction:.3g} % of the limit of stability"
        return told


@dataclass(frozen=True)
class BatchDoubling:
    """The run with twice the batch size, beside the run as it is.

    Args:
        ratios: after over before, of what both have: by the names of `RunForecast`.
        same_examples: ratio of displacements when as many examples have been seen, in half the
            updates; None where one of them has none.
        forecast: with twice the batch size, after as many updates.
        stability: likewise.
        kept_variance: by the learning rate alone, and by the momentum alone, where that can be;
            for batches with replacement.
    """

    ratios: Mapping[str, float]
    same_examples: float | None
    forecast: RunForecast
    stability: StabilityMargin
    kept_variance: tuple[KeptVariance, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words."""
        told = [f"{_COMPARED[name]} × {ratio:.4g}" for name, ratio in self.ratios.items()]
        if self.same_examples is not None:
            told.append(f"displacement of as many examples × {self.same_examples:.4g}")
        sentences = [f"{'; '.join(told)}.".capitalize()] if told else []
        if self.forecast.growth is not None:
            sentences.append(f"The exponent becomes {rounded(self.forecast.growth)}.")
        limit, gain = self.stability.learning_rate_limit, self.stability.noise_gain
        if limit is not None:
            sentences.append(f"The largest stable learning rate is then {limit:.4g}.")
        if np.isfinite(gain):
            sentences.append(f"The gain of noise that drives itself becomes {gain:.3g}.")
        if self.kept_variance:
            settings = "; or ".join(map(str, self.kept_variance))
            sentences.append(f"The variance of slow directions stays at {settings}.")
        elif self.forecast.epoch is not None:
            sentences.append(
                "Which settings would keep the variance is not said: scaling laws know batches "
                "drawn with replacement."
            )
        return tuple(sentences)


def batch_doubling(run: AdvisedRun, before: RunForecast) -> BatchDoubling | None:
    """What changes with twice the batch size; None where the data set has not so many examples.

    Args:
        run: as it is.
        before: its forecast.

    >>> from sgdtheory import Hyperparameters, Spectrum
    >>> run = AdvisedRun(Hyperparameters(0.1, 0.9, 32), Spectrum([1.0, 0.01]), steps=100)
    >>> batch_doubling(run, forecast(run)).ratios["variance"]
    0.5
    """
    hyper = run.hyperparameters
    batch = 2 * hyper.batch_size
    if hyper.dataset_size is not None and batch > hyper.dataset_size:
        return None
    doubled = run.but(hyperparameters=replace(hyper, batch_size=batch))
    after = forecast(doubled, before.steps)
    half = doubled.displacement(max(1, before.steps // 2))
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in _COMPARED}
    return BatchDoubling(
        {name: new / old for name, (old, new) in pairs.items() if old and new is not None},
        half / before.displacement if before.displacement and half is not None else None,
        after,
        stability_margin(doubled),
        tuple(_keeping_variance(run, before, batch)),
    )


def _keeping_variance(run: AdvisedRun, before: RunForecast, batch: float) -> Iterator[KeptVariance]:
    if run.sampling != "with_replacement" or not before.variance:
        return
    for follower in ("learning_rate", "momentum"):
        try:
            hyper = equivalent(
                run.hyperparameters,
                keep=("stationary_variance",),
                solve_for=(follower,),
                rule=run.rule,
                parameters=run.parameters,
                batch_size=batch,
            )
        except ValueError:  # no such setting keeps it
            continue
        other = run.but(hyperparameters=hyper)
        variance, limit = other.variance, other.learning_rate_limit
        yield KeptVariance(
            hyper.learning_rate,
            hyper.momentum,
            None if variance is None else variance / before.variance,
            None if limit is None else hyper.learning_rate / limit,
        )
