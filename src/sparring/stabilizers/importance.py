"""Importance sampling: G learns from latents drawn where it is steep, each weighted so that the mean stays what it was.

A continuous G cannot jump from one mode to the next, so somewhere it runs steeply between them (Tanielian et al. 2020,
arXiv:2006.04596, who know such samples by the norm of G's Jacobian). Few latents lie there, but the gradient of each by G's
weights grows with that slope: a handful of samples makes most of the gradient's noise, and what would narrow the bridges drowns
in what shakes them. Drawing latents in proportion to the size of their gradient gives the mean of least variance (Zhao and Zhang
2015, arXiv:1401.2753, eq. 5). The slope stands for that size here, under a square root that was found to train best.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.fast.dense import finely
from sparring.stabilizers.hooks import Hooks
from sparring.turns import Batch

_STEP = 1e-3  # narrower than the bridges of a trained G: a latent next to one is not steep itself
_DIRECTIONS = 2  # what every direction more would cost is a pass over all candidates
_DEFENSIVE = 0.1  # share that is drawn evenly (Hesterberg 1995), so that no weight exceeds 10


class Importance(Hooks):
    """Draws the latents of G's turn out of ``candidates`` times as many, more of them where G is steep."""

    def __init__(self, candidates: int) -> None:
        """Set how many.

        Args:
            candidates: K, latents looked at for each that is used.
        """
        super().__init__()
        self.draws = candidates

    def latents(self, G: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``z [B, latent_dim]`` out of the batch's ``[K B, latent_dim]``, and the weights ``[B]``, 1 on average."""
        with torch.no_grad(), finely():
            shares = chances(steepness(G, batch.z, batch.source))
            chosen = systematic(shares, len(batch.z) // self.draws, batch.source)
        return batch.z[chosen], 1 / (len(shares) * shares[chosen])


def steepness(G: nn.Module, z: Tensor, source: torch.Generator) -> Tensor:
    """Return how far G's samples move for a step through the latent space, per unit of z: ``[B]``.

    Up to a factor, in two dimensions of z, the Frobenius norm of G's Jacobian; in more, that of a random plane's.

    Args:
        G: ``[B, latent_dim]`` to samples; each depends on its own z only.
        z: ``[B, latent_dim]``.
        source: of the plane.
    """
    directions = torch.linalg.qr(torch.randn(z.shape[1], min(_DIRECTIONS, z.shape[1]), generator=source))[0].T
    steps = _STEP * directions.to(z.device)
    here, *there = G(torch.cat([z, *(z + step for step in steps)])).float().flatten(1).chunk(1 + len(steps))
    return torch.stack([(x - here).square().sum(1) for x in there]).sum(0).sqrt() / _STEP


def chances(steep: Tensor) -> Tensor:
    """Return the chance of each latent to be drawn, ``[N]``, of sum 1: a tenth evenly, the rest by the root of steepness."""
    roots = steep.sqrt()
    shares = torch.nan_to_num(roots / roots.sum(), nan=1 / len(steep))
    return (1 - _DEFENSIVE) * shares + _DEFENSIVE / len(steep)


def systematic(shares: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Draw ``count`` numbers of 0 … N - 1, ``[count]``, each ``count`` times its share ``[N]`` on average, rounded up or down.

    Latents that lie beside each other in a spread sequence stay spread.
    """
    marks = (torch.arange(count) + torch.rand(1, generator=source)).to(shares.device) / count
    sums = shares.double().cumsum(0)
    return torch.searchsorted(sums / sums[-1], marks.double()).clamp_max(len(shares) - 1)
