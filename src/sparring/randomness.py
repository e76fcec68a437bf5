"""Stateless randomness: every draw of a run comes from a generator of its own, seeded by its purpose and place."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

#: Latents are drawn in blocks of this many, so that sample i is the same however many are asked for at once.
_LATENT_BLOCK = 256


def derive_seed(*parts: int | str) -> int:
    """Hash a purpose to a seed: every draw of a run comes from a generator of its own.

    Args:
        parts: for example ``(seed, "z", step, turn)``.

    Returns:
        63 bits.
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def randomness(*parts: int | str) -> torch.Generator:
    """Return a CPU generator that depends on nothing but its purpose."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def draw_prior(prior: str, count: int, latent_dim: int, generator: torch.Generator) -> Tensor:
    """Draw z.

    Args:
        prior: ``"normal"`` for N(0, I) or ``"uniform"`` for U(-1, 1).
        count: how many.
        latent_dim: length of each.
        generator: the source.

    Returns:
        ``[count, latent_dim]`` float32 on the CPU.
    """
    if prior == "uniform":
        return torch.rand(count, latent_dim, generator=generator).mul_(2).sub_(1)
    return torch.randn(count, latent_dim, generator=generator)


def latents(prior: str, latent_dim: int, seed: int, first: int, count: int) -> Tensor:
    """Return z number ``first`` … ``first + count - 1`` of the endless list that a seed stands for.

    Args:
        prior: ``"normal"`` or ``"uniform"``.
        latent_dim: length of each.
        seed: which list.
        first: the first one wanted.
        count: how many.

    Returns:
        ``[count, latent_dim]`` float32 on the CPU; each row depends on its own number only.
    """
    begin, end = first // _LATENT_BLOCK, -(-(first + count) // _LATENT_BLOCK)
    blocks = [
        draw_prior(prior, _LATENT_BLOCK, latent_dim, randomness(seed, "latents", block)) for block in range(begin, end)
    ]
    offset = first - begin * _LATENT_BLOCK
    return torch.cat(blocks)[offset : offset + count] if blocks else torch.empty(0, latent_dim)
