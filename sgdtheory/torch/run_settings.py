"""The run that an optimizer and a loader make, as a predictor takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from sympy import Symbol

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.predictor import Predictor
from sgdtheory.spectrum import Spectrum
from sgdtheory.torch.loader_settings import LoaderSettings
from sgdtheory.torch.optimizer_settings import OptimizerSettings
from sgdtheory.update_rule import UpdateRule

__all__ = ["RunSettings"]


@dataclass(frozen=True)
class RunSettings:
    """All that a prediction needs beside a spectrum.

    Args:
        hyperparameters: η, β, S, λ, N.
        rule: the optimizer's.
        parameters: values of the rule's further symbols.
        sampling: how the loader draws.
        notes: what the theory leaves out, in words.
    """

    hyperparameters: Hyperparameters
    rule: UpdateRule
    parameters: Mapping[Symbol, float]
    sampling: str
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, optimizer: torch.optim.Optimizer, loader: Any, sampling: str | None = None
    ) -> RunSettings:
        """As optimizer and loader have them now.

        Args:
            optimizer: a torch.optim.SGD.
            loader: a DataLoader.
            sampling: how batches are drawn, where the sampler is one of the user's own.
        """
        own, drawn = OptimizerSettings.read(optimizer), LoaderSettings.read(loader, sampling)
        hyperparameters = Hyperparameters(
            own.learning_rate, own.momentum, drawn.batch_size, own.weight_decay, drawn.dataset_size
        )
        return cls(hyperparameters, own.rule, own.parameters, drawn.sampling, drawn.notes)

    def predictor(self, spectrum: Spectrum, theory: str) -> Predictor:
        """Of this run with a spectrum.

        Args:
            spectrum: of the loss, without weight decay.
            theory: "discrete" or "continuous".
        """
        predictor: Predictor = Predictor(
            self.hyperparameters,
            spectrum,
            theory=theory,
            rule=self.rule,
            sampling=self.sampling,
            parameters=self.parameters,
        )
        return predictor
