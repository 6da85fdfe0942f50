r"""How batches are drawn from the data set, and how their gradient errors hang together.

ε_k is the error of batch k's gradient, Σ the covariance of one example's. Whatever is done with the
batches of one epoch, by symmetry every two of them share one covariance, so that

.. math:: \mathrm{Cov}(\varepsilon_k, \varepsilon_l) = \Sigma\,(a\,\delta_{kl} - b)

in an epoch: errors of their own, of variance a, less an error that all of them share. Other epochs
are independent when the examples are reshuffled, and the same again when their order is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sympy import Eq, Expr, S, solve

from sgdtheory import symbols as s
from sgdtheory.derivation import Derivation
from sgdtheory.normal_form import factored
from sgdtheory.notebook_display import ShownAsEquations

__all__ = ["SAMPLINGS", "Sampling", "epochs", "fixed_order", "with_replacement"]


@dataclass(frozen=True)
class Sampling(ShownAsEquations):
    """Covariances of batch errors, in units of one example's Σ.

    Args:
        name: "with_replacement", "epochs" or "fixed_order".
        own: a, the variance of what is a batch's own.
        shared: b, minus the covariance of two batches of one epoch.
        repeats: whether every epoch has the batches of the first.
    """

    name: str
    own: Expr
    shared: Expr = S.Zero
    repeats: bool = False
    derivation: Derivation = field(default=Derivation(), kw_only=True, repr=False, compare=False)

    @property
    def white(self) -> bool:
        """Whether errors of different batches are uncorrelated."""
        return self.shared == 0

    @property
    def variance(self) -> Expr:
        """Var ε_k / Σ of one batch."""
        return factored(self.own - self.shared)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the derivation takes for granted."""
        return self.derivation.assumptions


def with_replacement() -> Sampling:
    """Every batch is drawn anew from the whole data set: errors are independent, Cov ε = Σ/S.

    >>> with_replacement().variance
    1/S
    """
    variance = s.S * s.Sigma / s.S**2
    steps = Derivation().then(
        "Batches with replacement",
        "S independent examples, averaged; different batches have nothing in common.",
        Eq(s.noise_variance, variance, evaluate=False),
        assumption="batches are drawn with replacement, so their errors are independent",
    )
    return Sampling("with_replacement", variance / s.Sigma, derivation=steps)


def epochs() -> Sampling:
    """Every epoch goes through the data set once, in a new order; an incomplete batch is dropped.

    Source: Kühn and Rosenow, arXiv 2306.05300.

    >>> epochs().variance, epochs().shared
    ((N - S)/(S*(N - 1)), 1/(N - 1))
    """
    return _without_replacement("epochs", repeats=False)


def fixed_order() -> Sampling:
    """One order, drawn once, in every epoch: the noise never decorrelates.

    >>> fixed_order().repeats
    True
    """
    return _without_replacement("fixed_order", repeats=True)


def _without_replacement(name: str, *, repeats: bool) -> Sampling:
    pair = s.term("c", 0)
    vanishing = s.N * s.Sigma + s.N * (s.N - 1) * pair
    between = factored(solve(vanishing, pair)[0])
    batch = factored((s.S * s.Sigma + s.S * (s.S - 1) * between) / s.S**2)
    steps = Derivation().then(
        "Two examples without replacement",
        "The errors of all N examples add up to zero, and by symmetry every two of them have the "
        "same covariance.",
        Eq(vanishing, 0, evaluate=False),
        Eq(pair, between, evaluate=False),
    )
    steps = steps.then(
        "A batch, and two batches of one epoch",
        "A batch averages S examples, variances and covariances; two batches share none.",
        Eq(s.noise_variance, batch, evaluate=False),
        assumption="the examples are in the same order in every epoch, averaged over orders"
        if repeats
        else "every epoch is a new permutation, independent of the last; an incomplete batch is "
        "left out",
    )
    own, shared = factored((batch - between) / s.Sigma), factored(-between / s.Sigma)
    steps = steps.then(
        "Own noise, and noise that all share",
        "In an epoch the covariance is Σ(a δ − b): the variance above on the diagonal, that of two "
        "examples beside it.",
        Eq(s.identifier("a"), own, evaluate=False),
        Eq(s.identifier("b"), shared, evaluate=False),
    )
    return Sampling(name, own, shared, repeats, derivation=steps)


SAMPLINGS = {make.__name__: make for make in (with_replacement, epochs, fixed_order)}
