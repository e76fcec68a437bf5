"""Packs hold what went in, m = 1 is the plain game, penalties are per pack and augmentation per sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.augment import augmented
from sparring.games.generation import GenerationTurns
from sparring.losses import LOSSES, Labels
from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.stabilizers.packing import pack, unpack
from sparring.summary import players_of_run
from sparring.turns import Batch
from tests.stabilizers.toys import weights_after
from tests.tools import ADVERSARIAL, small_config, trainer_for


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("m", [1, 2, 3, 6])
@pytest.mark.parametrize("shape", [(2,), (1, 4, 4), (3, 4, 5)], ids=str)
def test_unpack_undoes_pack(m: int, shape: tuple[int, ...]) -> None:
    x = torch.randn(6, *shape, generator=source())
    packs = pack(x, m)
    assert packs.shape == (6 // m, m * shape[0], *shape[1:])
    assert torch.equal(unpack(packs, m), x)
    for i in range(6):
        part = packs[i // m, (i % m) * shape[0] : (i % m + 1) * shape[0]]
        assert torch.equal(part, x[i]), "neighbours share a pack, in their order"


def test_a_pack_of_one_is_the_sample_itself() -> None:
    x = torch.zeros(2, 2)
    assert pack(x, 1) is x
    assert unpack(x, 1) is x


def test_packs_of_one_are_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain, one = weights_after(tmp_path / "a"), weights_after(tmp_path / "b", stabilizer=("packing:1",))
    assert plain.keys() == one.keys()
    assert all(torch.equal(plain[name], one[name]) for name in plain)
    two = weights_after(tmp_path / "c", stabilizer=("packing:2",))
    assert any(plain[name].shape != two[name].shape or not torch.equal(plain[name], two[name]) for name in plain)


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_D_judges_packs_and_G_makes_samples(network: str, tmp_path: Path) -> None:
    trainer = trainer_for(
        tmp_path, "digits", network=network, stabilizer=("packing:2",), g={"width": 4}, d={"width": 4}, batch_size=8
    )
    seen: dict[str, list[tuple[int, ...]]] = {"G": [], "D": []}
    for name, shapes in seen.items():
        player = trainer.players[name].network
        # what goes into D, and what comes out of G
        player.register_forward_hook(
            lambda module, given, made, shapes=shapes, name=name: shapes.append(
                tuple((given[0] if name == "D" else made).shape)
            )
        )
    turns = trainer.game.turns(trainer._clock())
    payoffs = [
        turn.play(trainer._batch(trainer._real_batch(0), index)).terms["adversarial"]
        for index, turn in enumerate(turns)
    ]
    assert set(seen["G"]) == {(8, 1, 28, 28)}
    assert set(seen["D"]) == {(4, 2, 28, 28)}
    assert [tuple(payoff.shape) for payoff in payoffs] == [(4,), (4,)]


def test_networks_are_built_for_packs() -> None:
    spec = NetworkSpec((3, 32, 32), 4, PlayerSpec(4, "none"), PlayerSpec(4, "none"), packing=4)
    assert spec.judged_shape == (12, 32, 32)
    assert small_config("ring", stabilizer="packing:2").network_spec((2,)).judged_shape == (4,)
    G, D = build_players("dcgan", spec, source())
    assert G(torch.zeros(8, 4)).shape == (8, 3, 32, 32)
    assert D(torch.zeros(2, 12, 32, 32)).shape == (2,)


class Slope(nn.Module):
    """D(pack) = w·pack, with ‖w‖² = 30."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def batch(x: Tensor) -> Batch:
    return Batch(x, None, torch.randn(x.shape, generator=source(1)), source(2))


def test_a_penalty_is_per_pack() -> None:
    x = torch.randn(6, 2, generator=source())
    play = GenerationTurns(
        nn.Identity(), Slope(), LOSSES["non-saturating"], Labels(), {"r1": 2.0, "wgan-gp": 1.0}, packing=2
    )
    terms = play.discriminator_turn(batch(x), gain=1.0).terms
    assert_close(terms["r1"], torch.full((3,), 2.0 * 30 / 2))
    assert_close(terms["wgan-gp"], torch.full((3,), (30**0.5 - 1) ** 2))


def test_the_logits_are_those_of_neighbours_together() -> None:
    x, D = torch.randn(6, 2, generator=source()), Slope()
    play = GenerationTurns(nn.Identity(), D, LOSSES["non-saturating"], Labels(), {}, packing=2)
    given = batch(x)
    by_hand = torch.stack([D(torch.cat((x[i], x[i + 1]))) for i in (0, 2, 4)])
    assert_close(play.discriminator_turn(given).signals["real_logits"], by_hand.detach())
    fakes = torch.stack([D(torch.cat((given.z[i], given.z[i + 1]))) for i in (0, 2, 4)])
    assert_close(play.generator_turn(given).signals["fake_logits"], fakes.detach())


def test_augmentation_changes_each_sample_by_itself() -> None:
    seen: list[Tensor] = []

    class Record(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.flatten(1).sum(1)

    x = torch.ones(8, 1, 8, 8)
    play = GenerationTurns(
        nn.Identity(), Record(), LOSSES["non-saturating"], Labels(), {}, augmentations=("cutout",), packing=2
    )
    play.discriminator_turn(Batch(x, None, x, source(2)))
    singles = augmented(x, ("cutout",), source(2))
    assert torch.equal(seen[0], pack(singles, 2))
    holes = seen[0] == 0
    assert any(not torch.equal(hole[0], hole[1]) for hole in holes), "two samples of a pack have holes of their own"


def test_info_shows_a_D_that_judges_packs(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "digits", network="case-study", stabilizer=("packing:2",), steps=1)
    trainer.train()
    _, players = players_of_run(trainer.run.path)
    assert players["G"][-1].shape == (1, 28, 28)
    assert players["D"][0].shape == (8, 14, 14)
    assert players["D"][0].parameters == 2 * 25 * 8 + 8, "two samples are two channels"
    assert players["D"][0].flops == 2 * 2 * 25 * 8 * 14 * 14
