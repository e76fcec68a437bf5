"""T8 and T12: what the losses of a run tell."""

from __future__ import annotations

import math

import pytest
from scipy.stats import spearmanr

from sparring.experiments.losses import rank_correlation


def test_rank_correlation_is_that_of_scipy() -> None:
    a, b = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6], [2.0, 7.0, 1.0, 8.0, 2.5, 0.1]
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, [math.exp(v) for v in a]) == pytest.approx(1.0)
    assert rank_correlation(a, [-v for v in a]) == pytest.approx(-1.0)
