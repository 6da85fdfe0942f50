"""Pictures: what is drawn is read back from the axes."""

from __future__ import annotations

import builtins
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.contour import QuadContourSet
from matplotlib.path import Path
from matplotlib.quiver import Quiver
from matplotlib.transforms import Bbox
from scipy.linalg import block_diag, expm, solve_continuous_lyapunov, solve_discrete_lyapunov
from scipy.stats import multivariate_normal
from sympy import Matrix, diag

import sgdtheory as sgd
from sgdtheory.plotting import (
    plot_displacement,
    plot_exponent,
    plot_hyperparameter_panels,
    plot_modified_loss,
    plot_phase_portrait,
    plot_regimes,
    plot_spectrum,
)
from sgdtheory.plotting.canvas import REGIMES
from sgdtheory.plotting.crossover_marks import names_without_crowding

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_line_counts_directions_from_above():
    axes = plot_spectrum(sgd.Spectrum([1.0, 10.0, 1.0, 0.1], counts=[2, 1, 3, 4]))
    x, y = axes.lines[0].get_data()
    assert x.tolist() == [0.1, 1.0, 10.0]
    assert y.tolist() == [10.0, 6.0, 1.0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    # Drawn so that the height above x counts eigenvalues ≥ x.
    assert axes.lines[0].get_drawstyle() == "steps-pre"


def test_it_draws_where_it_is_told():
    _, mine = plt.subplots()
    assert plot_spectrum(sgd.Spectrum([1.0]), mine, label="one") is mine
    plot_spectrum(sgd.Spectrum([2.0]), mine, label="two")
    assert [text.get_text() for text in mine.get_legend().get_texts()] == ["one", "two"]
    assert mine.lines[0].get_color() != mine.lines[1].get_color()


def test_negative_eigenvalues_are_a_line_of_their_own_and_zeros_are_counted():
    rho = [1.0, -0.5, -0.25, 0.0, 0.0]
    spectrum = sgd.Spectrum.from_hessian_eigenvalues(rho, negative="drift")
    axes = plot_spectrum(spectrum)
    below = axes.lines[1]
    assert below.get_linestyle() == "--"
    assert np.array_equal(below.get_data(), [[0.25, 0.5], [2.0, 1.0]])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["negative, by size", "2 at 0, not shown"]


def test_what_cannot_be_shown_is_refused():
    rho = np.concatenate([0.5 + 1e-9 * np.arange(1000), [1.0]])
    with pytest.raises(ValueError, match="negative counts"):
        plot_spectrum(sgd.Spectrum(rho).compress(1e-6, momentum=0.5))
    with pytest.raises(ValueError, match="all are 0"):
        plot_spectrum(sgd.Spectrum([0.0]))
    with pytest.raises(ValueError, match=r"spectrum = \[1\.0\]"):
        plot_spectrum([1.0])


# -- brute force, and what is drawn of it ------------------------------------------------------

RATE, MOMENTUM, BATCH = 0.1, 0.9, 8
RHO, SIGMA = np.array([1.0, 0.2]), np.array([2.0, 0.5])
HYPER = sgd.Hyperparameters(RATE, momentum=MOMENTUM, batch_size=BATCH)
MODEL = sgd.Predictor(HYPER, sgd.Spectrum(RHO, noise_variances=SIGMA))
CONTINUOUS = sgd.Predictor(HYPER, sgd.Spectrum(RHO, noise_variances=SIGMA), theory="continuous")


def update(rate, momentum, h, nesterov=False):
    """One update's map and kick, by doing the update with each unit vector."""

    def go(theta, v, error):
        g = h * theta + error
        v = momentum * v - g
        return np.array([theta + rate * (momentum * v - g if nesterov else v), v])

    return np.stack([go(1, 0, 0), go(0, 1, 0)], axis=1), go(0, 0, 1)


def moments(steps, h, variance, start=(0.0, 0.0), rate=RATE, momentum=MOMENTUM, batch=BATCH):
    """Mean and covariance after so many updates, update by update."""
    M, n = update(rate, momentum, h)
    mean, covariance = np.array(start), np.zeros((2, 2))
    for _ in range(steps):
        mean, covariance = M @ mean, M @ covariance @ M.T + np.outer(n, n) * variance / batch
    return mean, covariance


def settled(h, variance, **settings):
    return moments(4000, h, variance, **settings)[1]


def by_label(axes):
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def test_ellipses_enclose_the_shares_of_a_simulated_cloud():
    rng = np.random.default_rng(0)
    M, n = update(RATE, MOMENTUM, RHO[0])
    states = np.zeros((40_000, 2))
    for _ in range(200):
        states = states @ M.T + rng.normal(size=(len(states), 1)) * n * np.sqrt(SIGMA[0] / BATCH)
    axes = plot_phase_portrait(MODEL, cloud=states)
    ellipses = [line for line in axes.lines if len(line.get_xdata()) == 361]
    assert len(ellipses) == 3
    for level, line in enumerate(ellipses, start=1):
        share = 1 - np.exp(-(level**2) / 2)
        error = np.sqrt(share * (1 - share) / len(states))
        inside = Path(line.get_xydata()).contains_points(states).mean()
        assert abs(inside - share) < 4 * error
    drawn = by_label(axes)["measured states"].get_xydata()
    assert np.array_equal(drawn, states)


def arrows(axes):
    (quiver,) = [one for one in axes.collections if isinstance(one, Quiver)]
    return quiver.XY, np.stack([quiver.U, quiver.V], axis=1)


def test_arrows_of_updates_are_the_mean_motion_of_simulated_states():
    """A current is p(x) times the mean of (x_{k+1} − x_{k−1})/2η at x."""
    rng = np.random.default_rng(1)
    M, n = update(RATE, MOMENTUM, RHO[0])
    path = [np.zeros((20, 8000, 2))]
    for _ in range(120):
        kick = rng.normal(size=(20, 8000, 1)) * n * np.sqrt(SIGMA[0] / BATCH)
        path = [*path[-2:], path[-1] @ M.T + kick]
    before, now, after = path
    moved = (after - before) / (2 * RATE)
    # The mean is linear in the place: a regression, in 20 independent parts.
    slopes = np.stack([np.linalg.lstsq(x, y)[0].T for x, y in zip(now, moved, strict=True)])
    places, current = arrows(plot_phase_portrait(MODEL))
    density = multivariate_normal(cov=settled(RHO[0], SIGMA[0])).pdf(places)
    seen = np.einsum("nij,aj->nai", slopes, places)
    error = seen.std(axis=0, ddof=1) / np.sqrt(len(slopes))
    assert np.all(np.abs(current / density[:, None] - seen.mean(axis=0)) < 4.5 * error)
    # Far larger than what chance could make of it.
    assert np.median(np.abs(seen.mean(axis=0)) / error) > 30


@pytest.mark.parametrize("h", RHO)
def test_arrows_of_the_continuous_theory_are_a_central_difference_of_the_correlation(h):
    friction = (1 - MOMENTUM) * 2 / (RATE * (1 + MOMENTUM))
    A = np.array([[0, -1], [2 * h / (RATE * (1 + MOMENTUM)), friction]])
    gain = np.diag([0, 4 * SIGMA[h == RHO][0] / (RATE * BATCH * (1 + MOMENTUM) ** 2)])
    B = solve_continuous_lyapunov(A, gain)
    # The error is of first order: a velocity's path is rough.
    short = 1e-6
    C = expm(-A * short) @ B
    W = (C - C.T) / (2 * short) @ np.linalg.inv(B)
    direction = int(np.flatnonzero(h == RHO)[0])
    places, current = arrows(plot_phase_portrait(CONTINUOUS, direction))
    expected = places @ W.T * multivariate_normal(cov=B).pdf(places)[:, None]
    np.testing.assert_allclose(current, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    # Along the level lines: nothing flows up or down the modified loss.
    across = np.einsum("ai,ij,aj->a", places, np.linalg.inv(B), current)
    assert np.abs(across).max() < 1e-9 * np.abs(current).max() / np.sqrt(B[0, 0])


def test_a_textbook_process_has_its_own_portrait():
    process = sgd.OrnsteinUhlenbeck(Matrix([[5, -3], [-3, 5]]) / 2, diag(4, 1))
    axes = plot_phase_portrait(process, start=[1.0, 0.0])
    path = by_label(axes)["mean, relaxing"].get_xydata()
    A = np.array([[5, -3], [-3, 5]]) / 2
    # The slowest rate is 1, and the path lasts six of its times.
    np.testing.assert_allclose(path[-1], expm(-6 * A) @ [1, 0], rtol=1e-9)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$x_{1}$", "$x_{2}$")


def test_the_mean_relaxes_update_by_update_and_a_trajectory_lies_over_it():
    run = np.array([[0.1, 0.2], [0.0, 0.1], [-0.1, 0.3]])
    lines = by_label(plot_phase_portrait(MODEL, 1, trajectory=run, start=(0.5, -0.2)))
    path = lines["mean, relaxing"].get_xydata()
    for k in (0, 1, 7):
        np.testing.assert_allclose(
            path[k], moments(k, RHO[1], 0.0, (0.5, -0.2))[0], rtol=1e-9, atol=1e-12
        )
    assert np.array_equal(lines["measured trajectory"].get_xydata(), run)


def test_a_curve_of_the_modified_loss_has_the_training_losss_mean():
    variances = np.array([settled(h, v)[0, 0] for h, v in zip(RHO, SIGMA, strict=True)])
    T = (RHO * variances).mean()
    rng = np.random.default_rng(2)
    positions = rng.normal(size=40_000) * np.sqrt(variances[1])
    axes = plot_modified_loss(MODEL, 1, measured=positions)
    training, modified = axes.lines[:2]
    x = modified.get_xdata()
    np.testing.assert_allclose(training.get_ydata(), RHO[1] * x**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(modified.get_ydata(), T * x**2 / (2 * variances[1]), rtol=1e-9)
    # −log of a histogram of normal numbers, within its intervals; bins are 1/4 σ wide.
    (bars,) = axes.containers
    points = bars.lines[0].get_xydata()
    half = np.array([(s[1, 1] - s[0, 1]) / 2 for s in bars.lines[2][0].get_segments()])
    off = (points[:, 1] - T * points[:, 0] ** 2 / (2 * variances[1])) / (half / 1.96)
    assert len(off) > 20
    assert np.abs(off).max() < 4
    axes.figure.canvas.draw()
    (other,) = axes.child_axes
    assert other.get_ylim()[1] == pytest.approx(axes.get_ylim()[1] / T)


def test_a_plane_of_the_modified_loss_is_tilted_by_noise_that_does_not_commute():
    noise = np.array([[1.0, 0.6], [0.6, 0.8]])
    M, n = zip(*(update(RATE, MOMENTUM, h) for h in RHO), strict=True)
    # (θ_1, v_1, θ_2, v_2)
    whole, kicks = block_diag(*M), block_diag(*(kick[:, None] for kick in n))
    P = solve_discrete_lyapunov(whole, kicks @ noise @ kicks.T / BATCH)[::2, ::2]
    model = sgd.Predictor(HYPER, sgd.Landscape(np.diag(RHO), noise))
    # A landscape's directions ascend.
    axes = plot_modified_loss(model, (1, 0))
    modified, training = axes.lines[:3], axes.lines[3:6]
    T = np.trace(np.diag(RHO) @ P) / 2
    for level in (1, 2, 3):
        x = modified[level - 1].get_xydata()
        # An eigenvector's sign is nobody's choice.
        flipped = min(
            np.abs(np.einsum("ai,ij,aj->a", x * sign, np.linalg.inv(P), x * sign) - level**2).max()
            for sign in ([1, 1], [1, -1])
        )
        assert flipped < 1e-6
        loss = (training[level - 1].get_xydata() ** 2 * RHO).sum(-1) / 2
        np.testing.assert_allclose(loss, T * level**2 / 2, rtol=1e-9)


# -- growth ------------------------------------------------------------------------------------


def brute_displacement(k, start):
    total = 0.0
    for h, variance, x in zip(RHO, SIGMA, start, strict=True):
        mean, covariance = moments(k, h, variance, (x, 0.0))
        total += (mean[0] - x) ** 2 + covariance[0, 0]
    return total


def test_a_displacement_and_its_parts_are_those_of_the_recursion():
    start, steps = np.array([0.3, -0.1]), [1, 5, 40]
    lines = by_label(plot_displacement(MODEL, steps, position=start))
    curve = lines["discrete theory"].get_ydata()
    np.testing.assert_allclose(curve, [brute_displacement(k, start) for k in steps], rtol=1e-9)
    assert set(lines) == {"discrete theory", "drift", "noise"}
    parts = lines["drift"].get_ydata() + lines["noise"].get_ydata()
    np.testing.assert_allclose(parts, curve, rtol=1e-12)


def test_measured_points_have_intervals_of_95_percent_and_the_line_passes_between_them():
    axes = plot_displacement(MODEL, [2, 200], [0.1, 0.2], [0.01, 0.03], position=0.0)
    (bars,) = axes.containers
    assert np.array_equal(bars.lines[0].get_xydata(), [[2, 0.1], [200, 0.2]])
    lengths = [s[1, 1] - s[0, 1] for s in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(lengths, [2 * 1.959964 * 0.01, 2 * 1.959964 * 0.03], rtol=1e-5)
    grid = axes.lines[0].get_xdata()
    assert {2, 200} < set(grid)
    assert len(grid) > 50


def test_an_exponent_is_a_difference_of_logarithms():
    steps = np.array([5, 30])
    axes = plot_exponent({"mine": MODEL, "other": CONTINUOUS}, steps, position=0.1)
    ends = [[brute_displacement(k + d, [0.1, 0.1]) for k in steps] for d in (-1, 1)]
    slopes = np.log(np.divide(*ends[::-1])) / np.log((steps + 1) / (steps - 1))
    np.testing.assert_allclose(by_label(axes)["mine"].get_ydata(), slopes, rtol=1e-8)


def test_crossovers_are_named_where_they_are():
    model = sgd.Predictor(
        sgd.Hyperparameters(0.1, 0.9, 10, dataset_size=5000),
        sgd.Spectrum([1e-3]),
        sampling="epochs",
    )
    axes = plot_displacement(model)
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    # (1 + β)/(1 − β) updates, and N/S of them in an epoch.
    assert places["velocity forgotten"] == pytest.approx(19)
    assert places["epoch"] == 500


def test_neighbours_share_a_name():
    assert names_without_crowding({"b": 12.0, "a": 10.0, "c": 100.0}) == [
        (10.0, "a, b"),
        (100.0, "c"),
    ]


# -- regimes -----------------------------------------------------------------------------------


def regime_by_hand(roots):
    if np.abs(roots).max() >= 1:
        return "unstable"
    if np.abs(roots.imag).max() > 0:
        return "underdamped"
    return "alternating" if roots.real.min() < 0 else "overdamped"


@pytest.mark.parametrize("nesterov", [False, True], ids=["heavy ball", "Nesterov"])
def test_regions_are_those_of_the_eigenvalues_at_random_points(nesterov):
    rule = sgd.nesterov() if nesterov else sgd.heavy_ball()
    h = 3.0
    axes = plot_regimes(rule, curvature=h)
    names = {to_rgba(face, 0.3): name for name, (face, _) in REGIMES.items()}
    regions = {}
    for one in axes.collections:
        if isinstance(one, QuadContourSet) and one.filled:
            regions[names.get(tuple(one.get_facecolor()[0]), "unstable")] = one.get_paths()[0]
    assert set(regions) == {"overdamped", "underdamped", "alternating", "unstable"}
    rng = np.random.default_rng(3)
    low, high = axes.get_xlim()
    met = set()
    for _ in range(400):
        rate, momentum = np.exp(rng.uniform(*np.log([low, high]))), rng.uniform(0.01, 0.99)
        found = {
            regime_by_hand(np.linalg.eigvals(update(rate * a, momentum + b, h, nesterov)[0]))
            for a in (0.97, 1, 1.03)
            for b in (-0.005, 0, 0.005)
        }
        if len(found) > 1:
            continue  # nearer to a border than cells are wide
        expected = found.pop()
        inside = {name for name, path in regions.items() if path.contains_point((rate, momentum))}
        assert inside == {expected}, (rate, momentum)
        met.add(expected)
    assert met == set(regions)


def test_the_limit_of_stability_and_the_critical_line_are_where_the_eigenvalues_say():
    axes = plot_regimes(sgd.heavy_ball(), curvature=1.0)
    lines = [c for c in axes.collections if isinstance(c, QuadContourSet) and not c.filled]
    critical, limit = (np.concatenate([p.vertices for p in c.get_paths()]) for c in lines)
    for rate, momentum in limit[::20]:
        radius = np.abs(np.linalg.eigvals(update(rate, momentum, 1.0)[0])).max()
        assert radius == pytest.approx(1, abs=2e-3)
    for rate, momentum in critical[::20]:
        roots = np.linalg.eigvals(update(rate, momentum, 1.0)[0])
        # A double root moves as the square root of what is off.
        assert abs(roots[0] - roots[1]) ** 2 < 2e-3 * max(1, rate)


def test_a_setting_and_its_spectrum_are_marked():
    spectrum = sgd.Spectrum.from_hessian_eigenvalues([4.0, 1.0, 0.0, -1.0], negative="drift")
    lines = by_label(plot_regimes(hyperparameters=HYPER, spectrum=spectrum))
    at = lines["the spectrum's directions"].get_xydata()
    # At the learning rates where the curvature 4 has their ηh.
    np.testing.assert_allclose(at, [[0.1, 0.9], [0.025, 0.9]])
    (star,) = (line for name, line in lines.items() if name.startswith("setting"))
    assert star.get_xydata().tolist() == [[0.1, 0.9]]


def test_a_rule_whose_damping_depends_on_more_than_the_step_has_no_map_of_a_spectrum():
    s = sgd.symbols
    odd = sgd.UpdateRule(s.beta * s.v - s.eta * s.g, s.theta + s.eta * s.v_next, name="odd")
    plot_regimes(odd, curvature=1.0)
    with pytest.raises(ValueError, match="odd: how it damps depends on the learning rate"):
        plot_regimes(odd, hyperparameters=HYPER, spectrum=sgd.Spectrum([1.0]))


# -- panels ------------------------------------------------------------------------------------


def test_panels_are_brute_force_at_every_setting():
    vary = {"learning_rate": [0.05, 0.2], "momentum": [0.0, 0.5]}
    panels = plot_hyperparameter_panels(MODEL, vary, "stationary_variance")
    for panel, (name, values) in zip(panels, vary.items(), strict=True):
        x, y = by_label(panel)["discrete theory"].get_data()
        for value in values:
            own = {name.removeprefix("learning_"): value}
            brute = sum(settled(h, v, **own)[0, 0] for h, v in zip(RHO, SIGMA, strict=True))
            assert y[x == value] == pytest.approx(brute, rel=1e-9)
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert (panels[0].get_xscale(), panels[1].get_xscale()) == ("log", "linear")


def test_a_line_has_a_gap_where_nothing_is_stationary():
    (panel,) = plot_hyperparameter_panels(MODEL, {"learning_rate": [0.1, 10.0]})
    x, y = by_label(panel)["discrete theory"].get_data()
    # 2(1 + β)/h of the steepest direction
    assert np.array_equal(np.isnan(y), x >= 3.8)
    with pytest.raises(sgd.UnstableError):
        plot_hyperparameter_panels(MODEL, {"learning_rate": [5.0, 10.0]})


def test_measured_panels_show_their_points():
    panels = plot_hyperparameter_panels(
        MODEL,
        {"batch_size": [1, 2], "momentum": [0.0, 0.5]},
        "displacement",
        steps=10,
        measured={"momentum": [1.0, 2.0]},
        errors={"momentum": [0.1, 0.1]},
    )
    assert [len(panel.containers) for panel in panels] == [0, 1]
    assert np.array_equal(panels[1].containers[0].lines[0].get_xydata(), [[0.0, 1.0], [0.5, 2.0]])


# -- every picture -----------------------------------------------------------------------------

STATES = np.random.default_rng(4).normal(size=(500, 2)) * 0.1
PICTURES = {
    "portrait": lambda **on: plot_phase_portrait(MODEL, trajectory=STATES[:9], cloud=STATES, **on),
    "loss": lambda **on: plot_modified_loss(MODEL, measured=STATES[:, 0], **on),
    "losses": lambda **on: plot_modified_loss(MODEL, (0, 1), measured=STATES, **on),
    "displacement": lambda **on: plot_displacement(
        MODEL, [1, 10, 100], [0.1, 0.2, 0.3], [0.01] * 3, position=0.1, **on
    ),
    "exponent": lambda **on: plot_exponent({"a": MODEL, "b": CONTINUOUS}, **on),
    "regimes": lambda **on: plot_regimes(hyperparameters=HYPER, spectrum=MODEL.spectrum, **on),
    "panels": lambda **on: plot_hyperparameter_panels(
        {"a": MODEL, "b": CONTINUOUS}, measured={"momentum": [0.1] * 4}, **on
    ),
    "spectrum": lambda **on: plot_spectrum(MODEL.spectrum, label="mine", **on),
}


def texts_of(figure):
    """Boxes of all that is written outside the areas of the axes, or names something in them."""
    for axes in figure.axes:
        for side in (axes, *axes.child_axes):
            for axis in (side.xaxis, side.yaxis):
                yield axis.label
                low, high = sorted(axis.get_view_interval())
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                    if low <= tick.get_loc() <= high:
                        yield from (tick.label1, tick.label2)
        yield from axes.texts
        if axes.get_legend() and axes.get_legend().get_bbox_to_anchor().y0 >= axes.bbox.y1:
            yield axes.get_legend()


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_renders_and_no_text_lies_on_another(name, tmp_path):
    axes = np.ravel(PICTURES[name]())
    figure = axes[0].figure
    for kind in ("png", "svg"):
        figure.savefig(tmp_path / f"picture.{kind}")
        assert (tmp_path / f"picture.{kind}").stat().st_size < 1e6
    figure.canvas.draw()
    boxes = [
        (text, text.get_window_extent())
        for text in texts_of(figure)
        if text.get_visible() and (not hasattr(text, "get_text") or text.get_text())
    ]
    page = figure.bbox.padded(1)
    boxes = [(t, b) for t, b in boxes if b.width and page.overlaps(b)]
    for (one, box), (two, other) in combinations(boxes, 2):
        shared = Bbox.intersection(box.padded(-1), other.padded(-1))
        assert shared is None or shared.width * shared.height == 0, (one, two)
    for text, box in boxes:
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1, text
    for one in axes:
        assert one.get_xlabel()
    assert axes[0].get_ylabel()


@pytest.mark.parametrize("name", PICTURES)
def test_lines_are_told_apart_without_colour(name):
    for axes in np.ravel(PICTURES[name]()):
        styles = [
            (line.get_linestyle(), line._dash_pattern, line.get_marker(), line.get_linewidth() > 2)
            for line in by_label(axes).values()
        ]
        assert len(set(map(str, styles))) == len(styles)


def test_seven_lines_differ_in_their_dashes_and_more_are_refused():
    models = {str(i): MODEL for i in range(7)}
    axes = plot_displacement(models, [1, 2])
    assert len({str(line._unscaled_dash_pattern) for line in axes.lines}) == 7
    with pytest.raises(ValueError, match="Give 1 to 7"):
        plot_displacement(models | {"8": MODEL}, [1, 2])


@pytest.mark.parametrize("name", PICTURES)
def test_axes_that_are_given_are_drawn_in_and_come_back(name):
    before = dict(matplotlib.rcParams)
    figure, mine = plt.subplots(1, 3 if name == "panels" else 1)
    on = {"axes": mine} if name == "panels" else {"ax": mine}
    back = PICTURES[name](**on)
    assert np.all(np.ravel(back) == np.ravel(mine))
    assert plt.get_fignums() == [figure.number]
    assert dict(matplotlib.rcParams) == before


def test_tensors_are_drawn_as_arrays_are():
    torch = pytest.importorskip("torch")
    rho, rate = torch.tensor([1.0, 0.2]), torch.tensor(0.1, requires_grad=True)
    spectrum = sgd.Spectrum(rho, noise_variances=torch.tensor([2.0, 0.5]))
    model = sgd.Predictor(sgd.Hyperparameters(rate, 0.9, 8), spectrum)
    measured = torch.tensor([0.1, 0.2], requires_grad=True)
    steps = torch.tensor([1, 10])
    pairs = [
        (plot_displacement(m, steps, measured, 0.1 * measured) for m in (model, MODEL)),
        (plot_phase_portrait(m, trajectory=measured[None]) for m in (model, MODEL)),
        (plot_modified_loss(m, 1) for m in (model, MODEL)),
        (
            plot_regimes(hyperparameters=m.hyperparameters, spectrum=m.spectrum)
            for m in (model, MODEL)
        ),
        (plot_hyperparameter_panels(m, {"momentum": [0.0, 0.5]})[0] for m in (model, MODEL)),
    ]
    for pair in pairs:
        one, other = pair
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_allclose(a.get_xydata(), b.get_xydata(), rtol=1e-5, atol=1e-6)


REFUSED = {
    "give a Predictor": lambda: plot_displacement([1.0]),
    "steps = None": lambda: plot_displacement(MODEL, measured=[1.0]),
    r"measured has shape \(1,\)": lambda: plot_displacement(MODEL, [1, 2], [1.0]),
    "errors has -1": lambda: plot_displacement(MODEL, [1], [1.0], [-1.0]),
    "without measured values": lambda: plot_exponent(MODEL, [1], errors=[1.0]),
    "displacement is 0 at all steps": lambda: plot_displacement(
        sgd.Predictor(HYPER, sgd.Spectrum([1.0], 0.0)), [1, 2]
    ),
    "learning_rate has shape": lambda: plot_displacement(
        sgd.Predictor(sgd.Hyperparameters(np.array([0.1, 0.2])), sgd.Spectrum([1.0]))
    ),
    "direction = 2": lambda: plot_phase_portrait(MODEL, 2),
    "directions = \\(0, 0\\)": lambda: plot_modified_loss(MODEL, (0, 0)),
    "no area in phase space": lambda: plot_phase_portrait(
        sgd.Predictor(HYPER, sgd.Spectrum([1.0], 0.0))
    ),
    "last axis must hold the 2": lambda: plot_phase_portrait(MODEL, trajectory=np.ones((3, 3))),
    "a plane needs 2, and numbers": lambda: plot_phase_portrait(
        sgd.ornstein_uhlenbeck(sgd.modified_equation(sgd.heavy_ball()))
    ),
    "its .modes": lambda: plot_phase_portrait("text"),
    "no 10 share": lambda: plot_modified_loss(MODEL, measured=[0.1, 0.2]),
    "spectrum without hyperparameters": lambda: plot_regimes(spectrum=MODEL.spectrum),
    "curvature = -1": lambda: plot_regimes(curvature=-1),
    "quantity = 'size'": lambda: plot_hyperparameter_panels(MODEL, quantity="size"),
    "steps = None:": lambda: plot_hyperparameter_panels(MODEL, quantity="displacement"),
    "is of the stationary state": lambda: plot_hyperparameter_panels(MODEL, steps=3),
    "give values by name": lambda: plot_hyperparameter_panels(MODEL, {"rate": [1, 2]}),
    "two different values": lambda: plot_hyperparameter_panels(MODEL, {"momentum": [0.5]}),
    "by the names in vary": lambda: plot_hyperparameter_panels(
        MODEL, {"momentum": [0, 0.5]}, measured={"batch_size": [1.0]}
    ),
    "give 1 matplotlib Axes": lambda: plot_hyperparameter_panels(
        MODEL, {"momentum": [0, 0.5]}, axes=[1]
    ),
    "ax = 1: give one": lambda: plot_displacement(MODEL, [1], ax=1),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_wrong_is_named(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


@pytest.mark.parametrize("name", PICTURES)
def test_without_matplotlib_every_picture_says_what_to_install(name, monkeypatch):
    kept = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return kept(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"sgdtheory\[plot\]"):
        PICTURES[name]()
