"""Changes of shape under which a convolution stays the same convolution.

Images and weights have their channels last in memory, so a pixel is a run of C numbers and every change below copies runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

#: Outputs in a row of images laid side by side: more do not help, and every thread should have rows of its own.
_LONG = 128


@dataclass(frozen=True)
class Geometry:
    """How a convolution goes over its images; kernel, stride and padding are square.

    Attributes:
        image: ``(C, H, W)`` of what it reads.
        channels: O, of what it writes.
        kernel: side k.
        stride: s.
        padding: zeros on each side, p.
    """

    image: tuple[int, int, int]
    channels: int
    kernel: int
    stride: int
    padding: int

    @property
    def maps(self) -> tuple[int, int]:
        """``(h, w)``, of what it writes."""
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in self.image[1:])
        return height, width

    @property
    def weight(self) -> tuple[int, int, int, int]:
        """Shape of the weights, ``[O, C, k, k]``."""
        return self.channels, self.image[0], self.kernel, self.kernel

    @property
    def taps(self) -> int:
        """Side of the kernel in blocks, t."""
        return -(-self.kernel // self.stride)

    @property
    def block_padding(self) -> int:
        """Blocks of zeros on each side that need not be written, because the convolution of blocks adds them itself."""
        whole, rest = divmod(self.padding, self.stride)
        reach = [self.stride * (side + self.taps - 1 - 2 * whole) - rest for side in self.maps]
        return whole if reach[0] >= self.image[1] and reach[1] >= self.image[2] else 0

    @property
    def blocks(self) -> tuple[int, int, int]:
        """``(s² C, n, m)``: channels, rows and columns of the blocks."""
        n, m = (side + self.taps - 1 - 2 * self.block_padding for side in self.maps)
        return self.stride**2 * self.image[0], n, m

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels of the blocks outside of the image: left, right, above, below; negative where they leave some out."""
        lead = self.padding - self.stride * self.block_padding
        below, right = (self.stride * n - lead - side for n, side in zip(self.blocks[1:], self.image[1:], strict=True))
        return lead, right, lead, below


def image_blocks(images: Tensor, geometry: Geometry) -> Tensor:
    """Cut images into blocks of s×s pixels, each with s² times the channels.

    Args:
        images: ``[B, C, H, W]``.
        geometry: of the convolution.

    Returns:
        ``[B, s² C, n, m]``, zeros where a block reaches beyond the image.
    """
    s, pixels = geometry.stride, pixels_last(images)
    if any(geometry.margins):
        pixels = F.pad(pixels, (0, 0, *geometry.margins))
    return channels_first(torch.cat([pixels[:, i::s, j::s] for i, j in product(range(s), range(s))], -1))


def image_from_blocks(blocks: Tensor, geometry: Geometry) -> Tensor:
    """Put images together again; the adjoint of `image_blocks`.

    Args:
        blocks: ``[B, s² C, n, m]``.
        geometry: of the convolution.

    Returns:
        ``[B, C, H, W]``.
    """
    (_, n, m), s = geometry.blocks, geometry.stride
    rows = pixels_last(blocks).reshape(len(blocks), n, m, s, -1).transpose(2, 3)
    pixels = rows.reshape(len(blocks), n * s, m * s, geometry.image[0])
    left, right, above, below = geometry.margins
    if any(geometry.margins):
        pixels = F.pad(pixels, (0, 0, -left, -right, -above, -below))
    return channels_first(pixels)


def weight_blocks(weight: Tensor, geometry: Geometry) -> Tensor:
    """Cut kernels into the blocks of `image_blocks`, with zeros to fill the last.

    Args:
        weight: ``[O, C, k, k]``.
        geometry: of the convolution.

    Returns:
        ``[O, s² C, t, t]``.
    """
    t, s = geometry.taps, geometry.stride
    pixels = F.pad(pixels_last(weight), (0, 0, *[0, t * s - geometry.kernel] * 2))
    blocks = pixels.reshape(len(weight), t, s, t, s * geometry.image[0]).transpose(2, 3)
    return channels_first(blocks.reshape(len(weight), t, t, -1))


def patches(images: Tensor, geometry: Geometry) -> Tensor:
    """Return what each output is computed from, as the rows of a matrix.

    Args:
        images: ``[B, C, H, W]``.
        geometry: of the convolution.

    Returns:
        ``[B h w, k² C]``.
    """
    p, s, k, (h, w) = geometry.padding, geometry.stride, geometry.kernel, geometry.maps
    pixels = F.pad(pixels_last(images), (0, 0, p, p, p, p))
    batch, height, width, channels = pixels.shape
    pixel, row, image = channels, channels * width, channels * width * height
    runs = pixels.as_strided((batch, h, w, k, k * channels), (image, s * row, s * pixel, row, 1))
    return runs.reshape(batch * h * w, k * k * channels)


def overlap(parts: Tensor, geometry: Geometry) -> Tensor:
    """Add up what each output gives back to the t×t blocks that it was computed from.

    Args:
        parts: ``[B h w, t² s² C]``.
        geometry: of the convolution.

    Returns:
        ``[B, s² C, n, m]``.
    """
    (h, w), t, p = geometry.maps, geometry.taps, geometry.block_padding
    parts = parts.view(-1, h, w, t, t, geometry.blocks[0])
    sums = parts.new_zeros(len(parts), h + t - 1, w + t - 1, geometry.blocks[0])
    for i, j in product(range(t), range(t)):
        sums[:, i : i + h, j : j + w] += parts[:, :, :, i, j]
    return channels_first(sums[:, p : p + geometry.blocks[1], p : p + geometry.blocks[2]])


def side_by_side(images: Tensor, slopes: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Lay the images of a batch side by side in long rows, and the slopes of what was written in the same way.

    Every image has a slot with at least p zeros after it, so that no kernel sees two images; the slopes have zeros where a
    kernel stands between them. The gradient by the weights stays the same sum.

    Args:
        images: ``[B, C, H, W]``.
        slopes: ``[B, O, h, w]``.
        geometry: of the convolution.

    Returns:
        ``[R, C, H, B/R W']`` and ``[R, O, h, B/R w']``.
    """
    s, p, width = geometry.stride, geometry.padding, geometry.image[2]
    slot = max(-(-(width + p) // s), geometry.maps[1])
    row = 1
    while row * slot < _LONG and len(images) % (2 * row) == 0:
        row *= 2
    surplus = (2 * p - geometry.kernel) // s + 1  # outputs of a row beyond its slots
    return _rows(images, row, s * slot), F.pad(_rows(slopes, row, slot), (0, surplus))


def _rows(images: Tensor, row: int, slot: int) -> Tensor:
    """Lay every ``row`` images side by side, each in ``slot`` columns."""
    batch, channels, height, width = images.shape
    rows = images.new_empty(batch // row, height, row, slot, channels)
    rows[..., :width, :] = pixels_last(images).reshape(-1, row, height, width, channels).transpose(1, 2)
    rows[..., width:, :] = 0.0
    return channels_first(rows.flatten(2, 3))


def pixels_last(x: Tensor) -> Tensor:
    """View ``[B, C, H, W]`` as ``[B, H, W, C]``."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """View ``[B, H, W, C]`` as ``[B, C, H, W]``."""
    return x.permute(0, 3, 1, 2)
