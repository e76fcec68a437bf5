from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from sparring.data.digits import open_digits
from sparring.errors import UsageError
from sparring.metrics.classification import (
    LabelledImages,
    _mean_over_seeds,
    _prepared,
    _student,
    augmentation_gain,
    classification_accuracy,
)

STEPS = 60


def _digits(first: int, count: int, *, held_out: bool = False) -> LabelledImages:
    """Return digits at half their size, float in [-1, 1]: enough to be told apart, and quick."""
    data = open_digits()
    part = data.held_out if held_out else data
    assert part is not None
    assert part.labels is not None
    rows = np.arange(first, first + count)
    x = torch.nn.functional.avg_pool2d(part.batch(rows)[0].float(), 2)
    return LabelledImages(x, torch.as_tensor(part.labels[rows]))


def _shuffled(images: LabelledImages) -> LabelledImages:
    order = torch.randperm(len(images.y), generator=torch.Generator().manual_seed(0))
    return LabelledImages(images.x, images.y[order])


@pytest.fixture(scope="module")
def unseen() -> LabelledImages:
    return _digits(0, 1000, held_out=True)


def test_other_real_images_are_worth_as_much_as_real_images(unseen: LabelledImages) -> None:
    a, b = (classification_accuracy(_digits(first, 2000), unseen, steps=STEPS) for first in (0, 2000))
    assert a == pytest.approx(b, abs=0.06)
    assert a.low < b.high
    assert b.low < a.high
    assert a > 0.75


def test_shuffled_labels_are_worth_a_guess(unseen: LabelledImages) -> None:
    found = classification_accuracy(_shuffled(_digits(0, 2000)), unseen, steps=STEPS)
    assert found == pytest.approx(0.1, abs=0.07)


def test_good_images_help_few_real_ones_and_mislabelled_ones_harm(unseen: LabelledImages) -> None:
    few, many = _digits(0, 60), _digits(2000, 2000)
    helped = augmentation_gain(few, many, unseen, seeds=2, steps=STEPS)
    assert helped.gain == pytest.approx(helped.both - helped.real)
    assert helped.gain > 0.1
    harmed = augmentation_gain(few, _shuffled(many), unseen, seeds=2, steps=STEPS)
    assert harmed.real == helped.real
    assert harmed.gain < 0


def test_the_same_images_again_help_in_nothing() -> None:
    few, test = _digits(0, 50), _digits(0, 200, held_out=True)
    found = augmentation_gain(few, few, test, seeds=2, steps=5)
    assert (found.gain, found.gain.low, found.gain.high) == (0, 0, 0)


def test_a_seed_decides_everything_and_the_global_one_nothing() -> None:
    images, test = _digits(0, 100), _digits(0, 200, held_out=True)
    before = torch.random.get_rng_state()
    first = classification_accuracy(images, test, seed=3, steps=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert classification_accuracy(images, test, seed=3, steps=5) == first
    others = {float(classification_accuracy(images, test, seed=seed, steps=5)) for seed in range(4, 8)}
    assert others != {float(first)}


def test_bytes_are_taken_for_the_levels_of_a_picture() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    x = _prepared(levels)
    assert x.dtype == torch.float32
    assert (float(x.min()), float(x.max())) == (-1, 1)
    torch.testing.assert_close(x, (levels.float() - 127.5) / 127.5)
    torch.testing.assert_close(_prepared(x), x)


def test_large_images_are_made_small_and_keep_their_aspect() -> None:
    assert _prepared(torch.zeros(2, 3, 128, 64)).shape == (2, 3, 32, 16)
    assert _prepared(torch.zeros(2, 3, 32, 20)).shape == (2, 3, 32, 20)
    flat = _prepared(torch.full((1, 1, 200, 200), 0.25))
    torch.testing.assert_close(flat, torch.full((1, 1, 32, 32), 0.25))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 20), (4, 96, 96)])
def test_images_of_any_shape_will_do(shape: tuple[int, ...]) -> None:
    y = torch.arange(12) % 3
    x = torch.zeros(12, *shape) + (y.reshape(-1, 1, 1, 1) - 1)
    images = LabelledImages(x, y)
    assert classification_accuracy(images, images, steps=20) == 1


def test_t_is_that_of_student() -> None:
    for freedom in [*range(1, 13), 30, 100]:
        assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_the_interval_counts_in_seeds_and_images() -> None:
    """Values are an effect of the seed, one of the image, and noise; the mean of both effects is 0.1."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        values = (
            0.1 + 0.05 * rng.standard_normal((5, 1)) + rng.standard_normal((1, 400)) + rng.standard_normal((5, 400))
        )
        found = _mean_over_seeds(values, -math.inf)
        held += found.low <= 0.1 <= found.high
    assert 0.92 < held / 400 <= 0.995


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.zeros(3, 1, 8, 8), torch.zeros(4, dtype=torch.int64), "do not fit"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), "do not fit"),
        (torch.zeros(3, 8, 8), torch.zeros(3, dtype=torch.int64), "do not fit"),
        (torch.zeros(3, 1, 8, 8), torch.zeros(3), "integers"),
        (torch.zeros(3, 1, 8, 8), torch.tensor([0, -1, 2]), "integers"),
    ],
)
def test_what_is_no_labelled_set_is_said(x: torch.Tensor, y: torch.Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        LabelledImages(x, y)


def test_sets_that_cannot_be_mixed_are_said() -> None:
    small, large = _digits(0, 4), LabelledImages(torch.zeros(4, 1, 28, 28), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UsageError, match="one shape"):
        classification_accuracy(small, large)
    with pytest.raises(UsageError, match="2 or more"):
        augmentation_gain(small, small, small, seeds=1)
