"""Lowered NumPy results against 80 digits, over all regimes and twenty decades of rates.

A value passes if its relative error is at most 1e-12, or at most 50 roundings of its inputs: the
condition number is the relative change of the exact value, summed over the inputs, for a relative
change of each. A value below the smallest normal double has no relative accuracy to ask for.
Propagators and autocovariances have signs: they pass through zero and decay, so they may err by 50
roundings of their unit as well, which is 1 for what is left of an offset, or a correlation of 1.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import mpmath as mp
import numpy as np
import oracles
import pytest

import sgdtheory as sgd
from sgdtheory.lowering import propagation

s = sgd.symbols
EPS = np.finfo(float).eps
TINY = np.finfo(float).tiny
MOMENTS = ("propagator", "covariance", "autocovariance", "displacement")
# A point is (time or count, h, η, β); noise and batch size are factors, and 1.
INPUTS = (s.h, s.eta, s.beta)


@cache
def lowered(rule, theory, moment):
    make = getattr(sgd, rule)()
    if theory == "discrete":
        process, time = sgd.recursion(make, noise=s.Sigma, curvature=s.h), s.k
    else:
        langevin = sgd.modified_equation(make)
        process, time = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h), s.t
    expression = getattr(process, moment)(time).subs({s.Sigma: 1, s.S: 1})
    return sgd.lower(expression, (time, *INPUTS))


# -- points -------------------------------------------------------------------------------------

LIMIT = {
    "heavy_ball": lambda beta: 2 * (1 + beta),
    "nesterov": lambda beta: 2 * (1 + beta) / (1 + 2 * beta),
}


def scattered(rule, count, seed):
    """η in [1e-6, 10], 1 − β in [1e-5, 1] or β = 0, ηh from 1e-14 to 0.999 of the limit."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        eta, beta = 10 ** rng.uniform(-6, 1), 1 - 10 ** rng.uniform(-5, 0)
        if index % 8 == 0:
            beta = 0.0
        highest = 0.999 * LIMIT[rule](beta)
        flat = index % 3 != 0
        y = 10 ** rng.uniform(-14, np.log10(highest)) if flat else rng.uniform(0, highest)
        steps = rng.integers(1, 20) if index % 5 == 0 else int(10 ** rng.uniform(0, 5))
        yield int(steps), y / eta, eta, beta


def steep(rule, count, seed):
    """Alternating modes between 0.9 and 0.999 of the limit, where z is near −1."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        eta, beta = 10 ** rng.uniform(-6, 1), 1 - 10 ** rng.uniform(-5, 0)
        y = rng.uniform(0.9, 0.999) * LIMIT[rule](beta)
        yield int(10 ** rng.uniform(0, 5)), y / eta, eta, beta


def early_and_flat():
    """The first updates of flat directions, with little or no momentum."""
    for beta, y, steps in product((0.0, 0.1), (1e-14, 1e-8, 1e-3), (1, 2, 5)):
        yield steps, y / 0.1, 0.1, beta


def critical(theory, seed):
    """Exactly critical heavy ball, and one, two and 2²⁰ units in the last place beside it.

    β = r² and r = 1 − 2⁻ⁿ: then ηh = (1−r)² in the recursion, and (1+r)² where it alternates, are
    doubles. In time (1−β)²/(2(1+β)) is one for β = 0 and ¼ · …, so the nearest double is taken.
    """
    rng = np.random.default_rng(seed)
    for n in range(1, 13):
        r = 1 - 2.0**-n
        beta = r * r
        targets = [(1 - beta) ** 2 / (2 * (1 + beta))]
        if theory == "discrete":
            targets = [(1 - r) ** 2, (1 + r) ** 2]
            targets = [y for y in targets if y <= 0.999 * LIMIT["heavy_ball"](beta)]
        for y in targets:
            for units in (-(2**20), -2, -1, 0, 1, 2, 2**20):
                eta = 2.0 ** rng.integers(-20, 4)
                steps = int(10 ** rng.uniform(0, 5))
                yield steps, y * (1 + units * EPS) / eta, eta, beta


def points(rule, theory):
    found = [*scattered(rule, 150, seed=21), *early_and_flat()]
    if theory == "discrete":
        found += steep(rule, 60, seed=23)
    if rule == "heavy_ball":
        found += critical(theory, seed=22)
    if theory == "continuous":
        found = [(steps * eta, h, eta, beta) for steps, h, eta, beta in found]
    return found


# -- the reference ------------------------------------------------------------------------------


def exact(rule, theory, point):
    time, h, eta, beta = point
    if theory == "discrete":
        update = oracles.UPDATES[rule]
        return oracles.recursion_moments(update, time, h, 1, mp.mpf(1), eta=eta, beta=beta)
    return oracles.diffusion_moments(oracles.PUBLISHED[rule], time, h, 1, 1, eta, beta=beta)


@cache
def reference(rule, theory):
    return conditioned(rule, theory, points(rule, theory))


def conditioned(rule, theory, points):
    """Per point and moment: the exact entries, and the condition number of each times itself."""
    rows = []
    with mp.workdps(80):
        change = mp.mpf(10) ** -25
        for point in points:
            # A count is no floating-point number.
            first = 1 if theory == "discrete" else 0
            plain = [*point[:first], *map(mp.mpf, point[first:])]
            here = exact(rule, theory, plain)
            moved = []
            for i in range(first, 4):
                there = list(plain)
                there[i] *= 1 + change
                moved.append(exact(rule, theory, there))
            row = {}
            for moment in MOMENTS:
                entries = oracles.flat(here[moment])
                others = [oracles.flat(there[moment]) for there in moved]
                row[moment] = [
                    (x, sum(abs(other[i] - x) for other in others) / change)
                    for i, x in enumerate(entries)
                ]
            B = oracles.flat(exact(rule, theory, [0, *plain[1:]])["autocovariance"])
            row["stationary deviations"] = mp.sqrt(B[0]), mp.sqrt(B[3])
            rows.append((point, row))
    return rows


def ratio(value, entry, unit):
    """Error over what the criterion allows: ≤ 1 passes."""
    x, sensitivity = entry
    allowed = max(1e-12 * abs(x), 50 * EPS * (abs(x) + sensitivity), 50 * EPS * unit, TINY)
    return float(abs(mp.mpf(float(value)) - x) / allowed)


def units(point, row, moment):
    """Of a propagator's entries, with a velocity measured in 1/η; of an autocovariance's, its
    standard deviations'; none for what has one sign."""
    _, _, eta, _ = point
    if moment == "propagator":
        return (1, eta, 1 / eta, 1)
    if moment == "autocovariance":
        position, velocity = row["stationary deviations"]
        return (position**2, position * velocity, position * velocity, velocity**2)
    return (0,) * len(row[moment])


CASES = pytest.mark.parametrize(
    ("rule", "theory", "moment"),
    [
        (rule, theory, moment)
        for rule in LIMIT
        for theory in ("discrete", "continuous")
        for moment in MOMENTS
    ],
)


def report(rows, moment, values):
    """The points that break the criterion, worst first, in words."""
    with mp.workdps(80):
        broken = [
            (ratio(value, entry, units(point, row, moment)[index]), index, tuple(map(float, point)))
            for (point, row), at in zip(rows, values, strict=True)
            for index, (value, entry) in enumerate(zip(np.ravel(at), row[moment], strict=True))
        ]
    worst = sorted((row for row in broken if not row[0] <= 1), reverse=True)
    return [f"{r:.3g} × allowed in entry {i} at (time, h, η, β) = {p}" for r, i, p in worst]


@CASES
def test_one_point_a_call(rule, theory, moment):
    rows = reference(rule, theory)
    values = [lowered(rule, theory, moment)(*point) for point, _ in rows]
    assert not report(rows, moment, values)


@CASES
def test_all_points_in_one_call(rule, theory, moment):
    """What a predictor does with a spectrum: fast modes must not cost slow ones their digits."""
    rows = reference(rule, theory)
    values = lowered(rule, theory, moment)(*np.array([point for point, _ in rows], dtype=float).T)
    assert not report(rows, moment, values)


def beside_the_limit():
    """Alternating critical damping at (1+r)², which nears the limit 2(1+r²) as r nears 1."""
    for n in range(5, 13):
        r = 1 - 2.0**-n
        for steps in (10, 100, 1000, 10**4):
            yield steps, (1 + r) ** 2 / 8, 8.0, r * r


@pytest.mark.parametrize("moment", ["propagator", "covariance", "autocovariance"])
def test_alternating_modes_beside_the_stability_limit(moment):
    """Beyond 0.999 of the limit, still stable: the criterion knows how ill-conditioned that is.

    The displacement is left out: within 10⁻⁶ of the limit, after a few even updates, it is a
    difference of its two terms and errs by up to 13 times what the criterion allows.
    """
    rows = conditioned("heavy_ball", "discrete", beside_the_limit())
    values = [lowered("heavy_ball", "discrete", moment)(*point) for point, _ in rows]
    assert not report(rows, moment, values)


def test_the_reference_is_that_of_plain_iteration():
    """Squaring and doubling are the oracles' own shortcuts; here they are checked without."""
    with mp.workdps(60):
        law = ((mp.mpf("0.7"), mp.mpf("0.09")), (mp.mpf(-3), mp.mpf("0.9")))
        noise = ((mp.mpf("0.01"), mp.mpf("0.1")), (mp.mpf("0.1"), mp.mpf(1)))
        for fast, slow in zip(
            oracles.leap(law, noise, 77), oracles.iterate(law, noise, 77), strict=True
        ):
            assert (
                max(abs(x - y) for x, y in zip(oracles.flat(fast), oracles.flat(slow), strict=True))
                < 1e-55
            )
        A = ((mp.mpf(0), mp.mpf(-1)), (mp.mpf(3), mp.mpf("0.4")))
        flow, gained = oracles.flow(A, ((0, 0), (0, mp.mpf(2))), mp.mpf(5))
        expected = mp.expm(-mp.matrix([list(row) for row in A]) * 5)
        assert max(abs(flow[i][j] - expected[i, j]) for i in range(2) for j in range(2)) < 1e-50
        B = oracles.stationary_diffusion(A, ((0, 0), (0, mp.mpf(2))))
        left = oracles.plus(B, oracles.sandwiched(flow, B), -1)
        assert (
            max(abs(x - y) for x, y in zip(oracles.flat(gained), oracles.flat(left), strict=True))
            < 1e-50
        )


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_series_of_a_short_time_leave_out_less_than_a_rounding(sign):
    """At both ends of where doubling starts; with −1 every term left out has one sign.

    In many digits nothing rounds but the factors 1/3 and n!, so what differs was left out.
    """
    half = mp.mpf(propagation.LARGEST_SHORT_TIME)
    with mp.workdps(40):
        a, b, one = sign * half, sign * half**2, mp.mpf(1)
        F, C = oracles.flow(((mp.mpf(0), -one), (b, a)), ((0, 0), (0, one)), 1)
        flow = propagation.short_flow(one, a, b)
        exact = (F[0][0], 1 - F[0][0], F[0][1], F[1][1])
        moments = propagation.short_moments(one, a, b, flow)
        pairs = [*zip(flow, exact, strict=True), (moments[0], C[0][0]), (moments[2], C[1][1])]
        assert max(abs(found / true - 1) for found, true in pairs) < EPS / 2
