r"""Hypothesis strategies for runs of SGD, with the corners where formulas break.

Every strategy shrinks towards what is read in one look: no momentum, one direction of curvature 1,
a start at 1 and at rest. The corners: β = 0 and β → 1, ηh up to the limit of stability, critical
damping to the bit, directions that only weight decay curves, equal curvatures, and spreads of ten
orders of magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from sympy import Rational

from sgdtheory import symbols as s
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.landscape import Landscape
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.laws_of_flows import LinearProcess
from sgdtheory.testing.laws_of_landscapes import rotation
from sgdtheory.testing.run import Run
from sgdtheory.testing.stable_limit import Limit, heavy_ball_limit
from sgdtheory.update_rule import UpdateRule, dampened, heavy_ball, nesterov, plain_sgd

__all__ = [
    "covariances",
    "datasets",
    "hyperparameters",
    "landscapes",
    "learning_rates",
    "linear_processes",
    "momenta",
    "runs",
    "spectra",
    "step_counts",
    "update_rules",
]

_MOST_STEPS = 1000
# β of these is the square of a binary fraction: with them (1 − √β)² has no rounding error.
_ROOTS = (0.5, 0.75, 0.875, 0.96875)


def momenta(memory: float = 100.0) -> st.SearchStrategy[float]:
    """0 ≤ β < 1: none, common ones, squares of binary fractions, and up to 1 − 1/memory.

    Args:
        memory: the largest 1/(1 − β).
    """
    common = [beta for beta in (0.0, 0.5, 0.9, 0.99) if 1 / (1 - beta) <= memory * (1 + 1e-9)]
    squares = [root**2 for root in _ROOTS if 1 / (1 - root**2) <= memory]
    digits = st.floats(0, float(np.log10(memory)))
    return st.one_of(
        st.sampled_from(common), st.sampled_from(squares or common), digits.map(_forgetting)
    )


def _forgetting(digits: float) -> float:
    return float(1 - 10.0**-digits)


def learning_rates() -> st.SearchStrategy[float]:
    """Powers of two, by which nothing is rounded, and any between 10⁻⁵ and 10."""
    return st.one_of(
        st.integers(0, 16).map(lambda power: 2.0**-power),
        st.floats(-5, 1).map(lambda power: float(10.0**power)),
    )


def step_counts(most: int = _MOST_STEPS) -> st.SearchStrategy[int]:
    """0 to `most`."""
    return st.integers(0, most)


def hyperparameters(memory: float = 100.0) -> st.SearchStrategy[Hyperparameters]:
    """Any that are valid; whether a direction is stable depends on its curvature: see `runs`."""
    return st.builds(
        Hyperparameters,
        learning_rate=learning_rates(),
        momentum=momenta(memory),
        batch_size=st.integers(1, 4096),
        weight_decay=st.one_of(st.just(0.0), st.floats(1e-8, 1e2)),
    )


def spectra(modes: int = 6) -> st.SearchStrategy[Spectrum]:
    """Explicit, clustered, heavy-tailed, degenerate and rank-deficient ones.

    Args:
        modes: at most.
    """
    noise = st.floats(1e-3, 1e3)
    count = st.integers(1, modes)

    def of(values: st.SearchStrategy[list[float]]) -> st.SearchStrategy[Spectrum]:
        return values.flatmap(
            lambda rho: st.lists(noise, min_size=len(rho), max_size=len(rho)).map(
                lambda variances: Spectrum(np.array(rho), noise_variances=np.array(variances))
            )
        )

    explicit = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=modes)
    clustered = st.tuples(st.floats(1e-3, 1e3), st.lists(st.floats(0, 1e-12), min_size=1)).map(
        lambda drawn: [drawn[0] * (1 + each) for each in drawn[1][:modes]]
    )
    heavy = st.tuples(count, st.floats(0.5, 3)).map(
        lambda drawn: [float((i + 1) ** -drawn[1]) for i in range(drawn[0])]
    )
    degenerate = st.tuples(count, st.floats(1e-3, 1e3)).map(lambda drawn: [drawn[1]] * drawn[0])
    deficient = explicit.map(lambda values: [*values, 0.0][-modes:])
    return st.one_of(*map(of, (explicit, clustered, heavy, degenerate, deficient)))


@st.composite
def covariances(
    draw: st.DrawFn, dimension: int, commuting_with: Any = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Positive semidefinite matrices, of any rank from 0.

    Args:
        draw: Hypothesis's.
        dimension: d.
        commuting_with: a symmetric matrix whose eigenvectors they share; any by default.
    """
    values = draw(
        st.lists(st.sampled_from([0.0, 1.0, 1e-3, 10.0]), min_size=dimension, max_size=dimension)
    )
    if commuting_with is not None:
        basis = np.linalg.eigh(np.asarray(commuting_with, dtype=float))[1]
    else:
        seed = draw(st.integers(0, 2**16))
        basis = np.eye(dimension) if seed == 0 else rotation(dimension, seed)
    matrix = basis @ np.diag(values) @ basis.T
    return (matrix + matrix.T) / 2


@st.composite
def landscapes(draw: st.DrawFn, dimension: int = 4, commuting: bool | None = None) -> Landscape:
    """A Hessian with a noise covariance that shares its eigenvectors, or does not.

    Args:
        draw: Hypothesis's.
        dimension: at most.
        commuting: whether they do; either by default.
    """
    size = draw(st.integers(1, dimension))
    values = draw(st.lists(st.floats(1e-3, 1.0), min_size=size, max_size=size))
    seed = draw(st.integers(0, 2**16))
    basis = np.eye(size) if seed == 0 else rotation(size, seed)
    hessian = basis @ np.diag(values) @ basis.T
    hessian = (hessian + hessian.T) / 2
    shared = draw(st.booleans()) if commuting is None else commuting
    return Landscape(hessian, draw(covariances(size, hessian if shared else None)))


@st.composite
def linear_processes(draw: st.DrawFn, dimension: int = 3) -> LinearProcess:
    """dx = −Ax dt + √(2D) dW whose A = (D + Q)U is stable: with noise in all directions, or some.

    Args:
        draw: Hypothesis's.
        dimension: at most.
    """
    n = draw(st.integers(1, dimension))
    entry = st.integers(-2, 2)
    root = np.zeros((n, n), dtype=int)
    root[np.tril_indices(n, -1)] = draw(_list(entry, n * (n - 1) // 2))
    np.fill_diagonal(root, draw(_list(st.integers(1, 3), n)))
    turning = np.zeros((n, n), dtype=int)
    turning[np.tril_indices(n, -1)] = draw(_list(entry, n * (n - 1) // 2))
    spread = np.diag(draw(_list(st.integers(0, 2), n)))
    drift = (spread + turning - turning.T) @ root @ root.T
    # Noise that does not reach every direction leaves some that never come to rest.
    assume(np.linalg.eigvals(drift).real.min() > 1e-3)
    return LinearProcess(*(tuple(map(tuple, part.tolist())) for part in (drift, spread)))


def _list(values: st.SearchStrategy[int], length: int) -> st.SearchStrategy[list[int]]:
    return st.lists(values, min_size=length, max_size=length)


@st.composite
def runs(
    draw: st.DrawFn,
    limit: Limit = heavy_ball_limit,
    *,
    modes: int = 3,
    memory: float = 100.0,
    most_steps: int = _MOST_STEPS,
) -> Run:
    """Stable in every direction, with a start and two times.

    Args:
        draw: Hypothesis's.
        limit: the largest stable ηh of a momentum, as `limit_of` a rule has it.
        modes: directions at most.
        memory: the largest 1/(1 − β).
        most_steps: of either time.
    """
    beta = draw(momenta(memory))
    eta = draw(learning_rates())
    highest = limit(beta)
    critical = (1 - float(np.sqrt(beta))) ** 2
    one = st.one_of(
        st.sampled_from([min(1.0, highest / 2), highest / 2, min(critical, highest / 2)]),
        st.floats(0, 8).map(lambda digits: min(1.0, highest / 2) * 10.0**-digits),
        st.floats(0, 3).map(lambda digits: highest * (1 - 10.0**-digits / 2)),
    )
    size = draw(st.integers(1, modes))

    def each(values: st.SearchStrategy[float]) -> tuple[float, ...]:
        return tuple(draw(values) for _ in range(size))

    y = each(one)
    # Equal to the bit, or nearly: what divides by a difference of curvatures fails.
    apart = draw(st.sampled_from([None, 0.0, 2.0**-50, 2.0**-30]))
    if apart is not None:
        y = tuple(y[0] * (1 - apart * i) for i in range(size))
    share = draw(st.sampled_from([0.0, 0.5, 1.0]))
    decay = share * min(y) / eta
    return Run(
        learning_rate=eta,
        momentum=beta,
        batch_size=draw(st.sampled_from([1, 2, 3, 64, 4096])),
        weight_decay=decay,
        eigenvalues=tuple(max(one / eta - decay, 0.0) for one in y),
        noise=each(st.sampled_from([1.0, 2.0, 1e-3, 1e3])),
        position=each(st.sampled_from([1.0, 0.0, -2.0])),
        velocity=each(st.sampled_from([0.0, 1.0, -0.5])),
        steps=(draw(step_counts(most_steps)), draw(step_counts(most_steps))),
        limit=limit,
    )


def update_rules() -> st.SearchStrategy[UpdateRule]:
    """Named rules, and random ones that are linear in θ, v and g, with rational coefficients."""
    weights = st.fractions(-2, 2, max_denominator=8).map(
        lambda f: Rational(f.numerator, f.denominator)
    )

    def own(a: Any, b: Any, c: Any, d: Any) -> UpdateRule:
        return UpdateRule(
            a * s.beta * s.v - b * s.g, s.theta + s.eta * (c * s.v_next - d * s.g), name="drawn"
        )

    named = st.sampled_from([plain_sgd(), heavy_ball(), nesterov(), dampened()])
    return st.one_of(named, st.builds(own, weights, weights, weights, weights))


@st.composite
def datasets(
    draw: st.DrawFn, examples: int = 12, features: int = 3
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Features (N, d) and targets (N,) of a small regression; rows and columns may repeat.

    Args:
        draw: Hypothesis's.
        examples: N at most.
        features: d at most.
    """
    rows, columns = draw(st.integers(1, examples)), draw(st.integers(1, features))
    value = st.integers(-3, 3).map(float)
    flat = draw(st.lists(value, min_size=rows * (columns + 1), max_size=rows * (columns + 1)))
    table = np.array(flat).reshape(rows, columns + 1)
    return table[:, :-1], table[:, -1]
