"""What all pairs of many points have to say, on a processor's matrix units: sums, and which of them are near."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from sparring.fast.compiled import available, call

_SIDE = 32
_TILES = torch.bfloat16  # whose kernels these are
_LANES = 16
GROUP = 16
"""Rows of a screen whose smallest value is found with it."""


def can_cube(features: int) -> bool:
    """Return whether `sum_of_cubes` takes rows of so many numbers here."""
    return features % _SIDE == 0 and available(_TILES, "cubes")


def sum_of_cubes(a: Tensor, b: Tensor | None) -> float:
    """Return the sum over all pairs of rows of the cube of their product.

    Products are summed in float32 and cubes of a block of 32 by 32, sums of blocks in float64.

    Args:
        a: bfloat16 ``[N, F]`` in the processor's memory; `can_cube` of F is true.
        b: ``[M, F]`` likewise; None for the pairs of two different rows of a.
    """
    right = a if b is None else b
    return _cubes(packed(a, right=False), packed(right, right=True), None, None, len(a), len(right), b is None)


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows ``x = c + u`` of features, as sums of a cubic kernel over pairs want them.

    Attributes:
        p: ``(|c|^2 / 2 + c·u) / F + 1 / 2``, float64 ``[n]``.
        own: ``|u|^2 / F``, float64 ``[n]``.
        left: bfloat16, u times the scale, as rows of products.
        right: the same as columns.
        moments: ``Σ u``, ``Σ p u`` and ``Σ p^2 u``, float64 ``[3, F]``.
        scale: a power of two.
    """

    p: Tensor
    own: Tensor
    left: Tensor
    right: Tensor
    moments: Tensor
    scale: float

    @classmethod
    def of(cls, x: Tensor, rows: Tensor, centre: Tensor, scale: float) -> Subset:
        """Return rows of float32 ``x [N, F]``, contiguous; `can_cube` of F is true.

        Args:
            x: the features.
            rows: int64 ``[n]``.
            centre: c, float32 ``[F]``.
            scale: brings coordinates below 1.
        """
        n, dim = len(rows), x.shape[1]
        p, own = torch.empty(2, n, dtype=torch.float64)
        left, right = torch.empty(2, -(-n // _SIDE) * _SIDE, dim, dtype=torch.bfloat16)
        moments, square = torch.empty(3, dim, dtype=torch.float64), float(centre.double().square().sum())
        call(_TILES, "subset", x, rows, centre, p, own, left, right, moments, n, dim, square, scale)
        return cls(p, own, left, right, moments, scale)

    @functools.cached_property
    def powers(self) -> tuple[float, ...]:
        """``Σ p^k`` of k from 0 to 3."""
        return (float(len(self.p)), *(float((self.p**k).sum()) for k in (1, 2, 3)))

    @functools.cached_property
    def alone(self) -> float:
        """``Σ (2 p)^3 + 3 (2 p)^2 own``: what pairs of a row with itself give to the first two terms of the kernel."""
        double = 2 * self.p
        return float((double**2 * (double + 3 * self.own)).sum())

    def higher_orders(self, other: Subset) -> float:
        """Return ``Σ 3 (p_i + q_j) g_ij^2 + g_ij^3`` with ``g = u·v / F``: over all pairs, or two different rows of one set."""
        unit = self.scale * other.scale * self.moments.shape[1]  # of which a product of rows is g
        p, q = ((3 * unit * each.p).float() for each in (self, other))
        total = _cubes(self.left, other.right, p, q, len(p), len(q), self is other)
        return total / unit**3


def _cubes(left: Tensor, right: Tensor, p: Tensor | None, q: Tensor | None, n: int, m: int, within: bool) -> float:
    total = torch.empty((), dtype=torch.float64)
    call(_TILES, "cubes", left, right, p, q, total, n, m, left.shape[1], int(within))
    return float(total)


def can_measure(x: Tensor) -> bool:
    """Return whether `squared` takes ``x [N, F]`` here."""
    usual = x.dtype is torch.float32 and x.device.type == "cpu" and x.is_contiguous() and x.shape[1] % _LANES == 0
    return usual and available(_TILES, "squared")


def squared(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return ``|x_i - y_j|^2``, the float64 sums of squared differences, equal both ways round.

    Args:
        x: float32 ``[N, F]``, contiguous; `can_measure`.
        y: ``[M, F]`` likewise.
        i: int64 ``[n]``.
        j: int64 ``[n]``.
    """
    found = torch.empty(len(i), dtype=torch.float64)
    call(_TILES, "squared", x, y, i.contiguous(), j.contiguous(), found, len(i), x.shape[1])
    return found


def can_screen() -> bool:
    """Return whether `screen` computes here."""
    return available(_TILES, "screen")


def packed(rows: Tensor, *, right: bool) -> Tensor:
    """Return rows as `screen` reads them, in blocks, zeros at the ends.

    Args:
        rows: bfloat16 ``[N, F]``, any F.
        right: whether for the columns of a screen.
    """
    depth = -(-rows.shape[1] // _SIDE) * _SIDE
    rows = torch.nn.functional.pad(rows, (0, depth - rows.shape[1])).contiguous()
    found = torch.empty(-(-len(rows) // _SIDE) * _SIDE, depth, dtype=torch.bfloat16)
    call(_TILES, "pack", rows, found, len(rows), depth, int(right))
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
    sizes = rows, values.shape[1], left.shape[1], int(no_diagonal)
    call(_TILES, "screen", left, right, values, minima, *sizes)
