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
_SOBOL_RUN = 256


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
    sobol, stop = _sobol(latent_dim, seed), first + count
    runs = [sobol.run(number) for number in range(first // _SOBOL_RUN, -(-stop // _SOBOL_RUN))]
    bits = torch.cat(runs)[first % _SOBOL_RUN :][:count]
    z: Tensor = (bits.double() + 0.5) / 2 ** (_SOBOL_BITS - 1) - 1
    return (z if prior == "uniform" else torch.erfinv(z) * math.sqrt(2)).float()


class _Sobol:
    """Any part of a scrambled Sobol sequence; torch's own engine can only begin at the beginning.

    A point is the sum, in binary digits without carry, of one direction number for each digit of its number's Gray code, so the
    points of a run are those of the first run plus one number.

    Attributes:
        directions: int64 ``[dimensions, 30]``.
        shift: that scrambles the digits, int64 ``[dimensions]``.
        first: the first run without the shift, int64 ``[_SOBOL_RUN, dimensions]``.
    """

    def __init__(self, dimensions: int, seed: int) -> None:
        engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        self.directions, self.shift = engine.sobolstate.long(), engine.shift.long()
        self.first = torch.stack([self._sum(number) for number in range(_SOBOL_RUN)])

    def run(self, number: int) -> Tensor:
        """Return a run of points, integers of 30 binary digits, ``[_SOBOL_RUN, dimensions]``."""
        return self.first ^ (self._sum(number * _SOBOL_RUN % 2**_SOBOL_BITS) ^ self.shift)

    def _sum(self, number: int) -> Tensor:
        gray, point = number ^ (number >> 1), torch.zeros_like(self.shift)
        for place in range(gray.bit_length()):
            if gray >> place & 1:
                point = point ^ self.directions[:, place]
        return point


_sobol = lru_cache(maxsize=16)(_Sobol)
