"""The kernels in C: as near to the truth as bfloat16 allows, for any geometry, and the same numbers with any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.fast import matrix_units
from sparring.fast.compiled import library
from sparring.fast.shapes import Geometry

pytestmark = pytest.mark.skipif(library() is None, reason="needs a processor with matrix units, and a C compiler")

#: Images, outputs, kernel, stride, padding: those of the shipped networks, sides that are no powers of 2, batches that fill no
#: block, slices of images that go in several chunks, and patches deeper than one block.
CASES = [
    ((16, 1, 28, 28), 64, 5, 2, 2),
    ((32, 64, 14, 14), 128, 5, 2, 2),
    ((33, 3, 64, 64), 32, 4, 2, 1),
    ((17, 6, 19, 19), 64, 5, 2, 2),
    ((21, 16, 12, 12), 32, 3, 1, 1),
    ((40, 256, 8, 8), 512, 4, 2, 1),
    ((50, 64, 9, 9), 96, 3, 3, 0),
    ((16, 32, 64, 64), 32, 4, 2, 1),
    ((16, 96, 5, 5), 32, 5, 1, 0),
]
IDS = ["{}x{}x{}x{}-{}k{}s{}p{}".format(*image, *rest) for image, *rest in CASES]
Case = tuple[tuple[int, int, int, int], int, int, int, int]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def halved(x: Tensor) -> Tensor:
    return x.bfloat16().contiguous(memory_format=torch.channels_last)


def given(case: Case) -> tuple[Geometry, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the geometry, images, slopes, weights, and a bias for either side."""
    (batch, *image), outputs, kernel, stride, padding = case
    geometry = Geometry((image[0], image[1], image[2]), outputs, kernel, stride, padding)
    images, slopes = halved(draw(batch, *image, seed=1)), halved(draw(batch, outputs, *geometry.maps, seed=2))
    weight = draw(*geometry.weight, seed=3).bfloat16().float().contiguous(memory_format=torch.channels_last)
    return geometry, images, slopes, weight, draw(outputs, seed=4), draw(image[0], seed=5)


def distance(ours: Tensor, truth: Tensor) -> float:
    assert ours.shape == truth.shape
    return float((ours.double() - truth).detach().norm() / truth.detach().norm())


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_all_three_equal_float64_up_to_the_rounding_of_what_they_return(case: Case) -> None:
    geometry, images, slopes, weight, bias_of_maps, bias_of_images = given(case)
    s, p = geometry.stride, geometry.padding
    x, w = images.double().requires_grad_(), weight.double().requires_grad_()
    maps = F.conv2d(x, w, None, s, p)
    by_images, by_weight = torch.autograd.grad(maps, (x, w), slopes.double())
    assert matrix_units.fits(len(images), geometry, images.dtype)

    ours = matrix_units.convolution(images, weight, bias_of_maps, geometry)
    assert distance(ours, maps.detach() + bias_of_maps.view(-1, 1, 1)) < 2e-3
    ours = matrix_units.input_gradient(slopes, weight, bias_of_images, geometry)
    assert distance(ours, by_images + bias_of_images.view(-1, 1, 1)) < 2e-3
    ours = matrix_units.weight_gradient(images, slopes, geometry)
    assert ours.dtype is torch.float32
    assert distance(ours, by_weight) < 2e-6, "it is summed and returned in float32"


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_numbers_do_not_depend_on_the_threads(case: Case) -> None:
    geometry, images, slopes, weight, bias, _ = given(case)
    calls: list[Callable[[], Tensor]] = [
        lambda: matrix_units.convolution(images, weight, bias, geometry),
        lambda: matrix_units.input_gradient(slopes, weight, None, geometry),
        lambda: matrix_units.weight_gradient(images, slopes, geometry),
    ]
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            found.append([call() for call in calls])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_bias_has_the_sum_of_the_slopes() -> None:
    slopes = halved(draw(17, 48, 5, 7, seed=1))
    assert distance(matrix_units.bias_gradient(slopes), slopes.double().sum((0, 2, 3))) < 1e-6


@pytest.mark.parametrize(
    ("images", "geometry", "dtype"),
    [
        (128, Geometry((64, 8, 8), 96, 4, 2, 1), torch.float32),
        (8, Geometry((64, 8, 8), 96, 4, 2, 1), torch.bfloat16),
        (128, Geometry((64, 8, 8), 40, 4, 2, 1), torch.bfloat16),
        (128, Geometry((40, 8, 8), 64, 4, 2, 1), torch.bfloat16),
    ],
    ids=["float32", "few images", "outputs", "inputs"],
)
def test_what_would_leave_blocks_empty_is_left_to_torch(images: int, geometry: Geometry, dtype: torch.dtype) -> None:
    assert not matrix_units.fits(images, geometry, dtype)


def test_torch_finds_its_own_tiles_after_ours() -> None:
    a, b = draw(256, 256, seed=1).bfloat16(), draw(256, 256, seed=2).bfloat16()
    before = a @ b
    geometry, images, _, weight, bias, _ = given(CASES[1])
    for _ in range(3):
        matrix_units.convolution(images, weight, bias, geometry)
        assert torch.equal(a @ b, before)
