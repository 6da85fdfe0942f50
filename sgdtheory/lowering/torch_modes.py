r"""Modes as PyTorch operators: what autograd, functorch and the compiler see of a composition.

How many rounds a composition takes depends on the data, which no transform may look at. So
autograd, functorch and the compiler are shown one operator, whose inside runs on plain tensors. It
reads the largest count (the one point of a call where a GPU's queue is waited for), refuses counts
that are no whole numbers, under whatever transform it runs, and loops. A fixed number of rounds
would be 53 for every call, and make graphs of thousands of nodes.

The operator returns Taylor coefficients in some of (time, trace, determinant) up to an order, by
the arithmetic of jets. Its derivative is the same operator at the next order, so it can be
differentiated any number of times, forwards and backwards. No tape is kept: a gradient needs the
memory of its result, however many rounds it went.

It has two layers, because PyTorch has no one kind of operator that does it all. The inner one is a
custom operator, opaque to the compiler and known to it by the shapes of its results. The outer one
is an `autograd.Function`, which unlike a custom operator has forward derivatives, so that none is
silently zero; the compiler takes it into its graph as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from sgdtheory.lowering.batches import continuous_batch, discrete_batch, discrete_sums_batch
from sgdtheory.lowering.jets import Jet, choose_jets, multi_indices
from sgdtheory.lowering.printer import FLOW, MOMENTS
from sgdtheory.lowering.propagation import LARGEST_SHORT_TIME
from sgdtheory.special_functions import SUMS

__all__ = ["modes"]

# The coordinates of a point: time, trace, determinant.
COORDINATES = "tab"
# How many functions of a mode an operator returns.
COUNTS = {
    "continuous_flow": len(FLOW),
    "continuous_mode": len(FLOW) + len(MOMENTS),
    "discrete_flow": len(FLOW),
    "discrete_mode": len(FLOW) + len(MOMENTS),
    "discrete_sums": len(SUMS),
}


def modes(kind: str, time: Tensor, trace: Tensor, determinant: Tensor) -> Sequence[Tensor]:
    """The functions of the modes of one clock, broadcast.

    Args:
        kind: "continuous_flow", "continuous_mode", "discrete_flow", "discrete_mode" or
            "discrete_sums"; the result has the functions in the order of the printer's table.
        time: or the number of updates, in the type of the others.
        trace: of the generators.
        determinant: of the generators.

    Raises:
        ValueError: for updates that are no whole numbers, or rates that are not finite.

    >>> one = torch.ones(2, dtype=torch.float64)
    >>> modes("discrete_flow", 2 * one, one / 2, one / 4)[2]
    tensor([1.5000, 1.5000], dtype=torch.float64)
    """
    return _differentiable(kind, time, trace, determinant)


# -- inside the operator: plain tensors ----------------------------------------------------------

# Elements computed together on a CPU: their intermediate tensors stay in its caches.
BLOCK = 2**15


def _blocks(shape: Sequence[int], room: int) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most `room` elements that fill a tensor, filled from the last axis."""
    lengths: list[int] = []
    for size in reversed(shape):
        lengths.insert(0, max(1, min(size, room)))
        room //= lengths[0]
    corners = (range(0, size, length) for size, length in zip(shape, lengths, strict=True))
    for corner in product(*corners):
        yield tuple(slice(a, a + n) for a, n in zip(corner, lengths, strict=True))


def _part(tensor: Tensor, block: tuple[slice, ...]) -> Tensor:
    """The part of a tensor that a block of its broadcast shape needs."""
    aligned = zip(tensor.shape, block[len(block) - tensor.dim() :], strict=True)
    return tensor[tuple(slice(None) if size == 1 else box for size, box in aligned)]


def _whole(steps: Tensor) -> tuple[Tensor, int]:
    """Steps as integers, and the largest of them."""
    whole = (steps >= 0) & (steps <= 2.0**53) & (steps == steps.floor())
    largest = torch.where(whole, steps, torch.nan).amax().item()
    if largest != largest:
        raise ValueError(f"k = {steps[~whole][0]}: update counts are whole numbers from 0 to 2⁵³.")
    return steps.to(torch.int64), int(largest)


def _halvings(time: Tensor, trace: Tensor, determinant: Tensor) -> tuple[Tensor, int]:
    """How often each time must be halved for its mode's series to converge; the largest count."""
    fastest = torch.maximum(trace.abs() * time, determinant.abs().sqrt() * time)
    halvings = (fastest / LARGEST_SHORT_TIME).clamp(min=1.0).log2().ceil()
    largest = halvings.amax().item()
    if not largest < float("inf"):
        raise ValueError(
            f"(trace, determinant, time) give a rate of {fastest.amax()}: pass finite numbers."
        )
    return halvings, int(largest)


def _composed(kind: str, point: Sequence[Tensor], jets: Sequence[Any], choose: Any) -> Any:
    """A block of modes at a point, computed by jets or tensors in its place."""
    clock, _, what = kind.partition("_")
    time, trace, determinant = jets
    if clock == "continuous":
        halvings, largest = _halvings(*point)
        return continuous_batch(
            time, trace, determinant, halvings, choose, gather=what == "mode", largest=largest
        )
    steps, largest = _whole(point[0])
    if what == "sums":
        return discrete_sums_batch(steps, trace, determinant, choose, largest=largest)
    return discrete_batch(steps, trace, determinant, choose, gather=what == "mode", largest=largest)


def _jets(point: Sequence[Tensor], variables: str, order: int) -> list[Any]:
    """The coordinates of a point, those that are to vary as variables of jets."""
    constant, units = (0,) * len(variables), multi_indices(len(variables), 1)[:0:-1]
    jets: list[Any] = list(point)
    for variable, unit in zip(map(COORDINATES.index, variables), units, strict=True):
        one = point[variable].new_ones(())
        jets[variable] = Jet({constant: point[variable], unit: one}, order)
    return jets


def _empty(kind: str, variables: str, order: int, *point: Tensor) -> list[Tensor]:
    """Space for the results: for every function, its coefficients in the order of the indices."""
    shape = torch.broadcast_shapes(*(tensor.shape for tensor in point))
    count = COUNTS[kind] * len(multi_indices(len(variables), order))
    return [point[1].new_empty(shape) for _ in range(count)]


def _evaluated(kind: str, variables: str, order: int, *point: Tensor) -> list[Tensor]:
    results = _empty(kind, variables, order, *point)
    indices = multi_indices(len(variables), order)
    choose = choose_jets(torch.where) if order else torch.where
    room = BLOCK if results[0].device.type == "cpu" else max(1, results[0].numel())
    for block in _blocks(results[0].shape, room):
        part = [_part(tensor, block) for tensor in point]
        jets = _jets(part, variables, order) if order else part
        values = iter(results)
        for function in _composed(kind, part, jets, choose):
            terms = function.terms if order else {indices[0]: function}
            for index in indices:
                next(values)[block] = terms.get(index, 0.0)
    return results


# -- the rules of differentiation ----------------------------------------------------------------


def _slopes(
    setting: tuple[str, str, int], point: Sequence[Tensor], varied: Iterable[bool]
) -> Iterator[tuple[int, int, Tensor]]:
    """(coordinate, result, derivative) for every varied coordinate and every result.

    A coefficient's derivative is the coefficient next to it, times its power. There is none by a
    number of updates.
    """
    kind, variables, order = setting
    by = "".join(letter for letter, varies in zip(COORDINATES, varied, strict=True) if varies)
    by = by.replace("t", "") if kind.startswith("discrete") else by
    if not by:
        return
    wider = "".join(letter for letter in COORDINATES if letter in variables + by)
    coefficients = _Coefficients.apply(kind, wider, order + 1, *point)
    places = {index: n for n, index in enumerate(multi_indices(len(wider), order + 1))}
    results = list(product(range(COUNTS[kind]), multi_indices(len(variables), order)))
    for variable, (number, (function, index)) in product(by, enumerate(results)):
        powers = dict(zip(variables, index, strict=True))
        power = powers[variable] = powers.get(variable, 0) + 1
        place = places[tuple(powers.get(known, 0) for known in wider)]
        slope = power * coefficients[function * len(places) + place]
        yield COORDINATES.index(variable), number, slope


_coefficients: Any = torch.library.custom_op(
    "sgdtheory::mode_coefficients",
    _evaluated,
    mutates_args=(),
    schema="(str kind, str variables, int order, Tensor time, Tensor trace, Tensor determinant)"
    " -> Tensor[]",
)
_coefficients.register_fake(_empty)


class _Coefficients(torch.autograd.Function):
    """The operator with its rules; differentiable in the point, its last three arguments."""

    @staticmethod
    def forward(kind: str, variables: str, order: int, *point: Tensor) -> tuple[Tensor, ...]:
        return tuple(_coefficients(kind, variables, order, *point))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.setting = inputs[:3]
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        """Of every input, the results' gradients times their derivatives."""
        point = ctx.saved_tensors
        totals: list[Any] = [None, None, None]
        for place, number, slope in _slopes(ctx.setting, point, ctx.needs_input_grad[3:]):
            grad = grads[number]
            if grad is not None:
                before = totals[place]
                totals[place] = grad * slope if before is None else before + grad * slope
        pairs = zip(point, totals, strict=True)
        fitted = (None if x is None else x.sum_to_size(tensor.shape) for tensor, x in pairs)
        return None, None, None, *fitted

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """Of every result, its derivatives times the inputs' tangents."""
        point = ctx.saved_tensors
        along: Any = tangents[3:]
        totals = [torch.zeros_like(x) for x in _empty(*ctx.setting, *point)]
        varied = [tangent is not None for tangent in along]
        for place, number, slope in _slopes(ctx.setting, point, varied):
            totals[number] = totals[number] + along[place] * slope
        return tuple(totals)

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[Any], *arguments: Any) -> Any:
        """An added axis: in front of what has it; the others broadcast over it."""
        pairs = list(zip(arguments[3:], in_dims[3:], strict=True))
        rank = max(tensor.dim() - (axis is not None) for tensor, axis in pairs)
        aligned = [
            tensor if axis is None else _behind_ones(tensor.movedim(axis, 0), rank)
            for tensor, axis in pairs
        ]
        results = _Coefficients.apply(*arguments[:3], *aligned)
        return results, (0,) * len(results)


def _behind_ones(tensor: Tensor, rank: int) -> Tensor:
    """A tensor whose axes after the first are filled up to a number, by some of length one."""
    missing = (1,) * (rank + 1 - tensor.dim())
    return tensor.reshape(tensor.shape[0], *missing, *tensor.shape[1:])


def _values(kind: str, *point: Tensor) -> Any:
    return _Coefficients.apply(kind, "", 0, *point)


_differentiable: Any = torch.compiler.allow_in_graph(_values)
