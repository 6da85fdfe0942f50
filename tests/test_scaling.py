"""Scaling laws, equivalent settings and sensitivities: by independent routes."""

from __future__ import annotations

import numpy as np
import oracles
import pytest

import sgdtheory as sgd
from sgdtheory import symbols as s
from sgdtheory.elasticities import sensitivities
from sgdtheory.equivalent_settings import equivalent, exchange
from sgdtheory.scaling import leading, observables, scaling_exponents, scaling_laws

RULES = {
    "plain_sgd": (sgd.plain_sgd(), {}),
    "heavy_ball": (sgd.heavy_ball(), {}),
    "nesterov": (sgd.nesterov(), {}),
    "dampened": (sgd.dampened(), {s.tau: 0.3}),
    "quasi_hyperbolic": (sgd.quasi_hyperbolic(), {s.nu: 0.7}),
}
RUN = sgd.Hyperparameters(0.1, momentum=0.9, batch_size=128)


# -- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_observables_are_those_of_the_recursion(name):
    rule, own = RULES[name]
    beta, rate, h, noise, batch = (0.0 if name == "plain_sgd" else 0.8), 0.2, 0.7, 3.0, 16
    extra = {str(x): value for x, value in own.items()}
    B = oracles.recursion_moments(
        oracles.UPDATES[name], 1, h, noise, batch, eta=rate, beta=beta, **extra
    )
    here = {s.eta: rate, s.beta: beta, s.S: batch, s.h: h, s.Sigma: noise, **own}
    found = {key: float(value.subs(here)) for key, value in observables(rule).items()}
    assert found["stationary_variance"] == pytest.approx(B["stationary_covariance"][0][0])
    assert found["velocity_variance"] == pytest.approx(B["stationary_covariance"][1][1])
    assert found["local_displacement"] == pytest.approx(B["displacement"])
    assert found["effective_temperature"] == pytest.approx(h * B["stationary_covariance"][0][0])
    slow = sgd.Predictor(
        sgd.Hyperparameters(1e-6, beta, batch), sgd.Spectrum([h]), rule=rule, parameters=own
    )
    tiny = float(observables(rule)["relaxation_steps"].subs(here | {s.eta: 1e-6}))
    assert tiny == pytest.approx(float(slow.relaxation_steps[0]), rel=1e-4)


def test_heavy_ball_s_published_powers():
    """The laws that the literature states for them."""
    laws = scaling_laws(sgd.heavy_ball())
    powers = {law.name: dict(law.exponents) for law in laws.laws}
    decay = {name: power.pop(s.lamda, 0) for name, power in powers.items()}
    assert powers["stationary_variance"] == {s.eta: 1, 1 - s.beta: -1, s.S: -1, s.h: -1}
    assert powers["relaxation_steps"] == {s.eta: -1, 1 - s.beta: 1, s.h: -1}
    # A direction flatter than the decay relaxes as 1/λ; a steep one does not feel it.
    for ratio, power in ((1e-6, -1), (1e6, 0)):
        value = decay["relaxation_steps"].subs({s.rho: ratio, s.lamda: 1})
        assert float(value) == pytest.approx(power, abs=1e-5)
    assert decay["velocity_memory"] == 0
    assert powers["diffusion_rate"] == {s.eta: 2, 1 - s.beta: -2, s.S: -1}
    assert powers["local_displacement"][s.eta] == 2
    # η²Σ/(S(1 − β²))
    ratio = laws["local_displacement"].leading * s.S * (1 - s.beta**2) / (s.Sigma * s.eta**2)
    assert ratio.simplify() == 1
    table = laws.markdown()
    assert table.count("\n") == len(laws.laws) + 1
    assert "stationary variance" in table
    with pytest.raises(KeyError, match="observables are"):
        laws["temperature"]


def test_a_leading_order_is_the_limit():
    exact = observables(sgd.nesterov())["stationary_variance"]
    here = {s.beta: 0.8, s.S: 3, s.h: 2, s.Sigma: 1}
    ratio = (exact / leading(exact)).subs(here).subs(s.eta, 1e-9)
    assert float(ratio) == pytest.approx(1, abs=1e-7)


def test_the_weight_decay_s_power_is_that_of_the_predictor():
    rho, decay = 1e-3, 4e-3
    spectrum = sgd.Spectrum([rho], noise_variances=[1.0])
    model = sgd.Predictor(sgd.Hyperparameters(1e-4, 0.5, 8, decay), spectrum)
    found = sensitivities(model, lambda m: m.stationary_covariance()[0, 0, 0])
    law = scaling_laws(sgd.heavy_ball())["stationary_variance"].exponents[s.lamda]
    expected = float(law.subs({s.rho: rho, s.lamda: decay}))
    assert float(found.weight_decay) == pytest.approx(expected, rel=1e-5)


# -- equivalent settings --------------------------------------------------------------------------


def observed(hyper, h=1.0, **settings):
    model = sgd.Predictor(hyper, sgd.Spectrum([h], noise_variances=[1.0]), **settings)
    return {
        "stationary_variance": float(model.stationary_covariance()[0, 0, 0]),
        "local_displacement": float(model.local_displacement()),
        "relaxation_steps": float(model.relaxation_steps[0]),
    }


def test_the_linear_scaling_rule_and_where_it_stops():
    new = equivalent(RUN, ("stationary_variance",), batch_size=1024)
    assert (new.learning_rate, new.momentum) == (pytest.approx(0.8), 0.9)
    # Exactly, at a finite curvature, less: updates overshoot.
    exact = equivalent(RUN, ("stationary_variance",), batch_size=1024, curvature=2.0)
    kept, given = observed(exact, 2.0), observed(RUN, 2.0)
    assert kept["stationary_variance"] == pytest.approx(given["stationary_variance"], rel=1e-8)
    assert exact.learning_rate < 0.75


def test_momentum_and_batch_are_exchanged_with_two_observables_kept():
    keep = ("stationary_variance", "local_displacement")
    for curvature in (None, 0.5):
        new = equivalent(RUN, keep, batch_size=256, curvature=curvature)
        h = 1e-9 if curvature is None else curvature
        found, given = observed(new, h), observed(RUN, h)
        for name in keep:
            assert found[name] == pytest.approx(given[name], rel=1e-6)
        assert new.momentum > RUN.momentum


def test_an_oscillating_direction_keeps_variance_and_relaxation_and_a_slow_one_cannot():
    keep = ("stationary_variance", "relaxation_steps")
    new = equivalent(RUN, keep, batch_size=256, curvature=1.0)
    found, given = observed(new), observed(RUN)
    for name in keep:
        assert found[name] == pytest.approx(given[name], rel=1e-7)
    # Their product is Σ/(2Sh): no learning rate or momentum changes it.
    with pytest.raises(ValueError, match=r"no learning_rate and momentum keep them all to leading"):
        equivalent(RUN, keep, batch_size=256)
    # In examples, linear scaling keeps both, by the learning rate alone.
    both = equivalent(RUN, ("stationary_variance", "relaxation_examples"), batch_size=256)
    assert (both.learning_rate, both.momentum) == (pytest.approx(0.2), 0.9)


def test_solutions_as_expressions():
    (one,) = exchange(("stationary_variance",), ("learning_rate",))
    rate = one[s.eta].subs({s.primed(s.beta): s.beta})
    assert (rate - s.eta * s.primed(s.S) / s.S).simplify() == 0
    found = exchange(("stationary_variance", "local_displacement"), ("learning_rate", "momentum"))
    here = {s.eta: 0.1, s.beta: 0.9, s.S: 128, s.primed(s.S): 256}
    numbers = [{x: float(value.subs(here)) for x, value in one.items()} for one in found]
    wanted = equivalent(RUN, ("stationary_variance", "local_displacement"), batch_size=256)
    assert any(
        n[s.eta] == pytest.approx(wanted.learning_rate)
        and n[s.beta] == pytest.approx(wanted.momentum)
        for n in numbers
    )


def test_a_setting_that_the_observables_leave_free_is_a_new_letter():
    keep = ["stationary_variance", "relaxation_examples"]
    (one,) = exchange(keep, ["learning_rate", "momentum"])
    letters = {s.eta, s.beta, s.S, s.primed(s.beta), s.primed(s.S)}
    assert one[s.eta].free_symbols == letters
    # Kept for any new momentum: a slow direction of the exact recursion, by the Predictor.
    run = sgd.Hyperparameters(1e-5, momentum=0.9, batch_size=128)
    moved = {s.eta: 1e-5, s.beta: 0.9, s.S: 128, s.primed(s.beta): 0.5, s.primed(s.S): 512}
    new = sgd.Hyperparameters(float(one[s.eta].subs(moved)), momentum=0.5, batch_size=512)
    found, given = observed(new), observed(run)
    assert found["stationary_variance"] == pytest.approx(given["stationary_variance"], rel=1e-3)
    assert 4 * found["relaxation_steps"] == pytest.approx(given["relaxation_steps"], rel=1e-3)


@pytest.mark.parametrize("name", ["plain_sgd", "nesterov", "dampened", "quasi_hyperbolic"])
def test_every_rule_has_equivalents(name):
    rule, own = RULES[name]
    run = sgd.Hyperparameters(0.1, 0.0 if name == "plain_sgd" else 0.8, 32)
    new = equivalent(
        run,
        ("stationary_variance",),
        batch_size=64,
        curvature=0.3,
        rule=rule,
        parameters=own,
        solve_for=("learning_rate",),
    )
    kept, given = (observed(h, 0.3, rule=rule, parameters=own) for h in (new, run))
    assert kept["stationary_variance"] == pytest.approx(given["stationary_variance"], rel=1e-8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"keep": ("temperature",)}, ValueError, "keep = "),
        ({"keep": ()}, ValueError, "keep = "),
        ({"keep": "stationary_variance"}, ValueError, "keep = "),
        ({"solve_for": ("epochs",)}, ValueError, "solve_for = "),
        ({"weight_decay": 0.1}, ValueError, "weight_decay = 0.1"),
        ({"batch_size": -1}, ValueError, "batch_size = -1"),
        ({"batch_size": 0}, ValueError, "batch_size = 0"),
        ({"momentum": 1.0}, ValueError, "momentum = 1.0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate = 0.0"),
        ({"batch_size": np.array([1.0, 2.0])}, ValueError, "batch_size has shape"),
        # No momentum below 1 is stable beyond ηh = 4.
        ({"learning_rate": 5.0, "curvature": 1.0}, sgd.UnstableError, "ηh = 5 at curvature 1"),
        ({"curvature": -1.0}, ValueError, "curvature = -1"),
        ({"curvature": 50.0}, sgd.UnstableError, "limit of stability is 3.8"),
        ({"batch_size": 10**6, "curvature": 1.0, "solve_for": ("learning_rate",)}, None, None),
    ],
)
def test_what_cannot_be_kept_is_refused(change, error, message):
    asked = {"keep": ("stationary_variance",), "batch_size": 256} | change
    keep = asked.pop("keep")
    if error is None:
        # The variance diverges at the limit of stability, so below it any value is reached.
        new = equivalent(RUN, keep, **asked)
        assert new.learning_rate < 3.8
        return
    with pytest.raises(error, match=message):
        equivalent(RUN, keep, **asked)


# -- sensitivities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES)
def test_automatic_and_symbolic_sensitivities_agree(name):
    rule, own = RULES[name]
    beta = 0.0 if name == "plain_sgd" else 0.8
    h, rate, batch = 0.7, 0.2, 16.0
    model = sgd.Predictor(
        sgd.Hyperparameters(rate, beta, batch),
        sgd.Spectrum([h], noise_variances=[3.0]),
        rule=rule,
        parameters=own,
    )
    found = sensitivities(model, "local_displacement")
    exact = observables(rule)["local_displacement"]
    here = {s.eta: rate, s.beta: beta, s.S: batch, s.h: h, s.Sigma: 3.0, **own}
    for x, value in (
        (s.eta, found.learning_rate),
        (s.beta, found.lost_momentum),
        (s.S, found.batch_size),
    ):
        if name == "plain_sgd" and x == s.beta:
            continue
        (symbolic,) = scaling_exponents(exact, (x,)).values()
        assert float(value) == pytest.approx(float(symbolic.subs(here)), rel=1e-10)


@pytest.mark.parametrize("theory", ["discrete", "continuous"])
@pytest.mark.parametrize("compressed", [False, True])
def test_sensitivities_of_a_sweep_by_differences(theory, compressed):
    rates, steps = np.array([0.1, 0.2]), [1, 10, 100]
    spectrum = sgd.Spectrum([1.0, 0.1, 0.01], counts=[1.0, 2.0, 3.0])
    if compressed:
        spectrum = spectrum.compress(1e-10)

    def predictor(rate=1.0, lost=1.0, decay=1.0):
        hyper = sgd.Hyperparameters(rates * rate, 1 - 0.2 * lost, 10, 1e-3 * decay)
        return sgd.Predictor(hyper, spectrum, theory=theory)

    found = sensitivities(predictor(), "displacement", steps)
    slopes = sensitivities(predictor(), "exponent", steps, position=0.5, logarithmic=False)
    assert found.learning_rate.shape == (2, 3)
    np.testing.assert_allclose(found.batch_size, -1, rtol=1e-12)
    e = 1e-4
    for name, field in (
        ("rate", "learning_rate"),
        ("lost", "lost_momentum"),
        ("decay", "weight_decay"),
    ):
        up, down = (predictor(**{name: 1 + sign * e}) for sign in (1, -1))
        change = np.log(up.displacement(steps) / down.displacement(steps)) / (2 * e)
        np.testing.assert_allclose(getattr(found, field), change, atol=2e-7)
        change = (up.exponent(steps, 0.5) - down.exponent(steps, 0.5)) / (2 * e)
        np.testing.assert_allclose(getattr(slopes, field), change, atol=2e-7)


def test_sensitivities_under_epochs_of_own_functions_and_refusals():
    hyper = sgd.Hyperparameters(0.1, 0.8, 10, dataset_size=1000)
    model = sgd.Predictor(hyper, sgd.Spectrum([1.0, 0.01]), sampling="epochs")
    found = sensitivities(model, "displacement", [10, 500])
    up, down = (
        sgd.Predictor(
            sgd.Hyperparameters(0.1 * f, 0.8, 10, dataset_size=1000),
            model.spectrum,
            sampling="epochs",
        ).displacement([10, 500])
        for f in (1 + 1e-4, 1 - 1e-4)
    )
    np.testing.assert_allclose(found.learning_rate, np.log(up / down) / 2e-4, rtol=1e-5)
    own = sensitivities(model, lambda m: m.stationary_covariance()[..., 0, 0].sum(-1))
    assert float(own.learning_rate) > 0
    for prediction in ("travel", "regime", "relaxation_steps"):
        with pytest.raises(ValueError, match=f"prediction = '{prediction}'"):
            sensitivities(model, prediction)
    dense = sgd.Predictor(RUN, sgd.Landscape(np.diag([1.0, 0.1]), np.eye(2)))
    with pytest.raises(ValueError, match="model is a DensePredictor"):
        sensitivities(dense, "displacement", [1])
