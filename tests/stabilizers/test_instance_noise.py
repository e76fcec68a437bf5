"""Noise of known size on real and fake, gone at the end of its schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sparring.games.generation import generation_game
from sparring.losses import LOSSES, Labels
from sparring.stabilizers.instance_noise import InstanceNoise
from sparring.turns import Batch, Clock
from tests.stabilizers.toys import Shift, Slope, batch, weights_after
from tests.tools import small_config


def at(progress: float, seed: int = 0) -> Batch:
    return Batch(torch.empty(0), None, torch.empty(0), torch.Generator().manual_seed(seed), Clock(progress=progress))


@pytest.mark.parametrize(("progress", "sigma"), [(0.0, 0.8), (0.25, 0.4), (0.4, 0.16), (0.5, 0.0), (0.7, 0.0)])
def test_sigma_falls_linearly_to_0(progress: float, sigma: float) -> None:
    x = torch.randn(3, 2, 4, 4)
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert_close(InstanceNoise(0.8, 0.5).look(x, at(progress)), x + sigma * noise)


@pytest.mark.parametrize(("sigma", "progress"), [(0.0, 0.0), (0.8, 0.5), (0.8, 1.0)])
def test_without_noise_it_returns_x_and_draws_nothing(sigma: float, progress: float) -> None:
    x, given = torch.randn(3, 2), at(progress)
    before = given.source.get_state()
    assert InstanceNoise(sigma, 0.5).look(x, given) is x
    assert torch.equal(given.source.get_state(), before)


def test_every_look_is_another_draw() -> None:
    x, given, hook = torch.randn(3, 2), at(0.0), InstanceNoise(0.8, 1.0)
    assert not torch.equal(hook.look(x, given), hook.look(x, given))


def test_real_and_fake_are_blurred_in_both_turns() -> None:
    G, D, given = Shift(), Slope(), batch()
    noise = torch.Generator()
    noise.set_state(given.source.get_state())
    d_turn, g_turn = generation_game(G, D, small_config("ring", stabilizer="instance-noise:0.5"), (2,)).turns(Clock())
    first, second, third = (0.5 * torch.randn(4, 2, generator=noise) for _ in range(3))
    signals = d_turn.play(given).signals
    assert_close(signals["real_logits"], D(given.x_real + first).detach())
    assert_close(signals["fake_logits"], D(G(given.z) + second).detach())
    assert_close(g_turn.play(given).signals["fake_logits"], D(G(given.z) + third).detach())


def test_gradients_flow_through_the_noise() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(InstanceNoise(0.5, 1.0).look(x, at(0.0)).sum(), x)
    assert_close(slope, torch.ones(3, 2))


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_best_D_of_two_points_becomes_finite(sigma: float) -> None:
    """Real at +1 and fake at -1 with noise σ: the best logit is log p/q = 2 x / σ² (arXiv:1701.04862, §3)."""
    hook, given = InstanceNoise(sigma, 1.0), at(0.0)
    ones = torch.ones(400_000, dtype=torch.float64)
    x_real, x_fake = hook.look(ones, given), hook.look(-ones, given)

    def slope_at(w: float, noisy: bool) -> float:
        weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        real, fake = (x_real, x_fake) if noisy else (ones, -ones)
        value = LOSSES["non-saturating"].discriminator(weight * real, weight * fake, Labels()).mean()
        (slope,) = torch.autograd.grad(value, weight)
        return float(slope)

    best = 2 / sigma**2
    assert slope_at(best, noisy=True) == pytest.approx(0, abs=0.01)
    assert slope_at(0.8 * best, noisy=True) < -0.01
    assert slope_at(1.2 * best, noisy=True) > 0.01
    assert slope_at(best, noisy=False) < -0.01
    assert slope_at(1.2 * best, noisy=False) < -0.01, "without noise D gains from any steeper slope"


def test_sigma_0_is_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain")
    none = weights_after(tmp_path / "none", stabilizer="instance-noise:0")
    some = weights_after(tmp_path / "some", stabilizer="instance-noise:0.1")
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert not all(torch.equal(plain[name], some[name]) for name in plain)
