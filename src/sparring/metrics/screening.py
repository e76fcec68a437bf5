"""Distances between many points by matrix products of few bits, with proven bounds on what the bits hide.

``|x - y|^2 = |x|^2 + |y|^2 - 2 x·y`` turns all distances into one matrix product, and processors multiply bfloat16 many
times faster than float64. Nearest neighbours and counts of "closer than" need decisions, not digits, and nearly all of
those are clear at eight bits. So a tile of distances is computed between *rounded* points, and the triangle inequality

    | |x - y| - |x' - y'| |  <=  |x - x'| + |y - y'|

bounds how far off each one is: both terms on the right are known. The pairs that the bounds leave open are decided by
`squared_distances` in float64, so the result is float64's, whatever the bits of the screen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from sparring.fast.compiled import bfloat16_units
from sparring.fast.pairs import GROUP, can_measure, can_screen, packed, screen, squared
from sparring.metrics.samples import spans

TILE = 8192
"""Rows and columns of distances that are held at a time."""

AGREED = 1e-9
"""Relative error that float64 sums of squared differences stay under, at up to a million features."""

CHUNK = 131_072
"""Differences that are held at a time, to stay in the caches of the cores."""


def squared_distances(x: torch.Tensor, y: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Return ``|x_i - y_j|^2`` ``[n]``, the float64 sum of squared differences, equal both ways round.

    Args:
        x: ``[N, F]``.
        y: ``[M, F]``, same dtype and device.
        i: int64 ``[n]``, rows of x.
        j: int64 ``[n]``, rows of y.
    """
    if can_measure(x) and can_measure(y):
        return squared(x, y, i, j)
    size = max(1, (CHUNK if x.device.type == "cpu" else 1024 * CHUNK) // x.shape[1])
    found = torch.empty(len(i), dtype=torch.float64, device=x.device)
    held = torch.empty(size, x.shape[1], dtype=x.dtype, device=x.device)
    wide = torch.empty(2, *held.shape, dtype=torch.float64, device=x.device)
    for part in spans(len(i), size):
        rows = held[: part.stop - part.start]
        left, right = wide[:, : len(rows)]
        left.copy_(torch.index_select(x, 0, i[part], out=rows))
        right.copy_(torch.index_select(y, 0, j[part], out=rows))
        torch.sum(left.sub_(right).square_(), 1, out=found[part])
    return found


@functools.cache
def product_dtype(device: str) -> torch.dtype:
    """Return the dtype of the matrix product: bfloat16 where a processor has matrix units, else float32.

    Only its speed depends on it: the points are rounded to bfloat16 either way. On a GPU the product is one in float32,
    since one in bfloat16 may also add its partial sums in bfloat16, which the bounds here do not cover.
    """
    return torch.bfloat16 if device == "cpu" and bfloat16_units() == "matrix units" else torch.float32


@dataclass(frozen=True, eq=False)
class Rounded:
    """A span of a set's points, moved and scaled, in few bits, with what the bits may hide.

    Attributes:
        span: the rows of the set.
        rows: int64 ``[n]``, the same rows from the innermost to the outermost point, the order of all that follows:
            neighbours in it have limits alike.
        left: ``[n, F + 6]``, the factors for a product with a ``right``, which gives squared distances; in blocks where
            they are `packed`.
        right: ``[n, F + 6]``, likewise.
        lost: float64 ``[n]``, at least the distance between each point and its rounded one.
        noise: float64 ``[n]``: the product is off by at most the sum of its two points' noises.
    """

    span: slice
    rows: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    lost: torch.Tensor
    noise: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)


def _rounded(span: slice, moved: torch.Tensor, dtype: torch.dtype) -> Rounded:
    """Round a span's points ``[n, F]`` to bfloat16, or leave them as they are for a product in float64.

    Args:
        span: the rows of the set.
        moved: their points, which are overwritten.
        dtype: of the product.
    """
    kept = moved.clone() if dtype == torch.float64 else moved.to(torch.bfloat16)
    rounded = kept.to(moved.dtype)
    norms = torch.linalg.vector_norm(rounded, dim=1).double()
    missing = torch.linalg.vector_norm(moved.sub_(rounded), dim=1).double()
    # The move and the two norms were rounded too, and squares below the smallest number were lost
    unit, tiny = torch.finfo(moved.dtype).eps, torch.finfo(moved.dtype).tiny * moved.shape[1]
    lost = missing * (1 + moved.shape[1] * unit) + unit * (missing + norms) + tiny**0.5
    order = norms.argsort()
    kept, norms, lost = kept[order], norms[order], lost[order]
    pieces = _pieces(norms.square(), kept.dtype)
    ones = torch.ones_like(pieces)
    left, right = torch.cat([-2 * kept, pieces, ones], 1).to(dtype), torch.cat([kept, ones, pieces], 1).to(dtype)
    # Each of the F + 6 additions is off by at most a unit of the sum of the terms' sizes, <= 2 |x'|^2 + 2 |y'|^2; so is a norm
    unit = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps
    terms = left.shape[1]
    if _by_kernels(dtype):
        left, right = packed(left, right=False), packed(right, right=True)
    noise = 3 * terms * unit * norms.square() + 4 * tiny
    return Rounded(span, order + span.start, left, right, lost, noise)


def _by_kernels(dtype: torch.dtype) -> bool:
    return dtype == torch.bfloat16 and can_screen()


def _pieces(norms: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return three numbers of few bits, ``[N, 3]``, that add up to each norm: three times eight bits are float32's."""
    found, rest = [], norms
    for _ in range(3):
        found.append(rest.to(dtype))
        rest = rest - found[-1].double()
    return torch.stack(found, dim=1)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a row and a column of one tile.

    Attributes:
        i: int64 ``[n]``, rows of the set x.
        j: int64 ``[n]``, rows of the set y.
        low: float64 ``[n]``, at most what `squared_distances` finds.
        high: float64 ``[n]``, at least that.
    """

    i: torch.Tensor
    j: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __len__(self) -> int:
        return len(self.i)

    def __getitem__(self, kept: torch.Tensor) -> Pairs:
        return Pairs(self.i[kept], self.j[kept], self.low[kept], self.high[kept])

    def swapped(self) -> Pairs:
        """Return the pairs with rows and columns exchanged."""
        return Pairs(self.j, self.i, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Tile:
    """Screened squared distances between a span of x and a span of y.

    Attributes:
        values: ``[R', C]``, in units of ``1 / scale``; R' is a multiple of `GROUP`, rows from R on hold infinity.
        group_minima: the smallest value of each group of rows, ``[R' / GROUP, C]``.
        x: the R rounded points of the rows.
        y: the C rounded points of the columns.
        scale: what squared distances were multiplied by.
    """

    values: torch.Tensor
    group_minima: torch.Tensor
    x: Rounded
    y: Rounded
    scale: float

    @property
    def is_wide(self) -> bool:
        """Whether the values are float64's."""
        return self.values.dtype == torch.float64

    def upper_bounds(self, k: int) -> torch.Tensor:
        """Return squared distances, float64 ``[C]``, within which each column has at least k rows; infinity if it has not.

        The k-th smallest of the groups' minima is the value of a row that has k - 1 others at or below it.
        """
        if len(self.x) < k:
            return torch.full_like(self.y.lost, torch.inf)
        values = self.group_minima if len(self.group_minima) >= 4 * k else self.values
        kth = values.topk(k, dim=0, largest=False, sorted=True).values[-1]
        return self._bounds(kth, self.x.lost.max() + self.y.lost, self.x.noise.max() + self.y.noise)[1]

    def within(self, row_limits: torch.Tensor | None, column_limits: torch.Tensor | None) -> Pairs:
        """Return every pair whose squared distance may be at most its row's or its column's limit.

        Args:
            row_limits: squared distances, float64 ``[R]`` in the rows' order; None where no row has one.
            column_limits: float64 ``[C]``.
        """
        rows, columns = self._ceilings(self.x, self.y, row_limits), self._ceilings(self.y, self.x, column_limits)
        rows = torch.nn.functional.pad(rows, (0, len(self.values) - len(rows)), value=-torch.inf)
        rows = rows.view(-1, GROUP)
        minima = self.group_minima
        group, column = ((minima <= rows.amax(1)[:, None]) | (minima <= columns)).nonzero(as_tuple=True)
        values = self.values.view(-1, GROUP, len(columns))[group, :, column]
        pair, lane = (values <= torch.maximum(rows[group], columns[column][:, None])).nonzero(as_tuple=True)
        pair, lane = (each[values[pair, lane].isfinite()] for each in (pair, lane))
        values, i, j = values[pair, lane], group[pair] * GROUP + lane, column[pair]
        low, high = self._bounds(values, self.x.lost[i] + self.y.lost[j], self.x.noise[i] + self.y.noise[j])
        return Pairs(self.x.rows[i], self.y.rows[j], low, high)

    def _ceilings(self, own: Rounded, others: Rounded, limits: torch.Tensor | None) -> torch.Tensor:
        """Return the largest values that squared distances up to the limits can have.

        They are rounded as the product rounds its values; rounding keeps order, so it hides no pair.
        """
        if limits is None:
            return torch.full_like(own.lost, -torch.inf).to(self.values.dtype)
        reach = (limits * self.scale).sqrt() * (1 + AGREED) + own.lost + others.lost.max()
        return (reach.square() + own.noise + others.noise.max()).to(self.values.dtype)

    def _bounds(
        self, values: torch.Tensor, lost: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the least and the largest squared distances that values stand for."""
        wide = values.double()
        margin = 0.51 * torch.finfo(values.dtype).eps * wide.abs() + noise  # the value itself was rounded once
        low = ((wide - margin).clamp(min=0).sqrt() - lost).clamp(min=0).square() * (1 - AGREED)
        high = ((wide + margin).clamp(min=0).sqrt() + lost).square() * (1 + AGREED)
        return low / self.scale, high / self.scale


class Screen:
    """Tiles of the screened squared distances between two sets of points; within one set, none from a point to itself.

    Args:
        x: ``[N, F]``, N >= 1.
        y: ``[M, F]``, of x's dtype and device; x itself for the distances within one set.
        tile: rows and columns of a tile.
    """

    def __init__(self, x: torch.Tensor, y: torch.Tensor, tile: int = TILE) -> None:
        self.x, self.y, self.within_set = x, y, x is y
        self._spans = spans(len(x), tile), spans(len(y), tile)
        self._centre = (x.mean(0) + y.mean(0)) / 2
        largest = max(abs(float(end)) for each in (x, y) for end in each.aminmax())
        self._scale = 2.0 ** -int(np.frexp(largest)[1])
        self._wide = not 1e-15 < largest < 1e15  # float32 cannot hold the squares
        self._dtype = product_dtype(x.device.type)
        self._x = [self._round(x, span, self._dtype) for span in self._spans[0]]
        self._y = self._x if self.within_set else [self._round(y, span, self._dtype) for span in self._spans[1]]
        rows = -(-min(tile, len(x)) // GROUP) * GROUP
        self._values = torch.empty(rows * min(tile, len(y)), dtype=self._dtype, device=x.device)

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Yield row and column of every tile; within one set, of the diagonal's tiles first, then of one half."""
        rows, columns = (range(len(each)) for each in self._spans)
        if self.within_set:
            yield from ((n, n) for n in rows)
        yield from ((row, column) for column in columns for row in (range(column) if self.within_set else rows))

    def tile(self, row: int, column: int) -> Tile:
        """Return a tile at the screen's bits; the next one overwrites its values."""
        return self._product(self._x[row], self._y[column], self._values)

    def wide_tile(self, row: int, column: int) -> Tile:
        """Return a tile in float64, for where eight bits leave too much open."""
        x = self._round(self.x, self._spans[0][row], torch.float64)
        y = self._round(self.y, self._spans[1][column], torch.float64)
        return self._product(x, y, torch.empty((len(x) + GROUP) * len(y), dtype=torch.float64, device=self.x.device))

    def _product(self, x: Rounded, y: Rounded, buffer: torch.Tensor) -> Tile:
        rows, columns = len(x), len(y)
        padded = -(-rows // GROUP) * GROUP
        values = buffer[: padded * columns].view(padded, columns)
        diagonal = self.within_set and x.span == y.span
        if _by_kernels(values.dtype):
            minima = values.new_empty(padded // GROUP, columns)
            screen(x.left, y.right, values, minima, rows, no_diagonal=diagonal)
            return Tile(values, minima, x, y, self._scale**2)
        torch.mm(x.left, y.right.T, out=values[:rows])
        values[rows:] = torch.inf
        if diagonal:
            values[:rows].fill_diagonal_(torch.inf)
        return Tile(values, values.view(-1, GROUP, columns).amin(1), x, y, self._scale**2)

    def _round(self, points: torch.Tensor, span: slice, dtype: torch.dtype) -> Rounded:
        wide = torch.float64 if dtype == torch.float64 or self._wide else points.dtype
        return _rounded(span, (points[span].to(wide) - self._centre.to(wide)).mul_(self._scale), dtype)
