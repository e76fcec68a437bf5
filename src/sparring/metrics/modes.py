"""Which modes a generator covers: classes of images, or the Gaussians of a mixture in the plane.

The plane's score is PacGAN's (arXiv:1712.04086, section 4.1), after VEEGAN (arXiv:1705.07761).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sparring.errors import UsageError

if TYPE_CHECKING:
    from sparring.data import Modes

HIGH_QUALITY_SIGMAS = 3.0


@dataclass(frozen=True)
class ModeReport:
    """How a set of points covers a mixture of K Gaussians.

    Attributes:
        modes: number of modes with at least one high-quality sample, 0 to K.
        high_quality: fraction of samples within 3 sigma of their nearest mean, 0 to 1; real data scores
            ``1 - exp(-4.5)`` = 0.989 in the plane.
        reverse_kl: KL(generated ‖ uniform) in nats over the modes, every sample counted at its nearest mean; 0 to ln K.
        histogram: samples per nearest mean, K counts.
    """

    modes: int
    high_quality: float
    reverse_kl: float
    histogram: tuple[int, ...]


def mode_report(points: npt.ArrayLike, modes: Modes) -> ModeReport:
    """Return how the points cover the mixture (arXiv:1712.04086, section 4.1).

    Args:
        points: generated samples ``[N, 2]``, N >= 1, in the units of the data.
        modes: the mixture: its means ``[K, 2]`` and the sigma of each component.

    Returns:
        Modes seen, share of high quality, reverse KL and the histogram.

    Raises:
        UsageError: when the points are not ``[N, 2]``, none, or not finite.
    """
    where = np.asarray(points, dtype=np.float64)
    if where.ndim != 2 or where.shape[1:] != modes.centres.shape[1:] or not len(where):
        raise UsageError(
            f"Mode score: the points have shape {where.shape}; give [N, {modes.centres.shape[1]}] with N >= 1."
        )
    if not np.isfinite(where).all():
        raise UsageError("Mode score: some points are NaN or infinite; the generator has diverged.")
    distance = np.linalg.norm(where[:, None] - modes.centres[None], axis=2)
    nearest = distance.argmin(axis=1)
    good = distance.min(axis=1) <= HIGH_QUALITY_SIGMAS * modes.sigma
    histogram = class_histogram(nearest, len(modes.centres))
    return ModeReport(
        modes=len(np.unique(nearest[good])),
        high_quality=float(good.mean()),
        reverse_kl=class_kl(histogram, np.ones(len(modes.centres))),
        histogram=tuple(int(count) for count in histogram),
    )


def class_histogram(labels: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.int64]:
    """Return how often each class occurs.

    Args:
        labels: integers ``[N]`` in 0 to num_classes - 1.
        num_classes: K.

    Returns:
        Counts ``[K]``, zeros included.

    Raises:
        UsageError: when a label lies outside 0 to num_classes - 1.
    """
    y = np.asarray(labels, dtype=np.int64).reshape(-1)
    if len(y) and (y.min() < 0 or y.max() >= num_classes):
        raise UsageError(
            f"Class histogram: labels run from {y.min()} to {y.max()}, but there are {num_classes} classes; "
            f"give labels from 0 to {num_classes - 1}."
        )
    return np.bincount(y, minlength=num_classes).astype(np.int64)


def class_kl(histogram_generated: npt.ArrayLike, histogram_reference: npt.ArrayLike) -> float:
    """Return KL(generated ‖ reference) between two histograms, in nats.

    A class that is never generated adds nothing (0 ln 0 = 0); one that is generated although the reference has none
    makes the divergence infinite. Nothing is smoothed.

    Args:
        histogram_generated: counts or frequencies ``[K]``, not negative, not all zero.
        histogram_reference: likewise.

    Returns:
        The divergence, 0 to infinity; at most ln K against a uniform reference.

    Raises:
        UsageError: when the histograms differ in length, are empty, all zero, negative or not finite.
    """
    p, q = _frequencies(histogram_generated), _frequencies(histogram_reference)
    if p.shape != q.shape:
        raise UsageError(f"KL: histograms of {len(p)} and {len(q)} classes cannot be compared; use the same classes.")
    seen = p > 0
    if (q[seen] == 0).any():
        return float("inf")
    return max(float(np.sum(p[seen] * np.log(p[seen] / q[seen]))), 0.0)


def _frequencies(histogram: npt.ArrayLike) -> npt.NDArray[np.float64]:
    counts = np.asarray(histogram, dtype=np.float64)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any() or not counts.sum() > 0:
        raise UsageError("KL: a histogram must be a list of finite counts >= 0 that are not all zero; count again.")
    frequencies: npt.NDArray[np.float64] = counts / counts.sum()
    return frequencies
