from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from sparring.errors import UsageError
from sparring.metrics import frechet, moments
from sparring.metrics.frechet import (
    Moments,
    Reference,
    frechet_distance,
    frechet_from_moments,
    intra_class_frechet,
)
from sparring.metrics.moments import contrasts, scatter


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


def test_equals_torchmetrics() -> None:
    """torchmetrics 1.9.0, image/fid.py: _compute_fid of these two sets, computed apart."""
    a = np.add.outer(np.arange(40), np.arange(6) ** 2) ** 1.5 % 7
    b = np.add.outer(3 * np.arange(30), np.arange(6) ** 2) ** 1.5 % 5
    assert frechet_distance(a, b) == pytest.approx(13.333536718607277, rel=1e-12)


SIZES = [(300, 200, 16), (12, 200, 40), (200, 12, 40), (12, 9, 40), (9, 12, 40), (40, 40, 40), (41, 41, 40), (2, 2, 5)]


@pytest.mark.parametrize(("n", "m", "dim"), SIZES)
def test_few_samples_by_their_products_equal_many_by_their_covariance(n: int, m: int, dim: int) -> None:
    a, b = _features(n, dim, 1), _features(m, dim, 2)
    by_covariance = frechet_from_moments(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    scale = np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    assert frechet_distance(a, b) == pytest.approx(by_covariance, abs=1e-10 * scale)
    assert frechet_distance(b, a) == pytest.approx(by_covariance, abs=1e-10 * scale)
    assert frechet_distance(a, b, interval=False) == pytest.approx(by_covariance, abs=1e-10 * scale)


@pytest.mark.parametrize(("n", "m", "dim"), SIZES)
def test_a_set_is_at_0_from_itself(n: int, m: int, dim: int) -> None:
    for a in (_features(n, dim, 1), _features(m, dim, 2) + 1e3):
        assert 0 <= frechet_distance(a, a[::-1]) <= 1e-11 * np.trace(np.cov(a.T))


@pytest.mark.parametrize("spectrum", [-1.0, -4.0, -8.0])
def test_a_spectrum_of_many_orders_keeps_its_digits(spectrum: float) -> None:
    """Eigenvalues 1e-16 of the largest: their roots are taken without squaring."""
    deviations = np.geomspace(1, 10.0**spectrum, 60)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))[0]
    covariances = [basis @ np.diag((factor * deviations) ** 2) @ basis.T for factor in (1.0, 3.0)]
    found = frechet_from_moments(np.zeros(60), covariances[0], np.ones(60), covariances[1])
    assert found == pytest.approx(60 + 4 * np.sum(deviations**2), rel=1e-12)
    assert frechet_from_moments(np.zeros(60), covariances[0], np.zeros(60), covariances[0]) <= 1e-9


@pytest.mark.parametrize("dead", [1, 20])
def test_features_that_never_fire_add_nothing(dead: int) -> None:
    a, b = _features(300, 30, 1), _features(200, 30, 2)
    silent = [np.concatenate([each, np.zeros((len(each), dead))], axis=1) for each in (a, b)]
    assert frechet_distance(*silent) == pytest.approx(frechet_distance(a, b), rel=1e-11)


def test_singular_values_take_over_where_roots_of_eigenvalues_lose_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    svdvals = torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda matrix: asked.append(matrix.shape) or svdvals(matrix))
    a, b = _features(300, 30, 1), _features(300, 30, 2)
    quick = frechet_distance(a, b)
    assert not asked
    monkeypatch.setattr(frechet, "EXACT", 0.0)
    assert quick == pytest.approx(frechet_distance(a, b), rel=1e-13)
    assert asked == [(30, 30)]
    monkeypatch.setattr(frechet, "EXACT", 1e-11)
    b[:, :10] *= 1e-6
    frechet_distance(a, b)
    assert len(asked) == 2


def test_a_reference_measures_many_sets_and_takes_tensors() -> None:
    b = _features(400, 12, 0)
    reference = Reference.of(torch.from_numpy(b))
    for seed in (1, 2):
        a = _features(200, 12, seed)
        assert reference.distance(torch.from_numpy(a)) == frechet_distance(a, b)
    np.testing.assert_allclose(reference.root @ reference.root.T, np.cov(b.T), rtol=1e-10, atol=1e-12)
    assert reference.distance(b.astype(np.float32)) < 1e-9
    with pytest.raises(UsageError, match=r"\[N, 12\]"):
        reference.distance(np.zeros((4, 3)))


@pytest.mark.parametrize("units", [torch.float32, torch.bfloat16])
def test_wide_float32_is_multiplied_in_fewer_bits(units: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float32, or of integers where there are matrix units, agree with those in float64."""
    monkeypatch.setattr(moments, "product_dtype", lambda device: units)
    rng = np.random.default_rng(0)
    world = rng.standard_normal((600, 600)) / np.arange(1, 601) ** 0.5
    a, b = (np.maximum(rng.standard_normal((2000, 600)) @ world.T + 0.5, 0).astype(np.float32) for _ in "ab")
    assert scatter(torch.from_numpy(a), torch.zeros(600, dtype=torch.float64)).dtype == torch.float64
    exact = frechet_distance(a.astype(np.float64), b.astype(np.float64), interval=False)
    narrow = frechet_distance(a, b, interval=False)
    assert 0 < abs(narrow / exact - 1) < 1e-6


def test_float32_is_not_multiplied_in_the_fewer_bits_that_a_user_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "product_dtype", lambda device: torch.float32)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    a, b = (_features(700, 600, seed).astype(np.float32) for seed in (0, 1))
    exact = frechet_distance(a.astype(np.float64), b.astype(np.float64), interval=False)
    assert frechet_distance(a, b, interval=False) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("wide", [2, 512])
def test_scatter_is_that_of_weighted_differences(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_WIDE", wide)
    monkeypatch.setattr(moments, "_CHUNK", 7)
    rng = np.random.default_rng(0)
    x, centre, weights = rng.standard_normal((30, 9)), rng.standard_normal(9), rng.random(30)
    found = scatter(*(torch.from_numpy(each) for each in (x, centre, weights)))
    np.testing.assert_allclose(found, (x - centre).T @ np.diag(weights) @ (x - centre), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_scatter_by_integers_is_that_of_features_in_fixed_point(
    weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is that of rounding to 32,000 steps, and falls with the root of the count; often 0 costs nothing."""
    monkeypatch.setattr(moments, "_SUMMED", 700)
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((3000, 12)) + np.linspace(-1, 100, 12), 0).astype(np.float32)
    x[:, 3] = 7  # constant
    centre, weights = x.mean(0, dtype=np.float64) + 0.01, rng.random(3000) if weighted else np.ones(3000)
    exact = (x - centre).T @ (weights[:, None] * (x - centre))
    monkeypatch.setattr(moments, "product_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(moments, "_WIDE", 2)
    monkeypatch.setattr(moments, "_of_floats", None)
    found = scatter(torch.from_numpy(x), torch.from_numpy(centre), torch.from_numpy(weights) if weighted else None)
    size = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    assert np.abs(np.diagonal(found) / exact.diagonal() - 1).max() < 2e-6
    assert np.abs((found.numpy() - exact) / size).max() < 1e-5


def test_integers_are_not_taken_where_most_values_would_share_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "product_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(moments, "_WIDE", 2)
    x = torch.from_numpy(_features(30_000, 3, 0)).float()
    x[7, 1] = 1e6
    nowhere = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(scatter(x, nowhere), moments._of_floats(x, nowhere, None, torch.float32))


@pytest.mark.parametrize("scale", [1e-22, 1e22])
def test_squares_that_float32_does_not_hold_are_taken_in_float64(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_WIDE", 2)
    x = torch.from_numpy(_features(500, 3, 0) * scale).float()
    nowhere = torch.zeros(3, dtype=torch.float64)
    np.testing.assert_allclose(scatter(x, nowhere), x.double().T @ x.double(), rtol=1e-12)


def test_contrasts_have_the_scatter_of_the_samples() -> None:
    x = _features(20, 6, 0) + 1e4
    found = contrasts(torch.from_numpy(x))
    assert found.shape == (19, 6)
    np.testing.assert_allclose(found.T @ found, 19 * np.cov(x.T), rtol=1e-9)


def test_the_interval_is_as_wide_as_other_samples_are_apart() -> None:
    """The infinitesimal jackknife beside fresh samples and beside the bootstrap, whose own bias is why it is not used."""
    rng = np.random.default_rng(0)
    reference = Reference.of(_features(2000, 8, 1))
    world = rng.standard_normal((8, 8))

    def draw(count: int) -> np.ndarray:
        return rng.standard_normal((count, 8)) @ world + 0.5

    found = [reference.distance(draw(500)) for _ in range(150)]
    spread = np.std(found)
    errors = [(each.high - each) / 1.959964 for each in found]
    assert 0.85 * spread < np.mean(errors) < 1.2 * spread
    sample = draw(500)
    redrawn = [reference.distance(sample[rng.integers(0, 500, 500)], interval=False) for _ in range(200)]
    ours = reference.distance(sample)
    assert np.std(redrawn) == pytest.approx((ours.high - ours) / 1.959964, rel=0.25)
    assert ours.interval == "infinitesimal jackknife"
    assert ours.low < ours < ours.high


@pytest.mark.parametrize(("n", "m"), [(60, 500), (60, 40), (40, 40)])
def test_the_interval_of_few_samples_is_of_the_right_size(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    reference = Reference.of(_features(m, 80, 1))
    found = [reference.distance(3 * rng.standard_normal((n, 80))) for _ in range(40)]
    spread = np.std(found)
    assert 0.6 * spread < np.mean([(each.high - each) / 1.959964 for each in found]) < 1.8 * spread


def test_influence_is_the_derivative_by_a_samples_weight() -> None:
    """Doubling one sample moves the distance by its influence over the count; so their deviation is the interval's."""
    a, b = _features(3000, 4, 1), _features(500, 4, 2)
    reference = Reference.of(b)
    base = reference.distance(a)
    moved = [reference.distance(np.concatenate([a, a[i : i + 1]]), interval=False) - base for i in range(0, 3000, 10)]
    error = 3000 * np.std(moved) / math.sqrt(3000)
    assert (base.high - base) / 1.959964 == pytest.approx(error, rel=0.1)


def test_intra_class_distance_is_the_mean_over_classes() -> None:
    a, b = _features(90, 5, 1), _features(70, 5, 2)
    of_a, of_b = np.arange(90) % 3, np.arange(70) % 3
    each = [frechet_distance(a[of_a == k], b[of_b == k]) for k in range(3)]
    found = intra_class_frechet(a, of_a, b, torch.from_numpy(of_b))
    assert found == pytest.approx(np.mean(each), rel=1e-12)
    assert found.high - found == pytest.approx(math.hypot(*(one.high - one for one in each)) / 3, rel=1e-9)
    assert intra_class_frechet(a, of_a, a, of_a) <= 1e-9


def test_intra_class_distance_sees_what_the_whole_does_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    a = rng.standard_normal((400, 3)) + 4 * labels[:, None]
    assert frechet_distance(a, a) < 1e-9
    assert intra_class_frechet(a, labels, a, 1 - labels) == pytest.approx(3 * 16, rel=0.1)


@pytest.mark.parametrize(
    ("of_a", "of_b", "words"),
    [
        ([0, 0, 1, 1], [0, 0, 0, 0], "class 1 has 2 generated and 0 reference samples"),
        ([0, 0, 0, 1], [0, 0, 1, 1], "class 1 has 1 generated and 2 reference"),
        ([0, 0, 0], [0, 0, 0, 0], "one integer per sample"),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0], "one integer per sample"),
    ],
)
def test_classes_that_cannot_be_compared_are_refused(of_a: list[float], of_b: list[int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        intra_class_frechet(np.eye(4), of_a, np.eye(4), of_b)


@pytest.mark.gpu
@pytest.mark.parametrize(("n", "m"), [(300, 200), (12, 200), (200, 12)])
def test_a_gpu_finds_the_same(n: int, m: int) -> None:
    a, b = torch.from_numpy(_features(n, 40, 1)), torch.from_numpy(_features(m, 40, 2))
    found, expected = frechet_distance(a.cuda(), b.cuda()), frechet_distance(a, b)
    assert (found, found.high) == pytest.approx((expected, expected.high), rel=1e-9)
    moments = Moments(40)
    moments.update(a.cuda())
    np.testing.assert_allclose(moments.covariance(), np.cov(a.T), rtol=1e-9)
