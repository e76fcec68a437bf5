"""Importance sampling: G learns from latents drawn where it is steep, weighted so that the mean stays what it was, or not.

A continuous G cannot jump from one mode to the next, so somewhere it runs steeply between them (Tanielian et al. 2020,
arXiv:2006.04596, who know such samples by the norm of G's Jacobian). Few latents lie there, but the gradient of each by G's
weights grows with that slope: a handful of samples makes most of the gradient's noise, and what would narrow the bridges drowns
in what shakes them. Drawing latents in proportion to the size of their gradient gives the mean of least variance (Zhao and Zhang
2015, arXiv:1401.2753, eq. 5). The slope stands for that size here, under a square root that was found to train best.

The weights may count in part only, as in prioritized replay (Schaul et al. 2016, arXiv:1511.05952, §3.4). Without them G has
another goal, ``∫ p(z) w(z) ℓ(D(G(z))) dz`` with w above 1 on the bridges, but the game has the same equilibrium: D learns from
draws of the prior as before, and where p_g = p_data it is constant, so that no z of G's has a gradient, whatever its weight.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from sparring.errors import UsageError
from sparring.fast import plain
from sparring.fast.dense import in_use
from sparring.stabilizers.hooks import Hooks
from sparring.turns import Batch

_DEFENSIVE = 0.1  # share that is drawn evenly (Hesterberg 1995), so that no weight exceeds 10


class Importance(Hooks):
    """Draws the latents of G's turn out of ``candidates`` times as many, more of them where G is steep."""

    def __init__(self, candidates: int, correction: float = 1.0) -> None:
        """Set how many, and how they count.

        Args:
            candidates: K, latents looked at for each that is used.
            correction: β, the power of the weights: with 1 the mean gradient stays what it was, with 0 all count alike.
        """
        super().__init__()
        self.draws, self.correction = candidates, correction

    def latents(self, G: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``z [B, latent_dim]`` out of the batch's ``[K B, latent_dim]``, and the weights ``[B]``, 1 on average."""
        with torch.no_grad():
            shares = chances(steepness(G, batch.z, batch.source))
            chosen = systematic(shares, len(batch.z) // self.draws, batch.source)
        weights = (len(shares) * shares) ** -self.correction
        return batch.z[chosen], (weights / (shares * weights).sum())[chosen]


def refuse_norms(G: nn.Module) -> None:
    """Raise a `UsageError` for a G whose samples depend on each other, or have no derivative forwards."""
    for kind, reason in (
        (nn.modules.batchnorm._BatchNorm, "the batch would have the statistics of steep places"),
        (nn.GroupNorm, "torch cannot differentiate it forwards on images"),
    ):
        for module in G.modules():
            if isinstance(module, kind):
                raise UsageError(
                    f"--stabilizer importance: G has {type(module).__name__}, and {reason}; give --g.norm none, or "
                    f"--stabilizer none."
                )


def steepness(G: nn.Module, z: Tensor, source: torch.Generator) -> Tensor:
    """Return how fast G's samples move with z, each in a direction of its own: ``|J v|``, ``[B]``, v uniform with ``|v| = 1``.

    The mean of its square is ``‖J‖² / latent_dim``, the Frobenius norm's. It is a derivative, forwards, and no difference of
    samples: those of bfloat16 are rounded by more than they move.

    Args:
        G: ``[B, latent_dim]`` to samples; each depends on its own z only.
        z: ``[B, latent_dim]``.
        source: of the directions.
    """
    directions = functional.normalize(torch.randn(z.shape, generator=source)).to(z)
    # Dense layers' kernels have a derivative forwards, convolutions' have none, nor has layer norm in torch's bfloat16.
    float32 = torch.autocast(z.device.type, enabled=False)
    with float32, plain(not in_use()), forward_ad.dual_level():
        with warnings.catch_warnings():  # torch writes rules at its first dual number, by means that it deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            dual = forward_ad.make_dual(z, directions)  # type: ignore[no-untyped-call]
        moved = forward_ad.unpack_dual(G(dual)).tangent  # type: ignore[no-untyped-call]
    return z.new_zeros(len(z)) if moved is None else moved.float().flatten(1).norm(dim=1)


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
