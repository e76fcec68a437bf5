"""What an architecture is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlayerSpec:
    """One player's share of a `NetworkSpec`.

    Attributes:
        width: channels of the layer nearest to the image, or units of a hidden layer.
        norm: ``"batch"``, ``"layer"`` or ``"none"``.
    """

    width: int
    norm: str


@dataclass(frozen=True)
class NetworkSpec:
    """What a pair of players must fit.

    Attributes:
        shape: shape of one sample: ``(C, H, W)`` for images, ``(2,)`` for points.
        latent_dim: length of z.
        g: the generator's size and normalization.
        d: the discriminator's size and normalization.
    """

    shape: tuple[int, ...]
    latent_dim: int
    g: PlayerSpec
    d: PlayerSpec


def doublings(side: int) -> tuple[int, int] | None:
    """Split a side into the smallest feature map and the number of doublings.

    Args:
        side: height and width of the image in pixels.

    Returns:
        ``(base, n)`` with ``side == base * 2**n``, base in 4…7 and n ≥ 1; None when the side is no such number.
    """
    base, n = side, 0
    while base > 7 and base % 2 == 0:
        base, n = base // 2, n + 1
    return (base, n) if 4 <= base <= 7 and n > 0 else None
