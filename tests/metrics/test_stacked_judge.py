from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sparring.data import Data, open_data
from sparring.data.records import make_data
from sparring.errors import UsageError
from sparring.metrics import METRICS
from sparring.metrics.extractors import extract
from sparring.metrics.judge import Judge, build_judge, floor

PLACES = np.array([100, 10, 1])


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """One real digit of each class that the classifier recognises: [10, 1, 28, 28] in [-1, 1]."""
    data = open_data("digits")
    assert data.labels is not None
    x = data.batch(np.arange(100))[0]
    sure = extract("digits-v1", [x]).labels == data.labels[:100]
    return torch.stack([x[np.flatnonzero(sure & (data.labels[:100] == k))[0]] for k in range(10)])


def triples(digits: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    """Return the stacks [N, 3, 28, 28] that show these numbers, 0 to 999."""
    return torch.stack([digits[[n // 100, n // 10 % 10, n % 10], 0] for n in numbers])


def stacks(digits: torch.Tensor, numbers: Sequence[int]) -> Data:
    x = (triples(digits, numbers) * 127.5 + 127.5).round().to(torch.uint8).numpy()
    names = tuple(f"{number:03}" for number in range(1000))
    return make_data("stacked-mnist", x, np.array(numbers), names, judge="stacked-digits-v1")


def judge_of(digits: torch.Tensor, count: int) -> Judge:
    built = build_judge(stacks(digits, range(4)), count, seed=1)
    assert built is not None
    return built


def sampler(x: torch.Tensor) -> Callable[[int, int], torch.Tensor]:
    return lambda first, count: x[first : first + count]


def divergence(numbers: Sequence[int]) -> float:
    """KL(numbers ‖ uniform over 1000), written out."""
    shares = [list(numbers).count(n) / len(numbers) for n in set(numbers)]
    return sum(p * math.log(1000 * p) for p in shares)


def test_chosen_digits_give_the_exact_modes_and_divergence(digits: torch.Tensor) -> None:
    numbers = [7] * 6 + [123] * 3 + [999]
    scores = judge_of(digits, 10).score(sampler(triples(digits, numbers)))
    assert scores.values["modes"] == 3
    expected = 0.6 * math.log(600) + 0.3 * math.log(300) + 0.1 * math.log(100)
    assert scores.values["reverse_kl"] == pytest.approx(expected, rel=1e-12)
    assert set(scores.values) == {"reverse_kl", "modes"}


def test_every_mode_once_costs_nothing(digits: torch.Tensor) -> None:
    """The 1000 numbers come in four batches, whose pieces of 128 channels cut through the stacks."""
    numbers = np.random.default_rng(0).permutation(1000).tolist()
    scores = judge_of(digits, 1000).score(sampler(triples(digits, numbers)))
    assert scores.values["modes"] == 1000
    assert scores.values["reverse_kl"] == pytest.approx(0, abs=1e-12)
    assert scores.histogram == (300,) * 10


def test_a_collapse_onto_one_triple_costs_ln_1000(digits: torch.Tensor) -> None:
    scores = judge_of(digits, 12).score(sampler(triples(digits, [345] * 12)))
    assert scores.values["modes"] == 1
    assert scores.values["reverse_kl"] == pytest.approx(math.log(1000), rel=1e-12)


def test_the_order_of_the_channels_counts(digits: torch.Tensor) -> None:
    """The same three digits in all six orders are six modes, which a judge of their sum or set would not see."""
    numbers = [123, 132, 213, 231, 312, 321]
    scores = judge_of(digits, 6).score(sampler(triples(digits, numbers)))
    assert scores.values["modes"] == 6
    assert scores.values["reverse_kl"] == pytest.approx(math.log(1000 / 6), rel=1e-12)
    assert scores.histogram == (0, 6, 6, 6, 0, 0, 0, 0, 0, 0)


def test_the_histogram_counts_the_digits_of_all_channels(digits: torch.Tensor) -> None:
    scores = judge_of(digits, 2).score(sampler(triples(digits, [1, 129])))
    assert scores.histogram == (2, 2, 1, 0, 0, 0, 0, 0, 0, 1)


def test_fewer_modes_score_worse(digits: torch.Tensor) -> None:
    """The score orders generators that miss modes: covering m evenly costs ln(1000 / m)."""
    found = [
        judge_of(digits, 24).score(sampler(triples(digits, numbers))).values["reverse_kl"]
        for numbers in (range(24), [n % 12 for n in range(24)], [n % 2 for n in range(24)])
    ]
    assert found == pytest.approx([math.log(1000 / 24), math.log(1000 / 12), math.log(500)], rel=1e-12)


def test_larger_images_are_read_at_the_size_of_the_classifier(digits: torch.Tensor) -> None:
    numbers = [0, 123, 123, 456, 789, 987]
    x = F.interpolate(triples(digits, numbers), (32, 32), mode="bicubic").clamp(-1, 1)
    judge = judge_of(digits, 6)
    assert judge.score(sampler(x)) == judge.score(sampler(triples(digits, numbers)))


def test_the_dtype_of_the_generator_does_not_matter(digits: torch.Tensor) -> None:
    x = triples(digits, [0, 123, 456, 789])
    judge = judge_of(digits, 4)
    assert judge.score(sampler(x.bfloat16())) == judge.score(sampler(x))


def test_the_floor_scores_real_triples(digits: torch.Tensor) -> None:
    numbers = (np.arange(40) ** 2 % 37).tolist()
    data = stacks(digits, numbers)
    built = build_judge(data, 60, seed=3)
    assert built is not None
    low = floor(data, built)
    assert low.values["modes"] == len(set(numbers))
    assert low.values["reverse_kl"] == pytest.approx(divergence(numbers), rel=1e-12)
    assert low.protocol == replace(built.protocol, n_generated=40, weights="real")


def test_the_protocol_names_the_classifier_and_the_count(digits: torch.Tensor) -> None:
    judge = judge_of(digits, 26_000)
    line = judge.protocol.short()
    assert line.startswith(
        "reverse_kl[digits-v1@0d86a89f per-channel-u8-luma-bilinear-antialias-28 n26000 stacked-mnist/modes@"
    )
    assert line.endswith(" seed1 ema]")
    assert judge.name == "stacked-digits-v1"
    assert judge.primary == judge.protocol.metric == "reverse_kl"
    assert judge.metrics == ("modes", "reverse_kl")
    assert METRICS[judge.primary].better == "lower"
    assert set(judge.metrics) <= set(METRICS)


def test_what_is_no_stack_of_three_is_refused(digits: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"shape \(4, 1, 28, 28\) cannot be read; give \[B, 3, H, W\]"):
        judge_of(digits, 4).score(sampler(digits[:4]))
    with pytest.raises(UsageError, match=r"give \[B, 3, H, W\]"):
        judge_of(digits, 4).score(sampler(torch.zeros(4, 3)))


def test_a_generator_that_diverged_gets_nan(digits: torch.Tensor) -> None:
    x = triples(digits, range(5))
    x[4, 2, 3, 3] = float("nan")
    scores = judge_of(digits, 5).score(sampler(x))
    assert all(math.isnan(scores.values[name]) for name in ("reverse_kl", "modes"))
    assert scores.histogram is None
