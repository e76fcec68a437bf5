"""What all pairs of many points have to say, on a processor's matrix units: sums, and which of them are near."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.fast import is_plain
from sparring.fast.compiled import library

_SIDE = 32
GROUP = 16
"""Rows of a screen whose smallest value is found with it."""


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


def can_screen() -> bool:
    """Return whether `screen` computes here."""
    return not is_plain() and library(torch.bfloat16) is not None


def packed(rows: Tensor, *, right: bool) -> Tensor:
    """Return rows as `screen` reads them, in blocks, zeros at the ends.

    Args:
        rows: bfloat16 ``[N, F]``, any F.
        right: whether for the columns of a screen.
    """
    kernels, depth = library(torch.bfloat16), -(-rows.shape[1] // _SIDE) * _SIDE
    assert kernels is not None
    rows = torch.nn.functional.pad(rows, (0, depth - rows.shape[1])).contiguous()
    found = torch.empty(-(-len(rows) // _SIDE) * _SIDE, depth, dtype=torch.bfloat16)
    kernels.call("pack", rows, found, len(rows), depth, int(right))
    return found


def screen(left: Tensor, right: Tensor, values: Tensor, minima: Tensor, rows: int, *, no_diagonal: bool) -> None:
    """Write the products of all rows with all columns, rounded to bfloat16, and the smallest of each group of rows.

    Args:
        left: the rows, `packed`.
        right: the columns, `packed`.
        values: bfloat16 ``[R, C]``, R the multiple of `GROUP` that holds all rows; those beyond are made infinite.
        minima: bfloat16 ``[R / GROUP, C]``.
        rows: how many there are.
        no_diagonal: whether to make the diagonal infinite.
    """
    kernels = library(torch.bfloat16)
    assert kernels is not None
    sizes = rows, values.shape[1], left.shape[1], int(no_diagonal)
    kernels.call("screen", left, right, values, minima, *sizes)
