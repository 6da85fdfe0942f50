"""How far a run is from instability, and what would bring it back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sgdtheory.advice.advised_run import AdvisedRun, if_defined
from sgdtheory.advice.self_driven_noise import self_driven_noise
from sgdtheory.spectrum import Spectrum

__all__ = ["StabilityMargin", "stability_margin"]


@dataclass(frozen=True)
class StabilityMargin:
    """Distance to instability.

    Args:
        largest_step: the largest ηh.
        step_limit: the ηh from which on a rule is unstable; None where it has no such limit.
        learning_rate_limit: η at which the steepest direction becomes unstable, likewise.
        fraction: η over this limit, likewise.
        unstable_directions: how many with h > 0 do not settle, by their counts.
        flat_directions: how many have h = 0: nothing pulls them back.
        falling_directions: how many have h < 0.
        noise_gain: prediction error that a unit of prediction error adds if the noise grows with
            the distance as that of linear regression with Gaussian inputs; ∞ where means grow.
        continuous_error: what the continuous theory's variance misses along the steepest
            direction, exact over continuous less 1; None where one of them has none.
    """

    largest_step: float
    step_limit: float | None
    learning_rate_limit: float | None
    fraction: float | None
    unstable_directions: float
    flat_directions: float
    falling_directions: float
    noise_gain: float
    continuous_error: float | None

    @property
    def stable(self) -> bool:
        """Whether every direction with h > 0 settles."""
        return self.unstable_directions == 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words."""
        told = []
        if not self.stable:
            remedy = (
                f"lower the learning rate below {self.learning_rate_limit:.4g}"
                if self.learning_rate_limit is not None
                else "lower the learning rate"
            )
            told.append(
                "UNSTABLE. Directions that grow without limit: "
                f"{self.unstable_directions:.6g}; {remedy}."
            )
        if self.fraction is not None:
            told.append(
                f"The largest ηh is {self.largest_step:.4g}, {100 * self.fraction:.4g} % of the "
                f"limit {self.step_limit:.4g}; the steepest direction becomes unstable at a "
                f"learning rate of {self.learning_rate_limit:.4g}."
            )
        if self.flat_directions or self.falling_directions:
            told.append(
                f"Directions that are flat: {self.flat_directions:.6g}; that fall: "
                f"{self.falling_directions:.6g}. Nothing pulls them back; weight decay would."
            )
        if self.stable:
            told.append(self._noise_sentence)
        if self.continuous_error is not None:
            told.append(
                "The steepest direction's exact variance is the continuous theory's × "
                f"{1 + self.continuous_error:.4g}."
            )
        return tuple(told)

    @property
    def _noise_sentence(self) -> str:
        begin = "If the noise grew with the distance, as linear regression's does, "
        if self.noise_gain < 1:
            return (
                f"{begin}a unit of prediction error would add {self.noise_gain:.3g}; the run would "
                "be unstable from 1 on."
            )
        gain = f" (a gain of {self.noise_gain:.3g}, and 1 is the limit)"
        return (
            f"{begin}it would drive itself away{gain if np.isfinite(self.noise_gain) else ''}: "
            "raise the batch size or lower the learning rate."
        )


def stability_margin(run: AdvisedRun) -> StabilityMargin:
    """Distance to instability of a run.

    Args:
        run: whose settings and directions.

    >>> from sgdtheory import Hyperparameters
    >>> run = AdvisedRun(Hyperparameters(0.1, momentum=0.5, batch_size=4), Spectrum([2.0]))
    >>> margin = stability_margin(run)
    >>> margin.learning_rate_limit, round(margin.fraction, 12), margin.stable
    (1.5, 0.066666666667, True)
    """
    h, limit = run.curvature, run.learning_rate_limit
    rate, steepest = run.hyperparameters.learning_rate, float(h.max())
    upward = h > 0
    return StabilityMargin(
        rate * steepest,
        None if limit is None else limit * steepest,
        limit,
        None if limit is None else rate / limit,
        float(run.counts[upward & ~run.settles].sum()),
        float(run.counts[h == 0].sum()),
        float(run.counts[h < 0].sum()),
        self_driven_noise(run).gain,
        if_defined(lambda: _discrete_over_continuous(run) - 1),
    )


def _discrete_over_continuous(run: AdvisedRun) -> float:
    """Of the steepest direction's variance, at the run's own ηh."""
    steepest = Spectrum([run.directions.eigenvalues.max()], noise_variances=[1.0])
    exact, continuous = (
        run.predictor(steepest, theory=theory, sampling="with_replacement").stationary_covariance()[
            0, 0, 0
        ]
        for theory in ("discrete", "continuous")
    )
    return float(np.divide(exact, continuous))
