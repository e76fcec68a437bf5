"""Who is behind trains more, and a D that sits out comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sparring.games import Game
from sparring.games.generation import generation_game
from sparring.losses import LOSSES, Labels
from sparring.stabilizers.balance import BalanceAccuracy, BalanceLoss
from sparring.turns import Batch, Clock
from tests.stabilizers.toys import Shift, Slope, batch, view, weights_after
from tests.tools import small_config, trainer_for

NON_SATURATING = LOSSES["non-saturating"]
AHEAD = (torch.full((4,), 5.0), torch.full((4,), -5.0))
FOOLED = (torch.full((4,), -5.0), torch.full((4,), 5.0))
EVEN = (torch.tensor([2.0, 2.0, -2.0, 2.0]), torch.tensor([-2.0, 2.0, -2.0, -2.0]))  # right in 3 of 4


def by_loss(ratio: float = 0.5) -> BalanceLoss:
    return BalanceLoss(ratio, NON_SATURATING, Labels())


def by_accuracy(low: float = 0.6, high: float = 0.9) -> BalanceAccuracy:
    return BalanceAccuracy(low, high, NON_SATURATING)


Balance = BalanceLoss | BalanceAccuracy
BOTH = pytest.mark.parametrize("make", [by_loss, by_accuracy])


def after(hook: Balance, *turns_of_G: tuple[Tensor, Tensor]) -> Balance:
    for real, fake in turns_of_G:
        hook.remember(view("G", real, fake))
    return hook


@BOTH
@pytest.mark.parametrize("planned", [1, 5])
def test_the_rule(make: type[Balance], planned: int) -> None:
    assert make().turns_of_D(planned, Clock()) == planned, "nothing has been measured yet"
    assert after(make(), AHEAD).turns_of_D(planned, Clock()) == 0
    assert after(make(), EVEN).turns_of_D(planned, Clock()) == planned
    assert after(make(), FOOLED).turns_of_D(planned, Clock()) == planned + 1


@pytest.mark.parametrize(
    ("loss_of_D", "loss_of_G", "turns"),
    [(0.99, 2.0, 0), (1.01, 2.0, 1), (3.99, 2.0, 1), (4.01, 2.0, 2), (0.0, 0.0, 1)],
)
def test_the_bounds_of_the_losses(loss_of_D: float, loss_of_G: float, turns: int) -> None:
    hook = by_loss()
    hook.means.add(torch.tensor([loss_of_D, loss_of_G]))
    assert hook.turns_of_D(1, Clock()) == turns


@pytest.mark.parametrize(("accuracy", "turns"), [(0.59, 2), (0.61, 1), (0.89, 1), (0.91, 0)])
def test_the_bounds_of_the_accuracy(accuracy: float, turns: int) -> None:
    hook = by_accuracy()
    hook.means.add(torch.tensor([accuracy]))
    assert hook.turns_of_D(1, Clock()) == turns


@pytest.mark.parametrize("loss", [name for name, loss in LOSSES.items() if loss.positive])
def test_the_losses_are_those_of_the_players(loss: str) -> None:
    labels = Labels(0.9, 0.0) if LOSSES[loss].smoothable else Labels()
    hook = BalanceLoss(0.5, LOSSES[loss], labels)
    real, fake = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    expected = [LOSSES[loss].discriminator(real, fake, labels).mean(), LOSSES[loss].generator(fake, real).mean()]
    assert_close(hook.measure(real, fake), torch.stack(expected))
    assert_close(hook.measure(real.repeat(2), fake.repeat(2)), hook.measure(real, fake))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_accuracy_is_the_losss_own(loss: str) -> None:
    real, fake = torch.tensor([2.0, 2.0, -1.0, 0.7]), torch.tensor([-2.0, 1.0, -2.0, 0.6])
    right = {"least-squares": (3 + 2) / 8, "relativistic": 1.0, "wasserstein": 1.0}.get(loss, (3 + 2) / 8)
    assert BalanceAccuracy(0.6, 0.9, LOSSES[loss]).measure(real, fake).tolist() == pytest.approx([right])


def test_the_mean_runs_over_about_ten_turns() -> None:
    hook = after(by_accuracy(), *[AHEAD] * 200, *[FOOLED] * 10)
    assert hook.means.read() == pytest.approx([0.9**10], abs=1e-4)


@BOTH
def test_only_turns_of_G_are_measured(make: type[Balance]) -> None:
    hook = make()
    hook.remember(view("D", *AHEAD))
    assert hook.means.read() is None
    real, fake = (logits.clone().requires_grad_() for logits in AHEAD)
    hook.remember(view("G", real, fake))
    assert not hook.means.mean.requires_grad


@BOTH
def test_once_D_is_no_longer_ahead_it_plays_again(make: type[Balance]) -> None:
    hook = after(make(), *[AHEAD] * 100)
    turns = [after(hook, FOOLED).turns_of_D(1, Clock()) for _ in range(30)]
    assert hook.turns_of_D(1, Clock()) == 2
    assert turns == sorted(turns)
    assert turns.count(0) < 15


def toy_game(name: str) -> tuple[Game, Shift]:
    """Return a game that G is about to lose: its fakes lie about (-2, -2), where D takes nothing for real."""
    G = Shift()
    with torch.no_grad():
        G.by.fill_(-2.0)
    return generation_game(G, Slope(), small_config("ring", stabilizer=name), (2,)), G


def toy_batch(seed: int) -> Batch:
    """Return real samples about (2, 2)."""
    given = batch(64, seed)
    return replace(given, x_real=2 + 0.5 * given.x_real, z=0.5 * given.z)


NAMES = pytest.mark.parametrize("name", ["balance-loss", "balance-accuracy"])


@NAMES
def test_D_never_starves_while_G_learns(name: str) -> None:
    """D is far ahead and stands still; the moves of G alone bring it back."""
    game, G = toy_game(name)
    turns = []
    for step in range(60):
        *of_D, of_G = game.turns(Clock())
        turns.append(len(of_D))
        payoff = of_G.play(toy_batch(step))
        (slope,) = torch.autograd.grad(payoff.terms["adversarial"].mean(), G.by)
        with torch.no_grad():
            G.by.sub_(0.05 * slope)
        payoff.remember()
    assert turns[:2] == [1, 0], "as planned until something is measured, then D sits out"
    back = turns.index(1, 1)
    assert turns[1:back] == [0] * (back - 1), "G trains alone until it has caught up"
    assert turns[-1] == 2, "at last a D that has stood still is fooled"


@NAMES
def test_a_G_that_stands_still_leaves_D_out(name: str) -> None:
    """The test above can fail: where nothing changes, neither does the decision."""
    game, _ = toy_game(name)
    for step in range(60):
        *of_D, of_G = game.turns(Clock())
        of_G.play(toy_batch(step)).remember()
    assert len(of_D) == 0


@pytest.mark.parametrize("spec", ["balance-loss", "balance-accuracy:0.6:0.8"])
@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_in_training_D_sits_out_and_comes_back(spec: str, loss: str, tmp_path: Path) -> None:
    """D learns ten times as fast as G; the step still ends with a turn of G, whatever D does."""
    players = {"d": {"lr": 0.01, "width": 32}, "g": {"lr": 1e-3, "width": 32}}
    trainer = trainer_for(tmp_path, "ring", stabilizer=spec, loss=loss, batch_size=64, steps=200, **players)
    turns = []
    for _ in range(200):
        turns.append("".join(turn.player for turn in trainer.game.turns(trainer._clock())))
        trainer.play_step()
    assert set(turns) >= {"G", "DG"}
    assert turns[turns.index("G") :].count("DG") > 10


@pytest.mark.parametrize(
    ("never", "always"), [("balance-loss:0", "balance-loss:1"), ("balance-accuracy:0:1", "balance-accuracy:0.7:0.7")]
)
def test_a_rule_that_never_applies_is_the_plain_game_to_the_bit(never: str, always: str, tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain")
    none = weights_after(tmp_path / "none", stabilizer=never)
    some = weights_after(tmp_path / "some", stabilizer=always)
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert not all(torch.equal(plain[name], some[name]) for name in plain)
