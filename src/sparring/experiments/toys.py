"""Small players and the loop that teaches a discriminator alone, as the experiments on one player need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from sparring.data.synthetic import ring
from sparring.losses import Labels, Loss
from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.optim import laid_out_like
from sparring.penalties import PENALTIES, Judged
from sparring.randomness import randomness

Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""A source of randomness -> a real and a fake batch, ``[B, dims]`` each."""


def players(seed: int, dims: int, *, latent_dim: int = 2, width: int = 32) -> tuple[nn.Module, nn.Module]:
    """Return fully connected players for points.

    Args:
        seed: of their first weights.
        dims: coordinates of a point.
        latent_dim: length of z.
        width: hidden units of each layer.
    """
    size = PlayerSpec(width, "none")
    G, D = build_players("mlp", NetworkSpec((dims,), latent_dim, size, size), randomness(seed, "weights"))
    return G, D


def lessons(
    D: nn.Module,
    loss: Loss,
    draw: Draw,
    steps: int,
    *,
    source: torch.Generator,
    lr: float = 3e-3,
    labels: Labels | None = None,
    penalties: dict[str, float] | None = None,
) -> Iterator[int]:
    """Teach D while G stands still, and yield after every step how many there were: 0, 1 … ``steps``.

    Args:
        D: ``[B, dims] -> [B]``, changed in place.
        loss: whose discriminator's part is minimized.
        draw: makes a batch.
        steps: how many.
        source: all randomness.
        lr: of Adam; it falls to 0 along a straight line, so that D comes to rest at its optimum.
        labels: D's targets; 1 and 0 if None.
        penalties: name -> weight.
    """
    parameters = list(D.parameters())
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.99), fused=True)
    yield 0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        value = _loss(D, loss, draw(source), source, labels or Labels(), penalties or {})
        for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
            parameter.grad = laid_out_like(gradient, parameter)
        optimizer.step()
        yield step + 1


def _loss(
    D: nn.Module,
    loss: Loss,
    batch: tuple[Tensor, Tensor],
    source: torch.Generator,
    labels: Labels,
    penalties: dict[str, float],
) -> Tensor:
    x_real, x_fake = (x.detach().requires_grad_(bool(penalties)) for x in batch)
    real_logits, fake_logits = D(x_real), D(x_fake)
    value = loss.discriminator(real_logits, fake_logits, labels).mean()
    judged = Judged(D, x_real, x_fake, real_logits, fake_logits, source)
    for name, weight in penalties.items():
        value = value + weight * PENALTIES[name].function(judged).mean()
    return value


def taught(D: nn.Module, loss: Loss, draw: Draw, steps: int, **more: object) -> nn.Module:
    """Return D after all `lessons`."""
    for _ in lessons(D, loss, draw, steps, **more):  # type: ignore[arg-type]
        pass
    return D


def gradient_norm(loss: Tensor, network: nn.Module) -> float:
    """Return the norm of the gradient of a loss ``[B]``'s mean by all of a network's parameters."""
    gradients = torch.autograd.grad(loss.mean(), list(network.parameters()), retain_graph=True)
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))


def ring_points(count: int, source: torch.Generator) -> Tensor:
    """Draw points of the data set ``ring``, eight Gaussians on the unit circle, ``[count, 2]``."""
    modes = ring()
    centres = torch.tensor(modes.centres, dtype=torch.float32)
    which = torch.randint(len(centres), (count,), generator=source)
    return centres[which] + modes.sigma * torch.randn(count, 2, generator=source)


def gather(G: nn.Module, latent_dim: int, seed: int) -> None:
    """Scale G's output so that its points lie within half the ring's radius: real and fake do not overlap.

    Convolutional generators begin like this, with small weights and samples that are all nearly grey.
    """
    output = next(layer for layer in reversed(list(G.modules())) if isinstance(layer, nn.Linear))
    with torch.no_grad():
        furthest = G(torch.randn(4096, latent_dim, generator=randomness(seed, "gather"))).norm(dim=1).max()
        output.weight.mul_(0.5 / furthest)
