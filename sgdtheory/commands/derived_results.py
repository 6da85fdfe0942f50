"""What `sgdtheory derive` can be asked for, by name: each an expression and the steps to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sympy import Eq, Expr, expand_func
from sympy.matrices import MatrixBase

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.derivation import Formula

__all__ = ["RESULTS", "Derived", "Question", "derived"]

DISCRETE, CONTINUOUS = "discrete", "continuous"


@dataclass(frozen=True)
class Question:
    """Of what a result is asked.

    Args:
        rule: the optimiser.
        theory: "discrete" or "continuous".
        order: of the modified equation.
        sampling: of the discrete theory.
        noise: Σ of one example along the direction; None for the result's own letters.
        curvature: h; likewise.
    """

    rule: sgd.UpdateRule
    theory: str = DISCRETE
    order: int = 1
    sampling: str = "with_replacement"
    noise: Expr | None = None
    curvature: Expr | None = None

    @cached_property
    def langevin(self) -> sgd.Langevin:
        """The modified equation."""
        return sgd.modified_equation(self.rule, self.order)

    @cached_property
    def diffusion(self) -> sgd.OrnsteinUhlenbeck:
        """One eigen-direction in continuous time."""
        return sgd.ornstein_uhlenbeck(self.langevin, self.noise, self.curvature)

    @cached_property
    def flow(self) -> sgd.ProbabilityFlow:
        """Its density and currents."""
        return sgd.fokker_planck(self.diffusion)

    @cached_property
    def recursion(self) -> sgd.LinearRecursion:
        """One eigen-direction in updates."""
        return sgd.recursion(self.rule, self.noise, self.curvature, self.sampling)

    @property
    def process(self) -> sgd.OrnsteinUhlenbeck | sgd.LinearRecursion:
        """That of the theory asked about."""
        return self.recursion if self.theory == DISCRETE else self.diffusion

    @property
    def time(self) -> Expr:
        """The theory's clock as a symbol."""
        return s.k if self.theory == DISCRETE else s.t

    def inserted(self, formula: Formula) -> Formula:
        """A result in Σ and h, with the noise and the curvature that were given."""
        given = {s.Sigma: self.noise, s.h: self.curvature}
        return formula.xreplace({x: y for x, y in given.items() if y is not None})


class Derived(NamedTuple):
    """A result and how it came about.

    Args:
        value: expression, matrix, equation, set or `ScalingTable`.
        derivation: the steps.
    """

    value: Formula | sgd.ScalingTable
    derivation: sgd.Derivation


class Result(NamedTuple):
    """One entry of the list.

    Args:
        line: what it is.
        theories: in which it exists, the first by default; none where the rule alone decides.
        derive: the result.
        of_direction: whether it is of one eigen-direction, with a noise and a curvature.
    """

    line: str
    theories: tuple[str, ...]
    derive: Callable[[Question], Derived]
    of_direction: bool = True


def _of_equation(name: str) -> Callable[[Question], Derived]:
    def derive(question: Question) -> Derived:
        value = question.inserted(getattr(question.langevin, name))
        return Derived(value, question.langevin.derivation)

    return derive


def _of_flow(name: str) -> Callable[[Question], Derived]:
    return lambda question: Derived(getattr(question.flow, name), question.flow.derivation)


def _of_process(name: str) -> Callable[[Question], Derived]:
    """An attribute of the process itself."""
    return lambda question: Derived(getattr(question.process, name), question.process.derivation)


def _in_time(name: str) -> Callable[[Question], Derived]:
    def derive(question: Question) -> Derived:
        value = getattr(question.process, name)(question.time)
        return Derived(value, question.process.derivation_of(name))

    return derive


def _stationary(question: Question) -> Derived:
    process = question.process
    return Derived(process.stationary_covariance(), process.derivation_of("stationary_covariance"))


def _stability(question: Question) -> Derived:
    process = question.recursion
    return Derived(process.stability, process.derivation_of("stability"))


def _slow(name: str) -> Callable[[Question], Derived]:
    def derive(question: Question) -> Derived:
        manifold = sgd.slow_manifold(question.rule)
        return Derived(getattr(manifold, name), manifold.derivation)

    return derive


def _observable(name: str) -> Callable[[Question], Derived]:
    def derive(question: Question) -> Derived:
        process = sgd.recursion(question.rule, noise=s.Sigma, curvature=s.h)
        value = sgd.observables(question.rule)[name]
        return Derived(question.inserted(value), process.derivation_of("stationary_covariance"))

    return derive


def _scaling_laws(question: Question) -> Derived:
    process = sgd.recursion(question.rule, noise=s.Sigma, curvature=s.h)
    return Derived(sgd.scaling_laws(question.rule), process.derivation_of("stationary_covariance"))


_BOTH, _EXACT, _LANGEVIN, _RULE = (DISCRETE, CONTINUOUS), (DISCRETE,), (CONTINUOUS,), ()

RESULTS: dict[str, Result] = {
    "modified_equation": Result(
        "m θ̈ + Γ θ̇ = −L'(θ), which the mean follows", _LANGEVIN, _of_equation("equation")
    ),
    "mass": Result("m of the modified equation", _LANGEVIN, _of_equation("mass")),
    "friction": Result("Γ of the modified equation", _LANGEVIN, _of_equation("friction")),
    "hessian_damping": Result(
        "the friction's part that the curvature brings, per curvature",
        _LANGEVIN,
        _of_equation("hessian_damping"),
    ),
    "noise_intensity": Result(
        "covariance of the random force per unit of time",
        _LANGEVIN,
        _of_equation("noise_intensity"),
    ),
    "inverse_temperature": Result(
        "κ, which makes κΦ the exponent of the stationary density",
        _LANGEVIN,
        _of_equation("inverse_temperature"),
    ),
    "drift": Result("A in dx = −A x dt + √(2D/κ) dW", _LANGEVIN, _of_process("drift")),
    "diffusion": Result("D/κ, likewise", _LANGEVIN, _of_process("diffusion")),
    "modified_loss": Result("Φ, what the process descends", _LANGEVIN, _of_flow("modified_loss")),
    "precision": Result("U in Φ = ½ xᵀ U x", _LANGEVIN, _of_flow("precision")),
    "circulation": Result("Q in A = (D + Q) U", _LANGEVIN, _of_flow("circulation")),
    "density": Result("the stationary density", _LANGEVIN, _of_flow("density")),
    "current": Result("J, the stationary current of probability", _LANGEVIN, _of_flow("current")),
    "map": Result("M in x ← M x + n ε, one update", _EXACT, _of_process("map")),
    "kick": Result("n, likewise", _EXACT, _of_process("kick")),
    "stability": Result("the ηh for which updates are stable", _EXACT, _stability),
    "stationary_covariance": Result("of (θ, v), in the stationary state", _BOTH, _stationary),
    "propagator": Result(
        "what takes the start's mean to a later one", _BOTH, _in_time("propagator")
    ),
    "mean": Result("of (θ, v), from a start", _BOTH, _in_time("mean")),
    "covariance": Result("of (θ, v), from a fixed start", _BOTH, _in_time("covariance")),
    "autocovariance": Result("E[x x₀ᵀ] in the stationary state", _BOTH, _in_time("autocovariance")),
    "displacement": Result("E|θ − θ₀|² from a stationary start", _BOTH, _in_time("displacement")),
    "implicit_regularization": Result(
        "c in the loss L + c L'² that the slow mean descends", _RULE, _slow("factor"), False
    ),
    "slow_loss": Result("that loss", _RULE, _slow("modified_loss"), False),
    "scaling_laws": Result(
        "every observable to leading order in η, and its powers", _RULE, _scaling_laws, False
    ),
    "stationary_variance": Result(
        "variance of the position", _RULE, _observable("stationary_variance")
    ),
    "velocity_variance": Result(
        "variance of the velocity", _RULE, _observable("velocity_variance")
    ),
    "local_displacement": Result(
        "displacement of one update", _RULE, _observable("local_displacement")
    ),
    "effective_temperature": Result(
        "h times the position's variance", _RULE, _observable("effective_temperature")
    ),
    "diffusion_rate": Result(
        "displacement per update of a flat direction, late", _RULE, _observable("diffusion_rate")
    ),
    "velocity_memory": Result(
        "updates for which a velocity is remembered", _RULE, _observable("velocity_memory")
    ),
    "relaxation_steps": Result(
        "updates in which a slow direction relaxes", _RULE, _observable("relaxation_steps")
    ),
    "relaxation_examples": Result(
        "examples seen while it does", _RULE, _observable("relaxation_examples")
    ),
}


def derived(name: str, question: Question, *, textbook: bool = False) -> Derived:
    """A result, its last step the result itself.

    Args:
        name: of `RESULTS`.
        question: of what.
        textbook: whether functions of continuous time become exponentials, sines and cosines.

    >>> derived("mass", Question(sgd.heavy_ball())).value
    eta*(beta + 1)/2
    """
    result = RESULTS[name]
    value, derivation = result.derive(question)
    if isinstance(value, sgd.ScalingTable):
        return Derived(value, derivation)
    if textbook and isinstance(value, MatrixBase):
        value = value.applyfunc(expand_func)
    elif textbook and isinstance(value, Expr):
        value = expand_func(value)
    if not _ends_with(derivation, value):
        title = name.replace("_", " ").capitalize()
        derivation = derivation.then(title, f"The result: {result.line}.", value)
    return Derived(value, derivation)


def _ends_with(derivation: sgd.Derivation, value: object) -> bool:
    last = derivation[-1].formulas
    return any(x == value or (isinstance(x, Eq) and x.rhs == value) for x in last)
