"""A player's move: called off without a trace where numbers are not finite, and the same when it is replayed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparring.data.feed import Feed
from sparring.data.records import Data, make_data
from sparring.errors import TrainingDivergedError
from sparring.fast.recording import Recording, recorder_for
from sparring.games import Batch, Clock, Payoff, Turn
from sparring.moves import Moves
from sparring.randomness import randomness
from sparring.trainer import Trainer
from tests.tools import small_data, trainer_for

R1_R2: dict[str, Any] = {"loss": "relativistic", "penalty": ("r1:0.1", "r2:0.1"), "penalty_every": 3}
DCGAN: dict[str, Any] = {"network": "dcgan", "latent_dim": 8, "g": {"width": 4}, "d": {"width": 4}}
RMSPROP: dict[str, Any] = {"optimizer": "rmsprop", "betas": (0.0, 0.99)}
CPU = torch.device("cpu")


def everything(trainer: Trainer) -> dict[str, Tensor]:
    parts = trainer._checkpoint().parts
    return {f"{part}/{name}": value.clone() for part, tensors in parts.items() for name, value in tensors.items()}


def assert_same(ours: Trainer, theirs: Trainer) -> None:
    mine, yours = everything(ours), everything(theirs)
    assert mine.keys() == yours.keys()
    for name, value in mine.items():
        assert torch.equal(value, yours[name]), name


class Spy:
    """A recorder that counts, and may record something else than it was told."""

    def __init__(self, instead: Callable[[Recording], Recording] = lambda replay: replay) -> None:
        self.made, self.replays, self.instead = 0, 0, instead

    def __call__(self, run: Callable[[], None]) -> Recording:
        self.made += 1
        replay = self.instead(recorder_for(CPU)(run))

        def counted() -> None:
            self.replays += 1
            replay()

        return counted


def recording(trainer: Trainer, spy: Spy) -> tuple[Trainer, list[str]]:
    """Let a trainer record its moves as it would on a GPU."""
    warnings: list[str] = []
    runtime = replace(trainer.runtime, records=True)
    trainer.moves = Moves(
        trainer.game, trainer.players, runtime, trainer.config.accumulate, warnings.append, recorder=spy
    )
    return trainer, warnings


def both(path: Path, data: str, spy: Spy, **settings: Any) -> tuple[Trainer, Trainer, list[str]]:
    plain = trainer_for(path / "plain", data, **settings)
    recorded, warnings = recording(trainer_for(path / "recorded", data, **settings), spy)
    return plain, recorded, warnings


# Recordings.


@pytest.mark.parametrize(
    ("data", "settings", "kinds"),
    [
        ("ring", {}, 2),
        ("ring", R1_R2, 3),
        ("ring", {"d": {"clip_grad": 0.1, "weight_clip": 0.05}}, 2),
        ("ring", {"decay_from": 0.0, "burn_in": {"share": 0.5, "lr": 4.0}}, 2),
        ("digits", DCGAN, 2),
        ("digits", {"network": "pixelcnn", "g": {"width": 8}}, 1),
    ],
)
def test_replayed_moves_are_those_that_are_launched(
    data: str, settings: dict[str, Any], kinds: int, tmp_path: Path
) -> None:
    spy = Spy()
    plain, recorded, warnings = both(tmp_path, data, spy, steps=16, log_every=5, **settings)
    plain.train()
    recorded.train()
    assert_same(recorded, plain)
    assert recorded.run.events_file.read_bytes() == plain.run.events_file.read_bytes()
    assert spy.made == kinds
    assert spy.replays >= 14
    assert not warnings


@pytest.mark.parametrize("begin", [{"beta2": 0.5}, {"penalty": 10.0}], ids=["beta2", "penalty"])
def test_what_changes_at_every_step_is_recorded_once_it_stands_still(begin: dict[str, float], tmp_path: Path) -> None:
    """A burn-in of β2 or of penalties makes every step a kind of its own until it is over."""
    spy = Spy()
    settings = R1_R2 | {"burn_in": {"share": 0.5} | begin, "penalty_every": 1}
    plain, recorded, _ = both(tmp_path, "ring", spy, steps=24, **settings)
    plain.train()
    recorded.train()
    assert_same(recorded, plain)
    assert spy.made == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "wasserstein", "penalty": ("wgan-gp:10",)},
        {"stabilizer": "replay:6"},
        {"stabilizer": "unrolled:2"},
        {"accumulate": 2},
        {"g": RMSPROP, "d": RMSPROP},
    ],
)
def test_what_is_drawn_or_decided_on_the_host_is_not_recorded(settings: dict[str, Any], tmp_path: Path) -> None:
    spy = Spy()
    plain, recorded, warnings = both(tmp_path, "ring", spy, steps=10, **settings)
    plain.train()
    recorded.train()
    assert_same(recorded, plain)
    assert spy.made <= 1, "G's turns alone draw nothing where D's penalty does"
    assert not warnings


def twice(replay: Recording) -> Recording:
    def both_times() -> None:
        replay()
        replay()

    return both_times


def failing(replay: Recording) -> Recording:
    def fail() -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    return fail


@pytest.mark.parametrize(
    ("instead", "reason"),
    [(failing, "operation not permitted when stream is capturing"), (twice, "gave other numbers")],
)
def test_a_recording_that_does_something_else_is_not_used(
    instead: Callable[[Recording], Recording], reason: str, tmp_path: Path
) -> None:
    spy = Spy(instead)
    plain, recorded, warnings = both(tmp_path, "ring", spy, steps=12)
    plain.train()
    recorded.train()
    assert_same(recorded, plain)
    assert len(warnings) == spy.made == 2
    assert all(reason in text and text.startswith("turns of") and "\n" not in text for text in warnings)


@pytest.mark.gpu
@pytest.mark.parametrize(("data", "settings"), [("ring", R1_R2), ("digits", DCGAN), ("digits", DCGAN | R1_R2)])
def test_a_gpu_replays_what_it_would_launch(data: str, settings: dict[str, Any], tmp_path: Path) -> None:
    settings = settings | {"device": "cuda", "steps": 12, "log_every": 12}
    plain, recorded = (
        trainer_for(tmp_path / kernels, data, kernels=kernels, **settings) for kernels in ("plain", "fast")
    )
    plain.train()
    recorded.train()
    assert recorded.moves._recordings
    assert all(recorded.moves._recordings.values())
    (theirs,), (ours,) = plain.run.events("log"), recorded.run.events("log")
    assert ours == pytest.approx(theirs, rel=0.02, abs=0.01)


# Moves that are called off.


class Broken:
    """Turns whose loss is infinite in some steps."""

    def __init__(self, trainer: Trainer, *steps: int) -> None:
        self.turns, self.steps = trainer.game.turns, steps
        object.__setattr__(trainer.game, "turns", self)

    def __call__(self, clock: Clock) -> tuple[Turn, ...]:
        turns = self.turns(clock)
        if clock.step not in self.steps:
            return turns
        return tuple(replace(turn, play=self.spoil(turn), constants=(math.inf,)) for turn in turns)

    def spoil(self, turn: Turn) -> Callable[[Batch], Payoff]:
        def play(batch: Batch) -> Payoff:
            payoff = turn.play(batch)
            return replace(payoff, terms={name: term * math.inf for name, term in payoff.terms.items()})

        return play


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("step", [0, 2])
def test_a_move_without_finite_numbers_leaves_everything_equal_to_the_bit(
    optimizer: str, step: int, tmp_path: Path
) -> None:
    player = {"width": 4, "norm": "batch", "optimizer": optimizer, "betas": (0.0, 0.99)}
    trainer = trainer_for(tmp_path, "digits", network="dcgan", latent_dim=8, g=player, d=player)
    Broken(trainer, step)
    for _ in range(step):
        trainer.play_step()
    before = everything(trainer)
    batch = trainer._batch(trainer._real_batch(0), 0)
    for turn in trainer.game.turns(trainer._clock()):
        trainer._play(turn, batch)
    after = everything(trainer)
    started = {name: value for name, value in after.items() if name not in before}
    assert all(not value.any() for value in started.values()), "moments that begin at 0"
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    assert [(event["step"], event["player"]) for event in trainer.run.events("skipped")] == [(step, "D"), (step, "G")]


def test_numbers_that_are_read_later_are_the_same(tmp_path: Path) -> None:
    """On a GPU they are read when a row of the log is due, and steps are skipped before anybody knows."""
    at_once, later = (trainer_for(tmp_path / name, "ring", steps=20, log_every=6) for name in ("once", "later"))
    later._lets_wait = True
    for trainer in (at_once, later):
        Broken(trainer, 3, 4, 11)
        trainer.train()
    assert_same(later, at_once)
    assert later.progress == at_once.progress
    assert later.progress.skipped == 6
    assert sorted(later.run.events("skipped"), key=str) == sorted(at_once.run.events("skipped"), key=str)
    assert list(later.run.events("log")) == list(at_once.run.events("log"))


def test_a_run_that_diverges_stops_when_it_is_read(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", steps=100, log_every=25)
    trainer._lets_wait = True
    Broken(trainer, *range(5, 100))
    with pytest.raises(TrainingDivergedError, match="10 times in a row"):
        trainer.train()
    assert trainer.progress.step == 25


# Batches.


def labelled(data: Data) -> Data:
    return make_data("labelled", data.samples, torch.arange(len(data)).numpy() % 3, ("a", "b", "c"))


@pytest.mark.parametrize(
    "data", [small_data("digits"), small_data("grid"), labelled(small_data("ring"))], ids=lambda d: d.name
)
def test_batches_from_the_device_are_those_from_the_host(data: Data) -> None:
    indices = torch.randint(len(data), (33,), generator=randomness(0, "test")).numpy()
    (x, y), (host_x, host_y) = Feed(data, CPU, resident=True).batch(indices), data.batch(indices)
    assert x.dtype == torch.float32
    assert torch.equal(x, host_x)
    assert (None if y is None else y.tolist()) == (None if host_y is None else host_y.tolist())
    assert not Feed(data, CPU).resident, "on the CPU they are there already"
