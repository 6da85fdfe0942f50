"""`sgdtheory derive` and `predict`: what they print and write, against hand loops and compilers."""

from __future__ import annotations

import csv
import ctypes
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
from shutil import which

import numpy as np
import oracles
import pytest
from scipy import stats
from sympy import Rational, Symbol, latex, parse_expr

import sgdtheory as sgd

pytest.importorskip("tyro")
from sgdtheory.__main__ import main
from sgdtheory.commands import COMMANDS
from sgdtheory.commands.derived_results import RESULTS

WRONG_INPUT = 2
ETA, BETA, S, LAMDA = 0.1, 0.6, 4.0, 0.05
RHO, COUNTS, SIGMA2 = np.array([8.0, 1.0, 0.01]), np.array([1, 2, 5]), 0.7
POINT = {"k": 5, "rho": 1.0, "eta": ETA, "beta": BETA, "S": S, "lamda": LAMDA, "sigma2": SIGMA2}
RULES = {
    "heavy_ball": {},
    "nesterov": {},
    "plain_sgd": {},
    "dampened": {"tau": 0.3},
    "quasi_hyperbolic": {"nu": 0.7},
}


@pytest.fixture
def run(monkeypatch, capsys):
    """A command in this process: its status, what it printed, and what it said of errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sgdtheory", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def printed(run, *arguments):
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    return out


# -- the hand loop ------------------------------------------------------------------------------


def law_of(rule, rho, **own):
    """Map and noise of one update on a quadratic loss, from what the hand loop does."""
    beta = {"beta": 0 if rule == "plain_sgd" else BETA}
    M, n = oracles.linear_law(oracles.UPDATES[rule], rho + LAMDA, eta=ETA, **beta, **own)
    return np.array(M), np.outer(n, n) * SIGMA2 * rho / S


def stationary(M, N):
    """Σ_j M^j N M^jᵀ: what the first n terms are, the next n are once more, n updates older."""
    total, flow = N, M
    for _ in range(40):
        total, flow = total + flow @ total @ flow.T, flow @ flow
    return total


def displacement(M, N, steps):
    P = stationary(M, N)
    return 2 * (P - np.linalg.matrix_power(M, steps) @ P)[0, 0]


def value_of(told, numbers):
    """A printed expression at numbers, by name."""
    expression = parse_expr(told, {name: Symbol(name) for name in numbers})
    return expression.subs({Symbol(name): number for name, number in numbers.items()})


# -- derive -------------------------------------------------------------------------------------


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments_of(module):
    """Their names, as the file's own text lists them."""
    lines = module.__doc__.split("Arguments, in this order:\n")[1].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize("rule", RULES)
def test_numpy_code_runs_from_its_file_as_the_hand_loop_does(run, tmp_path, rule):
    path = tmp_path / "moved.py"
    derived = ("derive", "displacement", "--rule", rule, "--format", "numpy", "--output", path)
    assert printed(run, *derived) == ""
    module = imported(path)
    values = {"k": 7, "rho": 1.0, "eta": ETA, "beta": BETA, "S": S, "lamda": LAMDA}
    values |= {"sigma2": SIGMA2, **RULES[rule]}
    (found,) = module.lowered(*(values[name] for name in arguments_of(module)))
    M, N = law_of(rule, 1.0, **RULES[rule])
    np.testing.assert_allclose(found, displacement(M, N, 7), rtol=1e-12)


OWN = {
    "heavy_ball": ("beta*v - g", "theta + eta*v_next", None),
    "nesterov": ("beta*v - g", "theta + eta*(beta*v_next - g)", None),
    "plain_sgd": ("-g", "theta + eta*v_next", None),
    "dampened": ("beta*v - (1 - 0.3)*g", "theta + eta*v_next", None),
    "quasi_hyperbolic": ("beta*v - (1-beta)*g", "theta+eta*(7/10*v_next-(1-7/10)*g)", None),
    "look ahead": ("beta*v - g", "theta + eta*v_next", "theta + eta*beta*v"),
}


def look_ahead(x, v, gradient, eta, beta):
    v = beta * v - gradient(x + eta * beta * v)
    return x + eta * v, v


@pytest.mark.parametrize("rule", OWN)
def test_a_rule_that_is_typed_is_the_rule(run, rule, monkeypatch):
    monkeypatch.setitem(oracles.UPDATES, "look ahead", look_ahead)
    velocity, position, at = OWN[rule]
    given = ("--velocity", velocity, "--position", position, *(("--gradient-at", at) if at else ()))
    M, N = law_of(rule, 1.0, **RULES.get(rule, {}))
    numbers = {name: number for name, number in POINT.items() if name != "k"}
    for result, expected in {"map": M, "stationary_covariance": stationary(M, N)}.items():
        found = value_of(printed(run, "derive", result, *given), numbers)
        np.testing.assert_allclose(np.array(found, dtype=float), expected, rtol=1e-9, atol=1e-15)


def by_c(path, values):
    library = path.with_suffix(".so")
    strict = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([*strict, str(path), "-o", str(library), "-lm"], check=True)
    header = path.with_suffix(".h").read_text()
    assert f"double displacement({', '.join(f'double {name}' for name in values)})" in header
    function = ctypes.CDLL(str(library)).displacement
    function.restype = ctypes.c_double
    return function(*map(ctypes.c_double, values.values()))


def by_node(path, values):
    calls = f"console.log(displacement({', '.join(map(str, values.values()))}))"
    driver = path.with_name("driver.mjs")
    driver.write_text(f"import {{ displacement }} from './{path.name}';\n{calls}\n")
    done = subprocess.run(["node", str(driver)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def by_python(path, values):
    module = imported(path)
    assert arguments_of(module) == list(values)
    return float(module.lowered(*values.values())[0])


def by_torch(path, values):
    torch = pytest.importorskip("torch")
    return by_python(path, {x: torch.tensor(y, dtype=torch.float64) for x, y in values.items()})


def by_numba(path, values):
    pytest.importorskip("numba")
    return by_python(path, values)


LANGUAGES = {
    "numpy": ("py", by_python),
    "numba": ("py", by_numba),
    "torch": ("py", by_torch),
    "c": ("c", by_c),
    "javascript": ("mjs", by_node),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_in_every_language_agrees_with_the_hand_loop(run, tmp_path, language):
    tool = {"c": "gcc", "javascript": "node"}.get(language)
    if tool and which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    suffix, call = LANGUAGES[language]
    path = tmp_path / f"moved.{suffix}"
    printed(run, "derive", "displacement", "--format", language, "--output", path)
    expected = displacement(*law_of("heavy_ball", 1.0), POINT["k"])
    assert call(path, POINT) == pytest.approx(expected, rel=1e-12)
    assert printed(run, "derive", "displacement", "--format", language) == path.read_text()


def test_a_density_has_an_area_of_one(run, tmp_path):
    path = tmp_path / "density.py"
    printed(run, "derive", "density", "--format", "numpy", "--output", path)
    module = imported(path)
    x = np.linspace(-1.5, 1.5, 801)
    values = POINT | {"theta": x[:, None] / 4, "v": x[None, :] * 4, "sigma2": 0.1}
    (p,) = module.lowered(*(values[name] for name in arguments_of(module)))
    assert p.sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("rule", oracles.PUBLISHED)
def test_mass_and_friction_are_the_published_ones(run, rule):
    numbers = {"h": Rational(5, 4), "eta": Rational(1, 10), "beta": Rational(3, 5)}
    own = {key: Rational(1, 3) for key in RULES[rule]}
    momentum = {"beta": 0} if rule == "plain_sgd" else {"beta": numbers["beta"]}
    published = oracles.PUBLISHED[rule](numbers["h"], numbers["eta"], **momentum, **own)
    for result, value in zip(("mass", "friction"), published, strict=True):
        told = printed(run, "derive", result, "--rule", rule)
        assert value_of(told, numbers | own) == value


def test_every_written_form(run):
    assert printed(run, "derive", "mass") == "eta*(beta + 1)/2\n"
    assert printed(run, "derive", "mass", "--format", "latex") == (
        "\\frac{\\eta \\left(\\beta + 1\\right)}{2}\n"
    )
    assert printed(run, "derive", "mass", "--format", "markdown") == (
        "$$\n\\frac{\\eta \\left(\\beta + 1\\right)}{2}\n$$\n"
    )
    assert printed(run, "derive", "stability") == "Interval.open(0, 2*beta + 2)\n"
    assert "theta(t)" in printed(run, "derive", "modified_equation")


@pytest.mark.parametrize(("form", "bracket"), [("text", "("), ("latex", "{"), ("markdown", "$$")])
def test_steps_lead_from_the_rule_to_the_result(run, form, bracket):
    told = printed(run, "derive", "mass", "--rule", "nesterov", "--steps", "--format", form)
    titles = ["Update rule", "Eliminate the velocity", "Expand the shift", "Mass"]
    places = [told.index(title) for title in titles]
    assert places == sorted(places)
    assert bracket in told
    result = sgd.modified_equation(sgd.nesterov()).mass
    assert (str(result) if form == "text" else latex(result)) in told[places[-1] :]


def test_a_table_of_scaling_laws(run):
    text, markdown, tabular = (
        printed(run, "derive", "scaling_laws", "--format", form)
        for form in ("text", "markdown", "latex")
    )
    names = [name.replace("_", " ") for name in sgd.observables(sgd.heavy_ball())]
    for told in (text, markdown, tabular):
        assert all(name in told for name in names)
    assert len({len(line) for line in text.splitlines()}) == 1
    assert tabular.count(" & ") == 6 * (len(names) + 1)


def test_noise_and_curvature_are_letters_of_the_result(run):
    told = printed(run, "derive", "stationary_variance", "--noise", "2*rho", "--curvature", "rho")
    M, n = oracles.linear_law(oracles.heavy_ball, 1.5, eta=ETA, beta=BETA)
    expected = stationary(np.array(M), np.outer(n, n) * 2 * 1.5 / S)[0, 0]
    numbers = {"eta": ETA, "beta": BETA, "S": S, "rho": 1.5}
    assert value_of(told, numbers) == pytest.approx(expected)


def test_textbook_functions_of_time(run):
    told = printed(run, "derive", "displacement", "--theory", "continuous", "--textbook")
    assert "cos(" in told
    assert "continuous_" not in told


def test_the_list_names_every_result_and_each_can_be_derived(run):
    listed = printed(run, "derive", "--list")
    for name, result in RESULTS.items():
        assert f"  {name} " in listed
        assert result.line in listed
        for theory in result.theories or (None,):
            given = ("--theory", theory) if theory else ()
            assert printed(run, "derive", name, *given)


WRONG_DERIVATIONS = {
    "RESULT: none was given": [],
    "'displacment' is not among the results. Is displacement": ["displacment"],
    "--theory discrete: mass is not in it": ["mass", "--theory", "discrete"],
    "--order 2: map does not come": ["map", "--order", "2"],
    "an integer from 1 to 20": ["mass", "--order", "0"],
    "--sampling epochs: mass of the Langevin equation is of": ["mass", "--sampling", "epochs"],
    "--sampling epochs: effective_temperature of the rule alone is of": [
        *("effective_temperature", "--sampling", "epochs")
    ],
    "--rule nesterov and --velocity": ["mass", "--rule", "nesterov", "--velocity", "v"],
    "both --velocity and --position": ["mass", "--velocity", "v"],
    "--noise -rho: a variance is not negative": ["density", "--noise=-rho"],
    "is not linear in theta, v, g": ["mass", "--velocity", "v*v", "--position", "theta"],
    "'exit()', at character 1": ["mass", "--velocity", "exit()", "--position", "theta"],
    "--noise: 'eta'": ["map", "--noise", "eta"],
    "--curvature 1: slow_loss is not of one": ["slow_loss", "--curvature", "1"],
    "a stationary state needs one above 0": ["displacement", "--curvature", "-1"],
    "stability is a set": ["stability", "--format", "c"],
    "scaling_laws is a table": ["scaling_laws", "--format", "numpy"],
    "modified_equation is an equation": ["modified_equation", "--format", "javascript"],
    "slow_loss is a formula": ["slow_loss", "--format", "numpy"],
    "--steps: c has no words": ["mass", "--steps", "--format", "c"],
    "the header gets this name": ["mass", "--format", "c", "--output", "mass.h"],
    "No such file": ["mass", "--output", "nowhere/mass.txt"],
}


@pytest.mark.parametrize("message", WRONG_DERIVATIONS)
def test_a_wrong_derivation_is_one_paragraph(run, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("derive", *WRONG_DERIVATIONS[message])
    assert (status, out) == (WRONG_INPUT, "")
    assert err.startswith("sgdtheory: ")
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.iterdir())


# -- predict ------------------------------------------------------------------------------------

SETTINGS = ["--learning-rate", ETA, "--momentum", BETA, "--batch-size", S, "--weight-decay", LAMDA]


@pytest.fixture
def predict(run, tmp_path):
    rows = "".join(f"{rho},{count}\n" for rho, count in zip(RHO, COUNTS, strict=True))
    (tmp_path / "s.csv").write_text(f"eigenvalues,counts\n{rows}")
    given = [*SETTINGS, "--spectrum", tmp_path / "s.csv", "--noise-scale", SIGMA2]

    def predict(*arguments):
        return printed(run, "predict", *given, *arguments)

    return predict


def columns_of(predict, *arguments):
    return json.loads(predict(*arguments, "--format", "json"), parse_constant=pytest.fail)


LAWS = [law_of("heavy_ball", rho) for rho in RHO]


def moved(steps):
    return sum(n * displacement(*law, steps) for n, law in zip(COUNTS, LAWS, strict=True))


def test_displacement_and_exponent_are_those_of_the_hand_loop(predict):
    found = columns_of(predict, "--steps", "1,2,30")
    assert found["of"] == "displacement"
    assert found["settings"]["learning_rate"] == ETA
    columns = found["columns"]
    assert columns["step"] == [1, 2, 30]
    np.testing.assert_allclose(columns["displacement"], [moved(k) for k in (1, 2, 30)], rtol=1e-9)
    # Over [1, 2] at 1, else over [k − 1, k + 1].
    windows = [(1, 2), (1, 3), (29, 31)]
    slopes = [math.log(moved(b) / moved(a)) / math.log(b / a) for a, b in windows]
    np.testing.assert_allclose(columns["exponent"], slopes, rtol=1e-7)


def test_what_has_not_moved_has_no_exponent(predict):
    columns = columns_of(predict, "--steps", "0,1,2")["columns"]
    assert columns["displacement"][0] == 0
    assert columns["exponent"][0] is None
    np.testing.assert_allclose(columns["displacement"][1:], [moved(1), moved(2)], rtol=1e-9)
    silent = ("--start", "minimum", "--batch-size", 80, "--dataset-size", 80)
    columns = columns_of(predict, "--steps", "1,2", "--sampling", "epochs", *silent)["columns"]
    assert columns == {"step": [1, 2], "displacement": [0.0, 0.0], "exponent": [None, None]}


def test_a_data_set_of_known_size_does_not_say_how_batches_are_drawn(run, tmp_path):
    np.save(tmp_path / "s.npy", RHO)
    given = ("predict", *SETTINGS, "--spectrum", tmp_path / "s.npy", "--dataset-size", 80)
    status, _, err = run(*given)
    assert status == 0
    assert "--sampling epochs is that of a shuffling data loader" in err
    assert run(*given, "--sampling", "epochs")[2] == ""


def test_csv_and_text_are_the_same_table(predict):
    columns = columns_of(predict, "--steps", "1:1000:7")["columns"]
    text = predict("--steps", "1:1000:7", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == columns
    lines = [line.split() for line in predict("--steps", "1:1000:7").splitlines()]
    assert lines[0] == list(columns)
    np.testing.assert_allclose(
        np.array(lines[1:], dtype=float).T, list(columns.values()), rtol=5e-6, atol=0
    )


def test_stationary_variances_direction_by_direction(predict):
    columns = columns_of(predict, "--of", "variances")["columns"]
    assert columns["eigenvalue"] == RHO.tolist()
    assert columns["count"] == COUNTS.tolist()
    expected = np.array([stationary(*law) for law in LAWS])
    for name, entry in {
        "position_variance": expected[:, 0, 0],
        "velocity_variance": expected[:, 1, 1],
        "position_velocity": expected[:, 0, 1],
        "effective_temperature": (RHO + LAMDA) * expected[:, 0, 0],
    }.items():
        np.testing.assert_allclose(columns[name], entry, rtol=1e-9)
    roots = [np.linalg.eigvals(law[0]) for law in LAWS]
    slowest = [-1 / math.log(np.abs(root).max()) for root in roots]
    np.testing.assert_allclose(columns["relaxation_steps"], slowest, rtol=1e-9)
    kinds = ["underdamped" if np.iscomplex(root).any() else "overdamped" for root in roots]
    assert columns["regime"] == kinds


def test_an_exponent_as_it_is_fitted(predict):
    """A line through logarithms of the table's own displacements, by SciPy."""
    steps = ("--steps", "2:60:12")
    table = columns_of(predict, *steps)["columns"]
    line = stats.linregress(np.log(table["step"]), np.log(table["displacement"]))
    found = columns_of(predict, "--of", "exponent", *steps)["columns"]
    assert (found["from"], found["to"], found["steps"]) == ([2], [60], [len(table["step"])])
    np.testing.assert_allclose(found["exponent"], [line.slope], rtol=1e-9)


def test_a_line_a_step_and_direction(predict):
    covariance = columns_of(predict, "--of", "covariance", "--steps", "1,6")["columns"]
    mean = columns_of(predict, "--of", "mean", "--steps", "1,6", "--start", "-0.5")["columns"]
    late = columns_of(predict, "--of", "autocovariance", "--steps", "1,6")["columns"]
    lines = [(step, law) for step in (1, 6) for law in LAWS]
    assert mean["step"] == [step for step, _ in lines]
    assert mean["eigenvalue"] == [*RHO, *RHO]
    for row, (step, (M, N)) in enumerate(lines):
        flow, gained = oracles.iterate(M.tolist(), N.tolist(), step)
        expected = np.array(flow) @ [-0.5, 0]
        np.testing.assert_allclose([mean["position"][row], mean["velocity"][row]], expected)
        entries = [gained[0][0], gained[1][1], gained[0][1]]
        names = ("position_variance", "velocity_variance", "position_velocity")
        np.testing.assert_allclose([covariance[n][row] for n in names], entries, rtol=1e-12)
        lagged = (np.array(flow) @ stationary(M, N)).ravel()
        both = ("position", "velocity")
        found = [late[f"{a}_{b}"][row] for a in both for b in both]
        np.testing.assert_allclose(found, lagged, rtol=1e-9, atol=1e-12)


def test_parts_add_up_from_an_offset(predict):
    columns = columns_of(predict, "--of", "parts", "--steps", "4", "--start", "0.5")["columns"]
    drift, noise = 0.0, 0.0
    for count, (M, N) in zip(COUNTS, LAWS, strict=True):
        flow, gained = oracles.iterate(M.tolist(), N.tolist(), 4)
        drift += count * (0.5 * (flow[0][0] - 1)) ** 2
        noise += count * gained[0][0]
    assert columns["drift"] == [pytest.approx(drift, rel=1e-12)]
    assert columns["noise"] == [pytest.approx(noise, rel=1e-12)]
    assert columns["relaxation"] == [0]
    assert columns["displacement"] == [pytest.approx(drift + noise, rel=1e-12)]


def test_what_is_infinite_is_null(run, tmp_path):
    np.save(tmp_path / "s.npy", [1.0, 0.0])
    given = [*SETTINGS[:6], "--spectrum", tmp_path / "s.npy", "--start", "minimum"]
    told = printed(run, "predict", *given, "--of", "covariance", "--steps", "3", "--format", "json")
    assert None not in json.loads(told)["columns"]["position_variance"]
    status, _, err = run("predict", *given, "--of", "variances")
    assert status == WRONG_INPUT
    assert "a stationary state needs" in err


@pytest.mark.parametrize("of", ["displacement", "parts", "variances"])
def test_a_picture_beside_the_table(predict, tmp_path, of):
    pytest.importorskip("matplotlib")
    picture, table = tmp_path / "p.png", tmp_path / "t.csv"
    chosen = ("--of", of, "--format", "csv", "--steps", "1,10,100", "--start", "0.1")
    assert predict(*chosen, "--plot", picture, "--output", table) == ""
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert table.read_text() == predict(*chosen)


def test_the_settings_reach_the_prediction(run, tmp_path):
    np.save(tmp_path / "s.npy", RHO)
    told = printed(
        run,
        *("predict", "--learning-rate", ETA, "--momentum", BETA, "--batch-size", 4),
        *("--dataset-size", 12, "--sampling", "epochs", "--rule", "dampened"),
        *("--dampening", 0.3, "--spectrum", tmp_path / "s.npy", "--steps", "3", "--of", "mean"),
        *("--start", 1, "--format", "csv"),
    )
    rows = list(csv.DictReader(io.StringIO(told)))
    for rho, row in zip(RHO, rows, strict=True):
        M, _ = oracles.linear_law(oracles.dampened, rho, eta=ETA, beta=BETA, tau=0.3)
        expected = np.linalg.matrix_power(np.array(M), 3)[:, 0]
        np.testing.assert_allclose([float(row["position"]), float(row["velocity"])], expected)


WRONG_PREDICTIONS = {
    "--steps 1:10: it has 2 parts": ["--steps", "1:10"],
    "--steps 0:10:3: a geometric progression": ["--steps", "0:10:3"],
    "--steps 5:5:3: a geometric progression": ["--steps", "5:5:3"],
    "--steps 1:10:1: their number": ["--steps", "1:10:1"],
    "--steps 1:10:1e9: their number": ["--steps", "1:10:1e9"],
    "'ten' is no number": ["--steps", "1,ten"],
    "'' is no number": ["--steps", ""],
    "1.5 is no whole number": ["--steps", "1.5"],
    "nan is no whole number": ["--steps", "nan"],
    "inf is no whole number": ["--steps", "inf"],
    "-3 is no whole number": ["--steps", "-3"],
    "--start stationary: the mean": ["--of", "mean"],
    "--plot: covariance is no curve": ["--of", "covariance", "--plot", "p.png"],
    "--plot p.doc: there are no pictures": ["--plot", "p.doc"],
    "momentum = 1.5": ["--momentum", "1.5"],
    "--rule quasi_hyperbolic needs a value of --mixing": ["--rule", "quasi_hyperbolic"],
    "with beta = 0.6, tau = 2 the updates are stable for no": [
        *("--rule", "dampened", "--dampening", "2")
    ],
    "Give --dataset-size": ["--sampling", "epochs"],
    "has no counterpart in continuous time": [
        *("--sampling", "epochs", "--dataset-size", "80"),
        *("--theory", "continuous"),
    ],
    "--spectrum nowhere.npy: No such file": ["--spectrum", "nowhere.npy"],
    "a stationary state needs": ["--learning-rate", "9"],
    "and --start minimum": ["--learning-rate", "9"],
    "nowhere/p.csv: No such file or directory. Give another": ["--output", "nowhere/p.csv"],
}


@pytest.mark.parametrize("message", WRONG_PREDICTIONS)
def test_a_wrong_prediction_is_one_paragraph(run, tmp_path, monkeypatch, message):
    monkeypatch.chdir(tmp_path)
    np.save("s.npy", RHO)
    status, out, err = run("predict", *SETTINGS, "--spectrum", "s.npy", *WRONG_PREDICTIONS[message])
    assert (status, out) == (WRONG_INPUT, "")
    assert err.startswith("sgdtheory: ")
    assert err.count("\n") == 1
    assert message in err


# -- the command line itself --------------------------------------------------------------------


def test_help_without_arguments_and_of_every_command(run):
    told = printed(run)
    assert told == printed(run, "--help")
    assert "Exit status: 0" in told
    for command in COMMANDS:
        assert f"• {command}" in told
        helped = printed(run, command, "--help")
        assert f"Example: sgdtheory {command} " in helped
        assert "--settings" not in helped


def test_the_version(run):
    assert printed(run, "--version") == f"sgdtheory {sgd.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["depict"], ["derive", "mass", "--ordre", "2"], ["derive", "mass", "--format", "fortran"]],
)
def test_what_is_no_command_or_option_ends_with_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (WRONG_INPUT, "")
    assert arguments[-1] in err or "--ordre" in err
    assert "Traceback" not in err


@pytest.mark.skipif(which("bash") is None, reason="bash is not installed")
def test_completion_in_bash(run, tmp_path):
    script = tmp_path / "completion"
    script.write_text(printed(run, "--tyro-print-completion", "bash"))
    subprocess.run(["bash", "-n", str(script)], check=True)
    asked = {
        "sgdtheory pre": "predict",
        "sgdtheory predict --noi": "--noise-scale",
        "sgdtheory derive --format jav": "javascript",
        "sgdtheory advise --rule nes": "nesterov",
    }
    lines = [f"source {script}"]
    for words in asked:
        last = len(words.split()) - 1
        lines.append(f"COMPREPLY=(); COMP_WORDS=({words}); COMP_CWORD={last}")
        lines.append('_tyro_sgdtheory; echo "${COMPREPLY[@]}"')
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:-1] == list(asked.values())


def test_completion_in_zsh_and_in_a_shell_that_is_none(run, tmp_path):
    told = printed(run, "--tyro-print-completion", "zsh")
    assert told.startswith("#compdef sgdtheory")
    if which("zsh"):
        (tmp_path / "_sgdtheory").write_text(told)
        subprocess.run(["zsh", "-n", str(tmp_path / "_sgdtheory")], check=True)
    status, out, err = run("--tyro-print-completion", "cmd")
    assert (status, out) == (WRONG_INPUT, "")
    assert "one shell of bash, zsh, tcsh and fish" in err


def process(code, **options):
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_reader_that_stops_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; sys.argv = ['sgdtheory', 'derive', '--list']\n"
    code += "from sgdtheory.__main__ import main; main()"
    started = process(code, stdout=writing)
    os.close(writing)
    _, err = started.communicate()
    assert (started.returncode, err) == (0, "")


def test_help_loads_no_library_that_it_does_not_need():
    code = "import sys, atexit; sys.argv = ['sgdtheory', 'predict', '--help']\n"
    code += "heavy = {'torch', 'numba', 'matplotlib', 'scipy'}\n"
    code += "atexit.register(lambda: print(heavy & set(sys.modules)))\n"
    code += "from sgdtheory.__main__ import main; main()"
    out, err = process(code, stdout=subprocess.PIPE).communicate()
    assert err == ""
    assert out.splitlines()[-1] == "set()"


def test_an_interrupted_command_ends_without_a_word(run, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sgdtheory.__main__._run", interrupted)
    assert run("derive", "mass") == (130, "", "")
