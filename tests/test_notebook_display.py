"""In a notebook: every public record shows itself, its markup parses, and users' words are none."""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.notebook_display import Table, described

METHODS = ("_repr_latex_", "_repr_markdown_", "_repr_html_")
HOSTILE = "<script>alert('θ & v')</script>"


def run():
    return sgd.Hyperparameters(0.1, momentum=0.9, batch_size=8, dataset_size=64)


def records():
    """One of every public record."""
    rule = sgd.UpdateRule(s.beta * s.v - s.g, s.theta + s.eta * s.v_next, name=HOSTILE)
    ou = sgd.ornstein_uhlenbeck(sgd.modified_equation(rule))
    spectrum = sgd.Spectrum(np.linspace(0.1, 1.0, 30))
    model = sgd.Predictor(run(), spectrum, rule=rule)
    landscape = sgd.Landscape(np.diag([2.0, 1.0]), np.ones((2, 2)))
    steps = np.arange(10, 1001)
    scan = sgd.scan_windows(steps, model.displacement(steps), model=model)
    rng = np.random.default_rng(0)
    path = rng.standard_normal((400, 2)).cumsum(0) * 0.9 ** np.arange(400)[:, None]
    measured = sgd.Spectrum.from_hessian_eigenvalues([1.0, -0.1], negative="drop")
    quadrature = sgd.LanczosQuadrature([[0.0, 2.0]], [[0.5, 0.5]], 10)
    tail = sgd.PowerLawTail(0.5, 1e-4, 1.0, directions=100, noise_scale=1.0)
    curve = sgd.Predictor(run(), tail.spectrum()).displacement(steps)
    data = rng.standard_normal((12, 2)), rng.standard_normal(12)
    derivation = ou.derivation
    laws = sgd.scaling_laws(rule)
    return [
        sgd.advise(run(), spectrum, rule=rule, steps=100),
        sgd.discrete_over_continuous(rule),
        sgd.calibrate(path, sgd.Hyperparameters(0.1)),
        spectrum.compress(),
        model.crossovers(),
        sgd.Predictor(run(), landscape, rule=rule),
        derivation,
        sgd.DirectionPair(sgd.recursion(rule, noise=s.Sigma, curvature=s.h)),
        model.displacement_parts([1, 10]),
        scan.fits[0],
        sgd.FiniteDataset(*data),
        sgd.recursion(rule, sampling="fixed_order"),
        sgd.fluctuation_dissipation_relations(rule),
        sgd.GaussianInputs([1.0, 0.5], 1.0),
        sgd.white(rule),
        run(),
        quadrature.estimate(lambda rho: rho),
        quadrature,
        landscape,
        sgd.modified_equation(rule),
        sgd.recursion(rule),
        sgd.LinearRegressionEnsemble(*data, replicas=3),
        sgd.lower(s.eta / s.S, (s.eta, s.S)),
        measured.negative_tails[0],
        ou,
        tail,
        model,
        sgd.fokker_planck(ou),
        sgd.QuadraticEnsemble([1.0, 2.0], data[0], replicas=3),
        sgd.recursion(rule, sampling="epochs"),
        sgd.recursion(rule, sampling="epochs").sampling,
        laws.laws[0],
        laws,
        sgd.sensitivities(model, "displacement", [1, 10]),
        sgd.SettingsRange(rule=rule),
        sgd.slow_direction(rule),
        sgd.slow_manifold(rule),
        sgd.power_law(0.5, 1e-3, 1.0, directions=10),
        measured,
        derivation[0],
        sgd.fit_spectrum_tail(steps, curve, run(), directions=100, smallest=1e-4),
        rule,
        scan,
    ]


@pytest.fixture(scope="module")
def every_record():
    return records()


def test_every_public_record_is_tried(every_record):
    public = {
        name
        for name in sgd.__all__
        if inspect.isclass(getattr(sgd, name)) and not issubclass(getattr(sgd, name), Exception)
    }
    assert {type(record).__name__ for record in every_record} == public


def test_every_record_shows_itself_and_no_word_of_a_user_is_markup(every_record):
    for record in every_record:
        shown = {name: getattr(record, name)() for name in METHODS if hasattr(record, name)}
        assert shown, type(record).__name__
        for name, text in shown.items():
            assert text, type(record).__name__
            assert "<script>" not in text, (type(record).__name__, name)
        if "_repr_html_" in shown:
            # Well-formed even as XML: every element closed, every cell escaped.
            root = ElementTree.fromstring(f"<div>{shown['_repr_html_']}</div>")
            assert {element.tag for element in root} == {"table"}
            for table in root:
                widths = {len(row) for row in table.iter("tr")}
                assert len(widths) == 1, type(record).__name__
        if "_repr_latex_" in shown:
            text = shown["_repr_latex_"]
            assert text.startswith("$")
            assert text.endswith("$")
            assert text.count("{") == text.count("}")


def cells(html):
    root = ElementTree.fromstring(f"<div>{html}</div>")
    return [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]


def test_a_predictors_table_has_its_numbers():
    spectrum = sgd.Spectrum([0.5, 2.0, 1.0])
    model = sgd.Predictor(run(), spectrum, sampling="epochs")
    rows = cells(model._repr_html_())
    assert ["batch size", "8"] in rows
    assert ["sampling", "epochs"] in rows
    variances = model.stationary_covariance()[:, 0, 0]
    for i in (1, 2, 0):
        expected = [f"{spectrum.eigenvalues[i]:.4g}"] * 2
        expected += [model.regime[i], f"{model.relaxation_steps[i]:.4g}", f"{variances[i]:.4g}"]
        assert expected in rows
    assert str(model.tables()[1]).splitlines()[1].startswith("  ρ")


def test_predictors_that_do_not_settle_or_sweep_or_carry_gradients_show_themselves_too():
    torch = pytest.importorskip("torch")
    unstable = sgd.Predictor(sgd.Hyperparameters(10.0), sgd.Spectrum([1.0]))
    assert cells(unstable._repr_html_())[-1][-1] == "–"
    sweep = sgd.Predictor(sgd.Hyperparameters.grid([0.1, 0.2]), sgd.Spectrum([1.0]))
    assert ["learning rate", "0.1, 0.2"] in cells(sweep._repr_html_())
    rho = torch.linspace(0.1, 1.0, 50, requires_grad=True)
    tensors = sgd.Predictor(sgd.Hyperparameters(0.1), sgd.Spectrum(rho))
    assert "8 of 50 directions" in tensors._repr_html_()


def test_what_a_user_wrote_is_shown_and_not_run():
    rule = sgd.UpdateRule(-s.g, s.theta + s.eta * s.v_next, name=HOSTILE)
    model = sgd.Predictor(sgd.Hyperparameters(0.1), sgd.Spectrum([1.0]), rule=rule)
    assert "&lt;script&gt;" in model._repr_html_()
    assert "&lt;script&gt;" in rule.derivation._repr_markdown_()
    assert HOSTILE in str(rule.derivation)
    assert HOSTILE in str(model.tables()[0])


def test_a_cell():
    assert described(np.zeros((2, 3))) == "2 × 3 numbers, 0 to 0"
    assert described((1, 2.5)) == "1, 2.5"
    assert described({}) == "–"
    assert described(sgd.heavy_ball()) == "heavy ball"
    assert str(Table("empty", ())) == "empty"
