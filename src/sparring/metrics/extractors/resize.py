"""How an image of any size becomes the input of an extractor; every step is part of what a number means."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from sparring.errors import UsageError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def to_levels(x: torch.Tensor, *, rounded: bool = True) -> torch.Tensor:
    """Return images in [-1, 1] as the values of their saved pictures: clipped, rounded, 0 to 255.

    Args:
        x: ``[B, 1 or 3, H, W]``, any float dtype and device.
        rounded: whether to round.

    Returns:
        float32 of the same shape and device; NaN stays NaN.

    Raises:
        UsageError: when x has another shape.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise UsageError(
            f"Feature extractor: images of shape {tuple(x.shape)} cannot be read; give [B, 1, H, W] or [B, 3, H, W]."
        )
    levels = x.detach().float() * 127.5 + 127.5
    return (levels.round() if rounded else levels).clamp(0, 255)


def to_grey(x: torch.Tensor) -> torch.Tensor:
    """Return ``[B, 1 or 3, H, W]`` as ``[B, 1, H, W]``: colour by its luma (BT.601), grey as it is."""
    if x.shape[1] == 1:
        return x
    return (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def to_rgb(x: torch.Tensor) -> torch.Tensor:
    """Return ``[B, 1 or 3, H, W]`` as ``[B, 3, H, W]``: grey three times, colour as it is."""
    return x.expand(-1, 3, -1, -1)


def bilinear_antialias(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``[B, C, H, W]`` as ``[B, C, side, side]``, whatever the aspect.

    Bilinear, a triangle as wide as the scale when it shrinks; pixels are squares, so that corners stay in their place.
    """
    if x.shape[2:] == (side, side):
        return x
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)


def bilinear_tf1(x: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``[B, C, H, W]`` as ``[B, C, side, side]``, as TensorFlow 1's ``resize_bilinear`` does.

    This is the resize inside of the FID's graph. It is bilinear without antialiasing (arXiv:2104.11222 shows what that
    costs), and output pixel i samples the input at i · s, s = H / side, instead of at (i + ½) · s - ½: the picture moves by
    (1 - s) / 2 input pixels towards the upper left.
    """
    for axis in (3, 2):  # along the rows first, as TensorFlow does: the rounding is part of it
        x = _lerp(x, axis, side)
    return x


def as_channels_last(x: torch.Tensor) -> torch.Tensor:
    """Return x with its channels beside each other in memory on a CPU, where large networks then take a third less time.

    The values are the same; sums are rounded in another order.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def _lerp(x: torch.Tensor, axis: int, side: int) -> torch.Tensor:
    """Return x sampled linearly at 0, s, 2s … along an axis, s = size / side; beyond the last pixel, that pixel."""
    size = x.shape[axis]
    place = torch.arange(side, dtype=torch.float32, device=x.device) * (size / side)
    low = place.long()
    high = (low + 1).clamp(max=size - 1)
    shape = [side if i == axis else 1 for i in range(x.ndim)]
    first = x.index_select(axis, low)
    return first + (x.index_select(axis, high) - first) * (place - low).view(shape)
