"""Results as data sets and tables: the numbers of the verbs, on axes with names and units."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import sgdtheory as sgd
from sgdtheory import symbols as s

STEPS = np.array([1, 3, 10, 100])


def spectrum():
    return sgd.Spectrum([1.0, 0.1, 0.01], noise_variances=[2.0, 1.0, 0.5], counts=[1, 2, 30])


def one(**settings):
    hyper = {"learning_rate": 0.1, "momentum": 0.9, "batch_size": 8, "dataset_size": 64}
    return sgd.Hyperparameters(**{**hyper, **settings})


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
def test_a_predictors_data_set_holds_what_its_verbs_say(theory):
    model = sgd.Predictor(one(weight_decay=0.01), spectrum(), theory=theory)
    found = model.to_xarray(STEPS)
    assert dict(found.sizes) == {"step": 4, "mode": 3}
    np.testing.assert_array_equal(found.step, STEPS)
    np.testing.assert_array_equal(found.displacement, model.displacement(STEPS))
    np.testing.assert_array_equal(found.exponent, model.exponent(STEPS))
    np.testing.assert_array_equal(found.eigenvalue, spectrum().eigenvalues)
    np.testing.assert_array_equal(found.noise_variance, spectrum().variances)
    np.testing.assert_array_equal(found["count"], [1, 2, 30])
    np.testing.assert_array_equal(found.curvature, [1.01, 0.11, 0.02])
    np.testing.assert_array_equal(found.relaxation_steps, model.relaxation_steps)
    assert tuple(found.regime.values) == model.regime
    variance = model.stationary_covariance()[:, 0, 0]
    np.testing.assert_array_equal(found.stationary_variance, variance)
    np.testing.assert_array_equal(found.effective_temperature, model.effective_temperature)
    assert found.learning_rate == 0.1
    assert "state" not in found.coords
    units = {name: found[name].attrs.get("units") for name in found.variables}
    assert units["displacement"] == "θ²"
    assert units["step"] == units["relaxation_steps"] == "updates"
    assert units["eigenvalue"] == "loss/θ²"


def test_a_grid_has_its_axes_in_front_and_every_setting_its_own_numbers():
    runs = sgd.Hyperparameters.grid([0.1, 0.2], momentum=[0.0, 0.5, 0.9], batch_size=8)
    model = sgd.Predictor(runs, spectrum(), rule=sgd.nesterov())
    found = model.to_xarray(STEPS)
    assert dict(found.sizes) == {"learning_rate": 2, "momentum": 3, "step": 4, "mode": 3}
    single = sgd.Predictor(one(learning_rate=0.2, momentum=0.5), spectrum(), rule=sgd.nesterov())
    there = found.sel(learning_rate=0.2, momentum=0.5)
    np.testing.assert_allclose(there.displacement, single.displacement(STEPS), rtol=1e-12)
    np.testing.assert_allclose(
        there.stationary_variance, single.stationary_covariance()[:, 0, 0], rtol=1e-12
    )
    table = model.to_pandas(STEPS)
    assert table.index.names == ["learning_rate", "momentum", "step"]
    assert table.loc[(0.2, 0.5, 10), "displacement"] == there.displacement.sel(step=10)
    modes = model.to_pandas()
    assert modes.index.names == ["learning_rate", "momentum", "mode"]
    assert modes.loc[(0.1, 0.9, 2), "eigenvalue"] == 0.01


def test_starts_are_those_of_displacement():
    model = sgd.Predictor(one(), spectrum())
    start = {"position": 1.0, "start_covariance": np.array([1.0, 2.0, 3.0])}
    found = model.to_xarray(STEPS, **start)
    np.testing.assert_array_equal(found.displacement, model.displacement(STEPS, **start))
    np.testing.assert_array_equal(found.exponent, model.exponent(STEPS, **start))
    table = model.to_pandas(STEPS, **start)
    assert isinstance(table, pd.DataFrame)
    assert table.index.name == "step"
    assert list(table.columns) == ["displacement", "exponent"]
    np.testing.assert_array_equal(table["displacement"], found.displacement)


def test_without_a_stationary_state_transients_are_there_and_the_state_is_not():
    flat = sgd.Predictor(one(), sgd.Spectrum([0.0, 1.0], noise_variances=[1.0, 1.0]))
    found = flat.to_xarray([1, 10], position=0.0)
    assert "stationary_variance" not in found
    assert "relaxation_steps" in found
    assert len(flat.to_pandas()) == 2
    with pytest.raises(sgd.UnstableError):
        flat.to_xarray([1, 10])


def test_one_step_is_one_row():
    model = sgd.Predictor(one(), spectrum())
    table = model.to_pandas(10)
    assert len(table) == 1
    assert table["displacement"].item() == model.displacement(10)
    named = xr.DataArray([1, 10], dims="update")
    assert model.to_pandas(named).index.name == "update"


def test_a_landscapes_data_set_is_of_its_directions():
    landscape = sgd.Landscape([[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.2], [0.2, 1.0]])
    model = sgd.Predictor(one(), landscape)
    found = model.to_xarray(STEPS, position=[1.0, -1.0])
    expected = model.displacement(STEPS, position=[1.0, -1.0])
    np.testing.assert_array_equal(found.displacement, expected)
    np.testing.assert_array_equal(found.eigenvalue, landscape.eigenvalues)
    np.testing.assert_array_equal(model.to_pandas(STEPS)["exponent"], model.exponent(STEPS))
    np.testing.assert_allclose(model.to_pandas()["curvature"], [1.0, 3.0])


def test_what_has_no_names_is_refused_with_what_to_do():
    torch = pytest.importorskip("torch")
    sweep = sgd.Predictor(sgd.Hyperparameters(np.array([0.1, 0.2])), spectrum())
    for ask in (lambda: sweep.to_xarray(STEPS), sweep.to_pandas):
        with pytest.raises(ValueError, match=r"Hyperparameters\.grid"):
            ask()
    tensors = sgd.Predictor(one(), sgd.Spectrum(torch.ones(2)))
    with pytest.raises(ValueError, match="torch tensor"):
        tensors.to_xarray()
    with pytest.raises(ValueError, match="≥ 1"):
        sgd.Predictor(one(), spectrum()).to_xarray([0, 1])


# -- records --------------------------------------------------------------------------------------


def test_parts_of_a_displacement():
    model = sgd.Predictor(one(), spectrum())
    parts = model.displacement_parts(STEPS, position=1.0)
    found = parts.to_xarray(step=STEPS)
    for name in ("drift", "relaxation", "noise", "total", "ballistic_share"):
        np.testing.assert_array_equal(found[name], getattr(parts, name))
    np.testing.assert_allclose(found.total, model.displacement(STEPS, position=1.0))
    table = parts.to_pandas(step=STEPS)
    np.testing.assert_array_equal(table.index, STEPS)
    np.testing.assert_array_equal(table["noise"], parts.noise)
    with pytest.raises(ValueError, match=r"drift has shape \(4,\).*axes given are none"):
        parts.to_xarray()
    with pytest.raises(ValueError, match=r"step of 2"):
        parts.to_xarray(step=[1, 2])
    # A grid brings its names itself.
    grid = sgd.Predictor(sgd.Hyperparameters.grid([0.1, 0.2]), spectrum())
    named = grid.displacement_parts(STEPS).to_xarray()
    assert dict(named.sizes) == {"learning_rate": 2, "step": 4}


def test_crossovers():
    model = sgd.Predictor(one(), spectrum(), sampling="epochs")
    crossovers = model.crossovers(position=1.0)
    found = crossovers.to_xarray()
    np.testing.assert_array_equal(found.relaxation_steps, crossovers.relaxation)
    assert found.relaxation_steps.dims == ("mode",)
    assert found.epoch == 8
    table = crossovers.to_pandas()
    assert len(table) == 1
    assert table["saturation"].item() == crossovers.saturation
    assert "relaxation_steps" not in table
    grid = sgd.Predictor(sgd.Hyperparameters.grid([0.1, 0.2]), spectrum()).crossovers()
    assert grid.to_xarray().relaxation_steps.dims == ("learning_rate", "mode")
    assert grid.to_pandas().index.name == "learning_rate"
    assert "epoch" not in grid.to_pandas()


def test_sensitivities():
    model = sgd.Predictor(one(), spectrum())
    found = sgd.sensitivities(model, "displacement", STEPS)
    data = found.to_xarray(step=STEPS)
    np.testing.assert_array_equal(data.batch_size, found.batch_size)
    np.testing.assert_allclose(data.batch_size, -1)
    assert "logarithmic" not in data
    table = found.to_pandas(step=STEPS)
    assert list(table.columns) == ["learning_rate", "lost_momentum", "batch_size", "weight_decay"]
    single = sgd.sensitivities(model, "local_displacement").to_pandas()
    assert single["batch_size"].item() == pytest.approx(-1)


def test_spectra():
    found = spectrum().to_pandas()
    assert list(found.columns) == ["eigenvalue", "noise_variance", "count"]
    np.testing.assert_array_equal(found["count"], [1, 2, 30])
    torch = pytest.importorskip("torch")
    tensor = sgd.Spectrum(torch.tensor([2.0, 1.0], requires_grad=True))
    np.testing.assert_array_equal(tensor.to_xarray().eigenvalue, [2.0, 1.0])


def test_a_calibration_has_a_row_for_each_direction():
    rng = np.random.default_rng(0)
    path = np.zeros((400, 2))
    for k in range(1, 400):
        path[k] = path[k - 1] - 0.1 * (path[k - 1] * [1.0, 3.0] + rng.standard_normal(2))
    found = sgd.calibrate(path, sgd.Hyperparameters(0.1))
    table = found.to_pandas()
    assert table.index.name == "direction"
    np.testing.assert_array_equal(table["curvature"], found.curvature)
    np.testing.assert_array_equal(table["curvature_upper"], found.curvature_interval[:, 1])
    assert "pooled_scale" not in table


def test_curves_of_an_own_rule_carry_its_parameters():
    model = sgd.Predictor(one(), spectrum(), rule=sgd.quasi_hyperbolic(), parameters={s.nu: 0.7})
    assert model.to_xarray(STEPS).nu == 0.7
    assert list(model.to_pandas(STEPS).columns) == ["displacement", "exponent"]


def test_without_xarray_it_is_said_what_to_install():
    code = """
import sys
sys.modules["xarray"] = None
import sgdtheory as sgd
model = sgd.Predictor(sgd.Hyperparameters(0.1), sgd.Spectrum([1.0]))
crossovers = model.crossovers()
for ask in (model.to_xarray, model.to_pandas, model.spectrum.to_pandas, crossovers.to_xarray):
    try:
        ask()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("pip install 'sgdtheory[sweeps]'" in line for line in lines)
