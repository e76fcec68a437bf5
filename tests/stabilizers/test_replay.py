"""What D learns from comes half from the buffer, and the buffer keeps half of what D has just seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sparring.games.generation import generation_game
from sparring.stabilizers.hooks import View
from sparring.stabilizers.replay import Replay
from sparring.turns import Batch, Clock
from tests.stabilizers.toys import Shift, Slope, batch
from tests.tools import small_config, trainer_for


def numbered(first: int, count: int) -> Tensor:
    """Return fakes that say which ones they are, ``[count, 1, 2, 2]``."""
    return torch.arange(first, first + count, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


def numbers(x: Tensor) -> list[int]:
    assert all(torch.equal(sample, sample[:1, :1, :1].expand_as(sample)) for sample in x)
    return [int(value) for value in x[:, 0, 0, 0]]


def play(replay: Replay, fresh: Tensor, given: Batch, player: str = "D") -> Tensor:
    """Play a turn and return what D has learnt from."""
    x_fake = replay.fakes(fresh, given)
    logits = torch.zeros(len(x_fake))
    replay.remember(View(player, given, lambda x: x, x_fake, x_fake, logits, logits))
    return x_fake


def state(replay: Replay) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in replay.state_dict().items()}


def same(before: dict[str, Tensor], replay: Replay) -> bool:
    return all(torch.equal(value, before[name]) for name, value in replay.state_dict().items())


def test_while_it_is_empty_all_fakes_are_fresh() -> None:
    replay, given, fresh = Replay(10, (1, 2, 2)), batch(), numbered(0, 6)
    before = given.source.get_state()
    assert replay.fakes(fresh, given) is fresh
    assert torch.equal(given.source.get_state(), before)


def test_then_half_come_from_the_buffer_and_none_twice() -> None:
    replay, given = Replay(10, (1, 2, 2)), batch()
    play(replay, numbered(0, 8), given)
    assert numbers(replay.older[:4]) == [0, 1, 2, 3]
    assert int(replay.count) == 4
    x_fake = numbers(play(replay, numbered(100, 8), given))
    assert x_fake[:4] == [100, 101, 102, 103]
    assert sorted(x_fake[4:]) == [0, 1, 2, 3]


def test_every_older_fake_is_as_likely() -> None:
    replay, given = Replay(10, (1, 2, 2)), batch()
    play(replay, numbered(0, 20), given)
    drawn = torch.cat([replay.fakes(numbered(0, 8), given)[4:, 0, 0, 0] for _ in range(500)])
    assert_close(torch.bincount(drawn.long()) / 500, torch.full((10,), 0.4), atol=0.1, rtol=0)


def test_with_fewer_older_fakes_than_needed_some_come_twice() -> None:
    replay, given = Replay(1, (1, 2, 2)), batch()
    play(replay, numbered(7, 6), given)
    assert numbers(replay.fakes(numbered(100, 6), given)) == [100, 101, 102, 7, 7, 7]


def test_free_slots_are_filled_first_then_half_a_batch_replaces_random_ones() -> None:
    replay, given = Replay(10, (1, 2, 2)), batch()
    for turn in range(20):
        before = numbers(replay.older)
        play(replay, numbered(100 * (turn + 1), 8), given)
        after = numbers(replay.older)
        changed = [slot for slot in range(10) if before[slot] != after[slot]]
        kept = [100 * (turn + 1) + i for i in range(4)]
        assert int(replay.count) == min(10, 4 * (turn + 1))
        assert sorted(after[slot] for slot in changed) == kept, "each of the four took a slot of its own"
        if turn < 2:
            assert changed == [4 * turn + i for i in range(4)]
        if turn == 2:
            assert {8, 9} < set(changed), "the last free slots"


def test_a_fake_stays_for_size_over_half_a_batch_turns_on_average() -> None:
    """Each turn replaces a share h of the slots, so that (1 - h)^t of them are left after t turns."""
    replay, given = Replay(2000, (1, 2, 2)), batch()
    play(replay, numbered(0, 4000), given)
    for _ in range(10):
        play(replay, numbered(10_000, 400), given)
    left = (replay.older[:, 0, 0, 0] < 10_000).float().mean()
    assert float(left) == pytest.approx(0.9**10, abs=0.03)


def test_a_batch_larger_than_the_buffer_fills_it() -> None:
    replay, given = Replay(3, (1, 2, 2)), batch()
    play(replay, numbered(0, 16), given)
    assert numbers(replay.older) == [0, 1, 2]
    play(replay, numbered(100, 16), given)
    assert sorted(numbers(replay.older)) == [100, 101, 102]


def test_the_odd_fake_is_a_fresh_one() -> None:
    replay, given = Replay(10, (1, 2, 2)), batch()
    assert numbers(play(replay, numbered(0, 5), given)) == [0, 1, 2, 3, 4]
    assert sorted(numbers(replay.fakes(numbered(100, 5), given))) == [0, 1, 100, 101, 102]


def test_only_turns_of_D_that_took_place_are_remembered() -> None:
    replay, given = Replay(10, (1, 2, 2)), batch()
    play(replay, numbered(0, 8), given)
    before = state(replay)
    replay.fakes(numbered(100, 8), given)  # a turn that is skipped ends here
    play(replay, numbered(200, 8), given, player="G")
    assert same(before, replay)
    play(replay, numbered(300, 8), given)
    assert numbers(replay.older[:8]) == [0, 1, 2, 3, 300, 301, 302, 303]


class Recorder(Slope):
    """D of points or of packs of them, which keeps the points that it was shown last."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = rows(x.reshape(-1, 2))
        return x.reshape(len(x), -1, 2).mean(1) @ self.weight


def rows(x: Tensor) -> list[tuple[float, ...]]:
    return [tuple(sample) for sample in x.tolist()]


@pytest.mark.parametrize("settings", [{}, {"penalty": ("r1:1",)}, {"stabilizer": ("replay:6", "packing:2")}], ids=str)
def test_in_the_game_D_judges_the_mixture_and_single_fakes_are_kept(settings: dict[str, Any]) -> None:
    G, D = Shift(), Recorder()
    game = generation_game(G, D, small_config("ring", **({"stabilizer": "replay:6"} | settings)), (2,))
    (replay,) = [module for module in game.memory.children() if isinstance(module, Replay)]
    d_turn, g_turn = game.turns(Clock())
    first, second = batch(8, seed=0), batch(8, seed=1)
    old, new = rows(G(first.z)), rows(G(second.z))
    d_turn.play(first).remember()
    assert D.seen == old
    assert rows(replay.older) == [*old[:4], (0, 0), (0, 0)]
    before = state(replay)
    g_turn.play(second).remember()
    assert D.seen == new, "G plays with its own fresh fakes"
    payoff = d_turn.play(second)
    assert D.seen[:4] == new[:4]
    assert sorted(D.seen[4:]) == sorted(old[:4])
    assert same(before, replay), "and nothing was kept so far"
    payoff.remember()
    assert rows(replay.older[4:]) == new[:2], "the free slots"
    assert set(rows(replay.older)) < {*old[:4], *new[:4]}
    assert not replay.older.requires_grad


def test_pieces_of_a_batch_are_played_and_then_remembered(tmp_path: Path) -> None:
    """With gradient accumulation both pieces are played before either is remembered."""
    trainer = trainer_for(tmp_path, "ring", stabilizer="replay:6", accumulate=2, steps=100)
    (replay,) = trainer.game.memory.children()
    assert isinstance(replay, Replay)
    G = trainer.players["G"].network
    for expected in (4, 6):
        (turn, _) = trainer.game.turns(trainer._clock())
        given = trainer._batch(trainer._real_batch(0), 0)
        with torch.no_grad():
            kept = rows(torch.cat((G(given.z[:2]), G(given.z[4:6]))))  # half of each piece of four
        trainer._play(turn, given)
        assert int(replay.count) == expected
        assert set(kept[2:]) <= set(rows(replay.older)), "the second piece"
        assert len({*kept, *rows(replay.older)}) - len(set(rows(replay.older))) <= 2, "it may replace some of the first"
        trainer.progress.step += 1
