r"""The noise of linear regression, which grows with the distance from the minimum.

One example's gradient is x(xᵀδ − ε): its covariance over examples is quadratic in the distance δ
from the true weights. So the noise that a run feels depends on how far it spreads, and the spread
on the noise; yet second moments close, in a linear recursion with a stability limit of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, eigs, gmres
from sympy import (
    Eq,
    Expr,
    ImmutableMatrix,
    Matrix,
    Poly,
    Rational,
    Symbol,
    Trace,
    Transpose,
    nsimplify,
)
from sympy.tensor.array.expressions import ArrayContraction, ArrayTensorProduct
from sympy.tensor.array.expressions.from_array_to_matrix import convert_array_to_matrix

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.discrete_time import recursion
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.hyperparameters import Hyperparameters, check_number
from sgdtheory.landscape import Landscape
from sgdtheory.lowering import LoweredFunction, lower
from sgdtheory.normal_form import factored
from sgdtheory.spectrum import Spectrum
from sgdtheory.stability import jury_conditions, stable_interval
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["FiniteDataset", "GaussianInputs", "RegressionMoments"]

Array: TypeAlias = NDArray[np.float64]
# The learning rates between 0 and the noiseless limit among which a first crossing is looked for.
TRIED = 16
# Below this size a dense eigenvalue problem is solved: Krylov spaces need room.
SMALL = 36

_HEAVY_BALL = heavy_ball()


@dataclass(frozen=True, eq=False)
class RegressionMoments:
    """Moments of (θ − μ, v) after given numbers of updates from a fixed start.

    Args:
        mean: (steps, modes, 2) for Gaussian inputs; (steps, 2d), positions first, for a data set.
        covariance: (steps, modes, 2, 2); (steps, 2d, 2d).
        displacement: E|θ_k − θ_0|², summed over directions, (steps,).
    """

    mean: Array
    covariance: Array
    displacement: Array

    @property
    def second_moments(self) -> Array:
        """E[x xᵀ] of the state x = (θ − μ, v), of the shape of `covariance`."""
        return self.covariance + self.mean[..., :, None] * self.mean[..., None, :]


# -- one update at given numbers --------------------------------------------------------------


@cache
def _lowered(rule: UpdateRule) -> tuple[LoweredFunction, ...]:
    """1 − M, n, and where the gradient is taken, as functions of (h, η, β, the rule's own)."""
    exact = recursion(rule, noise=s.Sigma, curvature=s.h)
    look = ImmutableMatrix([rule.gradient_at]).jacobian([s.theta, s.v])
    arguments = (s.h, s.eta, s.beta, *_own_symbols(rule))
    return tuple(lower(matrix, arguments) for matrix in (exact.generator, exact.kick, look))


def _own_symbols(rule: UpdateRule) -> list[Symbol]:
    return sorted(rule.parameters - {s.eta, s.beta}, key=str)


@dataclass(frozen=True, eq=False)
class _Update:
    """x' = (1 − G) x + n ε along every direction, ε a batch's error where the gradient is taken.

    Args:
        generators: G, (d, 2, 2).
        kick: n, (2,).
        look: (1, e), for a gradient taken at θ + e v, (2,).
        batch_size: S.
    """

    generators: Array
    kick: Array
    look: Array
    batch_size: float

    @property
    def injected(self) -> Array:
        """n nᵀ/S, the covariance that one update adds for a unit of one example's variance."""
        return np.outer(self.kick, self.kick) / self.batch_size

    def seen(self, covariance: Array) -> Array:
        """Covariance of the points where gradients are taken: wᵀ X w."""
        return covariance @ self.look @ self.look

    def response(self, left: Array, right: Array) -> Array:
        """Covariance, at the points where gradients are taken, that unit noise sustains.

        X = M_i X M_jᵀ + n nᵀ/S, four linear equations a pair of directions, written in 1 − M so
        that a flat direction is not lost beside 1.
        """
        eye = np.eye(2)
        lost = (
            np.einsum("...ac,bd->...abcd", left, eye)
            + np.einsum("ac,...bd->...abcd", eye, right)
            - np.einsum("...ac,...bd->...abcd", left, right)
        )
        lost = lost.reshape(*lost.shape[:-4], 4, 4)
        gained = np.broadcast_to(self.injected.ravel()[:, None], (*lost.shape[:-1], 1))
        return self.seen(np.linalg.solve(lost, gained).reshape(*lost.shape[:-2], 2, 2))


# -- what both kinds of inputs share ----------------------------------------------------------


class _LinearRegression(ABC):
    """Methods that ask only how strongly noise drives itself."""

    @property
    @abstractmethod
    def _eigenvalues(self) -> Array:
        """ρ of the Hessian, exactly 0 where inputs have no component."""

    @abstractmethod
    def _gain(self, update: _Update) -> float:
        """Spectral radius of: noise → the spread that it sustains → the noise that this adds."""

    def stability_limit(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = _HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> float:
        r"""Learning rate from which on second moments grow without bound.

        Noise Σ sustains a spread RΣ, which adds the noise ΦRΣ. Both maps keep covariances
        positive, so second moments are bounded if and only if means decay and the spectral radius
        of ΦR is below 1. It is 0 at η = 0 and infinite where means stop decaying, so the limit
        lies between: never above the noiseless one, and equal to it for infinite batches.

        Args:
            hyperparameters: their momentum, batch size and weight decay; not the learning rate.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Returns:
            The first crossing among 16 equal parts of the noiseless limit, to rounding.

        Raises:
            ValueError: for a rule without a range of stable ηh.
        """
        noiseless = self._noiseless_limit(hyperparameters, rule, parameters)

        def margin(rate: float) -> float:
            if rate in (0.0, noiseless):
                return 0.5 if rate == 0 else -0.5
            at_rate = replace(hyperparameters, learning_rate=rate)
            return 1 / (1 + self._gain(self._update(at_rate, rule, parameters))) - 0.5

        rates = noiseless * np.arange(1, TRIED + 1) / TRIED
        upper = next(rate for rate in map(float, rates) if margin(rate) <= 0)
        return float(brentq(margin, upper - noiseless / TRIED, upper, xtol=1e-15 * upper))

    def _noiseless_limit(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule,
        parameters: Mapping[Symbol, float] | None,
    ) -> float:
        values = _values(hyperparameters, rule, parameters)
        # Exact numbers, so that what cancels in a condition leaves nothing behind.
        exact = {x: Rational(float(value)) for x, value in values.items() if x != s.eta}
        parts = {
            name: nsimplify(getattr(rule, name), rational=True).subs(exact)
            for name in ("velocity", "position", "gradient_at")
        }
        generator = recursion(UpdateRule(**parts), noise=s.Sigma, curvature=s.h).generator
        trace, determinant = (
            factored(x.subs(s.h, s.y / s.eta)) for x in (generator.trace(), generator.det())
        )
        steepest = self._eigenvalues.max() + float(hyperparameters.weight_decay)
        if steepest > 0 and not (trace.free_symbols | determinant.free_symbols) - {s.y}:
            interval = stable_interval(trace, determinant)
            if interval.is_Interval and interval.start == 0 and interval.end.is_finite:
                return float(interval.end) / float(steepest)
        raise ValueError(
            f"rule = {rule.name}, parameters = {dict(parameters or {})}: its means are not stable "
            "for an interval 0 < ηh < y, so there is no largest learning rate to start from. Give "
            "a rule whose steps grow with η, and inputs that are not all 0."
        )

    def _update(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule,
        parameters: Mapping[Symbol, float] | None,
    ) -> _Update:
        values = _values(hyperparameters, rule, parameters)
        numbers = [values[x] for x in (s.eta, s.beta, *_own_symbols(rule))]
        generator, kick, look = _lowered(rule)
        h = self._eigenvalues + float(hyperparameters.weight_decay)
        return _Update(
            np.asarray(generator(h, *numbers)),
            np.asarray(kick(0.0, *numbers)).ravel(),
            np.asarray(look(0.0, *numbers)).ravel(),
            float(hyperparameters.batch_size),
        )

    def _bounded_update(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule,
        parameters: Mapping[Symbol, float] | None,
    ) -> _Update:
        """The update, refused where second moments have no stationary value."""
        update = self._update(hyperparameters, rule, parameters)
        if self._gain(update) < 1:
            return update
        limit = self.stability_limit(hyperparameters, rule, parameters)
        noiseless = self._noiseless_limit(hyperparameters, rule, parameters)
        raise UnstableError(
            f"learning_rate = {float(hyperparameters.learning_rate):g}: second moments are bounded "
            f"below {limit:g} only; from there on the noise that grows with the distance from the "
            f"minimum drives itself (means alone decay below {noiseless:g}). Lower the learning "
            "rate or raise the batch size, or use moments(), which needs no stationary state."
        )

    def _decays(self, update: _Update) -> bool:
        """Whether means decay along the directions that noise reaches."""
        (a, b), (c, d) = np.moveaxis(update.generators[self._eigenvalues > 0], 0, -1)
        return all(bool(np.all(x > 0)) for x in jury_conditions(a + d, a * d - b * c))


def _values(
    hyperparameters: Hyperparameters,
    rule: UpdateRule,
    parameters: Mapping[Symbol, float] | None,
) -> dict[Symbol, float]:
    require_rule(rule)
    given, own = dict(parameters or {}), _own_symbols(rule)
    if set(given) != set(own):
        raise ValueError(
            f"parameters = {given}: the {rule.name} rule has the further symbols {own}; give "
            "exactly these."
        )
    for symbol, value in given.items():
        check_number(f"parameters: {symbol}", value)
    momentum = float(hyperparameters.momentum)
    if s.beta not in rule.parameters and momentum:
        raise ValueError(
            f"momentum = {momentum:g}: the {rule.name} rule has none. Set it to 0, or choose "
            "another rule."
        )
    return {s.eta: float(hyperparameters.learning_rate), s.beta: momentum, **given}


def _update_counts(steps: Any) -> NDArray[np.int64]:
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu" or np.any(counts < 0):
        raise ValueError(f"steps = {steps}: give whole numbers of updates ≥ 0, one or an array.")
    return counts.astype(np.int64)


def _start(name: str, value: ArrayLike, size: int) -> Array:
    offset = np.asarray(value, dtype=np.float64)
    if offset.shape not in ((), (size,)) or not np.all(np.isfinite(offset)):
        raise ValueError(
            f"{name} = {value!r} has shape {offset.shape}: give one finite number, or one for each "
            f"of the {size} directions."
        )
    return np.broadcast_to(offset, size)


@dataclass(frozen=True, eq=False)
class _History:
    """What a run from a fixed start recorded, in the Hessian's eigenbasis.

    Args:
        departures: mean of (θ, v) less the start, (steps, d, 2).
        covariances: (steps, d, 2, 2) of each direction, or (steps, d, d, 2, 2) of every pair.
    """

    departures: Array
    covariances: Array


def _follow(
    update: _Update,
    counts: NDArray[np.int64],
    start: Array,
    covariance: Array,
    noise: Callable[[Array, Array], Array],
) -> _History:
    """One update after the other: the mean by itself, the covariance with the noise it causes.

    Args:
        update: the rule at numbers.
        counts: when to record, in any order.
        start: (θ − μ, v), (d, 2).
        covariance: zeros, (d, 2, 2) or (d, d, 2, 2).
        noise: covariance of one example's gradient, from the covariance and the mean of the points
            where gradients are taken.
    """
    maps = np.eye(2) - update.generators
    left, right = (maps, maps) if covariance.ndim == 3 else (maps[:, None], maps[None, :])
    lost = np.einsum("iab,ib->ia", update.generators, start)
    departure = np.zeros_like(start)
    kept: dict[int, tuple[Array, Array]] = {}
    asked = [int(k) for k in counts.ravel()]
    wanted = set(asked)
    # What overflows is refused below, in words.
    with np.errstate(over="ignore", invalid="ignore"):
        for count in range(max(wanted, default=0) + 1):
            if count in wanted:
                kept[count] = departure, covariance
            felt = noise(update.seen(covariance), (start + departure) @ update.look)
            covariance = left @ covariance @ np.swapaxes(right, -1, -2)
            covariance = covariance + felt[..., None, None] * update.injected
            departure = np.einsum("iab,ib->ia", maps, departure) - lost
    departures, covariances = (np.array([kept[k][part] for k in asked]) for part in (0, 1))
    if not np.all(np.isfinite(covariances)):
        raise UnstableError(
            f"steps up to {counts.max()}: second moments grow beyond floating point. Ask for fewer."
        )
    return _History(
        departures.reshape(*counts.shape, *start.shape),
        covariances.reshape(*counts.shape, *covariance.shape),
    )


# -- Gaussian inputs --------------------------------------------------------------------------


@cache
def _gaussian_noise() -> tuple[Expr, Derivation]:
    """Σ along an eigenvector, in ρ, P, T and σ²; and how it comes about."""
    H, P, x, error, example = (
        s.matrix(name, s.dimension, columns)
        for name, columns in (
            ("H", s.dimension),
            ("P", s.dimension),
            ("x", 1),
            ("delta", 1),
            ("g", 1),
        )
    )
    label = s.matrix("epsilon", 1)
    pairings = [_pairing(H, P, partner) for partner in (1, 2, 3)]
    covariance = (s.sigma2 * H + sum(pairings[1:], pairings[0]) - H * P * H).doit()
    along = covariance.subs(Trace(H * P), s.prediction_error).subs(s.dimension, 1)
    curvature, spread = (s.matrix(name, 1) for name in "HP")
    (variance,) = along.subs({curvature: Matrix([[s.rho]]), spread: Matrix([[s.spread]])}).doit()
    steps = (
        Derivation()
        .then(
            "Gradient of one example",
            "The squared error of one input x and its target; δ is the distance from the true "
            "weights and ε the error of the label.",
            Eq(example, x * (x.T * error - label), evaluate=False),
            assumption="labels err independently of the inputs, with variance σ²",
        )
        .then(
            "Pair the inputs",
            "The average of x xᵀ P x xᵀ over Gaussian inputs is the sum over the three ways to "
            "pair the four factors x, each pair giving H; P = E[δδᵀ].",
            *pairings,
            assumption="inputs are Gaussian with mean 0 and covariance H",
        )
        .then(
            "Covariance of the gradient",
            "Add the labels' part, subtract the square of the mean gradient Hδ, average over δ.",
            Eq(s.matrix("Sigma", s.dimension), covariance, evaluate=False),
        )
        .then(
            "Along an eigenvector of H",
            "The diagonal closes by itself; directions meet in T = tr(HP) alone.",
            Eq(s.Sigma, variance, evaluate=False),
        )
    )
    return variance, _closed(steps)


def _pairing(H: Expr, P: Expr, partner: int) -> Expr:
    """x₀ x₁ᵀ P x₂ x₃ᵀ, averaged with x₀ paired with one partner and the other two paired."""
    slots = (0, partner, *(n for n in (1, 2, 3) if n != partner))
    axes = {slot: axis for axis, slot in enumerate(slots)}
    paired = ArrayContraction(ArrayTensorProduct(H, H, P), (axes[1], 4), (axes[2], 5))
    # Both matrices are symmetric, which SymPy does not know.
    return convert_array_to_matrix(paired).replace(
        lambda x: isinstance(x, Transpose), lambda x: x.arg
    )


def _closed(steps: Derivation) -> Derivation:
    state, left, right = (s.matrix(name, 2) for name in ("X_{ij}", "M_{i}", "M_{j}"))
    kick, noise = s.matrix("n", 2, 1), s.Sigma_ij
    return steps.then(
        "Second moments close",
        "A fresh batch errs independently of the state: an error has mean 0 whatever came before, "
        "so errors of different updates are uncorrelated, and only their covariance enters.",
        Eq(
            s.matrix("X_{ij}^{next}", 2),
            left * state * right.T + kick * kick.T * noise / s.S,
            evaluate=False,
        ),
        assumption="batches are drawn afresh, with replacement",
    )


@cache
def _gaussian_coefficients() -> LoweredFunction:
    """(1, P, T) coefficients of Σ along an eigenvector, as functions of (ρ, σ²)."""
    polynomial = Poly(_gaussian_noise()[0], s.spread, s.prediction_error)
    parts = [polynomial.coeff_monomial(x) for x in (1, s.spread, s.prediction_error)]
    return lower(ImmutableMatrix([parts]), (s.rho, s.sigma2))


@dataclass(frozen=True, eq=False)
class GaussianInputs(_LinearRegression):
    r"""Linear regression with endless Gaussian inputs of covariance H, in H's eigenbasis.

    .. math:: \Sigma(P) = \sigma^2 H + H P H + H \operatorname{tr}(HP),

    with P = E[δδᵀ] of the distance δ from the true weights.

    Args:
        eigenvalues: ρ of H, (modes,), ≥ 0. Unit: loss/θ².
        noise_scale: σ² ≥ 0, the variance of the labels' errors. Unit: loss.
        offset: μ − θ* along each eigenvector, (modes,) or a number: how far weight decay pulls the
            minimum from the true weights. Unit: θ.

    Raises:
        ValueError: naming the argument, its value and the limit it broke.

    Source:
        Liu, Ziyin, Ueda, arXiv 2012.03636; Ziyin, Liu, Mori, Ueda, arXiv 2102.05375.

    >>> problem = GaussianInputs([1.0, 0.5], noise_scale=0.1)
    >>> hyper = Hyperparameters(learning_rate=0.2, batch_size=2)
    >>> round(problem.stability_limit(hyper), 4)
    0.9468
    >>> problem.stationary(hyper).variances.round(4)
    array([0.1158, 0.0562])
    """

    eigenvalues: Array
    noise_scale: float
    offset: Any = 0.0

    def __post_init__(self) -> None:
        checked = Spectrum(np.asarray(self.eigenvalues, dtype=np.float64), self.noise_scale)
        object.__setattr__(self, "eigenvalues", checked.eigenvalues)
        object.__setattr__(self, "offset", _start("offset", self.offset, len(checked)))

    @property
    def derivation(self) -> Derivation:
        """From one example's gradient to the closed recursion of second moments."""
        return _gaussian_noise()[1]

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @property
    def _eigenvalues(self) -> Array:
        return self.eigenvalues

    def _response(self, update: _Update) -> Array:
        """Variance of the positions that unit noise sustains, where noise there is, (modes,)."""
        response, moving = np.zeros_like(self.eigenvalues), self.eigenvalues > 0
        generators = update.generators[moving]
        response[moving] = update.response(generators, generators)
        return response

    @cached_property
    def _coefficients(self) -> tuple[Array, Array, Array]:
        parts = np.asarray(_gaussian_coefficients()(self.eigenvalues, self.noise_scale))
        constant, own, shared = np.moveaxis(parts[..., 0, :], -1, 0)
        return constant, own, shared

    def gradient_noise(self, spread: ArrayLike = 0.0, mean: ArrayLike = 0.0) -> Array:
        """Variance of one example's gradient along each eigenvector, (modes,).

        Args:
            spread: variances of the positions, (modes,) or a number.
            mean: their mean as an offset from the minimum μ, likewise.
        """
        constant, own, shared = self._coefficients
        distance = spread + (np.asarray(mean) + self.offset) ** 2
        return constant + own * distance + shared * np.sum(self.eigenvalues * distance)

    def _gain(self, update: _Update) -> float:
        if not self._decays(update):
            return np.inf
        _, own, shared = self._coefficients
        response = self._response(update)
        if np.any(own * response >= 1):
            return np.inf
        return float(np.sum(self.eigenvalues * response * shared / (1 - own * response)))

    def stationary(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = _HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> Spectrum:
        """The spectrum with the noise that a stationary run feels, for a `Predictor`.

        The noise depends on the position, but an error has mean 0 whatever came before, so errors
        of different updates are uncorrelated: every stationary second moment, lagged ones too, is
        that of white noise with the average covariance. What `Predictor` says of a stationary run
        is exact with it; transients need `moments`, and distributions are not Gaussian.

        Linear equations, diagonal but for T = tr(HP): solved in closed form, O(modes).

        Args:
            hyperparameters: η, β, S, λ.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Raises:
            UnstableError: at or beyond `stability_limit`, naming both.
        """
        update = self._bounded_update(hyperparameters, rule, parameters)
        gain, response = self._gain(update), self._response(update)
        constant, own, shared = self._coefficients
        # With T = 0 first; then T itself, which returns to its own equation with the gain.
        alone = (constant + own * self.offset**2) / (1 - own * response)
        error = np.sum(self.eigenvalues * (response * alone + self.offset**2)) / (1 - gain)
        return Spectrum(
            self.eigenvalues, noise_variances=alone + shared * error / (1 - own * response)
        )

    def moments(
        self,
        hyperparameters: Hyperparameters,
        steps: ArrayLike,
        position: ArrayLike,
        velocity: ArrayLike = 0.0,
        rule: UpdateRule = _HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> RegressionMoments:
        """Moments after `steps` updates from a fixed start, below and beyond the stability limit.

        One update after the other: O(modes) each. Covariances between directions exist too, but
        no variance depends on them.

        Args:
            hyperparameters: η, β, S, λ.
            steps: update counts, one or an array.
            position: offset from the minimum μ in the eigenbasis, (modes,) or a number.
            velocity: likewise; 0 for a fresh optimiser.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        >>> problem = GaussianInputs([1.0, 0.5], noise_scale=0.1)
        >>> run = problem.moments(Hyperparameters(0.2, batch_size=2), [0, 1], position=1.0)
        >>> run.second_moments[:, :, 0, 0]
        array([[1.   , 1.   ], [0.692, 0.831]])
        """
        update = self._update(hyperparameters, rule, parameters)
        size = len(self.eigenvalues)
        start = np.stack(
            [_start("position", position, size), _start("velocity", velocity, size)], axis=-1
        )
        history = _follow(
            update, _update_counts(steps), start, np.zeros((size, 2, 2)), self.gradient_noise
        )
        moved, gathered = history.departures[..., 0], history.covariances[..., 0, 0]
        return RegressionMoments(
            start + history.departures,
            history.covariances,
            np.sum(moved**2 + gathered, axis=-1),
        )


# -- a finite data set ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FiniteDataset(_LinearRegression):
    r"""Linear regression on N examples, L(θ) = (1/2N) Σ (x_nᵀθ − y_n)², in the inputs' coordinates.

    Several outputs are as many problems that share their inputs: one a column of the targets.

    Args:
        inputs: X, (N, d). Unit: √loss/θ.
        targets: y, (N,). Unit: √loss.

    Raises:
        ValueError: for shapes that do not match, or numbers that are not finite.

    >>> problem = FiniteDataset([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], [1.0, 0.0, 1.0])
    >>> problem.minimum(weight_decay=0.0).round(4)
    array([0.3333, 0.3333])
    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.5, batch_size=2)
    >>> round(problem.stability_limit(hyper), 4)
    0.7146
    >>> from sgdtheory import Predictor
    >>> Predictor(hyper, problem.stationary(hyper).spectrum).stationary_covariance().shape
    (2, 2, 2)
    """

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        X, y = self.inputs, self.targets
        if X.ndim != 2 or X.size == 0 or y.shape != X.shape[:1]:
            raise ValueError(
                f"inputs, targets have shapes {X.shape}, {y.shape}: give (N, d) and (N,); several "
                "outputs are one problem each."
            )
        for name, values in (("inputs", X), ("targets", y)):
            if not np.all(np.isfinite(values)):
                raise ValueError(
                    f"{name} holds numbers that are not finite. Remove or repair them."
                )

    @property
    def derivation(self) -> Derivation:
        """From one example's gradient to the closed recursion of second moments."""
        x, offset, gradient = (s.matrix(name, s.dimension, 1) for name in ("x", "delta", "g"))
        residual = s.matrix("r", 1)
        steps = Derivation().then(
            "Gradient of one example",
            "Inputs and residuals r at the minimum are those of the data set; δ is the offset from "
            "the minimum of the regularised loss. Its covariance is taken over the examples, then "
            "over δ.",
            Eq(gradient, x * (x.T * offset + residual), evaluate=False),
        )
        return _closed(steps)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    @property
    def hessian(self) -> Array:
        """XᵀX/N, (d, d), without weight decay."""
        return self.inputs.T @ self.inputs / len(self.inputs)

    @cached_property
    def _eigensystem(self) -> tuple[Array, Array]:
        """Singular values squared over N, and their vectors as columns: a basis of all d.

        Singular values that are rounding are 0, and so are the inputs' components along them.
        """
        size = self.inputs.shape[1]
        _, found, rows = np.linalg.svd(np.linalg.qr(self.inputs, mode="r"))
        singular = np.zeros(size)
        singular[: len(found)] = found
        singular[singular <= max(self.inputs.shape) * np.finfo(float).eps * found.max()] = 0.0
        return singular**2 / len(self.inputs), rows.T

    @property
    def _eigenvalues(self) -> Array:
        return self._eigensystem[0]

    @cached_property
    def _projected(self) -> Array:
        values, vectors = self._eigensystem
        return (self.inputs @ vectors) * (values > 0)

    def _projected_minimum(self, weight_decay: float) -> Array:
        curvature = self._eigenvalues + weight_decay
        pull = self._projected.T @ self.targets / len(self.targets)
        return np.divide(pull, curvature, out=np.zeros_like(pull), where=pull != 0)

    def minimum(self, weight_decay: float = 0.0) -> Array:
        """μ of the regularised loss, (d,); the shortest one where the loss leaves it open."""
        return self._eigensystem[1] @ self._projected_minimum(weight_decay)

    def _noise(self, spread: Array, mean: Array, residuals: Array) -> Array:
        """`gradient_noise` in the eigenbasis."""
        Z, rho = self._projected, self._eigenvalues
        errors = Z @ mean + residuals
        weights = errors**2 + np.sum((Z @ spread) * Z, axis=1)
        average = Z.T @ errors / len(Z)
        return (
            Z.T @ (weights[:, None] * Z) / len(Z)
            - np.outer(average, average)
            - np.outer(rho, rho) * spread
        )

    def _residuals(self, weight_decay: float) -> Array:
        return self._projected @ self._projected_minimum(weight_decay) - self.targets

    def gradient_noise(
        self, spread: ArrayLike | None = None, mean: ArrayLike = 0.0, weight_decay: float = 0.0
    ) -> Array:
        r"""Covariance of one example's gradient over examples and positions, (d, d).

        E[x xᵀ(P + mmᵀ)x xᵀ] and the residuals' part, less the covariance HPH of the mean gradient
        and its mean squared.

        Args:
            spread: covariance P of the positions, (d, d); none by default.
            mean: their mean m as an offset from the minimum, (d,) or a number.
            weight_decay: λ, which places the minimum.
        """
        V, size = self._eigensystem[1], self.inputs.shape[1]
        P = np.zeros((size, size)) if spread is None else np.asarray(spread, dtype=np.float64)
        residuals = self._residuals(weight_decay)
        return V @ self._noise(V.T @ P @ V, _start("mean", mean, size) @ V, residuals) @ V.T

    def _own_noise(self, update: _Update) -> LinearOperator:
        """The noise that the spread adds which a noise sustains: ΦR on (d, d) matrices."""
        size, moving = len(self._eigenvalues), np.flatnonzero(self._eigenvalues > 0)
        generators = update.generators[moving]
        response = np.zeros((size, size))
        response[np.ix_(moving, moving)] = update.response(generators[:, None], generators[None])
        nothing = np.zeros(size), np.zeros(len(self.inputs))

        def matvec(flat: Array) -> Array:
            return self._noise(response * flat.reshape(size, size), *nothing).ravel()

        return LinearOperator((size**2, size**2), matvec=matvec, dtype=np.float64)

    def _gain(self, update: _Update) -> float:
        if not self._decays(update):
            return np.inf
        operator = self._own_noise(update)
        start = np.eye(len(self._eigenvalues)).ravel()
        if len(start) <= SMALL:
            return float(np.abs(np.linalg.eigvals(operator @ np.eye(len(start)))).max())
        # The leading eigenvector is a covariance, so a covariance is a good start.
        values = eigs(operator, k=1, which="LM", v0=start, return_eigenvectors=False)
        return float(np.abs(values).max())

    def stationary(
        self,
        hyperparameters: Hyperparameters,
        rule: UpdateRule = _HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> Landscape:
        """Hessian and the noise that a stationary run feels, for a `Predictor`.

        Errors of different updates are uncorrelated, so every stationary second moment is that of
        white noise with this covariance; see `GaussianInputs.stationary`. Linear equations in
        that covariance, solved in a Krylov space, O(N d²) an iteration, until the residual is
        rounding.

        Args:
            hyperparameters: η, β, S, λ.
            rule: the optimiser.
            parameters: values of the rule's further symbols.

        Raises:
            UnstableError: at or beyond `stability_limit`, naming both.
        """
        update = self._bounded_update(hyperparameters, rule, parameters)
        size, V = len(self._eigenvalues), self._eigensystem[1]
        residuals = self._residuals(float(hyperparameters.weight_decay))
        at_minimum = self._noise(np.zeros((size, size)), np.zeros(size), residuals)
        noise = _solved(self._own_noise(update), at_minimum.ravel()).reshape(size, size)
        noise = V @ noise @ V.T
        return Landscape(self.hessian, (noise + noise.T) / 2)

    def moments(
        self,
        hyperparameters: Hyperparameters,
        steps: ArrayLike,
        position: ArrayLike,
        velocity: ArrayLike = 0.0,
        rule: UpdateRule = _HEAVY_BALL,
        parameters: Mapping[Symbol, float] | None = None,
    ) -> RegressionMoments:
        """Moments after `steps` updates from a fixed start, below and beyond the stability limit.

        One update after the other: O(N d²) each.

        Args:
            hyperparameters: η, β, S, λ.
            steps: update counts, one or an array.
            position: offset from `minimum`, in the inputs' coordinates, (d,) or a number for all.
            velocity: likewise; 0 for a fresh optimiser.
            rule: the optimiser.
            parameters: values of the rule's further symbols.
        """
        update = self._update(hyperparameters, rule, parameters)
        V, size = self._eigensystem[1], len(self._eigenvalues)
        own = np.stack(
            [_start("position", position, size), _start("velocity", velocity, size)], axis=-1
        )
        residuals = self._residuals(float(hyperparameters.weight_decay))
        history = _follow(
            update,
            _update_counts(steps),
            V.T @ own,
            np.zeros((size, size, 2, 2)),
            lambda spread, mean: self._noise(spread, mean, residuals),
        )
        mean = own + V @ history.departures
        covariance = np.einsum("ai,...ijst,bj->...satb", V, history.covariances, V, optimize=True)
        moved = np.sum(history.departures[..., 0] ** 2, axis=-1)
        flat = (*history.departures.shape[:-2], 2 * size)
        return RegressionMoments(
            np.swapaxes(mean, -1, -2).reshape(flat),
            covariance.reshape(*flat, 2 * size),
            moved + np.einsum("...ii->...", history.covariances[..., 0, 0]),
        )


def _solved(operator: LinearOperator, noise: Array) -> Array:
    """Σ = Σ₀ + ΦR Σ, refined until a correction no longer makes the residual smaller."""
    whole = LinearOperator(operator.shape, matvec=lambda x: x - operator @ x, dtype=np.float64)
    solution, residual = np.zeros_like(noise), noise
    while np.linalg.norm(residual) > 0:
        correction, _ = gmres(whole, residual, restart=min(len(noise), 100))
        refined = solution + correction
        left = noise - whole @ refined
        if np.linalg.norm(left) >= np.linalg.norm(residual):
            break
        solution, residual = refined, left
    return solution
