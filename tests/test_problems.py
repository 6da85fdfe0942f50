"""What is trained, and on what: data with known Hessians, files of features, models and losses."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18 as torchvision_resnet18

from validation.data import Examples, Regression, examples, power_law, regression
from validation.experiments import Data, Model
from validation.losses import cross_entropy, half_squared_error, loss
from validation.models import model
from validation.residual_network import FrozenStatistics


def small_images():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 3, 8, 8, generator=generator)
    return Examples("images", inputs, torch.eye(4)[torch.arange(12) % 4])


def own_problem(size):
    return Regression("own", np.eye(size), np.ones((size, 1)))


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("size", [(50, 6), (3000, 40)])
def test_a_teacher_has_exactly_the_spectrum_it_declares(size, rotated):
    found = power_law(*size, exponent=1.3, rotated=rotated)
    hessian = found.features.T @ found.features / len(found.features)
    wanted = np.arange(1, size[1] + 1) ** -1.3
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian)[::-1], wanted, rtol=1e-10)
    off_diagonal = np.abs(hessian - np.diag(np.diag(hessian))).max()
    assert off_diagonal > 1e-3 if rotated else off_diagonal < 1e-12


def test_a_teacher_without_noise_is_learned_exactly():
    found = power_law(30, 4, exponent=1.0, noise=0.0)
    residual = np.linalg.lstsq(found.features, found.targets, rcond=None)[1]
    assert residual[0] < 1e-20
    with pytest.raises(ValueError, match="features = 5 and examples = 4"):
        power_law(4, 5, exponent=1.0)


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_features_on_disk_are_standardized_with_a_constant_and_one_hot_labels(tmp_path, form):
    generator = np.random.default_rng(0)
    arrays = {"features": generator.normal(3, 2, size=(20, 3)), "labels": np.arange(20) % 2 * 7}
    arrays["features"][:, 1] = 5.0
    path = tmp_path / "found.npz"
    if form == "npz":
        np.savez(path, **arrays)
    else:
        path = tmp_path / "found"
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    found = regression(Data("features", {"path": path.name}), tmp_path)
    np.testing.assert_allclose(found.features.mean(axis=0), [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(found.features.std(axis=0), [1, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(found.targets.argmax(axis=1), np.arange(20) % 2)


def test_features_are_taken_as_they_are_if_that_is_declared(tmp_path):
    arrays = {"features": np.arange(8.0).reshape(4, 2), "targets": np.arange(4.0)}
    np.savez(tmp_path / "plain.npz", **arrays)
    options = {"path": "plain.npz", "standardize": False}
    found = regression(Data("features", options), tmp_path)
    np.testing.assert_array_equal(found.features, arrays["features"])
    np.testing.assert_array_equal(found.targets, arrays["targets"][:, None])


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"labels": np.arange(3)}, "holds no array 'features'"),
        ({"features": np.ones((3, 2))}, "holds no array 'labels'"),
        ({"features": np.ones((3, 2)), "labels": np.arange(4)}, "3 examples and targets of 4"),
        ({"features": np.full((3, 2), np.nan), "labels": np.arange(3)}, "not finite in 3 rows"),
        ({"features": np.ones((3, 2)), "labels": np.ones(3)}, "They must be integers"),
        ({"features": np.ones(3), "labels": np.arange(3)}, "has the shape"),
        ({"features": np.array([[{}]]), "labels": np.arange(1)}, "arrays of objects are not read"),
    ],
)
def test_features_that_do_not_fit_are_refused_by_name(tmp_path, arrays, told):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ValueError, match=rf"wrong\.npz.*{told}"):
        regression(Data("features", {"path": "wrong.npz"}), tmp_path)


def test_missing_and_foreign_feature_files_are_refused_by_name(tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("text.npz", "absent.npz"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read"):
            regression(Data("features", {"path": name}), tmp_path)


def test_own_functions_are_found_and_what_is_not_there_is_listed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_problem.py").write_text(
        "import numpy as np\nfrom validation.data import Regression\n"
        "def own(size=2):\n    return Regression('own', np.eye(size), np.ones((size, 1)))\n"
    )
    found = regression(Data("my_problem:own", {"size": 3}), tmp_path)
    assert found.features.shape == (3, 3)
    with pytest.raises(ValueError, match=r"data\.name = 'digit': there are diabetes, digits"):
        regression(Data("digit"), tmp_path)
    with pytest.raises(ValueError, match="The options are: size"):
        regression(Data("my_problem:own", {"sise": 3}), tmp_path)
    with pytest.raises(ValueError, match="cannot be used"):
        regression(Data("my_problem:other"), tmp_path)


def test_images_keep_their_shape_and_take_the_precision_of_the_model(tmp_path):
    found = examples(Data("digits_images", {"size": 16}), tmp_path, torch.float64)
    assert found.inputs.shape == (1797, 3, 16, 16)
    assert found.inputs.dtype == found.targets.dtype == torch.float64
    assert torch.equal(found.targets.sum(dim=1), torch.ones(1797, dtype=torch.float64))


@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_initial_weights_are_those_of_the_seed_and_nothing_else(name, tmp_path):
    spec = Model(name, {"width": 8})
    before = torch.get_rng_state()
    first = model(spec, small_images(), 3, tmp_path).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    again, other = (model(spec, small_images(), seed, tmp_path).state_dict() for seed in (3, 4))
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


def test_at_full_width_the_network_is_torchvisions(tmp_path):
    """Its own weights, in evaluation: the same outputs to rounding."""
    reference = torchvision_resnet18(num_classes=4).eval()
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    options = {"width": 64, "stem": "imagenet", "batch_norm": "evaluation"}
    images = Examples("large", torch.randn(2, 3, 64, 64), torch.eye(4)[:2])
    found = model(Model("resnet18", options, weights="weights.safetensors"), images, 0, tmp_path)
    torch.testing.assert_close(found(images.inputs), reference(images.inputs))


def test_frozen_statistics_are_those_of_the_data_and_stay(tmp_path):
    images = small_images()
    network = model(Model("resnet18", {"width": 4}), images, 0, tmp_path)
    network.train()
    seen = []
    network.conv1.register_forward_hook(lambda module, given, made: seen.append(made))
    network(images.inputs)
    network(images.inputs[:3])
    first = network.bn1
    assert isinstance(first, FrozenStatistics)
    mean = seen[0].mean(dim=(0, 2, 3))
    torch.testing.assert_close(first.running_mean, mean, rtol=1e-4, atol=1e-5)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    save_file({"stray": torch.ones(2)}, tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match=r"wrong\.safetensors does not fit.*stray is not of the"):
        model(Model("mlp", weights="wrong.safetensors"), small_images(), 0, tmp_path)
    with pytest.raises(ValueError, match=r"absent\.safetensors cannot be read"):
        model(Model("mlp", weights="absent.safetensors"), small_images(), 0, tmp_path)


def test_units_are_smooth_or_rectified(tmp_path):
    """Of rectified units without offsets an output is as large as its input."""
    images = small_images()
    for units, rectified in (("tanh", False), ("relu", True)):
        network = model(Model("mlp", {"units": units}), images, 0, tmp_path)
        for part in network:
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.zeros_(part.bias)
        once, thrice = network(images.inputs), network(3 * images.inputs)
        assert torch.allclose(3 * once, thrice, rtol=1e-4, atol=1e-5) == rectified
    with pytest.raises(ValueError, match=r"units = 'sin'\. .* units tanh or relu"):
        model(Model("mlp", {"units": "sin"}), images, 0, tmp_path)


def test_copies_are_of_linear_models_alone(tmp_path):
    linear = examples(Data("diabetes"), tmp_path, torch.float64)
    found = model(Model("linear", dtype="float64"), linear, 0, tmp_path, replicas=3)
    assert found.weights.shape == (3, 10, 1)
    with pytest.raises(ValueError, match=r"record\.replicas = 2"):
        model(Model("mlp"), small_images(), 0, tmp_path, replicas=2)
    with pytest.raises(
        ValueError, match=r"model\.name = 'mpl': there are linear, mlp, vgg, resnet18"
    ):
        model(Model("mpl"), small_images(), 0, tmp_path)


def test_losses_are_means_over_the_batch():
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    targets = torch.eye(3)[[0, 2, 1, 1, 0]]
    by_hand = sum(0.5 * float(((f - y) ** 2).sum()) for f, y in zip(outputs, targets, strict=True))
    assert float(half_squared_error(outputs, targets)) == pytest.approx(by_hand / 5, rel=1e-6)
    expected = torch.nn.functional.cross_entropy(outputs, targets)
    torch.testing.assert_close(cross_entropy(outputs, targets), expected)
    assert loss("cross_entropy") is cross_entropy
    with pytest.raises(ValueError, match=r"outputs have the shape \(5, 3\), the targets \(5, 1\)"):
        half_squared_error(outputs, targets[:, :1])
    with pytest.raises(ValueError, match=r"loss\.name = 'hinge'"):
        loss("hinge")
