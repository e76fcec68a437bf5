"""Augmentations: what they do on known images, that they differentiate, and that they change nothing but what they say."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sparring.augment import AUGMENTATIONS, Augmentation, augmented, color, cutout, translation

ALL = pytest.mark.parametrize("row", AUGMENTATIONS.values(), ids=AUGMENTATIONS)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@ALL
def test_shape_reproducibility_and_differences_between_samples(row: Augmentation) -> None:
    x = torch.rand(1, 3, 16, 12, generator=source()).expand(8, -1, -1, -1) * 2 - 1
    y = row.function(x, source(1))
    assert y.shape == x.shape
    assert torch.equal(y, row.function(x, source(1)))
    assert not torch.equal(y, row.function(x, source(2)))
    assert any(not torch.equal(y[0], other) for other in y[1:]), "each sample has its own draw"


@ALL
def test_gradients_reach_the_samples(row: Augmentation) -> None:
    """Each is linear in x for given draws, so its derivative along x is f(x) - f(0)."""
    x = (torch.rand(6, 1, 8, 8, generator=source(), dtype=torch.float64) * 2 - 1).requires_grad_()
    y = row.function(x, source(3))
    at_zero = row.function(torch.zeros_like(x), source(3))
    weights = torch.rand(y.shape, generator=source(4), dtype=torch.float64)
    (slope,) = torch.autograd.grad((y * weights).sum(), x)
    assert_close((slope * x).sum(), ((y - at_zero) * weights).sum())
    assert slope.abs().sum() > 0


def test_translation_moves_by_every_whole_step_up_to_an_eighth_and_fills_with_zero() -> None:
    x = torch.zeros(2000, 1, 16, 16)
    x[:, :, 8, 8] = 1
    y = translation(x, source())
    assert_close(y.sum((1, 2, 3)), torch.ones(2000))
    places = y.flatten(1).argmax(1)
    moves = {(int(place) // 16 - 8, int(place) % 16 - 8) for place in places}
    assert moves == {(a, b) for a in range(-2, 3) for b in range(-2, 3)}
    whole = translation(torch.ones(50, 1, 16, 16), source())
    assert set(whole.sum((1, 2, 3)).int().tolist()) <= {(16 - a) * (16 - b) for a in range(3) for b in range(3)}


def test_cutout_covers_a_square_of_half_the_side() -> None:
    y = cutout(torch.ones(2000, 2, 16, 16), source())
    covered = (y == 0).sum((1, 2, 3)) // 2
    assert covered.max() == 8 * 8
    assert 4 * 4 <= covered.min() < 8 * 8, "at a corner a quarter of it falls inside"
    assert torch.equal(y[:, 0], y[:, 1])


def test_color_keeps_the_mean_but_for_brightness() -> None:
    x = torch.rand(500, 3, 8, 8, generator=source()) * 2 - 1
    shift = color(x, source(1)).mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert shift.abs().max() <= 0.5 + 1e-6
    assert shift.std() == pytest.approx(12**-0.5, abs=0.02)


def test_no_augmentation_leaves_the_samples() -> None:
    x = torch.randn(2, 1, 8, 8)
    assert augmented(x, (), source()) is x


@ALL
def test_rows_say_what_a_user_needs(row: Augmentation) -> None:
    assert AUGMENTATIONS[row.name] is row
    assert "arXiv:" in row.paper
    assert all((row.summary, row.formula, row.when, row.watch))
