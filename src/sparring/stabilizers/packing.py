"""Packing: D judges m samples at a time, so that a collapse onto few of them is easy to see (arXiv:1712.04086)."""

from __future__ import annotations

from torch import Tensor


def pack(x: Tensor, m: int) -> Tensor:
    """Join every m samples along their first dimension.

    Args:
        x: ``[B, C, ...]``, B a multiple of m.
        m: samples in a pack; 1 returns x itself.

    Returns:
        ``[B / m, m C, ...]``.
    """
    return x if m == 1 else x.reshape(len(x) // m, m * x.shape[1], *x.shape[2:])


def unpack(x: Tensor, m: int) -> Tensor:
    """Undo `pack`.

    Args:
        x: ``[B / m, m C, ...]``.
        m: samples in a pack; 1 returns x itself.

    Returns:
        ``[B, C, ...]``.
    """
    return x if m == 1 else x.reshape(len(x) * m, x.shape[1] // m, *x.shape[2:])
