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


@njit(cache=True, nogil=True)
def _measure_block(
    task: int, current: Any, previous: Any, start: Any, local: Any, total: Any
) -> None:
    """Squared differences of one block of one row."""
    # prange counts without a sign, and a quotient of both kinds would be a float.
    row, block = divmod(np.int64(task), local.shape[1])
    first = block * _BLOCK
    last = min(current.shape[1], first + _BLOCK)
    local[row, block], total[row, block] = _block_sums(
        current[row, first:last], previous[row, first:last], start[row, first:last]
    )


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
        self._parameters, self._replicas = parameters, replicas
        self._rows = self._viewed()
        ends = np.cumsum([row.shape[1] for row in self._rows]).tolist()
        self.places = [
            slice(end - row.shape[1], end) for end, row in zip(ends, self._rows, strict=True)
        ]
        self.previous = self.flat()
        self.start = self.previous.clone() if start is None else start.to(self.previous)
        if self.previous.device.type == "cpu":
            self._now = torch.empty_like(self.previous)
            self._sums = np.empty((2, replicas, -(-ends[-1] // _BLOCK)))
            self._kernel = _threads if self.previous.numel() >= _MANY else _one_thread

    def _viewed(self) -> list[torch.Tensor]:
        return [p.detach().reshape(self._replicas, -1) for p in self._parameters]

    def rows(self) -> list[torch.Tensor]:
        """Each parameter as (R, its share of P); a view where its memory is in order."""
        # An optimizer writes where they are; what has moved, or was copied, is looked at anew.
        if any(
            row.data_ptr() != p.data_ptr()
            for row, p in zip(self._rows, self._parameters, strict=True)
        ):
            self._rows = self._viewed()
        return self._rows

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
        torch.cat(self.rows(), dim=1, out=self._now)
        vectors = (each.numpy() for each in (self._now, self.previous, self.start))
        self._kernel(*vectors, *self._sums)
        self.previous, self._now = self._now, self.previous
        out.numpy()[:] = self._sums.sum(axis=-1)

    def _measure_by_torch(self, out: torch.Tensor) -> None:
        now = self.flat()
        for i, then in enumerate((self.previous, self.start)):
            # Metal knows no float64: there a float32 sum has to do.
            exact = now if now.device.type == "mps" else now.double()
            out[i] = torch.linalg.vector_norm(exact - then, dim=1).square()
        self.previous.copy_(now)
