"""Which game a config's network plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from sparring.config import TrainConfig
from sparring.games import Game
from sparring.games.generation import generation_game
from sparring.games.likelihood import likelihood_game
from sparring.networks import NETWORKS

Networks = Mapping[str, nn.Module]

#: What a row of `NETWORKS` plays -> how the game is set up: networks by player, config, shape of a sample.
GAMES: dict[str, Callable[[Networks, TrainConfig, tuple[int, ...]], Game]] = {
    "adversarial": lambda networks, config, shape: generation_game(networks["G"], networks["D"], config, shape),
    "likelihood": lambda networks, config, shape: likelihood_game(networks["G"]),
}


def build_game(networks: Networks, config: TrainConfig, shape: tuple[int, ...]) -> Game:
    """Set up the game that a config describes.

    Args:
        networks: the players by name.
        config: everything about the game is read.
        shape: of one sample.
    """
    return GAMES[NETWORKS[config.network].plays](networks, config, shape)
