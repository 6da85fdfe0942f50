"""Pictures of an experiment: theory as lines, measurement as points with standard errors.

Colours are distinguishable without red and green, and every theory has its own line style, so the
pictures also read in black and white.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from validation.comparison import THEORIES
from validation.linear import Experiment

__all__ = ["PICTURES", "picture"]

STYLE = {
    "continuous": {"color": "#d55e00", "linestyle": "--", "linewidth": 1.6},
    "discrete": {"color": "#0072b2", "linestyle": "-", "linewidth": 1.6},
}
MEASURED = {"color": "#222222", "markersize": 4, "linestyle": "none", "marker": "o", "capsize": 2}
_GLOBAL = r"$E\,|\theta_k - \theta_0|^2$"
_LOCAL = r"$E\,|\theta_{k+1} - \theta_k|^2$"
_LABELS = {
    "learning_rate": "learning rate η",
    "batch_size": "batch size S",
    "momentum": "momentum β",
}


def _figure(columns: int, height: float = 3.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.6 * columns, height), layout="constrained", dpi=110)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(visible=True, alpha=0.25, linewidth=0.6)
    return figure, axes


def relaxation(experiment: Experiment) -> Figure:
    """Phase-space spiral of the mean, and the position against steps."""
    data = experiment.relaxation
    figure, (plane, line) = _figure(2)
    plane.plot(*data.one_replica.T, color="#999999", linewidth=0.6, label="one replica")
    plane.plot(*data.measured.T, "o", color="#222222", markersize=3, label="mean of replicas")
    for theory in THEORIES:
        plane.plot(*data.theory[theory].T, label=theory, **STYLE[theory])
        line.plot(data.steps, data.theory[theory][:, 0], label=theory, **STYLE[theory])
    line.plot(data.steps, data.measured[:, 0], "o", color="#222222", markersize=3)
    plane.set(xlabel="position / start", ylabel="velocity / start")
    line.set(xlabel="updates", ylabel="mean position / start")
    plane.set_title(f"relaxation in phase space, ρ = {data.eigenvalue:.3g}")
    plane.legend(fontsize=8)
    return figure


def portrait(experiment: Experiment) -> Figure:
    """The modified loss, its current, and a stationary trajectory on it."""
    data = experiment.portrait
    figure, (plain, cloud) = _figure(2, 3.8)
    x, v = data.grid
    for axis in (plain, cloud):
        contours = axis.contourf(x, v, data.modified_loss, levels=14, cmap="cividis")
        axis.set(xlabel="position θ − μ", ylabel="velocity v")
    thin = (slice(2, None, 4), slice(2, None, 4))
    scale = [float(np.abs(part).max()) for part in (x, v)]
    arrows = [part / size for part, size in zip(data.current, scale, strict=True)]
    plain.quiver(
        x[thin], v[thin], arrows[0][thin], arrows[1][thin], color="white", pivot="mid", width=0.005
    )
    plain.set_title(f"modified loss and current, ρ = {data.eigenvalue:.3g}")
    cloud.scatter(
        data.positions[:, ::16].ravel(),
        data.velocities[:, ::16].ravel(),
        s=1,
        c="white",
        alpha=0.25,
    )
    cloud.plot(data.positions[0, :60], data.velocities[0, :60], color="#f0e442", linewidth=1.1)
    cloud.set(xlim=(x.min(), x.max()), ylim=(v.min(), v.max()))
    cloud.set_title("states of all replicas, 60 updates of one")
    figure.colorbar(contours, ax=[plain, cloud], label="modified loss Φ", shrink=0.9)
    return figure


def variances(experiment: Experiment) -> Figure:
    """Stationary variances against the Hessian's eigenvalues."""
    figure, axes = _figure(2)
    order = np.argsort(experiment.eigenvalues)
    # Directions flatter than the axis can show stand at its left end.
    rho = np.maximum(experiment.eigenvalues[order], experiment.eigenvalues.max() * 1e-6)
    for axis, kind in zip(axes, ("position", "velocity"), strict=True):
        data = experiment.variances[kind]
        for theory in THEORIES:
            axis.plot(rho, data[theory][order], label=theory, **STYLE[theory])
        axis.errorbar(
            rho,
            data["measured"][order],
            data["standard_error"][order],
            label="measured",
            **MEASURED,
        )
        axis.set(xscale="log", yscale="log", xlabel="eigenvalue ρ", ylabel=f"{kind} variance")
    axes[0].legend(fontsize=8)
    return figure


def displacement(experiment: Experiment) -> Figure:
    """Global displacement, and its exponent between one power of 2 and the next."""
    data = experiment.curve
    figure, (curve, exponent) = _figure(2)
    middle = np.sqrt(data.measured_at[1:] * data.measured_at[:-1])
    for theory in THEORIES:
        curve.plot(data.steps, data.theory[theory], label=theory, **STYLE[theory])
        exponent.plot(middle, data.exponent[theory], label=theory, **STYLE[theory])
    curve.errorbar(
        data.measured_at, data.measured, data.standard_error, label="measured", **MEASURED
    )
    exponent.plot(middle, data.exponent["measured"], "o", color="#222222", markersize=4)
    curve.set(xscale="log", yscale="log", xlabel="updates k", ylabel=_GLOBAL)
    exponent.set(xscale="log", xlabel="updates k", ylabel="exponent from k/√2 to √2k")
    curve.legend(fontsize=8)
    return figure


def panels(experiment: Experiment) -> Figure | None:
    """Local displacement against one hyperparameter at a time."""
    if not experiment.panels:
        return None
    figure, axes = _figure(len(experiment.panels), 3.2)
    for axis, panel in zip(axes, experiment.panels, strict=True):
        for theory in THEORIES:
            axis.plot(panel.grid, panel.theory[theory], label=theory, **STYLE[theory])
        axis.errorbar(
            panel.points, panel.measured, panel.standard_error, label="measured", **MEASURED
        )
        axis.set(
            yscale="log", xlabel=_LABELS[panel.setting], ylabel=r"$E\,|\theta_{k+1} - \theta_k|^2$"
        )
        if panel.setting != "momentum":
            axis.set(xscale="log")
            axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks(panel.points, [f"{p:g}" for p in panel.points], rotation=35)
    axes[0].legend(fontsize=8)
    return figure


PICTURES = {
    "relaxation": relaxation,
    "portrait": portrait,
    "variances": variances,
    "displacement": displacement,
    "panels": panels,
}


def picture(name: str, experiment: Experiment) -> Figure | None:
    """One of `PICTURES`, drawn in a fixed style whatever the user's configuration."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        return PICTURES[name](experiment)
