"""Batch normalization and leaky activations of maps, by the kernels in C of `sparring.fast.compiled`.

torch reads and writes all maps once for every operation; these do for a normalization and the activation after it at once, in
half the passes. Statistics, parameters and sums are float32 or better.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.fast import is_plain
from sparring.fast.compiled import Library, library

_LANES = 16


def fits(x: Tensor) -> bool:
    """Return whether `leaky_relu` can take ``x``, of any shape but dense in memory."""
    dense = x.is_contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.is_contiguous()
    return dense and _suits(x, x.numel()) and not (x.is_leaf and x.requires_grad)


def fits_norm(x: Tensor, norm: nn.BatchNorm2d) -> bool:
    """Return whether `leaky_batch_norm` can take ``x [B, C, H, W]`` and a normalization."""
    usual = norm.training and norm.affine and norm.momentum is not None and not norm._forward_hooks
    return (
        usual
        and norm.weight.dtype is torch.float32
        and x.ndim == 4
        and _suits(x, x.shape[1])
        and x.numel() > x.shape[1]
    )


def _suits(x: Tensor, count: int) -> bool:
    return x.device.type == "cpu" and count % _LANES == 0 and not is_plain() and library(x.dtype) is not None


def leaky_batch_norm(x: Tensor, norm: nn.BatchNorm2d, slope: float) -> Tensor:
    """Return what ``F.leaky_relu(norm(x), slope)`` returns, and move the running statistics if they are tracked.

    Args:
        x: ``[B, C, H, W]``, which `fits_norm`.
        norm: in training.
        slope: of what is negative: 0 is ReLU.
    """
    running: tuple[Tensor | None, Tensor | None] = (None, None)
    if norm.track_running_stats and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        running = norm.running_mean, norm.running_var
    given = _packed(x), norm.weight, norm.bias, *running
    y: Tensor = _Norm.apply(*given, norm.momentum, norm.eps, slope)  # type: ignore[no-untyped-call]
    return y


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """Return ``F.leaky_relu(x, slope, inplace=True)``.

    Args:
        x: which `fits`, and is overwritten.
        slope: of what is negative: 0 is ReLU.
    """
    y: Tensor = _Leak.apply(x, slope)  # type: ignore[no-untyped-call]
    return y


def _packed(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _kernels(x: Tensor) -> Library:
    found = library(x.dtype)
    assert found is not None
    return found


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor | None, variance: Tensor | None, *numbers: float
    ) -> Tensor:
        momentum, ctx.eps, ctx.slope = numbers
        y, batch_mean, scale = torch.empty_like(x), torch.empty_like(gamma), torch.empty_like(gamma)
        given = x, gamma, beta, mean, variance, y, batch_mean, scale
        _kernels(x).call("norm", *given, x.numel() // x.shape[1], x.shape[1], momentum, ctx.eps, ctx.slope)
        ctx.save_for_backward(x, gamma, beta, batch_mean, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, beta, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is asked for
            normed = F.batch_norm(x.float(), None, None, gamma, beta, True, 0.0, ctx.eps)
            y, wanted = F.leaky_relu(normed, ctx.slope).to(x.dtype), (x, gamma, beta)
            return *torch.autograd.grad(y, wanted, gradients, create_graph=True), *[None] * 5
        dx, dgamma, dbeta = torch.empty_like(x), torch.empty_like(gamma), torch.empty_like(beta)
        given = _packed(gradients[0]), x, gamma, beta, mean, scale, dx, dgamma, dbeta
        _kernels(x).call("norm_gradient", *given, x.numel() // x.shape[1], x.shape[1], ctx.slope)
        return dx, dgamma, dbeta, *[None] * 5


class _Leak(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.mark_dirty(x)
        _kernels(x).call("leak", x, x.numel(), slope)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (y,), (dy,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():
            return torch.ops.aten.leaky_relu_backward(dy, y, ctx.slope, False), None
        layout = torch.channels_last if y.ndim == 4 else torch.contiguous_format
        dx = torch.empty_like(y)
        _kernels(y).call("leak_gradient", dy.contiguous(memory_format=layout), y, dx, y.numel(), ctx.slope)
        return dx, None
