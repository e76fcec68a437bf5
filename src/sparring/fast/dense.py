"""Dense layers and what their units choose, maxout or ReLU, by the kernels in C of `sparring.fast.compiled`.

torch writes a matrix with a column for every piece of every unit, five times the layer, and reads it again in every derivative.
These keep which piece a unit chose, one byte each. Numbers are float32 on all ways; within ``in_parts(1)`` the units
multiply them as bfloat16, within ``in_parts(2)`` as sums of two bfloat16 numbers, which keep 16 of float32's 24 bits. Layers that
read points, and linear ones that make points or logits, are multiplied as they are: of a block of 32 they would fill little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from sparring.fast.compiled import available, call

_TILES = torch.bfloat16  # whose kernels these are
_LINEAR, _LARGEST, _POSITIVE, _GIVEN = range(4)
_THIN = 32  # layers with so few inputs or units stand at the ends, and lose nothing by a second part
_MOST_PIECES = 255  # a byte names one
_FEW = 16  # with a smaller batch most of every block would be empty

_PARTS: ContextVar[int] = ContextVar("parts", default=0)


@contextmanager
def in_parts(parts: int) -> Iterator[None]:
    """Compute dense layers inside by the kernels, where they fit.

    Args:
        parts: bfloat16 numbers that each float32 number is multiplied as the sum of: 1 or 2; 0 leaves products to torch.
    """
    token = _PARTS.set(parts)
    try:
        yield
    finally:
        _PARTS.reset(token)


def in_use() -> bool:
    """Return whether dense layers are computed by the kernels here, where they fit."""
    return _PARTS.get() > 0


def fits(x: Tensor, weight: Tensor) -> bool:
    """Return whether the kernels compute a layer here, and are worth it.

    Args:
        x: what it reads.
        weight: its weights.
    """
    usual = x.dtype is weight.dtype is torch.float32 and x.ndim == 2 and x.device.type == "cpu" and len(x) >= _FEW
    return usual and _parts(weight) > 0 and available(_TILES, "dense")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``torch.nn.functional.linear(x, weight, bias)``.

    Args:
        x: ``[B, K]``, which `fits`.
        weight: ``[N, K]``.
        bias: ``[N]`` or None.
    """
    return _chosen(x, weight, bias, 1, _LINEAR)


def relu(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what `linear` returns, and 0 for what is negative."""
    return _chosen(x, weight, bias, 1, _POSITIVE)


def maxout(x: Tensor, weight: Tensor, bias: Tensor | None, pieces: int) -> Tensor:
    """Return the largest of each unit's pieces.

    Args:
        x: ``[B, K]``, which `fits`.
        weight: ``[pieces * N, K]``, piece by piece.
        bias: ``[pieces * N]`` or None.
        pieces: of a unit, 255 at most.

    Returns:
        ``[B, N]``; its gradient goes to the first of pieces that are equal.
    """
    assert 0 < pieces <= _MOST_PIECES
    return _chosen(x, weight, bias, pieces, _LARGEST)


def largest(x: Tensor) -> Tensor:
    """Return the largest of the pieces of ``x [B, pieces, N]``, by torch: ``[B, N]``, the slow twin of `maxout`'s choice."""
    y: Tensor = _Largest.apply(x)  # type: ignore[no-untyped-call]
    return y


def _parts(weight: Tensor) -> int:
    """Return how many parts numbers are to be multiplied in; 0 is to leave them to torch."""
    parts = _PARTS.get()
    return 2 if parts and min(weight.shape) <= _THIN else parts


def _chosen(x: Tensor, weight: Tensor, bias: Tensor | None, pieces: int, kind: int) -> Tensor:
    y: Tensor = _Chosen.apply(x, weight, bias, pieces, kind, _parts(weight))  # type: ignore[no-untyped-call]
    return y


class _Chosen(torch.autograd.Function):
    """A layer whose units choose, and what they chose for all derivatives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pieces: int, kind: int, parts: int) -> Tensor:
        x, weight, units = x.contiguous(), weight.contiguous(), len(weight) // pieces
        which = None if kind == _LINEAR else torch.empty(len(x), units, dtype=torch.uint8)
        y = torch.empty(len(x), units)
        call(_TILES, "dense", x, weight, bias, which, y, len(x), x.shape[1], units, pieces, kind, parts)
        ctx.save_for_backward(x, weight, which)
        ctx.save_for_forward(x, weight, which)
        ctx.set_materialize_grads(False)
        ctx.pieces, ctx.parts = pieces, parts
        return y

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        """Return how far the layer moves with its inputs; its weights stand."""
        moved, *others = tangents
        assert not any(isinstance(other, Tensor) for other in others), "tangents of inputs only"
        _, weight, which = ctx.saved_tensors
        return _third(moved, None, weight, which, ctx.pieces, ctx.parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,), (x, weight, which) = gradients, ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad[:3]
        how = which, ctx.pieces, ctx.parts
        dx = _third(None, slopes, weight, *how) if by_x else None
        if by_weight and not torch.is_grad_enabled():
            return dx, *_weight_gradient(x, slopes, *how, by_bias), None, None, None
        dw = _third(x, slopes, None, *how) if by_weight else None
        return dx, dw, _spread(slopes, which, ctx.pieces).sum(0).flatten() if by_bias else None, None, None, None


class _Third(torch.autograd.Function):
    """Of inputs ``x [B, K]``, slopes ``[B, N]`` and weights ``[pieces N, K]``, two given and one None: the third.

    With the choice held, inputs and weights give the layer's output, slopes and weights its gradient by the inputs, inputs and
    slopes that by the weights. Each is linear in both of what it takes, and the derivative by either is another of the three.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, slopes: Any, weight: Any, which: Tensor | None, pieces: int, parts: int) -> Tensor:
        ctx.save_for_backward(x, slopes, weight, which)
        ctx.how = pieces, parts
        x, slopes, weight = (None if given is None else given.contiguous() for given in (x, slopes, weight))
        if weight is None:
            return _weight_gradient(x, slopes, which, pieces, parts, False)[0]
        units = len(weight) // pieces
        if slopes is None:
            y, kind = torch.empty(len(x), units), _LINEAR if which is None else _GIVEN
            call(_TILES, "dense", x, weight, None, which, y, len(x), x.shape[1], units, pieces, kind, parts)
            return y
        dx = torch.empty(len(slopes), weight.shape[1])
        call(_TILES, "dense_input", slopes, which, weight, dx, len(dx), dx.shape[1], units, pieces, parts)
        return dx

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *given, which = ctx.saved_tensors
        x, slopes, weight = (gradients[0] if each is None else each for each in given)
        by_x, by_slopes, by_weight = ctx.needs_input_grad[:3]
        return (
            _third(None, slopes, weight, which, *ctx.how) if by_x else None,
            _third(x, None, weight, which, *ctx.how) if by_slopes else None,
            _third(x, slopes, None, which, *ctx.how) if by_weight else None,
            None,
            None,
            None,
        )


def _third(
    x: Tensor | None, slopes: Tensor | None, weight: Tensor | None, which: Tensor | None, pieces: int, parts: int
) -> Tensor:
    third: Tensor = _Third.apply(x, slopes, weight, which, pieces, parts)  # type: ignore[no-untyped-call]
    return third


def _weight_gradient(
    x: Tensor, slopes: Tensor, which: Tensor | None, pieces: int, parts: int, by_bias: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients by weights, ``[pieces N, K]``, and, if wanted, by biases, ``[pieces N]``."""
    slopes, units = slopes.contiguous(), slopes.shape[1]
    weight = torch.empty(pieces * units, x.shape[1])
    bias = torch.empty(pieces * units) if by_bias else None
    sizes = len(x), x.shape[1], units, pieces, parts
    call(_TILES, "dense_weight", slopes, which, x.contiguous(), weight, bias, *sizes)
    return weight, bias


def _spread(slopes: Tensor, which: Tensor | None, pieces: int) -> Tensor:
    """Return ``[B, pieces, N]``: slopes at the chosen pieces, 0 at the others."""
    if which is None:
        return slopes.unsqueeze(1)
    chosen = which.unsqueeze(1) == torch.arange(pieces, dtype=torch.uint8).view(1, -1, 1)
    return torch.where(chosen, slopes.unsqueeze(1), 0.0)


# torch.max with indices gathers and scatters, which takes longer than the matrix products around it. A maximum is linear between
# its kinks, so its derivatives of any order are two operations: to spread over the pieces, and to collect from the largest.


class _Largest(torch.autograd.Function):
    """``x [B, pieces, units]`` to its largest pieces, ``[B, units]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest = x.amax(1)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x - largest.unsqueeze(1))  # 0 at the largest piece, negative at the others
        return largest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        spread: Tensor = _Spread.apply(gradient, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return spread


class _Spread(torch.autograd.Function):
    """``[B, units]`` to ``[B, pieces, units]``: its value at the largest piece, 0 at the others."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor, below: Tensor) -> Tensor:
        ctx.save_for_backward(below)
        return _where_largest(value.unsqueeze(1).expand(below.shape), below)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Collect.apply(gradient, *ctx.saved_tensors), None  # type: ignore[no-untyped-call]


class _Collect(torch.autograd.Function):
    """``[B, pieces, units]`` to ``[B, units]``: the sum over the largest pieces, the transpose of `_Spread`."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, below: Tensor) -> Tensor:
        ctx.save_for_backward(below)
        return _where_largest(values, below).sum(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors), None  # type: ignore[no-untyped-call]


def _where_largest(values: Tensor, below: Tensor) -> Tensor:
    """Return the values where ``below`` is 0, and 0 elsewhere, in one pass over memory."""
    chosen: Tensor = torch.ops.aten.threshold_backward(values, below, -torch.finfo(below.dtype).tiny)
    return chosen
