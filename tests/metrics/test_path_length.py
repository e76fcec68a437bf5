from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.metrics.path_length import path_length, slerp

DIM = 16


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _linear(scale: float) -> Tensor:
    """Return a matrix ``[DIM, 20]`` whose columns are orthonormal up to a scale, seen from z."""
    random = torch.randn(20, DIM, generator=torch.Generator().manual_seed(0))
    return scale * torch.linalg.qr(random)[0].T


def test_a_linear_generator_on_straight_paths() -> None:
    """|A (z_b - z_a)|² for every t and eps; its mean is |A|² · 2/3, the variance of U(-1, 1) being 1/3."""
    A = _linear(3.0)
    for eps in (1e-4, 1e-2):
        found = path_length(lambda z: z @ A, _as_it_is, DIM, "uniform", pairs=4000, eps=eps)
        assert found.low < 9 * DIM * 2 / 3 < found.high
        assert found.high - found.low < 0.04 * found


def test_a_linear_generator_on_great_arcs() -> None:
    """In many dimensions z_a and z_b have length sqrt(D) and are orthogonal: the speed on the arc is sqrt(D) π / 2."""
    found = path_length(lambda z: 2 * z, _as_it_is, 512, "normal", pairs=1000)
    assert found == pytest.approx(4 * 512 * (math.pi / 2) ** 2, rel=0.02)


def test_float32_costs_few_digits() -> None:
    A = _linear(1.0)
    short = path_length(lambda z: z @ A, _as_it_is, DIM, "normal")
    exact = path_length(lambda z: z.double() @ A.double(), _as_it_is, DIM, "normal")
    assert short == pytest.approx(exact, rel=1e-3)


def test_features_are_what_is_measured() -> None:
    whole = path_length(lambda z: z, _as_it_is, DIM, "uniform", pairs=500)
    assert path_length(lambda z: z, lambda x: 3 * x + 5, DIM, "uniform", pairs=500) == pytest.approx(
        9 * whole, rel=1e-2
    )
    maps = path_length(lambda z: z, lambda x: x.reshape(-1, 4, 2, 2), DIM, "uniform", pairs=500)
    assert (maps, maps.low) == (whole, whole.low)
    assert path_length(lambda z: z, lambda x: 0 * x, DIM, "uniform", pairs=500) == 0


def test_a_kink_in_the_generator_lengthens_the_path() -> None:
    smooth = path_length(lambda z: z[:, :1], _as_it_is, DIM, "normal", pairs=4000)
    jumpy = path_length(lambda z: z[:, :1] + (z[:, :1] > 0), _as_it_is, DIM, "normal", pairs=4000, eps=1e-2)
    assert jumpy.low > 3 * smooth


def test_the_same_seed_measures_the_same() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (path_length(lambda z: z**2, _as_it_is, 4, "normal", 100, seed) for seed in (1, 1, 2))
    assert (first, first.low, first.high) == (again, again.low, again.high)
    assert other != first
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_pair_counts_once_however_they_are_cut_into_batches() -> None:
    seen = []
    path_length(lambda z: z, lambda x: seen.append(len(x)) or x, 3, "normal", pairs=130)  # type: ignore[func-returns-value]
    assert sum(seen) == 2 * 130


def test_arcs_keep_the_length_and_the_speed() -> None:
    random = torch.randn(2, 50, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z_a, z_b = torch.nn.functional.normalize(random, dim=2) * 3
    t = torch.linspace(0, 1, 50, dtype=torch.float64).unsqueeze(1)
    at, further = slerp(z_a, z_b, t), slerp(z_a, z_b, t + 1e-6)
    torch.testing.assert_close(at.norm(dim=1), torch.full((50,), 3.0, dtype=torch.float64))
    angle = torch.acos((z_a * z_b).sum(1) / 9)
    torch.testing.assert_close((further - at).norm(dim=1) / 1e-6, 3 * angle, rtol=1e-5, atol=0)
    torch.testing.assert_close(slerp(z_a, z_b, 0 * t), z_a)
    torch.testing.assert_close(slerp(z_a, z_b, 0 * t + 1), z_b)


def test_paths_between_parallel_latents_are_straight() -> None:
    z = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    half = torch.full((1, 1), 0.5, dtype=torch.float64)
    torch.testing.assert_close(slerp(z, 2 * z, half), 1.5 * z)
    assert slerp(z, -z, half).isfinite().all()


@pytest.mark.parametrize(("pairs", "eps"), [(1, 1e-4), (10, 0.0), (10, 1.0)])
def test_what_cannot_be_measured_is_said(pairs: int, eps: float) -> None:
    with pytest.raises(UsageError, match="Path length"):
        path_length(_as_it_is, _as_it_is, 2, "normal", pairs, 0, eps)


def test_a_diverged_generator_is_said() -> None:
    with pytest.raises(UsageError, match="diverged"):
        path_length(lambda z: z / 0, _as_it_is, 2, "normal", 10)
