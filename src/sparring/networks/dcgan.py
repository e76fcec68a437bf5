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

from sparring.networks.layers import FeatureCritic, Logit, Reshape, draw_weights, normalization
from sparring.networks.spec import NetworkSpec, doublings

_MOST_CHANNELS = 8  # times the width: beyond 64×64 the deepest layers stop growing


def _feature_maps(shape: tuple[int, ...], width: int) -> tuple[int, list[int]]:
    """Return the smallest map's side and the channels from the image side to the deepest."""
    split = doublings(shape[1])
    assert split is not None, shape  # the table's `unfit` has refused every other side
    base, n = split
    return base, [width * min(2**level, _MOST_CHANNELS) for level in range(n)]


class Generator(nn.Module):
    """``z [B, latent_dim]`` to images ``[B, C, H, W]`` in [-1, 1]."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, shallow = _feature_maps(spec.shape, spec.g.width)
        deep, norm = shallow[::-1], spec.g.norm
        layers: list[nn.Module] = [
            nn.Linear(spec.latent_dim, deep[0] * base * base, bias=norm == "none"),
            Reshape(deep[0], base, base),
            normalization(spec.g, deep[0]),
            nn.ReLU(),
        ]
        for before, after in pairwise(deep):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=norm == "none"),
                normalization(spec.g, after),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(deep[-1], spec.shape[0], 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        draw_weights(self, randomness, spec.g, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images, ``[B, C, H, W]`` in [-1, 1], of ``z [B, latent_dim]``."""
        return cast("Tensor", self.layers(z))


class Discriminator(FeatureCritic):
    """Images ``[B, C, H, W]`` in [-1, 1] to logits ``[B]``."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, shallow = _feature_maps(spec.shape, spec.d.width)
        norm = spec.d.norm
        layers: list[nn.Module] = [
            nn.Conv2d(spec.judged_shape[0], shallow[0], 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for before, after in pairwise(shallow):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm == "none"),
                normalization(spec.d, after),
                nn.LeakyReLU(0.2),
            ]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.logit = Logit(shallow[-1] * base * base, spec.d)
        # With N(0, 0.02) and no normalization the signal dies within a few layers, so that case follows He's rule.
        draw_weights(self, randomness, spec.d, std=None if norm == "none" else 0.02)
