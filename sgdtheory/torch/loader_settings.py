"""What a DataLoader gives to an update, in the theory's terms, and the examples themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
)

from sgdtheory.arrays import shortened
from sgdtheory.sampling import SAMPLINGS

__all__ = ["Batches", "LoaderSettings", "examples_of"]

Batches = list[tuple[torch.Tensor, torch.Tensor]]

# Examples that are asked for twice: random augmentation would change some of them.
_ASKED_TWICE = 8
_TOGETHER = 256


@dataclass(frozen=True)
class LoaderSettings:
    """How batches are made.

    Args:
        batch_size: S.
        dataset_size: N.
        sampling: "with_replacement", "epochs" or "fixed_order".
        notes: what the theory leaves out, in words.
    """

    batch_size: int
    dataset_size: int
    sampling: str
    notes: tuple[str, ...]

    @classmethod
    def read(cls, loader: Any, sampling: str | None = None) -> LoaderSettings:
        """Of a DataLoader over a data set that has a length.

        Args:
            loader: of batches of (inputs, targets).
            sampling: how batches are drawn, where the sampler is one of your own.

        Raises:
            TypeError: for what is no DataLoader.
            ValueError: for a sampler or batches that the theory does not know.

        >>> data = torch.utils.data.TensorDataset(torch.zeros(10, 1), torch.zeros(10, 1))
        >>> LoaderSettings.read(DataLoader(data, batch_size=5, shuffle=True)).sampling
        'epochs'
        """
        if not isinstance(loader, DataLoader):
            raise TypeError(
                f"loader = {shortened(loader)}: give a torch.utils.data.DataLoader, which knows "
                "its batch size and how it draws."
            )
        if isinstance(loader.dataset, IterableDataset):
            raise ValueError(  # noqa: TRY004
                "loader.dataset is an IterableDataset, of unknown length and order. Give a data "
                "set with __len__ and __getitem__."
            )
        if loader.batch_size is None:
            raise ValueError(
                "loader.batch_size = None: its batches come from a batch_sampler or one by one, so "
                "their size is unknown. Give DataLoader(dataset, batch_size=S, ...)."
            )
        if sampling is not None and sampling not in SAMPLINGS:
            raise ValueError(f"sampling = {sampling!r}: give one of {', '.join(SAMPLINGS)}.")
        size = len(loader.dataset)  # type: ignore[arg-type]
        drawn = sampling or _sampling(loader.sampler, size)
        notes = _incomplete(size, loader.batch_size, loader.drop_last)
        return cls(loader.batch_size, size, drawn, notes)


def _sampling(sampler: Any, size: int) -> str:
    # A subclass may draw as it likes.
    if type(sampler) is SequentialSampler:
        return "fixed_order"
    if type(sampler) is RandomSampler:
        if sampler.replacement:
            return "with_replacement"
        if sampler.num_samples == size:
            return "epochs"
        raise ValueError(
            f"loader.sampler draws {sampler.num_samples} of {size} examples without replacement: "
            "the theory's epochs go through all. Leave num_samples out, or say sampling=."
        )
    raise ValueError(
        f"loader.sampler is a {type(sampler).__name__}: known are RandomSampler (shuffle=True; "
        "replacement=True draws with replacement) and SequentialSampler. If yours draws "
        f"uniformly, say how: sampling = {', '.join(map(repr, SAMPLINGS))}."
    )


def _incomplete(size: int, batch: int, drop_last: bool) -> tuple[str, ...]:
    left = size % batch
    if drop_last or not left:
        return ()
    return (
        f"the last batch of an epoch has {left} of {batch} examples; the theory leaves it out, as "
        "DataLoader(..., drop_last=True) does",
    )


def examples_of(
    loader: DataLoader[Any], count: int | None, seed: int, device: torch.device
) -> Batches:
    """All examples, or so many at random, in batches on the device, each example once.

    Args:
        loader: whose data set and collation are used; its sampler is not asked.
        count: of examples; None for all.
        seed: of the choice.
        device: of the model.

    Raises:
        ValueError: for batches that are no pairs of tensors, and for random augmentation.
    """
    size = len(loader.dataset)  # type: ignore[arg-type]
    if count is not None and not (isinstance(count, int) and 2 <= count <= size):
        raise ValueError(f"examples = {count!r}: give a whole number from 2 to {size}, or None.")
    chosen = np.arange(size)
    if count is not None and count < size:
        chosen = np.sort(np.random.default_rng(seed).choice(size, count, replace=False))
    once, again = (_read(loader, chosen[:_ASKED_TWICE])[0] for _ in range(2))
    if any(not torch.equal(x, y) for x, y in zip(once, again, strict=True)):
        raise ValueError(
            "loader.dataset gives another example when it is asked for the same one again: with "
            "random augmentation there is no loss whose Hessian could be taken. Measure on a data "
            "set without, by a DataLoader of the same batch size and sampler."
        )
    return [(x.to(device), y.to(device)) for x, y in _read(loader, chosen)]


def _read(loader: DataLoader[Any], chosen: Any) -> Batches:
    subset: Subset[Any] = Subset(loader.dataset, chosen.tolist())
    found = list(DataLoader(subset, batch_size=_TOGETHER, collate_fn=loader.collate_fn))
    for batch in found:
        pair = isinstance(batch, list | tuple) and len(batch) == 2
        if not pair or not all(isinstance(part, torch.Tensor) for part in batch):
            raise ValueError(
                f"loader gives {shortened(batch)}: give batches that are pairs of tensors, "
                "(inputs, targets), by a collate_fn if need be."
            )
    return [(inputs, targets) for inputs, targets in found]
