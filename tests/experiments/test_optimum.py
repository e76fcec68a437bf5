"""T3, T4 and T7: the best D against a G that stands still."""

from __future__ import annotations

import math

import pytest

from sparring.experiments.optimum import approach, equilibrium, smoothing
from sparring.theory import EQUILIBRIUM_VALUE


def test_a_trained_D_approaches_the_optimum_from_below() -> None:
    finding = approach(0, marks=(0, 30, 600))
    assert finding.holds, finding.sentence
    _, mean, largest, value = zip(*finding.rows, strict=True)
    assert mean[0] > mean[1] > mean[2]
    assert largest[2] < 0.1
    best = -0.5001  # by quadrature; test_theory.py shows that nobody beats it
    assert value[0] < value[2] < best
    assert value[2] == pytest.approx(best, abs=0.01)


def test_an_untrained_D_is_far_off() -> None:
    assert not approach(0, marks=(0, 1)).holds


def test_the_value_is_minus_log_4_at_equilibrium_and_above_it_elsewhere() -> None:
    finding = equilibrium(0, steps=200, shifts=(0.0, 2.0))
    assert finding.holds, finding.sentence
    same, apart = finding.rows
    assert same[1] == 0.0
    assert same[2] == pytest.approx(EQUILIBRIUM_VALUE)
    assert same[4] == pytest.approx(EQUILIBRIUM_VALUE, abs=0.005)
    assert same[5] == pytest.approx(0.5, abs=0.02)
    assert apart[2] == pytest.approx(EQUILIBRIUM_VALUE + 2 * 0.33681, abs=1e-4)
    assert apart[4] == pytest.approx(apart[2], abs=0.01)


def test_an_untrained_D_is_not_at_equilibrium() -> None:
    """It may say ½ on average, but not everywhere."""
    assert not equilibrium(0, steps=1, shifts=(0.0,)).holds


def test_smoothed_labels_bound_D() -> None:
    finding = smoothing(0, steps=250)
    assert finding.holds, finding.sentence
    hard, one_sided, two_sided, strong = finding.rows
    assert hard[2] > 0.99
    assert hard[-1] == math.inf
    assert one_sided[2] == pytest.approx(0.9, abs=0.01)
    assert one_sided[4] == pytest.approx(math.log(9), abs=0.1)
    assert two_sided[3] == pytest.approx(0.1, abs=0.01)
    assert strong[2] == pytest.approx(0.7, abs=0.01)
    assert finding.numbers()["rows"][0][-1] is None, "infinity has no place in JSON"
