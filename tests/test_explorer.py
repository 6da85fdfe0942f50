"""The explorer: its JavaScript against brute force and the Predictor, and the page in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from shutil import which

import numpy as np
import oracles
import pytest
from scipy.linalg import solve_continuous_lyapunov
from sympy import Interval

import sgdtheory as sgd
from sgdtheory.__main__ import main
from sgdtheory.explorer.functions import explorer_functions
from sgdtheory.explorer.page import generated_script

s = sgd.symbols
needs_node = pytest.mark.skipif(which("node") is None, reason="node is not installed")
SOURCES = Path(sgd.__file__).parent / "explorer"
DRIVER = """
const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const found = asked.map(([code, ...given]) => CALLS[code](...given));
console.log(JSON.stringify(found, (_, x) => (typeof x === "number" ? String(x) : x)));
"""
CALLS = """
const CALLS = {
    theory: (group, name, values) => theory[group][name](...values),
    regime: (set) => regime(set, set.rho),
    relaxation: (set) => relaxation(set, set.rho),
    spectrum: (set) => SPECTRA[set.kind](set),
    numbers: (text) => {
        try { return readNumbers(text); } catch (error) { return error.message; }
    },
    curve: (set, ks) => ks.map((k) => [
        displacement(set, SPECTRA[set.kind](set), k), exponent(set, SPECTRA[set.kind](set), k)]),
};
"""


def numeric(value):
    if isinstance(value, list):
        return [numeric(x) for x in value]
    if isinstance(value, dict):
        return {key: numeric(x) for key, x in value.items()}
    try:
        return float(value)
    except ValueError:
        return value


@cache
def script():
    """What the page computes with: everything that needs no document."""
    parts = [(SOURCES / name).read_text() for name in ("spectra.js", "predictions.js")]
    return "\n".join([generated_script(), *parts, CALLS, DRIVER])


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "driver.cjs"
    path.write_text(script())

    def run(*calls):
        done = subprocess.run(
            ["node", path], input=json.dumps(calls), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return numeric(json.loads(done.stdout))

    return run


# -- one direction ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    eta: float
    beta: float
    S: int
    lamda: float
    N: int
    rho: float

    def at(self, k):
        return [k, self.rho, self.eta, self.beta, self.S, self.lamda, self.N, self.N // self.S]

    def js(self, theory="discrete", sampler="with_replacement", kind="single"):
        return vars(self) | {"theory": theory, "sampler": sampler, "kind": kind}

    @property
    def h(self):
        return self.rho + self.lamda

    @property
    def law(self):
        return oracles.linear_law(oracles.heavy_ball, self.h, eta=self.eta, beta=self.beta)

    @property
    def exact_law(self):
        eta, beta, h = map(Fraction, (self.eta, self.beta, self.h))
        return oracles.linear_law(oracles.heavy_ball, h, eta=eta, beta=beta)

    def predictor(self, **choice):
        hyper = sgd.Hyperparameters(self.eta, self.beta, self.S, self.lamda, self.N)
        return sgd.Predictor(hyper, sgd.Spectrum([self.rho]), **choice)


SETTINGS = [
    Setting(0.1, 0.9, 8, 0.0, 80, 1.0),
    Setting(0.5, 0.3, 4, 0.02, 31, 0.3),
    Setting(1.6, 0.1, 3, 0.1, 12, 1.0),
    Setting(0.05, 0.6, 10, 1e-3, 90, 1e-3),
]
STEPS = (1, 2, 3, 7, 19, 64)
SAMPLERS = ("with_replacement", "epochs", "fixed_order")


def lagged_by_hand(setting, sampler, lags):
    """E[x(k) x(0)ᵀ] per lag, by iteration of the update and sums over its batches."""
    M, n = setting.exact_law
    noise = Fraction(setting.rho)
    if sampler == "with_replacement":
        P = oracles.stationary_recursion(M, oracles.outer(n, noise / setting.S))
        return {lag: np.array(oracles.times(oracles.power(M, lag), P)) for lag in lags}
    by_hand = {
        "epochs": oracles.reshuffled_stationary,
        "fixed_order": oracles.fixed_order_stationary,
    }[sampler]
    found = by_hand(M, n, lags, setting.S, setting.N)
    return {lag: noise * np.array(value) for lag, value in found.items()}


@needs_node
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_discrete_moments_by_iteration(ask, setting, sampler):
    lags = sorted({0, *STEPS, *(k + 2 for k in STEPS)})
    lagged = lagged_by_hand(setting, sampler, lags)
    # Differences of exact numbers, so that nothing cancels.
    moved = {lag: float(2 * (lagged[0] - lagged[lag])[0, 0]) for lag in lags}
    turned = float((lagged[1] - lagged[1].T)[0, 1] / 2)
    group = f"discrete_{sampler}"
    calls = [("theory", group, "displacement", setting.at(k)) for k in STEPS]
    calls += [("theory", group, "growth", setting.at(k)) for k in STEPS]
    calls += [("theory", group, name, setting.at(0)) for name in ("covariance", "circulation")]
    *found, covariance, circulation = ask(*calls)
    levels, growths = found[: len(STEPS)], np.array(found[len(STEPS) :])[:, 0]
    scale = float(lagged[0][0, 0])
    assert np.allclose(levels, [moved[k] for k in STEPS], rtol=1e-9, atol=1e-12 * scale)
    assert np.allclose(growths[:, 0], levels, rtol=1e-12, atol=1e-14 * scale)
    gained = [float(2 * (lagged[k] - lagged[k + 2])[0, 0]) for k in STEPS]
    assert np.allclose(growths[:, 1], gained, rtol=1e-8, atol=1e-12 * scale)
    assert np.allclose(covariance, lagged[0].astype(float), rtol=1e-9, atol=1e-12)
    assert np.isclose(circulation, turned, rtol=1e-8)


def published_law(setting):
    """A and the noise per time of the published Langevin equation."""
    mass, friction = oracles.PUBLISHED["heavy_ball"](setting.h, setting.eta, setting.beta)
    intensity = setting.eta * setting.rho / setting.S
    return [
        np.array(x, dtype=float) for x in oracles.langevin_law(mass, friction, setting.h, intensity)
    ]


@needs_node
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_continuous_moments_by_integration(ask, setting):
    A, noise = published_law(setting)
    B = solve_continuous_lyapunov(A, noise)
    times = [setting.eta * k for k in (*STEPS, *(k + 2 for k in STEPS))]
    flows = [
        np.array(oracles.flow(tuple(map(tuple, A)), tuple(map(tuple, noise)), time)[0], dtype=float)
        for time in times
    ]
    moved = np.array([2 * (B - F @ B)[0, 0] for F in flows])
    group = "continuous_with_replacement"
    calls = [("theory", group, "growth", setting.at(k)) for k in STEPS]
    calls += [("theory", group, name, setting.at(0)) for name in ("covariance", "circulation")]
    calls += [("theory", group, "displacement", setting.at(k)) for k in STEPS]
    found = ask(*calls)
    growths, levels = np.array(found[: len(STEPS)])[:, 0], found[-len(STEPS) :]
    covariance, circulation = found[len(STEPS) : len(STEPS) + 2]
    now, later = moved[: len(STEPS)], moved[len(STEPS) :]
    assert np.allclose(levels, now, rtol=1e-9, atol=1e-12 * B[0, 0])
    assert np.allclose(growths[:, 0], now, rtol=1e-9, atol=1e-12 * B[0, 0])
    assert np.allclose(growths[:, 1], later - now, rtol=1e-8, atol=1e-12 * B[0, 0])
    assert np.allclose(covariance, B, rtol=1e-10, atol=1e-14)
    turned = setting.eta * (B @ A.T - A @ B) / 2
    assert np.isclose(circulation, turned[0, 1], rtol=1e-10)


@needs_node
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_mean_by_iteration_and_integration(ask, setting):
    start = np.array([0.7, -0.2])
    found = {
        theory: ask(*(("theory", theory, "mean", [*setting.at(k), *start]) for k in STEPS))
        for theory in ("discrete", "continuous")
    }
    M, _ = setting.law
    A, noise = (tuple(map(tuple, X)) for X in published_law(setting))
    for i, k in enumerate(STEPS):
        flow = np.array(oracles.flow(A, noise, setting.eta * k)[0], dtype=float)
        assert np.allclose(np.ravel(found["continuous"][i]), flow @ start, atol=1e-11)
        iterated = np.linalg.matrix_power(np.array(M), k) @ start
        assert np.allclose(np.ravel(found["discrete"][i]), iterated, atol=1e-11)


@needs_node
def test_the_current_is_that_of_the_fokker_planck_equation(ask):
    setting, points = SETTINGS[0], np.random.default_rng(2).normal(size=(30, 2)) * [0.1, 0.3]
    model = sgd.ornstein_uhlenbeck(sgd.modified_equation(sgd.heavy_ball()))
    flow = sgd.fokker_planck(model)
    values = {s.rho: setting.rho, s.eta: setting.eta, s.beta: setting.beta, s.S: setting.S}
    current = sgd.lower(
        flow.current.subs(values | {s.lamda: setting.lamda, s.sigma2: 1}), (s.theta, s.v)
    )
    group = "continuous_with_replacement"
    B, turned = ask(*(("theory", group, n, setting.at(0)) for n in ("covariance", "circulation")))
    shape = [B[0][0], B[0][1], B[1][1], turned]
    found = ask(*(("theory", "picture", "current", [*point, *shape]) for point in points))
    expected = setting.eta * current(*points.T)
    assert np.allclose(found, expected, rtol=1e-10, atol=1e-14 * np.abs(expected).max())


@needs_node
def test_discrete_currents_turn_as_simulated_updates_do(ask):
    """½ E[x_{k+1} − x_{k−1} | x_k] by regression on a long run."""
    setting = SETTINGS[1]
    M, n = (np.array(x) for x in setting.law)
    rng, x, path = np.random.default_rng(5), np.zeros((400, 2)), []
    for _ in range(2000):
        x = x @ M.T + rng.normal(size=(400, 1)) * n * np.sqrt(setting.rho / setting.S)
        path.append(x)
    past, now, ahead = map(np.concatenate, (path[200:-2], path[201:-1], path[202:]))
    velocity = np.linalg.lstsq(now, (ahead - past) / 2, rcond=None)[0].T
    group = "discrete_with_replacement"
    B, turned = ask(*(("theory", group, n, setting.at(0)) for n in ("covariance", "circulation")))
    point = np.array([0.1, -0.2])
    density = np.exp(-point @ np.linalg.solve(B, point) / 2) / np.sqrt(
        (2 * np.pi) ** 2 * np.linalg.det(B)
    )
    shape = [B[0][0], B[0][1], B[1][1], turned]
    (found,) = ask(("theory", "picture", "current", [*point, *shape]))
    assert np.allclose(np.ravel(found), velocity @ point * density, rtol=0.02)


def random_settings(size):
    """Settings over many decades, and some at critical damping of either theory, to rounding.

    (1 + β − ηh)² = 4β; and γ = ω.
    """
    rng = np.random.default_rng(3)
    for i in range(size):
        beta = 1 - 10 ** rng.uniform(-4, 0)
        limit = 2 * (1 + beta)
        step = limit * 10 ** rng.uniform(-8, 0.2)
        if i % 5 == 0:
            step = (1 - np.sqrt(beta)) ** 2 if i % 2 else (1 - beta) ** 2 / limit
        if i % 7 == 0:
            step = limit * rng.uniform(0.5, 0.999)
        eta = 10 ** rng.uniform(-3, 0)
        yield Setting(eta, beta, 8, 0.0, 80, step / eta)


@needs_node
@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_regimes_and_relaxation_are_those_of_the_predictor(ask, theory):
    settings = list(random_settings(300))
    names = ask(*(("regime", one.js(theory)) for one in settings))
    steps = ask(*(("relaxation", one.js(theory)) for one in settings))
    models = [one.predictor(theory=theory) for one in settings]
    expected = [model.regime[0] for model in models]
    assert names == expected
    own = {"alternating"} if theory == "discrete" else set()
    assert set(names) == {"overdamped", "critical", "underdamped"} | own
    relaxed = np.array([float(model.relaxation_steps[0]) for model in models])
    # At critical damping the rates are known to the root of a rounding.
    tight = np.array(expected) != "critical"
    finite = np.isfinite(relaxed)
    assert np.array_equal(finite, np.isfinite(steps))
    assert np.allclose(np.array(steps)[finite & tight], relaxed[finite & tight], rtol=1e-6)


@needs_node
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_stability_limit_is_where_the_spectral_radius_is_one(ask, setting):
    (limit,) = ask(("theory", "step", "largest_rate", setting.at(0)))
    for rate, stable in ((0.999 * limit, True), (1.001 * limit, False)):
        M, _ = oracles.linear_law(oracles.heavy_ball, setting.h, eta=rate, beta=setting.beta)
        assert (oracles.spectral_radius(M) < 1) == stable
    (share,) = ask(("theory", "step", "share_of_limit", setting.at(0)))
    assert np.isclose(share, setting.eta / limit)
    assert sgd.recursion(sgd.heavy_ball()).stability == Interval.open(0, 2 * s.beta + 2)


@needs_node
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_numbers_beside_the_curves(ask, setting):
    names = ("updates_per_epoch", "velocity_memory", "thermal_energy")
    epoch, memory, energy = ask(*(("theory", "step", name, setting.at(0)) for name in names))
    assert epoch == setting.N // setting.S
    assert np.isclose(memory, (1 + setting.beta) / (1 - setting.beta))
    assert np.isclose(energy, 1 / (setting.S * (1 - setting.beta**2)))
    (warm,) = ask(("theory", "picture", "temperature", [setting.rho, setting.lamda, 0.5]))
    assert np.isclose(warm, 0.5 * setting.h)


# -- spectra --------------------------------------------------------------------------------------

PARAMETERS = {"tail": 0.5, "smallest": 1e-5, "largest": 2.0, "aspect": 0.9, "variance": 1.3}
PARAMETERS |= {"median": 0.01, "width": 1.5}
RUN = Setting(0.1, 0.9, 128, 0.0, 50000, 1.0)
CUT = np.exp(3 * 1.5)
DENSITIES = {
    "power_law": lambda: sgd.power_law(0.5, 1e-5, 2.0),
    "uniform": lambda: sgd.power_law(-1, 1e-5, 2.0),
    "marchenko_pastur": lambda: sgd.marchenko_pastur(0.9, 1.3),
    "log_normal": lambda: sgd.log_normal(0.01, 1.5, smallest=0.01 / CUT, largest=0.01 * CUT),
}
COUNTS = [1, 2, 5, 100, 10000, 1000000]


@needs_node
@pytest.mark.parametrize("kind", DENSITIES)
def test_few_directions_stand_for_a_density(ask, kind):
    (found,) = ask(("curve", RUN.js(kind=kind) | PARAMETERS, COUNTS))
    hyper = sgd.Hyperparameters(RUN.eta, RUN.beta, RUN.S)
    model = sgd.Predictor(hyper, sgd.Spectrum.from_density(DENSITIES[kind](), momentum=0.9))
    levels, slopes = np.array(found).T
    assert np.allclose(levels, model.displacement(COUNTS), rtol=0.01)
    assert np.allclose(slopes, model.exponent(COUNTS), atol=0.01)


@needs_node
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sums_over_directions_are_those_of_the_predictor(ask, sampler):
    set_ = RUN.js(sampler=sampler, kind="own") | {"own": "1 0.1, 0.01;0.001"}
    counts = [1, 2, 5, 100, 390, 1000]
    (found,) = ask(("curve", set_, counts))
    hyper = sgd.Hyperparameters(RUN.eta, RUN.beta, RUN.S, dataset_size=RUN.N)
    spectrum = sgd.Spectrum([1, 0.1, 0.01, 0.001], counts=np.full(4, 0.25))
    model = sgd.Predictor(hyper, spectrum, sampling=sampler)
    levels, slopes = np.array(found).T
    assert np.allclose(levels, model.displacement(counts), rtol=1e-10, atol=1e-16)
    # Where a repeated order is back at its start, nothing has moved, and there is no slope.
    moving = [i for i, k in enumerate(counts) if sampler != "fixed_order" or k != 390]
    expected = model.exponent([counts[i] for i in moving])
    assert np.allclose(slopes[moving], expected, rtol=1e-6, atol=1e-8)


READ = {
    "1, 2;3\n4e-3": [1, 2, 3, 0.004],
    "eigenvalues\n0.5\n0.25\n": [0.5, 0.25],
    "[1, 0.5]": [1, 0.5],
    '{"eigenvalues": [2, -1]}': [2, -1],
    "1, two": "“two” is not a finite number.",
    "1, 1e999": "“1e999” is not a finite number.",
    "[1, [2]]": "“2” is not a finite number.",
    "[1, null]": "“null” is not a finite number.",
    "[1,": "This begins as JSON and is none. Check its brackets.",
    '{"other": []}': "The JSON has no list of “eigenvalues”.",
    "alert(1)": "“alert(1)” is not a finite number.",
}


@needs_node
@pytest.mark.parametrize("text", READ)
def test_own_eigenvalues_are_read_as_numbers_or_refused(ask, text):
    assert ask(("numbers", text)) == [READ[text]]


@needs_node
def test_many_eigenvalues_are_gathered_and_keep_their_mean(ask):
    rho = 10 ** np.random.default_rng(1).uniform(-5, 0, 3000)
    (few,) = ask(("spectrum", RUN.js(kind="own") | {"own": " ".join(map(repr, rho.tolist()))}))
    weights, places = (np.array([one[name] for one in few]) for name in ("weight", "rho"))
    assert 120 < len(few) <= 360
    assert np.isclose(weights.sum(), 1)
    assert np.isclose(weights @ places, rho.mean())


# -- the page -------------------------------------------------------------------------------------

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def test_no_formula_is_typed_in_the_page():
    """Settings are handed to what is lowered, and never multiplied, divided or raised."""
    operation = r"(?:[*/+]|Math\.(?!abs|min|max)\w+\()"
    setting = r"\bset\.(?:eta|beta|S|lamda|N|rho)\b"
    for path in SOURCES.glob("*.js"):
        text = re.sub(r"//.*|/\*\*.*?\*/|`[^`]*`", "", path.read_text())
        assert not re.search(rf"{setting}\s*[*/+]|{operation}\s*{setting}", text), path.name


def test_the_page_holds_everything_and_allows_nothing_else():
    page = sgd.explorer_page()
    assert page.count("<script>") == page.count("</script>") == 1
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!#)|url\((?!#)|@import|https?://(?!www\.w3)""", page
    )
    assert "default-src 'none'; script-src 'sha256-" in page
    assert all(f.name in page for own in explorer_functions().values() for f in own.values())


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tyro")
    path = tmp_path / "here.html"
    monkeypatch.setattr(sys, "argv", ["sgdtheory", "explore", "--output", str(path)])
    main()
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_text(encoding="utf-8") == sgd.explorer_page()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="pip install 'sgdtheory[dev]'")
    if CHROMIUM is None:
        pytest.skip("no chromium found: install it, as apt-get install chromium does")
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return sgd.write_explorer(tmp_path_factory.mktemp("page") / "explorer.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """A function that opens the page; whatever it complains of, or asks for, fails the test."""
    complaints, contexts = [], []

    def open_page(settings="", **options):
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.split("#")[0] == address or complaints.append(asked.url),
        )
        page.goto(address + settings)
        page.wait_for_selector("html[data-settled]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def press(page, slider, key, times):
    page.focus(slider)
    page.evaluate("delete document.documentElement.dataset.settled")
    for _ in range(times):
        page.keyboard.press(key)
    page.wait_for_selector("html[data-settled]", state="attached")


def table(page):
    value = "Number(cell.querySelector('data')?.value ?? cell.textContent)"
    read = f"rows => rows.map(row => [...row.cells].map(cell => {value}))"
    return np.array(page.eval_on_selector_all("#rows tr", read)).T


def spectrum_of(page):
    listed = json.loads(page.get_attribute("#data", "data-spectrum"))
    rho, weights = (np.array([one[name] for one in listed]) for name in ("rho", "weight"))
    return sgd.Spectrum(rho, counts=weights)


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_a_slider_moved_by_keyboard_shows_what_the_predictor_says(opened, theory):
    page = opened(f"#theory={theory}")
    before = table(page)
    press(page, "#beta-slider", "ArrowRight", 5)
    press(page, "#eta-slider", "ArrowLeft", 10)
    eta, beta = (float(page.input_value(name)) for name in ("#eta", "#beta"))
    assert eta < 0.1
    assert beta > 0.9
    steps, levels, slopes = table(page)
    assert not np.allclose(levels, before[1])
    hyper = sgd.Hyperparameters(eta, beta, 128)
    model = sgd.Predictor(hyper, spectrum_of(page), theory=theory)
    assert np.allclose(levels, model.displacement(steps), rtol=1e-9)
    assert np.allclose(slopes, model.exponent(steps), rtol=1e-6, atol=1e-8)
    one = sgd.Predictor(hyper, sgd.Spectrum([1.0]), theory=theory)
    shown = {
        name: page.get_attribute(f"#number-{name}", "data-value")
        for name in ("regime", "relaxation", "temperature", "first")
    }
    assert shown["regime"] == one.regime[0]
    assert np.isclose(float(shown["relaxation"]), one.relaxation_steps[0])
    assert np.isclose(float(shown["temperature"]), one.effective_temperature[0])
    assert np.isclose(float(shown["first"]), model.displacement(1))
    assert f"eta={eta}" in page.url
    assert one.regime[0] in page.inner_text("#summary")


def test_a_link_reproduces_a_view_and_reset_forgets_it(opened):
    link = "#sampler=epochs&kind=own&own=0.5+0.05&N=1000&S=10&lamda=0.001&beta=nonsense"
    page = opened(link)
    steps, levels, _ = table(page)
    hyper = sgd.Hyperparameters(0.1, 0.9, 10, 0.001, dataset_size=1000)
    spectrum = sgd.Spectrum([0.5, 0.05], counts=[0.5, 0.5])
    model = sgd.Predictor(hyper, spectrum, sampling="epochs")
    assert np.allclose(levels, model.displacement(steps), rtol=1e-9)
    assert page.inner_text("#own-note") == "2 eigenvalues."
    page.evaluate("delete document.documentElement.dataset.settled")
    page.click("text=Reset everything")
    page.wait_for_selector("html[data-settled]", state="attached")
    assert page.url.endswith("#")
    assert page.input_value("#sampler") == "with_replacement"


def test_own_eigenvalues_from_a_file(opened, tmp_path):
    page = opened("#kind=own")
    path = tmp_path / "mine.csv"
    path.write_text("eigenvalues\n2.0\n0.02\n-0.1\n")
    page.evaluate("delete document.documentElement.dataset.settled")
    page.set_input_files("#own-file", path)
    page.wait_for_selector("html[data-settled]", state="attached")
    assert page.inner_text("#own-note") == "3 eigenvalues. 1 are not above 0 and left out."
    assert sorted(spectrum_of(page).eigenvalues) == [0.02, 2.0]
    page.fill("#own", "1, <img src=x>")
    assert "is not a finite number" in page.inner_text("#own-note")


def test_beyond_stability_the_page_says_what_to_do(opened):
    page = opened("#eta=5")
    assert "No stationary state" in page.inner_text("#summary")
    assert page.inner_text("#number-regime") == "unstable"
    assert table(page).size == 0


def test_every_input_has_a_label_and_can_be_reached(opened):
    page = opened()
    unnamed = "inputs => inputs.filter(one => !one.labels.length && !one.ariaLabel).length"
    assert page.eval_on_selector_all("input, select, textarea", unnamed) == 0
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id"))
    assert {"eta", "eta-slider", "beta-slider", "theory", "sampler", "kind", "rho-slider"} <= seen


SCREENS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "has_touch": True},
}


@pytest.mark.parametrize("screen", SCREENS)
def test_pictures_on_every_screen(opened, tmp_path, screen):
    image = pytest.importorskip("PIL.Image")
    page = opened(**SCREENS[screen])
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= SCREENS[screen].get("viewport", {"width": 1280})["width"]
    corner = page.evaluate("getComputedStyle(document.body).backgroundColor")
    darkness = np.mean([int(x) for x in re.findall(r"\d+", corner)[:3]])
    assert (darkness < 64) == (screen == "dark")
    for name in ("portrait", "map", "displacement", "exponent"):
        path = tmp_path / f"{name}.png"
        page.locator(f"#{name}").screenshot(path=path)
        pixels = np.asarray(image.open(path).convert("L"), dtype=float)
        # Neither blank nor a frame alone: something is drawn in the middle.
        middle = pixels[30:-60, 70:-30]
        assert middle.std() > 5
