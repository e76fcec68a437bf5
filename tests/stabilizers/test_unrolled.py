"""G plays against the D of k steps later, and the derivative is the total one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.config import PlayerConfig
from sparring.games import Batch, Clock
from sparring.games.generation import GenerationTurns
from sparring.losses import LOSSES, Labels
from sparring.optim import build_optimizer, differentiable
from sparring.stabilizers.unrolled import Unrolled
from sparring.trainer import Trainer
from sparring.turns import Critic, Descent
from tests.stabilizers.toys import Shift, Slope, batch
from tests.tools import trainer_for

RATE = 0.1


def gradient_descent(player: str) -> Descent:
    assert player == "D"
    return lambda parameters, gradients: [p - RATE * g for p, g in zip(parameters, gradients, strict=True)]


def with_descent(count: int = 6) -> Batch:
    return replace(batch(count), ahead=gradient_descent)


def generator_turn(G: nn.Module, D: nn.Module, loss: str, steps: int, given: Batch) -> Tensor:
    """Return G's loss, ``[]``."""
    game = GenerationTurns(G, D, LOSSES[loss], Labels(), {}, hooks=(Unrolled(steps),))
    return game.generator_turn(given).terms["adversarial"].mean()


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("count", [4, 32])
def test_closed_form_of_a_linear_critic(steps: int, count: int) -> None:
    """L_D = w·(z̄ + b - x̄) gives w_k = w - kη (z̄ + b - x̄), so L_G = -w_k·(z̄ + b) has ∂L_G/∂b = -w_k + kη (z̄ + b)."""
    G, D, given = Shift(), Slope(), with_descent(count)
    loss = generator_turn(G, D, "wasserstein", steps, given)
    fake = (given.z.mean(0) + G.by).detach()
    weight = (D.weight - steps * RATE * (fake - given.x_real.mean(0))).detach()
    assert_close(loss, -(weight @ fake))
    (slope,) = torch.autograd.grad(loss, G.by)
    assert_close(slope, -weight + steps * RATE * fake)
    assert not torch.allclose(slope, -weight), "the part through D's steps is there"


@pytest.mark.parametrize("loss", ["saturating", "least-squares", "relativistic"])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_same_as_a_loop_written_by_hand(loss: str, steps: int) -> None:
    """The D of the loop has no module, no hooks and derivatives of its own: ∇_w mean f(x·w, G(z)·w), step by step."""
    G, D, given = Shift(), Slope(), with_descent()
    row, weight, by = LOSSES[loss], D.weight.detach().clone(), G.by.detach().clone().requires_grad_()
    x_fake = given.z + by
    for _ in range(steps):
        weight = weight if weight.requires_grad else weight.requires_grad_()
        (slope,) = torch.autograd.grad(
            row.discriminator(given.x_real @ weight, x_fake @ weight, Labels()).mean(), weight, create_graph=True
        )
        weight = weight - RATE * slope
    expected = row.generator(x_fake @ weight, given.x_real @ weight).mean()
    found = generator_turn(G, D, loss, steps, given)
    assert_close(found, expected)
    assert_close(torch.autograd.grad(found, G.by), torch.autograd.grad(expected, by))


def small_critic(spectral: bool = False) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)]
    if spectral:
        layers[0] = nn.utils.parametrizations.spectral_norm(layers[0])
    return nn.Sequential(*layers).double()


def worked_optimizer(D: nn.Module, kind: str) -> torch.optim.Optimizer:
    """Return D's optimizer after three steps on random gradients."""
    source = torch.Generator().manual_seed(1)
    config = PlayerConfig(lr=0.05, optimizer=kind, betas=(0.5 if kind == "adam" else 0.0, 0.9))
    optimizer = build_optimizer(list(D.parameters()), config)
    for _ in range(3):
        for parameter in D.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=source, dtype=parameter.dtype)
        optimizer.step()
    return optimizer


def loss_on(x_real: Tensor, x_fake: Tensor) -> Callable[[Critic], Tensor]:
    return lambda D: LOSSES["non-saturating"].discriminator(D(x_real), D(x_fake), Labels()).mean()


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
@pytest.mark.parametrize("spectral", [False, True])
def test_the_total_derivative_is_that_of_finite_differences(kind: str, spectral: bool) -> None:
    """Through three steps of D's own optimizer, with its momentum, and through G's loss against the D after them."""
    D = small_critic(spectral).eval()
    optimizer = worked_optimizer(D, kind)
    given = Batch(
        *(torch.randn(5, 2), None, torch.randn(5, 2), torch.Generator()), ahead=lambda player: differentiable(optimizer)
    )
    x_real, z = given.x_real.double(), given.z.double()

    def loss_of_G(by: Tensor) -> Tensor:
        x_fake = z + by
        future = Unrolled(3).future(D, loss_on(x_real, x_fake), given)
        return LOSSES["non-saturating"].generator(future(x_fake), future(x_fake)).mean()

    by = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss_of_G, by)
    (total,) = torch.autograd.grad(loss_of_G(by), by)
    held = Unrolled(3).future(D, loss_on(x_real, (z + by).detach()), given)
    (partial,) = torch.autograd.grad(LOSSES["non-saturating"].generator(held(z + by), held(z + by)).mean(), by)
    assert not torch.allclose(total, partial, rtol=1e-3), "what G's move changes in D's answer is there"


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_the_future_D_is_the_one_that_its_optimizer_makes(kind: str) -> None:
    D = small_critic()
    optimizer = worked_optimizer(D, kind)
    x_real, x_fake = torch.randn(5, 2).double(), torch.randn(5, 2).double()
    given = Batch(x_real, None, x_fake, torch.Generator(), ahead=lambda player: differentiable(optimizer))
    future = Unrolled(4).future(D, loss_on(x_real, x_fake), given)(x_fake)
    for _ in range(4):
        optimizer.zero_grad()
        torch.autograd.backward(loss_on(x_real, x_fake)(D))
        optimizer.step()
    assert_close(future, D(x_fake), rtol=1e-12, atol=1e-12)


# In a run.

GAME = {"preset": "minimax", "penalty": (), "loss": "saturating"}
PLAYER = {"width": 8, "lr": 1e-2}


def unrolled_trainer(out: Path, ahead: int | None, data: str = "ring", **settings: Any) -> Trainer:
    stabilizer = () if ahead is None else (f"unrolled:{ahead}",)
    return trainer_for(out, data, stabilizer=stabilizer, **({"g": PLAYER, "d": PLAYER} | GAME | settings))


def everything(trainer: Trainer, player: str) -> dict[str, Any]:
    """Return all that a player is: parameters, buffers and optimizer."""
    chosen = trainer.players[player]
    return copy.deepcopy({"network": chosen.network.state_dict(), "optimizer": chosen.optimizer.state_dict()["state"]})


@pytest.mark.parametrize("loss", ["saturating", "relativistic"])
def test_no_step_is_the_plain_game_to_the_bit(loss: str, tmp_path: Path) -> None:
    plain, none = (
        unrolled_trainer(tmp_path / str(steps), steps, loss=loss, penalty=("r1:0.1", "r2:0.1")) for steps in (None, 0)
    )
    for _ in range(4):
        plain.play_step()
        none.play_step()
    for player in ("G", "D"):
        assert_close(everything(plain, player), everything(none, player), rtol=0, atol=0)
    assert plain.gauges.sums.keys() == none.gauges.sums.keys()
    assert not none.game.turns(Clock())[-1].exact, "nothing is differentiated twice"


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_turn_of_G_leaves_D_equal_to_the_bit(norm: str, optimizer: str, tmp_path: Path) -> None:
    d = PLAYER | {"norm": norm, "optimizer": optimizer, "betas": (0.0, 0.9)}
    trainer = unrolled_trainer(tmp_path, 3, d=d)
    trainer.play_step()
    before, mine = everything(trainer, "D"), everything(trainer, "G")
    turn = trainer.game.turns(Clock(1))[-1]
    assert (turn.player, turn.exact) == ("G", True)
    trainer._play(turn, trainer._batch(trainer._real_batch(1), 1))
    assert_close(everything(trainer, "D"), before, rtol=0, atol=0)
    with pytest.raises(AssertionError):
        assert_close(everything(trainer, "G"), mine, rtol=0, atol=0)
    assert not trainer.run.events("skipped")


def test_buffers_stay_even_where_the_networks_write_to_them() -> None:
    """Outside the trainer nothing holds batch norm and power iterations still; the steps ahead write to copies."""
    torch.manual_seed(0)
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3))
    D = nn.Sequential(first, nn.BatchNorm1d(3), nn.LeakyReLU(), nn.Linear(3, 1), nn.Flatten(0))
    before = copy.deepcopy(D.state_dict())
    x_real, x_fake = torch.randn(5, 2), torch.randn(5, 2)
    future = Unrolled(2).future(D, loss_on(x_real, x_fake), with_descent())
    assert future(x_fake).shape == (5,)
    assert_close(D.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_gradients_are_finite_from_the_first_step(optimizer: str, tmp_path: Path) -> None:
    """Adam's first steps are signs: their derivative is next to 0, or as steep as lr / ε where a gradient is tiny."""
    d = PLAYER | {"optimizer": optimizer, "betas": (0.0, 0.999)}
    trainer = unrolled_trainer(tmp_path, 5, d=d, steps=10)
    trainer.train()
    assert not trainer.run.events("skipped")
    plain = unrolled_trainer(tmp_path / "plain", None, d=d, steps=10)
    plain.train()
    ours, theirs = everything(trainer, "G")["network"], everything(plain, "G")["network"]
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_images_and_pieces_of_a_batch(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"network": "dcgan", "latent_dim": 8, "accumulate": 2, "augment": ("translation",)}
    settings |= {"g": {"width": 4}, "d": {"width": 4, "norm": "none"}, "steps": 2}
    trainer = unrolled_trainer(tmp_path, 2, "digits", **settings)
    trainer.train()
    assert not trainer.run.events("skipped")
