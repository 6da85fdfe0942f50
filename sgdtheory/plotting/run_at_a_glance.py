"""A run at a glance: what an `Advice` says, in three panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.advice import Advice
from sgdtheory.arrays import shortened
from sgdtheory.plotting.canvas import COLOURS, PARTS, REGIMES, new_figure, row_of_axes
from sgdtheory.plotting.counted_eigenvalues import plot_spectrum
from sgdtheory.plotting.crossover_marks import crossover_marks, mark_updates
from sgdtheory.spectrum import Spectrum

__all__ = ["plot_advice"]


def plot_advice(advice: Advice, axes: Any = None) -> Any:
    """A run at a glance: displacement and its parts, the exponent, and regimes along the spectrum.

    Crossovers are dotted lines across the first two; in the third a dashed line is where
    instability begins.

    Args:
        advice: of `advise`.
        axes: three matplotlib Axes to draw in, or None for a new figure.

    Returns:
        The three Axes.

    Raises:
        ValueError: for other than three axes, or what is no Advice.
        ImportError: without matplotlib.
    """
    if not isinstance(advice, Advice):
        raise ValueError(f"advice = {shortened(advice)}: give an Advice, as advise(...) is.")  # noqa: TRY004
    growth, slope, regimes = row_of_axes(new_figure(6, 8, rows=3) if axes is None else axes, 3)
    curve = advice.curve
    if curve is None:
        for empty in (growth, slope):
            empty.text(0.5, 0.5, "no displacement to show", ha="center", transform=empty.transAxes)
    else:
        for name, style in PARTS.items():
            values = getattr(curve.parts, name)
            if np.any(values > 0):
                shown = np.where(values > 0, values, np.nan)
                growth.plot(curve.steps, shown, label=name, **style)
        slope.plot(curve.steps, curve.exponent, "-", c=COLOURS[6])
        slope.axhline(1, color="0.6", linewidth=0.8)
        growth.set(xscale="log", yscale="log")
        slope.set(xscale="log")
        mark_updates([growth, slope], _crossovers(advice))
        growth.legend(fontsize="small")
    growth.set(xlabel="updates k", ylabel="displacement E|Δ|²")
    slope.set(xlabel="updates k", ylabel="local exponent")
    _plot_regimes(advice, regimes)
    return np.array([growth, slope, regimes])


def _crossovers(advice: Advice) -> dict[str, float | None]:
    found = advice.forecast
    length = found.steps if found.length_was_given else None
    return {**crossover_marks(found), "run's length": length}


def _plot_regimes(advice: Advice, axis: Any) -> None:
    run, margin = advice.run, advice.stability
    if np.any(run.curvature):
        plot_spectrum(
            Spectrum(run.curvature, noise_variances=0 * run.counts, counts=run.counts), axis
        )
    named: set[str] = set()
    for part in advice.ranges:
        if part.regime in REGIMES:
            face, hatch = REGIMES[part.regime]
            axis.axvspan(
                # A single direction is a band, too.
                part.lowest_curvature / 1.05,
                part.highest_curvature * 1.05,
                facecolor=face,
                hatch=hatch,
                edgecolor="0.5",
                alpha=0.3,
                linewidth=0,
                label=None if part.regime in named else part.regime,
            )
            named.add(part.regime)
    if margin.step_limit is not None:
        axis.axvline(
            margin.step_limit / run.hyperparameters.learning_rate,
            color=COLOURS[6],
            linestyle="--",
            label="unstable beyond",
        )
    axis.set(xlabel="curvature h = ρ + λ", ylabel="directions with curvature ≥ h")
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize="small")
