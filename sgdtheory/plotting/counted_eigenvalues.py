r"""A spectrum, counted from above: no bins are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgdtheory.arrays import detached, shortened
from sgdtheory.plotting.canvas import COLOURS, axes_for
from sgdtheory.spectrum import Spectrum

__all__ = ["plot_spectrum"]


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
