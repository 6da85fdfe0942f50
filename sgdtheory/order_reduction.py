r"""Mass and friction of a rule to any order: its recurrence, reduced to second order in time.

On a quadratic loss every rule is one polynomial in x = z − 1, with three parameters: the friction
a = 1 − c of one update, the force Y = ηh · weight, and the share φ of the force that is one update
old. Mass and friction are derived once for all rules, in u = ηD with z = e^u.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sympy import QQ, factorial, field, ring
from sympy.polys.ring_series import rs_log, rs_mul, rs_series_inversion, rs_trunc

__all__ = ["universal_coefficients"]


def _balance(x: Any, a: Any, Y: Any, phi: Any) -> Any:
    """(z − 1)(z − c) + Y ((1 − φ) z + φ): zero on a solution of the recurrence."""
    return x * (x + a) + Y * (1 + (1 - phi) * x)


def _quadratic_factor_mass(order: int) -> dict[tuple[int, ...], Any]:
    """The mass as a polynomial: coefficients by the powers of (a, Y, φ).

    In the joint limit u, a ~ √η and Y ~ η: in these weights the balance begins with u² + a u + Y,
    and the higher derivatives are divided by it, grade by grade. The remainders are the quadratic
    factor that holds both roots (Weierstrass preparation), here with the constant term Y.
    """
    highest = 2 * order + 1
    R, u, a, Y, phi = ring("u, a, Y, phi", QQ)
    x = sum((u**n * QQ(1, int(factorial(n))) for n in range(1, highest + 1)), start=R(0))
    grades = [R(0) for _ in range(highest + 1)]
    for powers, coefficient in _balance(x, a, Y, phi).terms():
        grade = powers[0] + powers[1] + 2 * powers[2]
        if grade <= highest:
            grades[grade] += R({powers: coefficient})
    factor: dict[int, Any] = {2: grades[2]}
    rest: dict[int, Any] = {}
    for grade in range(3, highest + 1):
        known = sum((rest[n] * factor[grade - n] for n in range(1, grade - 2)), start=R(0))
        (quotient,), remainder = (grades[grade] - known).exquo(u).div([grades[2]])
        rest[grade - 2], factor[grade] = quotient * u, remainder * u
    return {
        powers[1:]: coefficient
        for part in factor.values()
        for powers, coefficient in part.terms()
        if powers[0] == 2
    }


@cache
def universal_coefficients(order: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Mass and friction as coefficients of Y⁰, Y¹, …, each a polynomial in a and φ.

    They are normalised to the force Y. The friction is the one with which the slow root u(Y) of the
    balance solves mass u² + friction u + Y = 0 through the order.
    """
    K, a, phi = field("a, phi", QQ)
    R, Y = ring("Y", K)
    mass = [K(0) for _ in range(order)]
    for (in_a, in_Y, in_phi), coefficient in _quadratic_factor_mass(order).items():
        mass[in_Y] += coefficient * a**in_a * phi**in_phi
    x = R(0)
    for _ in range(order + 2):  # Each pass adds a power of Y.
        x = rs_trunc(x - _balance(x, a, Y, phi) / a, Y, order + 2)
    root = rs_log(1 + x, Y, order + 2)
    per_force = root.exquo(Y)
    inertia = rs_mul(sum((m * Y**n for n, m in enumerate(mass)), R(0)), root, Y, order + 1)
    friction = -inertia - rs_series_inversion(per_force, Y, order + 1)
    return tuple(mass), tuple(
        friction.coeff(Y**n) if n else friction.coeff(1) for n in range(order + 1)
    )
