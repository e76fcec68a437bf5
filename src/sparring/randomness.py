"""Stateless randomness: every draw of a run comes from a generator of its own, seeded by its purpose and place."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import torch
from torch import Tensor

#: Latents are drawn in blocks of this many, so that sample i is the same however many are asked for at once.
_LATENT_BLOCK = 256
#: Binary digits of a Sobol sequence in torch; it repeats after a thousand million points.
_SOBOL_BITS = 30


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


def spread_prior(prior: str, first: int, count: int, latent_dim: int, seed: int) -> Tensor:
    """Return z number ``first`` … ``first + count - 1`` of a sequence that fills the prior evenly.

    A scrambled Sobol sequence (Owen 1995; in training, arXiv:1807.01604): each z has the prior's distribution, but any run of
    neighbours covers it more evenly than independent draws do, so that a mean over a batch varies less. The fewer dimensions, the
    more that is worth.

    Args:
        prior: ``"normal"`` for N(0, I) or ``"uniform"`` for U(-1, 1).
        first: the first one wanted.
        count: how many.
        latent_dim: length of each, at most 21,201.
        seed: which sequence.

    Returns:
        ``[count, latent_dim]`` float32 on the CPU.
    """
    directions, shift = _sobol(latent_dim, seed)
    index = torch.arange(first, first + count) % 2**_SOBOL_BITS
    gray = index ^ (index >> 1)
    bits = shift.repeat(count, 1)
    for place in range(_SOBOL_BITS):
        bits ^= (gray >> place & 1)[:, None] * directions[:, place]
    uniform = (bits.double() + 0.5) / 2**_SOBOL_BITS
    z: Tensor = 2 * uniform - 1
    return (z if prior == "uniform" else torch.erfinv(z) * math.sqrt(2)).float()


@lru_cache(maxsize=16)
def _sobol(dimensions: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return a scrambled sequence's direction numbers ``[dimensions, 30]`` and digital shift ``[dimensions]``, int64."""
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    return engine.sobolstate.long(), engine.shift.long()
