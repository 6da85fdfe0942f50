r"""The letters of the theory, with their assumptions: the only place that makes a Symbol.

Two SymPy symbols of one name but different assumptions are different symbols, so every chapter
takes its letters from here. A curvature is real, not positive: a saddle has directions that curve
downwards, and with a positive symbol SymPy would decide half of a stability condition beforehand.
"""

from __future__ import annotations

from typing import ClassVar as _ClassVar

from sympy import Function, MatrixSymbol, Symbol, latex

__all__ = [
    "D",
    "L",
    "M",
    "N",
    "S",
    "Sigma",
    "Sigma_ij",
    "amplitude",
    "average",
    "beta",
    "component",
    "coordinates",
    "delta",
    "density",
    "dimension",
    "edge",
    "epsilon",
    "eta",
    "friction",
    "g",
    "gradient",
    "h",
    "h_i",
    "h_j",
    "identifier",
    "inverse_temperature",
    "k",
    "lamda",
    "mass",
    "matrix",
    "modified_loss",
    "n",
    "noise_intensity",
    "noise_variance",
    "nu",
    "phase",
    "phase_space",
    "prediction_error",
    "primed",
    "rho",
    "shift",
    "sigma2",
    "spread",
    "t",
    "tail",
    "tau",
    "term",
    "theta",
    "theta_0",
    "theta_next",
    "trajectory",
    "v",
    "v_0",
    "v_next",
    "xi",
    "y",
]


class _Letter(Symbol):
    """A symbol whose mathematics prints otherwise than its name says."""

    __slots__ = ()
    _printed: _ClassVar = {
        "sigma2": (r"\sigma^{2}", "σ²"),
        "v_next": (r"v_{k+1}", "v_{k+1}"),
        "theta_next": (r"\theta_{k+1}", "θ_{k+1}"),
    }

    def _latex(self, printer: object) -> str:
        greek = "\\" + self.name if self.name.startswith("theta_") else self.name
        return self._printed[self.name][0] if self.name in self._printed else greek

    def _pretty(self, printer: object) -> object:
        from sympy.printing.pretty.stringpict import prettyForm

        return prettyForm(self._printed.get(self.name, ("", self.name))[1])


class _Average(Symbol):
    """An average ⟨a·b⟩, named after what is averaged."""

    __slots__ = ()

    def _factors(self) -> list[Symbol]:
        return [Symbol(name) for name in self.name.strip("<>").split("·")]

    def _latex(self, printer: object) -> str:
        factors = self._factors()
        dot = r" \, " if "_" in self.name else r" \cdot "
        return rf"\langle {dot.join(map(latex, factors))} \rangle"

    def _pretty(self, printer: object) -> object:
        from sympy.printing.pretty import pretty
        from sympy.printing.pretty.stringpict import prettyForm

        return prettyForm("⟨" + "·".join(map(pretty, self._factors())) + "⟩")


theta = Symbol("theta", real=True)
"""Position; in a linear process the offset θ − μ from the minimum. Unit: θ."""
v = Symbol("v", real=True)
"""Velocity: the mean velocity of the last step. Unit: θ per unit time."""
v_next = _Letter("v_next", real=True)
"""The velocity after the update, v_{k+1}, as the position's expression may use it."""
g = Symbol("g", real=True)
"""The gradient that the optimiser sees: of the loss, the weight decay and the batch's error."""
theta_next = _Letter("theta_next", real=True)
"""The position after the update, θ_{k+1}."""
delta = Symbol("delta", real=True)
"""Change of the position in one update, θ_{k+1} − θ_k."""
theta_0 = Symbol("theta_0", real=True)
"""Start position, as an offset from the minimum."""
v_0 = Symbol("v_0", real=True)
"""Start velocity; 0 for a fresh optimiser."""

t = Symbol("t", nonnegative=True)
"""Time: one update lasts η, so t = ηk."""
k = Symbol("k", integer=True, nonnegative=True)
"""Number of updates."""

eta = Symbol("eta", positive=True)
"""Learning rate."""
beta = Symbol("beta", nonnegative=True)
"""Momentum, 0 ≤ β < 1."""
S = Symbol("S", positive=True)
"""Batch size."""
lamda = Symbol("lamda", nonnegative=True)
"""L2 weight decay λ. Unit: loss/θ²."""
N = Symbol("N", positive=True)
"""Number of examples in the data set."""
M = Symbol("M", integer=True, positive=True)
"""Updates per epoch: full batches in the data set."""
n = Symbol("n", integer=True, nonnegative=True)
"""Number of an epoch's batches."""
phase = Symbol("phi", integer=True, nonnegative=True)
"""Batches of its epoch that are over at an update."""
tau = Symbol("tau", nonnegative=True)
"""Dampening, as torch.optim.SGD has it."""
nu = Symbol("nu", nonnegative=True)
"""Mixing parameter of quasi-hyperbolic momentum."""

rho = Symbol("rho", real=True)
"""An eigenvalue of the loss's Hessian. Unit: loss/θ²."""
h = Symbol("h", real=True)
"""Curvature that one eigen-direction feels, ρ + λ. Unit: loss/θ²."""
y = Symbol("y", real=True)
"""ηh, the number on which stability depends."""
sigma2 = _Letter("sigma2", nonnegative=True)
"""Noise scale σ² when the noise covariance is proportional to the Hessian. Unit: loss."""
Sigma = Symbol("Sigma", nonnegative=True)
"""Variance of one example's gradient along a direction. Unit: (loss/θ)²."""
dimension = Symbol("d", integer=True, positive=True)
"""Number of parameters."""
spread = Symbol("P", nonnegative=True)
"""Mean square distance from the true weights along a direction. Unit: θ²."""
amplitude = Symbol("A", positive=True)
"""Amplitude of a density of eigenvalues. Unit: directions times the power of ρ that makes it."""
tail = Symbol("a", positive=True)
"""Exponent of a heavy density of flat directions, A ρ^(−1−a)."""
edge = Symbol("b", positive=True)
"""Exponent of a density that vanishes in number towards flat directions, A ρ^(b−1)."""
prediction_error = Symbol("T", nonnegative=True)
"""tr(HP), the mean square error of a regression's prediction beside the labels' own noise."""
mass = Symbol("m", nonnegative=True)
"""Mass of the particle of unit force. Unit: time²."""
friction = Symbol("Gamma", real=True)
"""Friction of the particle of unit force. Unit: time."""
noise_intensity = Symbol("I", nonnegative=True)
"""Covariance of a random force per unit of time."""
noise_variance = Symbol("V", nonnegative=True)
"""Variance of a batch gradient's error. Unit: (loss/θ)²."""
inverse_temperature = Symbol("kappa", positive=True)
"""κ, which makes κΦ the exponent of a stationary density."""
modified_loss = Symbol("Phi", real=True)
"""Φ, what the process descends."""
h_i = Symbol("h_i", real=True)
"""Curvature of the first of two eigen-directions."""
h_j = Symbol("h_j", real=True)
"""Curvature of the second of two eigen-directions."""
Sigma_ij = Symbol("Sigma_ij", real=True)
"""Covariance of one example's gradient between two eigen-directions. Unit: (loss/θ)²."""
density = Symbol("p", nonnegative=True)
"""Probability density of the state."""
xi = Symbol("xi", real=True)
"""One example's gradient error: mean 0, covariance Σ."""
epsilon = Symbol("epsilon", real=True)
"""The error of a batch's gradient."""

shift = Symbol("z")
"""The shift by one update, z f_k = f_{k+1}; also the variable of a characteristic polynomial."""
D = Symbol("D")
"""The derivative d/dt as an operator, where the shift is e^{ηD}."""

trajectory = Function("theta", real=True)
"""The position as a function of time."""
gradient = Function("g", real=True)
"""The gradient that the optimiser sees, as a function of position."""
L = Function("L", real=True)
"""The loss as a function of position, weight decay included."""
for _function in (trajectory, gradient, L):
    # pydoc, and with it help(), asks every class for the module that it comes from.
    _function.__module__ = __name__


def coordinates(dimension: int, *, start: bool = False) -> tuple[Symbol, ...]:
    """Names for the coordinates of a process that is not a phase space: x_1, x_2, … .

    Args:
        dimension: how many.
        start: whether they name the start, x_{1,0}, instead of the present.

    >>> coordinates(2)
    (x_1, x_2)
    """
    suffix = "_0" if start else ""
    return tuple(Symbol(f"x_{i}{suffix}", real=True) for i in range(1, dimension + 1))


def phase_space(directions: int, *, start: bool = False) -> tuple[Symbol, ...]:
    """Positions, then velocities, of several directions: θ_1, θ_2, …, v_1, v_2, … .

    Args:
        directions: how many.
        start: whether they name the start, θ_{1,0}, instead of the present.

    >>> phase_space(2)
    (theta_1, theta_2, v_1, v_2)
    """
    suffix = "_0" if start else ""
    numbers = range(1, directions + 1)
    return tuple(Symbol(f"{x}_{i}{suffix}", real=True) for x in ("theta", "v") for i in numbers)


def matrix(name: str, rows: int, columns: int | None = None) -> MatrixSymbol:
    """A matrix that an equation names as a whole.

    >>> matrix("B", 2).shape
    (2, 2)
    """
    if not isinstance(name, str):
        raise TypeError(f"name = {name!r}: give the name of a matrix.")
    return MatrixSymbol(name, rows, rows if columns is None else columns)


def identifier(name: str) -> Symbol:
    """A name in a generated source, without assumptions.

    >>> identifier("x0")
    x0
    """
    return Symbol(name)


def term(sequence: str, lag: int) -> Symbol:
    """The term of a sequence `lag` updates from the present one.

    >>> term("theta", 1), term("g", 0)
    (theta_{k+1}, g_k)
    """
    subscript = f"{{k{lag:+d}}}" if lag else "k"
    return _Letter(f"{sequence}_{subscript}", real=True)


def component(letter: Symbol, index: str) -> Symbol:
    """One coordinate of a vector that a letter stands for.

    >>> component(theta, "i")
    theta_i
    """
    return _Letter(f"{letter}_{index}", real=True)


def primed(letter: Symbol) -> Symbol:
    """The new value of a setting that changes, with the same assumptions.

    >>> primed(S), primed(beta).is_nonnegative
    (S', True)
    """
    return _Letter(f"{letter}'", **letter.assumptions0)


def average(*factors: Symbol) -> Symbol:
    """The average of a quantity, or of a scalar product, over a stationary run.

    >>> average(theta, g)
    <theta·g>
    """
    return _Average("<" + "·".join(map(str, factors)) + ">", real=True)
