from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from sparring.errors import UsageError
from sparring.metrics.spread import SCALE_WEIGHTS, feature_spread, mean_ms_ssim, ms_ssim, vendi_score


def _images(count: int, side: int, seed: int = 0, channels: int = 1) -> torch.Tensor:
    """Return smooth random pictures ``[N, C, side, side]`` in [-1, 1]."""
    noise = np.random.default_rng(seed).standard_normal((count, channels, side, side))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 0, 2, 2))
    return torch.tensor(np.tanh(5 * smooth), dtype=torch.float32)


def _naive_parts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return luminance and contrast-structure of two pictures ``[H, W]`` by scipy, window 11, sigma 1.5, range 2."""

    def blur(x: np.ndarray) -> np.ndarray:
        whole: np.ndarray = scipy.ndimage.gaussian_filter(x, 1.5, truncate=5 / 1.5)
        return whole[5:-5, 5:-5]

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * cov + c2) / (var_a + var_b + c2)


def _naive(a: np.ndarray, b: np.ndarray, scales: int) -> float:
    weights, product = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales]), 1.0
    for scale, weight in enumerate(weights):
        luminance, structure = _naive_parts(a, b)
        part = (structure * luminance if scale + 1 == scales else structure).mean()
        product *= max(part, 0) ** weight
        a, b = (x[: len(x) // 2 * 2, : len(x) // 2 * 2] for x in (a, b))
        a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return float(product)


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (21, 1), (22, 2), (28, 2), (45, 3), (64, 3), (96, 4), (180, 5)])
def test_is_that_of_a_naive_one_at_as_many_scales_as_fit(side: int, scales: int) -> None:
    x_a = _images(2, side, 1)
    x_b = (0.7 * x_a + 0.3 * _images(2, side, 2)).clamp(-1, 1)
    expected = [_naive(a[0].double().numpy(), b[0].double().numpy(), scales) for a, b in zip(x_a, x_b, strict=True)]
    assert ms_ssim(x_a, x_b).tolist() == pytest.approx(expected, abs=1e-10)


def test_equal_images_score_1_and_opposite_ones_0() -> None:
    x = _images(3, 32)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(3, dtype=torch.float64))
    assert (ms_ssim(x, -x) == 0).all()
    torch.testing.assert_close(ms_ssim(x, x.flip(0)), ms_ssim(x.flip(0), x))


def test_more_noise_is_less_alike() -> None:
    x, noise = _images(1, 48), torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    similarities = [float(ms_ssim(x, x + scale * noise)) for scale in (0.0, 0.05, 0.2, 1.0)]
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] == pytest.approx(1)
    assert similarities[-1] < 0.7


def test_flat_images_differ_by_their_luminance_only() -> None:
    a, b = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 0.25)
    c1 = (0.01 * 2) ** 2
    assert float(ms_ssim(a, b)) == pytest.approx((2 * 0.5 * 0.25 + c1) / (0.5**2 + 0.25**2 + c1), abs=1e-9)


def test_channels_are_averaged() -> None:
    x = _images(1, 16, channels=3)
    y = 0.6 * x + 0.4 * x.flip(3)
    grey = torch.stack([ms_ssim(x[:, [c]], y[:, [c]]) for c in range(3)])
    assert (grey > 0).all()
    torch.testing.assert_close(ms_ssim(x, y), grey.mean(0))


def test_the_mean_over_all_pairs_is_that_of_a_loop() -> None:
    x = _images(7, 16)
    every = [float(ms_ssim(x[[i]], x[[j]])) for i in range(7) for j in range(i)]
    assert mean_ms_ssim(x, pairs=1000) == pytest.approx(np.mean(every))
    assert mean_ms_ssim(x, pairs=5, seed=1) != pytest.approx(np.mean(every), abs=1e-9)


def test_a_collapse_is_seen() -> None:
    wide = mean_ms_ssim(_images(40, 16), pairs=200)
    collapsed = mean_ms_ssim((_images(1, 16) + 0.02 * _images(40, 16, 5)).clamp(-1, 1), pairs=200)
    assert wide.high < 0.3
    assert collapsed.low > 0.9
    assert collapsed.high <= 1
    nothing = mean_ms_ssim(_images(1, 16).expand(10, -1, -1, -1))
    assert (nothing, nothing.low) == pytest.approx((1, 1))


@pytest.mark.parametrize(("count", "held_at_least"), [(20, 0.87), (200, 0.91)])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(count: int, held_at_least: float) -> None:
    """Two samples of N(0, I) in the plane lie sqrt(π) apart, in the mean."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        found = feature_spread(rng.standard_normal((count, 2)))
        held += found.low <= np.pi**0.5 <= found.high
    assert held_at_least < held / 300 < 0.985


def test_feature_spread_is_the_mean_distance() -> None:
    x = np.random.default_rng(0).standard_normal((61, 5))
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)[np.triu_indices(61, 1)]
    assert feature_spread(x) == pytest.approx(distances.mean())
    assert feature_spread(10 * x + 3) == pytest.approx(10 * distances.mean())
    many = np.random.default_rng(0).standard_normal((2000, 5))
    assert feature_spread(many, seed=1) == pytest.approx(feature_spread(many, seed=2), rel=0.01)
    assert feature_spread(many, seed=1) != feature_spread(many, seed=2)
    assert feature_spread(np.zeros((9, 5))) == 0


def test_vendi_counts_what_is_different() -> None:
    assert vendi_score(np.ones((10, 4))) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(5), 8, axis=0)) == pytest.approx(5)
    p = np.array([0.75, 0.25])
    uneven = vendi_score(np.repeat(np.eye(3)[:2], [60, 20], axis=0))
    assert uneven == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert uneven.low < uneven < uneven.high
    x = np.random.default_rng(0).standard_normal((30, 40))
    scaled = x * np.random.default_rng(1).uniform(1, 9, (30, 1))
    assert vendi_score(scaled) == pytest.approx(vendi_score(x)), "directions count, lengths do not"
    kernel = np.corrcoef(np.c_[x, -x])  # rows of mean 0, so that correlations are cosines
    values = np.linalg.eigvalsh(kernel / 30)
    values = values[values > 1e-12]
    assert vendi_score(x) == pytest.approx(np.exp(-(values * np.log(values)).sum()))


def test_vendis_interval_is_that_of_leaving_samples_out() -> None:
    x = np.random.default_rng(0).standard_normal((200, 4)) * [3, 2, 1, 1] + 1
    left_out = [float(vendi_score(np.delete(x, i, axis=0))) for i in range(200)]
    error = np.std(left_out) * 199 / 200**0.5
    found = vendi_score(x)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(error, rel=0.03)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 1, 10, 30), (2, 1, 10, 30)), ((2, 1, 16, 16), (3, 1, 16, 16)), ((16, 16), (16, 16))]
)
def test_images_that_cannot_be_compared_are_said(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="MS-SSIM"):
        ms_ssim(torch.zeros(a), torch.zeros(b))


def test_too_few_samples_are_said() -> None:
    with pytest.raises(UsageError, match="4 or more"):
        mean_ms_ssim(_images(3, 16))
    with pytest.raises(UsageError, match="4 or more"):
        feature_spread(np.zeros((3, 2)))
    with pytest.raises(UsageError, match="all zero"):
        vendi_score(np.zeros((4, 2)))
