"""The GAN training loops as tutorials and papers write them, in plain PyTorch: the baselines that every bench compares with.

Labels, losses and optimizers are those of the lectures' MNIST case study (docs/lectures.md, N2) and of DCGAN (arXiv:1511.06434).
R3GAN's loop is that of its paper (arXiv:2501.05441, eq. 2 and 3), with both penalties in every step, on sparring's networks
of that name computed by PyTorch's kernels. Nothing is printed and no ``.item()`` is called in a step, so that what is compared
is the training itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparring.fast import plain
from sparring.networks import build_players
from sparring.networks.spec import NetworkSpec, PlayerSpec
from sparring.randomness import randomness

#: Shape of the images that the networks of each name make.
SHAPES: dict[str, tuple[int, int, int]] = {"case-study": (1, 28, 28), "dcgan-64": (3, 64, 64), "r3gan-32": (3, 32, 32)}
#: Channels of both players, as published.
WIDTHS = {"case-study": 64, "dcgan-64": 64, "r3gan-32": 768}
#: Of R1 and R2 in R3GAN's loop.
PENALTY = 0.05
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


class Loop(Protocol):
    """What is trained by plain PyTorch."""

    @property
    def netG(self) -> nn.Module:
        """The generator."""

    @property
    def netD(self) -> nn.Module:
        """The discriminator."""

    def step(self, real: Tensor, z_for_D: Tensor, z_for_G: Tensor, real_for_G: Tensor) -> tuple[Tensor, Tensor]:
        """Move D, then G.

        Args:
            real: ``[B, C, H, W]`` in [-1, 1], for D's turn.
            z_for_D: ``[B, 100]``.
            z_for_G: ``[B, 100]``.
            real_for_G: as ``real``, for a loss of G that compares.

        Returns:
            Both losses, ``[]``.
        """


def loop_of(network: str, batch_size: int, width: int | None = None, device: torch.device = CPU) -> Loop:
    """Return a network's loop; weights are drawn from torch's global generator.

    Args:
        network: a key of `SHAPES`.
        batch_size: real images in a step.
        width: channels of both players; None for those of `WIDTHS`.
        device: where everything lies.
    """
    kind = R3GANLoop if network == "r3gan-32" else TextbookLoop
    return kind(network, batch_size, width or WIDTHS[network], device)


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

    def step(
        self, real: Tensor, z_for_D: Tensor, z_for_G: Tensor, real_for_G: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Move D, then G; see `Loop`. What G is judged beside is not used: its loss compares with nothing."""
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


class R3GANLoop:
    """R3GAN's players, their optimizers, and the step.

    Attributes:
        netG: the generator.
        netD: the discriminator.
    """

    def __init__(self, network: str, batch_size: int, width: int, device: torch.device = CPU) -> None:
        """Build everything.

        Args:
            network: a key of `SHAPES`.
            batch_size: not used: losses need no labels.
            width: channels of the widest maps.
            device: where everything lies.
        """
        player = PlayerSpec(width, "none")
        spec = NetworkSpec(shape=SHAPES[network], latent_dim=LATENT_DIM, g=player, d=player)
        seed = int(torch.randint(2**31, ()))
        self.netG, self.netD = (made.to(device) for made in build_players("r3gan", spec, randomness(seed))[:2])
        self.optimizerG = torch.optim.Adam(self.netG.parameters(), lr=2e-4, betas=(0.0, 0.99))
        self.optimizerD = torch.optim.Adam(self.netD.parameters(), lr=2e-4, betas=(0.0, 0.99))

    def step(self, real: Tensor, z_for_D: Tensor, z_for_G: Tensor, real_for_G: Tensor) -> tuple[Tensor, Tensor]:
        """Move D, then G; see `Loop`."""
        with plain():
            self.netD.zero_grad()
            real = real.detach().requires_grad_()
            fake = self.netG(z_for_D).detach().requires_grad_()
            real_logits, fake_logits = self.netD(real), self.netD(fake)
            slopes = torch.autograd.grad([real_logits.sum(), fake_logits.sum()], [real, fake], create_graph=True)
            steepness = sum(slope.square().flatten(1).sum(1).mean() for slope in slopes)
            lossD = F.softplus(fake_logits - real_logits).mean() + PENALTY / 2 * steepness
            lossD.backward()  # type: ignore[no-untyped-call]
            self.optimizerD.step()

            self.netG.zero_grad()
            with torch.no_grad():
                real_logits = self.netD(real_for_G)
            lossG = F.softplus(real_logits - self.netD(self.netG(z_for_G))).mean()
            lossG.backward()  # type: ignore[no-untyped-call]
            self.optimizerG.step()
        return lossD, lossG
