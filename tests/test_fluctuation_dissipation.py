"""Fluctuation-dissipation relations: exact covariances, published forms, runs of real batches."""

from __future__ import annotations

from functools import cache

import numpy as np
import oracles
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student
from sympy import Rational, Symbol, latex, simplify, solve, symbols

import sgdtheory as sgd
from sgdtheory.fluctuation_dissipation import fluctuation_dissipation_relations

s = sgd.symbols
theta, v, g = s.theta, s.v, s.g
AVERAGES = {pair: s.average(*pair) for pair in ((theta, v), (theta, g), (v, g), (v, v), (g, g))}


def solved(rule, **own):
    values = {getattr(s, name): value for name, value in own.items()}
    found = fluctuation_dissipation_relations(rule).solved()
    return {average: value.subs(values) for average, value in found.items()}


# -- published --------------------------------------------------------------------------------


def test_plain_sgd_has_yaidas_relation():
    # Yaida 2018: ⟨θ·∇f⟩ = (η/2) ⟨∇f·∇f⟩.
    found = solved(sgd.plain_sgd())
    assert found[AVERAGES[theta, g]] == s.eta * AVERAGES[g, g] / 2
    assert AVERAGES[v, g] not in found


def test_heavy_ball_has_yaidas_relation():
    # Yaida 2018, with steps v: ⟨θ·∇f⟩ = (1 + μ)/(2η) ⟨v·v⟩. Here steps are ηv.
    mu, eta = s.beta, s.eta
    expected = (1 + mu) / (2 * eta) * eta**2 * AVERAGES[v, v]
    assert simplify(solved(sgd.heavy_ball())[AVERAGES[theta, g]] - expected) == 0


def test_averaged_gradients_have_sasas_relation():
    # Lang, Zhang, Xiao 2019 (SASA), d = (1−β)g + βd: ⟨x·g⟩ = (α/2)(1+β)/(1−β) ⟨d·d⟩. Here d = −v.
    found = solved(sgd.quasi_hyperbolic(), nu=1)[AVERAGES[theta, g]]
    expected = s.eta / 2 * (1 + s.beta) / (1 - s.beta) * AVERAGES[v, v]
    assert simplify(found - expected) == 0


# -- exactly, on a quadratic with white noise ---------------------------------------------------


def exact_averages(update, h, e=0, **hyper):
    """The averages of one direction in exact rationals, from the hand loop's stationary state.

    The gradient is h(θ + ev) + ξ, with ξ of variance 3/7 that θ and v know nothing about.
    """
    variance = Rational(3, 7)
    M, n = oracles.linear_law(update, h, **hyper)
    P = oracles.stationary_recursion(M, oracles.outer(n, variance))
    seen = [h * (P[i][0] + e * P[i][1]) for i in (0, 1)]  # ⟨θ·g⟩, ⟨v·g⟩
    return {
        AVERAGES[theta, v]: P[0][1],
        AVERAGES[theta, g]: seen[0],
        AVERAGES[v, g]: seen[1],
        AVERAGES[v, v]: P[1][1],
        AVERAGES[g, g]: h * (seen[0] + e * seen[1]) + variance,
    }


def holds(equation, values):
    return simplify(equation.lhs.subs(values) - equation.rhs.subs(values)) == 0


def test_relations_hold_exactly_on_a_quadratic(rule, update, hyper):
    averages = exact_averages(update, Rational(5, 4), **hyper)
    values = {getattr(s, name): value for name, value in hyper.items()} | averages
    relations = fluctuation_dissipation_relations(rule)
    assert len(relations.relations) == 3
    assert all(holds(equation, values) for equation in relations.relations)
    for average, value in relations.solved(AVERAGES[v, v], AVERAGES[v, g]).items():
        assert simplify(value.subs(values) - averages[average]) == 0


def test_another_rules_relations_do_not_hold_exactly(update, name, hyper):
    averages = exact_averages(update, Rational(5, 4), **hyper)
    other = sgd.heavy_ball() if name != "heavy_ball" else sgd.nesterov()
    values = {s.eta: hyper["eta"], s.beta: Rational(3, 5)} | averages
    relations = fluctuation_dissipation_relations(other).relations
    assert not all(holds(equation, values) for equation in relations)


def fractions(low, high):
    return st.integers(round(20 * low), round(20 * high)).map(lambda n: Rational(n, 20))


@given(
    fractions(-1, 1), fractions(-1, 0), fractions(-0.9, 0.95), fractions(-1, 1), fractions(-1, 1)
)
def test_relations_of_any_linear_rule_hold_exactly(a, b, c, d, e):
    def update(x, v, gradient):
        g = gradient(x + e * v)
        return x + a * v + b * g, c * v + d * g

    h = Rational(1, 2)
    assume(oracles.spectral_radius(oracles.linear_law(update, h)[0]) < 0.999)
    rule = sgd.UpdateRule(c * v + d * g, theta + a * v + b * g, gradient_at=theta + e * v)
    averages = exact_averages(update, h, e=e)
    relations = fluctuation_dissipation_relations(rule)
    assert all(holds(equation, averages) for equation in relations.relations)
    for average, value in relations.solved().items():
        assert simplify(value.subs(averages) - averages[average]) == 0


def test_cross_relations_hold_for_correlated_noise(rule, update, hyper):
    """Two directions with one source of noise: the 4 × 4 covariance from 16 linear equations."""
    curvatures = Rational(5, 4), Rational(1, 3)
    laws = [oracles.linear_law(update, h, **hyper) for h in curvatures]
    X = [[Symbol(f"X{a}{b}") for b in range(2)] for a in range(2)]
    (M, n), (K, m) = laws
    injected = tuple(tuple(n[a] * m[b] for b in range(2)) for a in range(2))
    moved = oracles.plus(oracles.times(oracles.times(M, X), oracles.transposed(K)), injected)
    found = solve([moved[a][b] - X[a][b] for a in range(2) for b in range(2)])
    X = [[found[X[a][b]] for b in range(2)] for a in range(2)]
    i, j = ([s.component(x, index) for x in (theta, v, g)] for index in "ij")
    h, k = curvatures
    values = {
        **{s.average(i[a], j[b]): X[a][b] for a in range(2) for b in range(2)},
        **{s.average(i[a], j[2]): k * X[a][0] for a in range(2)},
        **{s.average(i[2], j[b]): h * X[0][b] for b in range(2)},
        s.average(i[2], j[2]): h * k * X[0][0] + 1,
        **{getattr(s, name): value for name, value in hyper.items()},
    }
    relations = fluctuation_dissipation_relations(rule).cross_relations
    assert len(relations) == 4
    assert all(holds(equation, values) for equation in relations)


# -- on runs of real batches: not quadratic, not Gaussian, not white ------------------------------

EXAMPLES, BATCH, DIMENSION = 12, 3, 2
REPLICAS, UPDATES, BURN_IN = 400, 240, 400
ETA, BETA = 0.04, 0.7
OWN = {"dampened": {"tau": 0.25}, "quasi_hyperbolic": {"nu": 0.6}}
SAMPLINGS = ("with_replacement", "epochs")
FALSE_ALARM = 1e-4
# Five rules, two samplings, three relations for both coordinates together and for each by itself.
COMPARISONS = len(oracles.UPDATES) * len(SAMPLINGS) * 3 * 3
CRITICAL = student.ppf(1 - (1 - (1 - FALSE_ALARM) ** (1 / COMPARISONS)) / 2, REPLICAS - 1)


def batch_indices(generator, sampling):
    """Batches of every replica, for ever. An epoch has EXAMPLES/BATCH of them."""
    while True:
        if sampling == "with_replacement":
            yield generator.integers(EXAMPLES, size=(REPLICAS, BATCH))
        else:
            order = generator.permuted(np.tile(np.arange(EXAMPLES), (REPLICAS, 1)), axis=1)
            yield from np.split(order, EXAMPLES // BATCH, axis=1)


@cache
def recorded(name, sampling):
    """θ, v, g of SGD on the mean of ¼|θ − a|⁴ + ½(θ − a)·B(θ − a): skewed examples, no symmetry."""
    generator = np.random.default_rng([31, list(oracles.UPDATES).index(name)])
    centres = np.random.default_rng(7).exponential(0.7, size=(EXAMPLES, DIMENSION))
    B = np.array([[0.6, 0.3], [0.3, 0.4]])
    beta = 0.0 if name == "plain_sgd" else BETA
    x, v = np.zeros((2, REPLICAS, DIMENSION))
    # Whole epochs, from the start of one to the start of another: the phase returns.
    record = np.empty((3, REPLICAS, UPDATES, DIMENSION))
    for k, batch in enumerate(batch_indices(generator, sampling)):
        if k == BURN_IN + UPDATES:
            # From the mean, where products scatter least; the relations hold from any origin.
            record[0] -= record[0].mean(axis=(0, 1))
            return record
        seen = []

        def gradient(at, batch=batch, seen=seen):
            off = at[:, None] - centres[batch]
            seen.append(((off**2).sum(-1, keepdims=True) * off + off @ B).mean(axis=1))
            return seen[-1]

        before = x, v
        x, v = oracles.UPDATES[name](x, v, gradient, ETA, beta, **OWN.get(name, {}))
        if k >= BURN_IN:
            record[:, :, k - BURN_IN] = *before, seen[-1]
    raise AssertionError


def checked(name, sampling, coordinates=slice(None), rule=None):
    beta = 0.0 if name == "plain_sgd" else BETA
    values = {s.eta: ETA, s.beta: beta} | {getattr(s, k): x for k, x in OWN.get(name, {}).items()}
    relations = fluctuation_dissipation_relations(rule or getattr(sgd, name)())
    return relations.check(*recorded(name, sampling)[..., coordinates], values)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("coordinates", [slice(None), slice(0, 1), slice(1, 2)], ids=str)
def test_relations_hold_on_runs_with_a_quartic_loss(name, sampling, coordinates):
    found = checked(name, sampling, coordinates)
    assert np.abs(found.z).max() < CRITICAL
    assert np.all(found.standard_error < 0.05)
    np.testing.assert_allclose((found.ratio - 1) / found.standard_error, found.z, rtol=0.1)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_another_rules_relations_fail_on_these_runs(name, sampling):
    other = sgd.nesterov() if name != "nesterov" else sgd.heavy_ball()
    if name == "plain_sgd":
        values = {s.eta: ETA, s.beta: 0.1}
        found = fluctuation_dissipation_relations(other).check(*recorded(name, sampling), values)
    else:
        found = checked(name, sampling, rule=other)
    assert np.abs(found.z).max() > 3 * CRITICAL


def test_a_velocity_or_a_gradient_of_another_time_is_noticed():
    x, v, g = recorded("heavy_ball", "with_replacement")
    relations, values = (
        fluctuation_dissipation_relations(sgd.heavy_ball()),
        {s.eta: ETA, s.beta: BETA},
    )
    for shifted in (
        (x[:, :-1], v[:, 1:], g[:, :-1]),
        (x[:, :-1], v[:, :-1], g[:, 1:]),
        (x[:, 1:], v[:, :-1], g[:, :-1]),
    ):
        assert np.abs(relations.check(*shifted, values).z).max() > 3 * CRITICAL


def test_a_run_that_is_not_stationary_is_noticed():
    """From rest, far away: the first relation's moment still falls."""
    generator = np.random.default_rng(0)
    x, v = np.full((64, 1), 10.0), np.zeros((64, 1))
    record = []
    for _ in range(50):
        seen = x + generator.normal(size=x.shape)
        record.append((x, v, seen))
        x, v = oracles.heavy_ball(x, v, lambda at, seen=seen: seen, 0.02, 0.5)
    found = fluctuation_dissipation_relations(sgd.heavy_ball()).check(
        *np.moveaxis(np.array(record), 0, 2), {s.eta: 0.02, s.beta: 0.5}
    )
    assert found.z[0] > 3 * CRITICAL
    assert found.ratio[0] > 1.5


def test_no_average_depends_on_the_origin_but_its_scatter_does():
    x, v, g = recorded("nesterov", "epochs")
    relations, values = (
        fluctuation_dissipation_relations(sgd.nesterov()),
        {s.eta: ETA, s.beta: BETA},
    )
    centred = relations.check(x, v, g, values)
    moved = relations.check(x + np.array([3.0, -2.0]), v, g, values)
    assert np.abs([centred.z, moved.z]).max() < CRITICAL
    assert np.all(centred.standard_error[:2] < moved.standard_error[:2] / 3)


def test_a_relation_telescopes_to_the_ends_of_the_run(name):
    """Left less right side is what the moment lost from the first to the last state."""
    x, v, g = recorded(name, "with_replacement")
    values = {s.eta: ETA, s.beta: 0.0 if name == "plain_sgd" else BETA}
    values |= {getattr(s, k): y for k, y in OWN.get(name, {}).items()}
    first = fluctuation_dissipation_relations(getattr(sgd, name)()).relations[0]
    means = {
        AVERAGES[p]: float(np.mean((q * r)[:, :-1].sum(-1)))
        for p, (q, r) in {
            (theta, s.v): (x, v),
            (theta, s.g): (x, g),
            (s.v, s.g): (v, g),
            (s.v, s.v): (v, v),
            (s.g, s.g): (g, g),
        }.items()
    }
    difference = float((first.lhs - first.rhs).subs(means).subs(values))
    lost = np.mean((x[:, 0] ** 2 - x[:, -1] ** 2).sum(-1)) / (UPDATES - 1)
    assert difference == pytest.approx(lost, rel=1e-9, abs=1e-13)


# -- what it says -----------------------------------------------------------------------------


def test_means_vanish_in_the_derivation(rule):
    derivation = fluctuation_dissipation_relations(rule).derivation
    (means,) = [step for step in derivation if step.title == "Means"]
    assert [(str(f.lhs), f.rhs) for f in means.formulas] == [("<v>", 0), ("<g>", 0)]
    assert len(fluctuation_dissipation_relations(rule).assumptions) == 2


def test_averages_print_as_mathematics():
    relations = fluctuation_dissipation_relations(sgd.plain_sgd())
    assert r"\langle \theta \cdot g \rangle" in latex(relations.relations[0])
    assert r"\langle g_{i} \, g_{j} \rangle" in latex(relations.cross_relations[0])


def test_a_rule_that_ignores_the_mean_gradient_is_refused():
    forgetful = sgd.UpdateRule(s.beta * v - g, theta - s.eta * v * (1 - s.beta) - s.eta * g)
    with pytest.raises(ValueError, match="may have a mean gradient"):
        fluctuation_dissipation_relations(forgetful)


def test_a_rule_without_brackets_is_no_rule():
    with pytest.raises(TypeError, match="with brackets"):
        fluctuation_dissipation_relations(sgd.nesterov)


def test_other_averages_are_refused():
    with pytest.raises(ValueError, match="give averages among"):
        fluctuation_dissipation_relations(sgd.nesterov()).solved(symbols("x"))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3), (2, 3)), ((1, 3, 1),) * 3, ((2, 3, 1), (2, 3, 1), (2, 2, 1))]
)
def test_records_of_other_shapes_are_refused(shapes):
    relations = fluctuation_dissipation_relations(sgd.plain_sgd())
    with pytest.raises(ValueError, match="replicas, updates, d"):
        relations.check(*map(np.zeros, shapes), {s.eta: 0.1})


def test_a_symbol_without_a_value_is_refused():
    record = np.zeros((2, 3, 1))
    with pytest.raises(ValueError, match=r"\['beta'\]"):
        fluctuation_dissipation_relations(sgd.heavy_ball()).check(
            record, record, record, {s.eta: 0.1}
        )


def test_a_record_in_torchs_sign_is_told_from_one_that_is_not_stationary():
    rng = np.random.default_rng(5)
    theta, v, record = rng.normal(size=(8, 1)), np.zeros((8, 1)), []
    for _ in range(50):
        g = theta + rng.normal(size=theta.shape)
        record.append((theta, v, g))
        v = 0.8 * v - g
        theta = theta + 0.1 * v
    positions, velocities, gradients = np.moveaxis(np.array(record), 0, 2)
    relations = fluctuation_dissipation_relations(sgd.heavy_ball())
    values = {s.eta: 0.1, s.beta: 0.8}
    right = relations.check(positions, velocities, gradients, values)
    wrong = relations.check(positions, -velocities, gradients, values)
    assert right.rule_residual < 1e-12
    assert wrong.rule_residual > 0.5
