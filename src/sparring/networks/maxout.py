"""The players with which mode collapse on points is counted: maxout units in D (Goodfellow et al. 2013, arXiv:1302.4389).

Sizes after VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): four hidden layers of 400 in G, three of 200 units in D,
each the maximum of five linear pieces.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from sparring.networks import mlp
from sparring.networks.layers import FeatureCritic, Logit, draw_weights, normalization
from sparring.networks.spec import NetworkSpec

_HIDDEN_LAYERS = 3
_PIECES = 5
#: Keeps the second moment: the largest of five standard normal numbers has 1.800.
_GAIN = 1.800**-0.5


class Maxout(nn.Module):
    """The largest of each unit's pieces: ``[B, pieces * units]`` to ``[B, units]``."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima; the gradient goes to the largest piece of each unit (to each of them, should some be equal)."""
        largest: Tensor = _Largest.apply(x.reshape(len(x), self.pieces, -1))  # type: ignore[no-untyped-call]
        return largest

    def extra_repr(self) -> str:
        """Return the number of pieces, for ``print(network)``."""
        return f"pieces={self.pieces}"


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


class Generator(mlp.Generator):
    """``z [B, latent_dim]`` to samples, through four hidden layers."""

    hidden_layers = 4
    gain = 1.0  # less than He's: what folds the plane less at first has less to undo


class Discriminator(FeatureCritic):
    """Samples ``[B, *shape]`` to logits ``[B]``, through three layers of maxout units."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        sizes = [math.prod(spec.judged_shape), *[spec.d.width] * _HIDDEN_LAYERS]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            pieces = after * _PIECES
            layers += [nn.Linear(before, pieces), normalization(spec.d, pieces, flat=True), Maxout(_PIECES)]
        self.features = nn.Sequential(*layers)
        self.logit = Logit(spec.d.width, spec.d)
        draw_weights(self, randomness, spec.d, std=None, gain=_GAIN)
