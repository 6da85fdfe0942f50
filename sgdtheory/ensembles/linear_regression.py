r"""Linear regression, L(θ) = (1/2N) Σ (x_nᵀθ − y_n)² + (λ/2)‖θ‖², by the million of updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sgdtheory.ensembles.ensemble import Ensemble, checked
from sgdtheory.ensembles.plan import Examples
from sgdtheory.number_checks import check_number

__all__ = ["LinearRegressionEnsemble"]


@dataclass(frozen=True, eq=False)
class LinearRegressionEnsemble(Ensemble):
    """Independent replicas of SGD on linear regression; what they have in common is the data.

    Args:
        inputs: X, (N, d). Unit: √loss/θ.
        targets: y, (N,). Unit: √loss.
        label_noise: standard deviation of the Gaussian error that a target has each time it is
            drawn. Unit: √loss.
        replicas: R.
        seed: 0 ≤ seed < 2⁶⁴.
        first_replica: number of the first one.

    Raises:
        ValueError: for shapes that do not match, or numbers that are not finite.

    >>> from sgdtheory import Hyperparameters
    >>> ensemble = LinearRegressionEnsemble(
    ...     [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], [1.0, 0.0, 1.0], replicas=1000, seed=3
    ... )
    >>> hyper = Hyperparameters(learning_rate=0.1, momentum=0.5, batch_size=2)
    >>> run = ensemble.simulate(hyper, steps=[10, 100])
    >>> run.states.shape
    (1000, 2, 2, 2)
    >>> mean, error = run.mean()
    >>> bool(abs(mean[1, 0, 0] - 1 / 3) < 5 * error[1, 0, 0])  # the minimum is (1/3, 1/3)
    True
    """

    inputs: Any
    targets: Any
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inputs", checked("inputs", self.inputs, 2, self.inputs))
        object.__setattr__(self, "targets", checked("targets", self.targets, 1, self.inputs))
        if self.targets.shape[0] != self.inputs.shape[0]:
            raise ValueError(
                f"inputs, targets have shapes {tuple(self.inputs.shape)}, "
                f"{tuple(self.targets.shape)}: give (N, d) and (N,)."
            )
        check_number("label_noise", self.label_noise, at_least=0.0)

    @property
    def _rows(self) -> Any:
        return self.inputs

    def _examples(self, weight_decay: float) -> Examples:
        shared = self.inputs[0] * 0 + weight_decay
        return Examples(self.inputs, self.targets, shared, True, float(self.label_noise))
