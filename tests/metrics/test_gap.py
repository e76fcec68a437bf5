from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.errors import UsageError
from sparring.metrics.gap import discriminator_gap


def _logits(mean: float, count: int, seed: int, scale: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(count)
    return mean + scale * (noise - noise.mean())


@pytest.mark.parametrize("gap", [0.0, 0.25, 1.0, -0.5, 2.0])
def test_is_the_ratio_of_mean_differences(gap: float) -> None:
    train, held_out, fake = _logits(3, 400, 0), _logits(3 - 4 * gap, 300, 1), _logits(-1, 200, 2)
    found = discriminator_gap(train, held_out, fake)
    assert found == pytest.approx(gap, abs=1e-9)
    assert found.low < gap < found.high
    assert found.high - found.low < 0.15 * (1 + abs(gap))


def test_units_and_offsets_of_logits_do_not_matter() -> None:
    sets = _logits(2, 50, 0), _logits(1, 60, 1), _logits(-2, 70, 2)
    a, b = discriminator_gap(*sets), discriminator_gap(*(100 * logits - 9 for logits in sets))
    assert (b, b.low, b.high) == pytest.approx((a, a.low, a.high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(500):
        found = discriminator_gap(rng.normal(1, 1, 40), rng.normal(0, 1, 30), rng.normal(-1, 2, 50))
        held += found.low <= 0.5 <= found.high
    assert 0.92 < held / 500 < 0.98


def test_a_discriminator_that_knows_nothing_has_no_gap_to_speak_of() -> None:
    found = discriminator_gap(_logits(0.01, 20, 0), _logits(0, 20, 1), _logits(0, 20, 2))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isnan(discriminator_gap([0.0, 0.0], [1.0, 2.0], [0.0, 0.0]))


def test_logits_may_be_maps_and_tensors() -> None:
    train, held_out, fake = _logits(2, 48, 0), _logits(1, 48, 1), _logits(-2, 48, 2)
    maps = (torch.tensor(logits).reshape(3, 1, 4, 4).requires_grad_() for logits in (train, held_out, fake))
    assert discriminator_gap(*maps) == discriminator_gap(train, held_out, fake)


@pytest.mark.parametrize("held_out", [[1.0], [], [1.0, math.nan]])
def test_what_is_no_sample_is_said(held_out: list[float]) -> None:
    with pytest.raises(UsageError, match="held-out"):
        discriminator_gap([1.0, 2.0], held_out, [0.0, 1.0])
