"""Who plays for what: each game names its players and says whose turn it is.

A turn takes a batch and returns a `Payoff`. The trainer alone does backward passes and optimizer steps, so inside a turn the
code reads like the paper's pseudo-code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Batch", "Game", "Payoff", "Turn"]


@dataclass(frozen=True)
class Batch:
    """What a turn is played with.

    Attributes:
        x_real: ``[B, *shape]``, images in [-1, 1].
        y: ``[B]`` int64, or None without labels.
        z: ``[B, latent_dim]``, a fresh draw of the prior.
        source: the turn's own randomness, for penalties at random places and for augmentation.
    """

    x_real: Tensor
    y: Tensor | None
    z: Tensor
    source: torch.Generator


@dataclass(frozen=True)
class Payoff:
    """What a turn was worth to its player.

    Attributes:
        terms: the loss, term by term; each ``[B]``, the weight already applied. The loss is the sum of their means.
        signals: what the log shows beside the terms; each ``[B]``, detached.
    """

    terms: dict[str, Tensor]
    signals: dict[str, Tensor]


@dataclass(frozen=True)
class Turn:
    """One player's move.

    Attributes:
        player: whose parameters change.
        play: a batch -> the payoff, whose loss the trainer minimizes over the player's parameters.
        exact: whether the turn must stay in float32 because it differentiates twice.
    """

    player: str
    play: Callable[[Batch], Payoff]
    exact: bool = False


@dataclass(frozen=True)
class Game:
    """Named players, and the order of turns in a step.

    Attributes:
        players: name -> network.
        turns: the turns of one step, in order; a step ends with the turn of G.
        after_turn: player -> what happens to its network right after its optimizer step.
    """

    players: dict[str, nn.Module]
    turns: tuple[Turn, ...]
    after_turn: dict[str, Callable[[nn.Module], None]]
