r"""What every theory of SGD with momentum about a minimum must fulfil, whoever wrote it.

A law takes a theory, a function of (hyperparameters, spectrum) whose result answers to `mean`,
`covariance`, `stationary_covariance`, `autocovariance`, `displacement`, and one run. It knows no
formula of any theory: it sets what the theory says beside other things that it says, in other
units, at other times, of other directions, or beside the update rule applied by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.testing.run import Run

__all__ = ["LAWS", "BrokenLawError", "Law", "Theory", "close", "law", "propagator", "tolerance"]

Array = NDArray[np.float64]
Theory = Callable[[Any, Any], Any]
"""(hyperparameters, spectrum) to an object that answers."""

# Roundings that one update may add, with room: an order of magnitude above what good code needs.
_ROUNDING = 1e-13


class BrokenLawError(AssertionError):
    """A law does not hold, in words."""


@dataclass(frozen=True)
class Law:
    """One law.

    Args:
        name: as reports call it.
        statement: what must hold, and why.
        needs: methods of the theory that it asks.
        holds: raises `BrokenLawError` for a run that breaks it.
        exact: whether only theories that are exact at every learning rate must fulfil it.
    """

    name: str
    statement: str
    needs: tuple[str, ...]
    holds: Callable[[Theory, Run], None]
    exact: bool = False


LAWS: list[Law] = []


def law(
    name: str, *needs: str, exact: bool = False
) -> Callable[[Callable[[Theory, Run], None]], Callable[[Theory, Run], None]]:
    """Enter a function, whose docstring is the statement."""

    def enter(function: Callable[[Theory, Run], None]) -> Callable[[Theory, Run], None]:
        statement = " ".join((function.__doc__ or "").split())
        LAWS.append(Law(name, statement, needs, function, exact))
        return function

    return enter


def tolerance(run: Run, *steps: int) -> float:
    """Relative, for numbers that were rounded in every update and remembered for 1/(1 − β)."""
    memory = 1 / (1 - run.momentum)
    y = run.learning_rate * run.curvature.max()
    near = 1 / max(1 - y / (2 * (1 + run.momentum)), 1e-3)
    return float(_ROUNDING * (1 + max(steps, default=0)) * memory * near)


def close(what: str, found: Any, expected: Any, scale: Any, allowed: float) -> None:
    """Compare in units; what is not finite is never close.

    Raises:
        BrokenLawError: with the numbers that differ most.
    """
    found, expected, scale = np.broadcast_arrays(
        np.asarray(found, float), np.asarray(expected, float), np.asarray(scale, float)
    )
    with np.errstate(invalid="ignore"):
        away = np.abs(found - expected) / scale
    away = np.where(np.isfinite(away), away, np.inf)
    if away.size and away.max() > allowed:
        place = np.unravel_index(int(away.argmax()), away.shape)
        raise BrokenLawError(
            f"{what}: {found[place]:.12g}, expected {expected[place]:.12g}; they differ by "
            f"{away[place]:.3g} of their scale, {allowed:.2g} is allowed"
        )


def _asked(theory: Theory, run: Run) -> Any:
    return theory(run.hyperparameters, run.spectrum)


def _pair(units: Array) -> Array:
    """Of a covariance, (modes, 2, 2)."""
    return np.asarray(units[..., :, None] * units[..., None, :])


def propagator(model: Any, run: Run, k: int) -> Array:
    """F with mean(k) = F x, (modes, 2, 2), from two means."""
    ones, zeros = np.ones(len(run.eigenvalues)), np.zeros(len(run.eigenvalues))
    units = run.units
    columns = [
        np.asarray(model.mean(k, units[:, 0], zeros)) / units[:, :1],
        np.asarray(model.mean(k, zeros, units[:, 1])) / units[:, 1:],
    ]
    return np.stack(columns, axis=-1) * ones[:, None, None]


@law("beginning", "mean", "covariance")
def _beginning(theory: Theory, run: Run) -> None:
    """After no update the mean is where it was put, and nothing has spread."""
    model = _asked(theory, run)
    start = np.stack(run.start, axis=-1)
    close("mean(0)", model.mean(0, *run.start), start, run.units, tolerance(run))
    close("covariance(0)", model.covariance(0), 0.0, _pair(run.units), tolerance(run))


@law("semigroup of the mean", "mean")
def _semigroup(theory: Theory, run: Run) -> None:
    """j updates and then k are j + k: a mean that begins where another ended goes on as that."""
    model, (j, k) = _asked(theory, run), run.steps
    at_once = model.mean(j + k, *run.start)
    between = np.asarray(model.mean(j, *run.start))
    in_two = model.mean(k, between[:, 0], between[:, 1])
    close(f"mean({j} + {k})", at_once, in_two, run.units, tolerance(run, j, k))


@law("linearity of the mean", "mean")
def _linear(theory: Theory, run: Run) -> None:
    """A quadratic loss has a linear gradient: twice as far from the minimum stays twice as far."""
    model, k = _asked(theory, run), run.steps[0]
    x, v = run.start
    twice = model.mean(k, 2 * x, 2 * v)
    once = 2 * np.asarray(model.mean(k, x, v))
    close(f"mean({k}) from twice as far", twice, once, run.units, tolerance(run, k))


@law("semigroup of the covariance", "mean", "covariance")
def _covariance_semigroup(theory: Theory, run: Run) -> None:
    """What has spread is carried on as means are, and noise is added: C(j + k) = C(k) + FC(j)Fᵀ."""
    model, (j, k) = _asked(theory, run), run.steps
    flow = propagator(model, run, k)
    carried = flow @ np.asarray(model.covariance(j)) @ flow.swapaxes(-1, -2)
    expected = np.asarray(model.covariance(k)) + carried
    scale = _pair(run.units)
    close(f"covariance({j} + {k})", model.covariance(j + k), expected, scale, tolerance(run, j, k))


@law("positive covariance", "covariance")
def _positive(theory: Theory, run: Run) -> None:
    """A covariance has no negative eigenvalue, at any time."""
    model = _asked(theory, run)
    for k in run.steps:
        _require_positive(f"covariance({k})", model.covariance(k), run, k)


@law("positive stationary covariance", "stationary_covariance")
def _positive_stationary(theory: Theory, run: Run) -> None:
    """A covariance has no negative eigenvalue, and noise that pushes every direction spreads it."""
    found = np.asarray(_asked(theory, run).stationary_covariance())
    _require_positive("stationary_covariance()", found, run, 0)
    if not (np.diagonal(found, axis1=-2, axis2=-1) > 0).all():
        raise BrokenLawError(
            "stationary_covariance(): a variance is not positive, although there is noise"
        )


def _require_positive(what: str, covariance: Any, run: Run, k: int) -> None:
    scaled = np.asarray(covariance) / _pair(run.units)
    close(f"{what}, symmetry", scaled, scaled.swapaxes(-1, -2), 1.0, tolerance(run, k))
    if not np.isfinite(scaled).all():
        raise BrokenLawError(f"{what} is not finite")
    smallest = float(np.linalg.eigvalsh(scaled).min())
    if smallest < -tolerance(run, k):
        raise BrokenLawError(f"{what} has the eigenvalue {smallest:.3g}, in units of the run")


@law("monotone approach", "covariance", "stationary_covariance")
def _monotone(theory: Theory, run: Run) -> None:
    """A cloud that began as a point only grows, and never beyond the stationary one."""
    model, (j, k) = _asked(theory, run), sorted(run.steps)
    early, late = np.asarray(model.covariance(j)), np.asarray(model.covariance(k))
    _require_positive(f"covariance({k}) − covariance({j})", late - early, run, k)
    left = np.asarray(model.stationary_covariance()) - late
    _require_positive(f"stationary_covariance() − covariance({k})", left, run, k)


@law("stationarity", "mean", "covariance", "stationary_covariance")
def _stationary(theory: Theory, run: Run) -> None:
    """The stationary state stays: what friction takes noise gives back, B = F B Fᵀ + C(k)."""
    model, k = _asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())
    flow = propagator(model, run, k)
    now = flow @ held @ flow.swapaxes(-1, -2) + np.asarray(model.covariance(k))
    scale = np.maximum(_pair(run.units), _pair(np.sqrt(np.abs(np.diagonal(held, 0, -2, -1)))))
    close(f"stationary_covariance() after {k} updates", now, held, scale, tolerance(run, k))


@law("regression of fluctuations", "mean", "autocovariance", "stationary_covariance")
def _regression(theory: Theory, run: Run) -> None:
    """A fluctuation decays on the average as a mean does (Onsager): E[x(k) x(0)ᵀ] = F B."""
    model, k = _asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())
    expected = propagator(model, run, k) @ held
    scale = np.maximum(_pair(run.units), _pair(np.sqrt(np.abs(np.diagonal(held, 0, -2, -1)))))
    close(f"autocovariance({k})", model.autocovariance(k), expected, scale, tolerance(run, k))


@law("displacement is lost correlation", "displacement", "autocovariance", "stationary_covariance")
def _lost(theory: Theory, run: Run) -> None:
    """In the stationary state, E|θ(k) − θ(0)|² = 2 Σ (Var θ − Cov(θ(k), θ(0))), and is ≥ 0."""
    model, k = _asked(theory, run), run.steps[0]
    held = np.asarray(model.stationary_covariance())[:, 0, 0]
    kept = np.asarray(model.autocovariance(k))[:, 0, 0]
    found = float(model.displacement(k))
    scale = max(float(held.sum()), float((run.units[:, 0] ** 2).sum()))
    close(f"displacement({k})", found, 2 * (held - kept).sum(), scale, tolerance(run, k))
    if not found >= 0:
        raise BrokenLawError(f"displacement({k}) = {found:.3g} is negative")


@law("no displacement outruns its parts", "displacement")
def _subadditive(theory: Theory, run: Run) -> None:
    """√E|Δ|² is a length: a way of j + k updates is no longer than those of j and of k together."""
    model, (j, k) = _asked(theory, run), run.steps
    whole, first, second = (float(model.displacement(n)) for n in (j + k, j, k))
    most = (np.sqrt(abs(first)) + np.sqrt(abs(second))) ** 2
    scale = float((run.units[:, 0] ** 2).sum())
    if not whole <= most + tolerance(run, j, k) * max(scale, whole):
        raise BrokenLawError(
            f"displacement({j} + {k}) = {whole:.12g}, more than {most:.12g}, which displacements "
            f"of {j} and {k} allow"
        )


@law("displacement from the minimum", "displacement", "covariance")
def _from_minimum(theory: Theory, run: Run) -> None:
    """What begins at the minimum and at rest moves by its variance alone."""
    model, k = _asked(theory, run), run.steps[0]
    expected = float(np.asarray(model.covariance(k))[:, 0, 0].sum())
    found = float(model.displacement(k, position=np.zeros(len(run.eigenvalues))))
    scale = float((run.units[:, 0] ** 2).sum())
    close(f"displacement({k}) from the minimum", found, expected, scale, tolerance(run, k))


@law("units of position", "mean", "covariance")
def _units_of_position(theory: Theory, run: Run) -> None:
    """θ measured in other units: curvatures and noise change by c⁻², η by c², velocities by c⁻¹."""
    k, c = run.steps[0], 8.0
    other = run.varied(
        learning_rate=run.learning_rate * c**2,
        weight_decay=run.weight_decay / c**2,
        eigenvalues=tuple(rho / c**2 for rho in run.eigenvalues),
        noise=tuple(each / c**2 for each in run.noise),
        position=tuple(c * x for x in run.position),
        velocity=tuple(v / c for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([c, 1 / c]), k, "θ in other units")


@law("units of the loss", "mean", "covariance")
def _units_of_loss(theory: Theory, run: Run) -> None:
    """The loss times a: curvatures and velocities times a, noise times a², η by 1/a; θ the same."""
    k, a = run.steps[0], 8.0
    other = run.varied(
        learning_rate=run.learning_rate / a,
        weight_decay=run.weight_decay * a,
        eigenvalues=tuple(rho * a for rho in run.eigenvalues),
        noise=tuple(each * a**2 for each in run.noise),
        velocity=tuple(v * a for v in run.velocity),
    )
    _require_scaled(theory, run, other, np.array([1.0, a]), k, "the loss in other units")


def _require_scaled(
    theory: Theory, run: Run, other: Run, factors: Array, k: int, what: str
) -> None:
    model, rescaled = _asked(theory, run), _asked(theory, other)
    means = np.asarray(model.mean(k, *run.start)) * factors
    allowed = tolerance(run, k)
    units = run.units * factors
    close(f"mean({k}) with {what}", rescaled.mean(k, *other.start), means, units, allowed)
    spreads = np.asarray(model.covariance(k)) * np.outer(factors, factors)
    close(f"covariance({k}) with {what}", rescaled.covariance(k), spreads, _pair(units), allowed)


@law("noise scales covariances", "covariance")
def _louder(theory: Theory, run: Run) -> None:
    """Four times the noise variance is four times the covariance; so is a quarter of the batch."""
    k = run.steps[0]
    base = run.varied(batch_size=4 * run.batch_size)
    expected = 4 * np.asarray(_asked(theory, base).covariance(k))
    louder = base.varied(noise=tuple(4 * each for each in base.noise))
    scale, allowed = 4 * _pair(run.units), tolerance(run, k)
    for what, other in (("four times the noise", louder), ("a quarter of the batch", run)):
        found = _asked(theory, other).covariance(k)
        close(f"covariance({k}) with {what}", found, expected, scale, allowed)


@law("weight decay is curvature", "mean", "covariance")
def _decay(theory: Theory, run: Run) -> None:
    """λ pulls as a curvature does: ρ and λ act through ρ + λ alone, with the noise as it is."""
    k = run.steps[0]
    other = run.varied(weight_decay=0.0, eigenvalues=tuple(run.curvature.tolist()))
    model, moved = _asked(theory, run), _asked(theory, other)
    allowed = tolerance(run, k)
    means = moved.mean(k, *run.start), model.mean(k, *run.start)
    close(f"mean({k}), λ as curvature", *means, run.units, allowed)
    spreads = moved.covariance(k), model.covariance(k)
    close(f"covariance({k}), λ as curvature", *spreads, _pair(run.units), allowed)


@law("directions are independent", "mean", "covariance")
def _independent(theory: Theory, run: Run) -> None:
    """Along eigenvectors that noise shares, each direction moves as if it were alone."""
    k = run.steps[0]
    model = _asked(theory, run)
    mean, spread = np.asarray(model.mean(k, *run.start)), np.asarray(model.covariance(k))
    for i in range(len(run.eigenvalues)):
        alone = run.varied(
            **{
                name: (getattr(run, name)[i],)
                for name in ("eigenvalues", "noise", "position", "velocity")
            }
        )
        single = _asked(theory, alone)
        units, allowed = run.units[i : i + 1], tolerance(run, k)
        found = single.mean(k, *alone.start)
        close(f"mean({k}) of direction {i} alone", found, mean[i : i + 1], units, allowed)
        found = single.covariance(k)
        expected = spread[i : i + 1]
        close(f"covariance({k}) of direction {i} alone", found, expected, _pair(units), allowed)
