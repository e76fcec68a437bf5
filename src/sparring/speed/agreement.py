"""The same maths: sparring's trainer and the textbook loop from the same weights, on the same images and latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from sparring.games import Clock, Turn
from sparring.speed.contenders import Course, trainer_of
from sparring.speed.textbook import Loop, R3GANLoop
from sparring.trainer import Trainer
from sparring.turns import Batch, Payoff


def loss_curves(course: Course, steps: int) -> tuple[Tensor, Tensor]:
    """Train both for some steps in float32.

    Args:
        course: the networks and the batch.
        steps: how many.

    Returns:
        The losses of D and G, ``[steps, 2]``, of sparring and of the textbook loop.
    """
    loop = course.loop()
    with TemporaryDirectory(prefix="sparring-") as out:
        trainer = trainer_of(course, "fp32", Path(out))
        copy_weights(loop, trainer)
        record = _Record()
        trainer.game = replace(trainer.game, turns=record.listening(trainer))
        pairs = [_both(trainer, loop, record) for _ in range(steps)]
    ours, theirs = zip(*pairs, strict=True)
    return torch.stack(ours), torch.stack(theirs)


def _both(trainer: Trainer, loop: Loop, record: _Record) -> tuple[Tensor, Tensor]:
    """Play a step, then the textbook loop's with the same images and latents."""
    record.batches.clear()
    record.losses.clear()
    trainer.play_step()
    for_D, for_G = record.batches
    real, real_for_G = for_D.x_real.contiguous(), for_G.x_real.contiguous()
    return torch.stack(record.losses), torch.stack(loop.step(real, for_D.z, for_G.z, real_for_G)).detach()


@dataclass
class _Record:
    """What the turns of a step were played with, and their losses."""

    batches: list[Batch] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)

    def listening(self, trainer: Trainer) -> Callable[[Clock], tuple[Turn, ...]]:
        """Return the game's turns, which note what happens to them."""
        turns = trainer.game.turns

        def noted(turn: Turn) -> Turn:
            def play(batch: Batch) -> Payoff:
                payoff = turn.play(batch)
                self.batches.append(batch)
                self.losses.append(torch.stack([term.detach().mean() for term in payoff.terms.values()]).sum())
                return payoff

            return replace(turn, play=play)

        def listening(clock: Clock) -> tuple[Turn, ...]:
            return tuple(noted(turn) for turn in turns(clock))

        return listening


@torch.no_grad()
def copy_weights(loop: Loop, trainer: Trainer) -> None:
    """Give sparring's players the textbook loop's weights.

    Args:
        loop: whose weights.
        trainer: of the same networks; changed in place.
    """
    if isinstance(loop, R3GANLoop):
        trainer.players["G"].network.load_state_dict(loop.netG.state_dict())
        trainer.players["D"].network.load_state_dict(loop.netD.state_dict())
        return
    assert isinstance(loop.netG, nn.Sequential)
    maps = loop.netG[1]
    assert isinstance(maps, nn.Unflatten)
    shape = torch.Size(maps.unflattened_size)
    for name, network in (("G", loop.netG), ("D", loop.netD)):
        ours = trainer.players[name].network.parameters()
        for mine, weight in zip(ours, network.parameters(), strict=True):
            mine.copy_(_pixel_by_pixel(weight, shape))


def _pixel_by_pixel(weight: Tensor, shape: torch.Size) -> Tensor:
    """Sort flat features pixel by pixel, as `sparring.networks.layers.Flatten` has them; PyTorch's go channel by channel."""
    for axis in range(min(2, weight.dim())):
        if weight.shape[axis] == prod(shape):
            apart = weight.reshape(*weight.shape[:axis], *shape, *weight.shape[axis + 1 :])
            return apart.movedim(axis, axis + 2).flatten(axis, axis + 2)
    return weight
