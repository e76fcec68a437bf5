"""How different the samples of a set are from each other: numbers of diversity, which want no real data beside them.

Each is a mean over pairs of samples, and says little alone: compare it with that of as many real images. It sees a collapse (all
samples alike), not whether what is spread looks real.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray, as_features
from sparring.metrics.estimate import Estimate, from_standard_error

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik, 2003, section 3.2)."""

WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation, in pixels, of the Gaussian window in which SSIM compares."""

_RANGE = 2.0  # of values in [-1, 1]
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
_VALUES = 2**18  # of a batch of images: what is made of them then stays near the processor
_DISTANCES = 100_000  # pairs of features to measure, about

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def ms_ssim(x_a: Tensor, x_b: Tensor) -> Tensor:
    """Return the multi-scale structural similarity of pairs of images (Wang, Simoncelli and Bovik, 2003, eq. 7).

    Contrast and structure are compared at every scale, luminance at the coarsest; means are over the pixels where the window
    fits and over channels, and a negative one counts as 0. Five scales need 176 pixels on the shorter side. Smaller images are
    compared at as many as fit (4 from 88 pixels, 3 from 44, 2 from 22, 1 from 11), with the exponents of those, made to sum to
    1; so only images of one size can be compared by their numbers.

    Args:
        x_a: ``[B, C, H, W]`` in [-1, 1], both sides at least 11 pixels.
        x_b: likewise.

    Returns:
        float64 ``[B]``, 0 to 1; 1 for equal images.

    Raises:
        UsageError: when the shapes differ or the images are too small.
    """
    a, b = (x.detach().to("cpu", torch.float64) for x in (x_a, x_b))
    weights = _scale_weights(a.shape, b.shape)
    similarity = torch.ones(len(a), dtype=torch.float64)
    for scale, weight in enumerate(weights):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, structure = _ssim_parts(a, b)
        compared = structure if scale + 1 < len(weights) else luminance * structure
        similarity = similarity * compared.mean(dim=(1, 2, 3)).clamp(min=0) ** weight
    return similarity


def _scale_weights(shape: torch.Size, other: torch.Size) -> list[float]:
    """Return the exponents of the scales at which the window fits into images ``[B, C, H, W]``."""
    if len(shape) != 4 or shape != other or min(shape[2:]) < WINDOW:
        raise UsageError(
            f"MS-SSIM: images of shape {tuple(shape)} and {tuple(other)} cannot be compared; "
            f"give two batches [B, C, H, W] of one shape, {WINDOW} pixels or more on each side."
        )
    fitting = [weight for scale, weight in enumerate(SCALE_WEIGHTS) if min(shape[2:]) >> scale >= WINDOW]
    return [weight / sum(fitting) for weight in fitting]


def _ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return luminance and contrast-structure, ``[B, C, H - 10, W - 10]`` (Wang et al., 2004, with C3 = C2 / 2)."""
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack((a, b, a * a, b * b, a * b)))
    of_a, of_b, of_both = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * of_both + _C2) / (of_a + of_b + _C2)
    return luminance, structure


def _blur(maps: Tensor) -> Tensor:
    """Average ``[..., H, W]`` in a Gaussian window, where it fits: ``[..., H - 10, W - 10]``."""
    height, width = maps.shape[-2:]
    return _window(height) @ maps @ _window(width).T


def _window(side: int) -> Tensor:
    """Return the window at each place along a side, ``[side - 10, side]``: products are several times as fast as convolutions."""
    offset = torch.arange(side) - torch.arange(side - WINDOW + 1).unsqueeze(1) - WINDOW // 2
    weights = torch.exp(-0.5 * (offset.double() / SIGMA) ** 2) * (offset.abs() <= WINDOW // 2)
    return weights / weights.sum(1, keepdim=True)


def mean_ms_ssim(images: Tensor, pairs: int = 1000, seed: int = 0) -> Estimate:
    """Return the mean MS-SSIM of random pairs: the higher, the less diverse the images (arXiv:1610.09585).

    The paper takes pairs of one class; give the images of a class for that.

    Args:
        images: ``[N, C, H, W]`` in [-1, 1], N >= 4.
        pairs: how many to compare, about; at most all of them.
        seed: of the pairs.

    Returns:
        0 to 1; the interval is that of other images from the same source.

    Raises:
        UsageError: when there are fewer than 4 images, or they are too small.
    """
    if len(images) < 4:
        raise UsageError(f"MS-SSIM: {len(images)} images are too few for a mean over pairs; give 4 or more.")
    order, steps = _circle(len(images), pairs, seed)
    similarities = [_similarities(images, order, np.roll(order, -step)) for step in range(1, steps + 1)]
    return _mean_over_pairs(np.stack(similarities), most=1.0)


def _similarities(images: Tensor, order: Indices, partners: Indices) -> Array:
    """Return the MS-SSIM of images ``order[i]`` and ``partners[i]``, ``[n]``, a batch at a time."""
    size = max(_VALUES // images[0].numel(), 1)
    parts = (slice(first, first + size) for first in range(0, len(order), size))
    found = [ms_ssim(images[torch.from_numpy(order[p])], images[torch.from_numpy(partners[p])]) for p in parts]
    return torch.cat(found).numpy()


def feature_spread(features: FeatureArray, seed: int = 0) -> Estimate:
    """Return the mean distance between the features of two samples: 0 when all are alike.

    Args:
        features: ``[N, F]``, N >= 4.
        seed: of the pairs: about 100,000 are measured, or all where there are fewer.

    Returns:
        The mean Euclidean distance, in the units of the features.

    Raises:
        UsageError: when the features are too few, not ``[N, F]``, or hold NaN or infinity.
    """
    rows = as_features(features, "samples", least=4)
    order, steps = _circle(len(rows), _DISTANCES, seed)
    distances = [np.linalg.norm(rows[order] - rows[np.roll(order, -step)], axis=1) for step in range(1, steps + 1)]
    return _mean_over_pairs(np.stack(distances), most=math.inf)


def vendi_score(features: FeatureArray) -> Estimate:
    """Return how many wholly different samples the set is worth (arXiv:2210.02410), by cosine similarity of features.

    It is ``exp(H)`` with H the entropy of the eigenvalues of the similarity matrix over N. It grows with N until N is far above
    it, so compare sets of one size.

    Args:
        features: ``[N, F]``, N >= 2, none of them all zero.

    Returns:
        1 when all samples are alike, to min(N, F).

    Raises:
        UsageError: when the features are too few, not ``[N, F]``, all zero, or hold NaN or infinity.
    """
    rows = as_features(features, "samples", least=2)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not norms.all():
        raise UsageError("Vendi score: the features of some sample are all zero, so it has no direction; leave it out.")
    _, singular, directions = np.linalg.svd(rows / norms, full_matrices=False)
    kept = singular > singular[0] * np.finfo(np.float64).eps * max(rows.shape)
    eigenvalues = singular[kept] ** 2 / len(rows)
    entropy = -float(eigenvalues @ np.log(eigenvalues))
    # d H / d weight of sample i, for weights that sum to 1: its own surprise, less the mean one
    surprise = -((rows / norms @ directions[kept].T) ** 2) @ np.log(eigenvalues)
    error = math.exp(entropy) * float(surprise.std(ddof=1)) / math.sqrt(len(rows))
    return from_standard_error(math.exp(entropy), error, "infinitesimal jackknife", least=1.0)


def _circle(count: int, pairs: int, seed: int) -> tuple[Indices, int]:
    """Place samples on a circle in random order; each is to be paired with the next, the one after it, and so on.

    All then take part in equally many pairs, so that what a sample adds to the mean can be told from what a pair adds.

    Args:
        count: of samples, >= 4.
        pairs: wanted, about.
        seed: of the order.

    Returns:
        Who stands where, at most ``pairs`` samples, and how many steps away the farthest partner is.
    """
    standing = max(min(count, pairs), 4)
    order = np.random.default_rng(seed).permutation(count)[:standing]
    return order, min(max(round(pairs / standing), 1), (standing - 1) // 2)


def _mean_over_pairs(values: Array, most: float) -> Estimate:
    """Return the mean over pairs of n samples on a circle, with the interval of another n samples.

    A value is taken for ``mean + g_i + g_j + e_ij`` (Hoeffding, 1948): the variances of g and e follow from those of the samples'
    means and of all values, and that of the grand mean is ``4 var(g) / n + var(e) / pairs``.

    Args:
        values: of the pairs i and i + s, ``[steps, n]``, in row s - 1.
        most: the largest value possible.
    """
    steps, n = values.shape
    both_sides = sum(row + np.roll(row, step) for step, row in enumerate(values, start=1))
    means = both_sides / (2 * steps)
    expected = [  # of the two variances: parts of var(g) and of var(e), as no value is independent of its neighbours'
        [(n * (1 + 0.5 / steps) - 4) / (n - 1), (n - 2) / (2 * steps * (n - 1))],
        [2 - 4 / n, 1 - 1 / (steps * n)],
    ]
    of_samples, of_pairs = np.maximum(np.linalg.solve(expected, [means.var(ddof=1), values.var()]), 0)
    error = math.sqrt(4 * of_samples / n + of_pairs / (steps * n))
    return from_standard_error(float(values.mean()), error, "pairs of samples", least=0.0, most=most)
