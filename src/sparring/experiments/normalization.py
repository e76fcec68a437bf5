"""Batch normalization in G: whose company a sample keeps, in training and afterwards (T10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.experiments.finding import Curve, Finding, Panel
from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.randomness import randomness

_COMPANY = (1, 2, 4, 8, 16, 64)


def company(seed: int = 0, warm_up: int = 60) -> Finding:
    """T10: make one image alone and among others, by the batch's statistics and by running averages (arXiv:1502.03167, alg. 2).

    Args:
        seed: of the weights and of z.
        warm_up: batches that the running averages are taken from.
    """
    source = randomness(seed, "T10")
    G = _generator(seed)
    with torch.no_grad():
        for _ in range(warm_up):
            G.train()(torch.randn(64, 16, generator=source, dtype=torch.float64))
        z = torch.randn(max(_COMPANY), 16, generator=source, dtype=torch.float64)
        training, evaluation = _images(G.train(), z), _images(G.eval(), z)
    rows = tuple((count, _apart(training, count), _apart(evaluation, count)) for count in _COMPANY[1:])
    to_training = _furthest(evaluation[1], training[max(_COMPANY)][:1])
    most, least = max(row[2] for row in rows), min(row[1] for row in rows)
    holds = most < 1e-9 and least > 1e-2
    return Finding(
        "T10",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: with running averages an image made alone equals the same image among others "
        f"(largest difference of a pixel {most:.0e}); with the batch's own statistics the others change it by {least:.2f} or "
        f"more. The running averages of {warm_up} batches give the image of a batch of {max(_COMPANY)} up to {to_training:.2f}.",
        ("images in the batch", "difference, batch statistics", "difference, running averages"),
        rows,
        (_differences(rows),),
    )


def _generator(seed: int) -> nn.Module:
    """Return a DCGAN generator in float64, so that what is left is not rounding."""
    size = PlayerSpec(8, "batch")
    G = build_players("dcgan", NetworkSpec((1, 16, 16), 16, size, size), randomness(seed, "weights"))[0].double()
    for module in G.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Linear):
            module.weight.data.mul_(5.0)  # DCGAN's first weights of 0.02 would make every image nearly grey
    return G


def _images(G: nn.Module, z: Tensor) -> dict[int, Tensor]:
    """Return the images of the first z, 1, 2 … at a time, with the running averages left as they are."""
    norms = [module for module in G.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.0
    images = {count: G(z[:count]) for count in _COMPANY}
    for norm in norms:
        norm.momentum = 0.1
    return images


def _apart(images: dict[int, Tensor], count: int) -> float:
    """Return by how much the first image changes when others are made with it."""
    return _furthest(images[1], images[count][:1])


def _furthest(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _differences(rows: tuple[tuple[float, ...], ...]) -> Panel:
    counts = tuple(float(row[0]) for row in rows)
    names = ("batch statistics (training)", "running averages (evaluation)")
    # An exact 0 has no place on a logarithmic axis; it is drawn at the precision of float64.
    curves = (Curve(name, counts, tuple(max(row[i + 1], 1e-16) for row in rows)) for i, name in enumerate(names))
    title = "The same z alone and in company"
    return Panel(title, "images in the batch", "largest difference of a pixel", tuple(curves), log_x=True, log_y=True)
