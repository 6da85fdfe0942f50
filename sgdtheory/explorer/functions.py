r"""What the explorer computes: expressions of the chapters above, lowered to JavaScript.

Everything is of one eigen-direction, in units of the noise scale σ². A current is one per update:

.. math:: J = \Omega\,B^{-1} x\;p(x), \qquad
    \Omega = \tfrac12\,\bigl(E[x_{k+1} x_k^T] - E[x_k x_{k+1}^T]\bigr),

with B the stationary covariance and p the Gaussian that has it. ΩB⁻¹x is half of where a state goes
in the next update less where it was one before. In continuous time Ω is −ηQ/κ, to first order in
the learning rate, and J the current of the Fokker-Planck equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from sympy import Expr, Float, ImmutableMatrix, Matrix, Max, Symbol, exp, floor, log, pi, sqrt
from sympy.matrices import MatrixBase

from sgdtheory import symbols as s
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.flat_direction import velocity_memory
from sgdtheory.gaussian_process import GaussianProcess
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.probability_flow import fokker_planck
from sgdtheory.sampling import SAMPLINGS
from sgdtheory.spectra.named_densities import (
    log_normal_shape,
    marchenko_pastur_ends,
    marchenko_pastur_shape,
    power_law_shape,
)
from sgdtheory.time_scales import ROUNDING
from sgdtheory.update_rule import heavy_ball

__all__ = ["SETTINGS", "explorer_functions"]

Formula: TypeAlias = Expr | MatrixBase

SETTINGS = (s.k, s.rho, s.eta, s.beta, s.S, s.lamda, s.N, s.M)
_START = (s.theta_0, s.v_0)


@lru_cache(maxsize=1)
def explorer_functions() -> Mapping[str, Mapping[str, LoweredFunction]]:
    """The page's functions by group, "discrete", "continuous", a theory with a sampler, or "any".

    >>> sorted(explorer_functions()["continuous_with_replacement"])
    ['circulation', 'covariance', 'displacement', 'growth']
    """
    rule = heavy_ball()
    langevin = modified_equation(rule)
    # In units of the noise scale, Σ = ρ.
    continuous = ornstein_uhlenbeck(langevin, noise=s.rho)
    discrete = {name: recursion(rule, noise=s.rho, sampling=name) for name in SAMPLINGS}
    white = discrete["with_replacement"]
    flow = fokker_planck(continuous)
    turning = -flow.circulation[0, 1] * s.eta / continuous.inverse_temperature
    groups = {
        f"discrete_{name}": _stationary(process, s.k, 2) | {"circulation": _turned(process)}
        for name, process in discrete.items()
    }
    groups["continuous_with_replacement"] = _stationary(continuous, s.eta * s.k, 2 * s.eta) | {
        "circulation": turning
    }
    groups["discrete"] = _damping(white, discrete=True)
    groups["continuous"] = _damping(continuous, discrete=False)
    assert white.stability is not None
    limit = white.stability.sup
    groups["step"] = {
        "share_of_limit": s.eta * white.curvature / limit,
        "largest_rate": limit / white.curvature,
        "updates_per_epoch": floor(s.N / s.S),
        "velocity_memory": velocity_memory(rule),
        "thermal_energy": 1 / langevin.inverse_temperature,
    }
    lowered = {
        group: {name: _lowered(group, name, SETTINGS, formula) for name, formula in own.items()}
        for group, own in groups.items()
    }
    for group, process, time in (("discrete", white, s.k), ("continuous", continuous, s.eta * s.k)):
        arguments = (*SETTINGS, *_START)
        lowered[group]["mean"] = _lowered(group, "mean", arguments, process.mean(time))
    lowered["picture"] = {
        name: _lowered("picture", name, arguments, formula)
        for name, (arguments, formula) in (_gaussian() | _slope() | _spectra()).items()
    }
    return lowered


def _lowered(
    group: str, name: str, arguments: tuple[Symbol, ...], formula: Formula
) -> LoweredFunction:
    return lower(formula, arguments, "javascript", name=f"{group}_{name}")


def _stationary(process: GaussianProcess, time: Expr, span: Expr | int) -> dict[str, Formula]:
    B = process.stationary_covariance()
    level, growth = process.displacement(time), process.displacement_growth(time, span)
    return {
        "covariance": B,
        "displacement": level,
        "growth": Matrix([[level, growth]]),
    }


def _turned(process: GaussianProcess) -> Expr:
    """Ω_θv of a recursion."""
    lagged = process.autocovariance(1)
    return (lagged[0, 1] - lagged[1, 0]) / 2


def _damping(process: GaussianProcess, *, discrete: bool) -> dict[str, Formula]:
    """What decides on a regime, as `time_scales.regimes` has it, and the rates of decay.

    signs: the discriminant of the generator's characteristic polynomial and its rounding; of the
    map, the sum and the product of its roots, and the rounding of the product. decays: of the slow
    and the fast real root, and of the envelope of a complex pair, per update.
    """
    trace, determinant = process.trace, process.determinant
    discriminant = trace**2 - 4 * determinant
    rounding = Float(ROUNDING) / (1 - s.beta) * Max(trace**2, 4 * determinant, -4 * determinant)
    total, product = 2 - trace, 1 - trace + determinant
    fast = (trace + sqrt(Max(discriminant, 0))) / 2
    slow = determinant / fast
    if discrete:
        # −log|1 − r|: of (1 − r)² = 1 − r (2 − r) the logarithm keeps a slow rate's digits.
        decays = [-log(1 - lost) / 2 for lost in (slow * (2 - slow), fast * (2 - fast))]
        decays.append(-log(1 - (trace - determinant)) / 2)
    else:
        decays = [s.eta * rate for rate in (slow, fast, trace / 2)]
    return {
        "signs": Matrix([[discriminant, rounding, total, product, ROUNDING * (1 + trace)]]),
        "decays": Matrix([decays]),
    }


def _gaussian() -> dict[str, tuple[tuple[Symbol, ...], Formula]]:
    """The current at a point of the phase plane, from B and Ω; and the temperature, from B."""
    position, mixed, velocity, turning = s.coordinates(4)
    B, x = Matrix([[position, mixed], [mixed, velocity]]), Matrix([s.theta, s.v])
    towards = B.inv() * x
    density = exp(-(x.T * towards)[0, 0] / 2) / sqrt((2 * pi) ** 2 * B.det())
    current = ImmutableMatrix([[0, turning], [-turning, 0]]) * towards * density
    curvature = recursion(heavy_ball()).curvature
    return {
        "current": ((s.theta, s.v, position, mixed, velocity, turning), current),
        "temperature": ((s.rho, s.lamda, position), curvature * position),
    }


def _slope() -> dict[str, tuple[tuple[Symbol, ...], Formula]]:
    """d log D / d log k over an interval, from D at its start and what it gains."""
    level, gained, first, last = s.coordinates(4)
    slope = log(1 + gained / level) / log(1 + (last - first) / first)
    return {"local_exponent": ((level, gained, first, last), slope)}


def _spectra() -> dict[str, tuple[tuple[Symbol, ...], Formula]]:
    """Shapes of densities, which need no normalisation, and where they end."""
    first, second = s.coordinates(2)
    ends = {
        "marchenko_pastur": marchenko_pastur_ends(first, second),
        "log_normal": (first * exp(-_CUT * second), first * exp(_CUT * second)),
    }
    shapes = {
        "power_law": power_law_shape(first),
        "marchenko_pastur": marchenko_pastur_shape(first, second),
        "log_normal": log_normal_shape(first, second),
    }
    both = (first, second)
    return {name: ((s.rho, *both), shape) for name, shape in shapes.items()} | {
        f"{name}_ends": (both, Matrix([pair])) for name, pair in ends.items()
    }


# A log-normal spectrum is cut off at this many standard deviations of its logarithm.
_CUT = 3
