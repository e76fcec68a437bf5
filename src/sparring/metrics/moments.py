"""Means, covariances and scatter matrices of features, in float64 on their device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.samples import feature_tensor, spans

Array = npt.NDArray[np.float64]

_CHUNK = 2048
"""Rows that one matrix product adds up; over so few, one in float32 loses a part in two million."""

_WIDE = 512
"""Features from which on a product in float32 is worth it, and columns of a block of a symmetric matrix."""


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
            mean = mean_of(features)
            self._merge(len(features), mean, scatter(features, mean))

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
        self._scatter = self._scatter + scatter + torch.outer(step, step) * (self.count * count / total)
        self.centre = self.centre + step * (count / total)
        self.count = total


def mean_of(features: torch.Tensor) -> torch.Tensor:
    """Return the mean of features ``[N, F]``, float64 ``[F]``."""
    return torch.stack([features[rows].double().sum(0) for rows in spans(len(features), _CHUNK)]).sum(0) / len(features)


def scatter(features: torch.Tensor, centre: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return ``Σ w_i (x_i - c) (x_i - c)^T``, float64 ``[F, F]``, by the lower half, as it is symmetric.

    Wide float32 features on a CPU are multiplied in float32, twice as fast, some hundred rows at a time, and those
    products are added up in float64: what it costs is below 1e-6 of a distance of a hundredth of the variances.

    Args:
        features: ``[N, F]``.
        centre: c, float64 ``[F]``.
        weights: float64 ``[N]``; None for ones.
    """
    narrow = features.dtype == torch.float32 and features.device.type == "cpu" and features.shape[1] >= _WIDE
    dtype = torch.float32 if narrow and torch.get_float32_matmul_precision() == "highest" else torch.float64
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
