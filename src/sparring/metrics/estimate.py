"""A measured number with the interval that says how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054
"""Standard errors on either side of the value that hold 95 % of a normal distribution."""


class Estimate(float):
    """A value with its 95 % interval; it is a float, so that it can be compared, stored and averaged as one.

    The interval says how much the value would move with another set of samples of the same size. It does not say how far
    the value is from that of endless samples: most metrics are biased by their counts, which the protocol states.

    Attributes:
        low: lower end, at most the value, or NaN where there is no interval.
        high: upper end, at least the value, or NaN.
        interval: how it was got: ``"infinitesimal jackknife"``, ``"bootstrap 1000"``, ``"10 splits"``; "" where there is none.
    """

    low: float
    high: float
    interval: str

    def __new__(cls, value: float, low: float = math.nan, high: float = math.nan, interval: str = "") -> Estimate:
        """Build one; the ends are widened to hold the value."""
        made = super().__new__(cls, value)
        made.low, made.high, made.interval = min(low, float(value)), max(high, float(value)), interval
        if math.isnan(low) or math.isnan(high):
            made.low = made.high = math.nan
        return made

    def __repr__(self) -> str:
        return float.__repr__(self) if math.isnan(self.low) else f"{float(self)!r} ({self.low:.4g} … {self.high:.4g})"

    def __reduce__(self) -> tuple[type[Estimate], tuple[float, float, float, str]]:
        return Estimate, (float(self), self.low, self.high, self.interval)


def from_standard_error(
    value: float, error: float, interval: str, least: float = -math.inf, most: float = math.inf
) -> Estimate:
    """Return the value with the normal interval of its standard error.

    Args:
        value: what was measured.
        error: its standard error, >= 0.
        interval: how the error was got.
        least: smallest value that the metric can take; the interval ends there.
        most: largest.
    """
    return Estimate(value, max(value - Z95 * error, least), min(value + Z95 * error, most), interval)


def from_replicates(value: float, replicates: Sequence[float] | np.ndarray, interval: str) -> Estimate:
    """Return the value with the 2.5 % and 97.5 % quantiles of its bootstrap replicates.

    Args:
        value: of the whole sample.
        replicates: the same metric of resampled sets.
        interval: how they were drawn.
    """
    low, high = np.quantile(np.asarray(replicates, dtype=np.float64), [0.025, 0.975])
    return Estimate(value, float(low), float(high), interval)
