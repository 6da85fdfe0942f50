"""What a law is: a name, a statement, and a function that raises where it is broken.

A law knows no formula of any theory. It sets what a theory says beside other things that it says,
at other times, in other units, of other directions, or beside the update rule applied by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.run import Run

__all__ = [
    "BrokenLawError",
    "Law",
    "NotFiniteError",
    "Theory",
    "asked",
    "close",
    "close_moments",
    "entered",
    "moments",
    "near_instability",
    "pairs",
    "plainest",
    "propagator",
    "refused",
    "stationary_tolerance",
    "stationary_units",
    "tolerance",
]

Array = NDArray[np.float64]
Theory = Callable[[Any, Any], Any]
"""(hyperparameters, spectrum) to an object that answers."""

# Roundings that one update may add, with room: an order of magnitude above what good code needs.
_ROUNDING = 1e-13


class BrokenLawError(AssertionError):
    """A law does not hold, in words."""


class NotFiniteError(BrokenLawError):
    """A theory's number is infinite or none: of this, no law says why."""


Holds = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Law:
    """One law.

    Args:
        name: as reports call it.
        statement: what must hold, and why.
        needs: methods of the theory's object that it asks.
        holds: takes a theory and an example, and raises `BrokenLawError` where it is broken.
        exact: whether only theories that are exact at every learning rate must fulfil it.
        untried: takes a theory, and says why the law cannot be tried on it; "" where it can.
    """

    name: str
    statement: str
    needs: tuple[str, ...]
    holds: Holds
    exact: bool = False
    untried: Callable[[Any], str] = lambda theory: ""


def entered(
    laws: list[Law], name: str, *needs: str, untried: Callable[[Any], str] = lambda theory: ""
) -> Callable[[Holds], Holds]:
    """Enter a function as a law, whose statement is its docstring."""

    def enter(function: Holds) -> Holds:
        statement = " ".join((function.__doc__ or "").split())
        laws.append(Law(name, statement, needs, function, untried=untried))
        return function

    return enter


def refused(what: str, ask: Callable[[], Any]) -> str:
    """Why a theory cannot be asked something, whatever it raises; "" where it answers.

    Args:
        what: it would have to take.
        ask: asks it.
    """
    try:
        ask()
    except Exception as error:
        return f"it takes no {what} ({type(error).__name__})"
    return ""


def tolerance(run: Run, *steps: int) -> float:
    """Relative, for numbers that were rounded in every update and remembered for 1/(1 − β)."""
    memory = 1 / (1 - run.momentum)
    return float(_ROUNDING * (1 + max(steps, default=0)) * memory * near_instability(run))


def stationary_tolerance(run: Run, *steps: int) -> float:
    """Relative, of a stationary state: the flattest direction adds up the roundings of 1/(ηh)
    updates, since so few digits are left of what one of them loses.
    """
    flattest = run.learning_rate * float(run.curvature.min())
    return tolerance(run, *steps) + _ROUNDING * near_instability(run) / flattest


def near_instability(run: Run) -> float:
    """By how much the steepest direction spreads further than its units say."""
    y = run.learning_rate * run.curvature.max()
    return float(1 / max(1 - y / run.limit(run.momentum), 1e-3))


def close(what: str, found: Any, expected: Any, scale: Any, allowed: float) -> None:
    """Compare in units; what is not finite is never close.

    Raises:
        BrokenLawError: with the numbers that differ most, and where in the array they are.
    """
    found, expected, scale = np.broadcast_arrays(
        np.asarray(found, float), np.asarray(expected, float), np.asarray(scale, float)
    )
    away = np.abs(found - expected) / scale
    away = np.where(np.isfinite(away), away, np.inf)
    if not away.size or away.max() <= allowed:
        return
    place = np.unravel_index(int(away.argmax()), away.shape)
    at = f" at {[int(index) for index in place]}" if place else ""
    first, second = float(found[place]), float(expected[place])
    if not np.isfinite([first, second]).all():
        raise NotFiniteError(f"{what}{at}: {first:g}, to be compared with {second:g}")
    told = (f"{first:.12g}", f"{second:.12g}")
    if told[0] == told[1]:
        told = (repr(first), repr(second))
    raise BrokenLawError(
        f"{what}{at}: {told[0]}, expected {told[1]}; they differ by {away[place]:.3g} of their "
        f"scale, {allowed:.2g} is allowed"
    )


def asked(theory: Theory, run: Run) -> Any:
    """The theory's object for a run."""
    return theory(run.hyperparameters, run.spectrum)


def plainest(theory: Theory) -> Any:
    """The theory's object for one direction of curvature 1, to see what it answers to."""
    return theory(Hyperparameters(0.5), Spectrum([1.0], noise_variances=[1.0]))


def moments(model: Any, run: Run) -> tuple[Array, Array]:
    """Mean from the run's start and covariance, at its first time."""
    k = run.steps[0]
    return np.asarray(model.mean(k, *run.start)), np.asarray(model.covariance(k))


def close_moments(
    what: str,
    run: Run,
    found: tuple[Array, Array],
    expected: tuple[Array, Array],
    units: Array,
    allowed: float,
) -> None:
    """Compare two pairs of `moments`.

    Args:
        what: was done, told after "mean(k)".
        run: whose first time it is.
        found: mean and covariance.
        expected: likewise.
        units: of a state.
        allowed: as of `close`.

    Raises:
        BrokenLawError: with the numbers that differ most.
    """
    k = run.steps[0]
    close(f"mean({k}){what}", found[0], expected[0], units, allowed)
    close(f"covariance({k}){what}", found[1], expected[1], pairs(units), allowed)


def pairs(units: Array) -> Array:
    """Units of a covariance, (…, d, d), from those of a state."""
    return np.asarray(units[..., :, None] * units[..., None, :])


def stationary_units(run: Run, held: Array) -> Array:
    """Units of a stationary covariance, which may spread further than its dimensions say."""
    own = np.sqrt(np.abs(np.diagonal(held, 0, -2, -1)))
    return np.maximum(pairs(run.units), pairs(own))


def propagator(model: Any, run: Run, k: int) -> Array:
    """F with mean(k) = F x, (modes, 2, 2), from two means."""
    ones, zeros = np.ones(len(run.eigenvalues)), np.zeros(len(run.eigenvalues))
    units = run.units
    columns = [
        np.asarray(model.mean(k, units[:, 0], zeros)) / units[:, :1],
        np.asarray(model.mean(k, zeros, units[:, 1])) / units[:, 1:],
    ]
    return np.stack(columns, axis=-1) * ones[:, None, None]
