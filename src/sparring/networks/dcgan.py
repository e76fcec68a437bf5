"""DCGAN (Radford et al. 2015, arXiv:1511.06434) at any side of 4…7 times a power of two.

Sides are 28, 32, 48, 64, 96, 128, 256 and so on. At 64×64 with width 64 this is
z → 4×4×512 → 8×8×256 → 16×16×128 → 32×32×64 → 64×64×3, and its mirror. The rules: strides
instead of pooling; normalization everywhere except G's output and D's input; ReLU and tanh in G, LeakyReLU 0.2 in D; no
hidden dense layers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from sparring.networks.layers import (
    Conv2d,
    ConvTranspose2d,
    FeatureCritic,
    Flatten,
    Layers,
    Logit,
    Reshape,
    draw_weights,
    normalization,
)
from sparring.networks.spec import NetworkSpec, PlayerSpec, doublings

_MOST_CHANNELS = 8  # times the width: beyond 64×64 the deepest layers stop growing


def feature_maps(shape: tuple[int, ...], width: int) -> tuple[int, list[int]]:
    """Return the smallest map's side and the channels from the image side to the deepest."""
    split = doublings(shape[1])
    assert split is not None, shape  # the table's `unfit` has refused every other side
    base, n = split
    return base, [width * min(2**level, _MOST_CHANNELS) for level in range(n)]


def upward(spec: NetworkSpec) -> list[nn.Module]:
    """Return the layers from ``z [B, latent_dim]`` to the image's size, ``[B, C, H, W]``, without the tanh."""
    base, shallow = feature_maps(spec.shape, spec.g.width)
    deep, norm = shallow[::-1], spec.g.norm
    layers: list[nn.Module] = [
        nn.Linear(spec.latent_dim, deep[0] * base * base, bias=norm == "none"),
        Reshape(deep[0], base, base),
        normalization(spec.g, deep[0]),
        nn.ReLU(inplace=True),
    ]
    for before, after in pairwise(deep):
        layers += [
            ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=norm == "none"),
            normalization(spec.g, after),
            nn.ReLU(inplace=True),
        ]
    return [*layers, ConvTranspose2d(deep[-1], spec.shape[0], 4, stride=2, padding=1)]


def downward(channels: int, shallow: list[int], player: PlayerSpec) -> list[nn.Module]:
    """Return the layers from images of so many channels to the deepest of the feature maps."""
    layers: list[nn.Module] = [Conv2d(channels, shallow[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    for before, after in pairwise(shallow):
        layers += [
            Conv2d(before, after, 4, stride=2, padding=1, bias=player.norm == "none"),
            normalization(player, after),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers


class Generator(nn.Module):
    """``z [B, latent_dim]`` to images ``[B, C, H, W]`` in [-1, 1]."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        self.layers = Layers(*upward(spec), nn.Tanh())
        draw_weights(self, randomness, spec.g, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images, ``[B, C, H, W]`` in [-1, 1], of ``z [B, latent_dim]``."""
        return cast("Tensor", self.layers(z))


class Discriminator(FeatureCritic):
    """Images ``[B, C, H, W]`` in [-1, 1] to logits ``[B]``."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, shallow = feature_maps(spec.shape, spec.d.width)
        self.features = Layers(*downward(spec.judged_shape[0], shallow, spec.d), Flatten())
        self.logit = Logit(shallow[-1] * base * base, spec.d)
        # With N(0, 0.02) and no normalization the signal dies within a few layers, so that case follows He's rule.
        draw_weights(self, randomness, spec.d, std=None if spec.d.norm == "none" else 0.02)
