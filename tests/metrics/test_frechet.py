from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from sparring.errors import UsageError
from sparring.metrics.frechet import Moments, frechet_distance, frechet_from_moments


def _features(n: int, dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) + rng.standard_normal(dim)


def _by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    s_a, s_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s_a @ s_b).real
    return float(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s_a + s_b - 2 * root))


def test_equals_the_closed_form_between_diagonal_gaussians() -> None:
    rng = np.random.default_rng(0)
    m_a, m_b, sd_a, sd_b = rng.standard_normal((4, 30))
    expected = np.sum((m_a - m_b) ** 2) + np.sum((abs(sd_a) - abs(sd_b)) ** 2)
    found = frechet_from_moments(m_a, np.diag(sd_a**2), m_b, np.diag(sd_b**2))
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_shift_counts_squared_and_a_scale_by_its_deviation() -> None:
    a = _features(500, 6, 1)
    assert frechet_distance(a, a + 2.0) == pytest.approx(6 * 4.0, rel=1e-9)
    assert frechet_distance(a - a.mean(0), 3 * (a - a.mean(0))) == pytest.approx(4 * np.trace(np.cov(a.T)), rel=1e-9)


@pytest.mark.parametrize("n", [500, 10])  # 10 samples in 64 dimensions: singular covariances
def test_is_zero_between_equal_sets(n: int) -> None:
    a = _features(n, 64, 2)
    assert frechet_distance(a, a) <= 1e-12 * np.trace(np.cov(a.T))


def test_is_symmetric() -> None:
    a, b = _features(300, 16, 3), _features(200, 16, 4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


@pytest.mark.parametrize("dim", [2, 16, 64])
def test_equals_scipy_sqrtm(dim: int) -> None:
    a, b = _features(1000, dim, 5), _features(700, dim, 6)
    assert frechet_distance(a, b) == pytest.approx(_by_sqrtm(a, b), rel=1e-6)


def test_singular_covariances_match_the_exact_formula() -> None:
    a, b = _features(12, 40, 7), _features(9, 40, 8)
    # Tr (A^T A B^T B)^(1/2) is the sum of the singular values of A B^T, taken here from the samples themselves
    centred_a, centred_b = (x - x.mean(0) for x in (a, b))
    cross = np.linalg.svd(centred_a @ centred_b.T, compute_uv=False).sum() / np.sqrt(11 * 8)
    exact = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-10)
    nudge = 1e-9 * np.eye(40)  # sqrtm alone fails on singular products
    root = scipy.linalg.sqrtm((np.cov(a.T) + nudge) @ (np.cov(b.T) + nudge)).real
    by_sqrtm = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm, rel=1e-4)


def test_no_variance_leaves_the_distance_of_the_means() -> None:
    a, b = np.zeros((5, 3)), np.full((5, 3), 2.0)
    assert frechet_distance(a, b) == pytest.approx(12.0, abs=1e-12)


@pytest.mark.parametrize("size", [1, 7, 300])
def test_moments_do_not_depend_on_the_batch_size(size: int) -> None:
    features = _features(300, 8, 9) + 1e6  # an offset at which sums of squares would lose all digits
    moments = Moments(8)
    for first in range(0, 300, size):
        moments.update(features[first : first + size])
    assert moments.count == 300
    np.testing.assert_allclose(moments.mean, features.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance(), np.cov(features.T), rtol=1e-8)


def test_merged_moments_are_those_of_all_samples() -> None:
    features = _features(50, 4, 10)
    whole, left, right, empty = Moments(4), Moments(4), Moments(4), Moments(4)
    whole.update(features)
    left.update(features[:13])
    right.update(features[13:])
    left.merge(right)
    left.merge(empty)
    left.update(np.zeros((0, 4)))
    assert (left.count, right.count) == (50, 37)
    np.testing.assert_allclose(left.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(left.covariance(), whole.covariance(), rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.full((4, 2), np.nan), np.zeros((4, 2)), "NaN"),
        (np.zeros((4, 2)), np.full((4, 2), np.inf), "infinite"),
        (np.zeros(4), np.zeros((4, 2)), r"\[N, F\]"),
        (np.zeros((4, 2)), np.zeros((4, 3)), "do not fit"),
        (np.zeros((1, 2)), np.zeros((4, 2)), "at least 2 samples"),
    ],
)
def test_bad_features_are_refused_in_a_sentence(a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        frechet_distance(a, b)


def test_moments_of_other_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="4 and of 5"):
        Moments(4).merge(Moments(5))
    with pytest.raises(UsageError, match=r"\[N, 4\]"):
        Moments(4).update(np.zeros((2, 5)))
    with pytest.raises(UsageError, match="do not fit"):
        frechet_from_moments(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
