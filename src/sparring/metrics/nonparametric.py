"""Statistics that assume no distribution: ranks and their correlation, the Mann-Whitney test, intervals of shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparring.errors import UsageError
from sparring.metrics.estimate import Z95, Estimate

Array = npt.NDArray[np.float64]


def wilson(share: float, count: float, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's interval of a share (1927): it stays within 0 … 1 and keeps a width at shares of 0 and 1.

    Args:
        share: what was found, 0 to 1.
        count: number of independent trials behind it, > 0; may be a fraction.
        z: standard errors on either side.
    """
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def share(hits: npt.NDArray[np.bool_]) -> Estimate:
    """Return the share of hits among independent trials ``[N]``, N >= 1, with Wilson's interval."""
    found = float(hits.mean())
    return Estimate(found, *wilson(found, len(hits)), "Wilson")


def midranks(values: npt.ArrayLike) -> Array:
    """Return ranks from 1 to N, float64 ``[N]``; equal values share the mean of their ranks."""
    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


@dataclass(frozen=True)
class MannWhitney:
    """How two samples of one quantity lie to each other.

    Attributes:
        z: of the U statistic where both have the same distribution: near 0 then, negative when the first is smaller.
        larger: probability that a value of the first exceeds one of the second, ties counted half; 0.5 when alike.
    """

    z: float
    larger: Estimate


def mann_whitney(first: npt.ArrayLike, second: npt.ArrayLike) -> MannWhitney:
    """Compare two samples by ranks (Mann and Whitney, 1947); the variance of U is corrected for ties.

    The interval of the probability is Wilson's, for as many trials as give the variance of DeLong, DeLong and Clarke-Pearson
    (1988). Unlike a normal interval it keeps a width where the samples do not overlap.

    Args:
        first: ``[M]``, M >= 2, finite.
        second: ``[N]``, N >= 2, finite.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    ranks = midranks(np.concatenate((a, b)))
    # the share of the other sample below each value: what is left of its rank without those of its own sample
    below_a = (ranks[: len(a)] - midranks(a)) / len(b)
    below_b = (ranks[len(a) :] - midranks(b)) / len(a)
    larger = float(below_a.mean())
    low, high = wilson(larger, _trials(larger, below_a, below_b))
    return MannWhitney(_z_of_u(larger, ranks, len(a), len(b)), Estimate(larger, low, high, "Wilson, DeLong"))


def _z_of_u(larger: float, ranks: Array, m: int, n: int) -> float:
    _, ties = np.unique(ranks, return_counts=True)
    total = m + n
    variance = m * n / 12 * (total + 1 - float(np.sum(ties.astype(np.float64) ** 3 - ties)) / (total * (total - 1)))
    return (larger - 0.5) * m * n / math.sqrt(variance) if variance > 1e-9 * m * n else 0.0


def _trials(larger: float, below_a: Array, below_b: Array) -> float:
    """Return the number of coin tosses whose share varies as much as this probability does.

    It lies between min(m, n), the least for any two distributions (Birnbaum and Klose, 1957), and 3mn / (m + n), that of equal
    ones; what is estimated beyond, from samples that hardly overlap, is chance.
    """
    m, n = len(below_a), len(below_b)
    variance = float(below_a.var(ddof=1) / m + below_b.var(ddof=1) / n)
    trials = larger * (1 - larger) / variance if variance > 0 else 0.0
    return min(max(trials, min(m, n)), 3 * m * n / (m + n))


def rank_correlation(loss_series: Sequence[float], metric_series: Sequence[float]) -> Estimate:
    """Return Spearman's ρ between two series of one run: how far they rise and fall together.

    Neighbouring values of a run are alike, so that a hundred of them tell as much as a few independent ones: the interval of
    Bonett and Wright (2000) is taken at the number of values that would vary as much if they were independent,
    ``n (1 - ab) / (1 + ab)`` with a and b the correlations of each series with itself one step later (Bartlett, 1935). Where
    that is 3 or less, as between two series that only rise, the interval is -1 … 1: the run cannot tell.

    Args:
        loss_series: a loss at every look, oldest first, ``[N]``, N >= 4.
        metric_series: a score at the same looks, ``[N]``.

    Returns:
        ρ, -1 to 1; NaN when a series never changes. Ties get their mean rank.

    Raises:
        UsageError: when the series differ in length, are too short, or hold NaN or infinity.
    """
    series = [np.asarray(values, dtype=np.float64) for values in (loss_series, metric_series)]
    a, b = series
    if a.ndim != 1 or a.shape != b.shape or len(a) < 4:
        raise UsageError(
            f"Rank correlation: series of shape {a.shape} and {b.shape} cannot be compared; "
            "give two series of the same looks, at least 4."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("Rank correlation: a series holds NaN or infinity; leave out the looks where it does.")
    ranks = [midranks(values) - (len(a) + 1) / 2 for values in series]
    rho = _correlation(*ranks)
    if math.isnan(rho):
        return Estimate(rho)
    low, high = _interval_of_rho(rho, len(a), _independent(*ranks))
    return Estimate(rho, low, high, "Bonett-Wright, autocorrelated")


def _correlation(a: Array, b: Array) -> float:
    """Return the correlation of two centred series, NaN when one is constant."""
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return max(-1.0, min(1.0, float(a @ b) / norm)) if norm else math.nan


def _independent(a: Array, b: Array) -> float:
    """Return how many independent values would vary as much as these two centred series."""
    both = max(math.prod(float(x[1:] @ x[:-1]) / float(x @ x) for x in (a, b)), 0.0)
    return len(a) * (1 - both) / (1 + both)


def _interval_of_rho(rho: float, count: int, independent: float) -> tuple[float, float]:
    if independent <= 3:
        return -1.0, 1.0
    inner = math.copysign(min(abs(rho), 1 - 1 / count**2), rho)  # Fisher's z of ±1 is infinite
    half = Z95 * math.sqrt((1 + rho * rho / 2) / (independent - 3))
    return math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
