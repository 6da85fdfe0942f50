r"""Which examples a step sees, as a pure function of the seed and the step.

Nothing is consumed as training goes on: a run taken up again, or a single step looked at alone,
sees the batch that it would have seen. The number that seeds a generator is a hash of the seed, of
what is drawn and of a counter, so that neighboring seeds have nothing in common and batches, label
noise, initial weights and random directions never draw the same numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch

__all__ = [
    "SAMPLERS",
    "FixedOrder",
    "ReshuffledEpochs",
    "Sampling",
    "WithReplacement",
    "generator",
    "sampler",
]

_BATCHES = "batches"


def generator(
    seed: int, stream: str, counter: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator of its own for everything that is drawn.

    Args:
        seed: of the run.
        stream: what is drawn, such as "batches".
        counter: which one of them, such as the step.
        device: where the numbers are drawn.

    Returns:
        The generator seeded with 64 bits. On the processor torch keeps 32 of them: among n
        generators n²/2³³ pairs, on average, draw the same numbers.
    """
    key = f"{seed}/{counter}/{stream}".encode()
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


class Sampling(Protocol):
    """A way of drawing batches."""

    @property
    def examples(self) -> int:
        """N."""

    @property
    def batch_size(self) -> int:
        """S."""

    @property
    def seed(self) -> int:
        """Of the batches."""

    def batch(self, step: int) -> torch.Tensor:
        """Numbers of the examples that a step sees, (S,), int64; steps count from 0."""


@dataclass(frozen=True)
class WithReplacement:
    """Every example of every batch is drawn from all.

    Args:
        examples: N.
        batch_size: S.
        seed: of the batches.
    """

    examples: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> torch.Tensor:
        """Numbers of the examples that a step sees, (S,), int64; steps count from 0."""
        source = generator(self.seed, _BATCHES, step)
        return torch.randint(self.examples, (self.batch_size,), generator=source)


@dataclass(frozen=True)
class ReshuffledEpochs:
    """Each epoch goes once through a new permutation, in M = ⌊N/S⌋ full batches.

    Args:
        examples: N.
        batch_size: S; the incomplete batch at the end of an epoch is dropped.
        seed: of the permutations.

    Raises:
        ValueError: if S > N.
    """

    examples: int
    batch_size: int
    seed: int
    _last: dict[int, torch.Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        _check_full_batch("epochs", self.examples, self.batch_size)

    @property
    def updates_an_epoch(self) -> int:
        """M."""
        return self.examples // self.batch_size

    def _order(self, epoch: int) -> torch.Tensor:
        """The permutation of an epoch; the one asked for last is kept."""
        found = self._last.get(epoch)
        if found is None:
            found = _permutation(self.examples, self.seed, epoch)
            self._last.clear()
            self._last[epoch] = found
        return found

    def permutation(self, epoch: int) -> torch.Tensor:
        """The order of all examples in an epoch, (N,)."""
        return self._order(epoch).clone()

    def batch(self, step: int) -> torch.Tensor:
        """Numbers of the examples that a step sees, (S,), int64; steps count from 0."""
        epoch, place = divmod(step, self.updates_an_epoch)
        return self._order(epoch)[place * self.batch_size :][: self.batch_size].clone()


@dataclass(frozen=True)
class FixedOrder:
    """One permutation, drawn once and repeated for ever, in M = ⌊N/S⌋ full batches.

    Args:
        examples: N.
        batch_size: S; the incomplete batch at the end of the permutation is never seen.
        seed: of the permutation, which is that of the first of `ReshuffledEpochs`.

    Raises:
        ValueError: if S > N.
    """

    examples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _check_full_batch("fixed_order", self.examples, self.batch_size)

    @property
    def updates_an_epoch(self) -> int:
        """M."""
        return self.examples // self.batch_size

    @cached_property
    def _order(self) -> torch.Tensor:
        return _permutation(self.examples, self.seed, 0)

    def permutation(self, epoch: int) -> torch.Tensor:
        """The order of all examples, (N,), the same in every epoch."""
        return self._order.clone()

    def batch(self, step: int) -> torch.Tensor:
        """Numbers of the examples that a step sees, (S,), int64; steps count from 0."""
        place = step % self.updates_an_epoch
        return self._order[place * self.batch_size :][: self.batch_size].clone()


SAMPLERS: dict[str, type[WithReplacement] | type[ReshuffledEpochs] | type[FixedOrder]] = {
    "with_replacement": WithReplacement,
    "epochs": ReshuffledEpochs,
    "fixed_order": FixedOrder,
}


def sampler(name: str, examples: int, batch_size: int, seed: int) -> Sampling:
    """The sampling of a name.

    Args:
        name: a key of `SAMPLERS`.
        examples: N.
        batch_size: S.
        seed: of the batches.

    Raises:
        ValueError: for another name, or a batch larger than the data, without replacement.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler.name = {name!r}: there are {', '.join(SAMPLERS)}.")
    return SAMPLERS[name](examples, batch_size, seed)


def _permutation(examples: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(examples, generator=generator(seed, _BATCHES, epoch))


def _check_full_batch(name: str, examples: int, batch_size: int) -> None:
    if batch_size > examples:
        raise ValueError(
            f"sampler.batch_size = {batch_size} with sampler.name = {name!r}: without replacement "
            f"a batch has at most all {examples} examples. Lower batch_size, or draw "
            '"with_replacement".'
        )
