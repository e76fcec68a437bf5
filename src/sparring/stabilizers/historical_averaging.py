"""Historical averaging: a player is held near the mean of its past parameters (Salimans et al. 2016, arXiv:1606.03498, §3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparring.stabilizers.hooks import Hooks, View


class HistoricalAveraging(Hooks):
    """Both players' term ``weight ‖θ - 1/t Σ θ[i]‖²``, with θ[i] the parameters after the player's i-th turn, i = 1 … t.

    Before a player's first turn is over there is no past, and the term is 0 with a gradient of 0.

    Attributes:
        weight: factor of the term; 0 leaves it out and remembers nothing.
        players: ``"G"`` and ``"D"`` -> their networks; a plain mapping, so that they are no part of this module.
    """

    def __init__(self, weight: float, players: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.weight = weight
        self.players = dict(players)
        for player, network in self.players.items() if weight else ():
            self.register_buffer(f"{player}_turns", torch.zeros(()))
            for index, parameter in enumerate(network.parameters()):
                self.register_buffer(f"{player}_mean_{index}", parameter.detach().clone())

    def terms(self, view: View) -> dict[str, Tensor]:
        """Return the term ``"historical_averaging"``, ``[B]``: one value, the same for every sample."""
        if not self.weight:
            return {}
        distance = torch.stack([(now - mean).square().sum() for now, mean in self._history(view.player)]).sum()
        return {"historical_averaging": (self.weight * distance).expand(len(view.fake_logits))}

    @torch.no_grad()
    def remember(self, view: View) -> None:
        """Take the parameters after this turn into the mean: ``mean_t = mean_{t-1} + (θ[t] - mean_{t-1}) / t``."""
        if not self.weight:
            return
        turns = self.get_buffer(f"{view.player}_turns").add_(1)
        for now, mean in self._history(view.player):
            mean.lerp_(now, 1 / turns)

    def _history(self, player: str) -> list[tuple[Tensor, Tensor]]:
        """Return each parameter of a player with its mean."""
        parameters = self.players[player].parameters()
        return [(now, self.get_buffer(f"{player}_mean_{index}")) for index, now in enumerate(parameters)]
