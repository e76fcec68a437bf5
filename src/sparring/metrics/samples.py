"""Sets of features as tensors, on whatever device they are: checked, made alike, cut into spans, freed of duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray

_TELLING = 16
"""Features that nearly always tell rows apart already."""


def feature_tensor(features: FeatureArray, dim: int | None = None) -> torch.Tensor:
    """Return features as a float32 or float64 tensor ``[N, F]`` where they are, or say what is wrong with them.

    Args:
        features: an array or a tensor on any device; those that know no float64 hand over to the CPU.
        dim: F, where it is known.

    Raises:
        UsageError: when they are not two-dimensional, not F wide, or hold NaN or infinity.
    """
    found = features.detach() if isinstance(features, torch.Tensor) else _from_array(features)
    if found.device.type not in ("cpu", "cuda"):
        found = found.cpu()
    if found.dtype not in (torch.float32, torch.float64):
        found = found.to(torch.float32 if found.is_floating_point() else torch.float64)
    if found.ndim != 2 or found.shape[1] != (dim or max(found.shape[1], 1)):
        wanted = "[N, F]" if dim is None else f"[N, {dim}]"
        raise UsageError(f"Features have shape {tuple(found.shape)} where {wanted} is needed; give one row per sample.")
    check_finite(found)
    return found.contiguous()


def check_finite(values: torch.Tensor) -> None:
    """Refuse values that are not all finite.

    Raises:
        UsageError: when some are NaN or infinite.
    """
    if values.sum().isfinite():  # one quick pass: a finite sum has finite terms
        return
    bad = int(values.numel() - values.isfinite().sum())
    if bad:
        raise UsageError(
            f"{bad} of {values.numel()} values are NaN or infinite; look at the generated samples before measuring them."
        )


def _from_array(values: npt.ArrayLike) -> torch.Tensor:
    array = np.ascontiguousarray(values)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def of_one_kind(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both in the wider one's dtype, on the first one's device.

    Raises:
        UsageError: when they have different numbers of features.
    """
    if x.shape[1] != y.shape[1]:
        raise UsageError(
            f"Sets of {x.shape[1]} and of {y.shape[1]} features do not fit together; use one feature extractor for both."
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(x.device, dtype)


def spans(count: int, size: int) -> list[slice]:
    """Return the slices that cut a count into pieces of a size."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _unique(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
    """Return where each distinct row occurs first, which of them each row is, and how many are each, in the order of bytes."""
    whole = np.ascontiguousarray(rows)
    keys = whole.view(f"V{whole.shape[1] * whole.itemsize}").ravel()
    return np.unique(keys, return_index=True, return_inverse=True, return_counts=True)[1:]


class Distinct:
    """The distinct rows of a set of points, of which a collapsed generator makes few.

    Args:
        points: ``[N, F]``.

    Attributes:
        rows: ``[U, F]``, each once, in the order in which they first occur.
        first: int64 ``[U]``, where each occurs first.
        group: int64 ``[N]``, which of them each point is.
        counts: int64 ``[U]``, how many points are each of them.
    """

    def __init__(self, points: torch.Tensor) -> None:
        whole = points.cpu().numpy()
        first, group, counts = _unique(whole[:, :_TELLING])
        if len(first) < len(whole):  # rows that begin alike
            first, group, counts = _unique(whole)
        order = first.argsort()
        parts = (first[order], order.argsort()[group], counts[order])
        self.first, self.group, self.counts = (torch.from_numpy(each).to(points.device) for each in parts)
        self.rows = points if len(first) == len(points) else points[self.first]

    def members(self, most: int) -> torch.Tensor:
        """Return the first few points of each distinct row in ascending order, ``[U, most]``, filled up with -1."""
        order = self.group.argsort(stable=True)
        rank = torch.arange(len(order), device=order.device) - (self.counts.cumsum(0) - self.counts)[self.group[order]]
        found = torch.full((len(self.rows), most), -1, device=order.device)
        kept = rank < most
        found[self.group[order[kept]], rank[kept]] = order[kept]
        return found
