"""Resizing against values worked out by hand, a naive loop, and what it must not do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.errors import UsageError
from sparring.metrics.extractors.resize import (
    as_channels_last,
    bilinear_antialias,
    bilinear_tf1,
    to_grey,
    to_levels,
    to_rgb,
)


def naive_tf1(image: np.ndarray, side: int) -> np.ndarray:
    """TensorFlow 1's resize_bilinear of one plane [H, W], pixel by pixel, in its float32 steps."""
    height, width = image.shape
    out = np.empty((side, side), np.float32)
    for row in range(side):
        y = np.float32(row) * (np.float32(height) / np.float32(side))
        top, below = math.floor(y), min(math.floor(y) + 1, height - 1)
        for column in range(side):
            x = np.float32(column) * (np.float32(width) / np.float32(side))
            left, right = math.floor(x), min(math.floor(x) + 1, width - 1)
            dx, dy = x - np.float32(left), y - np.float32(top)
            upper = image[top, left] + (image[top, right] - image[top, left]) * dx
            lower = image[below, left] + (image[below, right] - image[below, left]) * dx
            out[row, column] = upper + (lower - upper) * dy
    return out


def test_tf1_resize_of_four_pixels_by_hand() -> None:
    """Twice as large: outputs sample at 0, ½, 1, 1½; the last is beyond the last pixel and stays there."""
    x = torch.tensor([[0.0, 4.0], [8.0, 12.0]]).view(1, 1, 2, 2)
    expected = [[0.0, 2, 4, 4], [4, 6, 8, 8], [8, 10, 12, 12], [8, 10, 12, 12]]
    assert bilinear_tf1(x, 4)[0, 0].tolist() == expected


def test_tf1_resize_to_half_takes_every_second_pixel() -> None:
    """No antialiasing, and no half pixel: scale 2 samples at 0, 2, 4 exactly."""
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert torch.equal(bilinear_tf1(x, 3), x[..., ::2, ::2])


def test_tf1_resize_by_three_halves_by_hand() -> None:
    """3 to 2: outputs sample at 0 and 1½."""
    x = torch.tensor([0.0, 10.0, 30.0]).expand(1, 1, 3, 3)
    assert bilinear_tf1(x, 2)[0, 0].tolist() == [[0.0, 20.0], [0.0, 20.0]]


@pytest.mark.parametrize(("height", "width", "side"), [(5, 7, 11), (32, 32, 29), (7, 3, 7), (1, 9, 4), (40, 23, 10)])
def test_tf1_resize_is_the_naive_loop_to_the_bit(height: int, width: int, side: int) -> None:
    x = torch.randint(0, 256, (2, 3, height, width), generator=torch.Generator().manual_seed(side)).float()
    found = bilinear_tf1(x, side).numpy()
    for image, planes in zip(x.numpy(), found, strict=True):
        for plane, resized in zip(image, planes, strict=True):
            np.testing.assert_array_equal(resized, naive_tf1(plane, side))


def test_tf1_resize_to_the_same_size_changes_nothing() -> None:
    x = torch.randint(0, 256, (1, 3, 299, 299), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(bilinear_tf1(x, 299), x)


def test_the_two_resizes_differ_where_it_matters() -> None:
    """Of stripes one pixel wide, the antialiased resize makes grey and TensorFlow's keeps one colour."""
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., 1::2] = 255
    assert bilinear_tf1(stripes, 4).max() == 0
    assert bilinear_antialias(stripes, 4).min() > 80


def test_antialiased_resize_by_hand() -> None:
    """4 to 2: a triangle 4 pixels wide at ½ and 2½ sees weights 3, 3, 1 of 7 (cut off at the border)."""
    x = torch.tensor([0.0, 7.0, 14.0, 70.0]).expand(1, 1, 4, 4)
    expected = torch.tensor([(3 * 0 + 3 * 7 + 14) / 7, (7 + 3 * 14 + 3 * 70) / 7]).expand(1, 1, 2, 2)
    torch.testing.assert_close(bilinear_antialias(x, 2), expected)


def test_antialiased_resize_to_the_same_size_is_the_same_tensor() -> None:
    x = torch.rand(1, 1, 5, 5)
    assert bilinear_antialias(x, 5) is x


def test_levels_are_those_of_the_saved_picture() -> None:
    x = torch.tensor([-9.0, -1.0, -0.999, 0.0, 0.0039, 0.004, 1.0, 3.0]).view(1, 1, 2, 4)
    assert to_levels(x).flatten().tolist() == [0, 0, 0, 128, 128, 128, 255, 255]  # 127.5 is rounded to the even level
    assert to_levels(x.double()).dtype == to_levels(x.bfloat16()).dtype == torch.float32
    assert to_levels(torch.full((1, 3, 2, 2), float("nan"))).isnan().all()


@pytest.mark.parametrize("shape", [(2, 2, 28, 28), (2, 4, 28, 28), (28, 28), (5, 2)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"cannot be read; give \[B, 1, H, W\] or \[B, 3, H, W\]"):
        to_levels(torch.zeros(shape))


def test_grey_and_colour() -> None:
    grey = torch.rand(2, 1, 3, 3)
    assert to_grey(grey) is grey
    assert torch.equal(to_rgb(grey), torch.cat([grey] * 3, dim=1))
    torch.testing.assert_close(to_grey(to_rgb(grey)), grey)
    colour = torch.rand(2, 3, 3, 3)
    assert torch.equal(to_rgb(colour), colour)
    torch.testing.assert_close(
        to_grey(colour)[:, 0], 0.299 * colour[:, 0] + 0.587 * colour[:, 1] + 0.114 * colour[:, 2]
    )


def test_channels_last_changes_no_value() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(as_channels_last(x), x)
    assert as_channels_last(x).is_contiguous(memory_format=torch.channels_last)
