"""Every fast convolution equals torch's own: values, gradients, and gradients of gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.fast import is_plain, plain
from sparring.fast.convolution import conv2d, conv_transpose2d

#: Images, outputs, kernel, stride, padding, output padding of the transposed one: those of the shipped networks, and odd ones.
SHAPES = [
    ((16, 1, 28, 28), 64, 5, 2, 2, 1),
    ((32, 64, 14, 14), 128, 5, 2, 2, 1),
    ((16, 3, 32, 32), 32, 4, 2, 1, 0),
    ((32, 64, 8, 8), 128, 4, 2, 1, 0),
    ((33, 64, 8, 8), 96, 4, 2, 1, 0),
    ((24, 3, 21, 21), 48, 3, 3, 0, 0),
]
IDS = [f"{'x'.join(map(str, image))}-{out}k{kernel}s{stride}" for image, out, kernel, stride, *_ in SHAPES]


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Return the value, its gradients, and the gradients of a penalty on them."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), leaves[:2])
    return [y.detach(), *(g.detach() for g in first), *second]


def close(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape
        assert (mine.double() - other.double()).norm() <= tolerance * other.double().norm()


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_convolution_equals_its_slow_twin(shape: tuple[tuple[int, ...], int, int, int, int, int]) -> None:
    image, outputs, kernel, stride, padding, _ = shape
    given = draw(*image, seed=1), 0.1 * draw(outputs, image[1], kernel, kernel, seed=2), draw(outputs, seed=3)
    ours = gradients(lambda x, w, b: conv2d(x, w, b, stride, padding), *given)
    close(ours, gradients(lambda x, w, b: F.conv2d(x, w, b, stride, padding), *given), 1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_a_transposed_convolution_equals_its_slow_twin(shape: tuple[tuple[int, ...], int, int, int, int, int]) -> None:
    image, outputs, kernel, stride, padding, more = shape
    side = (image[2] + 2 * padding - kernel) // stride + 1
    given = draw(image[0], outputs, side, side, seed=1), 0.1 * draw(outputs, image[1], kernel, kernel, seed=2)
    bias = draw(image[1], seed=3)
    ours = gradients(lambda x, w, b: conv_transpose2d(x, w, b, stride, padding, more), *given, bias)
    theirs = gradients(lambda x, w, b: F.conv_transpose2d(x, w, b, stride, padding, more), *given, bias)
    close(ours, theirs, 1e-5)


@pytest.mark.parametrize("shape", SHAPES[:4], ids=IDS[:4])
def test_in_bfloat16_it_is_as_near_to_float32_as_its_slow_twin(
    shape: tuple[tuple[int, ...], int, int, int, int, int],
) -> None:
    image, outputs, kernel, stride, padding, _ = shape
    given = draw(*image, seed=1), 0.1 * draw(outputs, image[1], kernel, kernel, seed=2)
    exact = gradients(lambda x, w: F.conv2d(x, w, None, stride, padding), *given)
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(lambda x, w: conv2d(x, w, None, stride, padding).float(), *given)
    close(ours, exact, 0.03)


def test_plain_brings_the_slow_twin_back_to_the_bit() -> None:
    x, weight = draw(16, 1, 28, 28, seed=1), draw(64, 1, 5, 5, seed=2)
    assert not is_plain()
    with plain():
        assert is_plain()
        assert torch.equal(conv2d(x, weight, None, 2, 2), F.conv2d(x, weight, None, 2, 2))
        with plain(off=False):
            assert is_plain()
    assert not is_plain()
