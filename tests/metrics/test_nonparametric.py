from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sparring.errors import UsageError
from sparring.metrics.nonparametric import mann_whitney, midranks, rank_correlation, share, wilson


def _with_ties(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 12, count).astype(np.float64)


def test_ranks_are_those_of_scipy() -> None:
    values = _with_ties(50, 0)
    np.testing.assert_array_equal(midranks(values), stats.rankdata(values))


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (3, 20), (20, 20), (481, 1000)])
def test_wilsons_interval_is_that_of_scipy(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
    found = share(np.arange(count) < hits)
    assert (found, found.low, found.high) == pytest.approx((hits / count, expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [_with_ties, lambda count, seed: np.random.default_rng(seed).standard_normal(count)])
def test_the_test_of_mann_and_whitney_is_that_of_scipy(draw: object, seed: int) -> None:
    assert callable(draw)
    a, b = draw(30, seed), draw(45, seed + 100)
    expected = stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic")
    found = mann_whitney(a, b)
    assert found.larger == pytest.approx(expected.statistic / (30 * 45), abs=1e-12)
    assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.z == pytest.approx(-mann_whitney(b, a).z)


def test_samples_that_do_not_overlap_keep_an_interval() -> None:
    found = mann_whitney(np.arange(20), np.arange(20) + 100.0).larger
    assert found == 0
    assert found.low == 0
    assert 0.05 < found.high < 0.2
    assert mann_whitney(np.ones(5), np.ones(4)).z == 0
    assert mann_whitney(np.ones(5), np.ones(4)).larger == 0.5


@pytest.mark.parametrize(("m", "n"), [(20, 20), (500, 15)])
@pytest.mark.parametrize("truth", [0.5, 0.2])
def test_the_probabilitys_interval_holds_the_truth_as_often_as_it_says(m: int, n: int, truth: float) -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        found = mann_whitney(rng.exponential(truth / (1 - truth), m), rng.exponential(1, n)).larger
        held += found.low <= truth <= found.high
    assert 0.91 < held / 300 < 0.995


def test_rank_correlation_is_that_of_scipy() -> None:
    a, b = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6], [2.0, 7.0, 1.0, 8.0, 2.5, 0.1]
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert rank_correlation(a, [math.exp(v) for v in a]) == 1
    assert rank_correlation(a, [-v for v in a]) == -1
    tied, other = _with_ties(60, 1), _with_ties(60, 2) + _with_ties(60, 1)
    assert rank_correlation(list(tied), list(other)) == pytest.approx(stats.spearmanr(tied, other).statistic)


def _wandering(count: int, memory: float, rng: np.random.Generator) -> list[float]:
    values, level = [], 0.0
    for step in rng.standard_normal(count + 60):
        level = memory * level + step
        values.append(level)
    return values[60:]


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_unrelated_series_are_rarely_taken_for_related_ones(memory: float) -> None:
    rng, held = np.random.default_rng(3), 0
    for _ in range(300):
        found = rank_correlation(_wandering(60, memory, rng), _wandering(60, memory, rng))
        held += found.low <= 0 <= found.high
    assert 0.91 < held / 300 < 0.995


def test_related_series_are_told_from_unrelated_ones() -> None:
    rng = np.random.default_rng(4)
    loss = rng.standard_normal(80)
    found = rank_correlation(list(loss), list(loss + 0.5 * rng.standard_normal(80)))
    assert found.low > 0.7
    assert found.high < 0.97


def test_two_series_that_only_fall_prove_nothing() -> None:
    found = rank_correlation(list(range(50, 0, -1)), [1 / (i + 1) for i in range(50)])
    assert found == 1
    assert found.low < 0


def test_a_constant_series_has_no_correlation() -> None:
    assert math.isnan(rank_correlation([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]))


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [([1.0, 2, 3], [1.0, 2, 3], "at least 4"), ([1.0] * 5, [1.0] * 4, "same looks"), ([1, 2, 3, math.nan], [1.0] * 4, "NaN")],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(a: list[float], b: list[float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        rank_correlation(a, b)
