"""Sums over all pairs of many points, on a processor's matrix units, without the matrix of their products."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.fast import is_plain
from sparring.fast.compiled import library

_SIDE = 32


def can_cube(features: int) -> bool:
    """Return whether `sum_of_cubes` takes rows of so many numbers here."""
    return features % _SIDE == 0 and not is_plain() and library(torch.bfloat16) is not None


def sum_of_cubes(a: Tensor, b: Tensor | None) -> float:
    """Return the sum over all pairs of rows of the cube of their product.

    Products are summed in float32 and cubes of a block of 32 by 32, sums of blocks in float64.

    Args:
        a: bfloat16 ``[N, F]`` in the processor's memory; `can_cube` of F is true.
        b: ``[M, F]`` likewise; None for the pairs of two different rows of a.
    """
    kernels, total = library(torch.bfloat16), torch.empty((), dtype=torch.float64)
    assert kernels is not None
    a, b = a.contiguous(), None if b is None else b.contiguous()
    kernels.call("cubes", a, b, total, len(a), 0 if b is None else len(b), a.shape[1])
    return float(total)
