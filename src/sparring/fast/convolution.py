"""Strided convolutions on a processor, and both of their gradients, in shapes that its units like.

The library's kernels are at their best with some dozen channels and wide maps. A GAN has neither where it matters: images have 1
or 3 channels, and the deepest maps are 4 to 8 pixels wide. Three changes of shape, exact in real arithmetic, mend that:

* **Blocks**, for few channels. A convolution of stride s is one of stride 1 over blocks of s×s pixels, each with s² times the
  channels, and its kernel cut in the same way (zeros fill the last block).
* **Side by side**, for narrow maps in bfloat16. The gradient by the weights sums over the pixels of all images, and the
  library's sums run along one row of one image. So images are laid side by side, with zeros between them, until rows are long.
* **Products**, for weights that fill a core's cache. The library reads them once for every few pixels; a product of matrices
  (the patches of all images times the weights) reads them once.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.fast import is_plain, native
from sparring.fast.shapes import (
    Geometry,
    channels_first,
    image_blocks,
    image_from_blocks,
    overlap,
    patches,
    pixels_last,
    side_by_side,
    weight_blocks,
)

#: With so few channels the library's gradient by the images takes several times as long as that of blocks.
_FEW = 4
#: In bfloat16, rows of so many outputs or fewer leave the matrix units idle in the gradient by the weights.
_NARROW = 8
#: So many weights do not fit into the cache beside what they are multiplied with; in bfloat16 a quarter of them counts, because
#: the library makes less of the matrix units.
_LARGE = 2**21
#: Below so many multiplications a change of shape costs more than it saves.
_SMALL = 2**23


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Return what ``torch.nn.functional.conv2d`` returns for the same arguments.

    Args:
        x: ``[B, C, H, W]``.
        weight: ``[O, C, k, k]``.
        bias: ``[O]`` or None.
        stride: s.
        padding: p.

    Returns:
        ``[B, O, h, w]``.
    """
    geometry = Geometry((x.shape[1], x.shape[2], x.shape[3]), len(weight), weight.shape[2], stride, padding)
    if not _pays(geometry, x):
        return F.conv2d(x, weight, bias, stride, padding)
    x = x.to(_dtype(x))
    if geometry.image[0] <= _FEW and not native.fits(len(x), geometry, x.dtype):
        blocks, cut = image_blocks(x, geometry), weight_blocks(weight.to(x.dtype), geometry)
        return F.conv2d(blocks, cut, bias, 1, geometry.block_padding)
    return _third(x, None, weight, geometry, bias)


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, output_padding: int
) -> Tensor:
    """Return what ``torch.nn.functional.conv_transpose2d`` returns for the same arguments.

    Args:
        x: ``[B, O, h, w]``.
        weight: ``[O, C, k, k]``.
        bias: ``[C]`` or None.
        stride: s.
        padding: p.
        output_padding: rows and columns more.

    Returns:
        ``[B, C, H, W]``.
    """
    kernel = weight.shape[2]
    height, width = ((side - 1) * stride - 2 * padding + kernel + output_padding for side in x.shape[2:])
    geometry = Geometry((weight.shape[1], height, width), len(weight), kernel, stride, padding)
    if not _pays(geometry, x) or min(geometry.margins) < 0:
        return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding)
    x = x.to(_dtype(x))
    if geometry.image[0] <= _FEW and not native.fits(len(x), geometry, x.dtype):
        biases = None if bias is None else bias.repeat(stride**2)
        blocks = F.conv_transpose2d(x, weight_blocks(weight.to(x.dtype), geometry), biases, 1, geometry.block_padding)
        return image_from_blocks(blocks, geometry)
    return _third(None, x, weight, geometry, bias)


def _pays(geometry: Geometry, x: Tensor) -> bool:
    """Return whether a change of shape pays for this convolution or one of its gradients."""
    channels, height, width = geometry.channels * geometry.image[0], *geometry.maps
    work = len(x) * height * width * channels * geometry.kernel**2
    if is_plain() or x.device.type != "cpu" or work < _SMALL:
        return False
    if native.fits(len(x), geometry, _dtype(x)):
        return True
    if geometry.stride == 1:
        return False
    return geometry.image[0] <= _FEW or _is_narrow(geometry, _dtype(x)) or _by_products(geometry, _dtype(x))


def _is_narrow(geometry: Geometry, dtype: torch.dtype) -> bool:
    return dtype is torch.bfloat16 and geometry.maps[1] <= _NARROW


def _by_products(geometry: Geometry, dtype: torch.dtype) -> bool:
    weights = geometry.channels * geometry.image[0] * geometry.kernel**2
    return weights >= (_LARGE // 4 if dtype is torch.bfloat16 else _LARGE)


def _dtype(x: Tensor) -> torch.dtype:
    """Return what a convolution computes in here."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _summed(x: Tensor) -> torch.dtype:
    """Return what sums over a batch are kept in."""
    return torch.promote_types(x.dtype, torch.float32)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.to(x.dtype).view(-1, 1, 1)


class _Third(torch.autograd.Function):
    """Of images, slopes and weights, two given and one None: the third, plus a bias.

    A convolution takes images and weights to its output; its gradient by the images takes slopes (gradients by the output) and
    weights to images; its gradient by the weights takes images and slopes to weights. Each is linear in both of what it takes,
    and the derivative by either is another of the three, so gradients of any order follow.
    """

    @staticmethod
    def forward(ctx: Any, images: Any, slopes: Any, weight: Any, bias: Any, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(images, slopes, weight)
        ctx.geometry = geometry
        images, slopes, weight = (None if given is None else _packed(given) for given in (images, slopes, weight))
        if slopes is None:
            return convolution(images, weight, bias, geometry)
        if images is None:
            return input_gradient(slopes, weight, bias, geometry)
        return weight_gradient(images, slopes, geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, slopes, weight = (gradients[0] if given is None else given for given in ctx.saved_tensors)
        by_images, by_slopes, by_weight, by_bias, _ = ctx.needs_input_grad
        return (
            _third(None, slopes, weight, ctx.geometry) if by_images else None,
            _third(images, None, weight, ctx.geometry) if by_slopes else None,
            _third(images, slopes, None, ctx.geometry) if by_weight else None,
            _bias_gradient(gradients[0], ctx.geometry) if by_bias else None,
            None,
        )


def _third(
    images: Tensor | None, slopes: Tensor | None, weight: Tensor | None, geometry: Geometry, bias: Tensor | None = None
) -> Tensor:
    third: Tensor = _Third.apply(images, slopes, weight, bias, geometry)  # type: ignore[no-untyped-call]
    return third


def _packed(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


# The three, each in the shape that suits it; all tensors have their channels last in memory.


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
    if native.fits(len(images), geometry, images.dtype):
        return native.convolution(images, weight, bias, geometry)
    weight = weight.to(images.dtype)
    if not _by_products(geometry, images.dtype):
        return _shifted(F.conv2d(images, weight, None, geometry.stride, geometry.padding), bias)
    outputs = patches(images, geometry) @ _matrix(weight).t()
    return _shifted(channels_first(outputs.view(len(images), *geometry.maps, geometry.channels)), bias)


def input_gradient(slopes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the convolution's gradient by its images, which is the transposed convolution.

    Args:
        slopes: ``[B, O, h, w]``, the gradient by what it wrote.
        weight: ``[O, C, k, k]``.
        bias: ``[C]`` or None.
        geometry: of the convolution.

    Returns:
        ``[B, C, H, W]``.
    """
    if native.fits(len(slopes), geometry, slopes.dtype):
        return native.input_gradient(slopes, weight, bias, geometry)
    weight = weight.to(slopes.dtype)
    if not _by_products(geometry, slopes.dtype):
        images = _unread(slopes, (len(slopes), *geometry.image))
        return _shifted(_library(slopes, images, weight, geometry, (True, False))[0], bias)
    parts = pixels_last(slopes).flatten(0, 2) @ _matrix(weight_blocks(weight, geometry))
    return _shifted(image_from_blocks(overlap(parts, geometry), geometry), bias)


def weight_gradient(images: Tensor, slopes: Tensor, geometry: Geometry) -> Tensor:
    """Return the convolution's gradient by its weights.

    Args:
        images: ``[B, C, H, W]``.
        slopes: ``[B, O, h, w]``, the gradient by what it wrote.
        geometry: of the convolution.

    Returns:
        ``[O, C, k, k]``, in float32 where images are bfloat16.
    """
    if native.fits(len(images), geometry, images.dtype):
        return native.weight_gradient(images, slopes, geometry)
    dtype = _summed(images)
    if _by_products(geometry, images.dtype):
        # A product reads rows: to turn the slopes here is faster than to let it turn the patches.
        matrix = pixels_last(slopes).flatten(0, 2).t().contiguous() @ patches(images, geometry)
        return channels_first(matrix.view(geometry.channels, geometry.kernel, geometry.kernel, -1)).to(dtype)
    if _is_narrow(geometry, images.dtype):
        images, slopes = side_by_side(images, slopes, geometry)
    weight = _unread(images, geometry.weight)
    return _packed(_library(slopes, images, weight, geometry, (False, True))[1]).to(dtype)


def _bias_gradient(slopes: Tensor, geometry: Geometry) -> Tensor:
    if slopes.shape[1] % 16 == 0 and native.fits(len(slopes), geometry, slopes.dtype) and not torch.is_grad_enabled():
        return native.bias_gradient(_packed(slopes))
    return slopes.sum((0, 2, 3), dtype=_summed(slopes))


def _matrix(weight: Tensor) -> Tensor:
    """View ``[O, C, k, k]`` as ``[O, k² C]``."""
    return pixels_last(weight).flatten(1)


def _library(
    slopes: Tensor, images: Tensor, weight: Tensor, geometry: Geometry, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return torch's own gradients by images and weights, as far as wanted."""
    stride, padding = [geometry.stride] * 2, [geometry.padding] * 2
    by_images, by_weight, _ = torch.ops.aten.convolution_backward(
        slopes, images, weight, None, stride, padding, [1, 1], False, [0, 0], 1, [*wanted, False]
    )
    return by_images, by_weight


def _unread(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor that torch asks for and reads the shape of only; its memory is never touched."""
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)
