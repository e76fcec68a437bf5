"""What a stabilizer may change in a turn: one method a place, each of which does nothing unless a stabilizer says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparring.losses import Labels, Loss
from sparring.turns import Batch, Clock, Critic


@dataclass(frozen=True)
class Setup:
    """What a stabilizer is built for.

    Attributes:
        players: ``"G"`` and ``"D"`` -> their networks, on their device.
        loss: the adversarial loss.
        labels: D's targets.
        shape: of one sample.
    """

    players: Mapping[str, nn.Module]
    loss: Loss
    labels: Labels
    shape: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Where the players live, and what a stabilizer remembers too."""
        return next(self.players["D"].parameters()).device


@dataclass(frozen=True)
class View:
    """A turn as its stabilizers see it, after D has judged.

    Attributes:
        player: whose turn it is, ``"D"`` or ``"G"``.
        batch: what the turn is played with.
        look: what D is shown of samples: ``[B, ...]`` -> the input of D.
        x_real: ``[B, ...]``, in packs where packing is on.
        x_fake: ``[B, ...]``, detached from G in D's turn.
        real_logits: ``[B]``; in G's turn None unless the loss is paired or a stabilizer `needs_real`.
        fake_logits: ``[B]``.
    """

    player: str
    batch: Batch
    look: Callable[[Tensor], Tensor]
    x_real: Tensor
    x_fake: Tensor
    real_logits: Tensor | None
    fake_logits: Tensor


class Hooks(nn.Module):
    """A stabilizer at work. What it remembers from turn to turn are buffers, which every checkpoint holds.

    Attributes:
        needs_real: whether G's turn must judge real samples too.
        looks_ahead: whether G plays against a `future` D.
        draws: latents of the prior that are drawn for each fake of G's turn, for `latents` to choose from.
    """

    needs_real = False
    looks_ahead = False
    draws = 1

    def look(self, x: Tensor, batch: Batch) -> Tensor:
        """Return what D is shown of single samples ``x [B, *shape]``, real and fake, in both turns."""
        return x

    def fakes(self, x_fake: Tensor, batch: Batch) -> Tensor:
        """Return the fakes that D learns from, ``[B, *shape]``, given those that G has just made."""
        return x_fake

    def future(self, D: nn.Module, loss_of: Callable[[Critic], Tensor], batch: Batch) -> Critic:
        """Return the critic that G plays against.

        Args:
            D: the discriminator as it is.
            loss_of: a critic -> D's mean loss on this batch, ``[]``, attached to the fakes and so to G.
            batch: what the turn is played with.
        """
        return D

    def latents(self, G: nn.Module, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Return the latents that G's turn is played with, ``[B, latent_dim]``, and what each counts, ``[B]``, 1 on average.

        Args:
            G: the generator as it is.
            batch: with ``draws B`` latents.

        Returns:
            None where all that are drawn are played with, and count alike.
        """
        return None

    def chosen(self, fake_logits: Tensor, batch: Batch) -> Tensor | None:
        """Return the indices ``[k]`` of the fakes that G learns from, or None for all of them."""
        return None

    def terms(self, view: View) -> dict[str, Tensor]:
        """Return more terms of the player's loss, each one value per sample and already weighted."""
        return {}

    def remember(self, view: View) -> None:
        """Change what is remembered, after the player has moved."""

    def turns_of_D(self, planned: int, clock: Clock) -> int:
        """Return how many turns D plays in a step for which ``planned`` are scheduled."""
        return planned
