r"""How long the whole theory of a rule takes to derive.

    python -m validation.benchmarks.derivations

Each rule in a process of its own, imports not counted: the first time, and a second time, where
what was derived is remembered.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import sgdtheory as sgd
from sgdtheory.sampling import SAMPLINGS
from validation.benchmarks.timing import timed

__all__ = ["RULES", "everything"]

s = sgd.symbols
RULES: dict[str, Callable[[], sgd.UpdateRule]] = {
    make.__name__: make
    for make in (
        sgd.plain_sgd,
        sgd.heavy_ball,
        sgd.nesterov,
        sgd.dampened,
        sgd.quasi_hyperbolic,
    )
}
_VERBS = ("mean", "covariance", "autocovariance", "displacement")


def everything(rule: sgd.UpdateRule) -> dict[str, Any]:
    """Every result that the package derives for a rule, by name."""
    results: dict[str, Any] = {
        "fluctuation-dissipation": sgd.fluctuation_dissipation_relations(rule).relations,
        "implicit regularization": sgd.implicit_regularization(rule),
    }
    for order in (1, 2, 3):
        langevin = sgd.modified_equation(rule, order)
        results[f"modified equation, order {order}"] = (langevin.mass, langevin.friction)
    diffusion = sgd.ornstein_uhlenbeck(sgd.modified_equation(rule), noise=s.Sigma, curvature=s.h)
    results |= _moments("continuous", diffusion, s.t)
    for name in SAMPLINGS:
        exact = sgd.recursion(rule, noise=s.Sigma, curvature=s.h, sampling=name)
        results |= _moments(name, exact, s.k)
    results["stability"] = exact.stability
    results["characteristic polynomial"] = exact.characteristic_polynomial()
    flow = sgd.fokker_planck(diffusion)
    results |= {
        "modified loss": flow.modified_loss,
        "circulation": flow.circulation,
        "density": flow.density,
        "current": flow.current,
        "divergence": flow.divergence,
        "transient density": flow.density_at(s.t),
        "transient current": flow.current_at(s.t),
        "cycle frequencies": flow.cycle_frequencies,
        "flux": flow.flux(),
        "entropy production": flow.entropy_production(odd=(1,)),
        "agreement": sgd.discrete_over_continuous(rule).series("position_variance", 2),
    }
    return results


def _moments(name: str, process: Any, clock: Any) -> dict[str, Any]:
    moments = {f"{name}: {verb}": getattr(process, verb)(clock) for verb in _VERBS}
    return moments | {f"{name}: stationary covariance": process.stationary_covariance()}


def _timed(name: str) -> tuple[float, float]:
    first, again = (timed(lambda: everything(RULES[name]()))[0] for _ in range(2))
    return first, again


def _table() -> None:
    print(f"{'rule':<18}{'first, s':>10}{'again, s':>10}")
    for name in RULES:
        run = [sys.executable, "-m", "validation.benchmarks.derivations", name]
        done = subprocess.run(run, capture_output=True, text=True, check=True)  # noqa: S603
        first, again = map(float, done.stdout.split())
        print(f"{name:<18}{first:>10.2f}{again:>10.3f}")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(*_timed(sys.argv[1]))
    else:
        _table()
