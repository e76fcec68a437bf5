"""Importance sampling: steep places are seen more often and count less, so that means stay and their noise falls."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from sparring import train
from sparring.errors import UsageError
from sparring.games.generation import generation_game
from sparring.losses import LOSSES
from sparring.networks import NETWORKS, NetworkSpec, PlayerSpec, build_players
from sparring.randomness import derive_seed, spread_prior
from sparring.stabilizers.importance import Importance, chances, steepness, systematic
from sparring.turns import Batch, Clock, Turn
from tests.stabilizers.toys import Shift, Slope, batch
from tests.tools import ADVERSARIAL, awake, small_config, trainer_for


class Bridge(nn.Module):
    """Two modes at ±1, and between them a bridge as wide as 0.02 of z."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(0.0))

    def forward(self, z: Tensor) -> Tensor:
        across = torch.tanh((z[:, :1] - self.at) / 0.01)
        return torch.cat([across, torch.zeros_like(across)], 1)


class Linear(nn.Module):
    """G(z) = A z."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T


class Still(nn.Module):
    """G(z) = 1."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.ones(len(z), 2)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_where_all_directions_are_alike_steepness_is_the_slope() -> None:
    """|A v| = 3 for every unit v where A's columns are orthogonal and of length 3."""
    columns = torch.linalg.qr(torch.randn(5, 2, generator=source()))[0]
    found = steepness(Linear(3 * columns), torch.randn(6, 2, generator=source()), source(1))
    assert_close(found, torch.full((6,), 3.0))


def test_its_mean_square_is_that_of_the_jacobian() -> None:
    """E |A v|² = ‖A‖² / n."""
    matrix = torch.randn(7, 20, generator=source())
    found = steepness(Linear(matrix), torch.zeros(5000, 20), source(1))
    assert_close(found.square().mean(), matrix.norm().square() / 20, rtol=0.03, atol=0)


@pytest.mark.parametrize("norm", ["none", "virtual"])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_every_G_has_the_slope_of_its_differences(name: str, norm: str) -> None:
    """In float64, between points a millionth apart, along the same directions."""
    shape = (1, 28, 28) if NETWORKS[name].unfit((2,)) else (2,)
    player = PlayerSpec(8, norm)
    G, _ = build_players(name, NetworkSpec(shape, 3, player, PlayerSpec(8, "none")), source())
    G, z = awake(G).double(), torch.randn(4, 3, generator=source()).double()
    directions = functional.normalize(torch.randn(4, 3, generator=source(1)))
    with torch.no_grad():
        true = (G(z + 1e-6 * directions) - G(z - 1e-6 * directions)).flatten(1).norm(dim=1) / 2e-6
        assert_close(steepness(G, z, source(1)), true.float(), rtol=1e-4, atol=1e-6)


def test_a_G_that_ignores_z_is_flat() -> None:
    found = steepness(Still(), torch.randn(4, 2, generator=source()), source())
    assert torch.equal(found, torch.zeros(4))


def test_chances_follow_the_root_of_steepness_and_never_fall_below_a_tenth_of_even() -> None:
    found = chances(torch.tensor([0.0, 1.0, 4.0, 9.0]))
    assert_close(found, 0.9 * torch.tensor([0.0, 1.0, 2.0, 3.0]) / 6 + 0.1 / 4)


def test_where_G_is_nowhere_steep_all_are_alike() -> None:
    assert_close(chances(torch.zeros(8)), torch.full((8,), 1 / 8))


def test_each_is_drawn_as_often_as_its_share_says() -> None:
    """Systematic draws: the count is count · share, rounded up or down, and exactly that on average."""
    shares = torch.tensor([0.05, 0.4, 0.25, 0.3])
    counts = torch.stack([systematic(shares, 6, source(seed)).bincount(minlength=4) for seed in range(4000)])
    expected = 6 * shares
    assert bool((counts >= expected.floor()).all() & (counts <= expected.ceil()).all())
    assert_close(counts.float().mean(0), expected, rtol=0, atol=0.03)


def slopes_of(draws: int, count: int = 64, runs: int = 600) -> Tensor:
    """Return the gradient by the bridge's place, run by run: with importance, or with as many plain latents."""
    G, found = Bridge(), []
    for seed in range(runs):
        z = torch.randn(draws * count, 2, generator=source(seed))
        weights = torch.ones(count)
        if draws > 1:
            z, weights = Importance(draws).latents(G, Batch(z, None, z, source(seed + runs), Clock()))
        found.append(torch.autograd.grad((weights * (1 - G(z)[:, 0]).square()).mean(), G.at)[0])
    return torch.stack(found)


def test_the_mean_gradient_stays_and_its_noise_falls() -> None:
    """Of G = tanh((z - a) / w): d/da of mean (1 - G)², whose mean is ∫ φ(z) 2 (1 - t)(1 - t²)/w dz, near 4 φ(0)."""
    exact = 4 / math.sqrt(2 * math.pi)
    plain, important = slopes_of(1), slopes_of(8)
    for found in (plain, important):
        assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / math.sqrt(len(found))
    assert float(important.var()) < float(plain.var()) / 4


@pytest.mark.parametrize("correction", [0.0, 0.5, 1.0])
def test_weights_are_that_power_of_what_was_drawn_too_often_and_1_on_average(correction: float) -> None:
    """E over the draws, z_i with chance q_i: ∑ q_i w_i = 1. Without correction each is exactly 1."""
    z = torch.randn(1024, 2, generator=source())
    means = []
    for seed in range(200):
        shares = chances(steepness(Bridge(), z, source(seed)))
        drawn, weights = Importance(8, correction).latents(Bridge(), Batch(z, None, z, source(seed), Clock()))
        of_drawn = shares[(drawn[:, None] == z[None]).all(2).float().argmax(1)]
        ones = weights * of_drawn**correction
        assert_close(ones, ones.mean().expand(128))
        means.append(weights.mean())
    assert_close(torch.stack(means).mean(), torch.tensor(1.0), rtol=0.05, atol=0)


def test_in_the_game_the_loss_is_the_weighted_mean_over_what_was_drawn() -> None:
    """On a shift all are alike, so 4 of 16 latents count 1 each."""
    G, D = Shift(), Slope()
    (_, of_G) = generation_game(G, D, small_config("ring", stabilizer="importance:4"), (2,)).turns(Clock())
    assert of_G.draws == 4
    given, z = batch(4), torch.randn(16, 2, generator=source(3))
    payoff = of_G.play(Batch(given.x_real, None, z, source(), Clock()))
    drawn, weights = Importance(4).latents(G, Batch(given.x_real, None, z, source(), Clock()))
    assert_close(weights, torch.ones(4))
    assert_close(payoff.terms["adversarial"], weights * LOSSES["non-saturating"].generator(D(G(drawn)), torch.zeros(4)))
    assert_close(payoff.signals["fake_logits"], weights * D(G(drawn)))


def test_the_trainer_draws_candidates_for_G_alone_and_spreads_them_too(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", stabilizer="importance:4", latents="spread", batch_size=8)
    trainer.progress.step = 3
    _, of_G = trainer.game.turns(trainer._clock())
    real = trainer._real_batch(0)
    assert trainer._batch(real, 0).z.shape == (8, 2)
    z = trainer._batch(real, 1, of_G.draws).z
    assert torch.equal(z, spread_prior("normal", 3 * 32, 32, 2, derive_seed(trainer.config.seed, "spread", 1)))
    assert Turn("G", of_G.play).draws == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"stabilizer": ("importance", "packing:2")}, "importance and packing: the weight of a pack"),
        ({"stabilizer": ("importance", "top-k")}, "importance and top-k: both say"),
        ({"stabilizer": ("importance", "balance-loss")}, "importance and balance-loss: D would be measured"),
    ],
)
def test_what_takes_the_fakes_for_draws_of_the_prior_is_refused(more: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        small_config("ring", **({"stabilizer": "importance"} | more))


@pytest.mark.parametrize(
    ("data", "norm", "why"),
    [("ring", "batch", "statistics of steep places"), ("digits", "layer", "forwards on images")],
)
def test_a_G_that_cannot_have_it_is_refused_before_there_is_a_run(
    data: str, norm: str, why: str, tmp_path: Path
) -> None:
    network = {"ring": "mlp", "digits": "dcgan"}[data]
    with pytest.raises(UsageError, match=f"{why}; give --g.norm none, or --stabilizer none"):
        train(data, out=tmp_path, network=network, stabilizer="importance", g={"norm": norm, "width": 4}, steps=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", ["mlp", "maxout"])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_a_G_of_points_has_it_in_bfloat16_too(network: str, norm: str, tmp_path: Path) -> None:
    settings = {"g": {"norm": norm, "width": 8}, "d": {"width": 8}, "batch_size": 8, "precision": "bf16", "steps": 2}
    run = train("ring", out=tmp_path, network=network, stabilizer="importance", eval_samples=64, **settings)
    assert run.scores(), "it was trained to its last step, and measured there"
