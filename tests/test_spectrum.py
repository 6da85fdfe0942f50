"""The spectrum: what it holds, how multiplicities weigh, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sgdtheory as sgd

NAN, INF = float("nan"), float("inf")


def test_noise_proportional_to_the_hessian():
    assert np.array_equal(sgd.Spectrum([2.0, 0.5], noise_scale=3.0).variances, [6.0, 1.5])


def test_the_noise_scale_is_one_unless_given():
    assert np.array_equal(sgd.Spectrum([2.0, 0.5]).variances, [2.0, 0.5])


def test_noise_of_its_own():
    spectrum = sgd.Spectrum([2.0, 0.5], noise_variances=[1.0, 0.0])
    assert np.array_equal(spectrum.variances, [1.0, 0.0])


def test_its_length_is_the_number_of_modes():
    assert len(sgd.Spectrum([1.0, 2.0, 3.0], counts=[1, 1, 9])) == 3


def test_counts_weigh_a_sum_over_modes():
    spectrum = sgd.Spectrum([1.0, 2.0], counts=[3, 10])
    assert np.array_equal(spectrum.total(np.array([[1.0, 2.0], [5.0, 0.0]])), [23.0, 15.0])


def test_a_saddle_is_allowed_when_its_noise_is_given():
    assert sgd.Spectrum([-1.0], noise_variances=[2.0]).eigenvalues == [-1.0]


def test_integers_become_floats():
    assert sgd.Spectrum([1, 2]).eigenvalues.dtype == np.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_stay_tensors(dtype):
    eigenvalues = torch.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    spectrum = sgd.Spectrum(eigenvalues, noise_scale=2.0, counts=[1, 2])
    assert spectrum.variances.dtype is dtype
    assert spectrum.counts.dtype is dtype
    spectrum.total(spectrum.variances).backward()
    assert torch.equal(eigenvalues.grad, torch.tensor([2.0, 4.0], dtype=dtype))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"eigenvalues": []}, r"eigenvalues .*\(0,\)"),
        ({"eigenvalues": 1.0}, r"eigenvalues .*\(\)"),
        ({"eigenvalues": [[1.0]]}, r"eigenvalues .*\(1, 1\)"),
        ({"eigenvalues": [1.0, NAN]}, r"eigenvalues\[1\] = nan.*finite"),
        ({"eigenvalues": [INF]}, r"eigenvalues\[0\] = inf.*finite"),
        ({"eigenvalues": [1.0, -2.0]}, r"eigenvalues\[1\] = -2.*≥ 0"),
        ({"eigenvalues": ["one"]}, "eigenvalues"),
        ({"eigenvalues": [1.0], "noise_scale": -1.0}, r"noise_scale = -1.*≥ 0"),
        ({"eigenvalues": [1.0], "noise_scale": NAN}, "noise_scale = nan.*≥ 0"),
        ({"eigenvalues": [1.0], "noise_scale": [1.0]}, "noise_scale = .*number"),
        ({"eigenvalues": [1.0], "noise_scale": "much"}, "noise_scale"),
        ({"eigenvalues": [1.0], "noise_variances": [-1.0]}, r"noise_variances\[0\] = -1.*≥ 0"),
        ({"eigenvalues": [1.0], "noise_variances": [NAN]}, r"noise_variances\[0\] = nan.*finite"),
        ({"eigenvalues": [1.0, 2.0], "noise_variances": [1.0]}, "noise_variances has 1 .* 2"),
        (
            {"eigenvalues": [1.0], "noise_variances": [1.0], "noise_scale": 2.0},
            "noise_scale = 2.*noise_variances",
        ),
        ({"eigenvalues": [1.0], "counts": [0.0]}, r"counts\[0\] = 0.*> 0"),
        ({"eigenvalues": [1.0], "counts": [NAN]}, r"counts\[0\] = nan"),
        ({"eigenvalues": [1.0], "counts": [1.0, 2.0]}, "counts has 2 .* 1"),
    ],
)
def test_what_is_no_spectrum_is_refused_by_name(arguments, said):
    with pytest.raises(ValueError, match=said):
        sgd.Spectrum(**arguments)


def test_tensors_and_arrays_do_not_mix():
    with pytest.raises(ValueError, match="noise_variances"):
        sgd.Spectrum([1.0], noise_variances=torch.ones(1))
