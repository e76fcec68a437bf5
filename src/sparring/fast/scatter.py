"""Sums of products of wide features, exact in fixed point, on a processor's matrix units."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.fast.compiled import available, call

_SIDE = 32
_TILES = torch.bfloat16  # whose kernels these are


def can_scatter(features: Tensor) -> bool:
    """Return whether `column_summary` and `scatter` take ``features [N, F]`` here."""
    usual = features.dtype is torch.float32 and features.device.type == "cpu" and features.shape[1] % _SIDE == 0
    return usual and available(_TILES, "scatter")


def column_summary(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums of features ``[N, F]`` in float64, and smallest and largest numbers, ``[F]`` each."""
    sums, low, high = torch.empty(features.shape[1], dtype=torch.float64), *torch.empty(2, features.shape[1])
    call(_TILES, "columns", features.contiguous(), sums, low, high, *features.shape)
    return sums, low, high


def scatter(
    features: Tensor, roots: Tensor | None, middle: Tensor, steps: Tensor, centre: Tensor, count: float
) -> tuple[Tensor, Tensor]:
    """Return the scatter about a centre c of features rounded to multiples of ``1 / steps``, and squares about the middle.

    Args:
        features: float32 ``[N, F]``; `can_scatter`.
        roots: float32 ``[N]``, of the samples' weights; None for ones.
        middle: float32 ``[F]``, near c and a multiple of ``1 / steps`` where there are no weights.
        steps: float32 ``[F]``; ``(x - middle) roots steps`` is at most 127 * 254.
        centre: c, float64 ``[F]``.
        count: sum of the weights.

    Returns:
        ``Σ w (x - c) (x - c)^T``, float64 ``[F, F]``, whose diagonal was not rounded, and ``Σ w (x - middle)^2``, ``[F]``.
    """
    dim = features.shape[1]
    total, trace = torch.empty(dim, dim, dtype=torch.float64), torch.empty(dim, dtype=torch.float64)
    given = features.contiguous(), roots, middle, steps, 1 / steps.double(), middle.double() - centre
    call(_TILES, "scatter", *given, total, trace, *features.shape, count)
    return total, trace
