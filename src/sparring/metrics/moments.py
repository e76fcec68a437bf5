"""Means, covariances and scatter matrices of features, in float64 on their device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.fast.scatter import can_scatter, column_summary
from sparring.fast.scatter import scatter as scatter_by_kernels
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.samples import feature_tensor, spans
from sparring.metrics.screening import product_dtype

Array = npt.NDArray[np.float64]
Ends = tuple[torch.Tensor, torch.Tensor]
"""Smallest and largest value of every feature, ``[F]`` each."""

_CHUNK = 2048
"""Rows that one matrix product in float32 adds up; over so few, it loses a part in two million."""

_WIDE = 512
"""Features from which on a product of fewer bits is worth it, and columns of a block of a symmetric matrix."""

_SUMMED = 32_768
"""Rows that one product of integers adds up: 127^2 of each is well within 32 bits."""

_SLAB = 256
"""Rows that are made integers at a time, to stay in a core's cache."""

_BASE = 254
"""Of the two digits that an integer is split into, from -127 to 127 each."""

_LEVELS = 127 * _BASE
"""Steps of a feature's fixed point from 0 to its largest value."""

_FAR = 100
"""Standard deviations to the farthest value up to which a feature's steps are small enough."""


class Moments:
    """Mean and covariance of features that arrive in batches, on the device of the first.

    Each batch is centred on its own mean and merged by the pairwise update of Chan, Golub and LeVeque (1983), so a
    large common offset costs no digits and the batch size changes only the last one.

    Args:
        dim: F, the number of features.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.centre = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    @property
    def mean(self) -> Array:
        """The mean, float64 ``[F]``."""
        found: Array = self.centre.cpu().numpy()
        return found

    def update(self, batch: FeatureArray) -> None:
        """Take in more samples.

        Args:
            batch: features ``[B, F]``, any B, 0 included.

        Raises:
            UsageError: when the batch is not ``[B, F]`` or holds NaN or infinity.
        """
        features = feature_tensor(batch, len(self.centre))
        if len(features):
            mean, ends = _mean_and_ends(features)
            self._merge(len(features), mean, scatter(features, mean, ends=ends))

    def merge(self, other: Moments) -> None:
        """Take in all samples that another accumulator has seen, leaving that one as it is.

        Raises:
            UsageError: when the other one counts another number of features.
        """
        if other.centre.shape != self.centre.shape:
            raise UsageError(
                f"Moments of {len(self.centre)} and of {len(other.centre)} features cannot be merged; "
                "use the same feature extractor for both."
            )
        self._merge(other.count, other.centre, other._scatter)

    def covariance(self) -> Array:
        """Return the unbiased covariance ``[F, F]`` (divided by the count less one).

        Raises:
            UsageError: when fewer than two samples were taken in.
        """
        found: Array = self.spread().cpu().numpy()
        return found

    def spread(self) -> torch.Tensor:
        """Return the covariance as a tensor; see `covariance`."""
        if self.count < 2:
            raise UsageError(f"A covariance needs at least 2 samples, but there are {self.count}; give more samples.")
        return self._scatter / (self.count - 1)

    def _merge(self, count: int, mean: torch.Tensor, scatter: torch.Tensor) -> None:
        total = self.count + count
        if not total:
            return
        self.centre, self._scatter = self.centre.to(mean.device), self._scatter.to(mean.device)
        step = mean - self.centre
        if self.count:
            scatter = self._scatter + scatter + torch.outer(step, step) * (self.count * count / total)
        self._scatter = scatter
        self.centre = self.centre + step * (count / total)
        self.count = total


def mean_of(features: torch.Tensor) -> torch.Tensor:
    """Return the mean of features ``[N, F]``, float64 ``[F]``."""
    return _mean_and_ends(features)[0]


def _mean_and_ends(features: torch.Tensor) -> tuple[torch.Tensor, Ends | None]:
    """Return the mean, and the ends if they are found with it."""
    if can_scatter(features):
        sums, low, high = column_summary(features)
        return sums / len(features), (low, high)
    parts = [features[rows].sum(0, dtype=torch.float64) for rows in spans(len(features), _SLAB)]
    return torch.stack(parts).sum(0) / len(features), None


def scatter(
    features: torch.Tensor, centre: torch.Tensor, weights: torch.Tensor | None = None, *, ends: Ends | None = None
) -> torch.Tensor:
    """Return ``Σ w_i (x_i - c) (x_i - c)^T``, float64 ``[F, F]``.

    Wide float32 features on a CPU are multiplied in fewer bits, as integers where it has matrix units and in float32 where not.
    The diagonal keeps float32's digits, and what the rest loses is below 1e-6 of a distance of a hundredth of the variances.

    Args:
        features: ``[N, F]``.
        centre: c, float64 ``[F]``.
        weights: float64 ``[N]``, >= 0; None for ones.
        ends: where they are known already.
    """
    dtype = torch.float64
    if features.dtype == torch.float32 and features.device.type == "cpu" and features.shape[1] >= _WIDE:
        low, high = ends or _mean_and_ends(features)[1] or features.aminmax(dim=0)
        largest = torch.maximum(high - centre, centre - low)
        if 1e-15 < float(largest.max()) < 1e15:  # float32 holds the squares
            found = _of_integers(features, centre, weights, largest) if product_dtype("cpu") == torch.bfloat16 else None
            if found is not None:
                return found
            if torch.get_float32_matmul_precision() == "highest":
                dtype = torch.float32
    return _of_floats(features, centre, weights, dtype)


def _of_integers(
    features: torch.Tensor, centre: torch.Tensor, weights: torch.Tensor | None, largest: torch.Tensor
) -> torch.Tensor | None:
    """Return the scatter of features rounded to fixed point, whose products are exact, or None where one has far outliers.

    A feature whose largest difference from c is s (``largest``, float64 ``[F]``) is ``q s / _LEVELS`` with ``q = 254 h + m``,
    both from -127 to 127, so that

        q q^T = 254^2 h h^T + 254 (h m^T + m h^T) + m m^T.

    The differences are from a middle near c that is a whole number of steps: a feature that is often 0 is then rounded by
    nothing, where else it would always be rounded the same way.
    """
    steps = (_LEVELS / largest.clamp(min=1e-30)).float()
    middle = (centre.float() * steps).round() / steps
    scale, roots = 1.0, None
    if weights is not None:
        roots = weights.sqrt().float()[:, None]
        scale = float(roots.max())
    count = float(len(features) if weights is None else weights.sum())
    farthest = (largest * scale).square() * len(features)
    if can_scatter(features):
        total, trace = scatter_by_kernels(features, roots, middle, steps / scale, centre, count)
        return None if _has_outliers(farthest, trace) else total
    size, dim = min(_SUMMED, len(features)), len(centre)
    high, low = torch.empty(2, size, dim, dtype=torch.int8)
    products = torch.empty(3, dim, dim, dtype=torch.int32)
    held, digit = torch.empty(2, _SLAB, dim)
    total = torch.zeros(dim, dim, dtype=torch.float64)
    trace, summed = torch.zeros(2, dim, dtype=torch.float64)
    for rows in spans(len(features), size):
        chunk = features[rows]
        for slab in spans(len(chunk), _SLAB):
            x, h = held[: slab.stop - slab.start], digit[: slab.stop - slab.start]
            torch.sub(chunk[slab], middle, out=x)
            if roots is not None:
                x *= roots[rows][slab]
            trace += torch.mul(x, x, out=h).sum(0)
            summed += x.sum(0) if roots is None else torch.mul(x, roots[rows][slab], out=h).sum(0)
            x.mul_(steps / scale).round_()
            torch.mul(x, 1 / _BASE, out=h).round_()
            high[slab] = h
            low[slab] = x.sub_(h, alpha=_BASE)
        left, right = high[: len(chunk)], low[: len(chunk)]
        for pair, product in zip(((left, left), (left, right), (right, right)), products, strict=True):
            torch._int_mm(pair[0].T, pair[1], out=product)
        hh, hm, mm = products
        total += hh.double() * _BASE**2 + (hm + hm.T).double() * _BASE + mm
    if _has_outliers(farthest, trace):
        return None
    unit = scale / steps.double()
    total *= torch.outer(unit, unit)
    total.diagonal().copy_(trace)
    away = middle.double() - centre  # x - c = (x - middle) + away
    cross = torch.outer(summed, away)
    return total + cross + cross.T + count * torch.outer(away, away)


def _has_outliers(farthest: torch.Tensor, trace: torch.Tensor) -> bool:
    """Return whether a feature's steps are too large for its spread."""
    return bool((farthest > _FAR**2 * trace).logical_and(trace > 0).any())


def _of_floats(
    features: torch.Tensor, centre: torch.Tensor, weights: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Return the scatter by products of a dtype of some rows each, added up in float64, of the lower half."""
    size, dim, device = min(_CHUNK, len(features)), len(centre), features.device
    centred, squared = torch.empty(2, size, dim, dtype=torch.float64, device=device)  # memory that stays is the faster
    right = torch.empty(size, dim, dtype=dtype, device=device)
    product = torch.zeros(dim, dim, dtype=dtype, device=device)
    total, trace = torch.zeros(dim, dim, dtype=torch.float64, device=device), torch.zeros_like(centre)
    for rows in spans(len(features), size):
        n = rows.stop - rows.start
        x, squares, left = centred[:n].copy_(features[rows]).sub_(centre), squared[:n], right[:n]
        left.copy_(x)
        torch.mul(x, x, out=squares)
        if weights is not None:
            left = (x * weights[rows, None]).to(dtype)
            squares *= weights[rows, None]
        trace += squares.sum(0)
        for span in spans(dim, _WIDE):
            torch.mm(left[:, span.start :].T, right[:n, span], out=product[span.start :, span])
        total += product.double()  # to add numbers of two kinds takes several times as long
    return total.tril(-1) + total.tril(-1).T + trace.diag()


def contrasts(features: torch.Tensor) -> torch.Tensor:
    """Return N - 1 independent differences of N samples, float64 ``[N - 1, F]``, whose scatter about 0 is that about the mean.

    Row k is sample k + 1 less the mean of those before it, times ``(k / (k + 1))^(1/2)`` (Helmert's transformation).

    Args:
        features: ``[N, F]``.
    """
    x = features - mean_of(features)
    k = torch.arange(1, len(x), dtype=torch.float64, device=x.device)[:, None]
    return (k * x[1:] - x.cumsum(0)[:-1]) / (k * (k + 1)).sqrt()
