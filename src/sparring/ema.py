"""The exponential moving average of a network's weights (arXiv:1806.04498), counted in images seen."""

from __future__ import annotations

import copy

import torch
from torch import nn

#: The half-life never exceeds this share of the images seen, so that the first random weights are soon forgotten
#: (the ramp-up of StyleGAN2's training, arXiv:1912.04958).
_RAMP_UP = 0.05


class Ema:
    """Keeps the averaged twin of a network.

    Attributes:
        network: the twin, in evaluation mode and without gradients; running statistics are averaged like weights.
    """

    def __init__(self, network: nn.Module, half_life: int) -> None:
        """Start the twin as a copy.

        Args:
            network: the network that trains.
            half_life: in images; 0 makes the twin follow the network without averaging.
        """
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, source: nn.Module, images_seen: int, batch_size: int) -> None:
        """Move the twin towards the network.

        Args:
            source: the network that trains.
            images_seen: real images so far, the batch of this step included.
            batch_size: real images of this step.
        """
        half_life = min(self.half_life, _RAMP_UP * images_seen)
        keep = 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0
        # state_dict covers weights and buffers alike; integers (batch counters) can only be copied.
        ours, theirs = self.network.state_dict(), source.state_dict()
        averaged = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in averaged], [theirs[name] for name in averaged], 1.0 - keep)
        for name in ours.keys() - set(averaged):
            ours[name].copy_(theirs[name])
