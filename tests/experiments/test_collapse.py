"""T6: what mends mode collapse. The whole experiment takes minutes; a part of it is in the default suite."""

from __future__ import annotations

import pytest

from sparring.experiments.arena import config_of, modes_found, play, share_on_modes
from sparring.experiments.collapse import REMEDIES, STEPS, game, remedies

FREE = {"stabilizer", "penalty", "seed"}


def test_all_games_are_alike_but_for_the_remedy() -> None:
    """Networks, optimizers, batch and steps are the same for all."""
    plain = config_of(game("plain", 10), 0).model_dump()
    for name in REMEDIES:
        mended = config_of(game(name, 10), 0).model_dump()
        differing = {key for key in plain if plain[key] != mended[key]}
        assert differing <= FREE
        assert bool(differing) == (name != "plain")


def test_packing_finds_more_modes_than_the_plain_game() -> None:
    finding = remedies(0, seeds=1, steps=600, games=("plain", "packing"))
    assert finding.holds, finding.sentence
    plain, packing = (row[1] for row in finding.rows)
    assert plain < 5 < packing


def test_r1_and_r2_find_all_modes() -> None:
    points = play(game("R1 + R2", STEPS), 0).points
    assert modes_found(points) == 8
    assert share_on_modes(points) > 0.4


def test_it_could_turn_out_wrong() -> None:
    assert not remedies(0, seeds=1, steps=5, games=("plain", "packing")).holds


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_remedy_restores_modes() -> None:
    finding = remedies(0)
    assert finding.holds, finding.sentence
    rows = {row[0]: row for row in finding.rows}
    assert all(row[-1] >= 4 for name, row in rows.items() if name != "plain")
    assert all(count == 8 for count in rows["R1 + R2"][1:6])
    assert all(count < 8 for count in rows["plain"][1:6])
    assert len(finding.plot) == 1 + len(rows)
