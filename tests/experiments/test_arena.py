"""The ring that whole games are played on: known coverage, and that a game is the trainer's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparring.experiments.arena import centres, config_of, modes_found, play, share_on_modes, wide_ring
from sparring.metrics.modes import mode_report

QUICK = {"steps": 6, "batch_size": 8, "latent_dim": 2, "g": {"width": 8}, "d": {"width": 8}}


def test_real_points_find_all_modes() -> None:
    data = wide_ring()
    assert modes_found(data.samples) == 8
    assert share_on_modes(data.samples) == pytest.approx(1 - np.exp(-4.5), abs=0.005)
    assert data.modes is not None
    report = mode_report(data.samples, data.modes)
    assert report.modes == 8
    assert report.high_quality == pytest.approx(share_on_modes(data.samples))


@pytest.mark.parametrize("kept", [0, 1, 5, 8])
def test_a_built_collapse_is_counted(kept: int) -> None:
    points = np.repeat(centres()[:kept], 100, axis=0) if kept else np.zeros((100, 2))
    assert modes_found(points) == kept
    assert share_on_modes(points) == (1.0 if kept else 0.0)


def test_a_mode_that_one_sample_in_200_hits_is_not_found() -> None:
    points = np.repeat(centres()[:1], 200, axis=0)
    points[0] = centres()[3]
    assert modes_found(points) == 1
    points[1] = centres()[3]
    assert modes_found(points) == 2, "one in a hundred is enough"


def test_a_game_is_the_trainers_own_and_depends_on_its_seed_only(tmp_path: Path) -> None:
    settings = QUICK | {"log_every": 3, "eval_every": 6, "eval_samples": 50}
    one, again, other = play(settings, 0), play(settings, 0), play(settings, 1)
    np.testing.assert_array_equal(one.points, again.points)
    assert not np.array_equal(one.points, other.points)
    assert one.column("log", "step") == (3.0, 6.0)
    assert one.loss_of_D == one.column("log", "D/loss")
    assert len(one.column("eval", "mode_gap")) == 1
    assert config_of(settings, 0).threads == 1


def test_the_loss_of_D_is_told_without_its_penalties() -> None:
    game = play(QUICK | {"log_every": 6, "penalty": ("r1:1",)}, 0)
    (total,), (adversarial,) = game.column("log", "D/loss"), game.loss_of_D
    assert adversarial < total
    assert total == pytest.approx(adversarial + game.column("log", "D/r1")[0])


def test_samples_that_begin_apart_are_gathered_in_the_middle() -> None:
    nobody_moves = QUICK | {"steps": 1, "g": {"width": 8, "lr": 1e-12}}
    apart, usual = (play(nobody_moves, 0, apart=apart).points for apart in (True, False))
    assert np.linalg.norm(apart, axis=1).max() < 0.8  # half the radius, for the z that were looked at
    assert np.linalg.norm(usual, axis=1).max() > 0.8
