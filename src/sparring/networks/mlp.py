"""Fully connected players with three hidden layers each, for points and for small images (arXiv:1406.2661, §5)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from sparring.networks.layers import HE_GAIN, FeatureCritic, Layers, Logit, Reshape, draw_weights, normalization
from sparring.networks.spec import NetworkSpec, PlayerSpec

_HIDDEN_LAYERS = 3


def _hidden(inputs: int, player: PlayerSpec, activation: nn.Module, count: int = _HIDDEN_LAYERS) -> list[nn.Module]:
    sizes = [inputs, *[player.width] * count]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), normalization(player, after, flat=True), activation]
    return layers


class Generator(nn.Module):
    """``z [B, latent_dim]`` to samples: images in [-1, 1] end in tanh, points end in a linear layer."""

    hidden_layers = _HIDDEN_LAYERS
    gain = HE_GAIN

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        is_image = len(spec.shape) == 3
        self.layers = Layers(
            *_hidden(spec.latent_dim, spec.g, nn.ReLU(), self.hidden_layers),
            nn.Linear(spec.g.width, math.prod(spec.shape)),
            nn.Tanh() if is_image else nn.Identity(),
            Reshape(*spec.shape),
        )
        draw_weights(self, randomness, spec.g, std=None, gain=self.gain)

    def forward(self, z: Tensor) -> Tensor:
        """Return the samples, ``[B, *shape]``, of ``z [B, latent_dim]``."""
        return cast("Tensor", self.layers(z))


class Discriminator(FeatureCritic):
    """Samples ``[B, *shape]`` to logits ``[B]``."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        self.features = Layers(nn.Flatten(), *_hidden(math.prod(spec.judged_shape), spec.d, nn.LeakyReLU(0.2)))
        self.logit = Logit(spec.d.width, spec.d)
        draw_weights(self, randomness, spec.d, std=None)
