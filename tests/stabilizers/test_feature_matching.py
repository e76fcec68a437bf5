"""G's extra term is the squared distance of two means of D's features, and moves G alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.errors import UsageError
from sparring.games.generation import GenerationTurns
from sparring.losses import LOSSES, Labels
from sparring.networks.layers import FeatureCritic, Logit
from sparring.networks.spec import PlayerSpec
from sparring.stabilizers import STABILIZERS
from sparring.stabilizers.feature_matching import FeatureMatching
from tests.stabilizers.toys import Shift, Slope, batch, setup, view, weights_after
from tests.tools import trainer_for


class Critic(FeatureCritic):
    """f(x) = A x + c, a linear map to three features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Linear(2, 3)
        self.logit = Logit(3, PlayerSpec(1, "none"))


def play(G: nn.Module, D: nn.Module, weight: float, count: int = 4) -> dict[str, Tensor]:
    """Return the terms of G's turn."""
    game = GenerationTurns(G, D, LOSSES["non-saturating"], Labels(), {}, hooks=(FeatureMatching(weight, D),))
    return game.generator_turn(batch(count)).terms


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("count", [2, 64])
def test_closed_form_of_linear_features(weight: float, count: int) -> None:
    """E f(x) - E f(G(z)) = A (x̄ - z̄ - b) =: A r, so the term is λ |A r|² and its derivative by b is -2 λ Aᵀ A r."""
    G, D, given = Shift(), Critic(), batch(count)
    term = play(G, D, weight, count)["feature_matching"]
    A, rest = next(D.parameters()).detach(), (given.x_real.mean(0) - given.z.mean(0) - G.by).detach()
    assert_close(term, torch.full((count,), weight * float((A @ rest).square().sum())))
    (slope,) = torch.autograd.grad(term.mean(), G.by)
    assert_close(slope, -2 * weight * A.T @ A @ rest)


def test_it_is_0_where_the_means_agree_and_points_towards_the_data() -> None:
    G, D, given = Shift(), Critic(), batch()
    with torch.no_grad():
        G.by.copy_(given.x_real.mean(0) - given.z.mean(0))
    term = play(G, D, 1.0)["feature_matching"].mean()
    assert_close(term, torch.zeros(()))
    assert_close(torch.autograd.grad(term, G.by)[0], torch.zeros(2), atol=1e-6, rtol=0)
    with torch.no_grad():
        G.by.add_(1.0)
    before = play(G, D, 1.0)["feature_matching"].mean()
    (slope,) = torch.autograd.grad(before, G.by)
    with torch.no_grad():
        G.by.sub_(0.01 * slope)
    assert play(G, D, 1.0)["feature_matching"].mean() < before


def test_it_sees_more_than_one_mean() -> None:
    """Features 1 and |x| of a pair ±r and of a pair 0, 0: the same mean of x, another one of |x|."""

    class Absolute(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((x, x.abs()), 1)

    D = Critic()
    D.features = Absolute()
    seen = replace(
        view("G", None, torch.zeros(2)), x_real=torch.tensor([[1.0, 2.0], [-1.0, -2.0]]), x_fake=torch.zeros(2, 2)
    )
    assert_close(FeatureMatching(1.0, D).terms(seen)["feature_matching"], torch.full((2,), 1.0 + 4.0))


def test_only_G_has_it_and_the_loss_of_G_stays() -> None:
    G, D = Shift(), Critic()
    terms = play(G, D, 1.0)
    assert list(terms) == ["adversarial", "feature_matching"]
    assert_close(terms["adversarial"], play(G, D, 0.0)["adversarial"])
    game = GenerationTurns(G, D, LOSSES["non-saturating"], Labels(), {}, hooks=(FeatureMatching(1.0, D),))
    assert list(game.discriminator_turn(batch()).terms) == ["adversarial"]


def test_real_and_fake_pass_what_D_is_shown() -> None:
    """Doubling all that D sees makes the term four times as large."""

    class Doubled(FeatureMatching):
        def look(self, x: Tensor, given: object) -> Tensor:
            return 2 * x

    G, D = Shift(), Critic()
    game = GenerationTurns(G, D, LOSSES["non-saturating"], Labels(), {}, hooks=(Doubled(1.0, D),))
    assert_close(
        game.generator_turn(batch()).terms["feature_matching"], 4 * play(G, D, 1.0)["feature_matching"].detach()
    )


def test_no_weight_is_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain")
    none = weights_after(tmp_path / "none", stabilizer=("feature-matching:0",))
    some = weights_after(tmp_path / "some", stabilizer=("feature-matching:1",))
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert any(not torch.equal(plain[name], some[name]) for name in plain)


def test_a_D_without_features_is_refused_with_one_sentence() -> None:
    row = STABILIZERS["feature-matching"]
    assert row.build is not None
    with pytest.raises(UsageError, match=r"--stabilizer feature-matching: .* has no 'features' to match"):
        row.build({"weight": 1.0}, setup())
    assert not isinstance(Slope(), FeatureCritic), "that is the D of this setup"


@pytest.mark.parametrize(("network", "norm"), [("mlp", "none"), ("dcgan", "batch"), ("case-study", "layer")])
def test_every_network_has_features_and_the_game_remembers_none_of_them(
    network: str, norm: str, tmp_path: Path
) -> None:
    player = {"width": 4, "norm": norm}
    settings: dict[str, Any] = {"network": network, "latent_dim": 8, "steps": 2, "g": player, "d": player}
    settings |= {"stabilizer": ("feature-matching",), "penalty": (), "augment": ("translation",), "log_every": 1}
    trainer = trainer_for(tmp_path, "digits", **settings)
    trainer.train()
    assert not trainer.run.events("skipped")
    assert all(row["G/feature_matching"] > 0 for row in trainer.run.events("log"))
    assert trainer.game.memory.state_dict() == {}
