"""The spectrum: what it holds and refuses, what it is made of, and sums over its directions."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from scipy.stats import t as student

import sgdtheory as sgd
from sgdtheory.spectra.lanczos_quadrature import LanczosQuadrature
from sgdtheory.spectra.named_densities import power_law
from sgdtheory.spectra.negative_tails import NegativeTail

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


# -- sums over directions ---------------------------------------------------------------------


def test_moments_are_means_over_all_directions():
    spectrum = sgd.Spectrum([3.0, 1.0], counts=[1, 3])
    matrix = np.diag([3.0, 1, 1, 1])
    for order in range(5):
        exact = np.trace(np.linalg.matrix_power(matrix, order)) / 4
        assert spectrum.moment(order) == pytest.approx(exact)
    assert spectrum.trace == np.trace(matrix)
    assert spectrum.size == 4


def test_effective_dimensions_of_a_matrix():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 8)) * np.geomspace(1, 0.01, 8)
    matrix = x.T @ x / 50
    spectrum = sgd.Spectrum(np.linalg.eigvalsh(matrix))
    participation = np.trace(matrix) ** 2 / (matrix**2).sum()
    assert spectrum.participation_ratio == pytest.approx(participation)
    # The ridge's hat matrix X (XᵀX + NλI)⁻¹ Xᵀ has the trace that is asked for.
    hat = x @ np.linalg.inv(x.T @ x + 50 * 0.1 * np.eye(8)) @ x.T
    assert spectrum.ridge_degrees_of_freedom(0.1) == pytest.approx(np.trace(hat))


def test_sums_keep_gradients():
    rho = torch.tensor([2.0, 1.0], dtype=torch.float64, requires_grad=True)
    spectrum = sgd.Spectrum(rho, counts=torch.tensor([1.0, 2.0]))
    parts = (spectrum.trace, spectrum.moment(2), spectrum.participation_ratio)
    sum((*parts, spectrum.ridge_degrees_of_freedom(1.0))).backward()
    step = 1e-6
    for i in range(2):
        shifted = []
        for sign in (-1, 1):
            moved = rho.detach().numpy().copy()
            moved[i] += sign * step
            s = sgd.Spectrum(moved, counts=[1, 2])
            shifted.append(
                s.trace + s.moment(2) + s.participation_ratio + s.ridge_degrees_of_freedom(1.0)
            )
        assert rho.grad[i].item() == pytest.approx((shifted[1] - shifted[0]) / (2 * step), rel=1e-7)


# -- negative eigenvalues ------------------------------------------------------------------------

MEASURED = {"eigenvalues": [2.0, -0.5, 1.0, -0.25], "counts": [1.0, 2.0, 1.0, 4.0]}


def _measured(negative, **further):
    return sgd.Spectrum.from_hessian_eigenvalues(**MEASURED, negative=negative, **further)


def test_negative_eigenvalues_are_refused_unless_the_caller_chooses():
    with pytest.raises(ValueError, match=r"eigenvalues\[1\] = -0\.5: 2 of 4 .*'drop', 'clamp'"):
        sgd.Spectrum.from_hessian_eigenvalues(**MEASURED)
    with pytest.raises(ValueError, match="negative = 'forget'"):
        _measured("forget")


def test_what_was_dropped_is_reported():
    spectrum = _measured("drop")
    assert spectrum.eigenvalues.tolist() == [2.0, 1.0]
    assert spectrum.counts.tolist() == [1.0, 1.0]
    assert spectrum.negative_tails == (NegativeTail("drop", 6.0, -2.0, -0.5),)
    assert "6 negative directions dropped, of trace -2" in repr(spectrum)


def test_clamped_directions_stay_as_flat_ones():
    spectrum = _measured("clamp", noise_scale=3.0)
    assert spectrum.eigenvalues.tolist() == [2.0, 0.0, 1.0, 0.0]
    assert spectrum.size == 8
    assert spectrum.variances.tolist() == [6.0, 0.0, 3.0, 0.0]
    assert spectrum.negative_tails[0].trace == -2.0


def test_drifting_directions_keep_their_curvature_and_only_the_noise_they_are_given():
    silent, noisy = (
        _measured("drift", noise_scale=3.0, drift_noise_scale=scale) for scale in (0.0, 2.0)
    )
    assert silent.eigenvalues.tolist() == MEASURED["eigenvalues"]
    assert silent.variances.tolist() == [6.0, 0.0, 3.0, 0.0]
    assert noisy.variances.tolist() == [6.0, 1.0, 3.0, 0.5]
    assert silent.negative_tails[0].handling == "drift"


def test_a_silent_drift_is_the_deterministic_run():
    spectrum = sgd.Spectrum.from_hessian_eigenvalues([-0.3], negative="drift")
    found = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), spectrum).displacement(25, position=0.2)
    x, v = 0.2, 0.0
    for _ in range(25):
        x, v = oracles.heavy_ball(x, v, lambda at: -0.3 * at, 0.1, 0.9)
    assert found == pytest.approx((x - 0.2) ** 2, rel=1e-12)


def test_measured_noise_is_kept_with_drift():
    spectrum = _measured("drift", noise_variances=[1.0, 2.0, 3.0, 4.0])
    assert spectrum.variances.tolist() == [1.0, 2.0, 3.0, 4.0]
    dropped = _measured("drop", noise_variances=[1.0, 2.0, 3.0, 4.0])
    assert dropped.variances.tolist() == [1.0, 3.0]


def test_nothing_negative_leaves_nothing_to_report():
    spectrum = sgd.Spectrum.from_hessian_eigenvalues([1.0, 0.0], negative="drop")
    assert spectrum.negative_tails == ()
    assert "negative" not in repr(spectrum)


def test_dropping_everything_is_refused():
    with pytest.raises(ValueError, match="all are negative"):
        sgd.Spectrum.from_hessian_eigenvalues([-1.0], negative="drop")


@pytest.mark.parametrize("negative", ["drop", "clamp", "drift"])
def test_tensors_stay_tensors_with_their_gradients(negative):
    rho = torch.tensor([2.0, -0.5, 1.0], dtype=torch.float64, requires_grad=True)
    spectrum = sgd.Spectrum.from_hessian_eigenvalues(rho, negative=negative, drift_noise_scale=4.0)
    spectrum.total(spectrum.variances).backward()
    expected = {"drop": [1.0, 0, 1], "clamp": [1.0, 0, 1], "drift": [1.0, -4.0, 1]}[negative]
    assert rho.grad.tolist() == expected


def test_reports_survive_compression_joining_and_sampling():
    rng = np.random.default_rng(0)
    rho = np.append(rng.uniform(0, 1, 1000), -0.5)
    spectrum = sgd.Spectrum.from_hessian_eigenvalues(rho, negative="drop")
    other = sgd.Spectrum.from_hessian_eigenvalues([1.0, -2.0], negative="clamp")
    assert spectrum.compress(1e-4, momentum=0.0).negative_tails == spectrum.negative_tails
    assert spectrum.sample(5, rng).negative_tails == spectrum.negative_tails
    joined = sgd.Spectrum.joined([spectrum, other])
    assert [tail.handling for tail in joined.negative_tails] == ["drop", "clamp"]


# -- stochastic Lanczos quadrature ----------------------------------------------------------------


def _lanczos(matrix, probes, steps, rng):
    """Ritz values and weights of random signs, with full reorthogonalisation."""
    ritz, weights, starts = [], [], []
    for _ in range(probes):
        basis = [rng.choice([-1.0, 1.0], len(matrix)) / np.sqrt(len(matrix))]
        for _ in range(steps - 1):
            further = matrix @ basis[-1]
            for _ in range(2):
                further -= np.transpose(basis) @ (np.array(basis) @ further)
            basis.append(further / np.linalg.norm(further))
        projected = np.array(basis) @ matrix @ np.transpose(basis)
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        ritz.append(values)
        weights.append(vectors[0] ** 2)
        starts.append(basis[0])
    return np.array(ritz), np.array(weights), np.array(starts)


def _hessian(d, rng):
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return rotation @ np.diag(rng.uniform(0.1, 2, d) ** 3) @ rotation.T


def test_ritz_values_give_traces_of_low_powers_exactly_for_their_probes():
    rng = np.random.default_rng(4)
    matrix = _hessian(60, rng)
    ritz, weights, starts = _lanczos(matrix, 5, 6, rng)
    spectrum = sgd.Spectrum.from_lanczos(ritz, weights, 60)
    assert spectrum.size == pytest.approx(60)
    for order in range(2 * 6):
        power = np.linalg.matrix_power(matrix, order)
        seen = np.mean([v @ power @ v for v in starts])
        assert spectrum.moment(order) == pytest.approx(seen, rel=1e-9)


def test_the_standard_error_between_probes_covers_the_truth():
    """40 intervals of a t distribution with 9 degrees of freedom at 95 %: fewer than 32 cover with
    a probability of 1e-4 (binomial)."""
    rng = np.random.default_rng(5)
    matrix = _hessian(40, rng)
    square = np.trace(matrix @ matrix)
    covered = 0
    for _ in range(40):
        ritz, weights, _ = _lanczos(matrix, 10, 3, rng)
        value, error = LanczosQuadrature(ritz, weights, 40).estimate(lambda rho: rho**2)
        covered += abs(value - square) < student.isf(0.025, 9) * error
    assert covered >= 32


def test_a_probes_negative_ritz_values_are_handled_like_others():
    arguments = ([[-1.0, 2.0], [1.0, 3.0]], [[0.25, 0.75], [1.0, 0.0]], 8)
    with pytest.raises(ValueError, match="negative='refuse'"):
        sgd.Spectrum.from_lanczos(*arguments)
    spectrum = sgd.Spectrum.from_lanczos(*arguments, negative="drop")
    assert spectrum.eigenvalues.tolist() == [2.0, 1.0]
    assert spectrum.counts.tolist() == [3.0, 4.0]
    assert spectrum.negative_tails == (NegativeTail("drop", 1.0, -1.0, -1.0),)


def test_one_probe_has_no_standard_error():
    probe = LanczosQuadrature([1.0, 3.0], [0.5, 0.5], 10)
    assert probe.estimate(lambda rho: rho).value == 20.0
    assert np.isnan(probe.estimate(lambda rho: rho).standard_error)


def test_tensors_of_ritz_values_stay_tensors():
    ritz = torch.tensor([[1.0, 3.0]], dtype=torch.float32)
    spectrum = sgd.Spectrum.from_lanczos(ritz, torch.tensor([[0.5, 0.5]]), 10)
    assert spectrum.counts.dtype is torch.float32
    assert spectrum.trace.item() == 20.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0, 2.0], [0.5, 0.4], 3), r"weights of probe 0 sum to 0\.9"),
        (([1.0, 2.0], [1.5, -0.5], 3), r"weights\[\(0, 1\)\] = -0\.5"),
        (([1.0, 2.0], [1.0], 3), r"weights has shape \(1, 1\)"),
        (([[[1.0]]], [[[1.0]]], 3), r"ritz_values has shape \(1, 1, 1\)"),
        (([NAN], [1.0], 3), "ritz_values has entries that are not finite"),
        ((["a"], [1.0], 3), "ritz_values = .*real numbers"),
        (([1.0], [1.0], 0), "dimension = 0"),
    ],
)
def test_what_is_no_quadrature_is_refused_by_name(arguments, said):
    with pytest.raises(ValueError, match=said):
        sgd.Spectrum.from_lanczos(*arguments)


# -- joining and sampling -------------------------------------------------------------------------


def test_joined_spectra_have_the_sum_of_their_displacements():
    parts = [
        sgd.Spectrum([1.0, 0.1], noise_scale=2.0),
        sgd.Spectrum([0.5], noise_variances=[3.0], counts=[7]),
        sgd.Spectrum([0.3], noise_scale=0.5),
    ]
    hyper, steps = sgd.Hyperparameters(0.2, 0.5), [1, 10, 100]
    whole = sgd.Predictor(hyper, sgd.Spectrum.joined(parts)).displacement(steps)
    apart = sum(sgd.Predictor(hyper, part).displacement(steps) for part in parts)
    assert np.allclose(whole, apart, rtol=1e-12)


def test_a_common_noise_scale_is_kept():
    joined = sgd.Spectrum.joined([sgd.Spectrum([1.0], 2.0), sgd.Spectrum([3.0], 2.0)])
    assert (joined.noise_scale, joined.noise_variances) == (2.0, None)


def test_tensors_of_equal_value_keep_gradients_of_their_own():
    scales = [torch.tensor(2.0, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rho = [torch.tensor([value], dtype=torch.float64) for value in (1.0, 3.0)]
    parts = [sgd.Spectrum(*pair) for pair in zip(rho, scales, strict=True)]
    sgd.Spectrum.joined(parts).variances.sum().backward()
    assert [scale.grad.item() for scale in scales] == [1.0, 3.0]
    with pytest.raises(ValueError, match="some hold tensors"):
        sgd.Spectrum.joined([parts[0], sgd.Spectrum([1.0])])


def test_compressed_spectra_are_not_joined():
    small = sgd.Spectrum.from_density(power_law(0, 0.1, 1.0), momentum=0.0)
    with pytest.raises(ValueError, match=r"spectra\[1\] = .*not compressed"):
        sgd.Spectrum.joined([sgd.Spectrum([1.0]), small])
    with pytest.raises(ValueError, match=r"chunk 0 = .*not compressed"):
        sgd.CompressedSpectrum.of([small], largest=1.0)
    with pytest.raises(ValueError, match="there are none"):
        sgd.Spectrum.joined([])


def test_samples_of_a_spectrum_have_its_shares():
    """A binomial number within 5 deviations: one false alarm in 1.7 million."""
    spectrum = sgd.Spectrum([3.0, 1.0], noise_variances=[5.0, 7.0], counts=[1, 3])
    drawn = spectrum.sample(10_000, np.random.default_rng(6))
    assert drawn.size == 10_000
    assert dict(zip(drawn.eigenvalues, drawn.variances, strict=True)) == {3.0: 5.0, 1.0: 7.0}
    first = drawn.counts[list(drawn.eigenvalues).index(3.0)]
    assert abs(first - 2500) < 5 * np.sqrt(10_000 * 0.25 * 0.75)


def test_counts_of_both_signs_cannot_be_sampled():
    rho = np.concatenate([0.5 + 1e-9 * np.arange(1000), [1.0]])
    small = sgd.Spectrum(rho).compress(1e-6, momentum=0.5)
    assert small.counts.min() < 0
    with pytest.raises(ValueError, match="counts of both signs"):
        small.sample(10, np.random.default_rng(0))
