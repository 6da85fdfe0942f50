r"""Predictions for any H and Σ: two directions at a time, and no system larger than 2×2.

In H's eigenbasis the covariance between the directions i and j is a 2×2 block of its own. All
d × d of them are computed elementwise, in O(d²), and rotated back by matrix products, in O(d³).
Sums over the directions ask for no block with i ≠ j: those are the spectrum's own predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sympy import ImmutableMatrix, Symbol

from sgdtheory import symbols as s
from sgdtheory.arrays import backend_of, detached, real, shortened
from sgdtheory.correlated_directions import DirectionPair
from sgdtheory.crossovers import Crossovers
from sgdtheory.derivation import Derivation
from sgdtheory.diffusion import ornstein_uhlenbeck
from sgdtheory.discrete_time import recursion
from sgdtheory.displacement import DisplacementParts
from sgdtheory.gaussian_process import GaussianProcess, UnstableError
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.landscape import Landscape
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.modified_equations import modified_equation
from sgdtheory.notebook_display import ShownAsTable, Table
from sgdtheory.number_checks import FARTHEST
from sgdtheory.spectrum import Spectrum
from sgdtheory.sweeps import Sweep
from sgdtheory.update_rule import UpdateRule

__all__ = ["DensePredictor", "ModePredictor"]

Array: TypeAlias = NDArray[np.float64]

# Gauss-Legendre nodes over a stretch of time in which no mode's phase or damping passes 2: products
# of two responses vary as e⁴ˣ at most, integrated to 4²⁰(10!)⁴/(21(20!)³) < 1e-18 of the largest.
_NODES, _STRETCH = 10, 2.0
# Pairs of directions computed together: their blocks stay in a core's cache.
_BLOCK = 2**14


class ModePredictor(Protocol):
    """What a `DensePredictor` asks of the predictor of its spectrum: a `Predictor`, say."""

    @property
    def hyperparameters(self) -> Hyperparameters:
        """η, β, S and λ."""

    @property
    def spectrum(self) -> Spectrum:
        """The landscape's."""

    @property
    def theory(self) -> str:
        """Either "discrete" or "continuous"."""

    @property
    def rule(self) -> UpdateRule:
        """The optimiser."""

    @property
    def sampling(self) -> Any:
        """How batches are drawn."""

    @property
    def parameters(self) -> Mapping[Symbol, Any]:
        """Values of the rule's further symbols."""

    @property
    def sweep(self) -> Sweep:
        """Of one setting."""

    @property
    def regime(self) -> Any:
        """Per direction."""

    @property
    def relaxation_steps(self) -> Any:
        """Per direction."""

    def tables(self) -> tuple[Table, ...]:
        """What a notebook shows."""

    def stationary_covariance(self) -> Any:
        """Shape (modes, 2, 2)."""

    def mean(self, steps: Any, position: Any, velocity: Any = 0.0) -> Any:
        """Shape (steps, modes, 2)."""

    def local_displacement(self) -> Any:
        """One number."""

    def to_xarray(self, steps: Any = None, **start: Any) -> Any:
        """A data set of curves and directions."""

    def to_pandas(self, steps: Any = None, **start: Any) -> Any:
        """A table of one or the other."""

    def displacement(self, *steps: Any, **start: Any) -> Any:
        """Shape (steps,)."""

    def displacement_parts(self, *steps: Any, **start: Any) -> DisplacementParts:
        """Each of shape (steps,)."""

    def exponent(self, *steps: Any, **start: Any) -> Any:
        """Shape (steps,)."""

    def window_exponent(self, *steps: Any, **start: Any) -> Any:
        """One number."""

    def crossovers(self, *nothing: Any, **start: Any) -> Crossovers:
        """Named update counts."""


@lru_cache(maxsize=256)
def _pair(rule: UpdateRule, theory: str) -> DirectionPair:
    """Two directions of a rule, derived once a rule and theory."""
    process: GaussianProcess = (
        recursion(rule, noise=s.Sigma, curvature=s.h)
        if theory == "discrete"
        else ornstein_uhlenbeck(modified_equation(rule), noise=s.Sigma, curvature=s.h)
    )
    return DirectionPair(process)


def _settings(rule: UpdateRule) -> tuple[Symbol, ...]:
    return (s.eta, s.beta, s.S, *sorted(rule.parameters - {s.eta, s.beta}, key=str))


@lru_cache(maxsize=256)
def _stationary(rule: UpdateRule, theory: str) -> LoweredFunction:
    moments = _pair(rule, theory).stationary_covariance()
    return lower(moments, (s.h_i, s.h_j, s.Sigma_ij, *_settings(rule)))


@lru_cache(maxsize=256)
def _response(rule: UpdateRule, theory: str) -> LoweredFunction:
    """What is left of a kick, of unit Σ, after a time or a number of updates."""
    pair = _pair(rule, theory)
    time = s.k if theory == "discrete" else s.t
    return lower(pair.process.propagator(time) * pair.kick, (time, s.h, *_settings(rule)))


@lru_cache(maxsize=256)
def _characteristic(rule: UpdateRule) -> LoweredFunction:
    """Trace and determinant of the continuous generator, which bound its rates."""
    process = _pair(rule, "continuous").process
    return lower(ImmutableMatrix([[process.trace, process.determinant]]), (s.h, *_settings(rule)))


@dataclass(frozen=True, eq=False)
class DensePredictor(ShownAsTable):
    r"""Predictions in the landscape's own coordinates, for an H and a Σ that need not commute.

    Args:
        landscape: H and Σ.
        modes: a predictor of ``landscape.spectrum``; it brings the hyperparameters, the theory
            and the rule, and makes the predictions that need one direction at a time.

    States are (θ − μ, v), all d positions first. Steps are update counts, a number or an array;
    results have the shape of `steps`, then (2d,) or (2d, 2d). Memory is a handful of (2d, 2d)
    arrays for each of the steps.

    Raises:
        ValueError: when `modes` predicts another spectrum, batches that are not drawn with
            replacement, or holds torch scalars; naming what to change.

    Source:
        Elementwise solution in an eigenbasis, as of Bartels and Stewart, Commun. ACM 15, 820
        (1972).

    >>> from sgdtheory import Hyperparameters, Predictor
    >>> dense = Landscape([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]])
    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.9, batch_size=10)
    >>> model = DensePredictor(dense, Predictor(hyper, dense.spectrum))
    >>> model.stationary_covariance().shape
    (4, 4)
    >>> model.stationary_covariance()[:2, :2].round(5)
    array([[0.02639, 0.00655],
           [0.00655, 0.05135]])
    """

    landscape: Landscape
    modes: ModePredictor

    def __post_init__(self) -> None:
        if not isinstance(self.landscape, Landscape):
            raise ValueError(f"landscape = {self.landscape!r}: give a Landscape.")  # noqa: TRY004
        if getattr(self.modes, "spectrum", None) is not self.landscape.spectrum:
            raise ValueError(
                f"modes = {self.modes!r}: it predicts another spectrum. Give "
                "Predictor(hyperparameters, landscape.spectrum)."
            )
        if self.modes.sampling != "with_replacement":
            raise ValueError(
                f"sampling = {self.modes.sampling!r}: a landscape's covariances are those "
                "of batches drawn 'with_replacement'. For others, predict landscape.spectrum."
            )
        # Its own sweep, so that arrays of a rule's further symbols are refused as well.
        self.modes.sweep.require_one_setting("a landscape")
        if backend_of(self._settings) == "torch":
            raise ValueError(
                "modes.hyperparameters or modes.parameters hold torch scalars: a landscape gives "
                "NumPy arrays without gradients. Pass floats."
            )

    @property
    def _settings(self) -> tuple[Any, ...]:
        hyper, own = self.modes.hyperparameters, self.modes.parameters
        values = [own[symbol] for symbol in sorted(own, key=str)]
        return hyper.learning_rate, hyper.momentum, hyper.batch_size, *values

    @property
    def curvature(self) -> Array:
        """h = ρ + λ of every direction of the eigenbasis, shape (d,)."""
        return np.asarray(self.landscape.eigenvalues + self.modes.hyperparameters.weight_decay)

    @property
    def derivation(self) -> Derivation:
        """The steps to the covariance between two directions."""
        return _pair(self.modes.rule, self.modes.theory).derivation

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    def tables(self) -> tuple[Table, ...]:
        """The landscape, the run and some of its directions; print one for plain text."""
        return (*self.landscape.tables(), *self.modes.tables())

    # -- moments ------------------------------------------------------------------------------

    def stationary_covariance(self) -> Array:
        """Covariance of (θ − μ, v) in the stationary state, shape (2d, 2d).

        Raises:
            UnstableError: when a direction has no stationary state, naming its eigenvalue.
        """
        return self._in_own_coordinates(self._stationary_covariance())

    def _stationary_covariance(self) -> Array:
        """In the eigenbasis, shape (2, d, 2, d)."""
        # The modes know, and say, which direction has none.
        self.modes.stationary_covariance()
        h, noise = self.curvature, self.landscape.noise_in_eigenbasis
        blocks = _stationary(self.modes.rule, self.modes.theory)(
            h[:, None], h[None, :], noise, *self._settings
        )
        return np.ascontiguousarray(blocks.transpose(2, 0, 3, 1))

    def mean(self, steps: Any, position: Any, velocity: Any = 0.0) -> Array:
        """Mean of (θ − μ, v) after `steps` updates, shape (steps, 2d).

        Args:
            steps: update counts.
            position: start, as an offset from the minimum in the landscape's own coordinates,
                (d,) or a number.
            velocity: start velocity likewise; 0 for a fresh optimiser.
        """
        start = self._in_eigenbasis("position", position)
        moving = self._in_eigenbasis("velocity", velocity)
        means = np.moveaxis(self.modes.mean(steps, start, moving), -1, -2)
        own = means @ self.landscape.eigenvectors.T
        return np.asarray(own.reshape(*own.shape[:-2], 2 * self.landscape.dimension))

    def autocovariance(self, steps: Any) -> Array:
        """E[x_k x_0ᵀ] in the stationary state, shape (steps, 2d, 2d)."""
        X, flows = self._stationary_covariance(), self._propagators(steps)
        size = 2 * self.landscape.dimension
        values = np.empty((*flows.shape[:-3], size, size))
        for where in np.ndindex(values.shape[:-2]):
            F = flows[where].transpose(1, 2, 0)[..., None, None]
            values[where] = self._in_own_coordinates(F[:, 0] * X[0] + F[:, 1] * X[1])
        return values

    def covariance(self, steps: Any) -> Array:
        """Covariance after `steps` updates from a fixed start, shape (steps, 2d, 2d).

        Added up from the noise of every update by doubling, C_{m+n} = C_n + F_n C_m F_nᵀ: nothing
        cancels early or along flat directions, and no stationary state is needed.
        """
        # The modes check the counts, and that no mean overflows.
        shape = self._propagators(steps).shape[:-3]
        counts = [int(count) for count in np.ravel(detached(steps))]
        gathered = np.zeros((len(counts), 2, len(self.curvature), 2, len(self.curvature)))
        doubled = self._propagators([2**bit for bit in range(max(counts, default=0).bit_length())])
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in self._rows():
                self._gather(gathered, rows, counts, doubled)
            gathered *= self.landscape.noise_in_eigenbasis[:, None, :]
        if not np.all(np.isfinite(gathered)):
            raise UnstableError(
                f"covariance at steps up to {max(counts)} is too large for floating point: a "
                "direction is unstable and grows without limit. Ask for fewer steps."
            )
        for C in gathered:
            C[...] = self._in_own_coordinates(C).reshape(C.shape)
        return gathered.reshape(*shape, 2 * len(self.curvature), 2 * len(self.curvature))

    def _gather(self, gathered: Array, rows: slice, counts: list[int], doubled: Array) -> None:
        """Fill in what noise of unit Σ_ij adds up to, between the directions `rows` and all."""
        first = self._first_responses
        blocks = np.matmul(first[:, None, rows], first.transpose(0, 2, 1)[None])
        sums = [np.zeros_like(blocks) for _ in counts]
        for bit, F in enumerate(doubled):
            if bit:
                half = doubled[bit - 1]
                blocks = blocks + _carried(half[rows], blocks, half)
            for index, count in enumerate(counts):
                if count >> bit & 1:
                    sums[index] = blocks + _carried(F[rows], sums[index], F)
        for total, C in zip(gathered, sums, strict=True):
            total[:, rows] = C.transpose(0, 2, 1, 3)

    @cached_property
    def _first_responses(self) -> Array:
        """Responses u with Σ u uᵀ the covariance that one update adds at unit Σ: (2, d, sources).

        An update kicks once; in continuous time its duration is a sum over quadrature nodes.
        """
        respond = _response(self.modes.rule, self.modes.theory)
        h = self.curvature[:, None]
        if self.modes.theory == "discrete":
            return np.asarray(respond(0.0, h, *self._settings)[..., 0].transpose(2, 0, 1))
        times, weights = self._nodes()
        responses = respond(times, h, *self._settings)[..., 0]
        return np.asarray((responses * np.sqrt(weights)[:, None]).transpose(2, 0, 1))

    def _nodes(self) -> tuple[Array, Array]:
        """Nodes and weights for the duration of one update, in stretches short for every mode."""
        duration = float(self.modes.hyperparameters.learning_rate)
        bounds = _characteristic(self.modes.rule)(self.curvature, *self._settings)[..., 0, :]
        fastest = np.max(np.abs(bounds[:, 0]) + np.sqrt(np.abs(bounds[:, 1])))
        stretches = max(1, int(np.ceil(fastest * duration / _STRETCH)))
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        length = duration / stretches
        times = (np.arange(stretches)[:, None] + (nodes + 1) / 2) * length
        return np.ravel(times), np.tile(weights * length / 2, stretches)

    def _rows(self) -> Iterator[slice]:
        size = len(self.curvature)
        height = max(1, _BLOCK // size)
        for start in range(0, size, height):
            yield slice(start, min(start + height, size))

    def _propagators(self, steps: Any) -> Array:
        """What takes the mean of every direction `steps` updates on, shape (steps, d, 2, 2)."""
        return np.stack(
            [self.modes.mean(steps, 1.0, 0.0), self.modes.mean(steps, 0.0, 1.0)], axis=-1
        )

    # -- coordinates --------------------------------------------------------------------------

    def _in_own_coordinates(self, blocks: Array) -> Array:
        """(2, d, 2, d) in the eigenbasis → (2d, 2d) in the landscape's coordinates."""
        V, size = self.landscape.eigenvectors, self.landscape.dimension
        columns = (blocks.reshape(-1, size) @ V.T).reshape(2, size, 2 * size)
        return np.asarray(np.matmul(V, columns).reshape(2 * size, 2 * size))

    def _in_eigenbasis(self, name: str, value: Any) -> Array:
        size = self.landscape.dimension
        try:
            offset = real(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} = {value!r}: give numbers, one or (d,).") from None
        if offset.shape not in ((), (size,)) or not np.all(np.abs(offset) <= FARTHEST / size):
            raise ValueError(
                f"{name} = {shortened(value)}: it must be finite, at most {FARTHEST / size:g}, and "
                f"of shape ({size},), one per coordinate of the landscape, or one number for all."
            )
        return np.asarray(np.broadcast_to(offset, size) @ self.landscape.eigenvectors)

    def to_xarray(
        self,
        steps: Any = None,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """Displacement, exponent, and numbers of each eigen-direction, as an xarray.Dataset.

        Args:
            steps: update counts ≥ 1; None for no curves.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        return self.modes.to_xarray(steps, **self._start(position, velocity, start_covariance))

    def to_pandas(
        self,
        steps: Any = None,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """A pandas.DataFrame: displacement and exponent at steps, or without steps, directions.

        Args:
            steps: as of `to_xarray`; likewise the following.
            position: a start.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        return self.modes.to_pandas(steps, **self._start(position, velocity, start_covariance))

    # -- one direction at a time --------------------------------------------------------------

    def local_displacement(self) -> Any:
        """E|θ_{k+1} − θ_k|² in the stationary state: a trace, which no rotation changes."""
        return self.modes.local_displacement()

    def displacement(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """E|θ_k − θ_0|², of the shape of `steps`: a trace, which Σ_ij with i ≠ j does not change.

        Args:
            steps: update counts.
            position: a start, as an offset from the minimum in the landscape's own coordinates;
                None for a stationary start.
            velocity: start velocity, with `position`.
            start_covariance: spread of the start about `position`, of (θ, v), (2d, 2d), or of θ
                alone, (d, d), in the landscape's own coordinates.
        """
        return self.modes.displacement(steps, **self._start(position, velocity, start_covariance))

    def displacement_parts(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> DisplacementParts:
        """The displacement as drift of the mean, relaxation of the start's spread, and noise.

        Args:
            steps: update counts.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        start = self._start(position, velocity, start_covariance)
        return self.modes.displacement_parts(steps, **start)

    def exponent(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """Local slope of log displacement in log steps, over [k−1, k+1]; [1, 2] at k = 1.

        Args:
            steps: update counts ≥ 1.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        return self.modes.exponent(steps, **self._start(position, velocity, start_covariance))

    def window_exponent(
        self,
        steps: Any,
        position: Any = None,
        velocity: Any = 0.0,
        start_covariance: Any = None,
    ) -> Any:
        """Slope of the least-squares line through log displacement at the steps of a fit.

        Args:
            steps: the update counts of the fit.
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        start = self._start(position, velocity, start_covariance)
        return self.modes.window_exponent(steps, **start)

    def crossovers(
        self, position: Any = None, velocity: Any = 0.0, start_covariance: Any = None
    ) -> Crossovers:
        """Update counts at which the displacement's growth changes its law.

        Args:
            position: as of `displacement`; likewise the following.
            velocity: with `position`.
            start_covariance: about `position`.
        """
        return self.modes.crossovers(**self._start(position, velocity, start_covariance))

    def _start(self, position: Any, velocity: Any, start_covariance: Any) -> dict[str, Any]:
        """In the eigenbasis; sums over directions see no covariance between two of them."""
        if position is None and start_covariance is None:
            return {"velocity": velocity}
        start = {
            "position": self._in_eigenbasis("position", 0.0 if position is None else position),
            "velocity": self._in_eigenbasis("velocity", velocity),
        }
        if start_covariance is not None:
            start["start_covariance"] = self._spread(start_covariance)
        return start

    def _spread(self, value: Any) -> Array:
        """Covariance of each direction's own (θ, v), shape (d, 2, 2)."""
        size, given = self.landscape.dimension, real(value)
        if given.shape == (size, size):
            given = np.asarray(np.kron(np.diag([1.0, 0.0]), given), dtype=np.float64)
        if given.shape != (2 * size, 2 * size):
            raise ValueError(
                f"start_covariance has shape {given.shape}: give one of (θ, v), {2 * size} by "
                f"{2 * size}, positions first, or one of θ, {size} by {size}."
            )
        V, blocks = self.landscape.eigenvectors, given.reshape(2, size, 2, size)
        own = np.empty((size, 2, 2))
        for row, column in np.ndindex(2, 2):
            own[:, row, column] = ((V.T @ blocks[row, :, column]) * V.T).sum(1)
        return own

    @property
    def regime(self) -> tuple[str, ...]:
        """Per eigen-direction, in the order of ``landscape.eigenvalues``."""
        return self.modes.regime

    @property
    def relaxation_steps(self) -> Any:
        """Per eigen-direction: updates for the slowest root's envelope to fall by 1/e."""
        return self.modes.relaxation_steps


def _carried(F_i: Array, C: Array, F_j: Array) -> Array:
    """F_i C F_jᵀ for every pair: F (directions, 2, 2), C (2, 2, directions, directions)."""
    left = F_i.transpose(1, 2, 0)[..., None]
    right = F_j.transpose(1, 2, 0)[:, :, None]
    half = left[:, 0, None] * C[0] + left[:, 1, None] * C[1]
    return np.asarray(half[:, None, 0] * right[:, 0] + half[:, None, 1] * right[:, 1])
