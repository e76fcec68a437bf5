"""Lazy penalties are the eager ones on average, and one pass of D over real and fake is two passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.games import Batch, Clock, Turn
from sparring.games.generation import GenerationTurns, generation_game
from sparring.losses import LOSSES, Labels
from sparring.networks import build_players
from tests.stabilizers.toys import Shift, Slope, batch
from tests.tools import small_config, trainer_for


def turns_of_D(steps: int, D: nn.Module | None = None, **settings: Any) -> list[list[Turn]]:
    """Return D's turns of each of the first steps."""
    config = small_config("ring", loss="non-saturating", **{"penalty": ("r1:0.5",)} | settings)
    game = generation_game(Shift(), D or Slope(), config, (2,))
    every = [game.turns(Clock(step, progress=step / 100)) for step in range(steps)]
    return [[turn for turn in turns if turn.player == "D"] for turns in every]


def penalized(turn: Turn) -> bool:
    return "r1" in turn.play(batch()).terms


def pull(turn: Turn, D: Slope) -> Tensor:
    """Return what a turn's penalty adds to D's gradient."""
    terms = turn.play(batch()).terms
    if "r1" not in terms:
        return torch.zeros_like(D.weight)
    return torch.autograd.grad(terms["r1"].mean(), D.weight)[0]


@pytest.mark.parametrize("every", [1, 2, 4, 16])
@pytest.mark.parametrize("steps_of_D", [1, 2, 4])
def test_over_n_turns_the_lazy_penalty_pulls_as_much_as_the_eager_one(every: int, steps_of_D: int) -> None:
    """R1 of a linear critic is the same on every batch, so the means over n turns in a row are equal, wherever they begin."""
    D = Slope()
    settings: dict[str, Any] = {"d": {"steps": steps_of_D}}
    lazy = [pull(turn, D) for turns in turns_of_D(32, D, penalty_every=every, **settings) for turn in turns]
    (eager,) = {tuple(pull(turn, D).tolist()) for turns in turns_of_D(2, D, **settings) for turn in turns}
    for first in range(len(lazy) - every):
        assert_close(torch.stack(lazy[first : first + every]).mean(0), torch.tensor(eager))
    assert_close(torch.tensor(eager), 0.5 * D.weight.detach())  # ∇ of ½ · ½ |w|²


def test_the_weight_is_n_times_as_large_in_the_turn_that_has_it() -> None:
    ((turn,), (other,)) = turns_of_D(2, penalty_every=2)
    assert_close(turn.play(batch()).terms["r1"], torch.full((4,), 2 * 0.5 * 12.5))  # |w| = 5, so R1 = 25/2
    assert list(other.play(batch()).terms) == ["adversarial"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"penalty_every": 3}, ["1", "0", "0", "1", "0", "0"]),
        ({"penalty_every": 3, "d": {"steps": 2}}, ["10", "01", "00", "10", "01", "00"]),
        ({"penalty_every": 2, "d": {"steps": 3}}, ["101", "010", "101"]),
        ({"penalty_every": 4, "d": {"steps": 2}}, ["10", "00", "10", "00"]),
        ({"penalty_every": 3, "alternate": 2, "d": {"steps": 2}}, ["1001", "", "0010", ""]),
    ],
)
def test_the_schedule_counts_D_s_turns_and_the_others_stay_inexact(
    settings: dict[str, Any], expected: list[str]
) -> None:
    steps = turns_of_D(len(expected), **settings)
    assert ["".join(str(int(penalized(turn))) for turn in turns) for turns in steps] == expected
    assert all(turn.exact == penalized(turn) for turns in steps for turn in turns)


def test_without_a_penalty_no_turn_is_exact() -> None:
    assert not any(turn.exact for turns in turns_of_D(3, penalty=()) for turn in turns)


def test_burn_in_scales_the_lazy_penalty_too() -> None:
    settings: dict[str, Any] = {"penalty_every": 2, "burn_in": {"share": 0.5, "penalty": 10.0}}
    first = turns_of_D(1, **settings)[0][0].play(batch()).terms["r1"]
    assert_close(first, torch.full((4,), 10 * 2 * 0.5 * 12.5))


def test_a_lazy_run_differs_from_an_eager_one_in_the_second_turn(tmp_path: Path) -> None:
    """The first turn has n times the penalty; every 1 is the eager run to the bit."""

    def weights(name: str, **settings: Any) -> list[Tensor]:
        trainer = trainer_for(tmp_path / name, "ring", penalty=("r1:1",), **settings)
        for _ in range(3):
            trainer.play_step()
        return [value.detach().clone() for value in trainer.players["D"].network.parameters()]

    eager, every_turn, lazy = weights("eager"), weights("one", penalty_every=1), weights("two", penalty_every=2)
    assert all(torch.equal(a, b) for a, b in zip(eager, every_turn, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(eager, lazy, strict=True))


# One pass or two.


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize(("network", "data_shape"), [("mlp", (2,)), ("dcgan", (1, 28, 28))])
@pytest.mark.parametrize("penalties", [{}, {"r1": 0.3, "r2": 0.7}, {"r2": 1.0, "wgan-gp": 1.0}])
def test_one_pass_of_D_is_two(
    norm: str, network: str, data_shape: tuple[int, ...], penalties: dict[str, float]
) -> None:
    """Values, signals and gradients of both turns, with real and fake in places that cannot be mistaken for each other."""
    config = small_config("ring", network=network, latent_dim=3, d={"norm": norm, "width": 4})
    G, D = build_players(network, config.network_spec(data_shape), torch.Generator().manual_seed(0))

    def play(together: bool, player: str) -> tuple[dict[str, Tensor], list[Tensor]]:
        source = torch.Generator().manual_seed(1)
        x_real, z = 1 + torch.randn(6, *data_shape, generator=source), torch.randn(6, 3, generator=source)
        given = Batch(x_real, None, z, source)
        game = GenerationTurns(G, D, LOSSES["relativistic"], Labels(), penalties, together=together)
        if player == "D":
            payoff, moved = game.discriminator_turn(given, gain=float(bool(penalties))), D
        else:
            payoff, moved = game.generator_turn(given), G
        loss = torch.stack([term.mean() for term in payoff.terms.values()]).sum()
        slopes = torch.autograd.grad(loss, list(moved.parameters()))
        return payoff.terms | payoff.signals, list(slopes)

    for player in ("D", "G"):
        apart, together = play(False, player), play(True, player)
        assert apart[0].keys() == together[0].keys()
        assert_close(together, apart, rtol=1e-4, atol=1e-6)
    assert play(True, "D")[0]["real_logits"].mean() != play(True, "D")[0]["fake_logits"].mean()


@pytest.mark.parametrize(
    ("settings", "together"),
    [
        ({"penalty": ("r1:1", "r2:1")}, True),
        ({"penalty": ("r1:1",)}, False),
        ({"penalty": ()}, False),
        ({"penalty": ("r1:1", "r2:1"), "d": {"norm": "batch"}}, False),
        ({"penalty": (), "d": {"norm": "batch", "mixed": True}}, True),
    ],
)
def test_one_pass_is_taken_where_it_saves_time_and_changes_nothing(settings: dict[str, Any], together: bool) -> None:
    assert small_config("ring", **settings).judges_together == together


def test_with_batch_norm_one_pass_is_another_game() -> None:
    """That the two agree elsewhere is no accident of the test."""
    config = small_config("ring", d={"norm": "batch", "width": 4})
    G, D = build_players("mlp", config.network_spec((2,)), torch.Generator().manual_seed(0))
    apart, together = (
        GenerationTurns(G, D, LOSSES["relativistic"], Labels(), {}, together=together)
        .discriminator_turn(batch(8))
        .terms["adversarial"]
        for together in (False, True)
    )
    assert not torch.allclose(apart, together, rtol=1e-3)
