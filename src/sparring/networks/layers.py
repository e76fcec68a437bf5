"""Pieces that the architectures share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.networks.spec import PlayerSpec


class Reshape(nn.Module):
    """Gives every sample of a batch the same new shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` as ``[B, *shape]``."""
        return x.reshape(x.shape[0], *self.shape)

    def extra_repr(self) -> str:
        """Return the shape, for ``print(network)``."""
        return "×".join(map(str, self.shape))


class Logit(nn.Module):
    """The last layer of D: features ``[B, in_features]`` to one logit each, ``[B]``."""

    def __init__(self, in_features: int, player: PlayerSpec) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, ``[B]``, larger for more real."""
        logits: Tensor = self.dense(features)
        return logits.squeeze(1)


class FeatureCritic(nn.Module):
    """A discriminator in two parts: samples to flat features, features to one logit.

    Attributes:
        features: ``[B, *judged_shape]`` -> ``[B, F]``, which feature matching compares.
        logit: ``[B, F]`` -> ``[B]``.
    """

    features: nn.Module
    logit: Logit

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, ``[B]``, of samples ``[B, *judged_shape]``."""
        logits: Tensor = self.logit(self.features(x))
        return logits


def normalization(player: PlayerSpec, channels: int, *, flat: bool = False) -> nn.Module:
    """Return the normalization that stands after a layer.

    Args:
        player: its ``norm`` is ``"batch"`` (arXiv:1502.03167), ``"layer"`` (arXiv:1607.06450, over channels and space of
            each sample, so that gradient penalties stay per sample) or ``"none"``.
        channels: channels of the layer's output.
        flat: whether the output is ``[B, channels]`` and not ``[B, channels, H, W]``.
    """
    if player.norm == "batch":
        kind = nn.BatchNorm1d if flat else nn.BatchNorm2d
        return kind(channels, momentum=player.momentum)
    if player.norm == "layer":
        return nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels)
    assert player.norm == "none", player.norm
    return nn.Identity()


def draw_weights(network: nn.Module, generator: torch.Generator, std: float | None) -> None:
    """Draw all weights anew, from one generator, so that they depend on the seed alone.

    Args:
        network: the network, changed in place; biases become 0 and normalization starts as the identity.
        generator: the source of randomness.
        std: the standard deviation of the normal draw, 0.02 in DCGAN (arXiv:1511.06434, §4); None is He's rule for
            leaky units of slope 0.2 (arXiv:1502.01852).
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if std is None:
                nn.init.kaiming_normal_(module.weight, a=0.2, generator=generator)
            else:
                nn.init.normal_(module.weight, 0.0, std, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
