"""R3GAN's players (Huang et al. 2025, arXiv:2501.05441, §3): residual, grouped convolutions, bilinear, no normalization.

At 32×32 with width 768 these are the paper's for CIFAR-10: z → 4×4 → 8×8 → 16×16 → 32×32, 768 channels at every side, two blocks
each, and the mirror. Above 32×32 the channels halve with every doubling. Two things differ: G ends with tanh, as everywhere here,
and resampling is plain bilinear, without a filter of its own.

A block is 1×1 to twice the channels, 3×3 in groups of 16 channels, 1×1 back, with LeakyReLU 0.2 between, beside the identity. In
place of normalization its first weights follow Fixup (Zhang et al. 2019, arXiv:1901.09321): with L blocks and m = 3 layers, the
first two of a block shrink by L^(-1/(2m - 2)) and the last begins at 0, so that a player of any depth begins as its skips.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.networks.layers import HE_GAIN, FeatureCritic, Layers, Logit, draw_weights, normalization
from sparring.networks.spec import NetworkSpec, PlayerSpec, doublings

_BLOCKS = 2  # at every side
_EXPANSION = 2
_GROUP = 16  # channels
_FULL = 32  # the largest side with all channels
_FIXUP = -1 / (2 * 3 - 2)


def stages(shape: tuple[int, ...], width: int) -> tuple[int, list[int]]:
    """Return the smallest map's side, and the channels at every side from the smallest to the image's.

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels at sides up to 32.
    """
    split = doublings(shape[1])
    assert split is not None, shape  # the table's `unfit` has refused every other side
    base, n = split
    return base, [max(1, width * _FULL // max(_FULL, base * 2**level)) for level in range(n + 1)]


class Pointwise(nn.Conv2d):
    """A 1×1 convolution: one product of matrices over all pixels, where channels are last in memory."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, outputs, H, W]`` of ``x [B, inputs, H, W]``."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Block(nn.Module):
    """``x + f(x)`` of maps ``[B, C, H, W]``."""

    def __init__(self, channels: int, player: PlayerSpec) -> None:
        super().__init__()
        inside = _EXPANSION * channels
        groups = max(1, inside // _GROUP)
        if inside % groups:
            groups = 1
        self.branch = Layers(
            Pointwise(channels, inside),
            normalization(player, inside),
            nn.LeakyReLU(0.2),  # not in place: what is before it is a view, whose gradient would be copied twice
            nn.Conv2d(inside, inside, 3, padding=1, groups=groups),
            normalization(player, inside),
            nn.LeakyReLU(0.2, inplace=True),
            Pointwise(inside, channels, bias=False),
        )

    @torch.no_grad()
    def shrink(self, blocks: int) -> None:
        """Give the weights the size with which a player of so many blocks begins well."""
        first, middle, last = (layer for layer in self.branch if isinstance(layer, nn.Conv2d))
        for layer in (first, middle):
            layer.weight.mul_(HE_GAIN * blocks**_FIXUP)
        last.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the same size."""
        added: Tensor = self.branch(x)
        return x + added


class Twice(nn.Module):
    """Maps to twice their side, pixels between the old ones interpolated (bilinear)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, 2H, 2W]`` of ``x [B, C, H, W]``."""
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class FromMaps(nn.Module):
    """Numbers ``[B, C]`` to the smallest maps: each channel is a learnt map times its number."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(side, side, channels))  # as maps lie in memory, and so do all gradients

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, side, side]`` of ``x [B, C]``."""
        return (x[:, None, None, :] * self.weight).permute(0, 3, 1, 2)


class ToMaps(nn.Conv2d):
    """The mirror: the smallest maps to numbers ``[B, C]``, each channel's product with a learnt map."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C]`` of ``x [B, C, side, side]``."""
        maps = (
            self.weight.squeeze(1).permute(1, 2, 0).contiguous()
        )  # as x lies in memory, so that its gradient does, too
        return (x.permute(0, 2, 3, 1) * maps).sum((1, 2))


def _blocks(channels: int, player: PlayerSpec) -> list[nn.Module]:
    return [Block(channels, player) for _ in range(_BLOCKS)]


def _draw(network: nn.Module, randomness: torch.Generator, player: PlayerSpec) -> None:
    draw_weights(network, randomness, player, std=None, gain=1.0)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    if player.init_std is None and not player.spectral:  # which gives every weight a size of its own, and divides by it
        for block in blocks:
            block.shrink(len(blocks))


class Generator(nn.Module):
    """``z [B, latent_dim]`` to images ``[B, C, H, W]`` in [-1, 1]."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, channels = stages(spec.shape, spec.g.width)
        maps = FromMaps(channels[0], base)
        layers: list[nn.Module] = [
            nn.Linear(spec.latent_dim, channels[0], bias=False),
            maps,
            *_blocks(channels[0], spec.g),
        ]
        for before, after in pairwise(channels):
            if before != after:
                layers.append(Pointwise(before, after, bias=False))
            layers += [Twice(), *_blocks(after, spec.g)]
        self.layers = Layers(*layers, Pointwise(channels[-1], spec.shape[0]), nn.Tanh())
        _draw(self, randomness, spec.g)
        nn.init.normal_(maps.weight, generator=randomness)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images, ``[B, C, H, W]`` in [-1, 1], of ``z [B, latent_dim]``."""
        x: Tensor = self.layers(z)
        return x


class Discriminator(FeatureCritic):
    """Images ``[B, C, H, W]`` in [-1, 1] to logits ``[B]``."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, rising = stages(spec.shape, spec.d.width)
        channels = rising[::-1]
        layers: list[nn.Module] = [Pointwise(spec.judged_shape[0], channels[0]), *_blocks(channels[0], spec.d)]
        for before, after in pairwise(channels):
            layers.append(nn.AvgPool2d(2))  # bilinear, at half the side
            if before != after:
                layers.append(Pointwise(before, after, bias=False))
            layers += _blocks(after, spec.d)
        self.features = Layers(*layers, ToMaps(channels[-1], base))
        self.logit = Logit(channels[-1], spec.d)
        _draw(self, randomness, spec.d)
