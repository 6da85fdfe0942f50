"""What the tests compare with: hand loops, exact rationals, many digits. Never imports sgdtheory.

Matrices are nested tuples, so that the entries may be numbers of any kind: floats, fractions, mpf,
SymPy expressions. The formulas are those of the reference of theory (section numbers below).
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

# -- one update, by hand (section 2): x, v and a gradient in, x and v out ---------------------


def plain_sgd(x, v, gradient, eta, beta=0):
    v = -gradient(x)
    return x + eta * v, v


def heavy_ball(x, v, gradient, eta, beta):
    v = beta * v - gradient(x)
    return x + eta * v, v


def nesterov(x, v, gradient, eta, beta):
    g = gradient(x)
    v = beta * v - g
    return x + eta * (beta * v - g), v


def dampened(x, v, gradient, eta, beta, tau):
    v = beta * v - (1 - tau) * gradient(x)
    return x + eta * v, v


def quasi_hyperbolic(x, v, gradient, eta, beta, nu):
    g = gradient(x)
    v = beta * v - (1 - beta) * g
    return x + eta * (nu * v - (1 - nu) * g), v


UPDATES = {
    update.__name__: update
    for update in (plain_sgd, heavy_ball, nesterov, dampened, quasi_hyperbolic)
}
OWN_PARAMETERS = {"dampened": "tau", "quasi_hyperbolic": "nu"}


def linear_law(update, h, **hyper):
    """M and n of one update on a quadratic, from what the hand loop does to unit vectors."""
    (a, c), (b, d) = (update(x, v, lambda at: h * at, **hyper) for x, v in ((1, 0), (0, 1)))
    return ((a, b), (c, d)), update(0, 0, lambda at: h * at + 1, **hyper)


# -- the published Langevin equations (section 3) ---------------------------------------------

PUBLISHED = {
    "plain_sgd": lambda h, eta, beta=0: (eta / 2, 1),
    "heavy_ball": lambda h, eta, beta: (eta * (1 + beta) / 2, 1 - beta),
    "nesterov": lambda h, eta, beta: (eta * (1 + beta) / 2, 1 - beta + eta * beta * h),
    "dampened": lambda h, eta, beta, tau: (
        eta * (1 + beta) / (2 * (1 - tau)),
        (1 - beta) / (1 - tau),
    ),
}


def langevin_law(mass, friction, h, intensity):
    """A and the covariance gained per time, of dx = −A x dt + √noise dW in (θ, v)."""
    return (
        ((0, -1), (h / mass, friction / mass)),
        ((0, 0), (0, intensity / mass**2)),
    )


# -- 2×2 matrices of any numbers ----------------------------------------------------------------

ONE = ((1, 0), (0, 1))
NOTHING = ((0, 0), (0, 0))


def times(A, B):
    return tuple(tuple(A[i][0] * B[0][j] + A[i][1] * B[1][j] for j in range(2)) for i in range(2))


def plus(A, B, weight=1):
    return tuple(tuple(A[i][j] + weight * B[i][j] for j in range(2)) for i in range(2))


def transposed(A):
    return ((A[0][0], A[1][0]), (A[0][1], A[1][1]))


def sandwiched(F, C):
    """F C Fᵀ."""
    return times(times(F, C), transposed(F))


def outer(n, variance):
    return tuple(tuple(n[i] * n[j] * variance for j in range(2)) for i in range(2))


def solve_symmetric(operator, right):
    """The symmetric P with operator(P) = right, a linear operator: Cramer's rule, 3 unknowns."""
    basis = (((1, 0), (0, 0)), ((0, 1), (1, 0)), ((0, 0), (0, 1)))
    columns = [[image[0][0], image[0][1], image[1][1]] for image in map(operator, basis)]
    target = [right[0][0], right[0][1], right[1][1]]

    def det(u, v, w):
        return (
            u[0] * (v[1] * w[2] - v[2] * w[1])
            - v[0] * (u[1] * w[2] - u[2] * w[1])
            + w[0] * (u[1] * v[2] - u[2] * v[1])
        )

    u, v, w = columns
    whole = det(u, v, w)
    a, b, c = det(target, v, w) / whole, det(u, target, w) / whole, det(u, v, target) / whole
    return ((a, b), (b, c))


def stationary_recursion(M, N):
    """P = M P Mᵀ + N."""
    return solve_symmetric(lambda P: plus(P, sandwiched(M, P), -1), N)


def stationary_diffusion(A, N):
    """A B + B Aᵀ = N."""
    return solve_symmetric(lambda B: plus(times(A, B), times(B, transposed(A))), N)


# -- in time ------------------------------------------------------------------------------------


def iterate(M, N, steps):
    """M^k and the covariance from a fixed start, one update after the other."""
    flow, gained = ONE, NOTHING
    for _ in range(steps):
        flow, gained = times(M, flow), plus(sandwiched(M, gained), N)
    return flow, gained


def leap(M, N, steps):
    """The same by squaring."""
    flow, gained = ONE, NOTHING
    power, share = M, N
    while steps:
        if steps & 1:
            flow, gained = times(power, flow), plus(sandwiched(power, gained), share)
        power, share = times(power, power), plus(sandwiched(power, share), share)
        steps >>= 1
    return flow, gained


def flow(A, N, time):
    """e^{−At} and ∫ e^{−As} N e^{−Aᵀs} ds: Taylor series over a short time, then doubling.

    The short time is below 2⁻¹⁰ of the fastest rate, where each term gains three digits.
    """
    size = max(abs(A[0][0]) + abs(A[0][1]), abs(A[1][0]) + abs(A[1][1])) * time
    halvings = max(0, int(mp.ceil(mp.log(size + mp.mpf(2) ** -10, 2))) + 10)
    short = mp.mpf(time) / 2**halvings
    term, power, gained, total = N, ONE, NOTHING, ONE
    for n in range(1, mp.mp.dps // 3 + 4):
        gained = plus(gained, term, short**n / mp.factorial(n))
        power = tuple(tuple(-x for x in row) for row in times(A, power))
        total = plus(total, power, short**n / mp.factorial(n))
        lost = plus(times(A, term), times(term, transposed(A)))
        term = tuple(tuple(-x for x in row) for row in lost)
    for _ in range(halvings):
        gained = plus(gained, sandwiched(total, gained))
        total = times(total, total)
    return total, gained


def moments(propagator, covariance, stationary):
    """Everything that is compared, by name."""
    autocovariance = times(propagator, stationary)
    return {
        "propagator": propagator,
        "covariance": covariance,
        "autocovariance": autocovariance,
        "displacement": 2 * (stationary[0][0] - autocovariance[0][0]),
        "stationary_covariance": stationary,
    }


def recursion_moments(update, steps, h, noise, batch, *, go=leap, **hyper):
    """All moments of the exact discrete theory."""
    M, n = linear_law(update, h, **hyper)
    N = outer(n, noise / batch)
    return moments(*go(M, N, steps), stationary_recursion(M, N))


def diffusion_moments(published, time, h, noise, batch, eta, **hyper):
    """All moments of the continuous theory."""
    mass, friction = published(h, eta, **hyper)
    A, N = langevin_law(mass, friction, h, eta * noise / batch)
    return moments(*flow(A, N, time), stationary_diffusion(A, N))


def spectral_radius(M):
    return np.abs(np.linalg.eigvals(np.array(M, dtype=float))).max()


def flat(matrix):
    """Entries of a nested tuple or a scalar, in the order of reading."""
    return [x for row in matrix for x in row] if isinstance(matrix, tuple) else [matrix]


# -- epochs (section 8): sums over the batches, one by one ---------------------------------------


def batch_covariance(batch, dataset, M):
    """Cov of one batch's error and of two of one epoch, per unit Σ: a finite population's."""
    one = M[0][0] * 0 + 1  # in the arithmetic of M's entries
    return one * (dataset - batch) / (batch * (dataset - 1)), -one / (dataset - 1)


def column(A, x):
    return (A[0][0] * x[0] + A[0][1] * x[1], A[1][0] * x[0] + A[1][1] * x[1])


def dyad(x, y, weight=1):
    return tuple(tuple(x[i] * y[j] * weight for j in range(2)) for i in range(2))


def added(x, y):
    return (x[0] + y[0], x[1] + y[1])


def from_kicks(responses, single, pair):
    """Covariance of Σ_r u_r ε_r with Var ε = single and Cov = pair."""
    total, gained = (0, 0), NOTHING
    for u in responses:
        total, gained = added(total, u), plus(gained, dyad(u, u), single - pair)
    return plus(gained, dyad(total, total), pair)


def power(A, count):
    return leap(A, NOTHING, count)[0]


def geometric(A, count):
    """Σ_{i<count} Aⁱ by doubling."""
    if count == 0:
        return NOTHING
    half = geometric(A, count // 2)
    total = plus(half, times(power(A, count // 2), half))
    return plus(total, power(A, count - 1)) if count % 2 else total


def responses_to_kicks(M, n, count):
    kicks = [n]
    for _ in range(count - 1):
        kicks.append(column(M, kicks[-1]))
    return kicks[:count]


def reshuffled_covariance(M, n, steps, batch, dataset, phase=0):
    """Covariance after `steps` updates from a fixed start, `phase` batches into an epoch."""
    single, pair = batch_covariance(batch, dataset, M)
    length = dataset // batch
    kicks = responses_to_kicks(M, n, length)
    first = min(steps, length - phase)
    count, rest = divmod(steps - first, length)
    whole = from_kicks(kicks, single, pair)
    onward, gained = leap(power(M, length), whole, count)
    gained = plus(gained, sandwiched(onward, from_kicks(kicks[:first], single, pair)))
    return plus(sandwiched(power(M, rest), gained), from_kicks(kicks[:rest], single, pair))


def reshuffled_stationary(M, n, lags, batch, dataset):
    """Phase averages of E[x(t + k) x(t)ᵀ], by lag; a dictionary."""
    single, pair = batch_covariance(batch, dataset, M)
    length = dataset // batch
    kicks = responses_to_kicks(M, n, length)
    ends = stationary_recursion(power(M, length), from_kicks(kicks, single, pair))
    steady = [(0, 0)]
    for kick in kicks:
        steady.append(added(steady[-1], kick))
    totals = dict.fromkeys(lags, NOTHING)
    for phase in range(length):
        here = plus(sandwiched(power(M, phase), ends), from_kicks(kicks[:phase], single, pair))
        for lag in lags:
            ahead = min(lag, length - phase)
            shared = dyad(column(power(M, lag - ahead), steady[ahead]), steady[phase], pair)
            seen = plus(times(power(M, lag), here), shared)
            totals[lag] = plus(totals[lag], seen, (M[0][0] * 0 + 1) / length)
    return totals


def inverse(A):
    det = A[0][0] * A[1][1] - A[0][1] * A[1][0]
    return ((A[1][1] / det, -A[0][1] / det), (-A[1][0] / det, A[0][0] / det))


def fixed_order_covariance(M, n, steps, batch, dataset):
    """Covariance after `steps` updates from a fixed start: every batch kicks again and again."""
    single, pair = batch_covariance(batch, dataset, M)
    length = dataset // batch
    round_trip = power(M, length)
    responses = []
    for place in range(min(steps, length)):
        times_seen = (steps - 1 - place) // length + 1
        last = (steps - 1 - place) % length
        kick = column(power(M, last), n)
        responses.append(column(geometric(round_trip, times_seen), kick))
    return from_kicks(responses, single, pair)


def fixed_order_stationary(M, n, lags, batch, dataset):
    """E[x(t + k) x(t)ᵀ] on the limit cycle, by lag; a dictionary."""
    single, pair = batch_covariance(batch, dataset, M)
    length = dataset // batch
    cycle = inverse(plus(ONE, power(M, length), -1))
    settled = [column(cycle, kick) for kick in responses_to_kicks(M, n, length)]
    found = {}
    for lag in lags:
        later = [settled[(place + lag) % length] for place in range(length)]
        # The batch at `place` before t kicks `lag` updates further on.
        total, gained = (0, 0), NOTHING
        for now, then in zip(settled, later, strict=True):
            total, gained = added(total, now), plus(gained, dyad(then, now), single - pair)
        found[lag] = plus(gained, dyad(total, total), pair)
    return found
