"""Arrays of hyperparameters: every element is what a predictor of its own says, under its name."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, reject
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import sgdtheory as sgd
from sgdtheory import evaluation

s = sgd.symbols
SPECTRUM = sgd.Spectrum([1.5, 0.2, 0.01], noise_variances=[1.0, 2.0, 0.5], counts=[1, 2, 5])
STEPS = np.array([1, 4, 30])
# A theory, a way to sample, a rule and the symbol that it has beside η and β.
KINDS = [
    ("discrete", "with_replacement", sgd.heavy_ball, None),
    ("discrete", "with_replacement", sgd.quasi_hyperbolic, s.nu),
    ("discrete", "epochs", sgd.heavy_ball, None),
    ("discrete", "fixed_order", sgd.nesterov, None),
    ("continuous", "with_replacement", sgd.heavy_ball, None),
    ("continuous", "with_replacement", sgd.dampened, s.tau),
]
NAMES = ("learning_rate", "momentum", "batch_size", "weight_decay", "dataset_size")
VALUES = {
    "learning_rate": st.floats(1e-4, 1.0),
    "momentum": st.floats(0.0, 0.95),
    "batch_size": st.integers(1, 16),
    "weight_decay": st.floats(0.0, 0.1),
    "dataset_size": st.integers(16, 80),
    "own": st.floats(0.0, 0.9),
}
VERBS = {
    "stationary_covariance": lambda m: m.stationary_covariance(),
    "mean": lambda m: m.mean(STEPS, [1.0, -2.0, 3.0], 0.5),
    "covariance": lambda m: m.covariance(STEPS),
    "autocovariance": lambda m: m.autocovariance(STEPS),
    "displacement": lambda m: m.displacement(STEPS),
    "one displacement": lambda m: m.displacement(7),
    "from a start": lambda m: m.displacement(STEPS, position=1.0, velocity=[0.1, 0.2, 0.3]),
    "local_displacement": lambda m: m.local_displacement(),
    "exponent": lambda m: m.exponent(STEPS),
    "exponent from a start": lambda m: m.exponent(STEPS, position=1.0),
    "effective_temperature": lambda m: m.effective_temperature,
    "relaxation_steps": lambda m: m.relaxation_steps,
    "curvature": lambda m: m.curvature,
    "regime": lambda m: m.regime,
}


def asked(kind, verb):
    """Whether a theory answers: the continuous one has no local displacement for every rule."""
    return not (verb == "local_displacement" and kind[0] == "continuous" and kind[3] is not None)


def predict(kind, settings, spectrum=SPECTRUM):
    theory, sampling, rule, symbol = kind
    settings = dict(settings)
    own = settings.pop("own", None)
    return sgd.Predictor(
        sgd.Hyperparameters(**settings),
        spectrum,
        theory=theory,
        sampling=sampling,
        rule=rule(),
        parameters={} if symbol is None else {symbol: own},
    )


def assert_same(found, expected):
    if found.dtype.kind == "U":
        assert np.array_equal(found, expected)
    else:
        # A slope is a logarithm divided by one: 1e-13 is some hundred roundings.
        np.testing.assert_allclose(found, expected, rtol=1e-13, atol=0)


@st.composite
def sweeps(draw, own):
    """Settings by name, some numbers and some arrays that broadcast, and the shape of all."""
    names = [*NAMES, *(["own"] if own else [])]
    drawn = draw(mutually_broadcastable_shapes(num_shapes=len(names), max_dims=2, max_side=3))
    settings = {}
    for name, shape in zip(names, drawn.input_shapes, strict=True):
        size = int(np.prod(shape))
        values = draw(st.lists(VALUES[name], min_size=size, max_size=size))
        settings[name] = np.array(values).reshape(shape) if shape else values[0]
    return settings, drawn.result_shape


# -- against one setting at a time --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind[:2])))
@given(data=st.data())
def test_every_element_is_what_its_own_predictor_says(kind, data):
    settings, shape = data.draw(sweeps(own=kind[3] is not None))
    verb = data.draw(st.sampled_from([verb for verb in VERBS if asked(kind, verb)]))
    try:
        whole = np.asarray(VERBS[verb](predict(kind, settings)))
    except ValueError:
        # On the limit of stability, or after whole epochs of one order: no number to compare.
        reject()
    assert whole.shape[: len(shape)] == shape
    for index in np.ndindex(shape):
        one = {name: np.broadcast_to(v, shape)[index].item() for name, v in settings.items()}
        expected = np.asarray(VERBS[verb](predict(kind, one)))
        assert whole[index].shape == expected.shape
        assert_same(whole[index], expected)


def test_a_phase_is_one_for_all_settings_and_inside_the_shortest_epoch():
    settings = {"learning_rate": np.array([0.1, 0.2]), "dataset_size": 24}
    model = predict(KINDS[2], settings | {"batch_size": np.array([[4], [6]])})
    whole = model.covariance(STEPS, phase=3)
    for i, j in np.ndindex(2, 2):
        one = {"learning_rate": (0.1, 0.2)[j], "batch_size": (4, 6)[i], "dataset_size": 24}
        assert_same(whole[i, j], predict(KINDS[2], one).covariance(STEPS, phase=3))
    with pytest.raises(ValueError, match=r"phase = 4.*0 to 3"):
        model.covariance(STEPS, phase=4)


def test_an_epoch_is_counted_for_every_setting():
    hyper = sgd.Hyperparameters(
        0.1, batch_size=np.array([3, 4]), dataset_size=np.array([[10], [16]])
    )
    assert hyper.updates_per_epoch.tolist() == [[3, 2], [5, 4]]
    assert hyper.updates_per_epoch.dtype.kind == "i"
    grid = sgd.Hyperparameters.grid(0.1, batch_size=[3, 4], dataset_size=10)
    assert grid.updates_per_epoch.to_series().to_dict() == {3: 3, 4: 2}


def test_one_setting_keeps_its_types():
    model = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), sgd.Spectrum([1.0, 0.1]))
    assert model.regime == ("underdamped", "underdamped")
    assert model.local_displacement().shape == ()
    assert model.displacement([1, 2]).shape == (2,)
    assert model.stationary_covariance().shape == (2, 2, 2)
    assert sgd.Hyperparameters(0.1, batch_size=3, dataset_size=10).updates_per_epoch == 3
    assert sgd.Hyperparameters(0.1).shape == ()
    # One element is an axis of length 1, as everywhere in NumPy.
    assert sgd.Hyperparameters(np.array([0.1])).shape == (1,)


# -- part by part -------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [1, 20, 40])
def test_sums_part_by_part_are_the_whole_ones(held, monkeypatch):
    settings = {
        "learning_rate": np.geomspace(0.01, 0.3, 5),
        "momentum": np.array([[0.0], [0.9]]),
        "own": np.array([[0.5], [0.7]]),
    }
    verbs = ("displacement", "from a start", "exponent", "exponent from a start")
    whole = {verb: VERBS[verb](predict(KINDS[1], settings)) for verb in verbs}
    monkeypatch.setattr(evaluation, "_HELD", held)
    for verb in verbs:
        assert np.array_equal(VERBS[verb](predict(KINDS[1], settings)), whole[verb])


def test_a_sweep_of_a_displacement_does_not_hold_every_mode_at_once():
    """4·10⁶ values per mode, 32 MB; a part of them has 2²⁰, 8 MB."""
    hyper = sgd.Hyperparameters(np.linspace(0.01, 0.5, 400), 0.9, 16)
    model = sgd.Predictor(hyper, sgd.Spectrum(np.geomspace(1e-3, 2.0, 500)))
    # What a back end needs to start is not the sweep's.
    model.displacement(np.arange(1, 21))
    tracemalloc.start()
    try:
        found = model.displacement(np.arange(1, 21))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.shape == (400, 20)
    assert peak < 25e6


# -- torch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [2**20, 1])
@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_gradients_reach_every_setting(theory, held, monkeypatch):
    monkeypatch.setattr(evaluation, "_HELD", held)
    rates, momenta = [0.1, 0.2, 0.4], [0.5, 0.9]
    rate = torch.tensor(rates, dtype=torch.float64, requires_grad=True)
    momentum = torch.tensor(momenta, dtype=torch.float64, requires_grad=True)

    def total(eta, beta):
        hyper = sgd.Hyperparameters(eta, beta, 16)
        return sgd.Predictor(hyper, SPECTRUM, theory=theory).displacement(STEPS)

    whole = total(rate, momentum[:, None])
    assert whole.shape == (2, 3, 3)
    whole.sum().backward()
    assert torch.autograd.gradcheck(
        lambda eta, beta: total(eta, beta[:, None]),
        (rate.detach().requires_grad_(), momentum.detach().requires_grad_()),
        rtol=1e-6,
    )
    slopes = np.zeros((2, 3))
    for index in np.ndindex(2, 3):
        one = torch.tensor(rates[index[1]], dtype=torch.float64, requires_grad=True)
        total(one, momenta[index[0]]).sum().backward()
        slopes[index] = one.grad
    np.testing.assert_allclose(rate.grad, slopes.sum(0), rtol=1e-12)


def test_tensors_keep_their_type_and_compute_in_double_precision():
    rate = torch.tensor([0.1, 0.2], dtype=torch.float32)
    found = sgd.Predictor(
        sgd.Hyperparameters(rate, 0.9, 16), sgd.Spectrum(torch.tensor([1e-3, 1e-6]))
    ).displacement(10**4)
    assert found.dtype == torch.float32
    exact = sgd.Predictor(
        sgd.Hyperparameters(rate.double().numpy(), 0.9, 16),
        sgd.Spectrum(torch.tensor([1e-3, 1e-6]).double().numpy()),
    ).displacement(10**4)
    # Half a unit in the last of 24 bits.
    np.testing.assert_allclose(found.numpy(), exact, rtol=6e-8)


# -- axes with names ----------------------------------------------------------------------------

GRID = {"learning_rate": [0.05, 0.1, 0.2], "momentum": [0.5, 0.9]}


@pytest.fixture
def grid():
    return sgd.Predictor(sgd.Hyperparameters.grid(**GRID, batch_size=16), SPECTRUM)


@pytest.mark.parametrize("verb", VERBS)
def test_a_grid_is_the_outer_product_under_its_names(grid, verb):
    found = VERBS[verb](grid)
    assert isinstance(found, xr.DataArray)
    assert found.dims[:2] == ("learning_rate", "momentum")
    for rate in GRID["learning_rate"]:
        for momentum in GRID["momentum"]:
            one = sgd.Predictor(sgd.Hyperparameters(rate, momentum, 16), SPECTRUM)
            here = found.sel(learning_rate=rate, momentum=momentum)
            assert_same(here.values, np.asarray(VERBS[verb](one)))


def test_a_result_carries_settings_steps_and_eigenvalues(grid):
    found = grid.covariance(STEPS)
    assert found.name == "covariance"
    assert found.dims == ("learning_rate", "momentum", "step", "mode", "state", "state_")
    assert found.learning_rate.values.tolist() == GRID["learning_rate"]
    assert found.step.values.tolist() == STEPS.tolist()
    assert found.eigenvalue.dims == ("mode",)
    assert found.eigenvalue.values.tolist() == SPECTRUM.eigenvalues.tolist()
    assert found.batch_size.item() == 16
    variance = found.sel(state="position", state_="velocity", step=4)
    assert np.array_equal(variance, found.values[:, :, 1, :, 0, 1])
    assert grid.displacement(4).step.item() == 4
    assert grid.stationary_covariance().dims == found.dims[:2] + found.dims[3:]
    assert grid.displacement(STEPS.reshape(3, 1)).dims[2:] == ("step_0", "step_1")


def test_names_broadcast_by_name_in_any_order():
    rate = xr.DataArray([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]], dims=("run", "trial"))
    momentum = xr.DataArray([[0.5, 0.6], [0.7, 0.8], [0.8, 0.9]], dims=("trial", "run"))
    nu = xr.DataArray([0.4, 0.5], dims="run")
    found = predict(KINDS[1], {"learning_rate": rate, "momentum": momentum, "own": nu})
    plain = {"learning_rate": rate.values, "momentum": momentum.values.T, "own": nu.values[:, None]}
    steps = found.displacement(STEPS)
    assert set(steps.dims) == {"run", "trial", "step"}
    expected = predict(KINDS[1], plain).displacement(STEPS)
    assert np.array_equal(steps.transpose("run", "trial", "step"), expected)
    assert steps.momentum.dims == ("trial", "run")
    assert steps.nu.dims == ("run",)


def test_labels_of_ones_own_stand():
    rate = xr.DataArray([0.1, 0.2], dims="run", coords={"run": ["slow", "fast"]})
    found = sgd.Predictor(sgd.Hyperparameters(rate), SPECTRUM).displacement(STEPS)
    assert found.sel(run="fast").learning_rate.item() == 0.2


def test_a_stacked_sweep_unstacks():
    hyper = sgd.Hyperparameters.grid(**GRID)
    rate, momentum = xr.broadcast(hyper.learning_rate, hyper.momentum)
    stacked = sgd.Hyperparameters(
        rate.stack(run=("learning_rate", "momentum")).rename("a"),
        momentum.stack(run=("learning_rate", "momentum")).rename("b"),
    )
    found = sgd.Predictor(stacked, SPECTRUM).displacement(STEPS)
    assert found.dims == ("run", "step")
    expected = sgd.Predictor(hyper, SPECTRUM).displacement(STEPS)
    assert np.array_equal(found.unstack("run").transpose(*expected.dims), expected)


def test_steps_with_names_name_the_result_of_one_setting():
    model = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), SPECTRUM)
    epochs = xr.DataArray([10, 20], dims="epoch", coords={"epoch": [1, 2]})
    found = model.displacement(epochs)
    assert found.sel(epoch=2).step.item() == 20
    assert np.array_equal(found, model.displacement([10, 20]))
    assert model.covariance(epochs).dims == ("epoch", "mode", "state", "state_")


def test_one_setting_out_of_a_grid_is_named_and_has_no_axes():
    hyper = sgd.Hyperparameters.grid(**GRID)
    one = sgd.Hyperparameters(hyper.learning_rate[1], hyper.momentum[0])
    found = sgd.Predictor(one, SPECTRUM).displacement(7)
    assert found.dims == ()
    assert found.learning_rate.item() == 0.1
    assert found.item() == sgd.Predictor(sgd.Hyperparameters(0.1, 0.5), SPECTRUM).displacement(7)


# -- what is refused ----------------------------------------------------------------------------

NAMED = xr.DataArray([0.1, 0.2], dims="run")
TENSOR = torch.tensor([0.1, 0.2])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rate": np.array([0.1, 0.2, 0.3, -0.1])}, r"learning_rate\[3\] = -0\.1.*> 0"),
        ({"momentum": np.array([[0.5, 1.0]])}, r"momentum\[0, 1\] = 1\.0.*< 1"),
        ({"batch_size": torch.tensor([4.0, 0.0])}, r"batch_size\[1\] = 0\.0.*> 0"),
        ({"weight_decay": xr.DataArray([0.0, np.nan])}, r"weight_decay\[1\] = nan.*finite"),
        ({"learning_rate": [0.1, 0.2]}, r"learning_rate = \[0\.1, 0\.2\].*numpy\.array"),
        ({"learning_rate": np.array(["0.1"])}, r"learning_rate is an array .*real numbers"),
        ({"learning_rate": np.array([True])}, r"learning_rate is an array .*real numbers"),
        ({"learning_rate": np.array([])}, r"learning_rate is an array of 0 .*one or more"),
        (
            {"learning_rate": np.full(2, 0.1), "momentum": np.zeros(3)},
            r"learning_rate \(2,\), momentum \(3,\).*broadcast",
        ),
        (
            {"learning_rate": NAMED, "momentum": xr.DataArray([0.1, 0.2, 0.3], dims="run")},
            r"'run': 2.*'run': 3.*broadcast",
        ),
        (
            {
                "learning_rate": NAMED.assign_coords(run=[1, 2]),
                "momentum": NAMED.assign_coords(run=[1, 3]),
            },
            "equal coordinates",
        ),
        (
            {"learning_rate": NAMED, "momentum": np.zeros(2)},
            r"learning_rate is an xarray\.DataArray and momentum a ndarray",
        ),
        ({"learning_rate": NAMED, "momentum": TENSOR}, r"learning_rate .*momentum a Tensor"),
        ({"learning_rate": NAMED.rename(run="mode")}, r"axes .*mode.*Rename"),
        (
            {"batch_size": np.array([4, 12]), "dataset_size": 10},
            r"dataset_size = 10: .*batch_size, 12",
        ),
        ({"dataset_size": np.array([10, 10.5])}, r"dataset_size = 10\.5: .*whole"),
    ],
)
def test_settings_that_are_no_sweep_are_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        sgd.Hyperparameters(**{"learning_rate": 0.1, **settings})


RATES = np.array([0.1, 5.0, 0.2])


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.stationary_covariance(),
        lambda m: m.displacement(3),
        lambda m: m.exponent(3),
        lambda m: m.autocovariance(3),
    ],
)
@pytest.mark.parametrize("held", [2**20, 1])
def test_an_unstable_setting_is_named_with_its_direction(ask, held, monkeypatch):
    monkeypatch.setattr(evaluation, "_HELD", held)
    hyper = sgd.Hyperparameters(RATES, np.array([[0.8], [0.9]]))
    model = sgd.Predictor(hyper, sgd.Spectrum([0.1, 1.0]))
    said = r"eigenvalues\[1\] = 1 at learning_rate = 5, momentum = 0\.8 .*ηh = 5.*3\.6"
    with pytest.raises(sgd.UnstableError, match=said):
        ask(model)


def test_growth_beyond_floating_point_names_the_setting():
    model = sgd.Predictor(sgd.Hyperparameters(RATES), sgd.Spectrum([0.1, 1.0]))
    with pytest.raises(sgd.UnstableError, match=r"at learning_rate = 5 is too large"):
        model.mean(10**6, 1.0)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: predict(KINDS[1], {"learning_rate": 0.1, "own": np.array([0.1, np.inf])}),
            r"nu\[1\] = inf",
        ),
        (
            lambda: predict(KINDS[1], {"learning_rate": RATES, "own": np.zeros(2)}),
            r"learning_rate \(3,\), nu \(2,\).*broadcast",
        ),
        (
            lambda: sgd.Predictor(
                sgd.Hyperparameters(0.1, np.array([0.0, 0.5])), SPECTRUM, rule=sgd.plain_sgd()
            ),
            r"momentum = 0\.5.*plain SGD",
        ),
        (
            lambda: predict(
                KINDS[2],
                {"learning_rate": 0.1, "batch_size": np.array([1.0, 2.5]), "dataset_size": 9},
            ),
            r"batch_size = 2\.5.*whole",
        ),
        (
            lambda: predict(
                KINDS[2],
                {"learning_rate": 0.1, "batch_size": 1, "dataset_size": np.array([9, 1])},
            ),
            r"dataset_size = \[9 1\].*at least",
        ),
        (
            lambda: sgd.Predictor(
                sgd.Hyperparameters(NAMED), sgd.Spectrum(torch.tensor([1.0, 2.0]))
            ),
            r"sweep has the named axes .*run.*torch",
        ),
    ],
)
def test_a_predictor_names_what_does_not_fit(build, said):
    with pytest.raises(ValueError, match=said):
        build()


def test_steps_that_do_not_fit_beside_a_sweep_are_refused():
    steps = xr.DataArray([1, 2], dims="run")
    with pytest.raises(ValueError, match=r"steps .*learning_rate an array without names"):
        sgd.Predictor(sgd.Hyperparameters(RATES[:1]), SPECTRUM).displacement(steps)
    with pytest.raises(ValueError, match=r"steps has the axes .*run.*same steps"):
        sgd.Predictor(sgd.Hyperparameters(NAMED), SPECTRUM).displacement(steps)
    rate = torch.tensor(0.1)
    with pytest.raises(ValueError, match=r"steps has the named axes .*torch"):
        sgd.Predictor(sgd.Hyperparameters(rate), SPECTRUM).displacement(steps)


def test_steps_at_which_nothing_moves_are_named_for_a_sweep():
    still = sgd.Spectrum([1.0], noise_variances=[0.0])
    with pytest.raises(ValueError, match=r"steps = \[3\.\]|steps = \[3\]"):
        sgd.Predictor(sgd.Hyperparameters(RATES[::2]), still).exponent([3])


LANDSCAPE = sgd.Landscape(np.eye(2), np.eye(2))
DATA = sgd.FiniteDataset(np.arange(12.0).reshape(6, 2) ** 0.7, np.arange(6.0))


@pytest.mark.parametrize(
    "ask",
    [
        lambda hyper: sgd.Predictor(hyper, LANDSCAPE),
        lambda hyper: DATA.stationary(hyper),
        lambda hyper: DATA.stability_limit(hyper),
        lambda hyper: sgd.GaussianInputs([1.0, 0.5], noise_scale=0.1).stationary(hyper),
        lambda hyper: sgd.GaussianInputs([1.0, 0.5], noise_scale=0.1).stability_limit(hyper),
    ],
    ids=["landscape", "data", "data's limit", "inputs", "inputs' limit"],
)
@pytest.mark.parametrize("momentum", [np.array([0.1, 0.5]), NAMED])
def test_what_takes_one_setting_says_so(ask, momentum):
    with pytest.raises(ValueError, match=r"momentum has shape \(2,\).*one setting.*Loop"):
        ask(sgd.Hyperparameters(0.01, momentum))


def test_what_takes_one_setting_refuses_arrays_of_the_rule():
    with pytest.raises(ValueError, match=r"nu has shape \(2,\).*Loop"):
        DATA.stability_limit(
            sgd.Hyperparameters(0.01, 0.5), sgd.quasi_hyperbolic(), {s.nu: np.array([0.1, 0.2])}
        )


@pytest.mark.parametrize(
    "values", [np.ones((2, 2)), NAMED, TENSOR], ids=["two axes", "named", "tensor"]
)
def test_a_grid_takes_flat_sequences_only(values):
    with pytest.raises(ValueError, match=r"learning_rate = .*flat sequence"):
        sgd.Hyperparameters.grid(values)


def test_without_xarray_a_grid_says_what_to_install_and_arrays_still_sweep():
    code = """
import sys, numpy as np, sgdtheory as sgd
assert "xarray" not in sys.modules and "pandas" not in sys.modules
sys.modules["xarray"] = None
hyper = sgd.Hyperparameters(np.array([0.1, 0.2]))
print(sgd.Predictor(hyper, sgd.Spectrum([1.0])).displacement([1, 2]).shape)
try:
    sgd.Hyperparameters.grid([0.1, 0.2])
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(2, 2)")
    assert "pip install 'sgdtheory[sweeps]'" in done.stdout
