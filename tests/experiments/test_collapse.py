"""T6: what mends mode collapse. The whole experiment takes minutes; a part of it is in the default suite."""

from __future__ import annotations

import pytest

from sparring.experiments.arena import config_of
from sparring.experiments.collapse import REMEDIES, game, remedies

FREE = {"stabilizer", "penalty", "seed"}


def test_all_games_are_alike_but_for_the_remedy() -> None:
    """Networks, optimizers, batch and steps are the same for all."""
    plain = config_of(game("plain", 10), 0).model_dump()
    for name in REMEDIES:
        mended = config_of(game(name, 10), 0).model_dump()
        differing = {key for key in plain if plain[key] != mended[key]}
        assert differing <= FREE
        assert bool(differing) == (name != "plain")


def test_packing_and_r1_r2_find_more_modes_than_the_plain_game() -> None:
    finding = remedies(0, seeds=1, games=("plain", "packing", "R1 + R2"))
    assert finding.holds, finding.sentence
    plain, packing, penalized = (row[1] for row in finding.rows)
    assert plain < packing
    assert penalized == 8


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
