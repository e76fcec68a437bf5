from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from sparring.data import Data, Modes, open_data
from sparring.errors import UsageError
from sparring.metrics import METRICS
from sparring.metrics.extractors import extract
from sparring.metrics.frechet import frechet_distance
from sparring.metrics.judge import Judge, build_judge, floor

RING = Modes(np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1), 0.01)


def _part(data: Data, chosen: np.ndarray) -> Data:
    assert data.labels is not None
    labels, sha256 = data.labels[chosen], f"{data.sha256[:4]}{len(chosen):04x}" * 8
    return replace(data, samples=data.samples[chosen], labels=labels, sha256=sha256, held_out=None)


@pytest.fixture(scope="module")
def digits() -> Data:
    data = open_data("digits")
    assert data.held_out is not None
    return replace(_part(data, np.arange(600)), held_out=_part(data.held_out, np.arange(300)))


@pytest.fixture(scope="module")
def judge(digits: Data) -> Judge:
    built = build_judge(digits, 300, seed=5)
    assert built is not None
    return built


def _points(points: np.ndarray) -> Callable[[int, int], torch.Tensor]:
    return lambda first, count: torch.from_numpy(points[first : first + count])


def _ring_data() -> Data:
    rng = np.random.default_rng(0)
    samples = RING.centres[rng.integers(0, 8, 2000)] + 0.01 * rng.standard_normal((2000, 2))
    return Data("ring", samples.astype(np.float32), None, (), None, None, RING, "f" * 64, ())


def _point_judge(count: int = 800) -> Judge:
    built = build_judge(_ring_data(), count, seed=1)
    assert built is not None
    return built


def test_the_reference_scores_zero_against_itself(digits: Data, judge: Judge) -> None:
    held_out = digits.held_out
    assert held_out is not None
    scores = judge.score(lambda first, count: held_out.batch(np.arange(first, first + count))[0])
    assert scores.values["fd"] == pytest.approx(0.0, abs=1e-3)
    assert scores.values["classes_present"] == 10
    assert scores.values["confidence"] > 0.95
    assert scores.histogram is not None
    assert sum(scores.histogram) == 300


def test_fd_is_the_distance_between_the_features(digits: Data, judge: Judge) -> None:
    held_out = digits.held_out
    assert held_out is not None
    x = digits.batch(np.arange(300))[0]
    found = judge.score(lambda first, count: x[first : first + count]).values["fd"]
    features = [extract("digits-v1", [part]).features for part in (x, held_out.batch(np.arange(300))[0])]
    assert found == pytest.approx(frechet_distance(*features), rel=1e-4)


def test_worse_images_score_worse_and_the_floor_is_lowest(digits: Data, judge: Judge) -> None:
    real = digits.batch(np.arange(300))[0]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    low = floor(digits, judge)
    found = [judge.score(lambda a, n, x=(real + s * noise): x[a : a + n]).values["fd"] for s in (0.3, 0.6, 1.2)]
    assert low.values["fd"] < found[0] < found[1] < found[2]
    assert low.protocol == replace(judge.protocol, weights="real")


def test_one_class_only_costs_its_surprise(digits: Data, judge: Judge) -> None:
    assert digits.labels is not None
    ones = digits.batch(np.resize(np.flatnonzero(digits.labels == 1), 300))[0]
    scores = judge.score(lambda first, count: ones[first : first + count])
    assert scores.values["classes_present"] == 1
    assert scores.values["class_kl"] == pytest.approx(-math.log((digits.labels == 1).mean()))


def test_without_labels_the_classes_are_compared_with_uniform(digits: Data) -> None:
    built = build_judge(replace(digits, labels=None, class_names=()), 40, seed=0)
    assert built is not None
    ones = digits.batch(np.resize(np.flatnonzero(digits.labels == 1), 40))[0]
    assert built.score(lambda a, n: ones[a : a + n]).values["class_kl"] == pytest.approx(math.log(10))


def test_the_set_is_drawn_in_order_in_batches_of_at_most_250(digits: Data) -> None:
    built = build_judge(digits, 600, seed=0)
    assert built is not None
    asked: list[tuple[int, int]] = []

    def sample(first: int, count: int) -> torch.Tensor:
        asked.append((first, count))
        return digits.batch(np.arange(first, first + count))[0]

    assert built.score(sample) == built.score(sample)
    assert asked[:3] == [(0, 250), (250, 250), (500, 100)]


def test_protocol_states_data_counts_and_weights(digits: Data, judge: Judge) -> None:
    line = judge.protocol.short()
    assert line.startswith("fd[digits-v1@")
    assert line.endswith("seed5 ema]")
    assert " n300/300 digits/held-out@" in line
    raw = build_judge(digits, 300, seed=5, weights="raw")
    assert raw is not None
    assert raw.protocol != judge.protocol


def test_without_held_out_images_the_protocol_says_train_and_there_is_no_floor(digits: Data) -> None:
    alone = replace(digits, held_out=None)
    built = build_judge(alone, 20, seed=0)
    assert built is not None
    assert " n20/600 digits/train@" in built.protocol.short()
    with pytest.raises(UsageError, match="nothing is held out"):
        floor(alone, built)


def test_the_floor_states_how_many_real_images_there_were(digits: Data) -> None:
    built = build_judge(digits, 5000, seed=0)
    assert built is not None
    scores = floor(digits, built)
    assert " n600/300 " in scores.protocol.short()
    assert scores == floor(digits, built)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_generator_that_diverged_gets_nan_everywhere(judge: Judge, bad: float) -> None:
    x = torch.zeros(300, 1, 28, 28)
    x[299, 0, 3, 3] = bad
    scores = judge.score(lambda first, count: x[first : first + count])
    assert set(scores.values) == set(judge.metrics)
    assert all(math.isnan(value) for value in scores.values.values())
    assert scores.histogram is None


def test_scoring_leaves_grad_mode_rng_and_samples_alone(judge: Judge) -> None:
    x = torch.zeros(300, 1, 28, 28, requires_grad=True)
    before = torch.get_rng_state()
    judge.score(lambda first, count: x[first : first + count] * 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
    assert x.grad is None


def test_points_are_judged_by_their_modes() -> None:
    judge = _point_judge()
    scores = floor(_ring_data(), judge)
    assert scores.values["modes"] == 8
    assert scores.values["high_quality"] > 0.97
    assert scores.values["mode_gap"] < 0.05
    assert scores.histogram is not None
    assert len(scores.histogram) == 8
    assert judge.protocol.short() == "mode_gap[n800 ring/modes@ffffffff seed1 ema]"


def test_the_primary_of_points_sees_both_collapse_and_blur() -> None:
    judge = _point_judge()
    collapse = np.resize(RING.centres[:1], (800, 2))
    blur = np.resize(RING.centres * 0.5, (800, 2))  # all directions evenly, no sample near a mode
    assert judge.score(_points(collapse)).values["mode_gap"] == pytest.approx(math.log(8))
    assert judge.score(_points(blur)).values["mode_gap"] == pytest.approx(1.0)
    assert judge.score(_points(np.resize(RING.centres, (800, 2)))).values["mode_gap"] == pytest.approx(0.0)


def test_every_value_is_a_metric_and_the_primary_is_lower_is_better(judge: Judge) -> None:
    for each in (judge, _point_judge()):
        values = each.score(
            _points(np.zeros((800, 2)) if each.name == "modes" else np.zeros((300, 1, 28, 28), np.float32))
        ).values
        assert set(values) == set(each.metrics) <= set(METRICS)
        assert METRICS[each.primary].better == "lower"
        assert each.protocol.metric == each.primary in values


def test_what_cannot_be_judged_is_said(digits: Data) -> None:
    assert build_judge(replace(digits, judge=None), 20, seed=0) is None
    with pytest.raises(UsageError, match="at least 2"):
        build_judge(digits, 1, seed=0)
    with pytest.raises(UsageError, match="--split: unknown name 'test'; choose one of: held-out, train"):
        build_judge(digits, 20, seed=0, split="test")
    for other in (open_data("ring"), replace(digits, name="triples", judge="stacked-digits-v1")):
        with pytest.raises(UsageError, match=f"leave it out for {other.name}"):
            build_judge(other, 20, seed=0, split="train")
    with pytest.raises(UsageError, match="feature extractor"):
        build_judge(replace(digits, judge="cats-v1"), 20, seed=0)
