"""Known answers of every penalty: a linear critic has one slope everywhere, and a critic of one pixel sees every shift."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import sparring
from sparring.augment import translation
from sparring.errors import UsageError
from sparring.penalties import PENALTIES, Judged, Penalty, consistency, dragan
from tests.tools import small_config, trainer_for

ALL = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
#: value of each gradient penalty where D's slope is s
OF_SLOPE = {
    "r1": lambda s: s * s / 2,
    "r2": lambda s: s * s / 2,
    "wgan-gp": lambda s: (s - 1) ** 2,
    "dragan": lambda s: (s - 1) ** 2,
}
SLOPES = pytest.mark.parametrize("penalty", [PENALTIES[name] for name in OF_SLOPE], ids=OF_SLOPE)
SHAPE = (1, 4, 4)


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


def view_of(critic: nn.Module, x_real: Tensor, x_fake: Tensor) -> Judged:
    x_real, x_fake = x_real.clone().requires_grad_(), x_fake.clone().requires_grad_()
    return Judged(critic, x_real, x_fake, critic(x_real), critic(x_fake), torch.Generator().manual_seed(2))


def judged(critic: nn.Module, batch: int, seed: int = 1) -> Judged:
    source = torch.Generator().manual_seed(seed)
    return view_of(critic, *(torch.randn(batch, *SHAPE, generator=source, dtype=torch.float64) for _ in range(2)))


def places(penalty: Penalty, view: Judged) -> Tensor:
    """Where the penalty looks at D's slope; random places are drawn as the penalty will draw them."""
    source, real, fake = torch.Generator().manual_seed(2), view.x_real.detach(), view.x_fake.detach()
    each = torch.rand(len(real), 1, 1, 1, generator=source, dtype=torch.float64)
    pixels = torch.rand(len(real), *SHAPE, generator=source, dtype=torch.float64)
    spread = (real - real.mean()).square().mean().sqrt()
    near = real + 0.5 * each * spread * pixels
    return {"r1": real, "r2": fake, "wgan-gp": (1 - each) * real + each * fake, "dragan": near}[penalty.name]


@SLOPES
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("slope", [1.0, 2.5])
def test_linear_critic(penalty: Penalty, batch: int, slope: float) -> None:
    value = penalty.function(judged(Linear(slope), batch))
    assert_close(value, torch.full((batch,), OF_SLOPE[penalty.name](slope), dtype=torch.float64))


@SLOPES
def test_quadratic_critic_where_every_sample_has_its_own_slope(penalty: Penalty) -> None:
    view = judged(Quadratic(), 8)
    slopes = 3 * places(penalty, view).flatten(1).norm(dim=1)
    assert_close(penalty.function(view), OF_SLOPE[penalty.name](slopes))


@SLOPES
def test_it_trains_the_critic(penalty: Penalty) -> None:
    """The derivative by the slope a, by hand: R1 of a‖x‖²/2 is a²‖x‖²/2, whose derivative is a‖x‖²."""
    critic = Quadratic()
    view = judged(critic, 8)
    (slope,) = torch.autograd.grad(penalty.function(view).sum(), critic.a)
    norm = places(penalty, view).flatten(1).norm(dim=1)
    expected = 3 * norm.square() if penalty.name in ("r1", "r2") else 2 * (3 * norm - 1) * norm
    assert_close(slope, expected.sum())


@ALL
def test_finite_gradient_for_a_flat_critic(penalty: Penalty) -> None:
    critic = Linear(0.0)
    (slope,) = torch.autograd.grad(penalty.function(judged(critic, 4)).sum(), critic.weight)
    assert slope.isfinite().all()


@ALL
def test_it_depends_on_its_own_randomness_only(penalty: Penalty) -> None:
    first, again = (penalty.function(judged(Quadratic(), 8)).detach() for _ in range(2))
    torch.rand(5)
    assert torch.equal(first, again)


@ALL
def test_rows_say_what_a_user_needs(penalty: Penalty) -> None:
    assert PENALTIES[penalty.name] is penalty
    assert "arXiv:" in penalty.paper
    assert all((penalty.summary, penalty.formula, penalty.when, penalty.watch))


# dragan.


def test_dragan_looks_at_most_half_a_standard_deviation_above_the_data() -> None:
    """As in its authors' code: towards larger values only, further in some samples than in others."""
    seen: list[Tensor] = []

    class Watched(Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return super().forward(x)

    view = judged(Watched(1.0), 2000)
    dragan(view)
    moved = (seen[-1] - view.x_real.detach()).flatten(1) / view.x_real.detach().std()
    assert moved.min() >= 0
    assert 0.45 < moved.max() < 0.51
    assert float(moved.mean()) == pytest.approx(1 / 8, rel=0.05)
    assert moved.max(dim=1).values.min() < 0.05


def test_dragan_does_not_bound_the_slope_where_the_wasserstein_loss_needs_it() -> None:
    with pytest.raises(UsageError, match="needs a bound on D's slope"):
        small_config("ring", loss="wasserstein", penalty=("dragan:10",), d={"norm": "none"})
    small_config("ring", loss="wasserstein", penalty=("wgan-gp:10", "dragan:10"), d={"norm": "none"})
    with pytest.raises(UsageError, match="batch normalization in D mixes"):
        small_config("ring", loss="non-saturating", penalty=("dragan:10",), d={"norm": "batch"})


# consistency.

SIDE = 16


class Pixel(nn.Module):
    """D(x) = a x(8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x[:, 0, 8, 8]


class Total(nn.Module):
    """D(x) = a Σ x, which no shift of a small thing on an empty ground changes."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * x.flatten(1).sum(1)


def images(count: int, ground: float = 0.0, dot: float = 0.0, channels: int = 1) -> Tensor:
    """Return images of one value, with another one at (8, 8)."""
    x = torch.full((count, channels, SIDE, SIDE), ground, dtype=torch.float64)
    x[:, :, 8, 8] = dot
    return x


def shifted(count: int) -> list[Tensor]:
    """Return which real and which fake images `consistency` will shift at all, 1 or 0."""
    source = torch.Generator().manual_seed(2)
    return [1 - translation(images(count, dot=1.0), source)[:, 0, 8, 8] for _ in range(2)]


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_consistency_is_0_for_a_critic_that_shifts_do_not_change(batch: int) -> None:
    critic = Total()
    value = consistency(view_of(critic, images(batch, dot=1.0), images(batch, dot=-0.5)))
    assert torch.equal(value, torch.zeros(batch, dtype=torch.float64))


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_consistency_of_a_critic_of_one_pixel(batch: int) -> None:
    """A dot of 1 that moves away costs (a - 0)², one of ½ among the fakes (a/2 - 0)²."""
    value = consistency(view_of(Pixel(), images(batch, dot=1.0), images(batch, dot=0.5)))
    real, fake = shifted(batch)
    assert_close(value, 9 * real + 9 / 4 * fake)


def test_consistency_shifts_every_sample_by_a_draw_of_its_own_and_mirrors_none() -> None:
    """A dot stays in 1 of 25 shifts of up to two pixels; one next to the left edge never comes out at the right."""
    count = 5000
    value = consistency(view_of(Pixel(), images(count, dot=1.0), images(count))).detach()
    assert set(value.tolist()) == {0.0, 9.0}
    assert float(value.mean()) == pytest.approx(9 * 24 / 25, abs=0.1)

    class RightHalf(Pixel):
        def forward(self, x: Tensor) -> Tensor:
            return self.a * x[:, 0, :, 8:].sum((1, 2))

    at_left = images(count)
    at_left[:, :, 8, 3] = 1.0
    assert torch.equal(
        consistency(view_of(RightHalf(), at_left, at_left)).detach(), torch.zeros(count, dtype=torch.float64)
    )


def test_consistency_trains_the_critic_through_all_four_logits() -> None:
    """(a - 2a)² has the derivative 2a; it would be -2a or 4a with either logit held still."""
    critic = Pixel()
    view = view_of(critic, images(64, ground=2.0, dot=1.0), images(64, ground=2.0, dot=1.0))
    (slope,) = torch.autograd.grad(consistency(view).sum(), critic.a)
    assert_close(slope, 2 * 3 * sum(part.sum() for part in shifted(64)))


def test_consistency_shifts_a_pack_as_one_image() -> None:
    class Difference(Pixel):
        def forward(self, x: Tensor) -> Tensor:
            return self.a * (x[:, 0] - x[:, 1]).abs().sum((1, 2))

    packs = images(64, dot=1.0, channels=2)
    assert torch.equal(consistency(view_of(Difference(), packs, packs)).detach(), torch.zeros(64, dtype=torch.float64))


def test_consistency_of_points_in_the_plane_is_refused_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--penalty consistency: .* points cannot be shifted; leave it out\.$"):
        sparring.train("ring", penalty=("consistency:10",), steps=1, out=tmp_path)
    assert not list(tmp_path.iterdir())


@ALL
def test_a_few_turns_in_a_run(penalty: Penalty, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"network": "dcgan", "latent_dim": 8, "penalty": (f"{penalty.name}:1",), "steps": 2}
    settings |= {"g": {"width": 4}, "d": {"width": 4, "norm": "none"}, "log_every": 1}
    trainer = trainer_for(tmp_path, "digits", **settings)
    trainer.train()
    assert not trainer.run.events("skipped")
    assert all(row[f"D/{penalty.name}"] > 0 for row in trainer.run.events("log"))
