"""Closed forms, gradients and invariances of every loss in the table."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sparring.losses import LOSSES, Labels, Loss

ALL = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
REAL = torch.tensor([2.0, -1.0, 0.5, 30.0], dtype=torch.float64)
FAKE = torch.tensor([-3.0, 0.25, 0.5, -30.0], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# name -> (L_D, L_G) of one real logit r and one fake logit f, written with probabilities as the papers write them.
CLOSED_FORMS = {
    "saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: math.log(1 - sigmoid(f)),
    ),
    "non-saturating": (
        lambda r, f: -math.log(sigmoid(r)) - math.log(1 - sigmoid(f)),
        lambda r, f: -math.log(sigmoid(f)),
    ),
    "least-squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "hinge": (lambda r, f: max(0.0, 1 - r) + max(0.0, 1 + f), lambda r, f: -f),
    "relativistic": (lambda r, f: -math.log(sigmoid(r - f)), lambda r, f: -math.log(sigmoid(f - r))),
}


@ALL
def test_values_are_the_papers(loss: Loss) -> None:
    d_form, g_form = CLOSED_FORMS[loss.name]
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    assert_close(
        loss.discriminator(REAL, FAKE, Labels()), torch.tensor([d_form(r, f) for r, f in pairs], dtype=torch.float64)
    )
    assert_close(loss.generator(FAKE, REAL), torch.tensor([g_form(r, f) for r, f in pairs], dtype=torch.float64))


@ALL
def test_one_value_a_sample_that_does_not_depend_on_the_batch(loss: Loss) -> None:
    for whole, single in (
        (loss.discriminator(REAL, FAKE, Labels()), loss.discriminator(REAL[:1], FAKE[:1], Labels())),
        (loss.generator(FAKE, REAL), loss.generator(FAKE[:1], REAL[:1])),
    ):
        assert whole.shape == (4,)
        assert_close(whole[:1], single)


def gradient(function_of: Tensor, value: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(value.sum(), function_of)
    return result


@ALL
def test_gradients_push_the_right_way(loss: Loss) -> None:
    real, fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    d_loss = loss.discriminator(real, fake, Labels())
    if loss.name == "least-squares":  # its target for fakes is 0, so start above it
        d_loss = loss.discriminator(real, fake + 0.5, Labels())
    real_slope, fake_slope = torch.autograd.grad(d_loss.sum(), (real, fake))
    assert (real_slope < 0).all(), "D is paid for scoring real samples higher"
    assert (fake_slope > 0).all(), "D is paid for scoring fakes lower"
    assert (gradient(fake, loss.generator(fake, real)) < 0).all(), "G is paid for fakes that score higher"


@ALL
def test_finite_where_a_probability_would_be_0_or_1(loss: Loss) -> None:
    for real_value in (-1e4, 1e4):
        for fake_value in (-1e4, 1e4):
            real = torch.full((2,), real_value, requires_grad=True)
            fake = torch.full((2,), fake_value, requires_grad=True)
            for value in (loss.discriminator(real, fake, Labels()), loss.generator(fake, real)):
                slopes = torch.autograd.grad(value.sum(), (real, fake), allow_unused=True)
                assert value.isfinite().all()
                assert all(slope is None or bool(slope.isfinite().all()) for slope in slopes)


@ALL
def test_paired_means_that_only_differences_count(loss: Loss) -> None:
    moved = torch.allclose(loss.generator(FAKE + 7, REAL + 7), loss.generator(FAKE, REAL))
    assert moved == loss.paired


@ALL
def test_smoothing_changes_exactly_the_losses_that_have_labels(loss: Loss) -> None:
    smooth = loss.discriminator(REAL, FAKE, Labels(0.9, 0.1))
    assert torch.equal(smooth, loss.discriminator(REAL, FAKE, Labels())) != loss.smoothable


def test_at_equilibrium_the_classic_loss_is_log_4() -> None:
    zeros = torch.zeros(5)
    assert_close(LOSSES["non-saturating"].discriminator(zeros, zeros, Labels()), torch.full((5,), math.log(4)))


@pytest.mark.parametrize("label", [0.7, 0.9])
def test_smoothing_bounds_the_confidence(label: float) -> None:
    """The best D for real label a and no fakes is σ(logit) = a, not 1 (LECTURES T7)."""
    best = torch.tensor([math.log(label / (1 - label))], requires_grad=True)
    value = LOSSES["non-saturating"].discriminator(best, torch.full((1,), -100.0), Labels(real=label))
    assert_close(gradient(best, value), torch.zeros(1), atol=1e-6, rtol=0)


def test_saturating_vanishes_where_D_rejects_and_non_saturating_does_not() -> None:
    rejected = torch.full((1,), -12.0, requires_grad=True)
    saturating = gradient(rejected, LOSSES["saturating"].generator(rejected, rejected))
    alternative = gradient(rejected, LOSSES["non-saturating"].generator(rejected, rejected))
    assert_close(saturating, torch.tensor([-sigmoid(-12.0)]))
    assert_close(alternative, torch.tensor([-sigmoid(12.0)]))


@ALL
def test_rows_say_what_a_user_needs(loss: Loss) -> None:
    assert LOSSES[loss.name] is loss
    assert "arXiv:" in loss.paper
    assert loss.summary.endswith(".")
    assert "L_D" in loss.formula
    assert "L_G" in loss.formula
    assert loss.when
    assert loss.watch
