"""The likeliest power-law tail behind a measured curve, and how far others fall behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from sgdtheory.fits.tail_likelihood import TailCurve, TailParameters

__all__ = ["TailSearch"]

Array = NDArray[np.float64]

_EXPONENTS = (-2.0, 3.0)
_LOG_DIRECTIONS = (0.0, 30.0)
# E-folds of displacement about the measured one that its noise may make.
_SCALES = 10.0
# E-folds that a tail is wide at least.
_NARROW = 1e-3
# Beyond this standard error of a cut-off's logarithm the likelihood is no parabola.
_WALD = 0.4
# Of the end of a profile, relative to its bracket; and the first bracket, in a parameter's units.
_CLOSE, _NEAREST, _FURTHEST = 1e-2, 0.02, 1.0
# Cut-offs whose likelihoods are compared for the start, on either side.
_TRIALS = 4


@dataclass(frozen=True, eq=False)
class TailSearch:
    """A measured curve and the tails that may have made it.

    Args:
        curve: what a tail says of it.
        logs: measured log D, (T,).
        replicas: runs that it is the average of.
        given: parameters that are known, by name.
    """

    curve: TailCurve
    logs: Array
    replicas: float
    given: Mapping[str, float]

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Of what is fitted, by name."""
        middle = float(self.logs[len(self.logs) // 2])
        every = {
            "exponent": _EXPONENTS,
            "log_scale": (middle - _SCALES, middle + _SCALES),
            "log_smallest": self.curve.log_range,
            "log_largest": self.curve.log_range,
            "log_directions": _LOG_DIRECTIONS,
        }
        return {name: ends for name, ends in every.items() if name not in self.given}

    @property
    def freedom(self) -> int:
        """Points of the curve that the parameters leave free."""
        return len(self.logs) - len(self.bounds)

    @property
    def _share(self) -> float:
        return 1.0 if "log_directions" in self.given else self.freedom / len(self.logs)

    def parameters(self, values: Mapping[str, float]) -> TailParameters:
        """What is fitted and what is given, together."""
        p = {**self.given, **values}
        # A tail of no width is as good as a narrow one, and has no density.
        p["log_largest"] = max(p["log_largest"], p["log_smallest"] + _NARROW)
        return TailParameters(**p)

    def squares(self, values: Mapping[str, float]) -> float:
        """χ² of the measured curve."""
        return self.curve.misfit(self.parameters(values), self.logs, self.replicas, 1.0)[0]

    def unlikeliness(self, values: Mapping[str, float]) -> float:
        """Minus twice the logarithm of the likelihood."""
        p = self.parameters(values)
        return self.curve.misfit(p, self.logs, self.replicas, self._share)[1]

    def covariance(self, values: Mapping[str, float]) -> Array:
        """Of the fitted parameters, the inverse of Fisher's information."""
        names = tuple(self.bounds)
        found = self.curve.information(self.parameters(values), names, self.replicas, self._share)
        return np.asarray(np.linalg.pinv(found, rcond=1e-10, hermitian=True), dtype=np.float64)

    def poorly_seen(self, values: Mapping[str, float], covariance: Array) -> bool:
        """Whether a fitted cut-off lies at its bounds, or is known to a factor only.

        Two of them bend the curve at both ends of a window and leave little of the exponent in
        between: its likelihood is no parabola even where each cut-off's is.
        """
        if {"log_smallest", "log_largest"} <= set(self.bounds):
            return True
        for name, variance in zip(self.bounds, np.diag(covariance), strict=True):
            if name in ("log_smallest", "log_largest"):
                lower, upper = self.bounds[name]
                margin = 1e-3 * (upper - lower)
                inside = lower + margin < values[name] < upper - margin
                if not inside or variance > _WALD**2:
                    return True
        return False

    # -- maxima -----------------------------------------------------------------------------------

    def best(self, lower: float, upper: float) -> tuple[dict[str, float], float]:
        """The likeliest parameters, and minus twice the logarithm of their likelihood.

        There may be several maxima: one with the upper cut-off in the window, one with it beyond.

        Args:
            lower: log of the smallest eigenvalue that relaxes inside the window.
            upper: log of the largest that does not do so before it.
        """
        found = [self._likeliest(start) for start in self._starts(lower, upper)]
        return min(found, key=lambda pair: pair[1])

    def _likeliest(
        self, start: Mapping[str, float], held: Mapping[str, float] | None = None
    ) -> tuple[dict[str, float], float]:
        held = held or {}
        free = [name for name in self.bounds if name not in held]

        def objective(x: Array) -> float:
            return self.unlikeliness({**held, **dict(zip(free, x, strict=True))})

        found = optimize.minimize(
            objective,
            [start[name] for name in free],
            method="SLSQP",
            bounds=[self.bounds[name] for name in free],
            options={"ftol": 1e-5},
        )
        values = {**held, **dict(zip(free, found.x.tolist(), strict=True))}
        return {name: values[name] for name in self.bounds}, float(found.fun)

    def _starts(self, lower: float, upper: float) -> list[dict[str, float]]:
        """For each of some upper cut-offs the likeliest of some tails."""
        slope = np.polyfit(np.log(self.curve.steps), self.logs, 1)[0]
        below, above = self.curve.log_range
        inside = np.linspace(lower, upper, 2 * _TRIALS)
        groups = [
            [
                {
                    "exponent": float(np.clip(slope, 0.1, 0.9)),
                    "log_scale": float(self.logs[len(self.logs) // 2]),
                    "log_smallest": float(smallest),
                    "log_largest": float(largest),
                    "log_directions": float(np.log(directions)),
                }
                for smallest in ((below + lower) / 2, *inside[: _TRIALS - 1])
                for directions in (1e2, 1e4)
            ]
            for largest in ((upper + above) / 2, *inside[1 - _TRIALS :])
        ]
        if "log_largest" in self.given:
            groups = groups[:1]
        return [
            min(
                ({name: trial[name] for name in self.bounds} for trial in group),
                key=self.unlikeliness,
            )
            for group in groups
        ]

    # -- profiles ---------------------------------------------------------------------------------

    def profile(
        self, name: str, values: Mapping[str, float], threshold: float, half: float
    ) -> tuple[float, float]:
        """Where the likelihood, all other parameters refitted, falls to a threshold; ∞ if nowhere.

        Args:
            name: of the parameter.
            values: the likeliest.
            threshold: of `unlikeliness`.
            half: half width that is expected.
        """

        def excess(value: float) -> float:
            return self._likeliest(values, {name: value})[1] - threshold

        lower, upper = self.bounds[name]
        width = min(max(half, _NEAREST), _FURTHEST)
        return (
            _crossing(excess, values[name], -width, lower, -np.inf),
            _crossing(excess, values[name], width, upper, np.inf),
        )


def _crossing(
    excess: Callable[[float], float], inner: float, width: float, edge: float, otherwise: float
) -> float:
    """Where an excess becomes positive, going outwards in growing steps; `otherwise` if nowhere."""
    while abs(edge - inner) > _CLOSE:
        outer = edge if abs(edge - inner) < 1.5 * abs(width) else inner + width
        if excess(outer) > 0:
            return float(optimize.brentq(excess, inner, outer, xtol=_CLOSE * abs(outer - inner)))
        inner, width = outer, 2 * width
    return otherwise
