"""What a predictor returns, against 70 digits, over the whole range that it is made for.

η ∈ [1e-6, 10], β = 0 or 1 − β ∈ [1e-5, 1], h from 1e-16 to the stability limit, 1 to 10⁷ updates,
critical damping exactly and to one unit in the last place beside it, weight decay absent, a share
of the curvature, nearly all and all of it; both theories, all samplings. Each point is a run of one
mode. Nothing here knows a formula of the package: the reference is powers of the update's own map,
exponentials of the published Langevin equation, and sums over an epoch's batches.

A value passes if its relative error is at most 1e-12, or at most 10 · ε · (1 + condition number):
the relative change of the exact value for a relative change of each input, summed. Means and
autocovariances, which pass through zero and decay, are held to ten roundings of their unit where
these are more; one value in a hundred may need that slack.

Left out, because they lose digits: displacements and exponents after an even number of updates
within 10⁻⁴ of the stability limit, where two terms cancel; exponents of modes whose roots are both
below 0.1, which are 10⁻¹⁹ and less.
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
import oracles
import pytest

import sgdtheory as sgd

EPS = np.finfo(float).eps
TINY = np.finfo(float).tiny
DIGITS = 70
ROUNDINGS = 10

LIMIT = {
    "heavy_ball": lambda beta: 2 * (1 + beta),
    "nesterov": lambda beta: 2 * (1 + beta) / (1 + 2 * beta),
}
CASES = [(rule, theory) for rule in LIMIT for theory in ("discrete", "continuous")]
EPOCHS = [(rule, sampling) for rule in LIMIT for sampling in ("epochs", "fixed_order")]

# -- points: (steps, (ρ, λ, η, β, Σ, S, start θ, start v)) -----------------------------------------


def shared_out(h, index):
    """ρ and λ of a curvature: all ρ, all λ, λ ≫ ρ, or some of each."""
    return [(h, 0.0), (0.0, h), (h * 1e-8, h * (1 - 1e-8)), (h * 0.6, h * 0.4)][
        max(0, index % 7 - 3)
    ]


def scattered(rule, count, seed):
    rng = np.random.default_rng(seed)
    for index in range(count):
        eta, beta = 10 ** rng.uniform(-6, 1), 1 - 10 ** rng.uniform(-5, 0)
        if index % 8 == 0:
            beta = 0.0
        top = (0.999 if index % 5 else 1 - 1e-9) * LIMIT[rule](beta) / eta
        if index % 3:
            h = 10 ** rng.uniform(-16, np.log10(top))
        else:
            h = top * (rng.uniform(0, 1) if index % 2 else rng.uniform(0.9, 1))
        steps = int(10 ** rng.uniform(0, 7)) if index % 4 else int(rng.integers(1, 20))
        noise, batch = 10 ** rng.uniform(-3, 3), float(rng.integers(1, 1000))
        x, v = rng.standard_normal(2)
        yield steps, (*shared_out(h, index), eta, beta, noise, batch, x, v if index % 2 else 0.0)


def critical(theory, seed):
    """Heavy ball with β = r², r = 1 − 2⁻ⁿ, for which the recursion's critical ηh are doubles."""
    rng = np.random.default_rng(seed)
    for n in range(1, 13):
        r = 1 - 2.0**-n
        beta = r * r
        rates = [(1 - r) ** 2, (1 + r) ** 2][: 2 if n <= 5 else 1]
        for y in rates if theory == "discrete" else [(1 - beta) ** 2 / (2 * (1 + beta))]:
            for units in (-(2**20), -1, 0, 1, 2**20):
                eta, rate = 2.0 ** rng.integers(-19, 4), y * (1 + units * EPS)
                if rate < LIMIT["heavy_ball"](beta):
                    steps = int(10 ** rng.uniform(0, 7))
                    yield steps, (rate / eta, 0.0, eta, beta, 1.0, 1.0, 1.0, 0.0)


def points(rule, theory):
    found = list(scattered(rule, 320 if theory == "discrete" else 120, seed=31))
    return found + list(critical(theory, seed=32)) * (rule == "heavy_ball")


# -- the reference --------------------------------------------------------------------------------


@cache
def law(rule, theory, h, eta, beta):
    """Flow and gained covariance of an update, and the stationary one, for Σ/S = 1."""
    if theory == "discrete":
        M, n = oracles.linear_law(oracles.UPDATES[rule], h, eta=eta, beta=beta)
        N = oracles.outer(n, 1)
        return (M, N), oracles.stationary_recursion(M, N)
    mass, friction = oracles.PUBLISHED[rule](h, eta, beta=beta)
    A, N = oracles.langevin_law(mass, friction, h, eta)
    return oracles.flow(A, N, eta), oracles.stationary_diffusion(A, N)


def then(first, second):
    """Flow and gained covariance after both."""
    (F, C), (G, D) = first, second
    return oracles.times(G, F), oracles.plus(oracles.sandwiched(G, C), D)


@cache
def around(rule, theory, h, eta, beta, steps):
    """Flow and gained covariance at both ends of an exponent's interval and at `steps`."""
    one, _ = law(rule, theory, h, eta, beta)
    start = oracles.leap(*one, max(steps - 1, 1))
    middle = start if steps == 1 else then(start, one)
    return start, middle, then(middle, one)


def slope(growth, before, steps):
    return mp.log1p(growth / before) / mp.log(mp.mpf(steps + 1) / max(steps - 1, 1))


def exact(rule, theory, steps, point):
    """Everything that is compared, by name: lists of entries."""
    h, eta, beta, noise, x, v = point
    (step, _), B = law(rule, theory, h, eta, beta)
    reached = around(rule, theory, h, eta, beta, steps)
    (F0, C0), (F, C), (F2, _) = reached
    seen = [oracles.times(flow, B) for flow, _ in reached]
    lost = [2 * (B[0][0] - at[0][0]) for at in seen]
    departed = [(flow[0][0] - 1) * x + flow[0][1] * v for flow, _ in reached]
    # Late growth is the change of what decays: of correlations, and of B less the covariance.
    further = (F2[0][0] - F0[0][0]) * x + (F2[0][1] - F0[0][1]) * v
    left = oracles.sandwiched(F0, B)[0][0] - oracles.sandwiched(F2, B)[0][0]
    growth = further * (departed[0] + departed[2]) + noise * left
    first = 2 * (B[0][0] - oracles.times(step, B)[0][0])
    return {
        "stationary_covariance": [noise * entry for entry in oracles.flat(B)],
        "effective_temperature": [noise * h * B[0][0]],
        "local_displacement": [noise * (first if theory == "discrete" else eta**2 * B[1][1])],
        "mean": [F[0][0] * x + F[0][1] * v, F[1][0] * x + F[1][1] * v],
        "covariance": [noise * entry for entry in oracles.flat(C)],
        "autocovariance": [noise * entry for entry in oracles.flat(seen[1])],
        "displacement": [noise * lost[1]],
        "displacement_from": [departed[1] ** 2 + noise * C[0][0]],
        "exponent": [slope(2 * (seen[0][0][0] - seen[2][0][0]), lost[0], steps)],
        "exponent_from": [slope(growth, departed[0] ** 2 + noise * C0[0][0], steps)],
    }


def relaxation(rule, theory, point):
    """From the slowest root itself."""
    h, eta, beta = point
    if theory == "discrete":
        M, _ = oracles.linear_law(oracles.UPDATES[rule], h, eta=eta, beta=beta)
        half, product = (M[0][0] + M[1][1]) / 2, M[0][0] * M[1][1] - M[0][1] * M[1][0]
        root = mp.sqrt(half**2 - product)
        return {"relaxation_steps": [-1 / mp.log(max(abs(half + root), abs(half - root)))]}
    mass, friction = oracles.PUBLISHED[rule](h, eta, beta=beta)
    root = mp.sqrt(friction**2 - 4 * mass * h)
    return {"relaxation_steps": [2 * mass / (mp.re(friction - root) * eta)]}


def conditioned(evaluate, point, weights, directions=(1,), change=1e-20):
    """Per output its entries, each with its summed change for a relative change of each input.

    Args:
        evaluate: a point's outputs by name, each a list.
        point: inputs.
        weights: how many numbers that a user gives each input stands for.
        directions: of the change.
        change: relative; a root next to critical has its slope only beyond the next doubles.
    """
    change = mp.mpf(change)
    here = evaluate(point)
    sensitivity = {name: [mp.mpf(0)] * len(entries) for name, entries in here.items()}
    for index, weight in enumerate(weights):
        there = []
        for sign in directions:
            moved = list(point)
            moved[index] *= 1 + sign * change
            there.append(evaluate(moved))
        for name, entries in here.items():
            for i, entry in enumerate(entries):
                moves = max(abs(side[name][i] - entry) for side in there)
                sensitivity[name][i] += weight * moves / change
    return {name: list(zip(here[name], sensitivity[name], strict=True)) for name in here}


# Of h = ρ + λ the relative changes of both together; of Σ/S those of Σ and S.
WEIGHTS = {"h": 1, "eta": 1, "beta": 1, "noise": 2, "x": 1, "v": 1}


def inputs(point):
    """h, η, β, Σ/S and the start, in many digits."""
    rho, decay, eta, beta, noise, batch, x, v = map(mp.mpf, point)
    return [rho + decay, eta, beta, noise / batch, x, v]


@cache
def reference(rule, theory):
    rows = []
    with mp.workdps(DIGITS):
        for steps, point in points(rule, theory):
            here, weights = inputs(point), list(WEIGHTS.values())
            row = conditioned(lambda p, k=steps: exact(rule, theory, k, p), here, weights)
            row |= conditioned(
                lambda p: relaxation(rule, theory, p), here[:3], weights[:3], (1, -1), 4 * EPS
            )
            rows.append((steps, point, row))
    return rows


# -- the predictor --------------------------------------------------------------------------------


def predictor(rule, theory, point):
    rho, decay, eta, beta, noise, batch, *_ = point
    return sgd.Predictor(
        sgd.Hyperparameters(eta, beta, batch, weight_decay=decay),
        sgd.Spectrum([rho], noise_variances=[noise]),
        theory=theory,
        rule=getattr(sgd, rule)(),
    )


def predicted(model, output, steps, x, v):
    known = {
        "stationary_covariance": model.stationary_covariance,
        "effective_temperature": lambda: model.effective_temperature,
        "local_displacement": model.local_displacement,
        "relaxation_steps": lambda: model.relaxation_steps,
        "mean": lambda: model.mean(steps, x, v),
        "covariance": lambda: model.covariance(steps),
        "autocovariance": lambda: model.autocovariance(steps),
        "displacement": lambda: model.displacement(steps),
        "displacement_from": lambda: model.displacement(steps, x, v),
        "exponent": lambda: model.exponent(steps),
        "exponent_from": lambda: model.exponent(steps, x),
    }
    return np.ravel(known[output]())


OUTPUTS = (
    "stationary_covariance",
    "effective_temperature",
    "local_displacement",
    "relaxation_steps",
    "mean",
    "covariance",
    "autocovariance",
    "displacement",
    "displacement_from",
    "exponent",
    "exponent_from",
)


def units(row, output, point):
    """Of a mean its start's, with a velocity in 1/η; of a correlation the standard deviations'."""
    _, _, eta, *_, x, v = map(mp.mpf, point)
    if output == "mean":
        size = abs(x) + eta * abs(v)
        return size, size / eta
    if output == "autocovariance":
        position, *_, velocity = (mp.sqrt(entry[0]) for entry in row["stationary_covariance"])
        return position**2, position * velocity, position * velocity, velocity**2
    return (0,) * len(row[output])


def ratio(value, entry, unit=0):
    """Error over what is allowed: ≤ 1 passes."""
    x, sensitivity = entry
    allowed = max(1e-12 * abs(x), ROUNDINGS * EPS * max(abs(x) + sensitivity, unit), TINY)
    return float(abs(mp.mpf(float(value)) - x) / allowed)


def superstable(rule, theory, point):
    """Both roots of an update below 0.1: after a few updates nothing is left but rounding."""
    rho, decay, eta, beta, *_ = point
    if theory == "continuous":
        return False
    M, _ = oracles.linear_law(oracles.UPDATES[rule], rho + decay, eta=eta, beta=beta)
    return oracles.spectral_radius(M) < 0.1


def answered(rule, theory, output, point):
    """Whether the predictor has this output here; see the module's docstring."""
    if output == "local_displacement":
        return theory == "discrete" or rule == "heavy_ball"
    if output == "exponent_from" and point[-1]:
        return False
    return not (output.startswith("exponent") and superstable(rule, theory, point))


def compared(rule, theory, output):
    """Every entry at every point: how it compares, without and with slack, and where it is."""
    found = []
    with mp.workdps(DIGITS):
        for steps, point, row in reference(rule, theory):
            if not answered(rule, theory, output, point):
                continue
            values = predicted(predictor(rule, theory, point), output, steps, *point[-2:])
            unit = units(row, output, point)
            for i, (value, entry) in enumerate(zip(values, row[output], strict=True)):
                both = ratio(value, entry), ratio(value, entry, unit[i])
                found.append((*both, i, steps, tuple(map(float, point))))
    return found


@pytest.mark.parametrize(
    ("rule", "theory", "output"),
    [
        (rule, theory, output)
        for rule, theory in CASES
        for output in OUTPUTS
        if (rule, theory, output) != ("nesterov", "continuous", "local_displacement")
    ],
)
def test_every_output_keeps_its_digits(rule, theory, output):
    found = compared(rule, theory, output)
    assert len(found) >= 50
    broken = sorted((row[1:] for row in found if not row[1] <= 1), reverse=True)
    assert not [
        f"{r:.3g} × allowed in entry {i} after {k} updates at (ρ, λ, η, β, Σ, S, θ, v) = {p}"
        for r, i, k, p in broken
    ]
    assert sum(not row[0] <= 1 for row in found) <= len(found) / 100


# -- epochs ---------------------------------------------------------------------------------------


def epoch_points(rule, count, seed):
    """(steps, batch, data set, (h, η, β)); of some data sets examples are left over."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        eta, beta = 10 ** rng.uniform(-6, 1), 1 - 10 ** rng.uniform(-5, 0)
        if index % 8 == 0:
            beta = 0.0
        y = 10 ** rng.uniform(-16, np.log10(0.999 * LIMIT[rule](beta)))
        batch, length = int(rng.integers(1, 50)), int(rng.integers(2, 13))
        size = batch * length + (int(rng.integers(0, batch)) if index % 2 else 0)
        steps = int(10 ** rng.uniform(0, 7)) if index % 3 else int(rng.integers(1, 2 * length))
        yield steps, batch, size, (y / eta, eta, beta)


def exact_epochs(rule, sampling, steps, batch, size, point):
    h, eta, beta = point
    M, n = oracles.linear_law(oracles.UPDATES[rule], h, eta=eta, beta=beta)
    reshuffled = sampling == "epochs"
    seen = (oracles.reshuffled_stationary if reshuffled else oracles.fixed_order_stationary)(
        M, n, (0, steps), batch, size
    )
    gained = oracles.reshuffled_covariance if reshuffled else oracles.fixed_order_covariance
    return {
        "stationary_covariance": oracles.flat(seen[0]),
        "autocovariance": oracles.flat(seen[steps]),
        "displacement": [2 * (seen[0][0][0] - seen[steps][0][0])],
        "covariance": oracles.flat(gained(M, n, steps, batch, size)),
    }


@cache
def epoch_reference(rule, sampling):
    rows = []
    with mp.workdps(DIGITS):
        for steps, batch, size, point in epoch_points(rule, 24, seed=41):
            there = (rule, sampling, steps, batch, size)
            row = conditioned(
                lambda p, there=there: exact_epochs(*there, p), list(map(mp.mpf, point)), (1, 1, 1)
            )
            rows.append((steps, batch, size, point, row))
    return rows


def moving_deviations(row, sampling, batch, size, h):
    """Standard deviations of (θ, v), of a fixed order beside the static shift.

    The mean error of an order's batches is a constant force, which shifts the cycle by its h-th
    part.
    """
    position, *_, velocity = (entry[0] for entry in row["stationary_covariance"])
    if sampling == "fixed_order":
        length, one = size // batch, mp.mpf(1)
        single, pair = oracles.batch_covariance(batch, size, ((one,),))
        position -= (single + (length - 1) * pair) / length / mp.mpf(h) ** 2
    return mp.sqrt(position), mp.sqrt(velocity)


@pytest.mark.parametrize(("rule", "sampling"), EPOCHS)
def test_epochs_keep_their_digits(rule, sampling):
    """Autocovariances are held to 1e-12 of their unit: reshuffled ones, late, are differences."""
    broken = []
    for steps, batch, size, (h, eta, beta), row in epoch_reference(rule, sampling):
        model = sgd.Predictor(
            sgd.Hyperparameters(eta, beta, batch, dataset_size=size),
            sgd.Spectrum([h], noise_variances=[1.0]),
            rule=getattr(sgd, rule)(),
            sampling=sampling,
        )
        with mp.workdps(DIGITS):
            deviations = moving_deviations(row, sampling, batch, size, h)
            for output in row:
                made = getattr(model, output)
                values = np.ravel(made() if output == "stationary_covariance" else made(steps))
                for i, (value, entry) in enumerate(zip(values, row[output], strict=True)):
                    unit = deviations[i // 2] * deviations[i % 2] / (ROUNDINGS * EPS) * 1e-12
                    compare = ratio(value, entry, unit if output == "autocovariance" else 0)
                    if not compare <= 1:
                        broken.append((compare, output, i, steps, batch, size, h, eta, beta))
    assert not broken


@pytest.mark.parametrize("sampling", ["with_replacement", "epochs"])
def test_late_exponents_of_epochs_are_what_is_left_of_the_correlation(sampling):
    """Ten epochs on, a difference of displacements would hold no digit."""
    batch, size, steps = 5, 40, 100
    model = sgd.Predictor(
        sgd.Hyperparameters(0.5, 0.25, batch, dataset_size=size),
        sgd.Spectrum([1.0], noise_variances=[1.0]),
        sampling=sampling,
    )
    with mp.workdps(DIGITS):
        half, quarter = mp.mpf(1) / 2, mp.mpf(1) / 4
        M, n = oracles.linear_law(oracles.heavy_ball, 1, eta=half, beta=quarter)
        lags = (0, steps - 1, steps + 1)
        if sampling == "epochs":
            seen = oracles.reshuffled_stationary(M, n, lags, batch, size)
        else:
            B = oracles.stationary_recursion(M, oracles.outer(n, mp.mpf(1) / batch))
            seen = {k: oracles.times(oracles.power(M, k), B) for k in lags}
        before = 2 * (seen[0][0][0] - seen[lags[1]][0][0])
        growth = 2 * (seen[lags[1]][0][0] - seen[lags[2]][0][0])
        exact = float(slope(growth, before, steps))
    assert abs(exact) < 1e-16
    assert model.exponent(steps) == pytest.approx(exact, rel=1e-11)
