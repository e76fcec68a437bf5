"""LeCam's anchors, which side each one holds, and the divergence that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sparring.games.generation import generation_game
from sparring.losses import LOSSES, Labels
from sparring.stabilizers.lecam import LeCam
from sparring.turns import Clock
from tests.stabilizers.toys import Shift, Slope, batch, view, weights_after
from tests.tools import small_config

REAL = torch.tensor([2.0, -1.0, 0.5, 3.0])
FAKE = torch.tensor([-3.0, 0.25, 0.5, -1.0])


def term(hook: LeCam, real: Tensor, fake: Tensor) -> Tensor:
    return hook.terms(view("D", real, fake))["lecam"]


def test_at_first_the_anchors_are_the_batchs_own_means() -> None:
    expected = 0.3 * ((REAL - FAKE.mean()).square() + (FAKE - REAL.mean()).square())
    assert_close(term(LeCam(0.3, 0.99), REAL, FAKE), expected)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_later_they_are_means_over_all_turns_of_D(decay: float) -> None:
    hook, source = LeCam(0.5, decay), torch.Generator().manual_seed(0)
    turns = torch.randn(6, 2, 4, generator=source)
    for t, (real, fake) in enumerate(turns):
        weights = torch.tensor([decay ** (t - i) for i in range(t + 1)])
        alpha_real, alpha_fake = (weights[:, None] * turns[: t + 1].mean(2)).sum(0) / weights.sum()
        expected = 0.5 * ((real - alpha_fake).square() + (fake - alpha_real).square())
        assert_close(term(hook, real, fake), expected)
        hook.remember(view("D", real, fake))
        hook.remember(view("G", fake * 7, real * 7))


def test_real_logits_are_pulled_to_the_fake_anchor_and_fake_ones_to_the_real_anchor() -> None:
    hook = LeCam(0.3, 0.99)
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    slopes = torch.autograd.grad(term(hook, real, fake).sum(), (real, fake))
    assert_close(slopes[0], 2 * 0.3 * (REAL - FAKE.mean()), msg="anchors give no gradient of their own")
    assert_close(slopes[1], 2 * 0.3 * (FAKE - REAL.mean()))


def test_it_does_not_depend_on_the_batch_size() -> None:
    hook = LeCam(0.3, 0.99)
    once, twice = term(hook, REAL, FAKE), term(hook, REAL.repeat(2), FAKE.repeat(2))
    assert once.shape == (4,)
    assert_close(twice, once.repeat(2))


def test_only_D_has_the_term_and_only_remembering_moves_the_anchors() -> None:
    hook = LeCam(0.3, 0.99)
    assert hook.terms(view("G", None, FAKE)) == {}
    hook.remember(view("G", None, FAKE))
    term(hook, REAL, FAKE)
    assert hook.anchors.read() is None
    hook.remember(view("D", REAL, FAKE))
    assert hook.anchors.read() == pytest.approx([float(REAL.mean()), float(FAKE.mean())])


def test_the_best_critic_is_that_of_the_lecam_divergence() -> None:
    """With the wasserstein loss, λ and anchors ±α the best D is (1/(2λ) - α) (p - q) / (p + q) (arXiv:2104.03310, §3)."""
    weight, alpha = 0.3, 0.4
    p, q = torch.tensor([5, 3, 2]), torch.tensor([1, 3, 6])  # how often the three places occur among ten samples
    hook = LeCam(weight, 0.999999)  # one more batch hardly moves the anchors
    hook.anchors.mean.copy_(torch.tensor([alpha, -alpha]))
    hook.anchors.weight.fill_(1.0)

    def slope_at(D: Tensor) -> Tensor:
        """The gradient of D's loss by its logits at the three places."""
        logits = D.clone().requires_grad_()
        real, fake = logits.repeat_interleave(p), logits.repeat_interleave(q)
        value = LOSSES["wasserstein"].discriminator(real, fake, Labels()) + term(hook, real, fake)
        (slope,) = torch.autograd.grad(value.mean(), logits)
        return slope

    best = (1 / (2 * weight) - alpha) * (p - q) / (p + q)
    assert_close(slope_at(best), torch.zeros(3), atol=1e-5, rtol=0)
    assert (slope_at(1.1 * best) * best).sum() > 1e-2
    assert (slope_at(0.9 * best) * best).sum() < -1e-2


def test_in_the_game_it_joins_the_loss_of_D() -> None:
    G, D, given = Shift(), Slope(), batch()
    d_turn, g_turn = generation_game(G, D, small_config("ring", stabilizer="lecam:2"), (2,)).turns(Clock())
    real, fake = D(given.x_real), D(G(given.z))
    expected = 2 * ((real - fake.mean()).square() + (fake - real.mean()).square())
    assert_close(d_turn.play(given).terms["lecam"], expected)
    assert "lecam" not in g_turn.play(given).terms


def test_weight_0_is_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain")
    none = weights_after(tmp_path / "none", stabilizer="lecam:0")
    some = weights_after(tmp_path / "some", stabilizer="lecam:0.3")
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert not all(torch.equal(plain[name], some[name]) for name in plain)
