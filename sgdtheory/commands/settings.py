"""What a run sets, as options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sympy import Symbol

import sgdtheory as sgd
from sgdtheory import symbols as s

__all__ = ["RuleName", "SamplingName", "Settings", "TheoryName", "named_rule"]

RuleName = Literal["heavy_ball", "nesterov", "plain_sgd", "dampened", "quasi_hyperbolic"]
SamplingName = Literal["with_replacement", "epochs", "fixed_order"]
TheoryName = Literal["discrete", "continuous"]


def named_rule(name: RuleName) -> sgd.UpdateRule:
    """The rule of a name.

    >>> named_rule("nesterov").name
    'Nesterov'
    """
    rules = {
        "heavy_ball": sgd.heavy_ball,
        "nesterov": sgd.nesterov,
        "plain_sgd": sgd.plain_sgd,
        "dampened": sgd.dampened,
        "quasi_hyperbolic": sgd.quasi_hyperbolic,
    }
    return rules[name]()


@dataclass(frozen=True)
class Settings:
    """A run, and where its spectrum is.

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
        start: the stationary state, rest at the minimum, or an offset along every eigenvector.
        noise_scale: σ² where the file says nothing of the noise, which is σ² times the Hessian.
        negative: what becomes of negative eigenvalues.
        drift_noise_scale: noise of drifting directions over the size of their eigenvalues.
    """

    learning_rate: float
    batch_size: float
    spectrum: Path
    momentum: float = 0.0
    weight_decay: float = 0.0
    dataset_size: int | None = None
    sampling: SamplingName = "with_replacement"
    rule: RuleName = "heavy_ball"
    dampening: float | None = None
    mixing: float | None = None
    theory: TheoryName = "discrete"
    start: Literal["stationary", "minimum"] | float = "stationary"
    noise_scale: float | None = None
    negative: Literal["refuse", "drop", "clamp", "drift"] = "refuse"
    drift_noise_scale: float = 0.0

    @property
    def hyperparameters(self) -> sgd.Hyperparameters:
        """What the optimiser is told.

        Raises:
            ValueError: for a number out of its range.
        """
        return sgd.Hyperparameters(
            self.learning_rate,
            self.momentum,
            self.batch_size,
            self.weight_decay,
            self.dataset_size,
        )

    def read_spectrum(self) -> sgd.Spectrum:
        """The spectrum in the file.

        Raises:
            ValueError: for a file that cannot be opened, or holds no spectrum.
        """
        try:
            return sgd.read_spectrum(
                self.spectrum,
                self.noise_scale,
                negative=self.negative,
                drift_noise_scale=self.drift_noise_scale,
            )
        except OSError as error:
            raise ValueError(
                f"--spectrum {self.spectrum}: {error.strerror or error}. Give a file of "
                "eigenvalues: .npz, .npy, .csv, .json or .safetensors."
            ) from error
        except ValueError as error:
            if "negative='" not in str(error):
                raise
            raise ValueError(
                f"{error} Here these are --negative drop, --negative clamp and --negative drift."
            ) from error

    def optimiser(self) -> dict[str, Any]:
        """Rule, theory, sampling and the rule's parameters, as predictions and advice take them.

        Raises:
            ValueError: when a rule is given a parameter too many or too few, or epochs no length.
        """
        if self.sampling != "with_replacement" and self.dataset_size is None:
            raise ValueError(
                f"--sampling {self.sampling}: an epoch has as many examples as the data set. Give "
                "--dataset-size."
            )
        rule = named_rule(self.rule)
        return {
            "theory": self.theory,
            "rule": rule,
            "sampling": self.sampling,
            "parameters": self._parameters(rule),
        }

    def _parameters(self, rule: sgd.UpdateRule) -> dict[Symbol, float]:
        """Values of the rule's further symbols; none too many, none too few."""
        given = {
            s.tau: ("dampening", self.dampening, "dampened"),
            s.nu: ("mixing", self.mixing, "quasi_hyperbolic"),
        }
        for symbol, (name, value, own) in given.items():
            if value is None and symbol in rule.parameters:
                raise ValueError(f"--rule {self.rule} needs a value of --{name}. Give one.")
            if value is not None and symbol not in rule.parameters:
                raise ValueError(
                    f"--{name} {value:g}: the {rule.name} rule has no {name}. Leave it out, or "
                    f"give --rule {own}."
                )
        return {symbol: value for symbol, (_, value, _) in given.items() if value is not None}
