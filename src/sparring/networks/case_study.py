"""The lectures' MNIST case study, layer for layer: two steps of ×2 between 7×7 and 28×28."""

from __future__ import annotations

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
from sparring.networks.spec import NetworkSpec


class Generator(nn.Module):
    """``z [B, latent_dim]`` → 7×7×128 → 14×14×64 → 28×28×C in [-1, 1]."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        width, norm = spec.g.width, spec.g.norm
        self.layers = Layers(
            nn.Linear(spec.latent_dim, 7 * 7 * 2 * width),
            Reshape(2 * width, 7, 7),
            ConvTranspose2d(2 * width, width, 5, stride=2, padding=2, more=1, bias=norm == "none"),
            normalization(spec.g, width),
            nn.ReLU(inplace=True),
            ConvTranspose2d(width, spec.shape[0], 5, stride=2, padding=2, more=1),
            nn.Tanh(),
        )
        draw_weights(self, randomness, spec.g, std=0.02)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images, ``[B, C, 28, 28]`` in [-1, 1], of ``z [B, latent_dim]``."""
        return cast("Tensor", self.layers(z))


class Discriminator(FeatureCritic):
    """28×28×C → 14×14×64 → 7×7×128 → 6272 → one logit."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        width, norm = spec.d.width, spec.d.norm
        self.features = Layers(
            Conv2d(spec.judged_shape[0], width, 5, stride=2, padding=2),
            nn.LeakyReLU(0.2, inplace=True),
            Conv2d(width, 2 * width, 5, stride=2, padding=2, bias=norm == "none"),
            normalization(spec.d, 2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            Flatten(),
        )
        self.logit = Logit(7 * 7 * 2 * width, spec.d)
        draw_weights(self, randomness, spec.d, std=0.02)
