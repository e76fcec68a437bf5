"""The kernel distance between two sets of features: the unbiased squared maximum mean discrepancy (arXiv:1801.01401).

The kernel is the paper's, ``k(x, y) = (x·y / F + 1)^3`` (section 4), which tells apart means, covariances and third
moments. Unlike the Fréchet distance the estimate has no bias, so sets of different sizes can be compared, and it is
slightly negative as often as positive where there is no difference.

A cube of a sum takes few digits where the sum is split: with a common centre c, ``x = c + u`` and ``y = c + v``,

    x·y / F + 1 = t + g,  t = p(x) + q(y),  g = u·v / F,   (t + g)^3 = t^3 + 3 t^2 g + 3 t g^2 + g^3.

Sums over pairs of the first two terms are sums over samples. Those of the third are products of ``[F, F]`` moments, and
only the last, smallest one needs every pair, where eight bits do: they are worth a part in a million of the distance. Subsets
have fewer samples than features; there the last two terms are taken of every pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from sparring.errors import UsageError
from sparring.fast.pairs import Subset, can_cube, sum_of_cubes
from sparring.fast.scatter import can_scatter, column_summary
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.estimate import Estimate, from_standard_error
from sparring.metrics.moments import mean_of, scatter
from sparring.metrics.samples import feature_tensor, of_one_kind, spans
from sparring.metrics.screening import product_dtype

ROWS = 2048
"""Generated samples by whose influence the standard error is judged, which is right to 2 % then."""

FEW = 2**37
"""Multiplications up to which every pair is computed in float64, without the split."""

_USUAL = 100
"""Size of features up to which float32 has the digits for their powers in sums over subsets."""

TILE = 4096
"""Rows and columns of the kernel that are held at a time."""

_SLAB = 64
"""Rows of a tile that are cubed at a time, to stay in a core's cache."""


def kernel_distance(
    features_a: FeatureArray,
    features_b: FeatureArray,
    *,
    subsets: int = 0,
    subset_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return the kernel distance, KID with Inception features (arXiv:1801.01401, section 4).

    By default it is one estimate from all pairs, whose interval is the standard error over the generated samples for the same
    reference. With ``subsets`` it is what most papers print, the mean of as many estimates from random subsets: less of the data,
    and an interval from their standard deviation over √subsets.

    Args:
        features_a: of generated samples ``[N, F]``, N >= 2; the work is done on their device.
        features_b: of the reference ``[M, F]``, M >= 2.
        subsets: how many subsets, 100 in most papers; 0 for all pairs.
        subset_size: samples of each set in a subset, drawn without replacement; at most N and M are taken.
        seed: of the draw.

    Returns:
        The squared discrepancy, in units of the kernel; papers on images often print it times 1000.

    Raises:
        UsageError: when a set is not ``[N, F]`` with two samples, is not finite, the two do not fit together, or there are
            fewer than two subsets.
    """
    x, y = of_one_kind(feature_tensor(features_a), feature_tensor(features_b))
    if min(len(x), len(y)) < 2:
        raise UsageError(
            f"Kernel distance: {len(x)} generated and {len(y)} reference samples are too few; give at least 2 of each."
        )
    if subsets < 0 or subsets == 1 or subset_size < 2:
        raise UsageError(
            f"Kernel distance: {subsets} subsets of {subset_size} samples give no spread; use 0 subsets for all pairs, or at "
            "least 2 subsets of at least 2 samples."
        )
    centre = ((mean_of(x) + mean_of(y)) / 2).bfloat16().double()  # so that features that are often 0 are so few bits
    if subsets and can_scatter(x) and product_dtype("cpu") is torch.bfloat16:
        ends = torch.stack([end for each in (x, y) for end in column_summary(each)[1:]])
        if float(ends.abs().max()) <= _USUAL:
            largest = float((ends - centre).abs().max())
            return _of_subsets_by_kernels(x, y, centre.float(), _below_one(largest), subsets, subset_size, seed)
    a, b = _Centred.of(x, centre), _Centred.of(y, centre)
    return _of_subsets(a, b, subsets, subset_size, seed) if subsets else _of_all(a, b)


def _of_all(a: _Centred, b: _Centred) -> Estimate:
    """Return the estimate of all pairs, with the standard error of its first-order term."""
    features = a.u.shape[1]
    many = len(a) * len(b) * features > FEW and 4 * features <= min(len(a), len(b)) and a.u.device.type == "cpu"
    summed = _sums_of_many if many else _sums
    within, between = summed(a, a), summed(a, b)
    value = _discrepancy(len(a), len(b), within.total, summed(b, b).total, between.total)
    influence = 2 * (within.rows / (len(a) - 1) - between.rows / len(b))
    return from_standard_error(value, float(influence.std()) / math.sqrt(len(a)), "standard error")


def _of_subsets_by_kernels(
    x: torch.Tensor, y: torch.Tensor, centre: torch.Tensor, scale: float, subsets: int, size: int, seed: int
) -> Estimate:
    """Return what `_of_subsets` does, with products of eight bits in the two smaller terms: a part in 100,000 of the distance."""
    x, y, found = x.contiguous(), y.contiguous(), []
    for a, b in _draws(len(x), len(y), subsets, size, seed):
        p, q = Subset.of(x, a, centre, scale), Subset.of(y, b, centre, scale)
        found.append(_discrepancy(len(a), len(b), *(_sum_of_subset(*pair) for pair in ((p, p), (q, q), (p, q)))))
    return _mean_of_subsets(found)


def _sum_of_subset(a: Subset, b: Subset) -> float:
    """Return the sum of the kernel over all pairs, or those of two different samples, split as this module says."""
    (p0, p1, p2, p3), (q0, q1, q2, q3) = a.powers, b.powers
    u, v = a.moments, b.moments
    cubes = p3 * q0 + 3 * (p2 * q1 + p1 * q2) + p0 * q3
    total = cubes + 3 * float(u[2] @ v[0] + 2 * (u[1] @ v[1]) + u[0] @ v[2]) / u.shape[1]
    return total + a.higher_orders(b) - (a.alone if a is b else 0.0)


def _draws(n: int, m: int, subsets: int, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield rows of both sets, int64, for every subset."""
    rng = np.random.default_rng(seed)
    for _ in range(subsets):
        a, b = (torch.from_numpy(rng.choice(count, min(size, count), replace=False)) for count in (n, m))
        yield a, b


def _mean_of_subsets(found: list[float]) -> Estimate:
    error = float(np.std(found)) / math.sqrt(len(found))
    return from_standard_error(float(np.mean(found)), error, f"{len(found)} subsets")


def _of_subsets(a: _Centred, b: _Centred, subsets: int, size: int, seed: int) -> Estimate:
    found = []
    for rows, columns in _draws(len(a), len(b), subsets, size, seed):
        x, y = a[rows.to(a.p.device)], b[columns.to(b.p.device)]
        found.append(_discrepancy(len(x), len(y), *(_sums(*pair).total for pair in ((x, x), (y, y), (x, y)))))
    return _mean_of_subsets(found)


def _discrepancy(n: int, m: int, aa: float, bb: float, ab: float) -> float:
    """Return the unbiased estimate (Gretton et al., 2012, lemma 6), given sums of the kernel; aa and bb without i = j."""
    return aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)


@dataclass(frozen=True, eq=False)
class _Centred:
    """Samples ``x = c + u``, less the common centre c.

    Attributes:
        u: ``[N, F]``.
        p: their part of t, float64 ``[N]``: ``(|c|^2 / 2 + c·u) / F + 1 / 2``.
        largest: no coordinate of u is larger.
    """

    u: torch.Tensor
    p: torch.Tensor
    largest: float

    @classmethod
    def of(cls, x: torch.Tensor, centre: torch.Tensor) -> _Centred:
        u = x - centre.to(x.dtype)
        along = torch.cat([u[rows].double() @ centre for rows in spans(len(u), TILE)])
        return cls(u, (centre @ centre / 2 + along) / len(centre) + 0.5, max(map(abs, map(float, u.aminmax()))))

    def __len__(self) -> int:
        return len(self.u)

    def __getitem__(self, rows: torch.Tensor) -> _Centred:
        return _Centred(self.u[rows].double(), self.p[rows], self.largest)

    @functools.cached_property
    def own(self) -> torch.Tensor:
        """The g of each sample with itself, float64 ``[N]``."""
        return torch.cat([self.u[rows].double().square().sum(1) for rows in spans(len(self), TILE)]) / self.u.shape[1]

    @functools.cached_property
    def some(self) -> torch.Tensor:
        """Rows that the standard error is judged by, int64 ``[n]``."""
        return torch.linspace(0, len(self) - 1, min(len(self), ROWS), device=self.u.device).long()

    @functools.cached_property
    def second(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``Σ u u^T / F`` and ``Σ p u u^T / F``, float64 ``[F, F]`` each."""
        nowhere, least = self.p.new_zeros(self.u.shape[1]), self.p.min()
        plain, above = scatter(self.u, nowhere), scatter(self.u, nowhere, self.p - least)
        return plain / len(nowhere), (above + least * plain) / len(nowhere)


class _Sums(NamedTuple):
    """Sums of the kernel: over all pairs, and of some rows (`_Centred.some`) over all columns, float64 ``[n]``."""

    total: float
    rows: torch.Tensor


def _sums(a: _Centred, b: _Centred) -> _Sums:
    """Sum the kernel over all pairs of two sets, or over those of two different samples of one set, in float64."""
    rows = _cubes(a, b, torch.float64, whole=True)
    if a is b:
        rows = rows - (2 * a.p + a.own) ** 3
    return _Sums(float(rows.sum()), rows[a.some])


def _sums_of_many(a: _Centred, b: _Centred) -> _Sums:
    """Sum the kernel as `_sums` does, split as this module says; for many more samples than features."""
    dtype = product_dtype(a.u.device.type)
    first, squares = _first_order(a, b), _squares(a, b)
    total = float(first.sum()) + squares.total + _sum_of_cubes(a, b, dtype)
    rows = first[a.some] + squares.rows + _cubes(a[a.some], b, dtype, whole=False)
    if a is b:
        own = (2 * a.p) ** 3 + 3 * (2 * a.p) ** 2 * a.own
        total, rows = total - float(own.sum()), rows - (own + a.own**3)[a.some]
    return _Sums(total, rows)


def _first_order(a: _Centred, b: _Centred) -> torch.Tensor:
    """Return ``Σ_j t^3 + 3 t^2 g`` of every row, float64 ``[N]``."""
    powers = torch.stack([b.p**n for n in range(4)])
    q = powers.sum(1)
    parts = [powers[:3, rows] @ b.u[rows].double() for rows in spans(len(b), TILE)]
    v = torch.stack(parts).sum(0) / a.u.shape[1]
    g = torch.cat([a.u[rows].double() @ v.T for rows in spans(len(a), TILE)])
    p = a.p
    cubes = p**3 * q[0] + 3 * p**2 * q[1] + 3 * p * q[2] + q[3]
    return cubes + 3 * (p**2 * g[:, 0] + 2 * p * g[:, 1] + g[:, 2])


def _squares(a: _Centred, b: _Centred) -> _Sums:
    """Sum ``3 t g^2`` by moments: ``Σ_ij (p_i + q_j) g_ij^2``, each part a product of two ``[F, F]`` matrices."""
    (plain_a, weighted_a), (plain_b, weighted_b) = a.second, b.second
    total = (weighted_a * plain_b).sum() + (plain_a * weighted_b).sum()
    u, p = a.u[a.some].double(), a.p[a.some]
    rows = (p * ((u @ plain_b) * u).sum(1) + ((u @ weighted_b) * u).sum(1)) / u.shape[1]
    if a is b:
        total = total - (2 * a.p * a.own**2).sum()
        rows = rows - (2 * a.p * a.own**2)[a.some]
    return _Sums(3 * float(total), 3 * rows)


def _cubes(a: _Centred, b: _Centred, dtype: torch.dtype, whole: bool) -> torch.Tensor:
    """Return the sums over j of the kernel ``(t + g)^3``, or of ``g^3`` alone.

    Args:
        a: N samples, the rows.
        b: M samples, the columns.
        dtype: of the matrix product.
        whole: whether it is the kernel.

    Returns:
        float64 ``[N]``.
    """
    scale = 1.0 if whole else _power_below(a, b)
    unit = scale**2 * a.u.shape[1]  # what g is multiplied by
    found, within = torch.zeros(len(a), dtype=torch.float64, device=a.u.device), a is b
    for rows, columns, product, held in _products(a, b, dtype, scale):
        for slab in spans(len(product), _SLAB):
            part = product[slab]
            g, third = (each[: part.numel()].view(part.shape) for each in held)
            g.copy_(part)
            if whole:
                g += unit * a.p[rows][slab, None]
                g += unit * b.p[columns]
            found[rows][slab] += torch.mul(g, g, out=third).mul_(g).sum(1)
            if within and rows != columns:
                found[columns] += third.sum(0)
    return found / unit**3


def _sum_of_cubes(a: _Centred, b: _Centred, dtype: torch.dtype) -> float:
    """Return the sum of ``g^3`` over all pairs, within one set those of two different samples."""
    scale = _power_below(a, b)
    if dtype is torch.bfloat16 and a.u.device.type == "cpu" and can_cube(a.u.shape[1]):
        left, right = ((each.u * scale).to(dtype) for each in (a, b))
        return sum_of_cubes(left, None if a is b else right) / (scale**2 * a.u.shape[1]) ** 3
    found, within = torch.zeros((), dtype=torch.float64, device=a.u.device), a is b
    for rows, columns, product, held in _products(a, b, dtype, scale):
        if within and rows == columns:
            product.fill_diagonal_(0)
        twice = 2.0 if within and rows != columns else 1.0
        for slab in spans(len(product), _SLAB):
            part = product[slab].flatten()
            g, square = (each[: len(part)] for each in held)
            g.copy_(part)
            found += twice * torch.dot(torch.mul(g, g, out=square), g).double()
    return float(found) / (scale**2 * a.u.shape[1]) ** 3


def _power_below(a: _Centred, b: _Centred) -> float:
    """Return the power of two that brings coordinates below 1, so that cubes stay within float32."""
    return _below_one(max(a.largest, b.largest))


def _below_one(largest: float) -> float:
    return float(2.0 ** -int(np.frexp(largest)[1]))


def _products(
    a: _Centred, b: _Centred, dtype: torch.dtype, scale: float
) -> Iterator[tuple[slice, slice, torch.Tensor, torch.Tensor]]:
    """Yield rows, columns and products of the scaled coordinates of every tile, within one set of one half of them.

    Beside them, memory for two slabs of a tile in at least float32, which stays: that is the faster.
    """
    left, right = ((each.u * scale).to(dtype) for each in (a, b))
    within = a is b
    size = min(TILE, -(-len(b) // 2)) if within else TILE  # at least three tiles of four
    tile = torch.empty(min(size, len(a)) * min(size, len(b)), dtype=dtype, device=left.device)
    wide = torch.promote_types(dtype, torch.float32)
    held = torch.empty(2, _SLAB * min(size, len(b)), dtype=wide, device=left.device)
    for m, columns in enumerate(spans(len(b), size)):
        for rows in spans(len(a), size)[: m + 1 if within else None]:
            shape = rows.stop - rows.start, columns.stop - columns.start
            yield (
                rows,
                columns,
                torch.mm(left[rows], right[columns].T, out=tile[: shape[0] * shape[1]].view(shape)),
                held,
            )
