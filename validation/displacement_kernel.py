r"""|θ_k − θ_{k−1}|² and |θ_k − θ_0|² in one pass over the parameters.

Differences and sums are taken in float64, whatever the parameters are: a float32 sum over 10⁷ of
them would lose the last digits that tell diffusion from drift. The processor sums blocks of a fixed
length and then the blocks in their order, so that the number of threads does not change a bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit, prange

__all__ = ["Displacement"]

_BLOCK = 8192
# Numbers from which starting threads costs less than it saves.
_MANY = 2**15


# Only sums may be reordered: that lets them be vectorized, and differences stay exact.
_REORDERED = {"reassoc", "nsz"}


@njit(cache=True, nogil=True, fastmath=_REORDERED)
def _block_sums(current: Any, previous: Any, start: Any) -> tuple[float, float]:
    """Of one block; it writes nothing, or the loop would not be vectorized."""
    step, way = 0.0, 0.0
    for i in range(current.size):
        now = np.float64(current[i])
        step += (now - np.float64(previous[i])) ** 2
        way += (now - np.float64(start[i])) ** 2
    return step, way


@njit(cache=True, nogil=True, fastmath=_REORDERED)
def _measure_block(
    task: int, current: Any, previous: Any, start: Any, local: Any, total: Any
) -> None:
    """Squared differences of one block of one row; its part of `previous` becomes `current`."""
    # prange counts without a sign, and a quotient of both kinds would be a float.
    row, block = divmod(np.int64(task), local.shape[1])
    first = block * _BLOCK
    last = min(current.shape[1], first + _BLOCK)
    now = current[row, first:last]
    sums = _block_sums(now, previous[row, first:last], start[row, first:last])
    local[row, block], total[row, block] = sums
    previous[row, first:last] = now


# Two functions: one that is compiled twice would share its place in Numba's cache, and its threads.
@njit(cache=True, nogil=True)
def _one_thread(current: Any, previous: Any, start: Any, local: Any, total: Any) -> None:
    for task in range(local.size):
        _measure_block(task, current, previous, start, local, total)


@njit(cache=True, nogil=True, parallel=True)
def _threads(current: Any, previous: Any, start: Any, local: Any, total: Any) -> None:
    for task in prange(local.size):
        _measure_block(task, current, previous, start, local, total)


class Displacement:
    """Squared displacements of every replica, measured after every step.

    Args:
        parameters: those of a model, in its order; the first axis of each is the replicas' if there
            are several.
        replicas: R.
        start: θ_0 as (R, P); by default where the parameters are now.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        replicas: int = 1,
        start: torch.Tensor | None = None,
    ) -> None:
        self._parameters = parameters
        self._replicas = replicas
        lengths = [parameter.numel() // replicas for parameter in parameters]
        ends = np.cumsum(lengths).tolist()
        self.places = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        self.previous = self.flat()
        self.start = self.previous.clone() if start is None else start.to(self.previous)
        if self.previous.device.type == "cpu":
            self._plan_blocks(lengths)

    def _plan_blocks(self, lengths: Sequence[int]) -> None:
        blocks = [-(-length // _BLOCK) for length in lengths]
        ends = np.cumsum(blocks).tolist()
        self._sums = np.empty((2, self._replicas, ends[-1]))
        self._views = [
            (
                self.previous[:, place].numpy(),
                self.start[:, place].numpy(),
                *self._sums[:, :, end - count : end],
                _threads if self._replicas * length >= _MANY else _one_thread,
            )
            for place, end, count, length in zip(self.places, ends, blocks, lengths, strict=True)
        ]

    def rows(self) -> list[torch.Tensor]:
        """Each parameter as (R, its share of P); a view where its memory is in order."""
        return [p.detach().reshape(self._replicas, -1) for p in self._parameters]

    def flat(self) -> torch.Tensor:
        """A copy of all parameters, (R, P)."""
        return torch.cat(self.rows(), dim=1)

    def measure(self, out: torch.Tensor) -> None:
        """Both squared displacements, and on to the next step.

        Args:
            out: float64, (2, R), on the parameters' device: since the last call, since the start.
        """
        if self.previous.device.type != "cpu":
            self._measure_by_torch(out)
            return
        for row, (previous, start, local, total, kernel) in zip(
            self.rows(), self._views, strict=True
        ):
            kernel(row.numpy(), previous, start, local, total)
        out.numpy()[:] = self._sums.sum(axis=-1)

    def _measure_by_torch(self, out: torch.Tensor) -> None:
        now = self.flat()
        for i, then in enumerate((self.previous, self.start)):
            # Metal knows no float64: there a float32 sum has to do.
            exact = now if now.device.type == "mps" else now.double()
            out[i] = torch.linalg.vector_norm(exact - then, dim=1).square()
        self.previous.copy_(now)
