"""The textbook loop of `sparring.speed.textbook` over a data set in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.speed.textbook import LATENT_DIM, TextbookLoop


def train(images: Tensor, steps: int, batch_size: int, seed: int) -> nn.Module:
    """Train the case study's networks for a number of steps and return G in evaluation mode.

    Args:
        images: [N, 1, 28, 28] float32 in [-1, 1].
        steps: updates of each player.
        batch_size: real images in a step.
        seed: of weights, noise and order.
    """
    torch.manual_seed(seed)
    loop = TextbookLoop("case-study", batch_size)
    order, position = torch.randperm(len(images)), 0
    for _ in range(steps):
        if position + batch_size > len(images):
            order, position = torch.randperm(len(images)), 0
        real = images[order[position : position + batch_size]]
        position += batch_size
        loop.step(real, torch.randn(batch_size, LATENT_DIM), torch.randn(batch_size, LATENT_DIM))
    return loop.netG.eval()
