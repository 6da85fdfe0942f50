"""Malformed input for every public entry point: only documented errors, and no number that is none.

    python -m validation.fuzzing --examples 100000

Right arguments of a call are replaced, one or two at a time, by things that people and programs
give by mistake. A call may then work, with numbers of the stated shape, or raise ValueError
or TypeError with a message. Anything else is a finding: another error, a NaN, another shape, a
warning of NumPy's, or ten seconds without an answer.
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import sympy
from tqdm import tqdm

import sgdtheory as sgd

__all__ = ["Entry", "Finding", "entries", "fuzz", "malformed"]

_SECONDS = 10
_SPECTRUM = Path(__file__).with_name("fuzzing_spectrum.csv")
_DOCUMENTED = (ValueError, TypeError)


@dataclass(frozen=True)
class Entry:
    """One call that works.

    Args:
        name: for people.
        call: what is called.
        right: its arguments.
        shape: of its result, of the arguments; none where it is no array.
        errors: what it may raise besides ValueError and TypeError.
        numbers: whether what it returns must be numbers; a lowered function has 0/0 as NaN.
    """

    name: str
    call: Callable[..., Any]
    right: Mapping[str, Any]
    shape: Callable[[Mapping[str, Any]], tuple[int, ...]] | None = None
    errors: tuple[type[Exception], ...] = ()
    numbers: bool = True


@dataclass(frozen=True)
class Finding:
    """What should not have happened.

    Args:
        entry: where.
        given: the malformed arguments.
        found: what happened.
    """

    entry: str
    given: str
    found: str

    def __str__(self) -> str:
        return f"{self.entry}({self.given}): {self.found}"


class _TooLongError(Exception):
    """Ten seconds are over."""


def malformed() -> list[Any]:
    """What people and programs give by mistake."""
    x = sympy.Symbol("x")
    numbers = [None, True, 0, -1, 1.5, 2**70, -0.5, 1e308, 1e-320, float("nan"), float("inf")]
    others = [1 + 1j, Decimal(1), Fraction(1, 3), "text", "", b"1", object(), {}, {"a": 1}, set()]
    lists = [[], [[]], [[1], [1, 2]], [1.0, float("nan")], [-1.0, 2.0], ["a"], (1, 2, 3), range(3)]
    arrays = [
        np.array([]),
        np.zeros((2, 3)),
        np.zeros((0, 0)),
        np.array([1 + 1j, 2]),
        np.array([True, False]),
        np.array(["a", "b"]),
        np.array([None, 1.0]),
        np.array([1e308, 1e308]),
        np.array(1.0),
        np.ones(3, dtype=np.float16),
        np.eye(2),
        np.full((2, 2), np.nan),
    ]
    symbolic = [x, sympy.nan, sympy.oo, sympy.I, sympy.Matrix([[x, 1], [0, -1]]), sympy.Matrix()]
    callables = [len, Exception, lambda *_: float("nan"), Path("nowhere.npy")]
    return [*numbers, *others, *lists, *arrays, *symbolic, *callables]


def _of_predictor(verb: str) -> Callable[..., Any]:
    def call(*, given: Any, **arguments: Any) -> Any:
        return getattr(given, verb)(**arguments)

    return call


def _drawn(plot: Callable[..., Any]) -> Callable[..., None]:
    """Drawn on axes that nobody keeps."""

    def call(**arguments: Any) -> None:
        from matplotlib.figure import Figure

        count = {sgd.plot_advice: 3, sgd.plot_hyperparameter_panels: 2}.get(plot, 1)
        axes = Figure().subplots(count)
        plot(**arguments, **{"axes" if count > 1 else "ax": axes})

    return call


def _verbs(
    model: Any, directions: int, state: tuple[int, ...], square: tuple[int, ...]
) -> Iterator[Entry]:
    """The methods of a predictor that take times."""

    def after(tail: tuple[int, ...]) -> Callable[[Mapping[str, Any]], tuple[int, ...]]:
        return lambda arguments: (*np.shape(arguments["steps"]), *tail)

    at = {"given": model, "steps": np.array([1, 10, 100])}
    start = {"position": np.ones(directions), "velocity": np.zeros(directions)}
    for verb, arguments, tail in (
        ("mean", {**at, **start}, state),
        ("covariance", at, square),
        ("autocovariance", at, square),
        ("displacement", {**at, **start}, ()),
        ("exponent", at, ()),
    ):
        yield Entry(f"{type(model).__name__}.{verb}", _of_predictor(verb), arguments, after(tail))


def _hyper() -> Any:
    return sgd.Hyperparameters(0.1, 0.9, 10, 1e-3)


def _spectrum() -> Any:
    return sgd.Spectrum([1.0, 0.1, 0.02])


def _of_predictors() -> Iterator[Entry]:
    hyper, spectrum, rule = _hyper(), _spectrum(), sgd.heavy_ball()
    model = sgd.Predictor(hyper, spectrum)
    dense: Any = sgd.Landscape(
        np.array([[1.0, 0.1], [0.1, 0.3]]), np.array([[1.0, -0.2], [-0.2, 0.5]])
    )
    yield Entry(
        "Hyperparameters",
        sgd.Hyperparameters,
        {
            "learning_rate": 0.1,
            "momentum": 0.9,
            "batch_size": 10,
            "weight_decay": 0.0,
            "dataset_size": 100,
        },
    )
    yield Entry("Spectrum", sgd.Spectrum, {"eigenvalues": [1.0, 0.1], "noise_scale": 1.0})
    yield Entry(
        "Spectrum of variances",
        sgd.Spectrum,
        {"eigenvalues": [1.0, 0.1], "noise_variances": [1.0, 1.0], "counts": [1.0, 3.0]},
    )
    yield Entry("Landscape", sgd.Landscape, {"hessian": np.eye(2), "noise_covariance": np.eye(2)})
    yield Entry(
        "Predictor",
        sgd.Predictor,
        {
            "hyperparameters": hyper,
            "spectrum": spectrum,
            "theory": "discrete",
            "rule": rule,
            "sampling": "with_replacement",
        },
    )
    yield from _verbs(model, 3, (3, 2), (3, 2, 2))
    yield from _verbs(sgd.Predictor(hyper, dense), 2, (4,), (4, 4))


def _of_derivations() -> Iterator[Entry]:
    s, rule = sgd.symbols, sgd.heavy_ball()
    matrices = sympy.Matrix([[2, 1], [0, 1]]), sympy.eye(2)
    process = sgd.OrnsteinUhlenbeck(*matrices)
    yield Entry(
        "UpdateRule",
        sgd.UpdateRule,
        {
            "velocity": s.beta * s.v - s.g,
            "position": s.theta + s.eta * s.v_next,
            "gradient_at": s.theta,
            "name": "own",
        },
    )
    for name in (
        "modified_equation",
        "recursion",
        "implicit_regularization",
        "fluctuation_dissipation_relations",
        "diffusion_rate",
        "flat_displacement",
        "heavy_tail",
        "saturation",
        "scaling_laws",
        "slow_direction",
        "slow_manifold",
        "velocity_memory",
        "white",
        "observables",
        "discrete_over_continuous",
    ):
        yield Entry(name, getattr(sgd, name), {"rule": rule})
    yield Entry("modified_equation of order", sgd.modified_equation, {"rule": rule, "order": 1})
    yield Entry(
        "recursion of noise",
        sgd.recursion,
        {"rule": rule, "noise": s.Sigma, "curvature": s.h, "sampling": "with_replacement"},
    )
    yield Entry(
        "ornstein_uhlenbeck",
        sgd.ornstein_uhlenbeck,
        {"langevin": sgd.modified_equation(rule), "noise": s.Sigma, "curvature": s.h},
    )
    yield Entry(
        "OrnsteinUhlenbeck",
        sgd.OrnsteinUhlenbeck,
        {"drift": matrices[0], "diffusion": matrices[1], "inverse_temperature": sympy.Integer(1)},
    )
    yield Entry(
        "LinearRecursion",
        sgd.LinearRecursion,
        {
            "map": sympy.eye(1) / 2,
            "kick": sympy.Matrix([1]),
            "noise_variance": sympy.Integer(1),
        },
    )
    for verb in ("mean", "covariance", "autocovariance", "displacement"):
        yield Entry(
            f"OrnsteinUhlenbeck.{verb}",
            lambda time, verb=verb: getattr(process, verb)(time),
            {"time": 1.0},
        )
    yield Entry("fokker_planck", sgd.fokker_planck, {"process": process})
    yield Entry(
        "lower",
        sgd.lower,
        {
            "expression": s.eta * s.h / (1 - s.beta),
            "arguments": (s.eta, s.h, s.beta),
            "backend": "c",
            "name": "rate",
        },
    )
    lowered = sgd.lower(s.eta * s.h / (1 - s.beta), (s.eta, s.h, s.beta))
    yield Entry(
        "LoweredFunction",
        lambda eta, h, beta: lowered(eta, h, beta),
        {"eta": 0.1, "h": np.ones(2), "beta": 0.9},
        numbers=False,
    )


def _of_runs() -> Iterator[Entry]:
    hyper, spectrum, rule = _hyper(), _spectrum(), sgd.heavy_ball()
    model, steps = sgd.Predictor(hyper, spectrum), np.array([1, 10, 100])
    path = np.random.default_rng(0).standard_normal((400, 2)).cumsum(axis=0)
    yield Entry(
        "advise",
        sgd.advise,
        {"hyperparameters": hyper, "spectrum": spectrum, "steps": 100, "theory": "discrete"},
    )
    yield Entry(
        "equivalent",
        sgd.equivalent,
        {
            "hyperparameters": hyper,
            "keep": ("stationary_variance", "velocity_memory"),
            "batch_size": 20,
        },
    )
    yield Entry("exchange", sgd.exchange, {"keep": ("stationary_variance",), "rule": rule})
    yield Entry("exponent_bound", sgd.exponent_bound, {"steps": steps, "momentum": 0.9})
    yield Entry("calibrate", sgd.calibrate, {"positions": path, "hyperparameters": hyper})
    yield Entry(
        "fit_exponent",
        sgd.fit_exponent,
        {"steps": np.arange(1, 50), "displacement": np.arange(1, 50) ** 0.8, "model": model},
    )
    yield Entry(
        "fit_spectrum_tail",
        sgd.fit_spectrum_tail,
        {
            "steps": np.arange(1, 50),
            "displacement": np.arange(1, 50) ** 0.8,
            "hyperparameters": hyper,
            "level": 0.95,
        },
    )
    yield Entry(
        "scan_windows",
        sgd.scan_windows,
        {
            "steps": np.arange(1, 50),
            "displacement": np.arange(1, 50) ** 0.8,
            "windows": [(1, 20)],
            "model": model,
        },
    )
    yield Entry(
        "fit_exponent_of_positions",
        sgd.fit_exponent_of_positions,
        {"positions": path, "steps": np.array([1, 2, 4, 8]), "resamples": 200},
    )


def _of_data() -> Iterator[Entry]:
    s, hyper, spectrum = sgd.symbols, _hyper(), _spectrum()
    model = sgd.Predictor(hyper, spectrum)
    yield Entry(
        "power_law", sgd.power_law, {"tail_exponent": 1.5, "smallest": 1e-3, "largest": 1.0}
    )
    yield Entry("log_normal", sgd.log_normal, {"median": 0.1, "log_deviation": 1.0})
    yield Entry("marchenko_pastur", sgd.marchenko_pastur, {"aspect_ratio": 0.5, "scale": 1.0})
    yield Entry(
        "SpectralDensity", sgd.SpectralDensity, {"density": 2 * s.rho, "lower": 0.0, "upper": 1.0}
    )
    yield Entry(
        "LanczosQuadrature",
        sgd.LanczosQuadrature,
        {"ritz_values": [[1.0, 2.0]], "weights": [[0.5, 0.5]], "dimension": 10},
    )
    yield Entry(
        "FiniteDataset", sgd.FiniteDataset, {"inputs": np.eye(3), "targets": np.arange(3.0)}
    )
    yield Entry(
        "GaussianInputs", sgd.GaussianInputs, {"eigenvalues": [1.0, 0.1], "noise_scale": 1.0}
    )
    yield Entry(
        "LinearRegressionEnsemble",
        sgd.LinearRegressionEnsemble,
        {"inputs": np.eye(3), "targets": np.arange(3.0), "replicas": 2, "seed": 1},
    )
    yield Entry(
        "QuadraticEnsemble",
        sgd.QuadraticEnsemble,
        {"curvatures": np.ones(2), "forces": np.ones((3, 2)), "replicas": 2},
    )
    yield Entry("SettingsRange", sgd.SettingsRange, {"momentum": 0.9, "stability": 0.9})
    yield Entry(
        "read_spectrum",
        sgd.read_spectrum,
        {"path": _SPECTRUM, "noise_scale": 1.0},
        errors=(OSError,),
    )
    yield Entry("scaling_exponents", sgd.scaling_exponents, {"expression": s.eta / s.S})
    yield Entry(
        "sensitivities",
        sgd.sensitivities,
        {"model": model, "prediction": "local_displacement", "logarithmic": True},
    )
    yield Entry("plot_spectrum", _drawn(sgd.plot_spectrum), {"spectrum": spectrum, "label": "own"})
    yield Entry("plot_advice", _drawn(sgd.plot_advice), {"advice": sgd.advise(hyper, spectrum)})
    yield from _of_pictures(model)


def _of_pictures(model: Any) -> Iterator[Entry]:
    """With what was measured."""
    curve = {"model": model, "steps": [1, 10], "measured": [0.1, 0.2], "errors": [0.01, 0.01]}
    states = np.array([[0.1, 0.2], [0.2, 0.1]])
    for plot in (sgd.plot_displacement, sgd.plot_exponent):
        yield Entry(plot.__name__, _drawn(plot), {**curve, "position": 0.1})
    yield Entry(
        "plot_phase_portrait",
        _drawn(sgd.plot_phase_portrait),
        {
            "process": model,
            "direction": 0,
            "trajectory": states,
            "cloud": states,
            "start": [0.1, 0.0],
        },
    )
    yield Entry(
        "plot_modified_loss",
        _drawn(sgd.plot_modified_loss),
        {"model": model, "directions": (0, 1), "measured": states},
    )
    yield Entry(
        "plot_regimes",
        _drawn(sgd.plot_regimes),
        {
            "rule": sgd.heavy_ball(),
            "curvature": 2.0,
            "hyperparameters": model.hyperparameters,
            "spectrum": model.spectrum,
            "parameters": {},
        },
    )
    yield Entry(
        "plot_hyperparameter_panels",
        _drawn(sgd.plot_hyperparameter_panels),
        {
            "model": model,
            "vary": {"learning_rate": [0.01, 0.02], "momentum": [0.0, 0.5]},
            "quantity": "displacement",
            "steps": 10,
            "measured": {"momentum": [0.1, 0.2]},
            "errors": {"momentum": [0.01, 0.02]},
        },
    )


@cache
def entries() -> tuple[Entry, ...]:
    """All of them; made when asked, since some are themselves derived."""
    return (*_of_predictors(), *_of_derivations(), *_of_runs(), *_of_data())


def fuzz(examples: int, seed: int = 0, keep: int = 3) -> list[Finding]:
    """Try so many malformed calls. NaN among what is given may come back.

    Args:
        examples: how many.
        seed: of them; the same seed makes the same calls.
        keep: findings of one kind at one entry; more are counted, not kept.
    """
    source = np.random.default_rng(seed)
    calls, wrong = entries(), malformed()
    kinds: Counter[tuple[str, str]] = Counter()
    found = []
    for _ in tqdm(range(examples), unit="example", disable=None):
        entry = calls[source.integers(len(calls))]
        names = [name for name in entry.right if name != "given"]
        chosen = source.permutation(len(names))[: 1 + source.integers(2)]
        given = {names[place]: wrong[source.integers(len(wrong))] for place in chosen}
        told = _tried(entry, {**entry.right, **given})
        if not told or (told == "NaN" and _holds_nan(list(given.values()))):
            continue
        kind = entry.name, told.partition(":")[0]
        kinds[kind] += 1
        if kinds[kind] <= keep:
            shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
            found.append(Finding(entry.name, shown, told))
    return found


def _tried(entry: Entry, arguments: Mapping[str, Any]) -> str:
    """What is wrong with what a call does; nothing, mostly."""
    try:
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("error")
            result = entry.call(**arguments)
            holds_nan = _holds_nan(result)
    except _TooLongError:
        return f"no answer in {_SECONDS} seconds"
    except Exception as error:
        if not isinstance(error, _DOCUMENTED + entry.errors):
            return f"{type(error).__name__}: {error}"
        return "" if str(error) else f"{type(error).__name__} without a message"
    if entry.numbers and holds_nan:
        return "NaN"
    if entry.shape is not None and np.shape(result) != entry.shape(arguments):
        return f"shape {np.shape(result)}: expected {entry.shape(arguments)}"
    return ""


def _holds_nan(value: Any) -> bool:
    return any(np.isnan(each).any() for each in _numbers(value))


def _numbers(value: Any) -> Iterator[Any]:
    """All floating-point arrays of a result, those of its fields included."""
    if isinstance(value, float | complex | np.ndarray | np.generic):
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.inexact):
            yield array
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))


class _in_time:
    """Interrupt what takes too long."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise _TooLongError


def main(arguments: list[str] | None = None) -> int:
    """The command: findings, and how many examples ran clean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    found = fuzz(asked.examples, asked.seed)
    for each in found:
        print(each)
    calls = len(entries())
    print(f"{asked.examples} malformed calls of {calls} entry points: {len(found)} findings")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
