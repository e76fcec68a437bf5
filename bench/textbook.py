"""The GAN training loop as tutorials write it, in plain PyTorch: the baseline that every bench compares with.

Networks, labels and optimizers are those of the lectures' MNIST case study (docs/lectures.md, N2). Data sits in memory as
float32, nothing is printed and no `.item()` is called in the loop, so that what is compared is the training itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def generator() -> nn.Sequential:
    """Return z [B, 100] -> images [B, 1, 28, 28] in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(100, 7 * 7 * 128),
        nn.Unflatten(1, (128, 7, 7)),
        nn.ConvTranspose2d(128, 64, 5, stride=2, padding=2, output_padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 5, stride=2, padding=2, output_padding=1),
        nn.Tanh(),
    )


def discriminator() -> nn.Sequential:
    """Return images [B, 1, 28, 28] -> logits [B, 1]."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, stride=2, padding=2),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    )


def init_weights(module: nn.Module) -> None:
    """Draw weights as DCGAN does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)


def train(images: Tensor, steps: int, batch_size: int, seed: int) -> nn.Module:
    """Train for a number of steps and return G in evaluation mode.

    Args:
        images: [N, 1, 28, 28] float32 in [-1, 1].
        steps: updates of each player.
        batch_size: real images in a step.
        seed: of weights, noise and order.
    """
    torch.manual_seed(seed)
    netG, netD = generator().apply(init_weights), discriminator().apply(init_weights)
    criterion = nn.BCEWithLogitsLoss()
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real_label, fake_label = torch.full((batch_size, 1), 0.9), torch.zeros(batch_size, 1)
    ones = torch.ones(batch_size, 1)
    order, position = torch.randperm(len(images)), 0
    for _ in range(steps):
        if position + batch_size > len(images):
            order, position = torch.randperm(len(images)), 0
        real = images[order[position : position + batch_size]]
        position += batch_size

        netD.zero_grad()
        fake = netG(torch.randn(batch_size, 100))
        lossD = criterion(netD(real), real_label) + criterion(netD(fake.detach()), fake_label)
        lossD.backward()
        optimizerD.step()

        netG.zero_grad()
        lossG = criterion(netD(netG(torch.randn(batch_size, 100))), ones)
        lossG.backward()
        optimizerG.step()
    return netG.eval()
