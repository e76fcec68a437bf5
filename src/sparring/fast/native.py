"""Convolutions by the kernels in C of `sparring.fast.compiled`.

Images, maps and slopes are bfloat16 or float32, weights float32 on both ways: what is summed in float32 is not rounded before it
gets to the optimizer. All tensors have their channels last in memory.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.fast.compiled import call, library
from sparring.fast.shapes import Geometry

_SIDE = 32  # images, or channels, of a block
_FEW = 16  # channels of an image, whose patch is then the depth of one product
_ROW = 7  # pixels that are computed at once in float32
_NARROW = 8  # in float32 wider maps have too little padding to gain from leaving it out
_HALF = _SIDE // 2  # with fewer images most of every block would be empty
_RESIDENT = 640 * 2**10  # bytes of a slice of images that stay in a core's second cache


def fits(images: int, geometry: Geometry, dtype: torch.dtype) -> bool:
    """Return whether the kernels can compute a convolution and its gradients, and are worth it.

    Args:
        images: B.
        geometry: of the convolution.
        dtype: of images and maps.
    """
    inputs, outputs = geometry.image[0], geometry.channels
    if outputs % _SIDE or images < _HALF or not (inputs <= _FEW or inputs % _SIDE == 0):
        return False
    if dtype is torch.float32 and not (geometry.maps[1] >= _ROW if inputs <= _FEW else geometry.maps[1] <= _NARROW):
        return False
    return library(dtype) is not None


def convolution(images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the convolution.

    Args:
        images: ``[B, C, H, W]``.
        weight: ``[O, C, k, k]``.
        bias: ``[O]`` or None.
        geometry: of the convolution.

    Returns:
        ``[B, O, h, w]``.
    """
    maps = _empty(images.dtype, len(images), geometry.channels, *geometry.maps)
    if geometry.image[0] <= _FEW:
        _call("image_convolution", images, *_float32(weight, bias), maps, _shape(len(images), geometry))
    else:
        channels, height, width = geometry.image
        sizes = height * width, channels, geometry.maps[0] * geometry.maps[1], geometry.channels, geometry.kernel**2
        _call("gather", images, *_float32(weight, bias), maps, len(images), *sizes, 0, *_sums_of_maps(geometry))
    return maps


def input_gradient(slopes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the convolution's gradient by its images, which is the transposed convolution.

    Args:
        slopes: ``[B, O, h, w]``.
        weight: ``[O, C, k, k]``.
        bias: ``[C]`` or None.
        geometry: of the convolution.

    Returns:
        ``[B, C, H, W]``.
    """
    channels, height, width = geometry.image
    images = _empty(slopes.dtype, len(slopes), channels, height, width)
    if channels <= _FEW:
        _call("image_gradient", slopes, *_float32(weight, bias), images, _shape(len(slopes), geometry))
    else:
        pixels = geometry.maps[0] * geometry.maps[1]
        sizes = pixels, geometry.channels, height * width, channels, geometry.kernel**2
        _call("gather", slopes, *_float32(weight, bias), images, len(slopes), *sizes, 1, *_sums_of_images(geometry))
    return images


def weight_gradient(images: Tensor, slopes: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution's gradient by its weights.

    Args:
        images: ``[B, C, H, W]``.
        slopes: ``[B, O, h, w]``.
        geometry: of the convolution.

    Returns:
        ``[O, C, k, k]`` in float32.
    """
    channels, height, width = geometry.image
    kernel, taps = geometry.kernel, geometry.kernel**2
    weight = _empty(torch.float32, geometry.channels, channels, kernel, kernel)
    if channels <= _FEW:
        _call("image_weight_gradient", images, slopes, weight, _shape(len(images), geometry))
    else:
        begin, pairs = _sums_of_weights(geometry, images.element_size())
        pixels = geometry.maps[0] * geometry.maps[1]
        sizes = height * width, channels, pixels, geometry.channels, taps, len(begin) // taps
        _call("weight_gradient", images, slopes, weight, len(images), *sizes, begin, pairs)
    return weight


def bias_gradient(maps: Tensor) -> Tensor:
    """Return the sums of ``maps [B, O, h, w]`` over all but the channels, ``[O]`` in float32; O is a multiple of 16."""
    sums = torch.empty(maps.shape[1])
    _call("sums", maps, sums, maps.numel() // maps.shape[1], maps.shape[1])
    return sums


def _float32(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return what the kernels read, whatever type a network was moved to."""
    return weight.float(), None if bias is None else bias.float()


def _empty(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)


def _call(name: str, *arguments: Tensor | int | ctypes.Array[ctypes.c_long] | None) -> None:
    assert isinstance(arguments[0], Tensor)
    call(arguments[0].dtype, name, *arguments)


def _shape(images: int, geometry: Geometry) -> ctypes.Array[ctypes.c_long]:
    """Return the ``Shape`` of images.c."""
    window = geometry.kernel, geometry.stride, geometry.padding
    numbers = images, *geometry.image, *window, *geometry.maps, geometry.channels
    return (ctypes.c_long * len(numbers))(*numbers)


Sums = tuple[Tensor, Tensor]
"""Where each sum begins among the pairs, int32 ``[sums + 1]``, and the pairs that are summed, int32 ``[pairs, 2]``."""


@dataclass(frozen=True)
class _Meetings:
    """Every meeting of a tap of the kernel with a pixel of the images, zeros of the padding left out; int64 ``[meetings]`` each.

    Attributes:
        image: the pixel.
        map: the pixel of the output that is computed there.
        tap: the place in the kernel.
        row: of the output's pixel.
    """

    image: Tensor
    map: Tensor
    tap: Tensor
    row: Tensor

    @classmethod
    def of(cls, geometry: Geometry) -> _Meetings:
        (_, height, width), (h, w), k = geometry.image, geometry.maps, geometry.kernel
        i, j, u, v = (each.flatten() for each in torch.meshgrid(*map(torch.arange, (h, w, k, k)), indexing="ij"))
        y, x = (geometry.stride * a - geometry.padding + b for a, b in ((i, u), (j, v)))
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        return cls(*(each[inside] for each in (y * width + x, i * w + j, u * k + v, i)))


@functools.cache
def _sums_of_maps(geometry: Geometry) -> Sums:
    """A pixel of the output: pixels of the images and taps."""
    found = _Meetings.of(geometry)
    return _sorted(found.map, geometry.maps[0] * geometry.maps[1], found.image, found.tap)


@functools.cache
def _sums_of_images(geometry: Geometry) -> Sums:
    """A pixel of the images: pixels of the output and taps."""
    found = _Meetings.of(geometry)
    return _sorted(found.image, geometry.image[1] * geometry.image[2], found.map, found.tap)


@functools.cache
def _sums_of_weights(geometry: Geometry, item: int) -> Sums:
    """A tap, within so many rows of the output that the rows of the images stay in the cache: pixels of both."""
    found, taps, row = _Meetings.of(geometry), geometry.kernel**2, item * _SIDE**2 * geometry.image[2]
    rows = max(1, (_RESIDENT // row - geometry.kernel) // geometry.stride + 1)
    chunks = -(-geometry.maps[0] // rows)
    return _sorted(found.row // rows * taps + found.tap, chunks * taps, found.image, found.map)


def _sorted(sum_of: Tensor, sums: int, *pair: Tensor) -> Sums:
    begin = torch.zeros(sums + 1, dtype=torch.int32)
    begin[1:] = torch.bincount(sum_of, minlength=sums).cumsum(0)
    return begin, torch.stack(pair, 1)[sum_of.argsort(stable=True)].int().contiguous()
