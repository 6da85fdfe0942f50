r"""Fluctuation-dissipation relations: what stationarity alone says about measurable averages.

θ' = θ + a v + b g and v' = c v + d g are linear in the gradient g that the optimiser sees. If no
second moment of (θ, v) changes by an update, the five averages ⟨θ·v⟩, ⟨θ·g⟩, ⟨v·v⟩, ⟨v·g⟩, ⟨g·g⟩
obey three linear equations, whatever the loss and whatever the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sympy import (
    Eq,
    Expr,
    Integer,
    Poly,
    Symbol,
    expand,
    factor,
    latex,
    linear_eq_to_matrix,
    linsolve,
)

from sgdtheory import symbols as s
from sgdtheory.arrays import real
from sgdtheory.derivation import Derivation
from sgdtheory.normal_form import factored
from sgdtheory.update_rule import UpdateRule, require_rule

__all__ = ["FluctuationDissipation", "RelationCheck", "fluctuation_dissipation_relations"]

PAIRS = ((s.theta, s.v), (s.theta, s.g), (s.v, s.g), (s.v, s.v), (s.g, s.g))
AVERAGES = tuple(s.average(*pair) for pair in PAIRS)


@dataclass(frozen=True, eq=False)
class RelationCheck:
    """How far a recorded run is from stationarity, one entry a relation, (relations,).

    Args:
        ratio: measured left side over right side; 1 in a stationary run.
        standard_error: of the ratio, from the scatter between replicas.
        z: left less right side over its standard error: Student's t with replicas − 1 degrees of
            freedom.
        rule_residual: how far the record is from following the rule itself, from one entry to the
            next, relative to the largest change. Rounding, where every update is recorded in the
            rule's convention; of order 1 where v is torch's momentum_buffer without its minus, g
            lacks the weight decay, or updates are left out. Then z says nothing about stationarity
            (of left-out updates alone it still does).
    """

    ratio: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    z: NDArray[np.float64]
    rule_residual: float


@dataclass(frozen=True)
class FluctuationDissipation:
    r"""The relations of one rule, between averages over a stationary run.

    v is the velocity BEFORE an update, θ the position before it, and g the gradient that this
    update uses: of the loss, the weight decay and the batch's error, at the look-ahead point if
    the rule has one. Products are scalar products; the same relations hold for every coordinate
    by itself, in any basis, because each coordinate obeys the rule by itself.

    Args:
        rule: the optimiser.
        relations: stationarity of ⟨θ·θ⟩, ⟨θ·v⟩ and ⟨v·v⟩, in this order. What decays stands on the
            left, what the gradients keep stirring up on the right.
        cross_relations: stationarity of ⟨θ_iθ_j⟩, ⟨θ_iv_j⟩, ⟨v_iθ_j⟩ and ⟨v_iv_j⟩, for any two
            coordinates.
    """

    rule: UpdateRule
    relations: tuple[Eq, ...]
    cross_relations: tuple[Eq, ...]
    derivation: Derivation = field(default=Derivation(), repr=False, compare=False)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions

    def _repr_latex_(self) -> str:
        lines = " \\\\\n".join(map(latex, self.relations))
        return f"$$\n\\begin{{gathered}}\n{lines}\n\\end{{gathered}}\n$$"

    def solved(self, *by: Symbol) -> dict[Symbol, Expr]:
        """The relations solved for as many averages as they determine.

        Args:
            by: the averages to express the others by, by default ⟨v·v⟩ and ⟨g·g⟩. What the
                relations leave open besides stays open: ⟨v·g⟩ of plain SGD, for one.

        Raises:
            ValueError: when one of them is not among the five averages.

        >>> from sgdtheory import plain_sgd, symbols as s
        >>> fluctuation_dissipation_relations(plain_sgd()).solved()[s.average(s.theta, s.g)]
        eta*<g·g>/2
        """
        given = by or AVERAGES[-2:]
        if unknown := set(given) - set(AVERAGES):
            raise ValueError(
                f"by = {unknown}: give averages among {', '.join(map(str, AVERAGES))}."
            )
        order = [average for average in AVERAGES if average not in given] + list(given)
        rows, _ = linear_eq_to_matrix(
            [equation.lhs - equation.rhs for equation in self.relations], order
        )
        reduced, pivots = rows.rref(iszerofunc=lambda x: factor(x) == 0, simplify=factor)
        return {
            order[pivot]: sum(
                -factored(reduced[row, column]) * order[column]
                for column in range(pivot + 1, len(order))
            )
            for row, pivot in enumerate(pivots)
        }

    def check(
        self,
        positions: ArrayLike,
        velocities: ArrayLike,
        gradients: ArrayLike,
        values: Mapping[Symbol, float],
    ) -> RelationCheck:
        """Both sides of every relation, measured on a recorded run.

        Summed over time, a relation telescopes to what its moment was at the end less at the
        start. So pieces of one run say nothing about the error of their mean: independent replicas
        do, or stretches of one long run with gaps longer than its memory.

        Args:
            positions: θ_k, (replicas, updates, d). From any origin, but the scatter is least from
                their mean.
            velocities: v_k before update k, of the same shape.
            gradients: g_k that update k used, of the same shape.
            values: of the rule's symbols, as ``{symbols.eta: 0.1, symbols.beta: 0.9}``.

        Raises:
            ValueError: for other shapes, fewer than two replicas, or a symbol without a value.

        >>> from sgdtheory import plain_sgd, symbols as s
        >>> theta, g = np.zeros((2, 4, 1)), np.array([[[1.0], [-1], [-1], [1]]] * 2)
        >>> theta[:, 1:] = -0.1 * np.cumsum(g[:, :-1], axis=1)
        >>> relations = fluctuation_dissipation_relations(plain_sgd())
        >>> relations.check(theta, -np.roll(g, 1, axis=1), g, {s.eta: 0.1}).ratio
        array([1., 1., 1.])
        """
        if missing := self.rule.parameters - set(values):
            raise ValueError(
                f"values = {dict(values)}: the {self.rule.name} rule also has the symbols "
                f"{sorted(map(str, missing))}; give each a number."
            )
        means = _measured(positions, velocities, gradients)
        sides = [
            _coefficients([getattr(e, side) for e in self.relations], values)
            for side in ("lhs", "rhs")
        ]
        left, right = (coefficients @ means for coefficients in sides)
        ratio = left.mean(axis=1) / right.mean(axis=1)
        deviation = _standard_error(left - ratio[:, None] * right)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (left - right).mean(axis=1) / _standard_error(left - right)
        residual = _rule_residual(self.rule, values, positions, velocities, gradients)
        return RelationCheck(ratio, deviation / abs(right.mean(axis=1)), z, residual)


@lru_cache(maxsize=256)
def fluctuation_dissipation_relations(rule: UpdateRule) -> FluctuationDissipation:
    r"""Relations between averages over a stationary run, from stationarity of second moments.

    Args:
        rule: the optimiser.

    Raises:
        TypeError: when `rule` is not an UpdateRule.
        ValueError: when positions do not follow the gradient in the long run: the averages then
            depend on the origin of θ.

    Source:
        Yaida, arXiv 1810.00004, for plain SGD and heavy ball.

    >>> from sgdtheory import heavy_ball, symbols as s
    >>> relations = fluctuation_dissipation_relations(heavy_ball())
    >>> relations.solved()[s.average(s.theta, s.g)]
    eta*<v·v>*(beta + 1)/2
    """
    require_rule(rule)
    vector = _Coordinate(s.theta, s.v, s.g)
    i, j = (_Coordinate(*(s.component(x, index) for x in vector)) for index in "ij")
    means = _vanishing_means(rule, vector)
    relations = tuple(
        _stationary(rule, (vector, m), (vector, n)) for m, n in ((0, 0), (0, 1), (1, 1))
    )
    cross = tuple(_stationary(rule, (i, m), (j, n)) for m in (0, 1) for n in (0, 1))
    steps = (
        rule.derivation.then(
            "Collect",
            "The rule is linear in the position, the velocity and the gradient.",
            *(
                Eq(letter, value, evaluate=False)
                for letter, value in zip(
                    (s.theta_next, s.v_next), _updated(rule, vector), strict=True
                )
            ),
        )
        .then(
            "Means",
            "If no mean changes by an update, neither the velocity nor the gradient has one, so no "
            "average below depends on the origin of θ.",
            *means,
            assumption="the run is stationary: averages over it do not change by an update",
        )
        .then(
            "Second moments",
            "Insert the update into each product of position and velocity, and set the average "
            "change to zero.",
            *relations,
            assumption="second moments of positions, velocities and gradients are finite",
        )
        .then(
            "Two coordinates",
            "The same for products of different coordinates, which obey the same rule each.",
            *cross,
        )
    )
    return FluctuationDissipation(rule, relations, cross, derivation=steps)


class _Coordinate(NamedTuple):
    """The letters of one coordinate, or of whole vectors that enter scalar products only."""

    theta: Symbol
    v: Symbol
    g: Symbol


def _updated(rule: UpdateRule, x: _Coordinate) -> tuple[Expr, Expr]:
    a, b, c, d, _ = rule.coefficients
    return x.theta + a * x.v + b * x.g, c * x.v + d * x.g


def _vanishing_means(rule: UpdateRule, x: _Coordinate) -> tuple[Eq, ...]:
    means = {x.v: s.average(x.v), x.g: s.average(x.g)}
    changes = [
        factor(expand(new - old).subs(means))
        for old, new in zip(x, _updated(rule, x), strict=False)
    ]
    (solution,) = linsolve(changes, list(means.values()))
    if any(solution):
        raise ValueError(
            f"rule = {rule.name}: its stationary runs may have a mean gradient, so that averages "
            "depend on the origin of θ. Give a rule whose position follows the gradient in the "
            "long run."
        )
    return tuple(
        Eq(mean, value, evaluate=False)
        for mean, value in zip(means.values(), solution, strict=True)
    )


def _stationary(
    rule: UpdateRule, one: tuple[_Coordinate, int], other: tuple[_Coordinate, int]
) -> Eq:
    """No change of one coordinate's position (0) or velocity (1) times another's."""
    (x, m), (y, n) = one, other
    letters = list(dict.fromkeys((*x, *y)))
    change = Poly(expand(_updated(rule, x)[m] * _updated(rule, y)[n] - x[m] * y[n]), *letters)
    # With a position in the product every term with a position decays, else with a velocity.
    decaying = {x[min(m, n)], y[min(m, n)]}
    sides: dict[bool, Expr] = {True: Integer(0), False: Integer(0)}
    for powers, coefficient in change.terms():
        factors = [
            letter for letter, power in zip(letters, powers, strict=True) for _ in range(power)
        ]
        decays = not decaying.isdisjoint(factors)
        sides[decays] += (-1 if decays else 1) * factored(coefficient) * s.average(*factors)
    return Eq(sides[True], sides[False], evaluate=False)


def _measured(*records: ArrayLike) -> NDArray[np.float64]:
    """The five averages of every replica, (5, replicas)."""
    arrays = dict(zip((s.theta, s.v, s.g), map(real, records), strict=True))
    shapes = [x.shape for x in arrays.values()]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3 or shapes[0][0] < 2 or 0 in shapes[0]:
        raise ValueError(
            f"positions, velocities, gradients have shapes {shapes}: give all three the shape "
            "(replicas, updates, d), with 2 replicas at least; their scatter is the standard error."
        )
    return (
        np.array([np.einsum("rkd,rkd->r", arrays[x], arrays[y]) for x, y in PAIRS]) / shapes[0][1]
    )


def _rule_residual(rule: UpdateRule, values: Mapping[Symbol, float], *records: ArrayLike) -> float:
    theta, v, g = map(real, records)
    a, b, c, d, _ = (float(x.subs(values)) for x in rule.coefficients)
    residual = 0.0
    for after, before, along, kick in ((v, 0.0 * v, c, d), (theta, theta, a, b)):
        moved = after[:, 1:] - before[:, :-1]
        expected = along * v[:, :-1] + kick * g[:, :-1]
        if np.any(moved):
            residual = max(residual, float(np.abs(moved - expected).max() / np.abs(moved).max()))
    return residual


def _coefficients(sides: Sequence[Expr], values: Mapping[Symbol, float]) -> NDArray[np.float64]:
    matrix, _ = linear_eq_to_matrix(sides, AVERAGES)
    return np.array(matrix.subs(values), dtype=np.float64)


def _standard_error(sample: NDArray[np.float64]) -> NDArray[np.float64]:
    return cast("NDArray[np.float64]", sample.std(axis=1, ddof=1) / np.sqrt(sample.shape[1]))
