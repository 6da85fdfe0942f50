r"""The six functions in which every moment of a damped mode is written, for two clocks.

A mode is a second-order linear law for one position x with increment w,

    continuous:  dx/dt = w,            dw/dt = −b x − a w,
    discrete:    x_{k+1} − x_k = w_k,  w_{k+1} − w_k = −b x_k − a w_k,

so in both its generator has trace a and determinant b, and its propagator after a time t is

.. math:: F_t = \begin{pmatrix} q_t & s_t \\ -b\,s_t & \dot s_t \end{pmatrix}.

The four regimes (overdamped, critical, underdamped and, in discrete time, alternating) are the
same entire functions of (a, b), so nothing here branches on a regime:

====================  ==========================  ============================================
relaxation            q                           what is left of an initial offset; q_0 = 1
step_response         p = 1 − q                   kept apart, because 1 − q cancels near q = 1
impulse_response      s                           the offset that a unit velocity causes; s_0 = 0
velocity_response     ds/dt, or s_{k+1} − s_k     what is left of an initial velocity; 1 at t = 0
position_gramian      ∫ s² dt, or Σ_{j<k} s_j²    position variance that white noise causes
velocity_gramian      ∫ ṡ² dt, or Σ_{j<k} ṡ_j²    velocity variance that white noise causes
====================  ==========================  ============================================

The arguments are (t, a, b): the clock, the trace and the determinant of the generator. The
frequency √(b − a²/4) never appears, because for a flat direction it forgets b.

Noise that lasts (an epoch's mean error, the same for all its batches) asks for repeated sums of the
impulse response over the updates before, c_k = Σ_{j<k} s_j and likewise Σ_{j<k} c_j and so on:
response_sum, second_response_sum and third_response_sum, and for the squares Σ_{j<k} c_j², the
response_sum_gramian; in discrete time only. The step response is b c_k, and for a flat direction
c_k stays what b can no longer tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, ClassVar, cast

import mpmath
from mpmath.libmp import prec_to_dps
from sympy import Expr, Float, Function, Integer, Lambda, cos, exp, expand, latex, sin, sqrt

from sgdtheory.symbols import coordinates

__all__ = ["CONTINUOUS", "DISCRETE", "KINDS", "SUMS", "Clock", "ModeFunction", "ModeFunctions"]

KINDS = (
    "relaxation",
    "step_response",
    "impulse_response",
    "velocity_response",
    "position_gramian",
    "velocity_gramian",
)

SUMS = ("response_sum", "second_response_sum", "third_response_sum", "response_sum_gramian")

# Polynomials in (a, b), and fractions where these are numbers, are written out up to this many
# updates; beyond it they only grow.
_LONGEST_POLYNOMIAL = 8
_LONGEST_FRACTION = 64


class ModeFunction(Function):
    """A propagator element or Gramian of one mode, as a function of (t, trace, determinant)."""

    nargs = 3
    kind: ClassVar[str]
    at_zero: ClassVar[int]
    head: ClassVar[str]

    def _latex(self, printer: Any, exp: Any = None) -> str:
        arguments = r",\,".join(latex(argument) for argument in self.args)
        power = "" if exp is None else f"^{{{exp}}}"
        head = self.head if exp is None else rf"\left({self.head}\right)"
        return rf"{head}{power}\!\left({arguments}\right)"


class _ContinuousFunction(ModeFunction):
    @classmethod
    def eval(cls, t: Expr, trace: Expr, determinant: Expr) -> Expr | None:
        return Integer(cls.at_zero) if t.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            return cast(Expr, Function.fdiff(self, argindex))
        t, a, b = self.args
        f = CONTINUOUS.functions(t, a, b)
        derivative: dict[str, Expr] = {
            "relaxation": -b * f.impulse_response,
            "step_response": b * f.impulse_response,
            "impulse_response": f.velocity_response,
            "velocity_response": -b * f.impulse_response - a * f.velocity_response,
            "position_gramian": f.impulse_response**2,
            "velocity_gramian": f.velocity_response**2,
        }
        return derivative[self.kind]

    def _eval_expand_func(self, **hints: Any) -> Expr:
        """The textbook form, with a frequency that may be imaginary; 0/0 at critical damping."""
        t, a, b = self.args
        frequency = sqrt(b - a**2 / 4)
        decay = exp(-a * t / 2)
        s = decay * sin(frequency * t) / frequency
        c = decay * cos(frequency * t)
        q, velocity = c + a / 2 * s, c - a / 2 * s
        # Energy balance: d/dt (ṡ² + b s²) = −2a ṡ², and d/dt (s ṡ) = ṡ² − b s² − a s ṡ.
        velocity_gramian = (1 - velocity**2 - b * s**2) / (2 * a)
        forms: dict[str, Expr] = {
            "relaxation": q,
            "step_response": 1 - q,
            "impulse_response": s,
            "velocity_response": velocity,
            "position_gramian": (velocity_gramian - s * velocity - a / 2 * s**2) / b,
            "velocity_gramian": velocity_gramian,
        }
        return forms[self.kind]

    def _eval_evalf(self, prec: int) -> Expr | None:
        return _evaluate(self, prec, lambda generator, t: mpmath.expm(-generator * t))


def _power(generator: Any, k: Any) -> Any:
    return (mpmath.eye(generator.rows) - generator) ** int(k)


class _DiscreteFunction(ModeFunction):
    @classmethod
    def eval(cls, k: Expr, trace: Expr, determinant: Expr) -> Expr | None:
        if k.is_integer is False or k.is_negative:
            raise ValueError(f"k = {k}: a number of updates is whole and ≥ 0.")
        if k.is_zero:
            return Integer(cls.at_zero)
        if not isinstance(k, Integer):
            return None
        if trace.is_Rational and determinant.is_Rational and k <= _LONGEST_FRACTION:
            return _after(cls.kind, int(k), trace, determinant)
        if k <= _LONGEST_POLYNOMIAL:
            return cast(Expr, _polynomial(cls.kind, int(k))(trace, determinant))
        return None

    def _eval_evalf(self, prec: int) -> Expr | None:
        return _evaluate(self, prec, _power)


@cache
def _polynomial(kind: str, k: int) -> Any:
    """The function after k updates, as a polynomial in the trace and the determinant."""
    a, b = coordinates(2)
    return Lambda((a, b), expand(_after(kind, k, a, b)))


def _after(kind: str, k: int, a: Expr, b: Expr) -> Expr:
    """The function after k updates, by iterating the law of the module's docstring."""
    position, velocity = Integer(0), Integer(1)
    relaxation, relaxation_velocity = Integer(1), Integer(0)
    position_gramian = velocity_gramian = Integer(0)
    once = twice = thrice = squared = Integer(0)
    for _ in range(k):
        squared += once**2
        once, twice, thrice = once + position, twice + once, thrice + twice
        position_gramian += position**2
        velocity_gramian += velocity**2
        position, velocity = (
            expand(position + velocity),
            expand(-b * position + (1 - a) * velocity),
        )
        relaxation, relaxation_velocity = (
            expand(relaxation + relaxation_velocity),
            expand(-b * relaxation + (1 - a) * relaxation_velocity),
        )
    values: dict[str, Expr] = {
        "relaxation": relaxation,
        "step_response": 1 - relaxation,
        "impulse_response": position,
        "velocity_response": velocity,
        "position_gramian": position_gramian,
        "velocity_gramian": velocity_gramian,
        "response_sum": once,
        "second_response_sum": twice,
        "third_response_sum": thrice,
        "response_sum_gramian": squared,
    }
    return values[kind]


def _evaluate(function: ModeFunction, prec: int, propagate: Any) -> Expr | None:
    """High-precision value: propagate the unit impulse and its second moments by matrix power."""
    if not all(argument.is_number for argument in function.args):
        return None
    with mpmath.workprec(4 * prec + 64):
        t, a, b = (argument._to_mpmath(mpmath.mp.prec) for argument in function.args)
        if function.kind in ("position_gramian", "velocity_gramian"):
            value = _gramian(function, t, a, b, propagate)
        elif function.kind in SUMS:
            value = _repeated_sum(function, t, a, b, propagate)
        else:
            companion = mpmath.matrix([[0, -1], [b, a]])
            full = mpmath.zeros(5)
            full[:2, :2] = companion
            flow = propagate(full, t)
            elements = {
                "relaxation": flow[0, 0],
                "step_response": 1 - flow[0, 0],
                "impulse_response": flow[0, 1],
                "velocity_response": flow[1, 1],
            }
            value = elements[function.kind]
        return Float(value, prec_to_dps(prec))


def _gramian(function: ModeFunction, t: Any, a: Any, b: Any, propagate: Any) -> Any:
    """∫ or Σ of s² and ṡ², carried along as two further coordinates of the second moments."""
    discrete = isinstance(function, _DiscreteFunction)
    # y = (s², s ṡ, ṡ²): the rates of a product; in discrete time the product of the rates as well.
    extra = 1 if discrete else 0
    rates = mpmath.matrix(
        [
            [0, -2, -extra, 0, 0],
            [b, a + extra * b, -1 + extra * a, 0, 0],
            [-extra * b * b, 2 * b - 2 * extra * a * b, 2 * a - extra * a * a, 0, 0],
            [-1, 0, 0, 0, 0],
            [0, 0, -1, 0, 0],
        ]
    )
    row = 3 if function.kind == "position_gramian" else 4
    return propagate(rates, t)[row, 2]


def _repeated_sum(function: ModeFunction, k: Any, a: Any, b: Any, propagate: Any) -> Any:
    """Sums of the impulse response, each carried along as a coordinate that adds up the last."""
    update = mpmath.eye(5)
    update[0, 1], update[1, 0], update[1, 1] = 1, -b, 1 - a
    update[2, 0] = update[3, 2] = update[4, 3] = 1
    if function.kind != "response_sum_gramian":
        return propagate(mpmath.eye(5) - update, k)[2 + SUMS.index(function.kind), 1]
    # Second moments of the offset, its increment and the first sum, and a sum of the last of these.
    pairs = mpmath.eye(10)
    for row, column in product(range(9), repeat=2):
        pairs[row, column] = update[row // 3, column // 3] * update[row % 3, column % 3]
    pairs[9, 8] = 1
    return propagate(mpmath.eye(10) - pairs, k)[9, 4]


_HEADS = {
    "relaxation": "q",
    "step_response": "p",
    "impulse_response": "s",
    "velocity_response": r"\dot{s}",
    "position_gramian": r"\mathcal{S}",
    "velocity_gramian": r"\dot{\mathcal{S}}",
    "response_sum": r"s^{\Sigma}",
    "second_response_sum": r"s^{\Sigma\Sigma}",
    "third_response_sum": r"s^{\Sigma\Sigma\Sigma}",
    "response_sum_gramian": r"\mathcal{S}^{\Sigma}",
}
_AT_ZERO = {"relaxation": 1, "velocity_response": 1}


@dataclass(frozen=True)
class ModeFunctions:
    """The six functions of one clock at one point (t, trace, determinant)."""

    relaxation: Expr
    step_response: Expr
    impulse_response: Expr
    velocity_response: Expr
    position_gramian: Expr
    velocity_gramian: Expr


@dataclass(frozen=True)
class ResponseSums:
    """The repeated sums of the impulse response at one point (k, trace, determinant)."""

    once: Expr
    twice: Expr
    thrice: Expr
    gramian: Expr


@dataclass(frozen=True)
class Clock:
    """Continuous time or update counts: how a generator becomes a propagator.

    Args:
        name: "continuous" or "discrete"; the first half of its functions' names.
        second_order: the coefficient of G B Gᵀ in the stationary balance
            G B + B Gᵀ − (second_order) G B Gᵀ = N; an update of finite size has 1, time has 0.
        classes: the six functions, in the order of ``KINDS``.
        sum_classes: the repeated sums, in the order of ``SUMS``; in discrete time only.
    """

    name: str
    second_order: int
    classes: tuple[type[ModeFunction], ...]
    sum_classes: tuple[type[ModeFunction], ...] = ()

    def functions(self, t: Expr, trace: Expr, determinant: Expr) -> ModeFunctions:
        """The six functions at one point."""
        return ModeFunctions(*(function(t, trace, determinant) for function in self.classes))

    def sums(self, k: Expr, trace: Expr, determinant: Expr) -> ResponseSums:
        """The repeated sums at one point."""
        return ResponseSums(*(function(k, trace, determinant) for function in self.sum_classes))


def _classes(name: str, base: type[ModeFunction], kinds: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(
        type(
            f"{name}_{kind}",
            (base,),
            {
                "__module__": __name__,
                "kind": kind,
                "at_zero": _AT_ZERO.get(kind, 0),
                "head": _HEADS[kind],
            },
        )
        for kind in kinds
    )


CONTINUOUS = Clock("continuous", 0, _classes("continuous", _ContinuousFunction, KINDS))
DISCRETE = Clock(
    "discrete",
    1,
    _classes("discrete", _DiscreteFunction, KINDS),
    _classes("discrete", _DiscreteFunction, SUMS),
)

# Expressions pickle by the name of their functions, so each must be found in this module.
globals().update(
    {
        cls.__name__: cls
        for clock in (CONTINUOUS, DISCRETE)
        for cls in (*clock.classes, *clock.sum_classes)
    }
)
