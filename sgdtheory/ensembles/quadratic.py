r"""Examples that share one Hessian: l_n(θ) = ½ Σ_i h_i θ_i² − b_nᵀθ.

A batch's gradient errs by its mean of b_n less that of all, wherever the run is: the noise is
additive, with the covariance of the b_n. What is assumed of the noise elsewhere is exact here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sgdtheory.ensembles.ensemble import Ensemble, checked
from sgdtheory.ensembles.plan import Examples

__all__ = ["QuadraticEnsemble"]


@dataclass(frozen=True, eq=False)
class QuadraticEnsemble(Ensemble):
    """Independent replicas of SGD on quadratic losses of one diagonal Hessian.

    Args:
        curvatures: ρ, (d,); weight decay comes on top. Unit: loss/θ².
        forces: b, (N, d): minus the gradient of every example at θ = 0. Unit: loss/θ.
        replicas: R.
        seed: 0 ≤ seed < 2⁶⁴.
        first_replica: number of the first one.

    Raises:
        ValueError: for shapes that do not match, or numbers that are not finite.

    >>> from sgdtheory import Hyperparameters
    >>> ensemble = QuadraticEnsemble([2.0], [[1.0], [-1.0]], replicas=4)
    >>> ensemble.simulate(Hyperparameters(0.25), steps=1).states[:, 0, 0, 0]
    array([ 0.25, -0.25,  0.25, -0.25])
    """

    curvatures: Any
    forces: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "forces", checked("forces", self.forces, 2, self.forces))
        object.__setattr__(
            self, "curvatures", checked("curvatures", self.curvatures, 1, self.forces)
        )
        if self.curvatures.shape[0] != self.forces.shape[1]:
            raise ValueError(
                f"curvatures, forces have shapes {tuple(self.curvatures.shape)}, "
                f"{tuple(self.forces.shape)}: give (d,) and (N, d)."
            )

    @property
    def _rows(self) -> Any:
        return self.forces

    def _examples(self, weight_decay: float) -> Examples:
        unit = self.forces[:, 0] * 0 + 1
        return Examples(self.forces, unit, self.curvatures + weight_decay, False, 0.0)
