r"""Jets: Taylor polynomials in a few variables, cut off at a total order.

Arithmetic that is written for numbers or arrays computes all partial derivatives up to that order
when it is given jets: sums, products and quotients of the truncated series are exact, and a choice
between two values is a choice between their series. The coefficient of an index I is

.. math:: \frac{1}{I!}\, \frac{\partial^{|I|} f}{\partial x^I}.

No tape is kept, so a derivative through many compositions needs the memory of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

__all__ = ["Jet", "choose_jets", "multi_indices"]

Index = tuple[int, ...]


def multi_indices(variables: int, order: int) -> list[Index]:
    """Indices of the coefficients of a polynomial of this total order, the value's first.

    >>> multi_indices(2, 1)
    [(0, 0), (0, 1), (1, 0)]
    """
    powers = product(range(order + 1), repeat=variables)
    return [index for index in powers if sum(index) <= order]


def _sum(first: Index, second: Index) -> Index:
    return tuple(i + j for i, j in zip(first, second, strict=True))


@dataclass(frozen=True, eq=False)
class Jet:
    """A truncated Taylor polynomial.

    Args:
        terms: coefficients by index; those left out are zero, but the value is always there.
        order: the total order that is kept.

    Raises:
        ValueError: if the value is missing.

    >>> x = Jet({(0,): 3.0, (1,): 1.0}, order=2)
    >>> (x * x).terms
    {(0,): 9.0, (1,): 6.0, (2,): 1.0}
    """

    terms: Mapping[Index, Any]
    order: int

    # NumPy must leave the arithmetic of an array and a jet to the jet.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        if not self.terms or any(min(self.terms)):
            raise ValueError(f"terms = {self.terms}: a jet needs its value, at index 0.")

    @property
    def value(self) -> Any:
        """The coefficient of order zero."""
        return self.terms[min(self.terms)]

    def _lift(self, other: Any) -> Jet:
        return other if isinstance(other, Jet) else Jet({min(self.terms): other}, self.order)

    def __add__(self, other: Any) -> Jet:
        terms = dict(self.terms)
        for index, term in self._lift(other).terms.items():
            terms[index] = terms[index] + term if index in terms else term
        return Jet(terms, self.order)

    def __neg__(self) -> Jet:
        return Jet({index: -term for index, term in self.terms.items()}, self.order)

    def __sub__(self, other: Any) -> Jet:
        return self + -other

    def __rsub__(self, other: Any) -> Jet:
        return -self + other

    def __mul__(self, other: Any) -> Jet:
        terms: dict[Index, Any] = {}
        others = self._lift(other).terms
        for i, j in product(self.terms, others):
            index = _sum(i, j)
            if sum(index) <= self.order:
                term = self.terms[i] * others[j]
                terms[index] = terms[index] + term if index in terms else term
        return Jet(terms, self.order)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return Jet({index: term / other for index, term in self.terms.items()}, self.order)
        rest = Jet({**other.terms, min(other.terms): 0.0}, self.order)
        # Each round makes one more order of the quotient right.
        quotient = self / other.value
        for _ in range(self.order):
            quotient = (self - quotient * rest) / other.value
        return quotient

    def __lt__(self, other: Any) -> Any:
        return self.value < other

    def __gt__(self, other: Any) -> Any:
        return self.value > other


def choose_jets(choose: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """`where` of jets, from that of an array library; conditions stay arrays."""

    def chosen(condition: Any, yes: Any, no: Any) -> Any:
        some = yes if isinstance(yes, Jet) else no
        if not isinstance(some, Jet):
            return choose(condition, yes, no)
        first, second = some._lift(yes).terms, some._lift(no).terms
        return Jet(
            {
                index: choose(condition, first.get(index, 0.0), second.get(index, 0.0))
                for index in {**first, **second}
            },
            some.order,
        )

    return chosen
