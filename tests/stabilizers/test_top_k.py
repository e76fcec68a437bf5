"""G learns from the k best fakes, and k follows its schedule."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from sparring.games.generation import generation_game
from sparring.losses import LOSSES
from sparring.stabilizers.top_k import TopK
from sparring.turns import Clock
from tests.stabilizers.toys import Shift, Slope, batch, weights_after
from tests.tools import small_config


def k_at(epoch: float, count: int, floor: float = 0.5, gamma: float = 0.99) -> int:
    logits = torch.randn(count, generator=torch.Generator().manual_seed(0))
    chosen = TopK(floor, gamma).chosen(logits, batch(clock=Clock(epoch=epoch)))
    return count if chosen is None else len(chosen)


@pytest.mark.parametrize(
    ("epoch", "k"),
    [(0, 64), (0.99, 64), (1, 64), (2, 63), (2.99, 63), (10, 58), (69, 32), (70, 32), (1000, 32)],
)
def test_k_falls_once_an_epoch_down_to_its_floor(epoch: float, k: int) -> None:
    """⌈64 · 0.99^e⌉, and at least 32: 0.99^69 < ½ < 0.99^68."""
    assert k_at(epoch, 64) == k


@pytest.mark.parametrize(("epoch", "k"), [(0.99, 64), (1, 32), (1.99, 32), (2, 16), (2.99, 16), (3, 8), (9, 8)])
def test_within_an_epoch_k_stands(epoch: float, k: int) -> None:
    assert k_at(epoch, 64, floor=0.125, gamma=0.5) == k


@pytest.mark.parametrize(
    ("count", "floor", "gamma", "k"),
    [
        (7, 0.5, 0.0, 4),
        (100, 0.07, 0.0, 7),
        (100, 0.29, 0.0, 29),
        (2, 0.01, 0.0, 1),
        (1, 0.5, 0.0, 1),
        (8, 0.5, 1.0, 8),
    ],
)
def test_shares_are_rounded_up_and_never_to_nothing(count: int, floor: float, gamma: float, k: int) -> None:
    assert k_at(1, count, floor, gamma) == k


def test_the_highest_scores_are_chosen() -> None:
    logits = torch.tensor([0.1, 3.0, -2.0, 0.5, 0.2])
    chosen = TopK(0.4, 0.0).chosen(logits, batch(clock=Clock(epoch=1)))
    assert chosen is not None
    assert set(chosen.tolist()) == {1, 3}


@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_in_the_game_the_rest_give_no_gradient(loss: str) -> None:
    G, D, given = Shift(), Slope(), batch(8)
    z = given.z.clone().requires_grad_()
    settings = small_config("ring", stabilizer="top-k:0.5:0", loss=loss)
    (_, g_turn) = generation_game(G, D, settings, (2,)).turns(Clock(epoch=1))
    later = batch(8, clock=Clock(epoch=1))
    object.__setattr__(later, "z", z)
    value = g_turn.play(later).terms["adversarial"]
    real, fake = D(later.x_real), D(G(z))
    best = fake.argsort(descending=True)[:4]
    assert_close(value, LOSSES[loss].generator(fake[best], real[best]))
    (slope,) = torch.autograd.grad(value.mean(), z)
    learns = slope.abs().sum(1) > 0
    assert set(learns.nonzero().flatten().tolist()) == set(best.tolist())


def test_in_the_first_epoch_all_fakes_count() -> None:
    (_, g_turn) = generation_game(Shift(), Slope(), small_config("ring", stabilizer="top-k:0.5:0"), (2,)).turns(Clock())
    assert g_turn.play(batch(8)).terms["adversarial"].shape == (8,)


@pytest.mark.parametrize("spec", ["top-k:1:0.5", "top-k:0.5:1"])
def test_with_k_equal_to_B_it_is_the_plain_game_to_the_bit(spec: str, tmp_path: Path) -> None:
    """The ring passes in 12,500 steps of 8, so the batch is made as large as the data for one epoch a step."""
    many = {"batch_size": 100_000, "steps": 3}
    plain = weights_after(tmp_path / "plain", **many)
    none = weights_after(tmp_path / "none", stabilizer=spec, **many)
    some = weights_after(tmp_path / "some", stabilizer="top-k:0.5:0.5", **many)
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert not all(torch.equal(plain[name], some[name]) for name in plain)
