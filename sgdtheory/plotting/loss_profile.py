r"""What SGD descends beside what it was told to descend: modified loss and training loss.

.. math:: \kappa\Phi(\theta) = -\log\frac{p(\theta)}{p(\mu)}, \qquad
    T = \langle h\,\mathrm{Var}\,\theta\rangle

κΦ is a pure number. T, the mean temperature of the directions that are compared, makes of it a loss
that has the same stationary mean as the training loss: what is left are the shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgdtheory.arrays import detached
from sgdtheory.dense_predictor import DensePredictor
from sgdtheory.plotting.canvas import COLOURS, axes_for, draw_measured, legend_above
from sgdtheory.plotting.compared_models import direction_numbers, require_predictor
from sgdtheory.plotting.density_levels import LEVELS, draw_cloud, draw_levels
from sgdtheory.plotting.measured_points import checked_points, checked_states

__all__ = ["plot_modified_loss"]

_REACH, _POINTS = 3.5, 201
# Bins of measured positions, of which those with fewer have no error that can be trusted.
_BINS, _FEWEST = 28, 10


@dataclass(frozen=True)
class _Losses:
    """Curvatures and stationary covariance of the directions that are shown, and T."""

    curvature: NDArray[np.float64]
    covariance: NDArray[np.float64]
    temperature: float


def plot_modified_loss(
    model: Any, directions: Any = 0, measured: Any = None, ax: Any = None
) -> Any:
    r"""The modified loss of the positions against the training loss: a curve, or level lines.

    Both are above the minimum, and the training loss has the weight decay in it, ½ h θ². Directions
    that are not shown, and velocities, are integrated over: κΦ is −log p of what is. A plane's T is
    the mean of its two directions. Of one direction, where the own temperature would make the two
    losses equal, T is the mean of all.

    Args:
        model: a `Predictor`, of a spectrum or a landscape.
        directions: number of an eigenvalue for a curve, or two different ones for a plane.
        measured: positions θ − μ along the directions, of a stationary run: (samples,), which
            become −log of their histogram, with intervals of 95 % that take them for independent;
            or (samples, 2), which are points.
        ax: matplotlib Axes to draw in, or None for a new figure.

    Returns:
        The Axes.

    Raises:
        ValueError: naming what does not fit; for a direction without noise.
        UnstableError: for a model without stationary state.
        ImportError: without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> from sgdtheory import Hyperparameters, Predictor, Spectrum
    >>> model = Predictor(Hyperparameters(0.1), Spectrum([4.0, 1.0]))
    >>> axes = plot_modified_loss(model, ax=Figure().subplots())
    >>> offset, training = axes.lines[0].get_data()
    >>> bool(np.allclose(training, 4 * offset**2 / 2))
    True
    """
    require_predictor(model, "a picture of its losses")
    chosen = direction_numbers("directions", directions, len(detached(model.curvature)), most=2)
    losses = _losses(model, chosen)
    if len(chosen) == 1:
        points = None if measured is None else checked_points("measured", measured)
        axes = axes_for(ax, 5.4, 3.6)
        _draw_curves(axes, losses, points)
        axes.set_xlabel(_offset(chosen[0]))
    else:
        cloud = None if measured is None else checked_states("measured", measured, 2)
        axes = axes_for(ax, 4.6, 4.2)
        _draw_plane(axes, losses, cloud)
        axes.set(xlabel=_offset(chosen[0]), ylabel=_offset(chosen[1]))
    legend_above(axes, columns=1)
    return axes


def _offset(direction: int) -> str:
    return rf"offset $\theta - \mu$ along direction {direction} (unit of $\theta$)"


def _losses(model: Any, chosen: list[int]) -> _Losses:
    curvature = detached(model.curvature).astype(np.float64)
    if isinstance(model, DensePredictor):
        vectors, d = model.landscape.eigenvectors, model.landscape.dimension
        covariance = vectors.T @ model.stationary_covariance()[:d, :d] @ vectors
        variances, counts = np.diag(covariance), np.ones(d)
        covariance = covariance[np.ix_(chosen, chosen)]
    else:
        variances = detached(model.stationary_covariance())[:, 0, 0].astype(np.float64)
        own = model.spectrum.counts
        counts = np.ones(len(variances)) if own is None else detached(own)
        covariance = np.diag(variances[chosen])
    if not np.all(np.linalg.eigvalsh(covariance) > 0):
        raise ValueError(
            f"directions = {chosen}: they have variances {np.diag(covariance).tolist()} and no "
            "density, so no modified loss. Give them noise."
        )
    weights = counts
    if len(chosen) == 2:
        weights = np.zeros(len(variances))
        weights[chosen] = 1
    temperature = float((weights * curvature * variances).sum() / weights.sum())
    return _Losses(curvature[chosen], covariance, temperature)


def _draw_curves(axes: Any, losses: _Losses, measured: Any) -> None:
    variance, T = losses.covariance[0, 0], losses.temperature
    spread = np.sqrt(variance)
    offset = spread * np.linspace(-_REACH, _REACH, _POINTS)
    training = losses.curvature[0] * offset**2 / 2
    axes.plot(
        offset,
        training,
        "--",
        color=COLOURS[1],
        label=r"training loss with weight decay, $\frac{1}{2}h(\theta-\mu)^2$",
    )
    axes.plot(
        offset,
        T * offset**2 / (2 * variance),
        "-",
        color=COLOURS[0],
        label=rf"modified loss, $T\kappa\Phi$ with $T = {_scientific(T)}$",
    )
    if measured is not None:
        _draw_histogram(axes, losses, measured)
    axes.set_ylabel("loss above the minimum (unit of loss)")
    axes.set(xlim=(offset[0], offset[-1]), ylim=(0, None))
    other = axes.secondary_yaxis("right", functions=(lambda y: y / T, lambda y: y * T))
    other.set_ylabel(r"$\kappa\Phi = -\log\,p(\theta)/p(\mu)$ (pure number)")


def _draw_histogram(axes: Any, losses: _Losses, measured: NDArray[np.float64]) -> None:
    """−log of the measured density over the predicted one at the minimum."""
    spread = np.sqrt(losses.covariance[0, 0])
    counts, edges = np.histogram(measured, _BINS, (-_REACH * spread, _REACH * spread))
    kept = counts >= _FEWEST
    if not np.any(kept):
        raise ValueError(
            f"measured has {len(measured)} positions, of which no {_FEWEST} share one of {_BINS} "
            f"bins within {_REACH} standard deviations of the minimum. Give more, as offsets from "
            "the minimum."
        )
    middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    peak = 1 / (np.sqrt(2 * np.pi) * spread)
    level = -np.log(counts[kept] / (len(measured) * width * peak))
    T = losses.temperature
    draw_measured(axes, middle[kept], T * level, T / np.sqrt(counts[kept]), "measured, $-T\\log p$")


def _draw_plane(axes: Any, losses: _Losses, measured: Any) -> None:
    if measured is not None:
        draw_cloud(axes, measured, "measured positions", 0.5)
    draw_levels(axes, losses.covariance)
    # ½ h θ² = T n²/2 is the ellipse of a covariance T/h.
    half = np.sqrt(losses.temperature / losses.curvature)
    angle = np.linspace(0, 2 * np.pi, _POINTS)
    for level in LEVELS:
        name = rf"training loss at $T/2,\ 2T,\ 9T/2$, $T = {_scientific(losses.temperature)}$"
        axes.plot(
            level * half[0] * np.cos(angle),
            level * half[1] * np.sin(angle),
            "--",
            color=COLOURS[1],
            linewidth=1.2,
            label=name if level == LEVELS[0] else None,
        )
    reach = _REACH * np.maximum(np.sqrt(np.diag(losses.covariance)), half)
    width, height = np.maximum(reach, reach.max() / 2)
    # One length for both directions: whether a density is round is what there is to see.
    axes.set(xlim=(-width, width), ylim=(-height, height), aspect="equal")


def _scientific(value: float) -> str:
    digits, _, power = f"{value:.1e}".partition("e")
    return rf"{digits} \times 10^{{{int(power)}}}"
