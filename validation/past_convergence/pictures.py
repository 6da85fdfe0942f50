"""Pictures of an experiment in stages: predictions as lines, records as points.

Colors are distinguishable without red and green, and lines also differ in style.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import sgdtheory as sgd
from validation.past_convergence.comparison import Row
from validation.past_convergence.findings import Findings
from validation.past_convergence.predictions import log_spaced
from validation.past_convergence.staged_runs import SLICE
from validation.record_store import open_record

__all__ = ["PICTURES", "picture"]

PREDICTED = {"color": "#0072b2", "linewidth": 1.6}
POINTS = {"linestyle": "none", "markersize": 4}
_MARKERS = ("o", "s", "^", "D", "v")
_GREYS = ("#222222", "#666666", "#999999", "#444444", "#888888")
# More labels than this lie side by side only if they are turned.
_UPRIGHT = 8
# Standard deviations of two directions within which a fair share of 95 % lies.
_TUBE = float(np.sqrt(-2 * np.log(0.05)))


def _figure(columns: int, height: float = 3.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.6 * columns, height), layout="constrained", dpi=100)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(visible=True, alpha=0.25, linewidth=0.6)
    return figure, axes


def _settings(found: Findings) -> Figure | None:
    """|δ|² against each setting that is compared by itself."""
    shown = [
        comparison
        for comparison in found.staged.comparisons
        if len(comparison.settings) > 2 and all(len(values) == 1 for values in comparison.settings)
    ]
    if not shown:
        return None
    figure, axes = _figure(len(shown))
    for axis, comparison in zip(axes, shown, strict=True):
        name = next(iter(comparison.settings[0]))
        for quantity, marker, color in (
            ("|δ|²", "o", "#0072b2"),
            ("|δ|², noise that does not drive itself", "x", "#d55e00"),
        ):
            points = [
                (place, row.deviation, row.error)
                for place, values in enumerate(comparison.settings)
                for row in found.rows
                if row.quantity == quantity and found.is_of(row, values)
            ]
            if points:
                x, y, error = np.array(points, dtype=float).T
                axis.errorbar(
                    x, 1 + y, 2 * error, fmt=marker, color=color, capsize=2, label=quantity
                )
        axis.axhline(1, color="#222222", linewidth=0.8)
        places = range(len(comparison.settings))
        labels = [str(values[name]) for values in comparison.settings]
        axis.set_xticks(places, labels, rotation=90 if len(labels) > _UPRIGHT else 0)
        axis.set(xlabel=name.split(".")[-1].replace("_", " "), ylabel="measured / predicted")
    axes[0].legend(fontsize=7)
    return figure


def _isotropy(found: Findings) -> Figure:
    """Variances along eigenvectors against their curvature."""
    figure, axes = _figure(2)
    for axis, name, title in zip(
        axes, ("position_variance", "velocity_variance"), ("Var θ", "Var v"), strict=True
    ):
        for record, marker, color in zip(found.base, _MARKERS, _GREYS, strict=False):
            estimate = getattr(record.measured, name)
            kept = record.settled
            axis.errorbar(
                record.eigenvalues[kept],
                estimate.value[kept],
                estimate.standard_error[kept],
                marker=marker,
                color=color,
                elinewidth=0.6,
                label=f"seed {record.seed}",
                **POINTS,
            )
            axis.plot(record.eigenvalues[kept], np.array(record.predicted[name])[kept], **PREDICTED)
        axis.set(xscale="log", yscale="log", xlabel="eigenvalue ρ", ylabel=title)
    axes[0].legend(fontsize=7)
    return figure


def _displacement(found: Findings) -> Figure:
    """|θ_k − θ_0|² of the first setting with its predicted parts."""
    figure, axes = _figure(len(found.base))
    for axis, record in zip(axes, found.base, strict=True):
        k = log_spaced(record.updates)
        diffusion, drift, all_drift = (
            np.array(record.predicted[name]) for name in ("diffusion", "gradient_drift", "drift")
        )
        axis.plot(k, record.displacement, "o", color="#222222", markersize=4)
        axis.plot(k, diffusion + drift, label="predicted", **PREDICTED)
        axis.plot(k, diffusion, "--", color="#d55e00", label="diffusion")
        axis.plot(k, drift, ":", color="#009e73", label="drift of the mean")
        axis.plot(k, diffusion + all_drift, ":", color="#56b4e9", label="with the induced force")
        if record.linearized is not None:
            label = "same batches, Hessian held fixed"
            updates, curves = record.linearized
            axis.plot(updates, curves[0], "-.", color="#cc79a7", label=label)
        axis.set(
            xscale="log",
            yscale="log",
            xlabel="updates k",
            ylabel="|θ_k − θ_0|²",
            title=f"seed {record.seed}",
            ylim=(diffusion[0] / 3, None),
        )
    axes[0].legend(fontsize=7)
    return figure


def _exponents(found: Findings) -> Figure:
    """Measured against predicted exponents, of every setting."""
    figure, (axis,) = _figure(1, 4.2)

    def draw(quantity: str, marker: str, color: str) -> None:
        for stationary in (True, False):
            rows: list[Row] = [
                row
                for row in found.rows
                if (row.quantity, row.stationary) == (quantity, stationary)
            ]
            if not rows:
                continue
            x, y, error = np.array([(r.predicted, r.measured, r.error) for r in rows]).T
            axis.errorbar(
                x,
                y,
                error,
                fmt=marker,
                color=color,
                mfc=color if stationary else "none",
                capsize=2,
                label=quantity if stationary else None,
                alpha=1.0 if stationary else 0.5,
            )

    draw("exponent of diffusion", "x", "#d55e00")
    draw("exponent with induced force", "+", "#009e73")
    draw("exponent", "o", "#0072b2")
    ends = axis.get_xlim()
    axis.plot(ends, ends, color="#222222", linewidth=0.8)
    axis.set(xlabel="predicted c", ylabel="measured c")
    axis.legend(fontsize=7)
    return figure


def _spiral(found: Findings) -> Figure:
    """Position, velocity and time along the direction that circulates most, and what was to come.

    From the state of largest energy on, the mean of what follows and the tube that holds 95 % of it
    are known: later noise knows nothing of that state.
    """
    record = found.base[0]
    held = open_record(record.folder / "record.zarr")
    x, v = (np.asarray(held[name])[:, 0, 0] for name in ("positions", "velocities"))
    spread = [record.predicted[name][0] for name in ("position_variance", "velocity_variance")]
    length = min(300, len(x) // 2)
    first = int((x**2 / spread[0] + v**2 / spread[1])[: len(x) - length].argmax())
    rule = found.staged.recorded.optimizer
    rho = float(record.eigenvalues[0])
    noise = spread[1] / _unit(found, rho)[1, 1]
    model = _predictor(found, rho, noise)
    steps = np.arange(length)
    mean = model.mean(steps, np.array([x[first]]), np.array([v[first]]))[:, 0]
    deviation = np.sqrt(model.covariance(steps)[:, 0].diagonal(axis1=1, axis2=2))
    figure = Figure(figsize=(7.2, 5.2), layout="constrained", dpi=100)
    axis: Any = figure.add_subplot(projection="3d")
    axis.plot(steps, x[first:][:length], v[first:][:length], color="#222222", linewidth=0.8)
    axis.plot(steps, *mean.T, **PREDICTED)
    around = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([np.cos(around), np.sin(around)]) * _TUBE
    tube = mean[:, :, None] + deviation[:, :, None] * ring
    axis.plot_surface(
        np.broadcast_to(steps[:, None], tube[:, 0].shape),
        tube[:, 0],
        tube[:, 1],
        color="#56b4e9",
        alpha=0.2,
        linewidth=0,
    )
    axis.set(
        xlabel="updates",
        ylabel="position",
        zlabel="velocity",
        title=f"ρ = {rho:.3g}, β = {rule.momentum:g}",
    )
    return figure


def _predictor(found: Findings, rho: float, noise: float) -> sgd.Predictor:
    rule, sampler = found.staged.recorded.optimizer, found.staged.recorded.sampler
    settings = sgd.Hyperparameters(
        rule.learning_rate, rule.momentum, sampler.batch_size, rule.weight_decay
    )
    return sgd.Predictor(settings, sgd.Spectrum([rho], noise_variances=[noise]))


def _unit(found: Findings, rho: float) -> Any:
    return _predictor(found, rho, 1.0).stationary_covariance()[0]


def _slice(found: Findings) -> Figure | None:
    """Training loss and modified loss on the plane of two eigenvectors, with the trajectory."""
    record = found.base[0]
    path = record.folder / SLICE
    if not path.exists():
        return None
    with np.load(path) as held:
        first, second, loss = held["first"], held["second"], held["loss"]
        chosen = held["directions"]
    variances = np.array(record.predicted["position_variance"])[chosen]
    modified = (first**2 / variances[0] + second[:, None] ** 2 / variances[1]) / 2
    positions = np.asarray(open_record(record.folder / "record.zarr")["positions"])[:, 0, chosen]
    figure, axes = _figure(2, 4.0)
    for axis, values, title in zip(
        axes, (loss, modified), ("training loss", "modified loss, position part"), strict=True
    ):
        axis.contourf(first, second, values, levels=14, cmap="cividis")
        axis.plot(*positions.T, color="white", linewidth=0.5, alpha=0.8)
        axis.set(
            title=title,
            xlim=(first[0], first[-1]),
            ylim=(second[0], second[-1]),
            xlabel=f"along ρ = {record.eigenvalues[chosen[0]]:.3g}",
            ylabel=f"along ρ = {record.eigenvalues[chosen[1]]:.3g}",
        )
    return figure


_DRAWN: dict[str, Callable[[Findings], Figure | None]] = {
    "settings": _settings,
    "isotropy": _isotropy,
    "spiral": _spiral,
    "slice": _slice,
    "displacement": _displacement,
    "exponents": _exponents,
}
PICTURES = {
    "settings": "Squared step, measured over predicted, against one setting at a time; bars are "
    "two standard errors. Crosses leave out that noise drives itself.",
    "isotropy": "Variances along eigenvectors. Positions spread alike in all, velocities in "
    "proportion to ρ; lines are predictions.",
    "spiral": "One direction in phase space and time, from its state of largest energy on, with "
    "the predicted mean and the tube that holds 95 % of what can follow.",
    "slice": "The training loss, the modified loss, and one trajectory on the plane of two "
    "eigenvectors of unequal curvature. The trajectory fills the modified loss.",
    "displacement": "Squared displacement from where the record begins.",
    "exponents": "Exponents over the last factor of eight of every record; pale where it was not "
    "stationary.",
}


def picture(name: str, found: Findings) -> Figure | None:
    """One of PICTURES; None where nothing belongs into it."""
    return _DRAWN[name](found)
