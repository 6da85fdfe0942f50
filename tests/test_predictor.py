"""The numeric top: shapes, kinds of arrays, both theories by brute force, every refusal."""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest
import torch

import sgdtheory as sgd

s = sgd.symbols
NAN, INF = float("nan"), float("inf")
EIGENVALUES, VARIANCES = [3.0, 0.4, 0.02], [1.0, 2.0, 0.5]
DECAY = 0.01
HYPER = sgd.Hyperparameters(
    learning_rate=0.1, momentum=0.8, batch_size=16, weight_decay=DECAY, dataset_size=1000
)
OWN = {"dampened": {s.tau: 0.3}, "quasi_hyperbolic": {s.nu: 0.7}}
THEORIES = ("discrete", "continuous")


@cache
def model(theory="discrete", rule="heavy_ball", counts=None):
    hyper = HYPER
    if rule == "plain_sgd":
        hyper = sgd.Hyperparameters(0.1, batch_size=16, weight_decay=DECAY)
    spectrum = sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES, counts=counts)
    return sgd.Predictor(
        hyper,
        spectrum,
        theory=theory,
        rule=getattr(sgd, rule)(),
        parameters=OWN.get(rule, {}),
    )


@pytest.fixture(params=THEORIES)
def theory(request):
    return request.param


# -- brute force --------------------------------------------------------------------------------


def law(theory, rule, mode):
    """What one mode does in one update, by hand: a map and the noise it gains."""
    h, noise = EIGENVALUES[mode] + DECAY, VARIANCES[mode] / 16
    hyper = {"eta": 0.1, "beta": 0.0 if rule == "plain_sgd" else 0.8}
    if rule in oracles.OWN_PARAMETERS:
        key = oracles.OWN_PARAMETERS[rule]
        hyper[key] = {"tau": 0.3, "nu": 0.7}[key]
    if theory == "discrete":
        M, n = oracles.linear_law(oracles.UPDATES[rule], h, **hyper)
        return M, oracles.outer(n, noise)
    mass, friction = oracles.PUBLISHED[rule](h, **hyper)
    A, gained = oracles.langevin_law(mass, friction, h, hyper.pop("eta") * noise)
    # One update lasts η: the exact step of the process.
    with mp.workdps(40):
        return oracles.flow(A, gained, 0.1)


def brute_force(theory, rule, mode, steps):
    """The moments after `steps`, and the stationary covariance by iterating until it rests."""
    M, noise = (
        tuple(tuple(map(float, row)) for row in matrix) for matrix in law(theory, rule, mode)
    )
    flow, gained = oracles.iterate(M, noise, steps)
    B = oracles.stationary_recursion(M, noise)
    return {key: np.array(x) for key, x in oracles.moments(flow, gained, B).items()}


RULES = {
    "discrete": tuple(oracles.UPDATES),
    "continuous": ("plain_sgd", "heavy_ball", "nesterov", "dampened"),
}
CASES = pytest.mark.parametrize(
    ("theory", "rule"), [(theory, rule) for theory in THEORIES for rule in RULES[theory]]
)
STEPS = (0, 1, 2, 7, 200)
# Iterating 200 times adds 200 roundings, of moments whose condition number is below 1e3.
CLOSE = {"rtol": 200 * 1e3 * np.finfo(float).eps, "atol": 0}


@CASES
def test_covariances_are_those_of_brute_force(theory, rule):
    predicted = model(theory, rule)
    stationary, transient = predicted.stationary_covariance(), predicted.covariance(STEPS)
    correlation = predicted.autocovariance(STEPS)
    for mode in range(3):
        for i, steps in enumerate(STEPS):
            exact = brute_force(theory, rule, mode, steps)
            scale = np.sqrt(np.outer(*2 * [np.diag(exact["stationary_covariance"])]))
            for found, key in (
                (stationary[mode], "stationary_covariance"),
                (transient[i, mode], "covariance"),
                (correlation[i, mode], "autocovariance"),
            ):
                assert np.allclose(found / scale, exact[key] / scale, rtol=0, atol=CLOSE["rtol"])


@CASES
def test_means_are_those_of_brute_force(theory, rule):
    position, velocity = [0.3, -2.0, 1.0], [1.0, 0.0, -0.5]
    found = model(theory, rule).mean(STEPS, position, velocity)
    for mode in range(3):
        for i, steps in enumerate(STEPS):
            flow = brute_force(theory, rule, mode, steps)["propagator"]
            expected = flow @ [position[mode], velocity[mode]]
            assert np.allclose(found[i, mode], expected, rtol=0, atol=3 * CLOSE["rtol"])


@CASES
def test_the_displacement_sums_the_modes(theory, rule):
    found = model(theory, rule).displacement(STEPS)
    for i, steps in enumerate(STEPS):
        each = [brute_force(theory, rule, mode, steps)["displacement"] for mode in range(3)]
        # An early displacement is a small difference of two variances in the brute force.
        scale = brute_force(theory, rule, 2, 0)["stationary_covariance"][0, 0]
        assert np.isclose(found[i], sum(each), rtol=CLOSE["rtol"], atol=scale * CLOSE["rtol"])


@CASES
def test_the_displacement_from_a_position_is_drift_and_noise(theory, rule):
    position, velocity = np.array([0.3, -2.0, 1.0]), np.array([1.0, 0.0, -0.5])
    found = model(theory, rule).displacement(STEPS, position=position, velocity=velocity)
    for i, steps in enumerate(STEPS):
        total = 0.0
        for mode in range(3):
            exact = brute_force(theory, rule, mode, steps)
            drift = (exact["propagator"] @ [position[mode], velocity[mode]])[0] - position[mode]
            total += drift**2 + exact["covariance"][0, 0]
        assert np.isclose(found[i], total, rtol=CLOSE["rtol"], atol=CLOSE["rtol"])


def test_the_default_is_the_exact_theory_of_heavy_ball():
    spectrum = sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES)
    default = sgd.Predictor(HYPER, spectrum)
    assert np.array_equal(default.displacement(7), model("discrete", "heavy_ball").displacement(7))


def test_noise_proportional_to_the_hessian_spreads_positions_isotropically():
    """Section 4: Var θ = ησ²/(2S(1−β)) for every eigenvalue when λ = 0."""
    hyper = sgd.Hyperparameters(0.1, 0.8, 16)
    spectrum = sgd.Spectrum([3.0, 0.01, 1e-9], noise_scale=2.0)
    covariance = sgd.Predictor(hyper, spectrum, theory="continuous").stationary_covariance()
    assert np.allclose(covariance[:, 0, 0], 0.1 * 2.0 / (2 * 16 * 0.2), rtol=1e-14)


# -- local displacement -------------------------------------------------------------------------


def test_local_displacement_in_continuous_time_is_the_published_law():
    """Section 7: η²σ² tr(H)/(S(1−β²)), with λ = 0."""
    hyper = sgd.Hyperparameters(0.1, 0.8, 16)
    spectrum = sgd.Spectrum(EIGENVALUES, noise_scale=2.0, counts=[1, 5, 100])
    found = sgd.Predictor(hyper, spectrum, theory="continuous").local_displacement()
    trace = 3.0 + 5 * 0.4 + 100 * 0.02
    assert np.isclose(found, 0.1**2 * 2.0 * trace / (16 * (1 - 0.8**2)), rtol=1e-14)


def test_local_displacement_is_the_exact_displacement_of_one_update(name):
    total = 0.0
    for mode in range(3):
        B = brute_force("discrete", name, mode, 1)
        total += 2 * (B["stationary_covariance"] - B["autocovariance"])[0, 0]
    assert np.isclose(model("discrete", name).local_displacement(), total, **CLOSE)


def test_where_steps_are_velocities_local_displacement_is_their_variance():
    exact = model("discrete")
    velocity = exact.stationary_covariance()[:, 1, 1]
    assert np.isclose(exact.local_displacement(), 0.1**2 * velocity.sum(), rtol=1e-13)


@pytest.mark.parametrize("rule", ["nesterov", "quasi_hyperbolic"])
def test_continuous_time_has_no_one_step_displacement_of_other_rules(rule):
    with pytest.raises(ValueError, match=r"theory.*discrete"):
        model("continuous", rule).local_displacement()


# -- exponent -----------------------------------------------------------------------------------


def test_the_exponent_is_the_slope_over_the_neighbouring_steps(theory):
    predicted = model(theory)
    before, after = predicted.displacement([9, 11])
    assert np.isclose(predicted.exponent(10), np.log(after / before) / np.log(11 / 9), rtol=1e-14)


def test_the_exponent_of_the_first_step_looks_forward(theory):
    predicted = model(theory)
    one, two = predicted.displacement([1, 2])
    assert np.isclose(predicted.exponent(1), np.log(two / one) / np.log(2), rtol=1e-14)


def test_the_exponent_of_a_start_is_of_the_transient_displacement(theory):
    predicted, position = model(theory), [1.0, 2.0, 3.0]
    before, after = predicted.displacement([9, 11], position=position)
    found = predicted.exponent([10], position=position)
    assert np.allclose(found, np.log(after / before) / np.log(11 / 9), rtol=1e-14)


def test_motion_is_ballistic_then_diffusive_then_confined():
    """One flat mode with a long memory: exponents 2, 1 and 0, each far from the other scales."""
    hyper = sgd.Hyperparameters(1.0, 0.9999, 1)
    mode = sgd.Predictor(hyper, sgd.Spectrum([1e-12]))
    early, late, ever = mode.exponent([10, 10**6, 10**10])
    # Off by the ratio of the scales: 10 steps to a memory of 2e4, that to 1e6, 1e8 to 1e10.
    assert abs(early - 2) < 1e-2
    assert abs(late - 1) < 5e-2
    assert abs(ever) < 1e-2


# -- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "shape"), [(3, ()), ([3], (1,)), ([1, 2, 3, 4], (4,)), ([[1, 2], [3, 4]], (2, 2))]
)
def test_results_have_the_shape_of_steps_then_modes_then_the_state(theory, steps, shape):
    predicted = model(theory)
    assert np.shape(predicted.displacement(steps)) == shape
    assert np.shape(predicted.displacement(steps, position=1.0)) == shape
    assert np.shape(predicted.exponent(steps)) == shape
    assert predicted.mean(steps, 1.0).shape == (*shape, 3, 2)
    assert predicted.covariance(steps).shape == (*shape, 3, 2, 2)
    assert predicted.autocovariance(steps).shape == (*shape, 3, 2, 2)
    assert predicted.stationary_covariance().shape == (3, 2, 2)
    assert np.shape(predicted.local_displacement()) == ()
    assert predicted.relaxation_steps.shape == (3,)
    assert len(predicted.regime) == 3


def test_counts_weigh_the_sums_and_leave_the_modes_alone(theory):
    alone, weighted = model(theory), model(theory, counts=(1, 5, 100))
    modes = alone.covariance([3, 9])[..., 0, 0]
    assert np.array_equal(weighted.covariance([3, 9]), alone.covariance([3, 9]))
    assert weighted.stationary_covariance().shape == (3, 2, 2)
    transient = weighted.displacement([3, 9], position=0.0)
    assert np.allclose(transient, modes @ [1, 5, 100], rtol=1e-14)


def test_counts_are_repeated_eigenvalues(theory):
    repeated = sgd.Spectrum([3.0, 0.4, 0.4, 0.4])
    counted = sgd.Spectrum([3.0, 0.4], counts=[1, 3])
    long, short = (
        sgd.Predictor(HYPER, spectrum, theory=theory) for spectrum in (repeated, counted)
    )
    assert np.allclose(long.displacement([1, 50]), short.displacement([1, 50]), rtol=1e-14)
    assert np.isclose(long.local_displacement(), short.local_displacement(), rtol=1e-14)


def test_a_number_is_a_position_of_every_mode(theory):
    everywhere = model(theory).mean([4], 1.5, velocity=-2.0)
    assert np.array_equal(everywhere, model(theory).mean([4], [1.5] * 3, velocity=[-2.0] * 3))


def test_numpy_in_numpy_out(theory):
    for value in (
        model(theory).stationary_covariance(),
        model(theory).displacement([1, 2]),
        model(theory).relaxation_steps,
    ):
        assert isinstance(value, np.ndarray)
        assert value.dtype == np.float64


# -- torch --------------------------------------------------------------------------------------


def tensors(dtype=torch.float64, **gradients):
    eigenvalues = torch.tensor(EIGENVALUES, dtype=dtype, **gradients)
    return sgd.Spectrum(eigenvalues, noise_variances=torch.tensor(VARIANCES, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(theory, dtype):
    predicted = sgd.Predictor(HYPER, tensors(dtype), theory=theory)
    for value in (
        predicted.stationary_covariance(),
        predicted.mean([1, 2], 1.0),
        predicted.covariance([1, 2]),
        predicted.autocovariance(3),
        predicted.displacement([1, 2]),
        predicted.displacement([1, 2], position=torch.ones(3, dtype=dtype)),
        predicted.local_displacement(),
        predicted.exponent([1, 2]),
    ):
        assert value.dtype is dtype


def test_tensors_give_the_numbers_of_arrays(theory):
    ours, theirs = sgd.Predictor(HYPER, tensors(), theory=theory), model(theory)
    for result in ("covariance", "autocovariance", "displacement", "exponent"):
        found, expected = (getattr(m, result)([1, 2, 30]) for m in (ours, theirs))
        assert np.allclose(np.asarray(found), expected, rtol=1e-11)


def test_counts_of_updates_may_be_a_tensor(theory):
    found = sgd.Predictor(HYPER, tensors(), theory=theory).displacement(torch.tensor([1, 2]))
    assert np.allclose(np.asarray(found), model(theory).displacement([1, 2]), rtol=1e-11)


def test_gradients_reach_the_eigenvalues(theory):
    start = torch.tensor(EIGENVALUES, dtype=torch.float64, requires_grad=True)
    noise = torch.tensor(VARIANCES, dtype=torch.float64)

    def displacement(eigenvalues):
        spectrum = sgd.Spectrum(eigenvalues, noise_variances=noise)
        return sgd.Predictor(HYPER, spectrum, theory=theory).displacement([3, 20])

    assert torch.autograd.gradcheck(displacement, (start,))


ONE_BY_ONE = {
    "learning_rate": 0.1,
    "momentum": 0.8,
    "batch_size": 16.0,
    "weight_decay": 0.01,
}


@pytest.mark.parametrize("argument", ONE_BY_ONE)
@pytest.mark.parametrize("eigenvalues", [EIGENVALUES, torch.tensor(EIGENVALUES).double()], ids=type)
def test_gradients_reach_every_hyperparameter(theory, argument, eigenvalues):
    """Whether the spectrum is an array or a tensor: the one tensor decides the kind."""

    def results(value):
        hyper = sgd.Hyperparameters(**{**ONE_BY_ONE, argument: value})
        predicted = sgd.Predictor(hyper, sgd.Spectrum(eigenvalues, counts=[1, 2, 3]), theory=theory)
        return (
            predicted.displacement([3, 20]),
            predicted.displacement([3, 20], position=[1.0, 2.0, 3.0]),
            predicted.mean([3], 1.0),
            predicted.local_displacement(),
        )

    start = torch.tensor(ONE_BY_ONE[argument], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(results, (start,))


# -- time scales --------------------------------------------------------------------------------


def predictor(eta, beta, h, theory, rule="heavy_ball"):
    spectrum = sgd.Spectrum(np.atleast_1d(h), noise_variances=np.ones(np.size(h)))
    return sgd.Predictor(
        sgd.Hyperparameters(eta, beta), spectrum, theory=theory, rule=getattr(sgd, rule)()
    )


@pytest.mark.parametrize(
    ("h", "regime"),
    [(0.2, "overdamped"), (0.25, "critical"), (0.3, "underdamped"), (2.3, "alternating")],
)
def test_regimes_of_the_recursion(h, regime):
    """With η = 1 and β = ¼ the roots are real outside (¼, 9/4), both negative beyond."""
    assert predictor(1.0, 0.25, h, "discrete").regime == (regime,)


@pytest.mark.parametrize(
    ("h", "regime"), [(0.08, "overdamped"), (1 / 12, "critical"), (0.09, "underdamped")]
)
def test_regimes_in_continuous_time(h, regime):
    """With η = 1 and β = ½, (1−β)²/(2η(1+β)) = 1/12."""
    assert predictor(1.0, 0.5, h, "continuous").regime == (regime,)


@pytest.mark.parametrize("beta", [0.9, 0.95, 0.99])
def test_the_critical_curvature_of_a_usual_momentum_is_critical(beta):
    """To rounding: the nearest double to (1 − √β)², where nobody can be nearer."""
    assert predictor(1.0, beta, (1 - np.sqrt(beta)) ** 2, "discrete").regime == ("critical",)


def test_there_is_nothing_alternating_in_continuous_time():
    regimes = predictor(1.0, 0.25, np.geomspace(1e-6, 2.4, 50), "continuous").regime
    assert set(regimes) == {"overdamped", "underdamped"}


def test_plain_sgd_alternates_beyond_one_and_only_there():
    """z = 1 − ηh, and 0 for the velocity."""
    h = np.random.default_rng(8).uniform(1e-3, 1.999, 500)
    regimes = np.array(predictor(1.0, 0.0, h, "discrete", "plain_sgd").regime)
    assert np.array_equal(regimes == "alternating", h > 1)
    assert np.array_equal(regimes == "overdamped", h < 1)


@pytest.mark.parametrize("rule", ["heavy_ball", "nesterov"])
def test_relaxation_of_the_recursion_is_that_of_its_slowest_eigenvalue(rule):
    """LAPACK's eigenvalues err by eps/gap, and a rate |log z| ≥ 1e-3 turns that into 1e-12/gap."""
    for h in (1e-2, 0.2, 0.4, 1.5, 2.9):
        M, _ = oracles.linear_law(oracles.UPDATES[rule], h, eta=0.5, beta=0.6)
        roots = np.linalg.eigvals(np.array(M))
        gap = abs(roots[0] - roots[1])
        expected = -1 / np.log(np.abs(roots).max())
        found = predictor(0.5, 0.6, h, "discrete", rule).relaxation_steps
        assert np.allclose(found, expected, rtol=1e-12 / gap)


def test_relaxation_in_continuous_time_is_that_of_the_slowest_rate():
    for h in (1e-2, 0.05, 0.4, 1.5):
        mass, friction = oracles.PUBLISHED["heavy_ball"](h, 0.5, 0.6)
        A, _ = oracles.langevin_law(mass, friction, h, 1.0)
        rates = np.linalg.eigvals(np.array(A))
        expected = 1 / (0.5 * rates.real.min())
        gap = abs(rates[0] - rates[1]) * 0.5
        assert np.allclose(
            predictor(0.5, 0.6, h, "continuous").relaxation_steps, expected, rtol=1e-12 / gap
        )


def test_relaxation_of_a_nearly_flat_direction_keeps_its_digits(theory):
    """(1 − β)/(ηh) to a relative O(ηh): nothing of h is lost beside 1."""
    found = predictor(0.1, 0.9, 1e-13, theory).relaxation_steps
    assert np.allclose(found, 0.1 / 1e-14, rtol=1e-12)


def test_a_direction_that_does_not_relax_takes_forever(theory):
    assert np.array_equal(predictor(0.1, 0.9, [0.0, -1.0], theory).relaxation_steps, [INF, INF])


# -- without a stationary state -----------------------------------------------------------------

UNSTABLE = {
    "flat": (0.0, r"eigenvalues\[1\] = 0 .*h = 0"),
    "downhill": (-2.0, r"eigenvalues\[1\] = -2 .*h = -2"),
}


def with_direction(h, theory):
    hyper = sgd.Hyperparameters(0.1, 0.9, 10)
    spectrum = sgd.Spectrum([1.0, h], noise_variances=[1.0, 1.0])
    return sgd.Predictor(hyper, spectrum, theory=theory)


@pytest.mark.parametrize("case", UNSTABLE)
@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.stationary_covariance(),
        lambda m: m.autocovariance(3),
        lambda m: m.displacement(3),
        lambda m: m.local_displacement(),
        lambda m: m.exponent(3),
    ],
    ids=["covariance", "autocovariance", "displacement", "local", "exponent"],
)
def test_what_needs_a_stationary_state_is_refused_by_name(theory, case, ask):
    h, said = UNSTABLE[case]
    with pytest.raises(sgd.UnstableError, match=said):
        ask(with_direction(h, theory))


@pytest.mark.parametrize("h", [0.0, -2.0])
def test_what_starts_at_a_point_still_works(theory, h):
    predicted = with_direction(h, theory)
    assert np.isfinite(predicted.mean([1, 9], 1.0)).all()
    assert np.isfinite(predicted.covariance([1, 9])).all()
    assert np.isfinite(predicted.displacement([1, 9], position=1.0)).all()
    assert np.isfinite(predicted.exponent([1, 9], position=1.0)).all()


def test_growth_beyond_floating_point_is_said():
    with pytest.raises(sgd.UnstableError, match="floating point"):
        with_direction(-2.0, "discrete").displacement(10**5, position=1.0)


def test_beyond_the_stability_limit_the_message_names_limit_and_remedy():
    """ηh < 2(1+β) = 3.8."""
    with pytest.raises(
        sgd.UnstableError, match=r"eigenvalues\[1\] = 38\.1 .*ηh = 3\.81.*2"
    ) as said:
        with_direction(38.1, "discrete").displacement(3)
    assert "0.9" in str(said.value)
    assert "learning rate" in str(said.value)


def test_the_stability_limit_is_where_it_is_published():
    assert with_direction(37.999, "discrete").displacement(3) > 0
    with pytest.raises(sgd.UnstableError):
        with_direction(38.001, "discrete").displacement(3)


def test_negative_friction_has_no_stationary_state():
    """ν = 20 makes quasi-hyperbolic friction 1 + βηh(1−ν)/(1−β) negative at ηh = 0.1."""
    mode = sgd.Predictor(
        sgd.Hyperparameters(0.1, 0.9, 10),
        sgd.Spectrum([1.0]),
        theory="continuous",
        rule=sgd.quasi_hyperbolic(),
        parameters={s.nu: 20.0},
    )
    with pytest.raises(sgd.UnstableError):
        mode.stationary_covariance()


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate = 0.*> 0"),
        ({"learning_rate": -0.1}, r"learning_rate = -0\.1.*> 0"),
        ({"learning_rate": NAN}, "learning_rate = nan"),
        ({"learning_rate": INF}, "learning_rate = inf"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ({"learning_rate": None}, "learning_rate = None"),
        ({"learning_rate": [0.1, 0.2]}, r"learning_rate = \[0\.1, 0\.2\]"),
        ({"momentum": 1.0}, "momentum = 1.*< 1"),
        ({"momentum": 1.5}, r"momentum = 1\.5.*< 1"),
        ({"momentum": -0.1}, r"momentum = -0\.1.*≥ 0"),
        ({"momentum": NAN}, "momentum = nan"),
        ({"batch_size": 0}, "batch_size = 0.*> 0"),
        ({"batch_size": -4}, "batch_size = -4.*> 0"),
        ({"weight_decay": -1e-4}, r"weight_decay = -0\.0001.*≥ 0"),
        ({"batch_size": 10, "dataset_size": 5}, "dataset_size = 5.*10"),
    ],
)
def test_hyperparameters_out_of_range_are_refused_by_name(arguments, said):
    with pytest.raises(ValueError, match=said):
        sgd.Hyperparameters(**{"learning_rate": 0.1, **arguments})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"theory": "quantum"}, "theory = 'quantum'.*discrete.*continuous"),
        ({"sampling": "shuffled"}, "sampling = 'shuffled'.*with_replacement, epochs, fixed_order"),
        ({"sampling": "backwards"}, "sampling = 'backwards'"),
        ({"parameters": {s.nu: 0.7}}, "parameters = .*heavy ball"),
        ({"rule": sgd.quasi_hyperbolic()}, "parameters = .*nu"),
        (
            {"rule": sgd.quasi_hyperbolic(), "parameters": {s.tau: 0.5}},
            "parameters = .*nu",
        ),
        ({"rule": sgd.dampened()}, "parameters = .*tau"),
        ({"rule": sgd.quasi_hyperbolic(), "parameters": {s.nu: NAN}}, "nu.*nan"),
        ({"rule": "nesterov"}, "rule = 'nesterov'"),
        ({"rule": sgd.plain_sgd()}, r"momentum = 0\.8.*plain SGD"),
    ],
)
def test_a_theory_that_does_not_exist_is_refused_by_name(arguments, said):
    with pytest.raises(ValueError, match=said):
        sgd.Predictor(HYPER, sgd.Spectrum([1.0]), **arguments)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (-1, "steps = -1.*≥ 0"),
        ([1, -2], r"steps = \[1, -2\].*≥ 0"),
        (1.5, r"steps = 1\.5.*whole"),
        (NAN, "steps = nan"),
        (INF, "steps = inf"),
    ],
)
@pytest.mark.parametrize("result", ["covariance", "autocovariance", "displacement"])
def test_steps_that_are_no_counts_are_refused_by_name(theory, result, steps, said):
    with pytest.raises(ValueError, match=said):
        getattr(model(theory), result)(steps)


@pytest.mark.parametrize("steps", ["3", 3 + 4j, [True], [None]])
def test_steps_that_only_look_like_counts_are_refused(steps):
    model = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9), sgd.Spectrum([1.0]))
    with pytest.raises(ValueError, match=r"steps = .*update counts"):
        model.displacement(steps)


def test_steps_that_are_no_numbers_are_refused_by_name():
    with pytest.raises(ValueError, match=r"steps = .*ten"):
        model().displacement("ten")


def test_the_exponent_has_no_step_zero(theory):
    with pytest.raises(ValueError, match=r"steps = 0.*≥ 1"):
        model(theory).exponent(0)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({"position": [1.0, 2.0]}, r"position has shape \(2,\).*\(3,\)"),
        ({"position": NAN}, "position = nan"),
        ({"position": 1.0, "velocity": [1.0, 2.0]}, r"velocity has shape \(2,\).*\(3,\)"),
        ({"position": 1.0, "velocity": INF}, "velocity = inf"),
        ({"position": 1e308}, r"position = 1e\+308: it must be finite, and at most 1e\+150"),
    ],
)
def test_a_start_that_is_no_point_is_refused_by_name(theory, start, said):
    with pytest.raises(ValueError, match=said):
        model(theory).mean(3, **start)


# -- quasi-hyperbolic, whose own parameter is given by symbol -----------------------------------


def test_quasi_hyperbolic_with_its_own_parameter():
    found = model("discrete", "quasi_hyperbolic").stationary_covariance()
    for mode in range(3):
        exact = brute_force("discrete", "quasi_hyperbolic", mode, 0)["stationary_covariance"]
        assert np.allclose(found[mode], exact, rtol=1e-10)


def test_a_rule_of_ones_own_with_a_symbol_of_ones_own():
    """A step size of its own for the velocity, ηγ; with γ = 1 it is heavy ball."""
    rule = sgd.UpdateRule(s.beta * s.v - s.g, s.theta + s.nu * s.eta * s.v_next, name="mine")
    spectrum = sgd.Spectrum(EIGENVALUES, noise_variances=VARIANCES)
    mine, same, slower = (
        sgd.Predictor(HYPER, spectrum, rule=rule, parameters={s.nu: nu}) for nu in (1.0, 1.0, 0.5)
    )
    assert np.allclose(mine.displacement([1, 9]), model().displacement([1, 9]), rtol=1e-13)
    assert (slower.displacement([1, 9]) < same.displacement([1, 9])).all()


def test_a_flat_direction_without_noise_has_moved_by_its_drift(theory):
    """From rest by a parabola: no rounding of the start may drown the 1e-26 of the first update.

    Discrete: (ηh)² = 1e-26 after one update. Continuous: (ηh/(1+β))² times 1 − 2γη/3 + …, here
    through 50 digits.
    """
    eta, beta, h = 0.1, 0.9, 1e-12
    spectrum = sgd.Spectrum([h], noise_variances=[0.0])
    found = sgd.Predictor(sgd.Hyperparameters(eta, beta, 10), spectrum, theory=theory)
    if theory == "discrete":
        expected = (eta * h) ** 2
    else:
        with mp.workdps(50):
            gamma = (1 - mp.mpf(beta)) / (eta * (1 + mp.mpf(beta)))
            w2 = 2 * mp.mpf(h) / (eta * (1 + mp.mpf(beta)))
            flow = mp.expm(-mp.matrix([[0, -1], [w2, 2 * gamma]]) * eta)
            expected = float((flow[0, 0] - 1) ** 2)
    assert found.displacement(1, position=1.0) == pytest.approx(expected, rel=1e-12)


# -- temperature ---------------------------------------------------------------------------------


def test_temperature_is_the_published_one_in_continuous_time():
    """ηΣ/(2S(1 − β)): with noise proportional to the Hessian, steep directions are hotter."""
    hyper = sgd.Hyperparameters(0.1, 0.9, 128)
    model = sgd.Predictor(hyper, sgd.Spectrum([2.0, 0.5], noise_scale=3.0), theory="continuous")
    expected = 0.1 * 3.0 * np.array([2.0, 0.5]) / (2 * 128 * (1 - 0.9))
    assert np.allclose(model.effective_temperature, expected, rtol=1e-12)


def test_a_data_set_is_not_a_spectrum_and_the_message_says_what_is():
    data = sgd.FiniteDataset(np.arange(12.0).reshape(6, 2) ** 1.1, np.arange(6.0))
    with pytest.raises(ValueError, match=r"^spectrum = .{0,90}give a Spectrum, as .*\.stationary"):
        sgd.Predictor(sgd.Hyperparameters(0.1), data)


def test_hyperparameters_insert_into_the_theory():
    hyper = sgd.Hyperparameters(0.1, 0.9, 128, 5e-4, dataset_size=50_000)
    kappa = sgd.modified_equation(sgd.heavy_ball()).inverse_temperature
    assert float(kappa.subs(hyper.values)) == pytest.approx(128 * (1 - 0.81))
    assert hyper.values[s.M] == 390
