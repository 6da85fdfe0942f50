"""One cell of a referee's experiment: what was run, and what every theory may know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import sgdtheory as sgd
from validation.data import Array
from validation.ensemble_runs import hyperparameters, rule_of
from validation.experiments import Experiment
from validation.linear_problem import LinearProblem, linear_problem

__all__ = ["Case", "case_of"]


@dataclass(frozen=True)
class Case:
    """A linear problem, settings and a sampler.

    Args:
        experiment: what was declared.
        problem: its curvatures and gradient noise, exactly.
    """

    experiment: Experiment
    problem: LinearProblem

    @property
    def sampler(self) -> str:
        """Name of the sampling."""
        return self.experiment.sampler.name

    @property
    def lags(self) -> Array:
        """At which the run was correlated, (L,)."""
        return np.asarray(self.experiment.record.lags)

    @cached_property
    def hyper(self) -> sgd.Hyperparameters:
        """η, β, S, λ, N."""
        return hyperparameters(self.experiment, len(self.problem.targets))

    @property
    def rule(self) -> sgd.UpdateRule:
        """The update rule."""
        return rule_of(self.experiment.optimizer)[0]

    @property
    def parameters(self) -> Mapping[Any, float]:
        """Values of the rule's further symbols."""
        return rule_of(self.experiment.optimizer)[1]

    @property
    def variances(self) -> Array:
        """Σ_ii of one example's gradient at the minimum, (d,)."""
        return np.diagonal(self.problem.noise_covariance)

    @property
    def isotropic_variances(self) -> Array:
        """σ²ρ with σ² = tr Σ / tr H, (d,): noise as if it were proportional to the Hessian."""
        rho = self.problem.eigenvalues
        return rho * (self.variances.sum() / rho.sum())

    def predictor(
        self, theory: str, variances: Array, sampling: str = "with_replacement"
    ) -> sgd.Predictor:
        """The package's predictor for this problem, with the noise that a theory assumes."""
        return sgd.Predictor(
            self.hyper,
            sgd.Spectrum(self.problem.eigenvalues, noise_variances=variances),
            theory=theory,
            rule=self.rule,
            sampling=sampling,
            parameters=self.parameters,
        )

    @cached_property
    def relaxation_steps(self) -> Array:
        """Of every direction, to choose which lags to show, (d,)."""
        return np.asarray(self.predictor("discrete", self.variances).relaxation_steps)

    @property
    def label(self) -> str:
        """Settings, for people."""
        hyper = self.hyper
        return (
            f"η = {hyper.learning_rate:.4g}, β = {hyper.momentum:g}, S = {hyper.batch_size}, "
            f"λ = {hyper.weight_decay:g}"
        )


def case_of(experiment: Experiment) -> Case:
    """The case of an experiment on a linear problem.

    Raises:
        ValueError: for another problem, and batches of all examples, which have no noise.
    """
    problem, sampler = linear_problem(experiment), experiment.sampler
    if sampler.name != "with_replacement" and 2 * sampler.batch_size > len(problem.targets):
        raise ValueError(
            f'{experiment.name}: sampler.name = "{sampler.name}" with batch_size = '
            f"{sampler.batch_size} of {len(problem.targets)} examples: one batch an epoch has no "
            "noise that a theory could predict. Give a smaller batch."
        )
    return Case(experiment, problem)
