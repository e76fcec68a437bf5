"""T2: two lines that never meet."""

from __future__ import annotations

import math

import pytest

from sparring.experiments.distances import shifted, soft_slope


def test_the_divergence_is_flat_and_the_distance_is_not() -> None:
    finding = shifted(0, steps=200, shifts=(0.5, 2.0))
    assert finding.holds, finding.sentence
    for shift, js, distance, by_D, slope_by_D, by_critic, slope_by_critic in finding.rows:
        assert js == pytest.approx(math.log(2))
        assert distance == shift
        assert by_D == pytest.approx(math.log(2), rel=0.01)
        assert abs(slope_by_D) < 0.01
        assert by_critic == pytest.approx(shift * soft_slope(shift), rel=0.03)
        assert slope_by_critic == pytest.approx(soft_slope(shift), abs=0.05)


def test_soft_slope_is_the_best_of_the_penalized_critic() -> None:
    def value(slope: float) -> float:
        return slope * 2.0 - 10.0 * (slope - 1) ** 2

    best = soft_slope(2.0)
    assert best == 1.1
    assert value(best) > max(value(best - 0.01), value(best + 0.01))


def test_it_could_turn_out_wrong() -> None:
    """Untrained critics see neither log 2 nor the distance."""
    assert not shifted(0, steps=1, shifts=(1.0,)).holds
