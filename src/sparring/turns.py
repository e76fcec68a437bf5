"""What a turn is made of: the batch it is played with, the payoff it returns, and where in the run it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]
"""D as a function, ``[B, ...] -> [B]``."""

Descent = Callable[[list[Tensor], list[Tensor]], list[Tensor]]
"""An optimizer as a function that autograd sees through: parameters and their gradients -> the parameters after a step."""


@dataclass(frozen=True)
class Clock:
    """Where in the run a step stands; schedules depend on nothing else.

    Attributes:
        step: turns of G before this one.
        images_seen: real images before this step.
        progress: share of the run that is done, 0 … 1.
        epoch: passes over the data that are done.
    """

    step: int = 0
    images_seen: int = 0
    progress: float = 0.0
    epoch: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What a turn is played with.

    Attributes:
        x_real: ``[B, *shape]``, images in [-1, 1].
        y: ``[B]`` int64, or None without labels.
        z: ``[B, latent_dim]``, a fresh draw of the prior; as many times more as the turn `Turn.draws`.
        source: the turn's own randomness, for penalties at random places and for augmentation.
        clock: where in the run the turn stands.
        ahead: a player's name -> how its optimizer would step from here, for turns that look ahead; None where nobody steps.
    """

    x_real: Tensor
    y: Tensor | None
    z: Tensor
    source: torch.Generator
    clock: Clock = Clock()
    ahead: Callable[[str], Descent] | None = None


def _nothing() -> None:
    """Remember nothing."""


@dataclass(frozen=True)
class Payoff:
    """What a turn was worth to its player.

    Attributes:
        terms: the loss, term by term; each one value per sample (or per pack), the weight already applied. The loss is
            the sum of their means.
        signals: what the log shows beside the terms; each ``[B]``, detached.
        remember: called once the player has moved, never after a turn that was skipped: what the game keeps for later turns
            (a replay buffer, running means) changes here and nowhere else.
    """

    terms: dict[str, Tensor]
    signals: dict[str, Tensor]
    remember: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Turn:
    """One player's move.

    Attributes:
        player: whose parameters change.
        play: a batch -> the payoff, whose loss the trainer minimizes over the player's parameters.
        exact: whether the turn must stay in float32 because it differentiates twice.
        constants: numbers that its payoff is computed with and that differ from step to step: turns of a player with equal
            ones do the same with their batches.
        fresh: whether it is played with real samples of its own, and not with those of the turn before it.
        draws: latents drawn for each real sample.
    """

    player: str
    play: Callable[[Batch], Payoff]
    exact: bool = False
    constants: tuple[float, ...] = ()
    fresh: bool = False
    draws: int = 1


def pieces(batch: Batch, count: int) -> Iterator[Batch]:
    """Split a batch for gradient accumulation; the mean over equal pieces is the mean over the batch.

    Args:
        batch: what the turn is played with.
        count: how many pieces; divides B.
    """
    if count == 1:
        yield batch
        return
    ys = [None] * count if batch.y is None else batch.y.chunk(count)
    for x_real, y, z in zip(batch.x_real.chunk(count), ys, batch.z.chunk(count), strict=True):
        yield replace(batch, x_real=x_real, y=y, z=z)
