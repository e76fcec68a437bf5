"""Known answers of every penalty: a linear critic has one slope everywhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.penalties import PENALTIES, Judged, Penalty

ALL = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
SHAPE = (1, 4, 4)
# value of each penalty for a linear critic D(x) = w·x with |w| = s
LINEAR = {"r1": lambda s: s * s / 2, "r2": lambda s: s * s / 2, "wgan-gp": lambda s: (s - 1) ** 2}


class Linear(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        direction = torch.randn(math.prod(SHAPE), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.weight = nn.Parameter(slope * direction / direction.norm())

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = a ‖x‖² / 2, so that ∇D = a x differs from sample to sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x.flatten(1).square().sum(1) / 2


def judged(critic: nn.Module, batch: int, seed: int = 1) -> Judged:
    source = torch.Generator().manual_seed(seed)
    x_real, x_fake = (torch.randn(batch, *SHAPE, generator=source, dtype=torch.float64) for _ in range(2))
    x_real.requires_grad_()
    x_fake.requires_grad_()
    return Judged(critic, x_real, x_fake, critic(x_real), critic(x_fake), torch.Generator().manual_seed(2))


def between_of(view: Judged) -> Tensor:
    """The random places between real and fake, drawn as the penalty will draw them."""
    u = torch.rand(len(view.x_real), 1, 1, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.lerp(view.x_real, view.x_fake, u)


@ALL
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("slope", [1.0, 2.5])
def test_linear_critic(penalty: Penalty, batch: int, slope: float) -> None:
    value = penalty.function(judged(Linear(slope), batch))
    assert_close(value, torch.full((batch,), LINEAR[penalty.name](slope), dtype=torch.float64))


@ALL
def test_quadratic_critic_where_every_sample_has_its_own_slope(penalty: Penalty) -> None:
    view = judged(Quadratic(), 8)
    between = between_of(view)
    squared = {"r1": view.x_real, "r2": view.x_fake, "wgan-gp": between}[penalty.name].flatten(1).square().sum(1) * 9
    expected = (squared.sqrt() - 1).square() if penalty.name == "wgan-gp" else squared / 2
    assert_close(penalty.function(view), expected.detach())


@ALL
def test_it_trains_the_critic(penalty: Penalty) -> None:
    """The derivative by the slope a, by hand: R1 of a‖x‖²/2 is a²‖x‖²/2, whose derivative is a‖x‖²."""
    critic = Quadratic()
    view = judged(critic, 8)
    (slope,) = torch.autograd.grad(penalty.function(view).sum(), critic.a)
    between = between_of(view)
    norm = {"r1": view.x_real, "r2": view.x_fake, "wgan-gp": between}[penalty.name].detach().flatten(1).norm(dim=1)
    expected = 2 * (3 * norm - 1) * norm if penalty.name == "wgan-gp" else 3 * norm.square()
    assert_close(slope, expected.sum())


@ALL
def test_finite_gradient_for_a_flat_critic(penalty: Penalty) -> None:
    critic = Linear(0.0)
    (slope,) = torch.autograd.grad(penalty.function(judged(critic, 4)).sum(), critic.weight)
    assert slope.isfinite().all()


@ALL
def test_rows_say_what_a_user_needs(penalty: Penalty) -> None:
    assert PENALTIES[penalty.name] is penalty
    assert "arXiv:" in penalty.paper
    assert all((penalty.summary, penalty.formula, penalty.when, penalty.watch))
