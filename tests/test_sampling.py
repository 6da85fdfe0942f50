"""How batches are drawn: covariances of their errors, against all the ways to draw them."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product

import pytest
from sympy import Rational

import sgdtheory as sgd
from sgdtheory.sampling import SAMPLINGS, Sampling, epochs, fixed_order, with_replacement

s = sgd.symbols
# Errors of the examples of a small data set: they add up to zero.
ERRORS = [Fraction(x) for x in (3, -1, 4, -6, 2, -2)]
SIGMA = sum(x * x for x in ERRORS) / len(ERRORS)


def batch_errors(order, batch):
    return [sum(order[i : i + batch]) / batch for i in range(0, len(order) - batch + 1, batch)]


def covariances(draws, batch):
    """Mean square of a batch's error and mean product of two, per Σ, over equally likely draws."""
    single = pair = count = 0
    for order in draws:
        first, second = batch_errors(order, batch)[:2]
        single, pair, count = single + first * first, pair + first * second, count + 1
    return single / count / SIGMA, pair / count / SIGMA


def said(sampling, batch):
    values = {s.S: batch, s.N: len(ERRORS)}
    return tuple(
        Fraction(int(x.p), int(x.q))
        for x in (sampling.variance.subs(values), -Rational(sampling.shared.subs(values)))
    )


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("make", [epochs, fixed_order])
def test_without_replacement_every_permutation_counts_once(make, batch):
    assert said(make(), batch) == covariances(permutations(ERRORS), batch)


@pytest.mark.parametrize("batch", [1, 2])
def test_with_replacement_every_draw_counts_once(batch):
    assert said(with_replacement(), batch) == covariances(product(ERRORS, repeat=2 * batch), batch)


@pytest.mark.parametrize("batch", [2, 4])
def test_an_incomplete_batch_changes_no_covariance(batch):
    """With N = 6 and S = 4 an epoch is one batch, and two examples are left out."""
    single = sum(batch_errors(order, batch)[0] ** 2 for order in permutations(ERRORS)) / Fraction(
        720
    )
    assert said(epochs(), batch)[0] == single / SIGMA


def test_a_batch_that_is_the_data_set_has_no_error():
    assert epochs().variance.subs(s.S, s.N) == 0


def test_only_epochs_correlate_errors():
    assert [make().white for make in SAMPLINGS.values()] == [True, False, False]
    assert [make().repeats for make in SAMPLINGS.values()] == [False, False, True]


@pytest.mark.parametrize("make", SAMPLINGS.values())
def test_a_sampling_says_what_it_assumes(make):
    sampling = make()
    assert isinstance(sampling, Sampling)
    assert sampling.name == make.__name__
    assert sampling.assumptions
    assert all(step.formulas for step in sampling.derivation)
