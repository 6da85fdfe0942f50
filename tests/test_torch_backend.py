"""PyTorch: transforms and the compiler see what eager and NumPy compute; derivatives are right."""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import pytest
import torch
from sympy import Matrix
from torch.func import grad, hessian, jacfwd, jacrev, vmap

import sgdtheory as sgd
from sgdtheory.lowering.jets import Jet
from sgdtheory.special_functions import CONTINUOUS, DISCRETE

# torch itself imports a deprecated part of itself when forward derivatives are first asked for.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*:FutureWarning")

s = sgd.symbols
A, B = s.y, s.h
FUNCTIONS = {
    "continuous flow": CONTINUOUS.classes[:4],
    "continuous mode": CONTINUOUS.classes,
    "discrete flow": DISCRETE.classes[:4],
    "discrete mode": DISCRETE.classes,
    "discrete sums": DISCRETE.sum_classes,
}
# (trace, determinant): over-, critically and underdamped, flat, nearly flat, λ = 0 without
# friction, and, in discrete time, alternating.
POINTS = torch.tensor(
    [[1.0, 0.1], [0.5, 0.0625], [0.5, 0.8], [0.5, 0.0], [0.5, 1e-9], [0.0, 0.0], [2.5, 1.55]],
    dtype=torch.float64,
)
COUNTS = torch.tensor([[0.0], [1.0], [6.0], [13.0]], dtype=torch.float64)


def gather(classes):
    return Matrix([[function(s.k, A, B) for function in classes]])


@cache
def lowered(name, backend="torch"):
    return sgd.lower(gather(FUNCTIONS[name]), (s.k, A, B), backend)


@cache
def epoch():
    """A mode taken at functions of another mode: an epoch as one long update."""
    inner = DISCRETE.functions(s.n, A, B)
    outer = DISCRETE.functions(s.k, inner.step_response, inner.impulse_response**2)
    sums = DISCRETE.sums(s.k, inner.step_response, B)
    expression = outer.impulse_response + outer.position_gramian + sums.twice
    return sgd.lower(expression.subs(s.n, 5), (s.k, A, B), "torch")


@pytest.fixture(params=[*FUNCTIONS, "epoch"])
def function(request):
    return epoch() if request.param == "epoch" else lowered(request.param)


@pytest.fixture(autouse=True)
def forget_compilations():
    yield
    torch.compiler.reset()


def point():
    return COUNTS, *POINTS.T


def close(first, second):
    """To a few roundings of the largest value."""
    return (first - second).abs().max() <= 1e-14 * second.abs().max()


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_eager_is_numpy(name):
    values = lowered(name)(*point())
    reference = lowered(name, "numpy")(*(x.numpy() for x in point()))
    assert close(values, torch.as_tensor(reference))


def test_vmap_over_one_axis_after_the_other(function):
    rows = vmap(vmap(function, (None, 0, 0)), (0, None, None))
    k, a, b = point()
    assert close(rows(k[:, 0], a, b), function(k, a, b))


def test_vmap_over_an_inner_axis(function):
    k, a, b = point()
    values = vmap(function, (None, 1, 1), out_dims=1)(k[0], a[None].expand(3, -1), b[None])
    assert close(values, function(k[0], a[None].expand(3, -1), b[None]))


def test_blocks_do_not_show(monkeypatch):
    whole = lowered("discrete mode")(*point())
    monkeypatch.setattr("sgdtheory.lowering.torch_modes.BLOCK", 3)
    assert torch.equal(lowered("discrete mode")(*point()), whole)


def test_counts_beyond_single_precision():
    """Whole numbers times a number are of single precision in torch; ours must not be."""
    k, a, b = torch.tensor(2.0**24 + 1, dtype=torch.float64), 2.5, 1.55
    reference = lowered("discrete sums", "numpy")(k.numpy(), a, b)
    assert np.allclose(lowered("discrete sums")(k, a, b), reference, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    "transform", [lambda f: f, vmap, torch.compile], ids=["", "vmap", "compile"]
)
@pytest.mark.parametrize("steps", [-1.0, 1.5, float("nan")])
def test_counts_are_checked_under_transforms(transform, steps):
    f = lowered("discrete flow")
    k = torch.tensor([1.0, steps], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"k = .*whole numbers"):
        transform(lambda at: f(at, 0.5, 0.1))(k)


def test_rates_are_finite():
    with pytest.raises(ValueError, match="rate of inf"):
        lowered("continuous flow")(torch.tensor(float("inf")), 1.0, 1.0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_device_and_type_are_kept(function, device, dtype):
    k, a, b = (x.to(device, dtype) for x in point())
    values = function(k, a, b)
    assert (values.device.type, values.dtype) == (device, dtype)
    assert values.shape[:2] == (len(COUNTS), len(POINTS))


# -- derivatives ----------------------------------------------------------------------------------


def differentiable(function, k, variables):
    """The function of those arguments that have a derivative: not of a number of updates."""
    return (lambda *arguments: function(k, *arguments)), [
        x.clone().requires_grad_() for x in variables
    ]


def test_first_and_second_derivatives(function):
    # A few points each suffice: an alternating one, a flat one, a critical one.
    f, inputs = differentiable(function, COUNTS[2], POINTS[[1, 3, 6]].T)
    assert torch.autograd.gradcheck(f, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, inputs, atol=1e-4)


@pytest.mark.parametrize("name", ["continuous flow", "continuous mode"])
def test_derivatives_by_time(name):
    time = torch.tensor([0.0, 0.05, 3.0], dtype=torch.float64, requires_grad=True)
    a, b = POINTS[:3].T
    assert torch.autograd.gradcheck(lambda t: lowered(name)(t, a, b), time, check_forward_ad=True)


def test_a_derivative_at_critical_damping_has_all_its_digits():
    """∂p/∂b, where regimes meet, against a difference quotient of 60 digits."""
    p = DISCRETE.classes[1]
    b = torch.tensor(0.0625, dtype=torch.float64, requires_grad=True)
    sgd.lower(p(s.k, A, B), (s.k, A, B), "torch")(40.0, 0.5, b).backward()
    with mp.workdps(80):
        step, start = mp.mpf(10) ** -30, mp.mpf(1) / 16

        def left(determinant):
            x, w = mp.mpf(1), mp.mpf(0)
            for _ in range(40):
                x, w = x + w, w - determinant * x - w / 2
            return 1 - x

        slope = (left(start + step) - left(start - step)) / (2 * step)
        assert abs(b.grad.item() / slope - 1) < 1e-13


def test_transforms_agree_with_one_another(function):
    k, a, b = point()
    backward = jacrev(lambda x: function(k, a, x))(b)
    forward = jacfwd(lambda x: function(k, a, x))(b)
    assert close(forward, backward)
    one_by_one = vmap(grad(lambda x, y: function(k[:, 0], x, y).sum(), argnums=1))(a, b)
    assert close(one_by_one, backward.sum(tuple(range(backward.dim() - 1))))
    assert backward.isfinite().all()


def test_a_hessian():
    f = lowered("discrete mode")
    scalar = lambda x: f(6.0, x[0], x[1]).sum()  # noqa: E731
    assert close(hessian(scalar)(POINTS[2]), jacrev(jacrev(scalar))(POINTS[2]))


def test_what_a_power_overflows_to_does_not_reach_a_gradient():
    """An unstable mode at an early time beside a stable one at a late one."""
    k = torch.tensor([3.0, 2.0**40], dtype=torch.float64)
    a = torch.tensor([-50.0, 0.5], dtype=torch.float64, requires_grad=True)
    values = lowered("discrete mode")(k, a, torch.tensor([0.1, 0.1], dtype=torch.float64))
    values.sum().backward()
    assert a.grad.isfinite().all()


# -- the compiler ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["continuous mode", "discrete sums", "epoch"])
def test_compiled_whole(name):
    f = epoch() if name == "epoch" else lowered(name)
    k, a, b = point()
    compiled = torch.compile(f, fullgraph=True)
    assert close(compiled(k, a, b), f(k, a, b))
    b = b.clone().requires_grad_()
    (found,) = torch.autograd.grad(compiled(k, a, b).sum(), b)
    (expected,) = torch.autograd.grad(f(k, a, b).sum(), b)
    assert close(found, expected)


@pytest.mark.parametrize(
    "transform", [vmap, jacrev, jacfwd, lambda f: vmap(grad(lambda x: f(x).sum()))]
)
def test_compiled_transforms(transform):
    f = lowered("discrete flow")
    transformed = transform(lambda x: f(COUNTS, 0.5, x))
    b = POINTS[:, 1]
    # "aot_eager" traces all that the default back end does, and leaves out only its C++.
    compiled = torch.compile(transformed, fullgraph=True, backend="aot_eager")
    assert close(compiled(b), transformed(b))


# -- jets -----------------------------------------------------------------------------------------


def test_a_quotient_of_jets_is_a_taylor_polynomial():
    """1/(1 − x) = 1 + x + x² + …, and (1 + x)/(1 + x) = 1."""
    one, x = Jet({(0,): 1.0}, 4), Jet({(0,): 0.0, (1,): 1.0}, 4)
    assert (one / (1.0 - x)).terms == {(n,): 1.0 for n in range(5)}
    assert (((1.0 + x) / (1.0 + x)) - 1.0).terms == {(n,): 0.0 for n in range(5)}


def test_a_jet_without_a_value_is_refused():
    with pytest.raises(ValueError, match="needs its value"):
        Jet({(1,): 1.0}, 1)
