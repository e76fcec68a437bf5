"""T8 and T12: what the losses of a run tell."""

from __future__ import annotations

import math

import pytest

from sparring.experiments.losses import misleads, tracking, won_by_D


def test_a_classic_loss_turns_against_the_score_within_a_run() -> None:
    """While samples get better all the time, D's loss falls with the score at first and rises against it afterwards."""
    finding = tracking(0, names=("classic, R1",))
    assert finding.holds, finding.sentence
    of_D, of_G = finding.rows
    assert of_D[3] > 0.5
    assert of_D[4] < -0.5
    assert of_G[3] < of_G[4]
    assert of_D[8] < 0.5 * of_D[7], "the samples do get better"


def test_a_loss_that_tracks_the_score_would_refute_the_claim() -> None:
    assert misleads([0.9, -0.7, 0.1])
    assert not misleads([0.9, 0.8, 0.6])
    assert not misleads([-0.9, -0.8]), "the other way round is a track, too"
    assert not misleads([0.3, -0.2])


@pytest.mark.slow
def test_losses_do_not_track_quality_but_the_critics_estimate_points_the_right_way() -> None:
    finding = tracking(0)
    assert finding.holds, finding.sentence
    assert all(rho > 0 for rho in finding.rows[-1][2:5])


def test_a_loss_of_0_is_a_lost_game() -> None:
    finding = won_by_D(0)
    assert finding.holds, finding.sentence
    first, last = finding.rows[0], finding.rows[-1]
    _, lost_loss, lost_gradient, lost_gap, healthy_loss, healthy_gradient, healthy_gap = last
    assert lost_loss < 1e-3
    assert lost_gradient < 0.1 * healthy_gradient
    assert lost_gap == pytest.approx(first[3], rel=0.1)
    assert healthy_loss == pytest.approx(math.log(4), abs=0.1)
    assert healthy_gap < 0.5 * lost_gap


def test_a_game_that_has_just_begun_is_not_lost_yet() -> None:
    assert not won_by_D(0, steps=20, every=4).holds
