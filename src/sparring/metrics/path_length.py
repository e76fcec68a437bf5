"""Perceptual path length: how far the picture moves for a small step through the latent space (arXiv:1812.04948, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparring.errors import UsageError
from sparring.metrics.estimate import Estimate, from_standard_error
from sparring.randomness import draw_prior, randomness

EPSILON = 1e-4
"""The paper's step between the two points on a path, as a fraction of the whole path."""

_BATCH = 64  # pairs at a time


@torch.no_grad()
def path_length(
    generate: Callable[[Tensor], Tensor],
    features: Callable[[Tensor], Tensor],
    latent_dim: int,
    prior: str,
    pairs: int = 2000,
    seed: int = 0,
    eps: float = EPSILON,
) -> Estimate:
    """Return the mean of ``|f(G(z(t))) - f(G(z(t + eps)))|² / eps²`` over random paths in Z (arXiv:1812.04948, eq. 2).

    The squared distance between an extractor's features stands where the paper has LPIPS, so numbers compare between generators
    judged in the same features only. No extreme value is left out.

    ``features`` must not round images to 256 levels, as extractors do that judge pictures: so small a step hardly ever reaches
    the next level, and eps² makes a leap of that which does (a digits generator then measured 3743 in place of 732). Float32
    networks are exact enough: that one measured 732.36, and 732.31 in float64. Latents are interpolated in float64.

    Args:
        generate: ``z [B, latent_dim] -> x``, float32; the same x for the same z: in evaluation mode and with fixed noise.
        features: ``x -> [B, F]``, or any shape that begins with B.
        latent_dim: length of z.
        prior: ``"normal"``, whose paths are spherical (`slerp`), or ``"uniform"``, whose paths are straight.
        pairs: paths to look at, >= 2.
        seed: of their ends and of the place t on each, uniform in 0 … 1.
        eps: the step.

    Returns:
        The mean, >= 0, in squared features; 0 for a generator that always gives the same.

    Raises:
        UsageError: when there are fewer than 2 pairs, eps is not in 0 … 1, or features are NaN or infinite.
    """
    if pairs < 2 or not 0 < eps < 1:
        raise UsageError(
            f"Path length: {pairs} pairs with eps {eps} cannot be measured; give 2 or more, and 0 < eps < 1."
        )
    source = randomness(seed, "path length")
    z_a, z_b = (draw_prior(prior, pairs, latent_dim, source).double() for _ in range(2))
    t = torch.rand(pairs, 1, generator=source, dtype=torch.float64)
    path = slerp if prior == "normal" else torch.lerp
    begins, ends = (path(z_a, z_b, place).float() for place in (t, t + eps))
    parts = (slice(first, first + _BATCH) for first in range(0, pairs, _BATCH))
    moved = [_squared_distance(features(generate(torch.cat((begins[part], ends[part]))))) for part in parts]
    return _mean(torch.cat(moved) / eps**2)


def slerp(z_a: Tensor, z_b: Tensor, t: Tensor) -> Tensor:
    """Return points on great arcs (Shoemake, 1985); the lengths of z, on which generators may depend, are interpolated, too.

    Args:
        z_a: ``[B, D]``, where t = 0.
        z_b: ``[B, D]``, where t = 1.
        t: ``[B, 1]``.

    Returns:
        ``[B, D]``; points on straight lines where the two have the same direction, or opposite ones.
    """
    cosine = torch.nn.functional.cosine_similarity(z_a, z_b, dim=1).clamp(-1, 1).unsqueeze(1)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    arc = (torch.sin((1 - t) * angle) * z_a + torch.sin(t * angle) * z_b) / sine
    return torch.where(sine > 1e-6, arc, torch.lerp(z_a, z_b, t))


def _squared_distance(features: Tensor) -> Tensor:
    """Return the squared distances between the first half of a batch and the second, float64 ``[B / 2]``."""
    begins, ends = features.detach().to("cpu", torch.float64).flatten(1).chunk(2)
    return (begins - ends).square().sum(1)


def _mean(values: Tensor) -> Estimate:
    if not torch.isfinite(values).all():
        raise UsageError("Path length: some features are NaN or infinite; the generator has diverged.")
    error = float(values.std()) / math.sqrt(len(values))
    return from_standard_error(float(values.mean()), error, "standard error", least=0.0)
