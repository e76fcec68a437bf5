"""A turn is the paper's step, and touches nobody but its player."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.config import TrainConfig
from sparring.games import Batch, Clock, Turn
from sparring.games.generation import generation_game
from sparring.losses import LOSSES, Loss
from sparring.networks import build_players
from sparring.theory import EQUILIBRIUM_VALUE, value_function
from tests.tools import ADVERSARIAL, LOSS_SETTINGS, small_config, trainer_for


def batch(count: int = 4) -> Batch:
    source = torch.Generator().manual_seed(0)
    return Batch(
        torch.randn(count, 2, generator=source),
        None,
        torch.randn(count, 2, generator=source),
        source,
    )


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor([0.5, -0.5]))

    def forward(self, z: Tensor) -> Tensor:
        return z + self.by


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def config(**settings: object) -> TrainConfig:
    return small_config("ring", network="mlp", **settings)


def turns_of(G: nn.Module, D: nn.Module, **settings: object) -> tuple[Turn, ...]:
    """Return the turns of the first step."""
    return generation_game(G, D, config(**settings), (2,)).turns(Clock())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_payoffs_are_the_losses_of_the_logits(loss: Loss) -> None:
    G, D, given = Shift(), Slope(), batch()
    settings = LOSS_SETTINGS.get(loss.name, {})
    d_turn, g_turn = turns_of(G, D, loss=loss.name, **settings)
    real, fake = D(given.x_real), D(G(given.z))
    labels = config(loss=loss.name, **settings).labels
    assert_close(d_turn.play(given).terms["adversarial"], loss.discriminator(real, fake, labels))
    assert_close(g_turn.play(given).terms["adversarial"], loss.generator(fake, real))


def test_d_turn_gives_no_gradient_to_G_and_g_turn_flows_through_D() -> None:
    G, D = Shift(), Slope()
    d_turn, g_turn = turns_of(G, D)
    d_loss = d_turn.play(batch()).terms["adversarial"].sum()
    assert torch.autograd.grad(d_loss, G.by, allow_unused=True)[0] is None
    g_loss = g_turn.play(batch()).terms["adversarial"].sum()
    assert torch.autograd.grad(g_loss, G.by)[0].abs().sum() > 0


def test_penalty_weight_is_the_coefficient() -> None:
    terms = turns_of(Shift(), Slope(), penalty=("r1:0.1", "r2:3"))[0].play(batch()).terms
    assert_close(terms["r1"], torch.full((4,), 0.1 * 12.5))  # |w| = 5, so R1 = 25/2
    assert_close(terms["r2"], torch.full((4,), 3 * 12.5))


@pytest.mark.parametrize("k", [1, 5])
def test_k_turns_of_D_then_one_of_G(k: int) -> None:
    turns = turns_of(Shift(), Slope(), d={"steps": k})
    assert [turn.player for turn in turns] == ["D"] * k + ["G"]


def test_value_function_at_equilibrium() -> None:
    assert_close(value_function(torch.zeros(3), torch.zeros(3)), torch.full((3,), EQUILIBRIUM_VALUE))
    signals = turns_of(Shift(), Slope())[0].play(batch()).signals
    assert_close(signals["value"], signals["real_prob"].log() + (1 - signals["fake_prob"]).log())


@pytest.mark.parametrize("loss", LOSSES)
def test_probabilities_are_shown_only_where_sigmoid_gives_one(loss: str) -> None:
    game = turns_of(Shift(), Slope(), loss=loss, **LOSS_SETTINGS.get(loss, {}))
    assert ("real_prob" in game[0].play(batch()).signals) == LOSSES[loss].probability


def test_accuracy_counts_both_sides() -> None:
    D = Slope()
    given = batch(1000)
    signals = turns_of(Shift(), D)[0].play(given).signals
    real, fake = signals["real_logits"] > 0, signals["fake_logits"] < 0
    assert_close(signals["accuracy"].mean(), (real.float().mean() + fake.float().mean()) / 2)


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def differs(before: dict[str, Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_each_turn_leaves_the_other_player_equal_to_the_bit(network: str, tmp_path: Path) -> None:
    """LECTURES G9, running statistics of batch norm included."""
    trainer = trainer_for(
        tmp_path, "digits", network=network, g={"norm": "batch", "width": 4}, d={"norm": "batch", "width": 4}
    )
    players = {name: player.network for name, player in trainer.players.items()}
    for index, turn in enumerate(trainer.game.turns(Clock())):
        other = "G" if turn.player == "D" else "D"
        mine, theirs = state(players[turn.player]), state(players[other])
        trainer._play(turn, trainer._batch(trainer._real_batch(0), index))
        assert differs(mine, players[turn.player])
        assert not differs(theirs, players[other])


def test_weight_clipping_bounds_every_weight_after_the_turn(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", loss="wasserstein", network="mlp", d={"weight_clip": 0.01, "lr": 0.1})
    trainer.play_step()
    largest = max(float(weight.detach().abs().max()) for weight in trainer.players["D"].network.parameters())
    assert largest == pytest.approx(0.01)


def test_networks_are_built_by_name_from_the_table() -> None:
    spec = config().network_spec((2,))
    G, D = build_players("mlp", spec, torch.Generator().manual_seed(0))
    assert generation_game(G, D, config(), (2,)).players == {"G": G, "D": D}
