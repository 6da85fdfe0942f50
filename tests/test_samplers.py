"""Batches as a pure function of seed and step, and their covariances against the theory of §8."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats

from validation.samplers import SAMPLERS, FixedOrder, ReshuffledEpochs, generator, sampler

ALL = sorted(SAMPLERS)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_does_not_depend_on_what_was_drawn_before(name):
    steps = [3, 0, 7, 7, 2, 11, 1]
    one = sampler(name, 12, 4, seed=5)
    drawn = {step: one.batch(step).tolist() for step in steps}
    torch.randn(5)
    for step, batch in drawn.items():
        assert sampler(name, 12, 4, seed=5).batch(step).tolist() == batch
    assert any(sampler(name, 12, 4, seed=6).batch(s).tolist() != b for s, b in drawn.items())


def test_another_process_draws_the_same():
    code = (
        "from validation.samplers import sampler\n"
        "print(sampler('epochs', 9, 3, 1).batch(7).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(sampler("epochs", 9, 3, 1).batch(7).tolist())


def test_a_batch_that_is_changed_leaves_the_sampler_as_it_was():
    for name in ALL:
        one = sampler(name, 6, 3, seed=0)
        before = one.batch(1).clone()
        one.batch(1).fill_(0)
        assert torch.equal(one.batch(1), before)


@pytest.mark.parametrize("name", ["epochs", "fixed_order"])
def test_an_epoch_sees_every_example_once_and_drops_the_rest(name):
    one = sampler(name, 11, 3, seed=2)
    for epoch in range(3):
        seen = torch.cat([one.batch(3 * epoch + k) for k in range(3)])
        assert len(set(seen.tolist())) == 9
        assert torch.equal(seen, one.permutation(epoch)[:9])
        assert sorted(one.permutation(epoch).tolist()) == list(range(11))


def test_one_order_is_kept_for_ever_and_epochs_are_not():
    fixed, fresh = FixedOrder(20, 5, 3), ReshuffledEpochs(20, 5, 3)
    assert torch.equal(fixed.permutation(0), fixed.permutation(9))
    assert torch.equal(fixed.permutation(0), fresh.permutation(0))
    assert not torch.equal(fresh.permutation(0), fresh.permutation(1))


def test_permutations_are_uniform():
    """Chi-square over the 24 orders of four examples, false-alarm rate 1e-4."""
    one = ReshuffledEpochs(4, 2, seed=1)
    counts = Counter(tuple(one.permutation(epoch).tolist()) for epoch in range(4800))
    found = [counts[order] for order in itertools.permutations(range(4))]
    assert stats.chisquare(found).pvalue > 1e-4


@pytest.mark.parametrize("name", ALL)
def test_batch_means_have_the_covariances_of_their_sampling(name):
    """Each of 6 numbers within 4.2 standard errors: false alarms in 2e-4 of seeds."""
    N, S, M = 12, 3, 4
    values = np.random.default_rng(0).normal(size=N)
    values -= values.mean()
    variance = np.mean(values**2)
    runs = [sampler(name, N, S, seed) for seed in range(3000)]
    errors = np.array([[values[one.batch(k).numpy()].mean() for k in range(M + 2)] for one in runs])
    white = {"with_replacement": variance / S}.get(name, variance / S * (N - S) / (N - 1))
    within = 0.0 if name == "with_replacement" else -variance / (N - 1)
    again = white if name == "fixed_order" else 0.0
    for lag, expected in ((0, white), (1, within), (M - 1, within), (M, again)):
        products = errors[:, 0] * errors[:, lag]
        standard_error = products.std(ddof=1) / np.sqrt(len(products))
        assert abs(products.mean() - expected) < 4.2 * standard_error


def test_streams_and_neighboring_seeds_are_independent():
    """Correlations of 4000 normal numbers: each below 4.5 of their standard errors."""
    drawn = [
        torch.randn(4000, generator=generator(seed, stream, counter)).numpy()
        for seed in (0, 1)
        for stream in ("batches", "label noise")
        for counter in (0, 1)
    ]
    correlations = np.corrcoef(drawn)[np.triu_indices(len(drawn), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(4000)
    assert torch.equal(
        torch.randn(3, generator=generator(4, "a", 2)),
        torch.randn(3, generator=generator(4, "a", 2)),
    )


def test_what_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(ValueError, match=r"sampler\.name = 'epoch': there are with_replacement"):
        sampler("epoch", 4, 2, 0)
    for name in ("epochs", "fixed_order"):
        with pytest.raises(ValueError, match="batch_size = 5"):
            sampler(name, 4, 5, 0)
    assert len(sampler("with_replacement", 4, 5, 0).batch(0)) == 5
