"""Exact k nearest neighbours among features, tile by tile, so that the matrix of all distances never exists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.samples import Distinct, feature_tensor, of_one_kind
from sparring.metrics.screening import TILE, Pairs, Screen, Tile, squared_distances

OPEN = 1 / 64
"""Share of a tile's pairs that a screen may leave open; one that leaves more costs more than the same in float64."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest points of N queries, nearest first; those at equal distances stand in the order of their rows.

    Attributes:
        distances: float64 ``[N, k]``, Euclidean, not squared.
        indices: int64 ``[N, k]``, rows of the points.
    """

    distances: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]


def nearest(
    queries: FeatureArray, points: FeatureArray, k: int = 1, *, same: bool = False, tile: int = TILE
) -> Neighbours:
    """Return the k nearest points of every query, exactly those that float64 finds.

    A distance is the root of the float64 sum of squared differences, which is the same both ways round and 0 between
    duplicates; a screen of fewer bits only picks the pairs that are worth it (`sparring.metrics.screening`).

    Args:
        queries: ``[N, F]``, an array or a tensor on any device, where the work is then done.
        points: ``[M, F]``.
        k: how many, >= 1.
        same: queries and points are one set (only the points are read): row i is then no neighbour of row i, but its
            duplicates are.
        tile: rows and columns of distances that are held at a time.

    Raises:
        UsageError: when a set is not ``[N, F]`` or not finite, when the two do not fit together, or when there are
            fewer than k points to be neighbours of a query.
    """
    y = feature_tensor(points)
    x, y = (y, y) if same else of_one_kind(feature_tensor(queries), y)
    squared, indices = squared_nearest(x, y, k, tile)
    return Neighbours(squared.sqrt().cpu().numpy(), indices.cpu().numpy())


def squared_nearest(
    queries: torch.Tensor, points: torch.Tensor, k: int, tile: int = TILE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances, float64 ``[N, k]``, and rows ``[N, k]`` of the k nearest points, as `nearest` does.

    Args:
        queries: checked features; the same object as the points for neighbours within one set.
        points: checked features of the same dtype on the same device.
        k: how many.
        tile: rows and columns of distances that are held at a time.

    Raises:
        UsageError: when there are too few points, or k is not positive.
    """
    same = queries is points
    if not 1 <= k <= len(points) - same:
        raise UsageError(
            f"Each query has {max(len(points) - same, 0)} possible neighbours, but k is {k}; give more points or 1 <= k <= "
            "their number."
        )
    if not len(queries):
        return queries.new_empty((0, k), dtype=torch.float64), queries.new_empty((0, k), dtype=torch.int64)
    own = Distinct(points)
    asking = own if same else Distinct(queries)
    if len(own.rows) == len(points) and len(asking.rows) == len(queries):
        return _search(queries, points, k, tile)
    return _among_duplicates(asking, own, k, tile)


def _among_duplicates(queries: Distinct, points: Distinct, k: int, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `squared_nearest` does, by a search among distinct rows whose results are then told apart again.

    The k nearest points lie in the k nearest distinct rows, and are among the first k (of the own row: k + 1) of each.
    """
    same = queries is points
    squared, rows = _search(queries.rows, points.rows, min(k, len(points.rows) - same), tile)
    if same:
        own = torch.arange(len(rows), device=rows.device)[:, None]
        squared, rows = torch.cat([squared.new_zeros(len(rows), 1), squared], 1), torch.cat([own, rows], 1)
    members = points.members(min(k + same, int(points.counts.max())))
    found = []
    for part in torch.split(torch.arange(len(queries.group), device=rows.device), TILE):
        group = queries.group[part]
        j = members[rows[group]].flatten(1)
        distances = squared[group].repeat_interleave(members.shape[1], 1).masked_fill(j < 0, torch.inf)
        if same:
            distances = distances.masked_fill(j == part[:, None], torch.inf)
        found.append(_nearest_first(distances, j, k))
    return torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found])


def _nearest_first(distances: torch.Tensor, indices: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k smallest of each row of ``[N, n]`` with their indices, equal ones by ascending index."""
    by_index = indices.argsort(dim=1)
    distances, indices = distances.gather(1, by_index), indices.gather(1, by_index)
    order = distances.argsort(dim=1, stable=True)[:, :k]
    return distances.gather(1, order), indices.gather(1, order)


def _search(queries: torch.Tensor, points: torch.Tensor, k: int, tile: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return squared distances and rows of the k nearest points of every query; fast where points are distinct."""
    if not k:
        return queries.new_empty((len(queries), 0), dtype=torch.float64), queries.new_empty(
            (len(queries), 0), dtype=torch.int64
        )
    screen = Screen(points, queries, tile)
    near = _Near(len(queries), k, queries.device)
    for row, column in screen.tiles():
        near.visit(screen, row, column)
    return near.settle(queries, points)


class _Near:
    """The pairs that may be among each query's k nearest, while tiles of points (rows) by queries (columns) go by.

    Args:
        count: N, the number of queries.
        k: how many neighbours each has.
        device: of the points.
    """

    def __init__(self, count: int, k: int, device: torch.device) -> None:
        self.k = k
        self.limits = torch.full((count,), torch.inf, dtype=torch.float64, device=device)  # k points are within
        self.best = self.limits[:, None].repeat(1, k)  # the smallest upper bounds of pairs so far
        self.pairs: list[Pairs] = []

    def visit(self, screen: Screen, row: int, column: int) -> None:
        """Take in one tile; within one set, rows are queries too, as there is no tile for the other half."""
        both = screen.within_set and row != column
        tile = screen.tile(row, column)
        pairs = self._candidates(tile, both)
        if len(pairs) > OPEN * tile.values.numel():
            pairs = self._candidates(screen.wide_tile(row, column), both)
        self._add(tile.y.span, pairs.swapped())
        if both:
            self._add(tile.x.span, pairs)

    def _candidates(self, tile: Tile, both: bool) -> Pairs:
        rows, columns = tile.x.rows, tile.y.rows
        if tile.is_wide or not both:
            self.limits[columns] = torch.minimum(self.limits[columns], tile.upper_bounds(self.k))
        return tile.within(self.limits[rows] if both else None, self.limits[columns])

    def _add(self, span: slice, pairs: Pairs) -> None:
        """Keep the near ones of some pairs (query, point) whose queries are in the span, and lower their limits."""
        pairs = pairs[(pairs.low <= self.limits[pairs.i]).nonzero().flatten()]
        self.pairs.append(pairs)
        order, rank = _ranked(pairs.i, pairs.high)
        few = rank < self.k
        best = torch.full_like(self.best[span], torch.inf)
        best[pairs.i[order[few]] - span.start, rank[few]] = pairs.high[order[few]]
        self.best[span] = torch.cat([self.best[span], best], 1).sort(1).values[:, : self.k]
        self.limits[span] = torch.minimum(self.limits[span], self.best[span, -1])

    def settle(self, queries: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return squared distances and rows ``[N, k]``, by measuring the pairs that are still near enough in float64.

        First the k of each query that promise most, since the farthest of them is the limit for the others.
        """
        i, j, low, high = (
            torch.cat(each) for each in zip(*((p.i, p.j, p.low, p.high) for p in self.pairs), strict=True)
        )
        order, rank = _ranked(i, high)
        first = order[rank < self.k]
        squared = squared_distances(queries, points, i[first], j[first])
        limits = squared.view(-1, self.k).amax(1)
        others = order[(rank >= self.k) & (low[order] <= limits[i[order]])]
        squared = torch.cat([squared, squared_distances(queries, points, i[others], j[others])])
        i, j = (torch.cat([each[first], each[others]]) for each in (i, j))
        order = torch.arange(len(i), device=i.device)
        for key in (j, squared, i):
            order = order[key[order].argsort(stable=True)]
        order = order[_ranks(i, order) < self.k]
        return squared[order].view(-1, self.k), j[order].view(-1, self.k)


def _ranked(owners: torch.Tensor, keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the order by owner and then by key, a number >= 0 of which float32's digits count, and each place's rank.

    The rank is that within the owner. Both are sorted as one integer, on a CPU by numpy, which does it ten times as fast.
    """
    packed = (owners << 32) | keys.float().view(torch.int32)
    order = packed.argsort() if packed.device.type == "cuda" else torch.from_numpy(np.argsort(packed.numpy()))
    return order, _ranks(owners, order)


def _ranks(owners: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Return each place's rank within its owner, in an order by owner."""
    counts = torch.bincount(owners)
    return torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[owners[order]]
