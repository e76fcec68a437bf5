"""The kernels in C: as near to the truth as their numbers allow, for any geometry, and the same with any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.fast import native
from sparring.fast.compiled import library
from sparring.fast.shapes import Geometry


def needs(dtype: torch.dtype) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        library(dtype) is None, reason="needs a C compiler and AVX-512, for bfloat16 AMX or its own vectors, too"
    )


DTYPES = [pytest.param(dtype, marks=needs(dtype)) for dtype in (torch.bfloat16, torch.float32)]

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
    ((19, 1, 21, 21), 96, 7, 2, 3),
    ((16, 4, 50, 50), 32, 3, 2, 1),
]
IDS = ["{}x{}x{}x{}-{}k{}s{}p{}".format(*image, *rest) for image, *rest in CASES]
Case = tuple[tuple[int, int, int, int], int, int, int, int]


#: In float32 torch computes wide maps of many channels faster.
WIDE = {((16, 32, 64, 64), 32, 4, 2, 1)}
ALL = [
    pytest.param(case, dtype, marks=needs(dtype), id=f"{name}-{dtype}")
    for case, name in zip(CASES, IDS, strict=True)
    for dtype in (torch.bfloat16, torch.float32)
    if dtype is torch.bfloat16 or case not in WIDE
]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def as_maps(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def given(case: Case, dtype: torch.dtype) -> tuple[Geometry, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the geometry, images, slopes, weights, and a bias for either side."""
    (batch, *image), outputs, kernel, stride, padding = case
    geometry = Geometry((image[0], image[1], image[2]), outputs, kernel, stride, padding)
    images = as_maps(draw(batch, *image, seed=1), dtype)
    slopes = as_maps(draw(batch, outputs, *geometry.maps, seed=2), dtype)
    weight = as_maps(draw(*geometry.weight, seed=3).to(dtype), torch.float32)
    return geometry, images, slopes, weight, draw(outputs, seed=4), draw(image[0], seed=5)


def distance(ours: Tensor, truth: Tensor) -> float:
    assert ours.shape == truth.shape
    return float((ours.double() - truth).detach().norm() / truth.detach().norm())


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_all_three_equal_float64_up_to_the_rounding_of_what_they_return(case: Case, dtype: torch.dtype) -> None:
    geometry, images, slopes, weight, bias_of_maps, bias_of_images = given(case, dtype)
    most = 2e-3 if dtype is torch.bfloat16 else 2e-6
    assert native.fits(len(images), geometry, dtype)
    s, p = geometry.stride, geometry.padding
    x, w = images.double().requires_grad_(), weight.double().requires_grad_()
    maps = F.conv2d(x, w, None, s, p)
    by_images, by_weight = torch.autograd.grad(maps, (x, w), slopes.double())
    ours = native.convolution(images, weight, bias_of_maps, geometry)
    assert distance(ours, maps.detach() + bias_of_maps.view(-1, 1, 1)) < most
    ours = native.input_gradient(slopes, weight, bias_of_images, geometry)
    assert distance(ours, by_images + bias_of_images.view(-1, 1, 1)) < most
    ours = native.weight_gradient(images, slopes, geometry)
    assert ours.dtype is torch.float32
    assert distance(ours, by_weight) < 4e-6, "it is summed and returned in float32"


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_numbers_do_not_depend_on_the_threads(case: Case, dtype: torch.dtype) -> None:
    geometry, images, slopes, weight, bias, _ = given(case, dtype)
    calls: list[Callable[[], Tensor]] = [
        lambda: native.convolution(images, weight, bias, geometry),
        lambda: native.input_gradient(slopes, weight, None, geometry),
        lambda: native.weight_gradient(images, slopes, geometry),
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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_bias_has_the_sum_of_the_slopes(dtype: torch.dtype) -> None:
    slopes = as_maps(draw(17, 48, 5, 7, seed=1), dtype)
    assert distance(native.bias_gradient(slopes), slopes.double().sum((0, 2, 3))) < 1e-6


@pytest.mark.parametrize(
    ("images", "geometry", "dtype"),
    [
        (128, Geometry((64, 8, 8), 96, 4, 2, 1), torch.float64),
        (128, Geometry((64, 64, 64), 96, 4, 2, 1), torch.float32),
        (128, Geometry((3, 8, 8), 96, 4, 2, 1), torch.float32),
        (8, Geometry((64, 8, 8), 96, 4, 2, 1), torch.bfloat16),
        (128, Geometry((64, 8, 8), 40, 4, 2, 1), torch.bfloat16),
        (128, Geometry((40, 8, 8), 64, 4, 2, 1), torch.bfloat16),
    ],
    ids=["float64", "wide in float32", "narrow in float32", "few images", "outputs", "inputs"],
)
def test_what_would_leave_blocks_empty_is_left_to_torch(images: int, geometry: Geometry, dtype: torch.dtype) -> None:
    assert not native.fits(images, geometry, dtype)


@needs(torch.bfloat16)
def test_torch_finds_its_own_tiles_after_ours() -> None:
    a, b = draw(256, 256, seed=1).bfloat16(), draw(256, 256, seed=2).bfloat16()
    before = a @ b
    geometry, images, _, weight, bias, _ = given(CASES[1], torch.bfloat16)
    for _ in range(3):
        native.convolution(images, weight, bias, geometry)
        assert torch.equal(a @ b, before)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_network_of_another_type_is_not_misread(dtype: torch.dtype) -> None:
    geometry, images, _, weight, bias, _ = given(CASES[1], dtype)
    ours = native.convolution(images, weight.bfloat16(), bias.bfloat16(), geometry)
    assert torch.equal(ours, native.convolution(images, weight.bfloat16().float(), bias.bfloat16().float(), geometry))
