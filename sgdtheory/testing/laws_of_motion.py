r"""How means and covariances go on in time, whatever the optimiser.

SGD about a minimum is linear and Markovian in position and velocity: what follows from that alone
holds for every such theory, and fluctuations are tied to how deviations decay.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.testing.law import (
    BrokenLawError,
    Law,
    NotFiniteError,
    Theory,
    asked,
    close,
    entered,
    pairs,
    plainest,
    propagator,
    refused,
    stationary_units,
    tolerance,
)
from sgdtheory.testing.run import Run

__all__ = ["LAWS_OF_MOTION"]

Array = NDArray[np.float64]

LAWS_OF_MOTION: list[Law] = []
_law = partial(entered, LAWS_OF_MOTION)


@_law("beginning", "mean", "covariance")
def _beginning(theory: Theory, run: Run) -> None:
    """After no update the mean is where it was put, and nothing has spread."""
    model = asked(theory, run)
    start = np.stack(run.start, axis=-1)
    close("mean(0)", model.mean(0, *run.start), start, run.units, tolerance(run))
    close("covariance(0)", model.covariance(0), 0.0, pairs(run.units), tolerance(run))


@_law("semigroup of the mean", "mean")
def _semigroup(theory: Theory, run: Run) -> None:
    """j updates and then k are j + k: a mean that begins where another ended goes on as that."""
    model, (j, k) = asked(theory, run), run.steps
    at_once = model.mean(j + k, *run.start)
    between = np.asarray(model.mean(j, *run.start))
    if not np.isfinite(between).all():
        raise NotFiniteError(f"mean({j}) is not finite")
    in_two = model.mean(k, between[:, 0], between[:, 1])
    close(f"mean({j} + {k})", at_once, in_two, run.units, tolerance(run, j, k))


@_law("linearity of the mean", "mean")
def _linear(theory: Theory, run: Run) -> None:
    """A quadratic loss has a linear gradient: twice as far from the minimum stays twice as far."""
    model, k = asked(theory, run), run.steps[0]
    x, v = run.start
    twice = model.mean(k, 2 * x, 2 * v)
    once = 2 * np.asarray(model.mean(k, x, v))
    close(f"mean({k}) from twice as far", twice, once, run.units, tolerance(run, k))


@_law("semigroup of the covariance", "mean", "covariance")
def _covariance_semigroup(theory: Theory, run: Run) -> None:
    """What has spread is carried on as means are, and noise is added: C(j + k) = C(k) + FC(j)Fᵀ."""
    model, (j, k) = asked(theory, run), run.steps
    flow = propagator(model, run, k)
    carried = flow @ np.asarray(model.covariance(j)) @ flow.swapaxes(-1, -2)
    expected = np.asarray(model.covariance(k)) + carried
    scale = pairs(run.units)
    close(f"covariance({j} + {k})", model.covariance(j + k), expected, scale, tolerance(run, j, k))


@_law("positive covariance", "covariance")
def _positive(theory: Theory, run: Run) -> None:
    """A covariance has no negative eigenvalue, at any time."""
    model = asked(theory, run)
    for k in run.steps:
        _require_positive(f"covariance({k})", model.covariance(k), run, k)


@_law("positive stationary covariance", "stationary_covariance")
def _positive_stationary(theory: Theory, run: Run) -> None:
    """A covariance has no negative eigenvalue, and noise that pushes every direction spreads it."""
    found = np.asarray(asked(theory, run).stationary_covariance())
    _require_positive("stationary_covariance()", found, run, 0)
    if not (np.diagonal(found, axis1=-2, axis2=-1) > 0).all():
        raise BrokenLawError(
            "stationary_covariance(): a variance is not positive, although there is noise"
        )


def _require_positive(what: str, covariance: Any, run: Run, k: int) -> None:
    scaled = np.asarray(covariance) / pairs(run.units)
    if not np.isfinite(scaled).all():
        raise NotFiniteError(f"{what} is not finite")
    close(f"{what}, symmetry", scaled, scaled.swapaxes(-1, -2), 1.0, tolerance(run, k))
    smallest = float(np.linalg.eigvalsh(scaled).min())
    if smallest < -tolerance(run, k):
        raise BrokenLawError(f"{what} has the eigenvalue {smallest:.3g}, in units of the run")


@_law("monotone approach", "covariance", "stationary_covariance")
def _monotone(theory: Theory, run: Run) -> None:
    """A cloud that began as a point only grows, and never beyond the stationary one."""
    model, (j, k) = asked(theory, run), sorted(run.steps)
    early, late = np.asarray(model.covariance(j)), np.asarray(model.covariance(k))
    _require_positive(f"covariance({k}) − covariance({j})", late - early, run, k)
    left = np.asarray(model.stationary_covariance()) - late
    _require_positive(f"stationary_covariance() − covariance({k})", left, run, k)


@_law("stationarity", "mean", "covariance", "stationary_covariance")
def _stationary(theory: Theory, run: Run) -> None:
    """The stationary state stays: what friction takes noise gives back, B = F B Fᵀ + C(k)."""
    model, k = asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())
    flow = propagator(model, run, k)
    now = flow @ held @ flow.swapaxes(-1, -2) + np.asarray(model.covariance(k))
    scale = stationary_units(run, held)
    close(f"stationary_covariance() after {k} updates", now, held, scale, tolerance(run, k))


@_law("regression of fluctuations", "mean", "autocovariance", "stationary_covariance")
def _regression(theory: Theory, run: Run) -> None:
    """A fluctuation decays on the average as a mean does (Onsager): E[x(k) x(0)ᵀ] = F B."""
    model, k = asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())
    expected = propagator(model, run, k) @ held
    scale = stationary_units(run, held)
    close(f"autocovariance({k})", model.autocovariance(k), expected, scale, tolerance(run, k))


@_law("displacement is lost correlation", "displacement", "autocovariance", "stationary_covariance")
def _lost(theory: Theory, run: Run) -> None:
    """In the stationary state, E|θ(k) − θ(0)|² = 2 Σ (Var θ − Cov(θ(k), θ(0))), and is ≥ 0."""
    model, k = asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())[:, 0, 0]
    kept = np.asarray(model.autocovariance(k))[:, 0, 0]
    found = float(model.displacement(k))
    scale = max(float(held.sum()), float((run.units[:, 0] ** 2).sum()))
    close(f"displacement({k})", found, 2 * (held - kept).sum(), scale, tolerance(run, k))
    if not found >= 0:
        raise BrokenLawError(f"displacement({k}) = {found:.3g} is negative")


@_law("no displacement outruns its parts", "displacement")
def _subadditive(theory: Theory, run: Run) -> None:
    """√E|Δ|² is a length: a way of j + k updates is no longer than those of j and of k together."""
    model, (j, k) = asked(theory, run), run.steps
    whole, first, second = (float(model.displacement(n)) for n in (j + k, j, k))
    most = (np.sqrt(abs(first)) + np.sqrt(abs(second))) ** 2
    scale = float((run.units[:, 0] ** 2).sum())
    if not whole <= most + tolerance(run, j, k) * max(scale, whole):
        raise BrokenLawError(
            f"displacement({j} + {k}) = {whole:.12g}, more than {most:.12g}, which displacements "
            f"of {j} and {k} allow"
        )


def _takes_no_start(theory: Theory) -> str:
    try:
        plainest(theory).displacement(1, position=np.ones(1))
    except TypeError:
        return "it takes no start, displacement(steps, position)"
    except Exception:  # noqa: S110 - the law will find it again, and tell it with an example
        pass
    return ""


@_law("displacement from a start", "displacement", "mean", "covariance", untried=_takes_no_start)
def _from_start(theory: Theory, run: Run) -> None:
    """What begins at one place and at rest moves by its mean's way, squared, and its variance."""
    model, k, (start, _) = asked(theory, run), run.steps[0], run.start
    way = np.asarray(model.mean(k, start, np.zeros_like(start)))[:, 0] - start
    expected = float((np.asarray(model.covariance(k))[:, 0, 0] + way**2).sum())
    found = float(model.displacement(k, position=start))
    scale = float((run.units[:, 0] ** 2).sum())
    close(f"displacement({k}) from a start", found, expected, scale, tolerance(run, k))


def _takes_one_time(theory: Theory) -> str:
    shapes: list[Any] = []

    def ask() -> None:
        shapes.append(np.shape(plainest(theory).covariance(np.array([1, 2]))))

    told = refused("array of steps", ask)
    if told or shapes == [(2, 1, 2, 2)]:
        return told
    return f"two steps give a covariance of shape {shapes[0]}"


@_law("times asked together", "mean", "covariance", untried=_takes_one_time)
def _together(theory: Theory, run: Run) -> None:
    """An array of times gives what each of them gives."""
    model, times = asked(theory, run), np.array(run.steps)
    means, spreads = model.mean(times, *run.start), model.covariance(times)
    for place, k in enumerate(run.steps):
        allowed = tolerance(run, k)
        alone = model.mean(k, *run.start)
        close(f"mean({list(run.steps)})[{place}]", means[place], alone, run.units, allowed)
        what, scale = f"covariance({list(run.steps)})[{place}]", pairs(run.units)
        close(what, spreads[place], model.covariance(k), scale, allowed)
