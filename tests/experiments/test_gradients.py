"""T1 and T5: known slopes, and which gradients survive a D that is trained alone."""

from __future__ import annotations

import math

import pytest

from sparring.experiments.gradients import saturation, slope, stalling


@pytest.mark.parametrize("logit", [-16.0, -3.0, 0.0, 2.0])
def test_slopes_in_closed_form(logit: float) -> None:
    probability = 1 / (1 + math.exp(-logit))
    assert slope("saturating", logit) == pytest.approx(probability, rel=1e-9)
    assert slope("non-saturating", logit) == pytest.approx(1 - probability, rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_only_the_saturating_gradient_vanishes_through_D(seed: int) -> None:
    finding = saturation(seed)
    assert finding.holds, finding.sentence
    saturating, non_saturating = ([row[i] for row in finding.rows] for i in (4, 5))
    assert saturating == sorted(saturating, reverse=True)
    assert non_saturating == sorted(non_saturating)


def test_an_optimal_D_stalls_the_saturating_G_only() -> None:
    finding = stalling(0, marks=(0, 30, 200))
    assert finding.holds, finding.sentence
    _, saturating, non_saturating, wasserstein, deviation, _ = zip(*finding.rows, strict=True)
    assert saturating[-1] < 0.05 * saturating[0]
    assert wasserstein[-1] > 0.1 * wasserstein[0]
    assert non_saturating[-1] > non_saturating[0]
    assert deviation[-1] > 5 * deviation[0]


def test_it_could_turn_out_wrong() -> None:
    """A D that has hardly learnt rejects nobody, and nothing has vanished yet."""
    assert not stalling(0, marks=(0, 3)).holds
