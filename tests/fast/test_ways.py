"""Every change of shape, forced on convolutions of all sorts, in float64: the same numbers, derivatives of any order included."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.fast import convolution
from sparring.fast.convolution import conv2d, conv_transpose2d
from sparring.fast.shapes import Geometry, image_blocks, image_from_blocks, overlap, patches, side_by_side

KERNELS = [(k, s, p) for k, s, p in product((2, 3, 4, 5, 7), (2, 3), (0, 1, 2, 3)) if p < k]
WAYS = ("blocks", "products", "side by side")


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make every convolution take one way, whatever its size and type."""
    way: str = request.param
    monkeypatch.setattr(convolution, "_pays", lambda geometry, x: True)
    monkeypatch.setattr(convolution, "_FEW", 99 if way == "blocks" else 0)
    monkeypatch.setattr(convolution, "_by_products", lambda geometry, dtype: way == "products")
    monkeypatch.setattr(convolution, "_is_narrow", lambda geometry, dtype: True)
    return way


def gradients(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad((y * y.detach().cos()).sum(), inputs))


@pytest.mark.parametrize("forced", WAYS, indirect=True)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: "k{}s{}p{}".format(*kernel))
def test_any_kernel_stride_and_padding(forced: str, kernel: tuple[int, int, int]) -> None:
    k, s, p = kernel
    for side, channels in product((9, 14), (1, 3)):
        x, weight, bias = (
            t.requires_grad_() for t in (draw(6, channels, side, side), draw(4, channels, k, k), draw(4))
        )
        ours, theirs = conv2d(x, weight, bias, s, p), F.conv2d(x, weight, bias, s, p)
        torch.testing.assert_close(ours, theirs)
        for mine, other in zip(gradients(ours, x, weight, bias), gradients(theirs, x, weight, bias), strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("forced", WAYS, indirect=True)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: "k{}s{}p{}".format(*kernel))
def test_any_transposed_kernel_stride_and_padding(forced: str, kernel: tuple[int, int, int]) -> None:
    k, s, p = kernel
    for channels, more in product((1, 3), (0, 1)):
        x, weight, bias = (t.requires_grad_() for t in (draw(6, 4, 5, 6), draw(4, channels, k, k), draw(channels)))
        ours = conv_transpose2d(x, weight, bias, s, p, more)
        theirs = F.conv_transpose2d(x, weight, bias, s, p, more)
        torch.testing.assert_close(ours, theirs)
        for mine, other in zip(gradients(ours, x, weight, bias), gradients(theirs, x, weight, bias), strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("forced", WAYS, indirect=True)
def test_second_derivatives(forced: str) -> None:
    x, weight = draw(2, 2, 4, 4).requires_grad_(), draw(2, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: conv2d(x, w, None, 2, 1), (x, weight))
    z = draw(2, 2, 2, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda z, w: conv_transpose2d(z, w, None, 2, 1, 1), (z, weight))


@pytest.mark.parametrize(("k", "s", "p", "side"), [(5, 2, 2, 14), (4, 2, 1, 8), (3, 2, 1, 9), (7, 3, 2, 17)])
def test_images_are_put_together_by_the_adjoint_of_cutting_them(k: int, s: int, p: int, side: int) -> None:
    """⟨cut x, y⟩ = ⟨x, put together y⟩."""
    geometry = Geometry((3, side, side), 2, k, s, p)
    x, y = draw(2, 3, side, side), draw(2, *geometry.blocks)
    left = (image_blocks(x, geometry) * y).sum()
    torch.testing.assert_close(left, (x * image_from_blocks(y, geometry)).sum())


def test_patches_are_what_unfold_gives() -> None:
    geometry = Geometry((3, 8, 8), 5, 4, 2, 1)
    x = draw(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    theirs = F.unfold(x, 4, 1, 1, 2).view(2, 3, 16, 16).permute(0, 3, 2, 1)  # [B, h w, k k, C]
    assert torch.equal(patches(x, geometry), theirs.reshape(32, 48))


def test_overlapping_parts_add_up() -> None:
    geometry = Geometry((1, 8, 8), 1, 4, 2, 1)
    sums = overlap(torch.ones(16, 4 * 4), geometry)
    assert sums.shape == (1, 4, 5, 5)
    inside = torch.tensor([1.0, 2, 2, 2, 1])
    assert torch.equal(sums[0, 0], inside[:, None] * inside)


def test_no_kernel_sees_two_images_side_by_side() -> None:
    """An image's slope meets its own pixels only: with one image empty, nothing of its neighbour enters its gradient."""
    geometry = Geometry((1, 8, 8), 1, 4, 2, 1)
    x, slope = draw(4, 1, 8, 8), draw(4, 1, 4, 4)
    x[::2], slope[1::2] = 0.0, 0.0
    rows, slopes = side_by_side(x, slope, geometry)
    assert rows.shape == (1, 1, 8, 40)
    assert slopes.shape == (1, 1, 4, 20)
    assert torch.count_nonzero(torch.nn.grad.conv2d_weight(rows, (1, 1, 4, 4), slopes, stride=2, padding=1)) == 0
