"""Who plays for what: each game names its players and says whose turn it is.

A turn takes a batch and returns a `Payoff`. The trainer alone does backward passes and optimizer steps, so inside a turn the
code reads like the paper's pseudo-code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from sparring.turns import Batch, Clock, Payoff, Turn

__all__ = ["Batch", "Clock", "Game", "Payoff", "Turn"]


@dataclass(frozen=True)
class Game:
    """Named players, and the order of turns in a step.

    Attributes:
        players: name -> network.
        turns: where in the run a step stands -> its turns, in order; a step ends with the turn of G.
        after_turn: player -> what happens to its network right after its optimizer step.
        memory: what the game itself remembers from turn to turn, as buffers: part of every checkpoint.
        real_batches: batches of real samples that a step takes, on average.
        advice: what to do when a gradient is not finite again and again.
    """

    players: dict[str, nn.Module]
    turns: Callable[[Clock], tuple[Turn, ...]]
    after_turn: dict[str, Callable[[nn.Module], None]]
    memory: nn.Module
    real_batches: int
    advice: str
