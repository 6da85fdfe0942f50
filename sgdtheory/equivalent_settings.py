r"""Other settings with the same observables: linear scaling, exchanges of momentum and batch.

To leading order in the learning rate the laws are SymPy's to solve. Exactly, for a direction of a
given curvature, they are equations that are solved numerically from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from sympy import Dummy, Expr, Interval, Symbol, solve

from sgdtheory import symbols as s
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters, require_hyperparameters
from sgdtheory.lowering import lower
from sgdtheory.normal_form import factored
from sgdtheory.number_checks import check_number
from sgdtheory.predictor import Predictor
from sgdtheory.scaling import observables, scaling_laws
from sgdtheory.spectrum import Spectrum
from sgdtheory.update_rule import UpdateRule, heavy_ball

__all__ = ["equivalent", "exchange"]

Array = NDArray[np.float64]

_SYMBOLS = {"learning_rate": s.eta, "momentum": s.beta, "batch_size": s.S}
# An observable is kept when it is to this, relative.
_KEPT = 1e-9
_START_MOMENTA = (0.0, 0.5, 0.9, 0.99, 0.999)


def exchange(
    keep: Sequence[str],
    solve_for: Sequence[str] = ("learning_rate",),
    rule: UpdateRule | None = None,
) -> tuple[dict[Symbol, Expr], ...]:
    r"""How settings change together and keep observables, to leading order, as expressions.

    Args:
        keep: names of observables, as `scaling.observables` has them.
        solve_for: names of the settings that follow; "learning_rate", "momentum", "batch_size".
        rule: the optimiser, heavy ball by default.

    Returns:
        Every solution: the new value of each setting solved for, in terms of the old settings and
        of the new values of the others, which are the letters η, β and S with a prime. Where the
        observables leave a setting free, it is such a letter too, and missing among the solved.

    Raises:
        ValueError: for an unknown name.

    >>> exchange(("stationary_variance",), ("learning_rate",))[0][s.eta].subs(
    ...     {s.primed(s.beta): s.beta}
    ... ).simplify()
    eta*S'/S
    """
    rule = rule or heavy_ball()
    _require("keep", keep, observables(rule))
    _require("solve_for", solve_for, _SYMBOLS)
    return _solutions(tuple(keep), tuple(solve_for), rule)


@lru_cache(maxsize=256)
def _solutions(
    keep: tuple[str, ...], solve_for: tuple[str, ...], rule: UpdateRule
) -> tuple[dict[Symbol, Expr], ...]:
    laws = scaling_laws(rule)
    new = {symbol: s.primed(symbol) for symbol in _SYMBOLS.values()}
    unknown = {_SYMBOLS[name]: Dummy(name, positive=True) for name in solve_for}
    moved = {symbol: unknown.get(symbol, letter) for symbol, letter in new.items()}
    equations = [
        (law.leading.subs(moved, simultaneous=True) / law.leading - 1)
        .together()
        .as_numer_denom()[0]
        for law in (laws[name] for name in keep)
    ]
    found = solve(equations, list(unknown.values()), dict=True)
    left_free = {letter: new[symbol] for symbol, letter in unknown.items()}
    return tuple(
        {
            symbol: factored(one[letter].subs(left_free))
            for symbol, letter in unknown.items()
            if letter in one
        }
        for one in found
    )


def _require(argument: str, names: Sequence[str], known: Any) -> None:
    if isinstance(names, str) or not names or not set(names) <= set(known):
        raise ValueError(f"{argument} = {names!r}: give a tuple of names among {', '.join(known)}.")


def equivalent(
    hyperparameters: Hyperparameters,
    keep: Sequence[str],
    *,
    solve_for: Sequence[str] = ("learning_rate", "momentum"),
    curvature: float | None = None,
    rule: UpdateRule | None = None,
    parameters: Mapping[Symbol, float] | None = None,
    **changed: float,
) -> Hyperparameters:
    r"""Other hyperparameters that leave the named observables unchanged.

    As few settings as possible move beside those that are changed, in the order of `solve_for`: the
    learning rate alone where that is enough.

    Args:
        hyperparameters: the run's, one setting.
        keep: names of observables, as `scaling.observables` has them.
        solve_for: the settings that may follow, among "learning_rate", "momentum", "batch_size".
        curvature: h = ρ + λ of the direction in which the observables are kept exactly, as updates
            have them; without it to leading order in the learning rate, for slow directions.
        rule: the optimiser, heavy ball by default.
        parameters: values of the rule's further symbols.
        changed: new values, as ``batch_size=1024``.

    Raises:
        ValueError: for unknown names, and where no settings keep them all, naming what parts.
        UnstableError: where the settings found, or the given ones, are beyond the limit of
            stability at the curvature.

    Source:
        The linear scaling rule: Goyal et al., arXiv 1706.02677; momentum and batch: Smith and Le,
        arXiv 1710.06451.

    >>> run = Hyperparameters(0.1, momentum=0.9, batch_size=128)
    >>> round(equivalent(run, keep=("stationary_variance",), batch_size=1024).learning_rate, 9)
    0.8
    >>> both = equivalent(run, keep=("stationary_variance", "local_displacement"), batch_size=256)
    >>> round(both.learning_rate, 4), round(both.momentum, 4)
    (0.1026, 0.9487)
    """
    require_hyperparameters(hyperparameters)
    rule = rule or heavy_ball()
    _require("keep", keep, observables(rule))
    problem = _Problem(hyperparameters, tuple(keep), curvature, rule, dict(parameters or {}))
    free = _free_settings(solve_for, changed)
    # It checks the new values.
    replace(hyperparameters, **changed).sweep.require_one_setting("equivalent")
    start = problem.settings | {name: float(value) for name, value in changed.items()}
    closest: tuple[float, dict[str, float]] = (np.inf, start)
    for count in range(len(free) + 1):
        for names in combinations(free, count):
            miss, found = problem.solved(start, names)
            if miss < _KEPT:
                problem.require_stable(found)
                return replace(hyperparameters, **found | dict(changed))
            closest = min(closest, (miss, found), key=lambda pair: pair[0])
    problem.require_stable(closest[1])
    raise ValueError(problem.conflict(closest[1], free, changed))


def _free_settings(solve_for: Sequence[str], changed: Mapping[str, float]) -> list[str]:
    _require("solve_for", solve_for, _SYMBOLS)
    for name, value in changed.items():
        if name not in _SYMBOLS:
            raise ValueError(
                f"{name} = {value!r}: the settings that can be changed are {', '.join(_SYMBOLS)}, "
                "for batches drawn with replacement. A weight decay changes the curvature: give "
                "the run of the new one."
            )
    return [name for name in solve_for if name not in changed]


@dataclass(frozen=True)
class _Problem:
    """Which observables, of which run, are to be kept."""

    hyperparameters: Hyperparameters
    keep: tuple[str, ...]
    curvature: float | None
    rule: UpdateRule
    parameters: dict[Symbol, float]

    def __post_init__(self) -> None:
        self.hyperparameters.sweep.require_one_setting("equivalent")
        self.hyperparameters.require_for(self.rule, self.parameters)
        if self.curvature is not None:
            check_number("curvature", self.curvature, above=0.0)
            self.require_stable(self.settings)

    @property
    def settings(self) -> dict[str, float]:
        return {name: float(getattr(self.hyperparameters, name)) for name in _SYMBOLS}

    def values(self, settings: dict[str, float]) -> Array:
        """The observables at other settings."""
        if self.curvature is not None:
            return self._exact(settings)
        return np.array([function(*settings.values(), *self._own) for function in self._leading])

    @property
    def _own(self) -> list[float]:
        return [self.parameters[x] for x in sorted(self.parameters, key=str)]

    @property
    def _leading(self) -> list[Callable[..., Any]]:
        arguments = (*_SYMBOLS.values(), *sorted(self.parameters, key=str))
        laws = scaling_laws(self.rule)
        return [
            _lowered(laws[name].leading.subs({s.h: 1, s.Sigma: 1}), arguments) for name in self.keep
        ]

    def _exact(self, settings: dict[str, float]) -> Array:
        """By the predictor of that one direction; flat directions' observables have no h."""
        assert self.curvature is not None
        direction = Spectrum([self.curvature], noise_variances=[1.0])
        model = Predictor(
            Hyperparameters(**settings), direction, rule=self.rule, parameters=self.parameters
        )
        spread = model.stationary_covariance()[0]
        slowest = float(model.relaxation_steps[0])
        exact = {
            "stationary_variance": spread[0, 0],
            "velocity_variance": spread[1, 1],
            "local_displacement": model.local_displacement(),
            "effective_temperature": self.curvature * spread[0, 0],
            "relaxation_steps": slowest,
            "relaxation_examples": settings["batch_size"] * slowest,
        }
        arguments = (*_SYMBOLS.values(), *sorted(self.parameters, key=str))
        own = [*settings.values(), *self._own]
        return np.array(
            [
                exact[name]
                if name in exact
                else _lowered(observables(self.rule)[name].subs(s.Sigma, 1), arguments)(*own)
                for name in self.keep
            ],
            dtype=np.float64,
        )

    def solved(
        self, start: dict[str, float], names: Sequence[str]
    ) -> tuple[float, dict[str, float]]:
        """The settings with the least relative miss when those named may move; and that miss."""
        goal = np.log(self.values(self.settings))

        def settings_at(coordinates: Array) -> dict[str, float]:
            moved = {
                name: 1 - np.exp(x) if name == "momentum" else np.exp(x)
                for name, x in zip(names, coordinates, strict=True)
            }
            return start | {name: float(value) for name, value in moved.items()}

        def miss(coordinates: Array) -> Array:
            # Far from any solution, unstable or beyond any double: the search turns back.
            try:
                with np.errstate(divide="ignore"):
                    away = np.log(self.values(settings_at(coordinates))) - goal
            except UnstableError:
                return np.full(len(goal), 1e3)
            return np.where(np.isfinite(away), away, 1e3)

        best = (float(np.abs(miss(np.array([]))).max()), start) if not names else (np.inf, start)
        lower = [-50.0 if name == "momentum" else -70.0 for name in names]
        upper = [0.0 if name == "momentum" else 70.0 for name in names]
        for guess in self._guesses(start, names):
            found = least_squares(
                miss, guess, bounds=(lower, upper), xtol=1e-15, ftol=1e-15, gtol=1e-15
            )
            worst = float(np.abs(found.fun).max())
            best = min(best, (worst, settings_at(found.x)), key=lambda pair: pair[0])
            if worst < _KEPT:
                break
        return best

    def _guesses(self, start: dict[str, float], names: Sequence[str]) -> list[Array]:
        if not names:
            return []
        momenta = (start["momentum"], *_START_MOMENTA) if "momentum" in names else (0.0,)
        return [
            np.array(
                [
                    np.log1p(-min(beta, 1 - 1e-9)) - 1e-9
                    if name == "momentum"
                    else np.log(start[name])
                    for name in names
                ]
            )
            for beta in momenta
        ]

    def require_stable(self, settings: dict[str, float]) -> None:
        """Refuse settings beyond the limit of stability at the curvature."""
        interval = recursion(self.rule).stability
        if self.curvature is None or not isinstance(interval, Interval):
            return
        here = {s.beta: settings["momentum"], **self.parameters}
        limit, y = float(interval.end.subs(here)), settings["learning_rate"] * self.curvature
        if not 0 < y < limit:
            raise UnstableError(
                f"learning_rate = {settings['learning_rate']:g}, momentum = "
                f"{settings['momentum']:g}: ηh = {y:g} at curvature {self.curvature:g}, and the "
                f"limit of stability is {limit:g}. Keep fewer observables, or change less."
            )

    def conflict(
        self, closest: dict[str, float], free: Sequence[str], changed: Mapping[str, float]
    ) -> str:
        """What parts at the settings that come closest."""
        ratios = self.values(closest) / self.values(self.settings)
        parted = ", ".join(
            f"{name} becomes {ratio:.4g} times what it was"
            for name, ratio in zip(self.keep, ratios, strict=True)
        )
        order = (
            "to leading order in the learning rate (give curvature= for the exact theory)"
            if self.curvature is None
            else f"at curvature {self.curvature:g}"
        )
        at = ", ".join(f"{name} = {value:.6g}" for name, value in closest.items())
        return (
            f"keep = {self.keep} with {dict(changed)}: no {' and '.join(free) or 'settings'} keep "
            f"them all {order}. Closest, at {at}: {parted}. Keep fewer, or let more settings "
            "follow with solve_for=."
        )


@lru_cache(maxsize=256)
def _lowered(expression: Expr, arguments: tuple[Symbol, ...]) -> Callable[..., Any]:
    return lower(expression, arguments)
