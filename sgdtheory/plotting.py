r"""Pictures of spectra and of runs; what they show, other chapters have computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.advice import Advice
from sgdtheory.arrays import detached, shortened
from sgdtheory.spectrum import Spectrum

__all__ = ["COLOURS", "axes_for", "plot_advice", "plot_spectrum"]

# Okabe and Ito's colours, which the colour-blind tell apart, the darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Regimes differ in their hatching, too, for prints in black and white.
_HATCHES = {
    "overdamped": "",
    "critical": "xx",
    "underdamped": "//",
    "alternating": "\\\\",
}


def axes_for(ax: Any = None) -> Any:
    """The Axes that were given, or those of a new figure.

    Args:
        ax: matplotlib Axes, or None.

    Raises:
        ImportError: when matplotlib is not installed, with the command that installs it.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "pictures are drawn by matplotlib, which is not installed. Run pip install "
            "'sgdtheory[plot]'."
        ) from None
    return plt.subplots(figsize=(5, 3), layout="constrained")[1] if ax is None else ax


def plot_spectrum(spectrum: Spectrum, ax: Any = None, label: str | None = None) -> Any:
    r"""How many directions have an eigenvalue of at least ρ, in doubly logarithmic axes.

    No bins are chosen. Outliers are single steps at the right, and a density ∝ ρ^(−1−a) is a
    straight line of slope −a. Negative eigenvalues are a dashed line, by their size; zeros have no
    place on the axis, and the legend counts them.

    Args:
        spectrum: eigenvalues with counts > 0.
        ax: matplotlib Axes to draw in, or None for a new figure.
        label: of the spectrum, in the legend.

    Returns:
        The Axes.

    Raises:
        ValueError: for counts of both signs, or where all eigenvalues are 0.
        ImportError: without matplotlib.
    """
    rho, counts = _positive_counts(spectrum)
    signs = [(1, "-", label)] + [(-1, "--", "negative, by size")] * bool(np.any(rho < 0))
    if not np.any(rho):
        raise ValueError(
            "eigenvalues: all are 0, which a logarithmic axis cannot show. Give a spectrum with "
            "others."
        )
    axes = axes_for(ax)
    colour = COLOURS[len(axes.lines) % len(COLOURS)]
    for sign, style, name in signs:
        side = sign * rho > 0
        if np.any(side):
            sizes, above = _at_least(np.abs(rho[side]), counts[side])
            axes.step(sizes, above, style, where="pre", color=colour, label=name)
    at_zero = counts[rho == 0].sum()
    if at_zero:
        axes.plot([], [], " ", label=f"{at_zero:g} at 0, not shown")
    axes.set(
        xscale="log", yscale="log", xlabel="eigenvalue ρ", ylabel="directions with eigenvalue ≥ ρ"
    )
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize="small")
    return axes


def _positive_counts(spectrum: Spectrum) -> tuple[Any, Any]:
    if not isinstance(spectrum, Spectrum):
        raise ValueError(  # noqa: TRY004
            f"spectrum = {shortened(spectrum)}: give a Spectrum, as Spectrum.from_density(...) is."
        )
    rho = detached(spectrum.eigenvalues)
    counts = np.ones(len(rho)) if spectrum.counts is None else detached(spectrum.counts)
    if counts.min() < 0:
        raise ValueError(
            "spectrum has negative counts, as compressed ones do: they stand for sums, and one by "
            "one show nothing. Plot the spectrum that it was compressed from."
        )
    return rho, counts


def _at_least(sizes: Any, counts: Any) -> tuple[Any, Any]:
    """Different sizes, ascending, and how many directions reach each of them."""
    order = np.argsort(sizes)
    different, first = np.unique(sizes[order], return_index=True)
    return different, np.cumsum(counts[order][::-1])[::-1][first]


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
    if axes is None:
        figure = axes_for().figure
        figure.clear()
        figure.set_size_inches(6, 8)
        axes = figure.subplots(3, 1)
    if np.size(axes) != 3:
        raise ValueError(f"axes = {shortened(axes)}: give three matplotlib Axes, or None.")
    growth, slope, regimes = np.ravel(axes)
    curve = advice.curve
    if curve is None:
        for empty in (growth, slope):
            empty.text(0.5, 0.5, "no displacement to show", ha="center", transform=empty.transAxes)
    else:
        parts = {
            "total": (curve.parts.total, "-", COLOURS[6]),
            "drift": (curve.parts.drift, "--", COLOURS[1]),
            "relaxation": (curve.parts.relaxation, ":", COLOURS[0]),
            "noise": (curve.parts.noise, "-.", COLOURS[2]),
        }
        for name, (values, style, colour) in parts.items():
            if np.any(values > 0):
                growth.plot(
                    curve.steps, np.where(values > 0, values, np.nan), style, c=colour, label=name
                )
        slope.plot(curve.steps, curve.exponent, "-", c=COLOURS[6])
        slope.axhline(1, color="0.6", linewidth=0.8)
        _mark_crossovers(advice, growth, slope)
        growth.set(xscale="log", yscale="log")
        slope.set(xscale="log")
        growth.legend(fontsize="small")
    growth.set(xlabel="updates k", ylabel="displacement E|Δ|²")
    slope.set(xlabel="updates k", ylabel="local exponent")
    _plot_regimes(advice, regimes)
    return np.array([growth, slope, regimes])


def _mark_crossovers(advice: Advice, growth: Any, slope: Any) -> None:
    found = advice.forecast
    marks = {
        "velocity forgotten": found.velocity_memory,
        "epoch": found.epoch,
        "start overtakes": found.start_overtakes,
        "saturated": found.saturation,
        "run's length": found.steps if found.length_was_given else None,
    }
    _, last = slope.get_xlim()
    seen = sorted((step, name) for name, step in marks.items() if step and step <= last)
    for number, (step, name) in enumerate(seen):
        for axis in (growth, slope):
            axis.axvline(step, color="0.4", linestyle=":", linewidth=1)
        slope.text(
            step,
            # Names of neighbours stand at different heights.
            0.02 + number % 3 / 3,
            name,
            rotation=90,
            ha="right",
            va="bottom",
            fontsize="x-small",
            transform=slope.get_xaxis_transform(),
        )


def _plot_regimes(advice: Advice, axis: Any) -> None:
    run, margin = advice.run, advice.stability
    if np.any(run.curvature):
        plot_spectrum(
            Spectrum(run.curvature, noise_variances=0 * run.counts, counts=run.counts), axis
        )
    colours = dict(zip(_HATCHES, COLOURS[5:3:-1] + COLOURS[3:1:-1], strict=True))
    named: set[str] = set()
    for part in advice.ranges:
        if part.regime in _HATCHES:
            axis.axvspan(
                # A single direction is a band, too.
                part.lowest_curvature / 1.05,
                part.highest_curvature * 1.05,
                facecolor=colours[part.regime],
                hatch=_HATCHES[part.regime],
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
