r"""From a recorded run to the theory's constants: curvature, noise and friction of each direction.

Maximum likelihood of the exact linear-Gaussian recursion, with its errors; no moment of a
continuous model is matched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sympy import Symbol

from sgdtheory.arrays import real
from sgdtheory.hyperparameters import Hyperparameters, require_hyperparameters
from sgdtheory.named_results import data_frame, dataset
from sgdtheory.profile_likelihood import Maximum, maximum, profile_intervals
from sgdtheory.recursion_likelihood import Record, RestrictedLikelihood
from sgdtheory.sampling import SAMPLINGS
from sgdtheory.spectrum import Spectrum
from sgdtheory.time_scales import relaxation_updates
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["Calibration", "calibrate"]

Array = NDArray[np.float64]

# A record follows its rule to this, relative to its steps; torch's single precision does.
_FOLLOWED = 1e-3
_WHITENESS_LAGS = 10
# Relaxation times, by simulation: below, the estimate of h is high by half though its interval
# holds (stationary), or 95 % intervals hold it in fewer than 93 % (given).
_ENOUGH = {"stationary": 2.0, "given": 50.0}


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a record says of each direction; arrays are (directions,), intervals (directions, 2).

    Args:
        curvature: h = ρ + λ. Unit: loss/θ².
        curvature_error: its standard error.
        curvature_interval: 95 %, from the profile likelihood.
        noise_variance: Σ of one example's gradient. Unit: (loss/θ)².
        noise_variance_error: its standard error.
        noise_variance_interval: 95 %.
        momentum: β, as the data show it; the set one where it was not estimated.
        momentum_error: its standard error; 0 where it was not estimated.
        momentum_interval: 95 %, of the friction 1 − β from the profile likelihood, as β.
        minimum: μ, in the record's own origin.
        minimum_error: its standard error.
        relaxations: length of all replicas together, in relaxation times of the direction.
        fewest_relaxations: the same at the lower end of the curvature's interval.
        whiteness: chance that residuals as correlated come from noise that is white: Ljung and
            Box's test over ten lags.
        pooled_scale: σ² where the likelihoods of all directions together are largest at Σ = σ²ρ.
        pooled_scale_error: its standard error.
        enough: relaxation times that a record should have, with its kind of start.
        weight_decay: λ that was set.
        set_momentum: β that was set.
    """

    curvature: Array
    curvature_error: Array
    curvature_interval: Array
    noise_variance: Array
    noise_variance_error: Array
    noise_variance_interval: Array
    momentum: Array
    momentum_error: Array
    momentum_interval: Array
    minimum: Array
    minimum_error: Array
    relaxations: Array
    fewest_relaxations: Array
    whiteness: Array
    pooled_scale: float
    pooled_scale_error: float
    enough: float
    weight_decay: float
    set_momentum: float

    @cached_property
    def spectrum(self) -> Spectrum:
        """Eigenvalues ρ = h − λ and noise variances, for a predictor."""
        eigenvalues = self.curvature - self.weight_decay
        return Spectrum(eigenvalues, noise_variances=self.noise_variance)

    @property
    def noise_scale(self) -> tuple[float, float]:
        """σ² of noise proportional to the Hessian, and its standard error, over all directions.

        Raises:
            ValueError: where an eigenvalue h − λ is not positive, naming it.
        """
        rho = self.curvature - self.weight_decay
        if np.any(rho <= 0):
            i = int(np.argmin(rho))
            raise ValueError(
                f"direction {i} has the eigenvalue h − λ = {rho[i]:.3g}: noise in proportion to it "
                "is none. Check the weight decay, or use noise_variance."
            )
        return self.pooled_scale, self.pooled_scale_error

    @property
    def momentum_z(self) -> Array:
        """Estimated less set momentum over its standard error; 0 where it was not estimated."""
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (self.momentum - self.set_momentum) / self.momentum_error
        return np.asarray(np.where(self.momentum_error > 0, z, 0.0))

    @property
    def short(self) -> NDArray[np.bool_]:
        """Directions whose record may be shorter than `enough`."""
        return np.asarray(self.fewest_relaxations < self.enough)

    def __len__(self) -> int:
        return len(self.curvature)

    def markdown(self, most: int = 20) -> str:
        """A table of the first directions.

        Args:
            most: rows.
        """
        head = ["", "h", "Σ", "β", "record / relaxation", "whiteness p"]
        rows = [head, ["---"] * len(head)]
        for i in range(min(len(self), most)):
            rows.append(
                [
                    str(i),
                    f"{self.curvature[i]:.4g} ± {self.curvature_error[i]:.2g}",
                    f"{self.noise_variance[i]:.4g} ± {self.noise_variance_error[i]:.2g}",
                    f"{self.momentum[i]:.4g} ± {self.momentum_error[i]:.2g}",
                    f"{self.relaxations[i]:.3g}" + (" (short)" if self.short[i] else ""),
                    f"{self.whiteness[i]:.2g}",
                ]
            )
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def to_pandas(self) -> Any:
        """A pandas.DataFrame, a row for each direction; intervals are two columns.

        Raises:
            ImportError: when pandas is not installed.
        """
        columns: dict[str, Array] = {}
        for field in fields(self):
            value = np.asarray(getattr(self, field.name))
            if value.ndim == 1:
                columns[field.name] = value
            elif value.ndim == 2:
                name = field.name.removesuffix("interval")
                columns |= {f"{name}lower": value[:, 0], f"{name}upper": value[:, 1]}
        directions = {"direction": np.arange(len(self))}
        return data_frame(dataset(columns, directions))

    def save(self, path: str | Path) -> None:
        """Write everything as arrays to an .npz file.

        Args:
            path: of the file; eigenvalues and noise_variances are stored beside the estimates, so
                that it is a spectrum file, too.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        spectrum = {
            "eigenvalues": self.spectrum.eigenvalues,
            "noise_variances": self.spectrum.noise_variances,
        }
        with Path(path).open("wb") as file:
            np.savez(file, **arrays, **spectrum)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Args:
            path: of the file.

        Raises:
            ValueError: for a file that is none, naming what it lacks.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (ValueError, EOFError, AttributeError, KeyError, BadZipFile) as error:
            raise ValueError(f"path = {path}: this is no calibration, {error}.") from None
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in found]:
            raise ValueError(
                f"path = {path}: no calibration, it lacks {', '.join(missing)}. Give a file that "
                "Calibration.save wrote."
            )
        numbers = {
            field.name: float(found[field.name]) for field in fields(cls) if field.type == "float"
        }
        return cls(**{name: found[name] for name in names} | numbers)


def calibrate(
    positions: Any,
    hyperparameters: Hyperparameters,
    velocities: Any = None,
    *,
    rule: UpdateRule | None = None,
    parameters: Mapping[Symbol, float] | None = None,
    sampling: str = "with_replacement",
    start: str = "stationary",
    estimate_momentum: bool = True,
) -> Calibration:
    r"""Curvature, noise variance and friction of each direction, from a record.

    Every update must be there, drawn with replacement; directions are taken one by one.

    Args:
        positions: θ projected on known directions, (steps, directions), or with replicas in front.
        hyperparameters: the run's.
        velocities: v of the same states, v_k that led to θ_k, likewise. Where a step is a velocity,
            as for heavy ball, they follow from the positions and may be left out.
        rule: the optimiser, heavy ball by default.
        parameters: values of its further symbols.
        sampling: how batches were drawn; only "with_replacement" can be calibrated.
        start: "stationary" where the run had forgotten its beginning; "given" where not: then the
            first state tells nothing.
        estimate_momentum: False to trust the momentum that was set. It can be estimated only where
            a step is a velocity and there is any.

    Raises:
        ValueError: for batches of epochs, shapes that do not fit, a record that does not follow
            the rule, or a rule whose velocities are needed.

    Source:
        Restricted likelihood of an autoregression: Cheang and Reinsel, J. Am. Stat. Assoc. 95
        (2000); its ratio test near a unit root: Chen and Deo, Econometric Theory 25 (2009).

    >>> rng, rate = np.random.default_rng(0), 0.1
    >>> theta, path = 0.0, []
    >>> for kick in rng.standard_normal(20_000):
    ...     theta += -rate * (2.0 * theta + kick)
    ...     path.append([theta])
    >>> found = calibrate(path, Hyperparameters(rate))
    >>> bool(abs(found.curvature[0] - 2.0) < 3 * found.curvature_error[0])
    True
    """
    require_hyperparameters(hyperparameters)
    _require_known(sampling, start)
    rule, own = rule or heavy_ball(), dict(parameters or {})
    hyperparameters.sweep.require_one_setting("a calibration")
    hyperparameters.require_for(rule, own)
    theta, v = _states(positions, velocities, hyperparameters, rule)
    values = tuple(float(own[x]) for x in sorted(own, key=str))
    rate, beta = float(hyperparameters.learning_rate), float(hyperparameters.momentum)
    record = Record.of(theta, v)
    likelihood = RestrictedLikelihood(record, rule, rate, beta, values, start == "stationary")
    _require_followed(theta, v, likelihood)
    free = estimate_momentum and rule.moves_by_velocity and beta > 0
    return _fitted(likelihood, theta, v, float(hyperparameters.batch_size), hyperparameters, free)


def _require_known(sampling: str, start: str) -> None:
    if start not in ("stationary", "given"):
        raise ValueError(f"start = {start!r}: give 'stationary' or 'given'.")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling = {sampling!r}: give one of {', '.join(SAMPLINGS)}.")
    if not SAMPLINGS[sampling]().white:
        raise ValueError(
            f"sampling = {sampling!r}: errors within an epoch take one another back, and the "
            "position remembers them, so that h would come out several times too large in slow "
            "directions. Record a run whose batches are drawn with replacement."
        )


def _states(
    positions: Any, velocities: Any, hyper: Hyperparameters, rule: UpdateRule
) -> tuple[Array, Array]:
    theta = _record("positions", positions)
    if velocities is not None:
        v = _record("velocities", velocities)
        if v.shape != theta.shape:
            raise ValueError(
                f"velocities have shape {v.shape} and positions {theta.shape}: give one each."
            )
        return theta, v
    if not rule.moves_by_velocity:
        raise ValueError(
            f"velocities = None: a step of the {rule.name} rule is not its velocity, so positions "
            "alone do not show it. Record the velocities (minus torch's momentum buffer) as well."
        )
    v = np.diff(theta, axis=1) / float(hyper.learning_rate)
    return theta[:, 1:], v


def _record(name: str, value: Any) -> Array:
    try:
        array = real(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: give an array of numbers.") from None
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1] < 20 or 0 in array.shape:
        raise ValueError(
            f"{name} has shape {array.shape}: give (steps, directions), or with replicas in front, "
            "and at least 20 steps."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds numbers that are not finite. Cut the record before them.")
    return array


def _require_followed(theta: Array, v: Array, likelihood: RestrictedLikelihood) -> None:
    """θ' − θ − a v and v' − c v must both be the same error's, whatever the direction is."""
    law = likelihood.law(np.zeros(theta.shape[-1]))
    a, c, b, d = law[:, 1], law[:, 3], law[:, 4], law[:, 5]
    still = np.ptp(theta, axis=1).max(0) == 0
    if np.any(still):
        raise ValueError(
            f"direction {int(np.argmax(still))} does not move: without noise nothing is told of "
            "it. Leave it out."
        )
    moved = np.diff(theta, axis=1) - a * v[:, :-1]
    pushed = (v[:, 1:] - c * v[:, :-1]) * (b / d)
    miss = np.sqrt(np.mean((moved - pushed) ** 2, (0, 1)) / np.mean(moved**2, (0, 1)))
    if np.any(~(miss < _FOLLOWED)):
        i = int(np.argmax(~(miss < _FOLLOWED)))
        raise ValueError(
            f"direction {i}: from one state to the next the record misses the "
            f"{likelihood.rule.name} rule by {miss[i]:.2g} of a step. Record every update, "
            "velocities with torch's sign turned (v is minus the momentum buffer), and the "
            "run's own learning rate and momentum."
        )


def _fitted(
    likelihood: RestrictedLikelihood,
    theta: Array,
    v: Array,
    batch: float,
    hyper: Hyperparameters,
    free: bool,
) -> Calibration:
    start = _first_guess(likelihood, free)
    top = maximum(likelihood, start)
    errors, intervals = top.standard_errors, profile_intervals(likelihood, top, 0)
    h, beta = likelihood.settings(top.at)
    variance, minimum, minimum_error = likelihood.eliminated(top.at)
    count = likelihood.record.updates - top.at.shape[1]
    law = likelihood.law(h, beta)
    residuals = (v[:, 1:] - law[:, 3] * v[:, :-1] - law[:, 2] * (theta[:, :-1] - minimum)) / law[
        :, 5
    ]
    ends = count / stats.chi2.ppf([0.975, 0.025], count)
    momentum_error, momentum_interval = np.zeros_like(h), np.stack([beta, beta], axis=1)
    if free:
        momentum_error = (1 - beta) * errors[:, 1]
        momentum_interval = -np.expm1(profile_intervals(likelihood, top, 1))[:, ::-1]
    decay = float(hyper.weight_decay)
    scale, scale_error = _pooled_scale(likelihood, top, variance * batch, decay)
    return Calibration(
        curvature=h,
        curvature_error=h * errors[:, 0],
        curvature_interval=np.exp(intervals),
        noise_variance=variance * batch,
        noise_variance_error=variance * batch * np.sqrt(2 / count),
        noise_variance_interval=(variance * batch)[:, None] * ends,
        momentum=beta,
        momentum_error=momentum_error,
        momentum_interval=momentum_interval,
        minimum=minimum,
        minimum_error=minimum_error,
        relaxations=_relaxations(likelihood, h, beta),
        fewest_relaxations=_relaxations(likelihood, np.exp(intervals[:, 0]), beta),
        whiteness=_whiteness(residuals),
        pooled_scale=scale,
        pooled_scale_error=scale_error,
        enough=_ENOUGH["stationary" if likelihood.stationary else "given"],
        weight_decay=decay,
        set_momentum=float(hyper.momentum),
    )


def _pooled_scale(
    likelihood: RestrictedLikelihood, found: Maximum, noise: Array, decay: float
) -> tuple[float, float]:
    """σ² and its error with every h = Σ/σ² + λ: a record tells Σ far better than h.

    An average of Σ/ρ would be too small, since the likeliest h of a slow direction is too large.
    """

    def pooled(parameters: Array) -> Array:
        settings = found.at.copy()
        settings[:, 0] = np.log(noise * np.exp(-parameters[0, 0]) + decay)
        return np.asarray([likelihood(settings).sum()])

    h = np.exp(found.at[:, 0])
    # A direction that is hardly curved but by weight decay tells nothing of σ².
    ratio = noise / np.maximum(h - decay, np.finfo(np.float64).eps * h)
    # Where every direction is as slow as its estimate or slower, all are stable.
    top = maximum(pooled, np.log([[ratio.max()]]))
    scale = float(np.exp(top.at[0, 0]))
    # What the estimates of momentum and noise, which were held fixed, add.
    information = np.maximum(found.information[:, 0, 0], np.finfo(np.float64).tiny)
    share = information / information.sum()
    by_momentum = float(share @ (information * found.standard_errors[:, 0] ** 2))
    by_noise = 2 / likelihood.record.updates * float(share @ share)
    return scale, scale * float(np.sqrt(top.standard_errors[0, 0] ** 2 * by_momentum + by_noise))


def _relaxations(likelihood: RestrictedLikelihood, h: Array, beta: Array) -> Array:
    law = likelihood.law(h, beta)
    # det(1 − M), without the difference of nearly equal numbers where h is small.
    gap = (1 - law[:, 0]) * (1 - law[:, 3]) - law[:, 1] * law[:, 2]
    with np.errstate(over="ignore"):
        slowest = relaxation_updates(2 - law[:, 0] - law[:, 3], gap)
    return np.asarray(likelihood.record.updates / slowest)


def _first_guess(likelihood: RestrictedLikelihood, free: bool) -> Array:
    """The best of a grid of curvatures up to the limit, at the set momentum."""
    grid = np.log(np.geomspace(1e-7, 0.99, 60) * likelihood.limit / likelihood.learning_rate)
    size = likelihood.record.products.shape[0]
    lost = np.log1p(-likelihood.momentum)
    tried = np.stack(
        [
            likelihood(np.stack([np.full(size, x), np.full(size, lost)][: 1 + free], axis=1))
            for x in grid
        ]
    )
    best = grid[np.argmax(tried, axis=0)]
    return np.stack([best, np.full(size, lost)][: 1 + free], axis=1)


def _whiteness(residuals: Array) -> Array:
    """Ljung-Box p values over replicas; lags within one replica only.

    Fitted constants use up a degree of freedom of it in fast directions and none in slow ones; none
    is subtracted, so that false alarms are rarer than p says, never more frequent.
    """
    # One mean for all replicas: a mean of each would correlate the residuals of short ones.
    centred = residuals - residuals.mean((0, 1))
    total, count = (centred**2).sum((0, 1)), centred.shape[0] * centred.shape[1]
    statistic = np.zeros(centred.shape[-1])
    for lag in range(1, _WHITENESS_LAGS + 1):
        product = (centred[:, lag:] * centred[:, :-lag]).sum((0, 1)) / total
        statistic += product**2 * count * (count + 2) / (count - lag * centred.shape[0])
    return np.asarray(stats.chi2.sf(statistic, _WHITENESS_LAGS))
