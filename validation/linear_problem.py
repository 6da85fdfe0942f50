"""A linear regression seen along the eigenvectors of its Hessian: curvatures, minimum, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from validation.curvature import geometry
from validation.data import Array, regression
from validation.experiments import Experiment

__all__ = ["LinearProblem", "linear_problem"]

MODELS = ("linear", "quadratic")
# A direction whose inputs are rounding has neither curvature nor noise.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class LinearProblem:
    """Regression of one output on inputs whose Hessian is diagonal.

    Args:
        name: of the data.
        inputs: X in the eigenbasis, (N, d); eigenvalues ascend.
        targets: y, (N,).
        weight_decay: λ.
        vectors: eigenvectors of the Hessian in the features' own basis, (features, d), columns.
        additive: whether every example has the Hessian of all, so that the gradient noise is that
            of the minimum everywhere.
    """

    name: str
    inputs: Array
    targets: Array
    weight_decay: float
    vectors: Array
    additive: bool

    @cached_property
    def eigenvalues(self) -> Array:
        """ρ, (d,)."""
        return np.mean(self.inputs**2, axis=0)

    @property
    def curvatures(self) -> Array:
        """h = ρ + λ, (d,)."""
        return self.eigenvalues + self.weight_decay

    @cached_property
    def minimum(self) -> Array:
        """μ of the regularized loss, (d,)."""
        return self.inputs.T @ self.targets / len(self.targets) / self.curvatures

    @cached_property
    def gradient_errors(self) -> Array:
        """Each example's gradient at the minimum less the mean of all, (N, d)."""
        found = self.inputs * (self.inputs @ self.minimum - self.targets)[:, None]
        return found - found.mean(axis=0)

    @property
    def noise_covariance(self) -> Array:
        """Σ of one example's gradient at the minimum, (d, d)."""
        return self.gradient_errors.T @ self.gradient_errors / len(self.gradient_errors)


def _require_exact(experiment: Experiment) -> None:
    noise, loss = experiment.data.label_noise, experiment.loss.name
    if noise or loss != "half_squared_error":
        raise ValueError(
            f'{experiment.name}: data.label_noise = {noise}, loss.name = "{loss}". Curvatures and '
            "gradient noise are known exactly for half_squared_error without label noise only."
        )


def linear_problem(experiment: Experiment) -> LinearProblem:
    """The problem of an experiment with a linear or quadratic model.

    Raises:
        ValueError: for another model or loss, label noise, or an output that there is not.
    """
    _require_exact(experiment)
    model = experiment.model
    if model.name not in MODELS:
        raise ValueError(
            f"model.name = {model.name!r}: the Hessian is known exactly of {' and '.join(MODELS)} "
            'models only. Give one of them, or engine = "torch" with directions of a file.'
        )
    data = regression(experiment.data, experiment.folder)
    output = model.options.get("output", 0)
    if not isinstance(output, int) or not 0 <= output < data.targets.shape[1]:
        raise ValueError(
            f"model.options.output = {output!r}: {data.name} has {data.targets.shape[1]} outputs, "
            "numbered from 0."
        )
    shape = geometry(data, experiment.optimizer.weight_decay)
    vectors = shape.vectors[:, shape.eigenvalues > _ROUNDING * shape.eigenvalues.max()]
    return LinearProblem(
        data.name,
        data.features @ vectors,
        data.targets[:, output],
        experiment.optimizer.weight_decay,
        vectors,
        model.name == "quadratic",
    )
