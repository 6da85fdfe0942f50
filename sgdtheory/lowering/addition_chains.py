"""Many powers of one map by few products: a plan that depends on the exponents alone.

A time that is twice another one of the grid costs a squaring. Any other is a product of at most one
tabulated power a digit in base 32, M^(d·32^i), and the table is shared by all times. (An addition
chain is a list of numbers in which each is the sum of two before it; Knuth, The Art of Computer
Programming 2, §4.6.3.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["AdditionChain", "Run", "addition_chain"]

_BASE = 32
# Squaring through times that nobody asked for is cheaper than a product for each digit.
_LONGEST_GAP = 4


@dataclass(frozen=True)
class Run:
    """A power, and its squares one after the other.

    Args:
        factors: entries of the table whose product is the first power.
        places: for the first power and each square, where in the grid it stands; −1 for nowhere.
        odd: whether the first exponent is odd.
    """

    factors: tuple[int, ...]
    places: tuple[int, ...]
    odd: bool


@dataclass(frozen=True)
class AdditionChain:
    """A plan for the powers M^k of a grid of exponents k ≥ 1.

    Args:
        exponents: the grid, distinct.
        table: exponents of the tabulated powers; the first is 1.
        products: for each entry of the table but the first, the two entries that it is made of.
        runs: how the grid is reached from the table.

    Raises:
        ValueError: when the plan does not reach its grid.
    """

    exponents: tuple[int, ...]
    table: tuple[int, ...]
    products: tuple[tuple[int, int], ...]
    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        table = [1]
        for left, right in self.products:
            table.append(table[left] + table[right])
        reached = {
            place: sum(table[i] for i in run.factors) << squares
            for run in self.runs
            for squares, place in enumerate(run.places)
            if place >= 0
        }
        if tuple(table) != self.table or reached != dict(enumerate(self.exponents)):
            raise ValueError(f"the chain reaches {sorted(reached.values())}, not {self.exponents}.")

    @property
    def cost(self) -> int:
        """Products in all."""
        factors = sum(len(run.factors) - 1 for run in self.runs)
        return len(self.products) + factors + sum(len(run.places) - 1 for run in self.runs)


def addition_chain(exponents: Sequence[int]) -> AdditionChain:
    """A plan for the powers of distinct exponents ≥ 1.

    >>> addition_chain([3, 6, 12]).runs
    (Run(factors=(2,), places=(0, 1, 2), odd=True),)
    >>> addition_chain([2**j for j in range(20)]).cost
    19
    """
    grid = {exponent: place for place, exponent in enumerate(exponents)}
    heads = [exponent for exponent in exponents if _root(exponent, grid) is None]
    table = _table({entry for head in heads for entry in _digits(head)})
    index = {entry: i for i, entry in enumerate(table)}
    return AdditionChain(
        exponents=tuple(exponents),
        table=tuple(table),
        products=tuple(tuple(index[part] for part in _parts(entry)) for entry in table[1:]),  # type: ignore[misc]
        runs=tuple(
            Run(tuple(index[entry] for entry in _digits(head)), _places(head, grid), head % 2 == 1)
            for head in heads
        ),
    )


def _root(exponent: int, grid: dict[int, int]) -> int | None:
    """The nearest exponent of the grid from which this one is reached by squaring."""
    for gap in range(1, _LONGEST_GAP + 1):
        if exponent % 2**gap:
            return None
        if exponent >> gap in grid:
            return exponent >> gap
    return None


def _places(head: int, grid: dict[int, int]) -> tuple[int, ...]:
    """Places of a head and its squares, up to the last that follows without a long gap."""
    places = [grid[head]]
    while True:
        octave = len(places)
        gaps = (gap for gap in range(_LONGEST_GAP) if head << (octave + gap) in grid)
        gap = next(gaps, None)
        if gap is None:
            return tuple(places)
        places += [-1] * gap + [grid[head << (octave + gap)]]


def _digits(exponent: int) -> tuple[int, ...]:
    """Its digits in base 32 other than 0, each with its place value; the largest first."""
    digits, value = [], 1
    while exponent:
        exponent, digit = divmod(exponent, _BASE)
        if digit:
            digits.append(digit * value)
        value *= _BASE
    return tuple(reversed(digits))


def _parts(entry: int) -> tuple[int, int]:
    """The two smaller entries that an entry d·32^i > 1 is the sum of."""
    value = 1
    while entry % (_BASE * value) == 0:
        value *= _BASE
    digit = entry // value
    if digit % 2 and digit > 1:
        return entry - value, value
    return entry // 2, entry // 2


def _table(wanted: Iterable[int]) -> list[int]:
    """The entries wanted, and all that they are made of, smallest first."""
    entries: set[int] = {1}
    pending = list(wanted)
    while pending:
        entry = pending.pop()
        if entry not in entries:
            entries.add(entry)
            pending += _parts(entry)
    return sorted(entries)
