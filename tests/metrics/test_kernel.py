from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.errors import UsageError
from sparring.fast import plain
from sparring.fast.compiled import available
from sparring.metrics import kernel
from sparring.metrics.kernel import kernel_distance


def _features(n: int, dim: int, seed: int, shift: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) / np.sqrt(dim) + shift


def _naive(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate on whole kernel matrices in float64, which is also what torchmetrics' poly_mmd computes."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    return float((xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean())


@pytest.mark.parametrize(("n", "m", "dim"), [(120, 80, 6), (2, 3, 4), (300, 300, 1)])
def test_equals_the_formula_on_whole_matrices(n: int, m: int, dim: int) -> None:
    x, y = _features(n, dim, 0), _features(m, dim, 1)
    assert kernel_distance(x, y) == pytest.approx(_naive(x, y), rel=1e-10)
    found = kernel_distance(x.astype(np.float32), y.astype(np.float32))
    assert found == pytest.approx(_naive(x.astype(np.float32), y.astype(np.float32)), rel=1e-6)


@pytest.mark.parametrize("tile", [32, 50])
def test_tiles_do_not_matter(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _features(120, 6, 0), _features(83, 6, 1)
    expected = kernel_distance(x, y)
    monkeypatch.setattr(kernel, "TILE", tile)
    monkeypatch.setattr(kernel, "_SLAB", 7)
    found = kernel_distance(x, y)
    assert (found, found.low) == pytest.approx((expected, expected.low), rel=1e-10)


def test_equals_torchmetrics() -> None:
    """torchmetrics 1.9.0, image/kid.py: poly_mmd of these two sets, computed apart."""
    x = (np.add.outer(np.arange(40), np.arange(6) ** 2) ** 1.5 % 7)[:30]
    y = np.add.outer(3 * np.arange(30), np.arange(6) ** 2) ** 1.5 % 5
    assert kernel_distance(x, y) == pytest.approx(1391.5690818209591, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_moments_and_few_bits_give_what_all_pairs_in_float64_do(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of large sets: only the cubes, which are small about a common centre, are summed over pairs, in eight bits."""
    x = torch.from_numpy(np.maximum(_features(1500, 60, 0), 0)).float()
    y = torch.from_numpy(np.maximum(_features(1200, 60, 1), 0)).float()
    slow = kernel_distance(x, y)
    assert slow == pytest.approx(_naive(x.numpy(), y.numpy()), rel=1e-6)
    monkeypatch.setattr(kernel, "FEW", 0)
    monkeypatch.setattr(kernel, "product_dtype", lambda device: dtype)
    fast = kernel_distance(x, y)
    assert fast == pytest.approx(slow, rel=1e-5)
    assert abs(fast - slow) < 1e-3 * (slow.high - slow.low)
    assert fast.low == pytest.approx(slow.low, rel=1e-4)
    assert fast != slow


@pytest.mark.skipif(
    not available(torch.bfloat16, "scatter"), reason="needs a processor with matrix units, and a C compiler"
)
def test_subsets_in_eight_bits_give_what_float64_does() -> None:
    x = torch.from_numpy(np.maximum(_features(700, 64, 0), 0)).float()
    y = torch.from_numpy(np.maximum(_features(500, 64, 1), 0)).float()
    fast = kernel_distance(x, y, subsets=20, subset_size=100)
    with plain():
        slow = kernel_distance(x, y, subsets=20, subset_size=100)
    assert fast != slow
    assert fast == pytest.approx(slow, rel=1e-4)
    assert abs(fast - slow) < 1e-3 * (slow.high - slow.low)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), rel=1e-3)


def test_subsets_of_features_too_large_for_float32s_powers_are_summed_in_float64() -> None:
    x, y = (torch.from_numpy(_features(300, 64, seed, shift=2000.0)).float() for seed in (0, 1))
    with plain():
        slow = kernel_distance(x, y, subsets=5, subset_size=50)
    assert kernel_distance(x, y, subsets=5, subset_size=50) == slow


def test_rows_by_moments_are_those_of_all_pairs_without_a_sample_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "product_dtype", lambda device: torch.float32)
    x, y = (torch.from_numpy(_features(300, 8, seed)) for seed in (0, 1))
    a, b = (kernel._Centred.of(each, torch.full((8,), 0.25, dtype=torch.float64)) for each in (x, y))
    for pair in ((a, a), (a, b)):
        slow, fast = kernel._sums(*pair), kernel._sums_of_many(*pair)
        assert fast.total == pytest.approx(slow.total, rel=1e-6)
        np.testing.assert_allclose(fast.rows, slow.rows, rtol=1e-6, atol=1e-4)


def test_sees_means_spreads_and_third_moments() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 4))
    skewed = rng.exponential(1, (2000, 4)) - 1  # mean 0 and variance 1, too
    for other in (rng.standard_normal((2000, 4)) + 0.3, 1.3 * rng.standard_normal((2000, 4)), skewed):
        assert kernel_distance(other, x).low > 0
    assert kernel_distance(rng.standard_normal((2000, 4)), x).low < 0


def test_closed_form_of_two_points_and_of_a_shift() -> None:
    """Of sets of one value each, k is constant: (a² + 1)³ + (b² + 1)³ - 2 (ab + 1)³."""
    a, b = np.full((5, 3), 2.0), np.full((7, 3), -1.0)
    assert kernel_distance(a, b) == pytest.approx(125 + 8 + 2, rel=1e-12)
    assert kernel_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_is_not_biased_by_few_samples_and_its_interval_is_the_spread() -> None:
    rng = np.random.default_rng(0)
    reference = _features(600, 8, 0)
    found = [kernel_distance(1.2 * rng.standard_normal((150, 8)) + 0.3, reference) for _ in range(150)]
    many = kernel_distance(1.2 * rng.standard_normal((5000, 8)) + 0.3, reference)
    spread = np.std(found)
    assert np.mean(found) == pytest.approx(many, abs=4 * spread / math.sqrt(150))
    errors = [(each.high - each) / 1.96 for each in found]
    assert 0.8 * spread < np.mean(errors) < 1.25 * spread
    assert found[0].interval == "standard error"
    covered = np.mean([each.low < many < each.high for each in found])
    assert covered > 0.88


def test_subsets_are_drawn_by_the_seed_and_averaged() -> None:
    x, y = _features(60, 5, 0), _features(50, 5, 1)
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(4):
        a, b = (each[rng.choice(len(each), 20, replace=False)] for each in (x, y))
        expected.append(_naive(a, b))
    found = kernel_distance(x, y, subsets=4, subset_size=20, seed=3)
    assert found == pytest.approx(np.mean(expected), rel=1e-10)
    assert found.high - found == pytest.approx(1.96 * np.std(expected) / 2, rel=1e-3)
    assert found.interval == "4 subsets"
    assert found == kernel_distance(x, y, subsets=4, subset_size=20, seed=3)
    assert found != kernel_distance(x, y, subsets=4, subset_size=20)


def test_subsets_of_all_samples_are_the_whole() -> None:
    x, y = _features(60, 5, 0), _features(50, 5, 1)
    found = kernel_distance(x, y, subsets=2, subset_size=1000)
    assert found == pytest.approx(kernel_distance(x, y), rel=1e-10)


@pytest.mark.parametrize(
    ("x", "y", "subsets", "words"),
    [
        (np.zeros((1, 2)), np.zeros((4, 2)), 0, "1 generated and 4 reference samples are too few"),
        (np.zeros((4, 2)), np.zeros((4, 3)), 0, "of 2 and of 3 features"),
        (np.full((4, 2), np.nan), np.zeros((4, 2)), 0, "8 of 8 values are NaN"),
        (np.zeros((4, 2)), np.zeros((4, 2)), 1, "1 subsets of 1000 samples give no spread"),
        (np.zeros((4, 2)), np.zeros((4, 2)), -1, "use 0 subsets"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    x: np.ndarray, y: np.ndarray, subsets: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        kernel_distance(x, y, subsets=subsets)


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    x, y = torch.from_numpy(_features(300, 20, 0)), torch.from_numpy(_features(200, 20, 1))
    found, expected = kernel_distance(x.cuda(), y.cuda()), kernel_distance(x, y)
    assert (found, found.low) == pytest.approx((expected, expected.low), rel=1e-9)
