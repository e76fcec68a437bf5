"""The inception score: whether samples are of clear classes, and of many (arXiv:1606.03498)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.estimate import Estimate, from_standard_error


def inception_score(probabilities: FeatureArray, splits: int = 10) -> Estimate:
    """Return ``exp E_x KL(p(y|x) ‖ p(y))`` (arXiv:1606.03498, section 4), from 1, all alike, to K, each class clear and even.

    As published: the mean over as many consecutive splits, each with its own p(y). It knows no real data, so it rewards
    one good picture of each class as highly as all of them, and it is biased downwards by the samples in a split: compare
    only numbers of the same count (50,000 in most papers) and the same splits.

    Args:
        probabilities: of the classes for each generated sample ``[N, K]``, rows sum to 1; N >= splits.
        splits: how many; they may differ in size by one.

    Returns:
        The score; its interval is the standard error of the splits, and there is none for a single split.

    Raises:
        UsageError: when rows are no probabilities, or there are fewer of them than splits.
    """
    rows = _checked(probabilities)
    if not 1 <= splits <= len(rows):
        raise UsageError(
            f"Inception score: {len(rows)} samples cannot be cut into {splits} splits; give 1 to {len(rows)}."
        )
    scores = [_score(part) for part in np.array_split(rows, splits)]
    value = float(np.mean(scores))
    if splits == 1:
        return Estimate(value)
    error = float(np.std(scores, ddof=1)) / math.sqrt(splits)
    return from_standard_error(value, error, f"{splits} splits", least=1.0, most=float(rows.shape[1]))


def _score(p: npt.NDArray[np.float64]) -> float:
    """Return ``exp(H(mean of p) - mean of H(p))`` of probabilities ``[n, K]``, which is the same and needs no quotient."""
    return math.exp(max(_entropy(p.mean(axis=0, keepdims=True)) - _entropy(p), 0.0))


def _entropy(p: npt.NDArray[np.float64]) -> float:
    """Return the mean entropy of rows ``[n, K]`` in nats; a probability of 0 adds 0."""
    return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1).mean())


def _checked(probabilities: FeatureArray) -> npt.NDArray[np.float64]:
    held = probabilities.detach().double().cpu() if isinstance(probabilities, torch.Tensor) else probabilities
    rows = np.asarray(held, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise UsageError(f"Inception score: probabilities have shape {rows.shape}; give [N, K], one row per sample.")
    if not (rows >= 0).all() or not np.allclose(rows.sum(axis=1), 1, atol=1e-2, rtol=0):
        raise UsageError("Inception score: rows are no probabilities, >= 0 and of sum 1; give them after the softmax.")
    normalized: npt.NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return normalized
