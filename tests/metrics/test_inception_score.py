from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.errors import UsageError
from sparring.metrics.inception_score import inception_score


def _by_divergences(p: np.ndarray) -> float:
    """exp of the mean KL(p(y|x) ‖ p(y)), written out."""
    mean = p.mean(0)
    return math.exp(np.mean([sum(a * math.log(a / b) for a, b in zip(row, mean, strict=True) if a > 0) for row in p]))


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_clear_and_even_classes_score_their_number(classes: int) -> None:
    found = inception_score(np.eye(classes)[np.arange(10 * classes) % classes])
    assert found == pytest.approx(classes, rel=1e-12)
    assert found.high <= classes * (1 + 1e-12)


def test_samples_that_are_all_alike_score_1() -> None:
    assert inception_score(np.full((50, 7), 1 / 7)) == pytest.approx(1, abs=1e-12)
    assert inception_score(np.eye(7)[np.zeros(50, int)]) == pytest.approx(1, abs=1e-12)


def test_half_of_the_classes_score_half() -> None:
    assert inception_score(np.eye(10)[np.arange(100) % 5]) == pytest.approx(5, rel=1e-12)


def test_equals_the_mean_over_consecutive_splits() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(6, 0.3), 103)
    parts = [_by_divergences(part) for part in np.array_split(p, 4)]
    found = inception_score(p, splits=4)
    assert found == pytest.approx(np.mean(parts), rel=1e-12)
    assert found.high - found == pytest.approx(1.96 * np.std(parts, ddof=1) / 2, rel=1e-3)
    assert found.interval == "4 splits"
    whole = inception_score(p, splits=1)
    assert whole == pytest.approx(_by_divergences(p), rel=1e-12)
    assert math.isnan(whole.low)
    assert whole > found  # fewer samples in a split, lower score


def test_takes_what_a_softmax_gives() -> None:
    p = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert inception_score(p) == pytest.approx(inception_score(p.double().numpy()), rel=1e-12)
    assert inception_score(p.bfloat16()) == pytest.approx(inception_score(p), rel=0.01)


@pytest.mark.parametrize(
    ("p", "splits", "words"),
    [
        (np.full((9, 4), 0.25), 10, "9 samples cannot be cut into 10 splits"),
        (np.full((9, 4), 0.25), 0, "0 splits"),
        (np.full((9, 4), 0.5), 3, "no probabilities"),
        (np.tile([1.5, -0.5], (9, 1)), 3, "no probabilities"),
        (np.full((9, 4), np.nan), 3, "no probabilities"),
        (np.full(9, 1.0), 3, r"\[N, K\]"),
        (np.zeros((0, 4)), 1, r"\[N, K\]"),
    ],
)
def test_what_is_no_probability_is_refused_in_a_sentence(p: np.ndarray, splits: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        inception_score(p, splits)
