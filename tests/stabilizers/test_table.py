"""Every row of the table: what it says, what it takes, and that training goes on with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.stabilizers import STABILIZERS, Stabilizer, parse_stabilizer
from sparring.trainer import Trainer
from tests.stabilizers.settings import trial
from tests.tools import small_config, trainer_for

ALL = pytest.mark.parametrize("name", STABILIZERS)
ROWS = pytest.mark.parametrize("row", STABILIZERS.values(), ids=STABILIZERS)

SMALL: dict[str, dict[str, Any]] = {
    "ring": {"network": "mlp"},
    "digits": {"network": "dcgan", "g": {"width": 4}, "d": {"width": 4}},
}


def merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Add settings to settings, a player's to those that it has."""
    both = settings.keys() & more.keys() & {"g", "d"}
    return settings | more | {key: settings[key] | more[key] for key in both}


@ROWS
def test_a_row_says_what_a_user_needs(row: Stabilizer) -> None:
    assert STABILIZERS[row.name] is row
    assert "arXiv:" in row.paper
    assert all((row.summary, row.formula, row.when, row.watch))
    for text in (row.summary, row.when, row.watch):
        assert text.endswith(".")


@ROWS
def test_defaults_are_in_range_and_what_the_name_alone_means(row: Stabilizer) -> None:
    defaults = {setting.name: setting.default for setting in row.settings}
    assert parse_stabilizer(row.name) == (row.name, defaults)
    assert parse_stabilizer(row.usage) == (row.name, defaults)
    assert all(setting.least <= setting.default <= setting.most for setting in row.settings)


@ROWS
def test_numbers_are_taken_in_order(row: Stabilizer) -> None:
    most = {setting.name: setting.most for setting in row.settings}
    assert parse_stabilizer(":".join([row.name, *(f"{number:g}" for number in most.values())]))[1] == most


@ROWS
def test_numbers_out_of_range_are_refused(row: Stabilizer) -> None:
    for index, setting in enumerate(row.settings):
        before = [f"{setting.default:g}" for setting in row.settings[:index]]
        for wrong in (f"{setting.least - 1}", f"{setting.most * 2 + 1}", "nan", "inf", "", "many"):
            refusal = f"{setting.name} is a (whole )?number from .* not '{re.escape(wrong)}'$"
            with pytest.raises(ValueError, match=refusal):
                parse_stabilizer(":".join([row.name, *before, wrong]))


def test_a_number_that_must_be_whole() -> None:
    with pytest.raises(ValueError, match=r"^'replay:2.5': size is a whole number from 1 to 100000, not '2.5'$"):
        parse_stabilizer("replay:2.5")


def test_too_many_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^'replay:8:9' has too many numbers: it takes replay:size$"):
        parse_stabilizer("replay:8:9")
    for name, row in STABILIZERS.items():
        with pytest.raises(ValueError, match="has too many numbers: it takes"):
            parse_stabilizer(":".join([name] + ["1"] * (len(row.settings) + 1)))


def test_an_unknown_name_meets_its_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"^unknown name 'instanse-noise'; did you mean 'instance-noise'\? choose one of: "
    ):
        parse_stabilizer("instanse-noise:0.1")


def test_the_config_names_the_flag() -> None:
    with pytest.raises(UsageError, match=r"--stabilizer .*size is a whole number"):
        small_config("ring", stabilizer="replay:0")
    with pytest.raises(UsageError, match=r"--stabilizer .*each stabilizer can be given once"):
        small_config("ring", stabilizer=("replay:8", "replay"))


def test_the_table_comes_without_torch() -> None:
    code = "import sys, sparring.stabilizers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(before: dict[str, Tensor], network: nn.Module) -> bool:
    return all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def play(trainer: Trainer, steps: int) -> set[str]:
    """Train like the trainer, and check after every turn who has moved; return who has moved at all."""
    players = {name: player.network for name, player in trainer.players.items()}
    moved = set()
    for _ in range(steps):
        real = trainer._real_batch(trainer.progress.step)
        for index, turn in enumerate(trainer.game.turns(trainer._clock())):
            other = "G" if turn.player == "D" else "D"
            weights = [weight.detach().clone() for weight in players[turn.player].parameters()]
            theirs = tensors(players[other])
            trainer._play(turn, trainer._batch(real, index, turn.draws))
            after = list(players[turn.player].parameters())
            assert any(not torch.equal(old, new) for old, new in zip(weights, after, strict=True))
            assert all(bool(weight.isfinite().all()) for weight in after)
            assert same(theirs, players[other]), f"{other} changed in a turn of {turn.player}"
            moved.add(turn.player)
        trainer.progress.step += 1
        trainer.progress.images_seen += trainer.config.batch_size
    assert trainer.progress.skipped == 0
    return moved


@ALL
@pytest.mark.parametrize("data", SMALL)
def test_each_turn_leaves_the_other_player_equal_to_the_bit(name: str, data: str, tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, data, **merged(SMALL[data], trial(name)))
    assert play(trainer, 4) == {"D", "G"}


@ALL
@pytest.mark.parametrize(
    "more",
    [
        {"accumulate": 2},
        {"loss": "relativistic", "penalty": ("r1:1", "r2:1")},
        {"d": {"norm": "batch", "mixed": True}},
        {"d": {"steps": 2}, "augment": ("translation",)},
    ],
    ids=str,
)
def test_it_goes_with_the_rest_of_the_game(name: str, more: dict[str, Any], tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "digits", **merged(merged(SMALL["digits"], more), trial(name)))
    assert play(trainer, 2) == {"D", "G"}


@ALL
def test_its_memory_is_buffers_that_change_in_training_only(name: str, tmp_path: Path) -> None:
    """What is not in `state_dict` is not in a checkpoint either."""
    trainer = trainer_for(tmp_path, "ring", **trial(name))
    memory = trainer.game.memory
    assert not list(memory.parameters())
    before = tensors(memory)
    for turn in trainer.game.turns(trainer._clock()):
        turn.play(trainer._batch(trainer._real_batch(0), 0, turn.draws))  # and the player does not move
    assert same(before, memory)
