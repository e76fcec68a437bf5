"""Features as the metrics take them: float64 ``[N, F]`` on the CPU, finite, enough of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError

FeatureArray = npt.ArrayLike | torch.Tensor
"""What a caller may give: any array or tensor of any device."""


def as_features(features: FeatureArray, what: str, least: int, dim: int | None = None) -> npt.NDArray[np.float64]:
    """Return features in float64, or say what is wrong with them.

    Args:
        features: ``[N, F]``.
        what: what they are of, for the error: ``"generated samples"``.
        least: smallest N that will do.
        dim: F, when it must be that of another set.

    Raises:
        UsageError: when they are not ``[N, F]``, too few, or hold NaN or infinity.
    """
    rows = features.detach().cpu() if isinstance(features, torch.Tensor) else features
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2 or len(array) < least or (dim is not None and array.shape[1] != dim):
        wanted = f"[N, {'F' if dim is None else dim}]"
        raise UsageError(f"Features of {what} have shape {array.shape}; give {wanted} with N of {least} or more.")
    if not np.isfinite(array).all():
        raise UsageError(f"Features of {what} hold NaN or infinity; look at the samples before measuring them.")
    return array
