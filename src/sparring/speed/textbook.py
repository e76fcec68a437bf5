"""The GAN training loop as tutorials write it, in plain PyTorch: the baseline that every bench compares with.

Labels, losses and optimizers are those of the lectures' MNIST case study (docs/lectures.md, N2) and of DCGAN (arXiv:1511.06434).
Nothing is printed and no ``.item()`` is called in a step, so that what is compared is the training itself.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

#: Shape of the images that the networks of each name make.
SHAPES: dict[str, tuple[int, int, int]] = {"case-study": (1, 28, 28), "dcgan-64": (3, 64, 64)}
LATENT_DIM = 100
CPU = torch.device("cpu")


def generator(network: str, width: int = 64) -> nn.Sequential:
    """Return G: ``z [B, 100] -> images [B, C, H, W]`` in [-1, 1].

    Args:
        network: a key of `SHAPES`.
        width: channels of the layer nearest to the image.
    """
    if network == "case-study":
        G = nn.Sequential(
            nn.Linear(LATENT_DIM, 7 * 7 * 2 * width),
            nn.Unflatten(1, (2 * width, 7, 7)),
            nn.ConvTranspose2d(2 * width, width, 5, stride=2, padding=2, output_padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 5, stride=2, padding=2, output_padding=1),
            nn.Tanh(),
        )
        return G.apply(_draw)
    layers: list[nn.Module] = [nn.Linear(LATENT_DIM, 16 * 8 * width, bias=False), nn.Unflatten(1, (8 * width, 4, 4))]
    layers += [nn.BatchNorm2d(8 * width), nn.ReLU()]
    for before, after in pairwise((8 * width, 4 * width, 2 * width, width)):
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1), nn.Tanh()).apply(_draw)


def discriminator(network: str, width: int = 64) -> nn.Sequential:
    """Return D: ``images [B, C, H, W] -> logits [B, 1]``.

    Args:
        network: a key of `SHAPES`.
        width: channels of the layer nearest to the image.
    """
    if network == "case-study":
        D = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(7 * 7 * 2 * width, 1),
        )
        return D.apply(_draw)
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for before, after in pairwise((width, 2 * width, 4 * width, 8 * width)):
        layers += [
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 8 * width, 1)).apply(_draw)


def _draw(module: nn.Module) -> None:
    """Draw weights as DCGAN does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)


class TextbookLoop:
    """Both players, their optimizers, and the step.

    Attributes:
        netG: the generator.
        netD: the discriminator.
    """

    def __init__(self, network: str, batch_size: int, width: int = 64, device: torch.device = CPU) -> None:
        """Build everything; weights are drawn from torch's global generator.

        Args:
            network: a key of `SHAPES`.
            batch_size: real images in a step.
            width: channels of the layer nearest to the image.
            device: where everything lies.
        """
        self.netG, self.netD = generator(network, width).to(device), discriminator(network, width).to(device)
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizerG = torch.optim.Adam(self.netG.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizerD = torch.optim.Adam(self.netD.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.real_label = torch.full((batch_size, 1), 0.9, device=device)
        self.fake_label, self.ones = torch.zeros_like(self.real_label), torch.ones_like(self.real_label)

    def step(self, real: Tensor, z_for_D: Tensor, z_for_G: Tensor) -> tuple[Tensor, Tensor]:
        """Move D, then G.

        Args:
            real: ``[B, C, H, W]`` in [-1, 1].
            z_for_D: ``[B, 100]``.
            z_for_G: ``[B, 100]``.

        Returns:
            Both losses, ``[]``.
        """
        self.netD.zero_grad()
        fake = self.netG(z_for_D)
        lossD = self.criterion(self.netD(real), self.real_label)
        lossD = lossD + self.criterion(self.netD(fake.detach()), self.fake_label)
        lossD.backward()
        self.optimizerD.step()

        self.netG.zero_grad()
        lossG = self.criterion(self.netD(self.netG(z_for_G)), self.ones)
        lossG.backward()
        self.optimizerG.step()
        return lossD, lossG
