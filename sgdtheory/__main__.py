"""Command line: `sgdtheory advise` and `explore`, also as `python -m sgdtheory …`."""

from __future__ import annotations

import io
import os
import sys
from json import dumps
from pathlib import Path
from typing import Any, Literal

from sympy import Symbol

from sgdtheory import symbols as s
from sgdtheory.advice import Advice
from sgdtheory.advice import advise as advice_on
from sgdtheory.explorer import write_explorer
from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum_files import read_spectrum
from sgdtheory.update_rule import (
    UpdateRule,
    dampened,
    heavy_ball,
    nesterov,
    plain_sgd,
    quasi_hyperbolic,
)

__all__ = ["main"]

_WRONG_INPUT = 2
_RULES = {
    make.__name__: make for make in (heavy_ball, nesterov, plain_sgd, dampened, quasi_hyperbolic)
}


def advise(
    learning_rate: float,
    batch_size: float,
    spectrum: Path,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    dataset_size: int | None = None,
    sampling: Literal["with_replacement", "epochs", "fixed_order"] = "with_replacement",
    rule: Literal[
        "heavy_ball", "nesterov", "plain_sgd", "dampened", "quasi_hyperbolic"
    ] = "heavy_ball",
    dampening: float | None = None,
    mixing: float | None = None,
    theory: Literal["discrete", "continuous"] = "discrete",
    steps: int | None = None,
    start: Literal["stationary", "minimum"] | float = "stationary",
    noise_scale: float | None = None,
    negative: Literal["refuse", "drop", "clamp", "drift"] = "refuse",
    drift_noise_scale: float = 0.0,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Say what a run's settings and spectrum make of it, and which assumption is weakest.

    Example: sgdtheory advise --learning-rate 0.1 --momentum 0.9 --batch-size 128 --dataset-size
    50000 --steps 10000 --spectrum spectrum.npz --plot advice.png

    Args:
        learning_rate: η > 0.
        batch_size: S, examples.
        spectrum: file of eigenvalues, .npz, .npy, .csv, .json or .safetensors; with them there may
            be counts, noise_variances and noise_scale.
        momentum: 0 ≤ β < 1.
        weight_decay: λ ≥ 0, L2.
        dataset_size: N, examples; needed to know of epochs.
        sampling: how batches are drawn. A shuffling data loader draws epochs.
        rule: the optimiser.
        dampening: τ of the dampened rule.
        mixing: ν of the quasi-hyperbolic rule.
        theory: exact updates, or the Langevin equation.
        steps: the run's length in updates; by default until it has saturated.
        start: the stationary state, rest at the minimum, or an offset along every eigenvector.
        noise_scale: σ² where the file says nothing of the noise, which is σ² times the Hessian.
        negative: what becomes of negative eigenvalues.
        drift_noise_scale: noise of drifting directions over the size of their eigenvalues.
        plot: picture to write, as advice.png.
        json: print numbers as JSON; null is what does not exist or is infinite.
    """
    optimiser = _RULES[rule]()
    advice = advice_on(
        Hyperparameters(learning_rate, momentum, batch_size, weight_decay, dataset_size),
        read_spectrum(
            spectrum, noise_scale, negative=negative, drift_noise_scale=drift_noise_scale
        ),
        theory=theory,
        rule=optimiser,
        sampling=sampling,
        parameters=_parameters(optimiser, dampening, mixing),
        steps=steps,
        start=start,
    )
    if plot is not None:
        _draw(advice, plot)
    print(dumps(advice.as_dict(), indent=2, allow_nan=False) if json else advice)


def _parameters(
    rule: UpdateRule, dampening: float | None, mixing: float | None
) -> dict[Symbol, float]:
    """Values of the rule's further symbols; none too many, none too few."""
    given = {s.tau: ("dampening", dampening), s.nu: ("mixing", mixing)}
    for symbol, (name, value) in given.items():
        if (symbol in rule.parameters) != (value is not None):
            verb = "needs" if value is None else "has no"
            raise ValueError(
                f"--{name}: the {rule.name} rule {verb} it. "
                f"{'Give' if value is None else 'Leave out'} --{name}."
            )
    return {symbol: value for symbol, (_, value) in given.items() if value is not None}


def _draw(advice: Advice, path: Path) -> None:
    # A picture in a file needs no display.
    os.environ.setdefault("MPLBACKEND", "Agg")
    from sgdtheory.plotting import plot_advice

    plot_advice(advice)[0].figure.savefig(path, dpi=150)


def explore(output: Path = Path("explorer.html")) -> None:
    """Write a page on which to play with the theory: one file, for any browser, without network.

    Example: sgdtheory explore --output explorer.html

    Args:
        output: file to write.
    """
    print(write_explorer(output))


_COMMANDS = {"advise": advise, "explore": explore}


def _tyro() -> Any:
    try:
        import tyro
    except ImportError:
        raise ImportError(
            "the command line is read by tyro, which is not installed. Run pip install "
            "'sgdtheory[cli]'."
        ) from None
    return tyro


def main() -> None:
    """Run the command that the arguments ask for; wrong input ends with status 2."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no Greek shows question marks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        tyro = _tyro()
        tyro.extras.subcommand_cli_from_dict(
            _COMMANDS,
            prog="sgdtheory",
            description="The statistical physics of stochastic gradient descent.",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except (ValueError, ImportError, OSError) as error:
        print(f"sgdtheory: {error}", file=sys.stderr)
        sys.exit(_WRONG_INPUT)


if __name__ == "__main__":
    main()
