"""Players that can be worked out by hand, and the plain game to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparring.losses import LOSSES, Labels
from sparring.stabilizers.hooks import Setup, View
from sparring.turns import Batch, Clock
from tests.tools import trainer_for


class Shift(nn.Module):
    """G(z) = z + by."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor([0.5, -0.5]))

    def forward(self, z: Tensor) -> Tensor:
        return z + self.by


class Slope(nn.Module):
    """D(x) = w·x, with |w| = 5."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([3.0, 4.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def batch(count: int = 4, seed: int = 0, clock: Clock = Clock()) -> Batch:  # noqa: B008
    source = torch.Generator().manual_seed(seed)
    x_real, z = (torch.randn(count, 2, generator=source) for _ in range(2))
    return Batch(x_real, None, z, source, clock)


def setup(shape: tuple[int, ...] = (2,), loss: str = "non-saturating") -> Setup:
    return Setup({"G": Shift(), "D": Slope()}, LOSSES[loss], Labels(), shape)


def view(player: str, real_logits: Tensor | None, fake_logits: Tensor, given: Batch | None = None) -> View:
    """Return a turn in which D has given these logits to samples that do not matter."""
    x = torch.zeros(len(fake_logits), 2)
    return View(player, given or batch(len(fake_logits)), lambda x: x, x, x, real_logits, fake_logits)


def weights_after(out: Path, steps: int = 3, **settings: Any) -> dict[str, Tensor]:
    """Return both players' tensors after a few steps on the ring."""
    trainer = trainer_for(out, "ring", **settings)
    for _ in range(steps):
        trainer.play_step()
    return {
        f"{name}/{key}": value.clone()
        for name, player in trainer.players.items()
        for key, value in player.network.state_dict().items()
    }
